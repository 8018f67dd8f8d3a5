//! Messages of Linux 6.18 on a little-endian machine, and the commands that made them there.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{align, messages};
use super::*;

/// `conntrack -E` while a LAN host behind masquerading connects to port 80: its SYN.
const TCP_NEW: &str = concat!(
    "c400000000010006000000000000000002000000340001801400018008000100c0a8010b08000200cb0071011c00028005000100",
    "0600000006000200e22800000600030000500000340002801400018008000100cb00710108000200cb0071021c00028005000100",
    "06000000060002000050000006000300e228000008000c001d8c178608000300000001980800070000000078300004802c000180",
    "0500010001000000050002000a000000050003000000000006000400030000000600050000000000",
);
/// The same connection when its handshake is over.
const TCP_OPEN: &str = concat!(
    "c400000000010000000000000000000002000000340001801400018008000100c0a8010b08000200cb0071011c00028005000100",
    "0600000006000200e22800000600030000500000340002801400018008000100cb00710108000200cb0071021c00028005000100",
    "06000000060002000050000006000300e228000008000c001d8c1786080003000000019e0800070000069780300004802c000180",
    "0500010003000000050002000a000000050003000a00000006000400230000000600050023000000",
);
/// A DNS query over IPv6 when it is answered: no TCP state.
const UDP6_ANSWERED: &str = concat!(
    "c40000000001000000000000000000000a0000004c0001802c0001801400030020010db800010001000000000000001114000400",
    "20010db8ffff000000000000000000011c000280050001001100000006000200df99000006000300003500004c0002802c000180",
    "1400030020010db8ffff000000000000000000011400040020010db80001000100000000000000111c0002800500010011000000",
    "060002000035000006000300df99000008000c00b9edf925080003000000000a080007000000001e",
);
/// `conntrack -D -p icmp` after a ping.
const ICMP_GONE: &str = concat!(
    "dc00000002010000000000001c85f697020000003c0001801400018008000100c0a8010b08000200cb0071012400028005000100",
    "01000000060004003b3b0000050005000800000005000600000000003c0002801400018008000100cb00710108000200cb007102",
    "240002800500010001000000060004003b3b00000500050000000000050006000000000008000c008a817903080003000000039a",
    "080007000000001b1c0009800c00010000000000000000010c00020000000000000000541c000a800c0001000000000000000001",
    "0c0002000000000000000054",
);
/// `conntrack -F` with a TCP connection over IPv6 in TIME_WAIT.
const TCP6_GONE: &str = concat!(
    "0c01000002010000000000003b4400000a0000004c0001802c0001801400030020010db800010001000000000000001114000400",
    "20010db8ffff000000000000000000011c000280050001000600000006000200cd04000006000300005000004c0002802c000180",
    "1400030020010db8ffff000000000000000000011400040020010db80001000100000000000000111c0002800500010006000000",
    "060002000050000006000300cd04000008000c00a9db135d080003000000020e08000700000000741c0009800c00010000000000",
    "000000050c00020000000000000001711c000a800c00010000000000000000050c0002000000000000000172100004800c000180",
    "0500010007000000",
);
/// `conntrack -L` with `sysctl net.netfilter.nf_conntrack_acct=0`: a ping without counters.
const ICMP_LISTED: &str = concat!(
    "b400000000010200070000003b130000020000003c0001801400018008000100c0a8010b08000200cb0071012400028005000100",
    "0100000006000400120e0000050005000800000005000600000000003c0002801400018008000100cb00710108000200cb007102",
    "24000280050001000100000006000400120e000005000500000000000500060000000000080003000000019a0800080000000000",
    "08000c009d6f3a6908000b0000000001080007000000001d",
);
/// `conntrack -C`.
const STATS: &str = "2400000005010200080000003b1300000000000008000100000000010800020000040000";

/// The bytes of a capture with lengths, types and flags in the order of the machine that runs the test.
fn native(hex: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    if cfg!(target_endian = "big") {
        for field in [0..4, 4..6, 6..8, 8..12, 12..16] {
            bytes[field].reverse();
        }
        swap_attributes(&mut bytes[20..]);
    }
    bytes
}

/// Conntrack marks attributes that hold attributes.
fn swap_attributes(mut buf: &mut [u8]) {
    while buf.len() >= 4 {
        let length = usize::from(u16::from_le_bytes([buf[0], buf[1]]));
        let nested = buf[3] & 0x80 != 0;
        buf[..2].reverse();
        buf[2..4].reverse();
        let (attribute, rest) = buf.split_at_mut(align(length).min(buf.len()));
        if nested {
            swap_attributes(&mut attribute[4..length]);
        }
        buf = rest;
    }
}

fn event(bytes: &[u8]) -> Result<Option<Event>, Malformed> {
    decode(&messages(bytes).next().unwrap()?)
}

fn tuple4(source: [u8; 4], destination: [u8; 4], protocol: u8, ports: [u16; 2]) -> Tuple {
    Tuple { source: source.into(), destination: destination.into(), protocol, ports }
}

#[test]
fn a_masqueraded_connection_tells_both_directions_and_its_state() {
    let want = Entry {
        id: 0x1d8c_1786,
        zone: 0,
        original: tuple4([192, 168, 1, 11], [203, 0, 113, 1], 6, [57896, 80]),
        reply: tuple4([203, 0, 113, 1], [203, 0, 113, 2], 6, [80, 57896]),
        replied: false,
        dying: false,
        offloaded: false,
        tcp: Some(TcpState::SynSent),
        moved: None,
    };
    assert_eq!(event(&native(TCP_NEW)), Ok(Some(Event::Known(want))));
    let want = Entry { replied: true, tcp: Some(TcpState::Established), ..want };
    assert_eq!(event(&native(TCP_OPEN)), Ok(Some(Event::Known(want))));
}

#[test]
fn an_answer_over_ipv6_is_told_without_a_tcp_state() {
    let Ok(Some(Event::Known(entry))) = event(&native(UDP6_ANSWERED)) else { panic!() };
    let (host, server): (Ipv6Addr, Ipv6Addr) =
        ("2001:db8:1:1::11".parse().unwrap(), "2001:db8:ffff::1".parse().unwrap());
    let (host, server) = (IpAddr::from(host), IpAddr::from(server));
    let original = Tuple { source: host, destination: server, protocol: 17, ports: [57241, 53] };
    assert_eq!(entry.original, original);
    assert_eq!(entry.reply, Tuple { source: server, destination: host, protocol: 17, ports: [53, 57241] });
    assert_eq!((entry.replied, entry.tcp, entry.moved), (true, None, None));
}

#[test]
fn what_is_gone_tells_its_final_counts() {
    let Ok(Some(Event::Gone(ping))) = event(&native(ICMP_GONE)) else { panic!() };
    assert_eq!(ping.original, tuple4([192, 168, 1, 11], [203, 0, 113, 1], 1, [15163, 0x0800]));
    assert_eq!(ping.reply, tuple4([203, 0, 113, 1], [203, 0, 113, 2], 1, [15163, 0]));
    assert_eq!(ping.moved, Some([Moved { packets: 1, bytes: 84 }; 2]));
    assert!(ping.dying);
    let Ok(Some(Event::Gone(tcp))) = event(&native(TCP6_GONE)) else { panic!() };
    assert_eq!(tcp.tcp, Some(TcpState::TimeWait));
    assert_eq!(tcp.moved, Some([Moved { packets: 5, bytes: 369 }, Moved { packets: 5, bytes: 370 }]));
}

#[test]
fn a_flow_whose_bytes_are_not_counted_has_no_counters_instead_of_zeroes() {
    let Ok(Some(Event::Known(ping))) = event(&native(ICMP_LISTED)) else { panic!() };
    assert_eq!((ping.id, ping.moved), (0x9d6f_3a69, None));
    assert_eq!(ping.original.source, Ipv4Addr::new(192, 168, 1, 11));
}

#[test]
fn totals_tell_how_full_the_table_is() {
    let bytes = native(STATS);
    let message = messages(&bytes).next().unwrap().unwrap();
    assert_eq!(decode_stats(&message), Ok(Some(Stats { entries: 1, max: 262_144 })));
    assert_eq!(decode(&message), Ok(None));
}

#[test]
fn unknown_attributes_are_passed_over_and_missing_ones_are_missing() {
    let mut datagram = super::super::build::Datagram::new();
    datagram.message(NEW, 0, 0, &NFGENMSG).be32(77, 1).nested(CTA_TUPLE_ORIG, |tuple| {
        tuple.nested(CTA_TUPLE_IP, |ip| {
            ip.be32(99, 0).attribute(CTA_IP_V4_SRC, &[10, 0, 0, 1]).attribute(CTA_IP_V4_DST, &[10, 0, 0, 2]);
        });
        tuple.attribute(CTA_TUPLE_ZONE, &[0, 7]);
    });
    let Ok(Some(Event::Known(entry))) = event(&datagram.finish()) else { panic!() };
    assert_eq!(entry.original, tuple4([10, 0, 0, 1], [10, 0, 0, 2], 0, [0, 0]));
    assert_eq!(entry.reply, tuple4([10, 0, 0, 2], [10, 0, 0, 1], 0, [0, 0]));
    assert_eq!((entry.id, entry.zone, entry.replied), (0, 7, false));
}

#[test]
fn a_message_without_addresses_is_no_flow() {
    let mut datagram = super::super::build::Datagram::new();
    datagram.message(NEW, 0, 0, &NFGENMSG).be32(CTA_ID, 1);
    assert_eq!(event(&datagram.finish()), Ok(None));
}

#[test]
fn a_message_cut_off_anywhere_is_an_error_or_tells_less_and_nothing_wrong() {
    for hex in [TCP_NEW, TCP_OPEN, UDP6_ANSWERED, ICMP_GONE, TCP6_GONE, ICMP_LISTED] {
        let bytes = native(hex);
        let whole = messages(&bytes).next().unwrap().unwrap();
        let Ok(Some(Event::Known(Entry { original, .. }) | Event::Gone(Entry { original, .. }))) = decode(&whole)
        else {
            panic!()
        };
        for end in 0..whole.body.len() {
            let message = Message { body: &whole.body[..end], ..whole };
            if let Ok(Some(Event::Known(entry) | Event::Gone(entry))) = decode(&message) {
                assert_eq!(entry.original, original);
            }
        }
    }
}

#[test]
fn states_have_the_names_of_proc() {
    assert_eq!(TcpState::from_name("SYN_SENT2"), Some(TcpState::SynSent2));
    assert_eq!(TcpState::from_name("LAST_ACK"), TcpState::from_number(6));
    assert_eq!((TcpState::from_name("NONE"), TcpState::from_number(0)), (None, None));
}
