//! Memory: its order between this process and the kernel's programs.

/// Waits until every packet being handled anywhere is done (a grace period of all CPUs); kernels without the call
/// are not waited for.
pub fn grace_period() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}
