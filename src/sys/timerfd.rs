//! Turns timerfd off on 32-bit MIPS, where async-io's use of it can never fire.
//!
//! async-io (through polling and rustix 1.1) arms its timer with a 64-bit `timespec`, but musl's `timerfd_settime` takes
//! a 32-bit one there by default, and on big-endian the nanoseconds would land in the padding half even with the 64-bit
//! one. The timer is then disarmed in silence and every `Timer` waits for ever. Where `timerfd_create` fails, polling
//! falls back to time-outs of `epoll_wait`, which are right, to the millisecond. So these definitions take the place of
//! musl's. All three are here, because the linker would pull in musl's object for any one that is missing, and clash.
//!
//! Nothing else in this program uses timerfd, and std does not.

#[cfg(all(target_arch = "mips", target_env = "musl"))]
mod not_there {
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
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_timer_of_async_io_fires_and_not_before_its_time() {
        let (tell, told) = mpsc::channel();
        // A thread of its own, for a timer that never fires would hold the test up for ever.
        thread::spawn(move || {
            for milliseconds in [1, 30, 300] {
                let start = Instant::now();
                let after = Duration::from_millis(milliseconds);
                async_io::block_on(async_io::Timer::after(after));
                let _ = tell.send(start.elapsed() >= after);
            }
        });
        for _ in 0..3 {
            assert_eq!(told.recv_timeout(Duration::from_secs(90)), Ok(true));
        }
    }

    #[cfg(all(target_arch = "mips", target_env = "musl"))]
    #[test]
    fn polling_finds_no_timerfd() {
        // The linker has taken ours and not musl's.
        // SAFETY: it takes no pointers.
        assert_eq!(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) }, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS));
    }
}
