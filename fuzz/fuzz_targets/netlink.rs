//! Any bytes as a netlink datagram: no panic, no endless walk, what is decoded can be applied to the table, and what we write
//! is read as it was meant.

#![no_main]

use gatemeter::lan::Interfaces;
use gatemeter::netlink::build::Datagram;
use gatemeter::netlink::{attributes, error_number, messages, neighbour, route, tc};
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
        let _ = (neighbour::decode(&message), route::path(&message), tc::filter(message.body));
    }
    let _ = interfaces.find_lan();
    written(datagram);
});

/// Attributes of these bytes, flat and one in the other, and a second message behind them.
fn written(bytes: &[u8]) {
    let pieces: Vec<&[u8]> = bytes.chunks(61).take(64).collect();
    let mut datagram = Datagram::new();
    let message = datagram.message(16, 1, 7, &[0; 4]);
    for (piece, kind) in pieces.iter().zip(1..) {
        message.attribute(kind, piece);
    }
    message.nested(99, |inner| {
        for (piece, kind) in pieces.iter().zip(1..) {
            inner.attribute(kind, piece);
        }
    });
    datagram.message(17, 2, 8, bytes.get(..8).unwrap_or(&[1; 8]));
    let datagram = datagram.finish();
    let read: Vec<_> = messages(&datagram).map(|message| message.expect("we have written it")).collect();
    assert_eq!(read.iter().map(|message| (message.kind, message.flags, message.sequence)).collect::<Vec<_>>(), [(16, 1, 7), (17, 2, 8)]);
    let values = |bytes: &[u8]| -> Vec<Vec<u8>> {
        attributes(bytes).map(|attribute| attribute.expect("we have written it").value.to_vec()).collect()
    };
    let mut outer = values(&read[0].body[4..]);
    let inner = outer.pop().expect("the one that has others");
    assert_eq!(outer, pieces);
    assert_eq!(values(&inner), pieces);
}
