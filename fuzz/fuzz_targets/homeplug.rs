//! Any bytes as frames of powerline adapters: no panic, and a walk stays within its bounds whatever they say.

#![no_main]

use std::time::{Duration, Instant};

use gatemeter::collectors::homeplug::codec::{self, BROADCAST, LOCAL, Question};
use gatemeter::collectors::homeplug::answer;
use gatemeter::collectors::homeplug::walk::{Rules, Walk};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mme) = codec::read(bytes) {
        assert!(mme.payload <= bytes.len());
        let _ = Question::KINDS.map(|question| answer::read(&mme, question));
    }
    let mut now = Instant::now();
    for destination in [LOCAL, BROADCAST] {
        let mut walk = Walk::new(Rules { destination, extended: true, max_devices: MOST }, 1, now);
        // The whole, then parts of it as frames of their own, and a question after each.
        for frame in [bytes].into_iter().chain(bytes.chunks(60)) {
            while walk.due(now, &|_| None).is_some() {}
            walk.take(frame, 0, now);
            now += Duration::from_millis(30);
            assert!(walk.devices.len() <= MOST);
        }
        for device in &walk.devices {
            assert!(!device.mac.is_multicast());
            for network in &device.networks {
                assert!(network.stations.iter().all(|station| station.mac != device.mac));
            }
        }
    }
});
