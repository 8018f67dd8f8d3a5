//! Any bytes as a DNS answer: no panic, no endless chase of pointers and aliases, and a name only for what was asked.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use gatemeter::names::dns::{self, Addresses, Answer, Family};
use libfuzzer_sys::fuzz_target;

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 20));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x20));

fuzz_target!(|bytes: &[u8]| {
    let id = u16::from_be_bytes([bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0)]);
    for family in [Family::V4, Family::V6] {
        if let Ok(Addresses::Found(addresses)) = dns::addresses(bytes, id, "box.lan", family) {
            assert!((1..=8).contains(&addresses.len()));
            assert!(addresses.iter().all(|addr| addr.is_ipv4() == (family == Family::V4)));
        }
    }
    for addr in [V4, V6] {
        let Ok(answer) = dns::answer(bytes, id, &addr) else { continue };
        assert_eq!(dns::answer(bytes, !id, &addr), Ok(Answer::Unasked));
        if let Answer::Name(name) = answer {
            // A byte that is not UTF-8 becomes three.
            assert!((1..=3 * 255).contains(&name.len()));
            if let Some(client) = dns::client_name(&name, &addr, &["lan".to_owned()]) {
                assert!(!client.is_empty() && name.starts_with(client));
            }
        }
    }
});
