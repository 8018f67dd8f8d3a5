//! Bytes of clients from the counters of their connections.

use std::time::Duration;

use gatemeter::collectors::clients::flows::Options;

use crate::lab::traffic::UdpPair;
use crate::lab::{Lab, WAN4};
use crate::support::{Follower, forget_all, tracking_lab};

const OPTIONS: Options = Options { follow: true, bytes: true, max_clients: 64, event_buffer: 1 << 20, proc: false };

/// Puts the clock forward far enough for all flows to be read, and collects.
fn collect(follower: &mut Follower) {
    follower.ahead += Duration::from_secs(2);
    follower.collect();
}

#[test]
fn bytes_are_those_that_were_sent_over_both_families() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(OPTIONS);
        for (near, far) in [(lab.host(1).on_v4(), lab.internet.on_v4()), (lab.host(1).on_v6(), lab.internet.on_v6())] {
            let mut pair = UdpPair::open(near, far);
            let mut sent = pair.up(10, 1000);
            let mut received = pair.down(5, 500);
            collect(&mut follower);
            assert_eq!(follower.bytes(near.ip), [sent.l3, received.l3]);
            sent += pair.up(3, 100);
            received += pair.down(40, 1400);
            for _ in 0..3 {
                collect(&mut follower);
                assert_eq!(follower.bytes(near.ip), [sent.l3, received.l3]);
            }
        }
    });
}

#[test]
fn connections_that_live_shorter_than_an_interval_are_counted() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(OPTIONS);
        let near = lab.host(1).on_v4();
        let mut pair = UdpPair::open(near, lab.internet.on_v4());
        let (sent, received) = (pair.up(10, 1000), pair.down(5, 500));
        forget_all(&lab.router);
        collect(&mut follower);
        assert_eq!(follower.bytes(near.ip), [sent.l3, received.l3]);
        collect(&mut follower);
        assert_eq!(follower.bytes(near.ip), [sent.l3, received.l3]);
    });
}

#[test]
fn the_last_bytes_of_a_connection_are_counted_and_none_of_it_twice() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(OPTIONS);
        let near = lab.host(1).on_v4();
        let mut pair = UdpPair::open(near, lab.internet.on_v4());
        let mut sent = pair.up(10, 1000);
        collect(&mut follower);
        sent += pair.up(7, 700);
        forget_all(&lab.router);
        collect(&mut follower);
        assert_eq!(follower.bytes(near.ip), [sent.l3, 0]);
        // The same ports once more are another connection.
        sent += pair.up(1, 10);
        collect(&mut follower);
        assert_eq!(follower.bytes(near.ip), [sent.l3, 0]);
    });
}

#[test]
fn what_a_connection_moved_before_we_began_is_not_counted() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let near = lab.host(1).on_v4();
        let mut pair = UdpPair::open(near, lab.internet.on_v4());
        pair.up(10, 1000);
        pair.down(10, 1000);
        let mut follower = Follower::open(OPTIONS);
        assert_eq!(follower.bytes(near.ip), [0, 0]);
        let (sent, received) = (pair.up(2, 50), pair.down(3, 60));
        collect(&mut follower);
        assert_eq!(follower.bytes(near.ip), [sent.l3, received.l3]);
    });
}

#[test]
fn between_two_clients_each_has_its_side_and_behind_a_port_forward_the_host_that_answers() {
    let lab = tracking_lab();
    crate::support::rules(
        &lab.router,
        &format!(
            "table ip lab_forward {{\nchain prerouting {{\ntype nat hook prerouting priority dstnat\n\
             ip daddr {WAN4} udp dport 5000 dnat to {}\n}}\n}}\n",
            lab.host(2).v4
        ),
    );
    lab.router.enter(|| {
        let mut follower = Follower::open(OPTIONS);
        let (host, guest) = (lab.host(1).on_v4(), lab.guests[0].on_v4());
        let mut pair = UdpPair::open(host, guest);
        let (sent, received) = (pair.up(10, 1000), pair.down(5, 500));
        collect(&mut follower);
        assert_eq!(follower.bytes(host.ip), [sent.l3, received.l3]);
        assert_eq!(follower.bytes(guest.ip), [received.l3, sent.l3]);
        let forwarded = forwarded(&lab, 300);
        collect(&mut follower);
        assert_eq!(follower.bytes(lab.host(2).v4.into()), forwarded);
    });
}

/// Sends from the internet to the forwarded port and back; bytes that the host behind it sent and received.
fn forwarded(lab: &Lab, payload: usize) -> [u64; 2] {
    let outside = lab.internet.udp_socket(lab.internet.v4, 0);
    let inside = lab.host(2).udp_socket(lab.host(2).v4, 5000);
    let mut buf = [0; 2000];
    outside.send_to(&vec![1; payload], (WAN4, 5000)).unwrap();
    let (_, from) = inside.recv_from(&mut buf).unwrap();
    inside.send_to(&[1; 40], from).unwrap();
    outside.recv_from(&mut buf).unwrap();
    [40 + 28, payload as u64 + 28]
}

#[test]
fn without_counters_nothing_is_counted_and_it_is_told() {
    let lab = tracking_lab();
    lab.router.sysctl("netfilter/nf_conntrack_acct", "0");
    lab.router.enter(|| {
        let mut follower = Follower::open(OPTIONS);
        let near = lab.host(1).on_v4();
        let mut pair = UdpPair::open(near, lab.internet.on_v4());
        pair.up(1, 10);
        collect(&mut follower);
        assert_eq!((follower.bytes(near.ip), follower.connections.totals().unmetered), ([0, 0], 1));
        assert_eq!(follower.connections.counts(near.ip).unreplied, 1);
    });
}

#[test]
fn the_file_of_proc_gives_the_same_bytes() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options { proc: true, ..OPTIONS });
        let near = lab.host(1).on_v6();
        let mut pair = UdpPair::open(near, lab.internet.on_v6());
        let (sent, received) = (pair.up(10, 1000), pair.down(5, 500));
        follower.ahead += Duration::from_secs(10);
        follower.collect();
        assert_eq!(follower.bytes(near.ip), [sent.l3, received.l3]);
    });
}
