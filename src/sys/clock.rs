//! The wall clock, for the few places where a person or Prometheus reads a time of day, or where the kernel's stamps of
//! packets, which are of it, have to be compared with a time of ours. Everything else uses [`std::time::Instant`], or
//! [`monotonic_ns`] where many are kept: a router without a clock chip boots in the past and jumps when NTP answers. And
//! what a thread has worked, which unlike the time that has passed does not depend on what else the machine has to do.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC; 0 if the clock stands before that.
#[allow(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
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
#[allow(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Nanoseconds since an instant that stays the same while this program runs; never goes back.
pub fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
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
    fn both_clocks_count_nanoseconds() {
        let (wall, monotonic) = (realtime_ns(), monotonic_ns());
        assert!((realtime_ns() as f64 / 1e9 - unix_now()).abs() < 1.0);
        std::thread::sleep(Duration::from_millis(2));
        assert!(monotonic_ns() - monotonic >= 2_000_000);
        assert!(realtime_ns() > wall);
    }
}
