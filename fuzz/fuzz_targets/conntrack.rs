//! Any bytes as messages about flows and as lines of /proc/net/nf_conntrack: no panic, no endless walk.

#![no_main]

use gatemeter::collectors::clients::flows::proc;
use gatemeter::netlink::{conntrack, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Each message takes at least its header, so the walk is bounded.
    for message in messages(bytes).take(bytes.len() / 16 + 1).flatten() {
        let _ = conntrack::decode(&message);
        let _ = conntrack::decode_stats(&message);
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = std::str::from_utf8(line).ok().and_then(proc::line);
    }
});
