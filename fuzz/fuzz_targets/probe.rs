//! Any bytes as what a raw socket delivers, and as control messages of every layout: no panic, no endless walk, and what
//! is read of a probe is in the bytes.

#![no_main]

use gatemeter::collectors::probe::codec::icmp::{self, Received};
use gatemeter::collectors::probe::codec::stamps::{Abi, Control};
use gatemeter::collectors::probe::codec::tcp;
use libfuzzer_sys::fuzz_target;

/// Whether these bytes stand somewhere in the packet.
fn holds(packet: &[u8], bytes: &[u8]) -> bool {
    packet.windows(bytes.len()).any(|window| window == bytes)
}

fuzz_target!(|bytes: &[u8]| {
    let received = icmp::read_v4(bytes).map(|(outer, received)| {
        assert!(outer.header >= 20 && outer.header + outer.payload.len() <= bytes.len());
        received
    });
    for received in [received, icmp::read_v4_message(bytes), icmp::read_v6(bytes)] {
        if let Ok(Received::Reply(echo)) = received {
            assert!(holds(bytes, &echo.cookie.to_be_bytes()));
        }
    }
    for answer in [tcp::read_v4(bytes).map(|(_, answer)| answer), tcp::read_v6(bytes)].into_iter().flatten().flatten() {
        assert!(holds(bytes, &answer.sequence.wrapping_add(1).to_be_bytes()));
    }
    for word in [4, 8] {
        for is_big in [false, true] {
            for sol_socket in [1, 0xffff] {
                let _ = Control::read(bytes, &Abi { word, is_big, sol_socket });
            }
        }
    }
});
