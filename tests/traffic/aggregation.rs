//! Packets that the network stack carries as one and the wire as many (GSO, GRO): both ways to count them.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use crate::figures::{Hosts, Tally, expect, host, hosts, setup};
use crate::harness::{Daemon, PATIENCE};
use crate::lab::traffic::{iperf3, send_udp};
use crate::lab::{Counters, End, Lab, process};

/// linux/udp.h: the size at which one write is cut into datagrams.
const UDP_SEGMENT: libc::c_int = 103;
const BULK: u64 = 20_000_000;

#[test]
fn bulk_tcp_counts_as_the_hosts_own_network_card_counts_it() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).start();
    let ends = [
        (lab.host(1).on_v4(), lab.internet.on_v4(), lab.host(1).counters("eth0")),
        (lab.host(2).on_v6(), lab.internet.on_v6(), lab.host(2).counters("eth0")),
    ];
    for (end, server, _) in &ends {
        bulk(&lab, *end, *server);
    }
    let cards = agree(&daemon, || {
        ends.map(|(end, _, before)| {
            let card = end.node.counters("eth0") - before;
            (host(end), card, (card.rx_bytes, card.rx_packets), (card.tx_bytes, card.tx_packets))
        })
    });
    for (_, card, ..) in cards {
        // Aggregated indeed: no frame on a wire holds more than 1514 bytes.
        assert!(card.tx_bytes > 2000 * card.tx_packets && card.rx_bytes > 2000 * card.rx_packets, "{card:?}");
    }
}

#[test]
fn bulk_tcp_counts_as_the_wire_carries_it_when_asked_to() {
    let lab = Lab::builder().hosts(2).build();
    // Where the router sends, its own stack cuts what it carried as one: behind its hooks, before the device counts.
    let off = [("tso", false), ("gso", false)];
    for device in ["wan", "lan1", "lan2"] {
        lab.router.set_offloads(device, &off);
    }
    let daemon = setup(&lab).flags(&["-o", "traffic.count=wire"]).start();
    // One host after the other, so that all that leaves on the WAN is its own.
    let mut total = Hosts::new();
    for (end, server) in [(lab.host(1).on_v4(), lab.internet.on_v4()), (lab.host(2).on_v6(), lab.internet.on_v6())] {
        let (card, wan) = (end.node.counters("eth0"), lab.router.counters("wan"));
        bulk(&lab, end, server);
        let wires = agree_with(&daemon, &total, || {
            let (card, wan) = (end.node.counters("eth0") - card, lab.router.counters("wan") - wan);
            [(host(end), card, (card.rx_bytes, card.rx_packets), (wan.tx_bytes, wan.tx_packets))]
        });
        for (host, card, down, up) in wires {
            assert!(card.tx_bytes > 2000 * card.tx_packets, "the host sends aggregated packets: {card:?}");
            assert!(down.0 <= 1514 * down.1 && up.0 <= 1514 * up.1, "and the wire carries none: {down:?} {up:?}");
            total.insert(host, tally(down, up));
        }
    }
}

/// Bulk TCP by the real iperf3, up and then down.
fn bulk(lab: &Lab, end: End, server: End) {
    for reverse in [false, true] {
        let run = iperf3(end, server, BULK, reverse, lab.dir());
        // An iperf3 that sends stops counting before all has arrived, so only the sender's figure is sure.
        assert!(run.sent >= BULK, "{run:?}");
    }
}

/// A host, its network card, and the bytes and packets down and up that it should be charged with.
type Carried = (String, Counters, (u64, u64), (u64, u64));

/// Waits until the last packets have arrived and the daemon shows what `carried` says; returns that.
fn agree<const N: usize>(daemon: &Daemon, carried: impl Fn() -> [Carried; N]) -> [Carried; N] {
    agree_with(daemon, &Hosts::new(), carried)
}

/// Likewise with what was counted `before`.
fn agree_with<const N: usize>(daemon: &Daemon, before: &Hosts, carried: impl Fn() -> [Carried; N]) -> [Carried; N] {
    let mut last = None;
    let agreed = process::poll(PATIENCE, || {
        let carried = carried();
        let mut want = before.clone();
        want.extend(carried.iter().map(|(host, _, down, up)| (host.clone(), tally(*down, *up))));
        let shown = hosts(&daemon.metrics());
        let agreed = (want == shown).then_some(carried);
        last = Some((want, shown));
        agreed
    });
    agreed.unwrap_or_else(|| panic!("carried and shown differ: {last:#?}"))
}

fn tally(down: (u64, u64), up: (u64, u64)) -> Tally {
    Tally { down_bytes: down.0, down_packets: down.1, up_bytes: up.0, up_packets: up.1 }
}

#[test]
fn segmented_udp_counts_as_one_packet_or_as_its_segments() {
    // 25 segments of 1,000 bytes and one of 500, each with UDP, IP and Ethernet header on the wire; as one packet they
    // share theirs.
    let payload: u64 = 25 * 1000 + 500;
    for (count, packets) in [("l2", 1), ("wire", 26)] {
        let lab = Lab::builder().hosts(1).build();
        let daemon = setup(&lab).flags(&["-o", &format!("traffic.count={count}")]).start();
        let lan = lab.host(1);
        let mut want = Vec::new();
        for (near, far, ip) in [(lan.on_v4(), lab.internet.on_v4(), 20), (lan.on_v6(), lab.internet.on_v6(), 40)] {
            send_segmented(near, far, payload);
            send_segmented(far, near, payload);
            let bytes = payload + packets * (8 + ip + 14);
            want.push((
                host(near),
                Tally { down_bytes: bytes, down_packets: packets, up_bytes: bytes, up_packets: packets },
            ));
        }
        expect(&daemon, want);
        plain_datagrams_count_alike(&lab, &daemon);
    }
}

/// What is not aggregated counts the same either way.
fn plain_datagrams_count_alike(lab: &Lab, daemon: &Daemon) {
    let lan = lab.host(1);
    let mut want = hosts(&daemon.metrics());
    for (near, far) in [(lan.on_v4(), lab.internet.on_v4()), (lan.on_v6(), lab.internet.on_v6())] {
        *want.get_mut(&host(near)).unwrap() += Tally::up(send_udp(near, far, 10, 1400));
    }
    expect(daemon, want);
}

/// Sends `payload` bytes in one write that the stack cuts into datagrams of 1,000, and reads them all.
fn send_segmented(from: End, to: End, payload: u64) {
    let (sender, receiver) = (from.node.udp_socket(from.ip, 0), to.node.udp_socket(to.ip, 0));
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    segment_at(&sender, 1000).unwrap();
    let sent = sender.send_to(&vec![7; payload as usize], receiver.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 2000];
    let mut got = 0;
    while got < sent {
        got += receiver.recv_from(&mut buffer).unwrap().0;
    }
    assert_eq!(got as u64, payload);
}

fn segment_at(socket: &UdpSocket, size: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const size).cast();
    // SAFETY: `socket` owns the descriptor; `value` points at a live int and `length` is its size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, UDP_SEGMENT, value, length) };
    crate::lab::sys::checked(result).map(drop)
}
