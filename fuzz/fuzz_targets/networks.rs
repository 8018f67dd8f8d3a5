//! Any bytes as the service script's list of networks: no panic, bounded, and whatever a word stands for, it is the name of a
//! device or of none.

#![no_main]

use gatemeter::config::networks::{Networks, is_down, may_be_interface, may_be_network};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut networks = Networks::default();
    let mut problems = 0;
    networks.read(&text, |line, problem| {
        assert!(line <= text.lines().count() && !problem.is_empty());
        problems += 1;
    });
    assert!(problems <= text.lines().count());
    for word in text.split_ascii_whitespace() {
        for device in [networks.device(word), networks.port(word)].into_iter().flatten() {
            let name = device.strip_suffix(" (down)").unwrap_or(&device);
            assert!(is_down(&device) || name.len() <= 15, "{device}");
        }
        if let Some(network) = networks.get(word) {
            assert!(network.prefixes().all(|prefix| prefix.prefix_len() > 0));
            assert!(network.address().is_none_or(|addr| network.prefixes().any(|prefix| prefix.contains(addr))));
        }
        let _ = (may_be_interface(word), may_be_network(word));
    }
});
