//! The kernel program's own judgements, run without a kernel: the file itself is included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the test")]
#![allow(missing_docs)]

#[path = "../bpf/src/classify.rs"]
mod classify;

use std::net::{Ipv4Addr, Ipv6Addr};

fn word(addr: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(addr.octets())
}

fn words(addr: &str) -> [u32; 4] {
    let octets = addr.parse::<Ipv6Addr>().unwrap().octets();
    std::array::from_fn(|i| u32::from_ne_bytes(octets[4 * i..4 * i + 4].try_into().unwrap()))
}

/// The ranges, as prefixes.
const NEVER4: [([u8; 4], u32); 9] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

#[test]
fn every_16_bit_ipv4_network_is_judged_as_the_list_of_ranges_says() {
    // No range is longer than 16 bits, so two addresses of each network stand for all.
    for network in 0..=0xffffu32 {
        for host in [0, 0xffff] {
            let addr = network << 16 | host;
            let listed =
                NEVER4.iter().any(|(range, len)| (addr ^ u32::from(Ipv4Addr::from(*range))) >> (32 - len) == 0);
            assert_eq!(classify::never_internet4(word(addr.into())), listed, "{}", Ipv4Addr::from(addr));
        }
    }
}

#[test]
fn ipv6_ranges_end_where_they_should() {
    for never in [
        "::",
        "::1",
        "::ffff:ffff",
        "::ffff:203.0.113.5",
        "fc00::",
        "fdff:ffff::1",
        "fe80::",
        "febf:ffff::1",
        "ff00::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert!(classify::never_internet6(words(never)), "{never}");
    }
    for internet in [
        "::1:0:0",
        "::fffe:0:0",
        "::1:ffff:0:0",
        "0:0:1::",
        "0:1::",
        "64:ff9b::1",
        "2001:db8::1",
        "2a00::1",
        "fbff::1",
        "fe00::1",
        "fe7f:ffff::1",
        "fec0::1",
        "feff::1",
    ] {
        assert!(!classify::never_internet6(words(internet)), "{internet}");
    }
}

#[test]
fn an_address_is_in_a_prefix_whatever_its_length() {
    let net = words("2001:db8:1:2::");
    let mask64 = words("ffff:ffff:ffff:ffff::");
    assert!(classify::within6(words("2001:db8:1:2:3:4:5:6"), net, mask64));
    assert!(!classify::within6(words("2001:db8:1:3::"), net, mask64));
    assert!(classify::within6(words("1::2"), [0; 4], [0; 4]));
    let lan = word([192, 168, 1, 128].into());
    let mask25 = word([255, 255, 255, 128].into());
    assert!(classify::within4(word([192, 168, 1, 255].into()), lan, mask25));
    assert!(!classify::within4(word([192, 168, 1, 127].into()), lan, mask25));
    assert!(classify::within4(word([8, 8, 8, 8].into()), 0, 0));
}

#[test]
fn each_segment_on_the_wire_has_its_own_headers() {
    assert_eq!(classify::on_the_wire(54 + 2000, 2, 54), (2 * 54 + 2000, 2));
    assert_eq!(classify::on_the_wire(u64::from(u32::MAX), 65_535, 300), (u64::from(u32::MAX) + 65_534 * 300, 65_535));
}

#[test]
fn only_extension_headers_have_an_extension_length() {
    assert_eq!(classify::extension_len(0, 0), Some(8));
    assert_eq!(classify::extension_len(43, 2), Some(24));
    assert_eq!(classify::extension_len(60, 255), Some(2048));
    assert_eq!(classify::extension_len(44, 99), Some(8));
    assert_eq!(classify::extension_len(51, 4), Some(24));
    assert_eq!(classify::extension_len(6, 0), None);
    assert_eq!(classify::extension_len(50, 0), None);
}
