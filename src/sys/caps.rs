//! Capabilities: which this process has, and how it gives up what it no longer needs (capabilities(7)).

use std::io;

/// Capabilities gatemeter may need, by their kernel numbers (linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// Bind ports below 1024.
    NetBindService = 10,
    /// Attach to traffic control, change nftables, enlarge netlink buffers.
    NetAdmin = 12,
    /// Raw and packet sockets.
    NetRaw = 13,
    /// Mount the BPF file system; all of bpf() before Linux 5.8.
    SysAdmin = 21,
    /// Raise the limit of locked memory, which BPF maps count against before Linux 5.11.
    SysResource = 24,
    /// Let the verifier trust a BPF program with pointer arithmetic and skip speculation barriers (Linux 5.8).
    Perfmon = 38,
    /// Load BPF programs and use maps (Linux 5.8).
    Bpf = 39,
}

impl Capability {
    /// Its name as the kernel and procd's capability files write it.
    pub fn name(self) -> &'static str {
        match self {
            Capability::NetBindService => "CAP_NET_BIND_SERVICE",
            Capability::NetAdmin => "CAP_NET_ADMIN",
            Capability::NetRaw => "CAP_NET_RAW",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::SysResource => "CAP_SYS_RESOURCE",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
        }
    }

    fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// _LINUX_CAPABILITY_VERSION_3: two 32-bit words for each set.
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`: version and process (0 is the caller).
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`, of which version 3 takes two: bits 0 to 31, then 32 to 63.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> io::Result<[Data; 2]> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: `header` and `data` are live and laid out as capget(2) says for version 3: one header, two data structs.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(data) }
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Whether this process has a capability in effect.
pub fn has(capability: Capability) -> bool {
    get().is_ok_and(|[low, high]| join(low.effective, high.effective) & capability.bit() != 0)
}

/// Gives up every capability but those of `keep` that are held now, for good: the bounding set shrinks with it and
/// `no_new_privs` is set, so that nothing executed later can win them back.
///
/// Applies to the calling thread, and threads it starts later; call it before any other thread is started.
pub fn reduce(keep: &[Capability]) -> io::Result<()> {
    let wanted = keep.iter().fold(0, |set, capability| set | capability.bit());
    // The bounding set first: dropping from it takes CAP_SETPCAP, which goes next.
    for number in 0..64u8 {
        if wanted & (1 << number) == 0 {
            let argument = libc::c_ulong::from(number);
            // SAFETY: PR_CAPBSET_DROP takes one number. An unknown number (EINVAL) or a process that may not (EPERM)
            // leaves the set as it is, which capset below makes harmless for this process.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, argument, 0, 0, 0) };
        }
    }
    let [low, high] = get()?;
    let kept = join(low.permitted, high.permitted) & wanted;
    let half = |bits: u64| Data { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let data = [half(kept), half(kept >> 32)];
    let mut header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: `header` and `data` are live and laid out as capset(2) says for version 3: one header, two data structs.
    if unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: PR_SET_NO_NEW_PRIVS takes the numbers 1, 0, 0, 0.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, unused, unused, unused) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_reduces_keeps_what_it_asked_for_and_loses_the_rest() {
        // Capabilities belong to a thread, so the test's own thread can be spared.
        std::thread::spawn(|| {
            if !has(Capability::NetAdmin) {
                panic!("run the tests as root: this one reduces capabilities it must have first");
            }
            reduce(&[Capability::NetAdmin]).unwrap();
            assert!(has(Capability::NetAdmin));
            assert!(!has(Capability::SysAdmin));
            assert!(!has(Capability::NetRaw));
        })
        .join()
        .unwrap();
    }
}
