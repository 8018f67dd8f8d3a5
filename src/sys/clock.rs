//! The wall clock, for the few places where a person or Prometheus reads a time of day. Everything else uses
//! [`std::time::Instant`]: a router without a clock chip boots in the past and jumps when NTP answers.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC; 0 if the clock stands before that.
#[allow(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
