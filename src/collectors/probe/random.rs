//! Numbers that nobody outside can foresee, at the price of hashing one word each.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A keyed hash of a counter: the keys of the standard library's hash maps come from the system's random source.
#[derive(Debug)]
pub struct Random {
    keys: RandomState,
    count: u64,
}

impl Random {
    /// A sequence of its own.
    pub fn new() -> Self {
        Random { keys: RandomState::new(), count: 0 }
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(self.count);
        hasher.finish()
    }
}
