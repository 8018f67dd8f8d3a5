//! Who is counted and who is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use crate::figures::{Tally, exchange, expect, host, inject, mark, setup, silence};
use crate::lab::{self, Lab, frames, process};

#[test]
fn every_host_is_counted_to_the_byte_behind_nat() {
    every_host_is_counted(&Lab::builder().hosts(3).guest().nat().build());
}

#[test]
fn every_host_is_counted_to_the_byte_without_nat() {
    every_host_is_counted(&Lab::builder().hosts(3).guest().build());
}

/// All hosts at once, over both families, each with its own amounts.
fn every_host_is_counted(lab: &Lab) {
    let daemon = setup(lab).start();
    let exchanges = lab.lan.iter().chain(&lab.guests).enumerate().flat_map(|(n, node)| {
        let (up, down) = ((100 + n, 100 * n + 1), (50 * n + 1, 1400 - n));
        [(node.on_v4(), lab.internet.on_v4(), up, down), (node.on_v6(), lab.internet.on_v6(), down, up)]
    });
    let counted: Vec<_> = thread::scope(|scope| {
        let talk = |(from, to, up, down)| scope.spawn(move || (host(from), exchange(from, to, up, down)));
        let running: Vec<_> = exchanges.map(talk).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(counted.len(), 8);
    // By hand: 1 datagram of 1 byte down to the first host, with UDP, IP and Ethernet header, and 100 up.
    assert_eq!(counted[0].1.up_bytes, 100 * (1 + 8 + 20 + 14));
    assert_eq!(counted[1].1.up_bytes, 1400 + 8 + 40 + 14);
    expect(&daemon, counted);
}

#[test]
fn figures_are_counted_from_the_start_and_those_of_a_silent_host_are_absent() {
    let lab = Lab::builder().hosts(2).build();
    let daemon = setup(&lab).start();
    expect(&daemon, []);
    // One direction alone: the other one stays 0 and is not made up.
    let sent = mark(&lab, lab.host(1));
    assert_eq!(sent.1, Tally { up_bytes: 43, up_packets: 1, ..Tally::default() });
    expect(&daemon, [sent]);
    for (family, count) in [("ipv4", 1.0), ("ipv6", 0.0)] {
        assert_eq!(daemon.metrics()[&format!("gatemeter_traffic_hosts{{family=\"{family}\"}}")], count);
    }
}

#[test]
fn traffic_between_hosts_and_between_lans_is_not_internet_traffic() {
    let lab = Lab::builder().hosts(2).guest().nat().build();
    let daemon = setup(&lab).start();
    let (lan, guest) = (lab.host(1), &lab.guests[0]);
    let ula = |n: usize| lab.host(n).on(lab.host(n).ula.unwrap());
    for (from, to) in [
        (lan.on_v4(), guest.on_v4()),
        (lan.on_v6(), guest.on_v6()),
        (guest.on_v6(), lan.on_v6()),
        (ula(1), guest.on_v6()),
        (lan.on_v4(), lab.host(2).on_v4()),
        (lan.on_v6(), lab.host(2).on_v6()),
        (ula(1), ula(2)),
    ] {
        exchange(from, to, (20, 500), (10, 900));
    }
    expect(&daemon, [mark(&lab, lan), mark(&lab, guest)]);
}

#[test]
fn traffic_with_the_router_is_not_internet_traffic_whichever_of_its_addresses_is_used() {
    let lab = Lab::builder().hosts(2).guest().nat().build();
    let daemon = setup(&lab).start();
    let (lan, guest, router) = (lab.host(1), &lab.guests[0], &lab.router);
    let ula = lan.ula.unwrap();
    for (from, to) in [
        (lan.on_v4(), router.on_v4()),
        (lan.on_v6(), router.on_v6()),
        (lan.on(ula), router.on(router.ula.unwrap())),
        (lan.on_v4(), router.on(lab::WAN4)),
        (lan.on_v6(), router.on(lab::WAN6)),
        (guest.on_v4(), router.on(lab::WAN4)),
        (guest.on_v4(), router.on_v4()),
    ] {
        exchange(from, to, (20, 500), (10, 900));
    }
    expect(&daemon, [mark(&lab, lan), mark(&lab, guest)]);
}

#[test]
fn a_host_reached_through_the_public_address_is_not_internet_traffic() {
    let lab = Lab::builder().hosts(2).nat().build();
    let rules = "table ip hairpin {\n\
                 chain pre { type nat hook prerouting priority dstnat; ip daddr 203.0.113.2 udp dport 7000 dnat to 192.168.1.12; }\n\
                 chain post { type nat hook postrouting priority srcnat; ip saddr 192.168.1.0/24 ip daddr 192.168.1.0/24 masquerade; }\n\
                 }\n";
    let mut nft = lab.router.command("nft");
    nft.args(["-f", "-"]);
    process::must(nft, rules).unwrap();
    let daemon = setup(&lab).start();

    let (caller, server) = (lab.host(1).udp_socket(lab.host(1).v4, 0), lab.host(2).udp_socket(lab.host(2).v4, 7000));
    let mut buffer = [0; 1500];
    for socket in [&caller, &server] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    for _ in 0..20 {
        caller.send_to(&[1; 400], (lab::WAN4, 7000)).unwrap();
        let (_, seen) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(seen.ip(), IpAddr::from([192, 168, 1, 1]));
        server.send_to(&[2; 300], seen).unwrap();
        let (length, from) = caller.recv_from(&mut buffer).unwrap();
        assert_eq!((length, from.ip()), (300, IpAddr::from(lab::WAN4)));
    }
    expect(&daemon, [mark(&lab, lab.host(1)), mark(&lab, lab.host(2))]);
}

#[test]
fn multicast_broadcast_and_ranges_that_are_never_the_internet_are_not_counted() {
    let lab = Lab::builder().hosts(1).build();
    silence(&lab);
    let daemon = setup(&lab).start();
    let (lan, socket) = (lab.host(1), lab.host(1).packet_socket("eth0"));
    let router = lab.router_mac(lan);
    let frame = |to: &str, source: Option<&str>, mac: [u8; 6]| {
        let to: IpAddr = to.parse().unwrap();
        let own = if to.is_ipv4() { IpAddr::from(lan.v4) } else { IpAddr::from(lan.v6) };
        let from = source.map_or(own, |source| source.parse().unwrap());
        frames::udp(frames::Macs { source: lan.mac, destination: mac }, from, to, &[7; 120])
    };
    let group = |last: [u8; 4]| [0x33, 0x33, last[0], last[1], last[2], last[3]];
    let broadcast = [0xff; 6];
    let sent = [
        // mDNS, SSDP, IGMP's group of all routers, DHCP discover, broadcast of the subnet and of all subnets.
        frame("224.0.0.251", None, [1, 0, 0x5e, 0, 0, 0xfb]),
        frame("239.255.255.250", None, [1, 0, 0x5e, 0x7f, 0xff, 0xfa]),
        frame("224.0.0.2", None, [1, 0, 0x5e, 0, 0, 2]),
        frame("255.255.255.255", Some("0.0.0.0"), broadcast),
        frame("255.255.255.255", None, broadcast),
        frame("192.168.1.255", None, broadcast),
        frame("ff02::fb", None, group([0, 0, 0, 0xfb])),
        frame("ff05::2", None, group([0, 0, 0, 2])),
        frame("ff02::1:2", Some("fe80::1a:ff:fe00:101"), group([0, 1, 0, 2])),
        frame("fe80::1", None, router),
        frame("fe80::1", Some("fe80::1a:ff:fe00:101"), router),
        frame("2001:db8:beef::10", Some("fe80::1a:ff:fe00:101"), router),
        // Private, shared, link-local and reserved peers.
        frame("10.1.2.3", None, router),
        frame("172.16.0.1", None, router),
        frame("172.31.255.255", None, router),
        frame("192.168.200.1", None, router),
        frame("100.64.0.1", None, router),
        frame("100.127.255.255", None, router),
        frame("169.254.1.1", None, router),
        frame("127.0.0.1", None, router),
        frame("0.1.2.3", None, router),
        frame("240.0.0.1", None, router),
        frame("fd12:3456::1", None, router),
        frame("fc00::1", None, router),
        // Sources that are no host's.
        frame("198.51.100.10", Some("0.0.0.0"), router),
        frame("198.51.100.10", Some("169.254.3.4"), router),
    ];
    inject(&lab, &socket, &sent);
    expect(&daemon, [mark(&lab, lan)]);
}

#[test]
fn neighbours_of_the_ranges_that_are_never_the_internet_and_documentation_ranges_are_counted() {
    let lab = Lab::builder().hosts(1).build();
    silence(&lab);
    let daemon = setup(&lab).start();
    let (lan, socket) = (lab.host(1), lab.host(1).packet_socket("eth0"));
    let macs = frames::Macs { source: lan.mac, destination: lab.router_mac(lan) };
    let to4 =
        ["192.0.2.1", "198.51.100.77", "11.0.0.1", "9.255.255.255", "172.15.255.255", "172.32.0.1", "192.167.255.1"]
            .into_iter()
            .chain([
                "192.169.0.1",
                "100.63.255.255",
                "100.128.0.1",
                "169.253.1.1",
                "169.255.0.1",
                "126.1.1.1",
                "223.255.255.1",
            ]);
    let to4: Vec<Ipv4Addr> = to4.map(|text| text.parse().unwrap()).collect();
    let to6: Vec<Ipv6Addr> =
        ["2001:db8:beef::77", "2001:db8:1:ff::1", "3fff::1", "64:ff9b::c000:201", "2001::1", "fe00::1"]
            .map(|text| text.parse().unwrap())
            .to_vec();
    let sent4: Vec<_> = to4.iter().map(|to| frames::udp(macs, lan.v4.into(), IpAddr::V4(*to), &[1; 77])).collect();
    let sent6: Vec<_> = to6.iter().map(|to| frames::udp(macs, lan.v6.into(), IpAddr::V6(*to), &[1; 99])).collect();
    inject(&lab, &socket, &sent4);
    inject(&lab, &socket, &sent6);
    // A unique local source under a global destination is a host of the LAN like any other.
    let ula = lan.ula.unwrap();
    let from_ula = vec![frames::udp(macs, ula.into(), lab.internet.v6.into(), &[1; 11])];
    inject(&lab, &socket, &from_ula);
    let counted = [
        (host(lan.on_v4()), Tally::frames(&sent4)),
        (host(lan.on_v6()), Tally::frames(&sent6)),
        (host(lan.on(ula)), Tally::frames(&from_ula)),
        // The provider's gateway lies on the router's own link and is the internet all the same.
        (host(lan.on_v4()), exchange(lan.on_v4(), lab.internet.on(lab::GATEWAY4), (3, 30), (2, 40))),
        (host(lan.on_v6()), exchange(lan.on_v6(), lab.internet.on(lab::GATEWAY6), (3, 30), (2, 40))),
    ];
    expect(&daemon, counted);
}
