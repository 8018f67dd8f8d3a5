//! Memory: its order between this process and the kernel's programs, and that what is freed is given back.

/// Has glibc give large blocks back to the kernel as soon as they are freed. It keeps blocks as large as any that was freed
/// before, and so a scraped page for good. musl gives them back anyway.
pub fn give_back_large_blocks() {
    // Its own threshold to begin with; one that is set does not grow.
    #[cfg(target_env = "gnu")]
    const LARGE: libc::c_int = 128 << 10;
    // SAFETY: the call takes numbers only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE)
    };
}

/// Waits until every packet being handled anywhere is done (a grace period of all CPUs); kernels without the call
/// are not waited for.
pub fn grace_period() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}
