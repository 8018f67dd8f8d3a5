//! Flows by number: what a flow is known by takes 8 bytes instead of 50.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use crate::netlink::conntrack::Entry;

/// Most flows that are followed, those that fill a hash table of 2^18 places: more than a router's kernel tracks.
pub const MAX_FLOWS: usize = (1 << 18) / 8 * 7;

/// Something kept for each flow, by its key.
pub type Flows<T> = HashMap<u64, T, BuildHasherDefault<Ready>>;

/// Gives flows their keys: a hash of identifier, zone and original direction under a secret of this process, so that
/// nobody can send packets whose flows fall together.
#[derive(Debug, Default)]
pub struct Keys(RandomState);

impl Keys {
    /// The key of a flow.
    pub fn of(&self, entry: &Entry) -> u64 {
        self.0.hash_one((entry.id, entry.zone, entry.original))
    }
}

/// Makes room for nothing more than what is there, if there is much more room than that; a flood must not keep the
/// memory that it took.
pub fn shrink<T>(flows: &mut Flows<T>) {
    if flows.capacity() > 1024 && flows.len() < flows.capacity() / 4 {
        flows.shrink_to(flows.len() * 2);
    }
}

/// Takes a key, which is a hash, for its own hash.
#[derive(Debug, Default)]
pub struct Ready(u64);

impl Hasher for Ready {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
