//! Memory: its order between this process and the kernel's programs, and giving it back.

/// Waits until every packet being handled anywhere is done (a grace period of all CPUs); kernels without the call
/// are not waited for.
pub fn grace_period() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

/// Gives memory that was freed back to the system. glibc keeps what was in use once; others do not, or cannot be told.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call changes nothing but the allocator's own books.
    unsafe {
        libc::malloc_trim(0)
    };
}
