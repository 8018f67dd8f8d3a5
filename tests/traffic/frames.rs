//! Frames that sockets do not send by themselves: tags, options, extension headers, fragments, cut and forged ones.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::figures::{
    TRUNCATED, TRUNCATED_BYTES, Tally, expect, host, inject, mark, named, nobody, setup, silence, static_lease,
    static_leases,
};
use crate::harness::PATIENCE;
use crate::lab::{Lab, Node, frames};

fn macs(lab: &Lab, node: &Node) -> frames::Macs {
    frames::Macs { source: node.mac, destination: lab.router_mac(node) }
}

#[test]
fn vlan_tags_are_looked_through_and_are_not_charged() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    let lan = lab.host(1);
    let socket = lan.packet_socket("eth0");
    let plain4 = frames::udp(macs(&lab, lan), lan.v4.into(), nobody(false), &[1; 300]);
    let plain6 = frames::udp(macs(&lab, lan), lan.v6.into(), nobody(true), &[1; 400]);
    let mut want = Vec::new();
    for (plain, end) in [(&plain4, lan.on_v4()), (&plain6, lan.on_v6())] {
        for tags in [&[(0x8100, 42)][..], &[(0x88a8, 7)], &[(0x88a8, 7), (0x8100, 42)], &[(0x8100, 7), (0x8100, 42)]] {
            inject(&lab, &socket, &[frames::tagged(plain, tags)]);
            want.push((host(end), Tally::frames([plain])));
        }
    }
    // By hand: four frames each, of 300 and 400 bytes with UDP, IP and Ethernet header.
    assert_eq!(want[0].1.up_bytes, 300 + 8 + 20 + 14);
    assert_eq!(want[4].1.up_bytes, 400 + 8 + 40 + 14);
    expect(&daemon, want);
}

#[test]
fn options_and_extension_headers_do_not_hide_a_packet() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    let lan = lab.host(1);
    let socket = lan.packet_socket("eth0");
    let receiver = |ip: IpAddr| {
        let socket = lab.internet.udp_socket(ip, 9);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let arrived = [receiver(lab.internet.v4.into()), receiver(lab.internet.v6.into())];
    let plain4 = frames::udp(macs(&lab, lan), lan.v4.into(), lab.internet.v4.into(), &[1; 64]);
    let plain6 = frames::udp(macs(&lab, lan), lan.v6.into(), lab.internet.v6.into(), &[1; 64]);
    let sent4 = [with_options(&plain4, &[1, 1, 1, 0]), with_options(&plain4, &[1; 40])];
    let pad = [1, 4, 0, 0, 0, 0];
    let sent6 = [
        with_extension(&plain6, 0, &pad),
        with_extension(&plain6, 60, &pad),
        with_extension(&with_extension(&plain6, 60, &pad), 0, &pad),
        // A fragment header of a whole packet ("atomic fragment", RFC 6946).
        with_extension(&plain6, 44, &[0, 0, 0, 0, 0, 1]),
    ];
    // Frames as made: 4 and 40 bytes of options, 8 bytes for each extension header.
    assert_eq!(sent4.each_ref().map(Vec::len), [106 + 4, 106 + 40]);
    assert_eq!(sent6.each_ref().map(Vec::len), [126 + 8, 126 + 8, 126 + 16, 126 + 8]);
    for (frames, arrived) in [(&sent4[..], &arrived[0]), (&sent6, &arrived[1])] {
        for frame in frames {
            socket.send(frame).unwrap();
            // The far end takes only what is well formed.
            let (length, _) = arrived.recv_from(&mut [0; 1500]).unwrap();
            assert_eq!(length, 64);
        }
    }
    expect(&daemon, [(host(lan.on_v4()), Tally::frames(&sent4)), (host(lan.on_v6()), Tally::frames(&sent6))]);
}

#[test]
fn every_fragment_counts_in_both_directions() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    let lan = lab.host(1);
    let payload = 4000;
    // 4008 bytes of UDP in pieces of at most 1500 with their IP header, at multiples of 8.
    let pieces4 = [1480, 1480, 1048].map(|piece| 14 + 20 + piece);
    let pieces6 = [1448, 1448, 1112].map(|piece| 14 + 40 + 8 + piece);
    let mut want = Vec::new();
    for (near, far, pieces) in
        [(lan.on_v4(), lab.internet.on_v4(), pieces4), (lan.on_v6(), lab.internet.on_v6(), pieces6)]
    {
        let (client, server) = (near.node.udp_socket(near.ip, 0), far.node.udp_socket(far.ip, 0));
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        let mut buffer = [0; 5000];
        let (client_at, server_at): (SocketAddr, SocketAddr) =
            (client.local_addr().unwrap(), server.local_addr().unwrap());
        for _ in 0..10 {
            client.send_to(&vec![3; payload], server_at).unwrap();
            assert_eq!(server.recv_from(&mut buffer).unwrap(), (payload, client_at));
        }
        for _ in 0..7 {
            server.send_to(&vec![3; payload], client_at).unwrap();
            assert_eq!(client.recv_from(&mut buffer).unwrap(), (payload, server_at));
        }
        let bytes: u64 = pieces.iter().sum();
        want.push((
            host(near),
            Tally { down_bytes: 7 * bytes, down_packets: 21, up_bytes: 10 * bytes, up_packets: 30 },
        ));
    }
    expect(&daemon, want);
}

#[test]
fn frames_that_end_inside_their_ip_header_are_told_and_charged_to_nobody() {
    let lab = Lab::builder().hosts(1).build();
    lab.plain_bridge();
    let daemon = setup(&lab).start();
    let lan = lab.host(1);
    let socket = lan.packet_socket("eth0");
    let whole4 = frames::udp(macs(&lab, lan), lan.v4.into(), nobody(false), &[1; 300]);
    let whole6 = frames::udp(macs(&lab, lan), lan.v6.into(), nobody(true), &[1; 300]);
    let cut: Vec<Vec<u8>> = [(&whole4, 14), (&whole4, 20), (&whole4, 33), (&whole6, 20), (&whole6, 53)]
        .into_iter()
        .map(|(frame, length)| frame[..length].to_vec())
        .collect();
    inject(&lab, &socket, &cut);
    // An IP header and not a byte more is a packet: what is behind it does not matter.
    let headers = [whole4[..34].to_vec(), whole6[..54].to_vec()];
    inject(&lab, &socket, &headers);
    expect(
        &daemon,
        [
            (host(lan.on_v4()), Tally::frames([&headers[0]])),
            (host(lan.on_v6()), Tally::frames([&headers[1]])),
            mark(&lab, lan),
        ],
    );
    let metrics = daemon.metrics();
    assert_eq!(metrics[TRUNCATED], 5.0);
    assert_eq!(metrics[TRUNCATED_BYTES], f64::from(14 + 20 + 33 + 20 + 53));
}

#[test]
fn forged_sources_outside_the_lan_and_what_is_not_ip_are_not_counted() {
    let lab = Lab::builder().hosts(1).guest().build();
    silence(&lab);
    let daemon = setup(&lab).start();
    let lan = lab.host(1);
    let socket = lan.packet_socket("eth0");
    // Somebody listens at the host, so that it does not answer with errors.
    let _listening = [lan.udp_socket(lan.v4, 9), lan.udp_socket(lan.v6, 9)];
    let forged = |source: &str| {
        let source: IpAddr = source.parse().unwrap();
        frames::udp(macs(&lab, lan), source, nobody(source.is_ipv6()), &[1; 50])
    };
    let mut sent: Vec<_> = ["10.66.66.66", "198.51.100.10", "8.8.8.8", "192.168.0.255", "192.168.3.1", "203.0.113.2"]
        .into_iter()
        .chain(["2001:db8:beef::10", "2001:db8:1:3::1", "2001:db8:0:ffff::1", "fd00:1:2::1", "::1", "::"])
        .map(forged)
        .collect();
    // A guest's address on the main LAN: not a subnet of that interface.
    sent.extend([forged("192.168.2.11"), forged("2001:db8:1:2::11")]);
    // ARP, LLDP, PPPoE, a local experiment, and a length in place of a type (spanning tree).
    for ethertype in [0x0806u16, 0x88cc, 0x8864, 0x88b5, 0x0026] {
        let mut frame = sent[0].clone();
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        sent.push(frame);
    }
    // The LAN's own addresses come in from the bridge only: as a destination there they are no download.
    let inward = |to: IpAddr| frames::udp(macs(&lab, lan), nobody(to.is_ipv6()), to, &[1; 50]);
    sent.extend([inward(lan.v4.into()), inward(lan.v6.into())]);
    inject(&lab, &socket, &sent);
    // The last two were turned round by the router and are downloads where they leave again: once, not twice.
    let turned = |length: u64| Tally { down_bytes: length, down_packets: 1, ..Tally::default() };
    let (down4, down6) = (turned(50 + 8 + 20 + 14), turned(50 + 8 + 40 + 14));
    expect(&daemon, [(host(lan.on_v4()), down4), (host(lan.on_v6()), down6), mark(&lab, lan)]);
}

#[test]
fn another_device_on_the_same_address_begins_a_series_of_its_own() {
    let lab = Lab::builder().hosts(2).build();
    let leases =
        static_leases(&lab) + &static_lease("newcomer", &Node { mac: [2, 9, 9, 9, 9, 9], ..lab.host(2).clone() });
    let daemon = setup(&lab).uci("dhcp", &leases).start();
    let lan = lab.host(1);
    let socket = lan.packet_socket("eth0");
    let frame = |mac, payload: usize| {
        let macs = frames::Macs { source: mac, destination: lab.router_mac(lan) };
        frames::udp(macs, lan.v4.into(), nobody(false), &vec![1; payload])
    };
    let (old, new) = (vec![frame(lan.mac, 10); 3], vec![frame([2, 9, 9, 9, 9, 9], 20); 4]);
    inject(&lab, &socket, &old);
    inject(&lab, &socket, &new);
    let newcomer = Node { mac: [2, 9, 9, 9, 9, 9], ..lan.clone() };
    expect(
        &daemon,
        [(host(lan.on_v4()), Tally::frames(&old)), (named("newcomer", newcomer.on_v4()), Tally::frames(&new))],
    );
}

/// The IPv4 frame with options in its header, a multiple of 4 bytes.
fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let mut header = packet[..20].to_vec();
    header.extend(options);
    header[0] = 0x40 | u8::try_from(header.len() / 4).unwrap();
    header[2..4].copy_from_slice(&u16::try_from(packet.len() + options.len()).unwrap().to_be_bytes());
    header[10..12].fill(0);
    let sum = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()).to_be_bytes());
    [ethernet, &header, &packet[20..]].concat()
}

/// The IPv6 frame with one more extension header of 8 bytes in front: its type, and what follows its first two bytes.
fn with_extension(frame: &[u8], kind: u8, body: &[u8; 6]) -> Vec<u8> {
    let (head, rest) = frame.split_at(14 + 40);
    let mut head = head.to_vec();
    let extension = [&[head[14 + 6], 0], &body[..]].concat();
    head[14 + 6] = kind;
    let length = u16::from_be_bytes([head[14 + 4], head[14 + 5]]) + 8;
    head[14 + 4..14 + 6].copy_from_slice(&length.to_be_bytes());
    [&head, &extension[..], rest].concat()
}
