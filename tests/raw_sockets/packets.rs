//! What goes out, and what a filter lets in.

use std::net::IpAddr;
use std::time::Instant;

use gatemeter::sys::batch::{Packet, ReceiveBatch, SendBatch, Sent};
use gatemeter::sys::raw::{self, Kind};
use gatemeter::sys::timestamps::Wanted;

use super::lab::{GATEWAY4, GATEWAY6, Lab, WAN4, WAN6, sys};
use super::prober::{LIMIT, Prober, path};
use super::wire;

#[test]
fn source_interface_time_to_live_and_class_are_those_of_the_packet() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.must(&["ip", "addr", "add", "203.0.113.77/24", "dev", "wan"]);
    lab.router.must(&["ip", "addr", "add", "2001:db8:ffff::77/64", "dev", "wan", "nodad"]);
    let cases: [(IpAddr, IpAddr); 2] =
        [(GATEWAY4.into(), "203.0.113.77".parse().unwrap()), (GATEWAY6.into(), "2001:db8:ffff::77".parse().unwrap())];
    for (to, from) in cases {
        let capture = lab.internet.packet_socket("eth0");
        lab.router.enter(|| {
            let mut prober = Prober::echo(to.is_ipv4(), Wanted::default());
            let ifindex = sys::if_index("wan").unwrap().cast_unsigned();
            let bytes = &wire::echo(to.is_ipv4(), 9);
            let packet = Packet { destination: to, ifindex, source: Some(from), ttl: Some(33), tos: 0xb8, bytes };
            assert!(prober.out.push(&packet));
            assert_eq!(prober.send(), []);
            prober.drain_until("the reply", |prober| prober.replies.contains_key(&9));
        });
        let frame =
            std::iter::from_fn(|| capture.receive(LIMIT).unwrap()).find(|frame| frame.ends_with(&[0x5a; 56])).unwrap();
        let ip = &frame[14..];
        let (ttl, class, source) = match to {
            IpAddr::V4(_) => (ip[8], ip[1], IpAddr::from(<[u8; 4]>::try_from(&ip[12..16]).unwrap())),
            IpAddr::V6(_) => (ip[7], ip[0] << 4 | ip[1] >> 4, <[u8; 16]>::try_from(&ip[8..24]).unwrap().into()),
        };
        assert_eq!((ttl, class, source), (33, 0xb8, from));
    }
}

#[test]
fn replies_tell_their_time_to_live_and_interface() {
    let lab = Lab::builder().hosts(0).build();
    for to in [IpAddr::from(GATEWAY4), IpAddr::from(GATEWAY6)] {
        lab.router.enter(|| {
            let mut prober = Prober::echo(to.is_ipv4(), Wanted::default());
            prober.fill(to, [1]);
            assert_eq!(prober.send(), []);
            let end = Instant::now() + LIMIT;
            while prober.back.receive(&prober.socket).unwrap() == 0 {
                assert!(Instant::now() < end, "no reply");
            }
            let packet = prober.back.packets().next().unwrap();
            assert_eq!(packet.source, Some(to));
            let (level, info, ttl, at) = match to {
                IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, libc::IP_TTL, 0),
                IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, libc::IPV6_HOPLIMIT, 16),
            };
            let find = |kind| wire::messages(packet.control).find(|(l, k, _)| (*l, *k) == (level, kind)).unwrap().2;
            assert_eq!(find(ttl), 64i32.to_ne_bytes());
            assert_eq!(find(info)[at..at + 4], sys::if_index("wan").unwrap().to_ne_bytes());
        });
    }
}

#[test]
fn a_syn_is_answered_by_an_open_port_with_syn_ack_and_by_a_closed_one_with_rst() {
    let lab = Lab::builder().hosts(0).build();
    for (kind, from, to) in [
        (Kind::Tcp4, IpAddr::from(WAN4), IpAddr::from(GATEWAY4)),
        (Kind::Tcp6, IpAddr::from(WAN6), IpAddr::from(GATEWAY6)),
    ] {
        let _listener = lab.internet.tcp_listener(to, 7001);
        lab.router.enter(|| {
            let socket = raw::open(kind, &wire::filter(kind)).unwrap();
            let source = path(to, 0).unwrap().source.unwrap();
            assert_eq!(source, from);
            let addresses = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => Some((from, to)),
                _ => None,
            };
            let mut out = SendBatch::new(2, 64);
            for port in [7001, 7002] {
                let bytes = &wire::syn(port, 0x0102_0300, addresses);
                let packet = Packet { destination: to, ifindex: 0, source: Some(from), ttl: None, tos: 0, bytes };
                assert!(out.push(&packet));
            }
            assert!(matches!(out.send(&socket), Sent::All));
            let (mut back, mut answers) = (ReceiveBatch::new(8, 128), Vec::new());
            let end = Instant::now() + LIMIT;
            while answers.len() < 2 {
                back.receive(&socket).unwrap();
                for packet in back.packets() {
                    let tcp = wire::payload(&packet);
                    let port = u16::from_be_bytes([tcp[0], tcp[1]]);
                    let acknowledged = u32::from_be_bytes(tcp[8..12].try_into().unwrap());
                    assert_eq!((packet.source, acknowledged), (Some(to), 0x0102_0301));
                    answers.push((port, tcp[13]));
                }
                assert!(Instant::now() < end, "{answers:?}");
            }
            answers.sort_unstable();
            assert_eq!(answers, [(7001, 0x12), (7002, 0x14)]);
        });
    }
}

#[test]
fn a_path_is_that_of_the_route_and_what_has_none_is_refused() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.must(&["ip", "link", "add", "bare", "type", "veth", "peer", "name", "other"]);
    lab.router.must(&["ip", "link", "set", "bare", "up"]);
    lab.router.must(&["ip", "route", "add", "prohibit", "198.51.100.66"]);
    lab.router.enter(|| {
        let ifindex = |name| sys::if_index(name).unwrap().cast_unsigned();
        let internet = "198.51.100.10".parse().unwrap();
        for via in [0, ifindex("wan")] {
            let path = path(internet, via).unwrap();
            assert_eq!((path.ifindex, path.source), (ifindex("wan"), Some(WAN4.into())));
            assert_eq!(path.gateway, Some(GATEWAY4.into()));
        }
        assert!(path("198.51.100.66".parse().unwrap(), 0).is_err());
        assert!(path("2001:db8:dead::1".parse().unwrap(), ifindex("bare")).is_err());
    });
    lab.router.must(&["ip", "addr", "flush", "dev", "wan"]);
    lab.router.enter(|| {
        let none = path(GATEWAY4.into(), sys::if_index("wan").unwrap().cast_unsigned());
        assert!(!none.is_ok_and(|path| path.source == Some(WAN4.into())));
    });
}
