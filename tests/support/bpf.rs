//! Programs of our own making, to stand beside ours in tests and benchmarks.

#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unsafe_code, reason = "the library loads only its own programs")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Refuse access a processor without unaligned access would refuse (BPF_F_STRICT_ALIGNMENT).
pub const STRICT_ALIGNMENT: u32 = 1;

/// Loads a classifier from its instructions, 8 bytes each; the error holds the end of the verifier's log.
pub fn load(instructions: &[u8], flags: u32) -> Result<OwnedFd, String> {
    const PROG_LOAD: libc::c_int = 5;
    const SCHED_CLS: u32 = 3;
    let license = c"Dual MIT/GPL";
    let mut log = vec![0u8; 1 << 24];
    let mut attr = [0u8; 128];
    let mut put = |at: usize, bytes: &[u8]| attr[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &SCHED_CLS.to_ne_bytes());
    put(4, &((instructions.len() / 8) as u32).to_ne_bytes());
    put(8, &(instructions.as_ptr().expose_provenance() as u64).to_ne_bytes());
    put(16, &(license.as_ptr().expose_provenance() as u64).to_ne_bytes());
    put(24, &1u32.to_ne_bytes());
    put(28, &(log.len() as u32).to_ne_bytes());
    put(32, &(log.as_mut_ptr().expose_provenance() as u64).to_ne_bytes());
    put(44, &flags.to_ne_bytes());
    // The verifier gives up when a signal comes in.
    let interrupted = || io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    let mut fd = -1;
    for _ in 0..20 {
        // SAFETY: every pointer in the argument leads to a live buffer of the size beside it.
        fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, attr.as_mut_ptr(), attr.len()) };
        if fd >= 0 || !interrupted() {
            break;
        }
    }
    if fd < 0 {
        let error = io::Error::last_os_error();
        let text = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
        return Err(format!("{error}: {}", text.lines().rev().take(8).collect::<Vec<_>>().join(" / ")));
    }
    // SAFETY: the kernel has just returned this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// A map of the given type and sizes.
pub fn map(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> OwnedFd {
    const MAP_CREATE: libc::c_int = 0;
    let mut attr = [0u8; 128];
    for (i, word) in [kind, key, value, entries, flags].into_iter().enumerate() {
        attr[i * 4..i * 4 + 4].copy_from_slice(&word.to_ne_bytes());
    }
    // SAFETY: the argument is a live buffer of the given size and holds no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, attr.as_mut_ptr(), attr.len()) };
    assert!(fd >= 0, "map: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just returned this descriptor to us.
    unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }
}

/// A program that only answers `verdict`.
pub fn always(verdict: i32) -> OwnedFd {
    let mut instructions = Vec::new();
    // r0 = verdict; exit (linux/bpf.h).
    instructions.extend([0xb7, 0, 0, 0]);
    instructions.extend(verdict.to_ne_bytes());
    instructions.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
    load(&instructions, 0).unwrap_or_else(|error| panic!("{error}"))
}
