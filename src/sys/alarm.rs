//! A time to be woken at, as a descriptor (timerfd_create(2)), for one task that is woken often: a timer of async-io wakes
//! its helper thread whenever it is set, and has a grain of a millisecond on MIPS.
//!
//! By system calls and not through the C library: `timerfd` takes that one's functions away on MIPS, where their structure
//! is not the same on both sides either. The kernel's is two times of seconds and nanoseconds, each a `long`.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Async;
use libc::{c_int, c_long};

/// Wakes a task once for each time that it is set.
#[derive(Debug)]
pub struct Alarm(Async<OwnedFd>);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// The refused system call.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned this descriptor, so it is open and nobody else owns it.
        let owned = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
        Ok(Alarm(Async::new_nonblocking(owned)?))
    }

    /// Sets it to this time from now on, in place of what it was set to; with none it will not wake anybody.
    pub fn set(&self, after: Option<Duration>) {
        // Zero would be none; a longer time than the kernel takes on 32-bit machines is as good as 68 years.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let seconds = c_long::try_from(after.as_secs()).unwrap_or(i32::MAX as c_long).min(i32::MAX as c_long);
        let new: [c_long; 4] = [0, 0, seconds, after.subsec_nanos() as c_long];
        let no_old = std::ptr::null_mut::<c_long>();
        let fd = self.0.get_ref().as_raw_fd();
        // SAFETY: `new` has the four longs that the kernel reads, and it writes nothing where the pointer is null; the
        // descriptor is borrowed, so it stays open during the call. With these it does not fail.
        unsafe { libc::syscall(libc::SYS_timerfd_settime, fd, 0, new.as_ptr(), no_old) };
    }

    /// Whether the time has come; if not, the task is woken when it does.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Setting it again makes the descriptor unreadable, so nothing has to be read.
        self.0.poll_readable(cx).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_wakes_after_the_time_it_was_set_to_last_and_each_time_anew() {
        smol::block_on(async {
            let alarm = Alarm::new().unwrap();
            for _ in 0..3 {
                alarm.set(Some(Duration::from_secs(3600)));
                let start = Instant::now();
                alarm.set(Some(Duration::from_millis(5)));
                poll_fn(|cx| alarm.poll(cx)).await;
                assert!(start.elapsed() >= Duration::from_millis(5));
            }
            alarm.set(Some(Duration::ZERO));
            poll_fn(|cx| alarm.poll(cx)).await;
        });
    }

    #[test]
    fn one_that_is_not_set_wakes_nobody() {
        smol::block_on(async {
            let alarm = Alarm::new().unwrap();
            alarm.set(Some(Duration::from_millis(1)));
            alarm.set(None);
            let pause = async { async_io::Timer::after(Duration::from_millis(20)).await };
            let woken = smol::future::or(
                async {
                    poll_fn(|cx| alarm.poll(cx)).await;
                    true
                },
                async {
                    pause.await;
                    false
                },
            );
            assert!(!woken.await);
        });
    }
}
