//! The wall clock, for the few places where a person or Prometheus reads a time of day, or where the kernel's stamps of
//! packets, which are of it, have to be compared with a time of ours. Everything else uses [`std::time::Instant`]: a router
//! without a clock chip boots in the past and jumps when NTP answers. And what a thread has worked, which unlike the time
//! that has passed does not depend on what else the machine has to do.

use std::time::Duration;

/// Seconds since 1970-01-01 UTC; 0 if the clock stands before that.
pub fn unix_now() -> f64 {
    realtime().as_secs_f64()
}

/// CPU time of the calling thread since it began; 0 if the system does not tell.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec, into which the kernel writes.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result < 0 {
        return Duration::ZERO;
    }
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Nanoseconds since 1970-01-01 UTC, as the kernel stamps packets; 0 if the clock stands before that.
pub fn realtime_ns() -> u64 {
    realtime().as_nanos() as u64
}

/// Time since 1970-01-01 UTC; zero if the clock stands before that.
///
/// The standard library panics on 32-bit machines with musl once the clock stands behind January 2038, be it wrongly, for
/// the C library it asks has no room for the time there. The kernel has, from Linux 5.1 on.
pub fn realtime() -> Duration {
    #[cfg(target_pointer_width = "32")]
    if let Some(time) = wide::realtime() {
        return time;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec, into which the kernel writes.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    if result < 0 {
        return Duration::ZERO;
    }
    #[allow(clippy::useless_conversion, reason = "both are shorter on 32-bit machines")]
    since_1970(i64::from(time.tv_sec), i64::from(time.tv_nsec))
}

fn since_1970(seconds: i64, nanoseconds: i64) -> Duration {
    match (u64::try_from(seconds), u32::try_from(nanoseconds)) {
        (Ok(seconds), Ok(nanoseconds)) => Duration::new(seconds, nanoseconds),
        _ => Duration::ZERO,
    }
}

/// The system call with a time of 64 bits, which the C library's functions do not lead to on 32-bit machines.
#[cfg(target_pointer_width = "32")]
mod wide {
    use std::time::Duration;

    /// `__NR_clock_gettime64`, of which libc knows nothing; the numbers of MIPS begin at 4000.
    const CLOCK_GETTIME64: libc::c_long = if cfg!(target_arch = "mips") { 4403 } else { 403 };

    /// Nothing from a kernel before Linux 5.1.
    pub(super) fn realtime() -> Option<Duration> {
        // `struct __kernel_timespec`: two numbers of 64 bits on every machine.
        let mut time = [0i64; 2];
        // SAFETY: the kernel writes two numbers of 64 bits, for which `time` has room.
        let result = unsafe { libc::syscall(CLOCK_GETTIME64, libc::CLOCK_REALTIME, time.as_mut_ptr()) };
        let [seconds, nanoseconds] = time;
        (result == 0).then(|| super::since_1970(seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_uses_cpu_time() {
        let began = thread_cpu();
        let mut sum = 0u64;
        while thread_cpu() == began {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(thread_cpu() > began);
    }

    #[test]
    fn a_clock_beyond_2038_or_before_1970_is_a_time_like_any_other() {
        assert_eq!(since_1970(1 << 31, 999_999_999), Duration::new(1 << 31, 999_999_999));
        assert_eq!(since_1970(-1, 0), Duration::ZERO);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "what ours is compared with")]
    fn the_wall_clock_is_that_of_the_standard_library() {
        let since = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let (before, ours, after) = (since(), unix_now(), since());
        assert!(before <= ours && ours <= after, "{before} {ours} {after}");
    }

    #[test]
    fn the_wall_clock_counts_nanoseconds() {
        let before = realtime_ns();
        assert!((realtime_ns() as f64 / 1e9 - unix_now()).abs() < 1.0);
        std::thread::sleep(Duration::from_millis(2));
        assert!(realtime_ns() > before);
    }
}
