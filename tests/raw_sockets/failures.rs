//! What fails, and that it fails as an error.

use std::net::IpAddr;
use std::time::Instant;

use gatemeter::sys::batch::{Packet, ReceiveBatch};
use gatemeter::sys::raw::{self, Kind};
use gatemeter::sys::socket;
use gatemeter::sys::timestamps::Wanted;

use super::lab::{GATEWAY4, Lab, sys};
use super::prober::{LIMIT, Prober, path};
use super::wire;

#[test]
fn replies_that_nobody_reads_are_counted_when_there_is_no_more_room() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.enter(|| {
        let mut prober = Prober::echo(true, Wanted::default());
        // The stamps of what is sent take room, too.
        socket::set_receive_buffer(&prober.socket, 64 << 10);
        for batch in 0..20 {
            prober.fill(GATEWAY4.into(), batch * 50..(batch + 1) * 50);
            assert_eq!(prober.send(), []);
        }
        prober.drain();
        assert!(prober.replies.len() < 1000);
        prober.fill(GATEWAY4.into(), [1000]);
        assert_eq!(prober.send(), []);
        let end = Instant::now() + LIMIT;
        let mut lost = None;
        while lost.is_none() {
            assert!(Instant::now() < end, "no count of lost replies");
            prober.back.receive(&prober.socket).unwrap();
            let mut messages = prober.back.packets().flat_map(|packet| wire::messages(packet.control));
            lost = messages.find(|(_, kind, _)| *kind == libc::SO_RXQ_OVFL).map(|(.., data)| data.to_vec());
        }
        let lost = u32::from_ne_bytes(lost.unwrap().try_into().unwrap());
        assert!((1..1000).contains(&lost), "{lost}");
    });
}

#[test]
fn a_link_that_goes_away_refuses_packets_and_the_socket_outlives_it() {
    let lab = Lab::builder().hosts(0).build();
    let to = IpAddr::from(GATEWAY4);
    let mut refused = Vec::new();
    let again = || {
        lab.router.must(&[
            "ip",
            "link",
            "add",
            "wan",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &lab.internet.netns,
        ]);
        lab.router.must(&["ip", "addr", "add", "203.0.113.2/24", "dev", "wan"]);
        lab.router.must(&["ip", "link", "set", "wan", "up"]);
        lab.internet.must(&["ip", "addr", "add", "203.0.113.1/24", "dev", "eth0"]);
        lab.internet.must(&["ip", "link", "set", "eth0", "up"]);
    };
    lab.router.enter(|| {
        let mut prober = Prober::echo(true, Wanted::default());
        prober.warm_up(to);
        let ifindex = sys::if_index("wan").unwrap().cast_unsigned();
        let mut attempt = |prober: &mut Prober| {
            let bytes = &wire::echo(true, 1);
            for ifindex in [0, ifindex] {
                let packet = Packet { destination: to, ifindex, source: None, ttl: None, tos: 0, bytes };
                assert!(prober.out.push(&packet));
            }
            refused.push(prober.send());
            prober.drain();
        };
        lab.router.must(&["ip", "link", "set", "wan", "down"]);
        attempt(&mut prober);
        assert!(path(to, 0).is_err());
        lab.router.must(&["ip", "link", "del", "wan"]);
        attempt(&mut prober);
        assert!(path(to, ifindex).is_err());
        again();
        prober.forget();
        prober.warm_up(to);
        prober.fill(to, [7]);
        assert_eq!(prober.send(), []);
        prober.drain_until("a reply over the new link", |prober| prober.replies.contains_key(&7));
    });
    let unreachable = libc::ENETUNREACH;
    assert_eq!(refused, [[(0, unreachable), (1, unreachable)], [(0, unreachable), (1, libc::ENODEV)]]);
}

#[test]
fn an_error_about_an_earlier_packet_refuses_no_later_one() {
    let lab = Lab::new();
    let host = lab.host(1);
    host.enter(|| {
        let mut prober = Prober::echo(true, Wanted::default());
        // Every raw socket hears of the error, so this one tells when it has come.
        let witness = raw::open(Kind::Icmp4, &wire::filter(Kind::Icmp4)).unwrap();
        let mut seen = ReceiveBatch::new(1, 128);
        let bytes = &wire::echo(true, 1);
        let far = lab.internet.v4.into();
        assert!(prober.out.push(&Packet { destination: far, ifindex: 0, source: None, ttl: Some(1), tos: 0, bytes }));
        assert_eq!(prober.send(), []);
        let end = Instant::now() + LIMIT;
        while seen.receive_errors(&witness).unwrap() == 0 {
            assert!(Instant::now() < end, "no ICMP error");
        }
        prober.fill(lab.router.v4.into(), 2..12);
        assert_eq!(prober.send(), []);
        prober
            .drain_until("ten replies and one error", |prober| prober.replies.len() == 10 && prober.others.len() == 1);
        // SO_EE_ORIGIN_ICMP, time exceeded.
        assert_eq!((prober.others[0].origin, prober.others[0].kind), (2, 11));
    });
}

#[test]
fn a_packet_that_finds_the_queue_full_is_refused() {
    let lab = Lab::builder().hosts(0).build();
    lab.router
        .must(&["tc", "qdisc", "add", "dev", "wan", "root", "tbf", "rate", "8kbit", "burst", "1600", "limit", "2000"]);
    lab.router.enter(|| {
        let mut prober = Prober::echo(true, Wanted::default());
        prober.fill(GATEWAY4.into(), 0..64);
        let refused = prober.send();
        assert!(refused.iter().all(|(_, error)| *error == libc::ENOBUFS), "{refused:?}");
        assert!((1..64).contains(&refused.len()), "{refused:?}");
    });
}
