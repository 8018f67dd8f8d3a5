//! Waiting for what is bound to come: a condition is asked for again and again, and only a broken program reaches the limit.

#![allow(dead_code, missing_docs, reason = "each user needs a part of it")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gatemeter::error::Result;

/// How long something may take on a loaded machine before it counts as hung. The kernel takes down namespaces with the
/// lock that every change of the network needs, and on a machine with no CPU to spare that lasts half a minute.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Polls `ready` until it gives a value, for at most `limit`; `None` when it never did.
pub fn poll<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Does what one process at a time may do, once nobody else does: a program that another test's thread starts holds a
/// copy of all our sockets and locks for the moment between fork and exec. (The daemon starts no process.)
pub fn once_free<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let result = work();
        let held = result.as_ref().is_err_and(|error| error.to_string().contains("another "));
        if !held || Instant::now() >= deadline {
            return result;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Tells threads to stop, also when an assertion fails: their scope would wait for them for ever.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
