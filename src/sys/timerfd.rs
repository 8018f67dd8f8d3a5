//! Turns timerfd off on 32-bit MIPS, where async-io's use of it can never fire.
//!
//! async-io (through polling and rustix 1.1) arms its timer with a 64-bit `timespec`, but musl's `timerfd_settime` takes
//! a 32-bit one there by default, and on big-endian the nanoseconds would land in the padding half even with the 64-bit
//! one. The timer is then disarmed in silence and every `Timer` waits for ever. Where `timerfd_create` fails, polling
//! falls back to time-outs of `epoll_wait`, which are right, to the millisecond. So these definitions take the place of
//! musl's. All three are here, because the linker would pull in musl's object for any one that is missing, and clash.
//!
//! Nothing else in this program uses timerfd, and std does not.

use libc::{c_int, c_void};

fn not_there() -> c_int {
    // SAFETY: the C library's errno location is valid for the calling thread at all times.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` was just returned as the calling thread's own location.
    unsafe { *errno = libc::ENOSYS };
    -1
}

/// `timerfd_create(2)` of a system that has none.
#[unsafe(no_mangle)]
extern "C" fn timerfd_create(_clock: c_int, _flags: c_int) -> c_int {
    not_there()
}

/// `timerfd_settime(2)` of a system that has none.
#[unsafe(no_mangle)]
extern "C" fn timerfd_settime(_fd: c_int, _flags: c_int, _new: *const c_void, _old: *mut c_void) -> c_int {
    not_there()
}

/// `timerfd_gettime(2)` of a system that has none.
#[unsafe(no_mangle)]
extern "C" fn timerfd_gettime(_fd: c_int, _current: *mut c_void) -> c_int {
    not_there()
}
