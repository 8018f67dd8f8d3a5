//! Limits of this process: of locked memory, against which BPF programs and maps count before Linux 5.11, and of what it
//! leaves for others to see.

use std::io;

/// Lifts the limit of locked memory, whose usual 64 KiB hold no table of hosts. Takes CAP_SYS_RESOURCE; without it the
/// limit is raised as far as whoever started us allows.
pub fn lift_locked_memory() -> io::Result<()> {
    let none = libc::RLIM_INFINITY;
    if set(&libc::rlimit { rlim_cur: none, rlim_max: none }).is_ok() {
        return Ok(());
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit that the kernel fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    set(&limit)
}

fn set(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: `limit` is a live rlimit that the kernel only reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const *limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps what is ours to ourselves: no core file that would hold the memory with its tokens, no look into it by other
/// processes of our user, and nothing made that others may write, whoever has started us with what mask.
///
/// Where the kernel or an emulator refuses, that is as it was.
pub fn keep_private() {
    let unused: libc::c_ulong = 0;
    // SAFETY: PR_SET_DUMPABLE takes the number 0, SUID_DUMP_DISABLE.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, unused, unused, unused, unused) };
    // SAFETY: umask only swaps a number of this process, which has one thread yet.
    let mask = unsafe { libc::umask(0o077) };
    // What it denies others stays denied. What it denies us would leave directories that we cannot use.
    // SAFETY: as above.
    unsafe { libc::umask(mask & 0o077 | 0o022) };
}
