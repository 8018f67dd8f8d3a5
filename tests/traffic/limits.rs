//! More hosts than fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::figures::{
    StopOnDrop, TABLE_FULL, TABLE_FULL_BYTES, Tally, host, hosts, inject, mark, nobody, setup, silence,
};
use crate::harness::{Daemon, Samples};
use crate::lab::traffic::{Sent, UdpPair};
use crate::lab::{Lab, frames};

const EVICTED: &str = "gatemeter_traffic_evicted_hosts_total";

fn in_table(metrics: &Samples, family: &str) -> f64 {
    metrics[&format!("gatemeter_traffic_hosts{{family=\"{family}\"}}")]
}

/// A frame to the internet from a made-up host, told apart by MAC and address.
fn forged(lab: &Lab, n: u16, ip: IpAddr, payload: usize) -> Vec<u8> {
    let [high, low] = n.to_be_bytes();
    let macs = frames::Macs { source: [2, 0xfa, 0xce, 0, high, low], destination: lab.router_mac(lab.host(1)) };
    frames::udp(macs, ip, nobody(ip.is_ipv6()), &vec![9; payload])
}

/// Waits until counted and uncounted packets together are `sent`; returns what was counted.
fn all_accounted(daemon: &Daemon, sent: Tally) -> Tally {
    daemon.wait_until("every packet counted or told", |metrics| {
        let mut counted = Tally::default();
        hosts(metrics).into_values().for_each(|tally| counted += tally);
        let uncounted = (metrics[TABLE_FULL] as u64, metrics[TABLE_FULL_BYTES] as u64);
        let both = (counted.up_packets + uncounted.0, counted.up_bytes + uncounted.1);
        (both == (sent.up_packets, sent.up_bytes)).then_some(counted)
    })
}

#[test]
fn what_finds_no_room_in_the_table_is_told_to_the_byte() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).flags(&["-o", "traffic.max_hosts=64", "-o", "traffic.unknown_hosts=1"]).start();
    let socket = lab.host(1).packet_socket("eth0");
    let source = |n: u16| IpAddr::from(Ipv4Addr::new(192, 168, 1, 20 + n as u8));
    let frames: Vec<_> = (0..200).map(|n| forged(&lab, n, source(n), usize::from(n))).collect();
    inject(&lab, &socket, &frames);
    inject(&lab, &socket, &frames);

    let mut sent = Tally::frames(&frames);
    sent += sent;
    let counted = all_accounted(&daemon, sent);
    // The first 64 found room and kept it: both of their frames count.
    let mut first = Tally::frames(&frames[..64]);
    first += first;
    assert_eq!(counted, first);
    let metrics = daemon.metrics();
    assert_eq!(in_table(&metrics, "ipv4"), 64.0);
    assert_eq!(metrics["gatemeter_traffic_hosts_limit"], 64.0);
    assert_eq!(metrics["gatemeter_traffic_unknown_hosts"], 64.0);
    // One family's crowd does not crowd out the other.
    let v6 = lab.host(1).on_v6();
    let mut pair = UdpPair::open(v6, lab.internet.on_v6());
    let up = pair.up(5, 50);
    let want = Tally::of(up, pair.down(6, 60));
    daemon.wait_until("the host over IPv6", |metrics| (hosts(metrics).get(&host(v6)) == Some(&want)).then_some(()));
}

#[test]
fn eleven_hundred_addresses_are_accounted_for_with_the_default_limit() {
    let lab = Lab::builder().hosts(1).build();
    silence(&lab);
    let daemon = setup(&lab).flags(&["-o", "traffic.unknown_hosts=1"]).start();
    let socket = lab.host(1).packet_socket("eth0");
    // As temporary addresses do it: many in one prefix.
    let source = |n: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0xabcd, 0, 0, n));
    let frames: Vec<_> = (0..1100).map(|n| forged(&lab, n, source(n), usize::from(n) % 500)).collect();
    inject(&lab, &socket, &frames);
    inject(&lab, &socket, &frames);
    let mut sent = Tally::frames(&frames);
    sent += sent;
    let counted = all_accounted(&daemon, sent);
    let mut first = Tally::frames(&frames[..1024]);
    first += first;
    assert_eq!(counted, first);
    let metrics = daemon.metrics();
    assert_eq!(metrics["gatemeter_traffic_hosts_limit"], 1024.0);
    assert_eq!(in_table(&metrics, "ipv6"), 1024.0);
    assert_eq!(metrics[TABLE_FULL], 152.0);
}

#[test]
fn idle_hosts_make_room_and_active_ones_stay() {
    let lab = Lab::builder().hosts(2).build();
    let flags = ["-o", "traffic.max_hosts=16", "-o", "traffic.evict_idle=3", "-o", "traffic.unknown_hosts=1"];
    let daemon = setup(&lab).flags(&flags).start();
    let (active, lazy) = (lab.host(1), lab.host(2));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let talker = scope.spawn(|| {
            let mut pair = UdpPair::open(active.on_v4(), lab.internet.on_v4());
            let mut sent = Sent::default();
            while !stop.load(Ordering::Relaxed) {
                sent += pair.up(1, 100);
                thread::sleep(Duration::from_millis(20));
            }
            sent
        });
        let stopping = StopOnDrop(&stop);
        let (socket, source) = (lazy.packet_socket("eth0"), |n| IpAddr::from(Ipv4Addr::new(192, 168, 1, 20 + n as u8)));
        let frames: Vec<_> = (0..15).map(|n| forged(&lab, n, source(n), 10)).collect();
        inject(&lab, &socket, &frames);
        // Sixteen of sixteen; at fourteen a table fills, and those idle longest go until a quarter is free.
        daemon.wait_for(EVICTED, 4.0);
        let metrics = daemon.metrics();
        assert_eq!((in_table(&metrics, "ipv4"), metrics[TABLE_FULL]), (12.0, 0.0));
        // One that comes back, or is new, finds room.
        let marked = mark(&lab, lazy);
        daemon.wait_until("the late host", |metrics| (hosts(metrics).get(&marked.0) == Some(&marked.1)).then_some(()));

        drop(stopping);
        let sent = Tally::up(talker.join().unwrap());
        let name = host(active.on_v4());
        daemon.wait_until("all of the active host", |metrics| (hosts(metrics).get(&name) == Some(&sent)).then_some(()));
    });
}
