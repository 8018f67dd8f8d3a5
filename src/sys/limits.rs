//! Limits of this process: only that of locked memory, against which BPF programs and maps count before Linux 5.11.

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
