//! What the kernel program is told, changed while packets flow.
//!
//! The configuration has two blocks. A change is written into the one that is not in force and then put in force by
//! one word, so each packet is judged by the rules before or after a change, never by half of it.

use std::time::{Duration, Instant};

use super::codec::layout::CONFIG;
use super::codec::{self, EncodedRules};
use crate::error::{Error, Result};
use crate::sys;
use crate::sys::bpf::{self, Map};

/// After so long no packet is judged by the rules of before: handling one takes microseconds.
const SETTLED: Duration = Duration::from_secs(1);

/// The program's configuration and what is in it.
#[derive(Debug)]
pub struct ConfigMap {
    map: Map,
    image: Vec<u8>,
    changed: Option<Instant>,
}

impl ConfigMap {
    /// Takes over the configuration of a program that was just loaded: nothing is accounted.
    pub fn new(map: Map) -> Result<ConfigMap> {
        let size = map.value_len();
        if size < CONFIG {
            let why = format!("it has {size} bytes, this program needs {CONFIG}");
            return Err(Error::failed("use the configuration of the kernel program", why));
        }
        Ok(ConfigMap { map, image: vec![0; size], changed: None })
    }

    /// Puts these rules in force, and no others.
    pub fn apply(&mut self, rules: &[&EncodedRules], tried: &str) -> Result<()> {
        // The block that was in force before the last change is written now: no packet may still be judged by it.
        if self.changed.is_some_and(|changed| changed.elapsed() < SETTLED) {
            sys::memory::grace_period();
        }
        codec::block(&mut self.image, rules);
        self.write(tried)?;
        codec::flip(&mut self.image);
        if let Err(error) = self.write(tried) {
            // The image goes on saying which block is in force.
            codec::flip(&mut self.image);
            return Err(error);
        }
        self.changed = Some(Instant::now());
        Ok(())
    }

    /// Copies the image into the kernel; bytes that did not change are overwritten by themselves.
    fn write(&self, tried: &str) -> Result<()> {
        self.map.update(&0u32.to_ne_bytes(), &self.image, bpf::ANY).map_err(|error| Error::io(tried, error))?;
        // A CPU that sees what is written next must also see this.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}
