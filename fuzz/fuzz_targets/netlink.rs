//! Any bytes as a netlink datagram: no panic, no endless walk, and what is decoded can be applied to the table.

#![no_main]

use gatemeter::lan::Interfaces;
use gatemeter::netlink::{attributes, error_number, messages, neighbour, route};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let mut interfaces = Interfaces::default();
    // Each message takes at least its header, so the walk is bounded.
    for message in messages(datagram).take(datagram.len() / 16 + 1).flatten() {
        assert!(attributes(message.body).count() <= message.body.len() / 4 + 1);
        let _ = error_number(message.body);
        if let Ok(Some(event)) = route::decode(&message) {
            interfaces.apply(event);
        }
        let _ = neighbour::decode(&message);
    }
    let _ = interfaces.find_lan();
});
