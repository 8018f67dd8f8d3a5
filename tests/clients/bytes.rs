//! Bytes: what a client sent and received through the router, to the byte.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::figures::{Tally, client, clients, exchange, expect, fresh, let_it_flow, mark, setup, while_talking};
use crate::harness::Samples;
use crate::lab::firewall::Firewall;
use crate::lab::traffic::{TcpPair, UdpPair, iperf3};
use crate::lab::{Lab, Node};
use crate::witness;

/// What the kernel's sets hold, in the daemon's terms.
fn sets(router: &Node) -> BTreeMap<IpAddr, Tally> {
    let mut all: BTreeMap<IpAddr, Tally> = BTreeMap::new();
    for family in [4, 6] {
        for (ip, bytes) in witness::set(router, &format!("tx{family}")) {
            all.entry(ip).or_default().tx = bytes;
        }
        for (ip, bytes) in witness::set(router, &format!("rx{family}")) {
            all.entry(ip).or_default().rx = bytes;
        }
    }
    all.retain(|_, tally| *tally != Tally::default());
    all
}

fn by_address(metrics: &Samples) -> BTreeMap<IpAddr, Tally> {
    let address = |key: &str| key.rsplit(' ').next().unwrap().parse().unwrap();
    clients(metrics).into_iter().map(|(key, tally)| (address(&key), tally)).collect()
}

#[test]
fn several_hosts_at_once_are_counted_to_the_byte_over_both_families_behind_nat() {
    let lab = Lab::builder().hosts(4).guest().nat().build();
    let daemon = setup(&lab).start();
    let (mut sent, _) = while_talking(&lab, || {
        for _ in 0..4 {
            let_it_flow(&lab);
        }
    });
    assert_eq!(sent.len(), 8);
    let guest = &lab.guests[0];
    sent.insert(client(guest.on_v4()), exchange(guest.on_v4(), lab.internet.on_v4(), (7, 700), (9, 900)));
    expect(&daemon, sent);
    assert_eq!(by_address(&daemon.metrics()), sets(&lab.router));
}

#[test]
fn bulk_tcp_counts_what_the_kernels_own_set_counts_behind_a_firewall() {
    let lab = Lab::builder().hosts(2).build();
    let _firewall = Firewall::start(&lab);
    let daemon = setup(&lab).start();
    let (near, far) = (lab.host(1), &lab.internet);
    // What the sender wrote last may never arrive, as iperf3 ends when it has written enough.
    let up = iperf3(near.on_v4(), far.on_v4(), 8_000_000, false, lab.dir());
    let down = iperf3(near.on_v6(), far.on_v6(), 12_000_000, true, lab.dir());
    let marked = mark(&lab, lab.host(2));
    daemon.wait_until("the mark", |metrics| (clients(metrics).get(&marked.0) == Some(&marked.1)).then_some(()));
    let metrics = fresh(&daemon);
    assert_eq!(by_address(&metrics), sets(&lab.router));
    let counted = clients(&metrics);
    let [v4, v6] = [near.on_v4(), near.on_v6()].map(|end| counted[&client(end)]);
    // Payload, and headers of packets as long as the kernel joins them: 64 kB at most, 1,428 bytes at least.
    assert!(v4.tx > up.received && v4.tx < up.sent + up.sent / 20, "{v4:?} {up:?}");
    assert!(v6.rx > down.received && v6.rx < down.sent + down.sent / 15, "{v6:?} {down:?}");
}

#[test]
fn the_first_packet_of_a_client_that_nobody_knew_counts() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).start();
    lab.host(1).must(&["ip", "addr", "add", "192.168.1.77/24", "dev", "eth0"]);
    let stranger = lab.host(1).on([192, 168, 1, 77]);
    let up = UdpPair::open(stranger, lab.internet.on_v4()).up(1, 123);
    // Its neighbour entry comes with the answer; without one the client is known by its address only.
    let known = |name: &str| (format!("{name} 192.168.1.77"), Tally::tx(up));
    daemon.wait_until("its bytes", |metrics| {
        let counted = clients(metrics);
        [known("lan1"), known("unknown")].iter().any(|(key, tally)| counted.get(key) == Some(tally)).then_some(())
    });
}

#[test]
fn what_never_leaves_the_lan_and_what_the_router_itself_sends_is_not_counted() {
    let lab = Lab::builder().hosts(2).nat().build();
    lab.plain_bridge();
    let daemon = setup(&lab).start();
    exchange(lab.host(1).on_v4(), lab.host(2).on_v4(), (10, 100), (10, 100));
    exchange(lab.host(1).on_v4(), lab.router.on_v4(), (10, 100), (10, 100));
    exchange(lab.router.on(crate::lab::WAN4), lab.internet.on_v4(), (10, 100), (10, 100));
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn what_goes_from_one_lan_to_another_is_sent_by_one_client_and_received_by_the_other() {
    let lab = Lab::builder().hosts(1).guest().build();
    let daemon = setup(&lab).start();
    let (lan, guest) = (lab.host(1), &lab.guests[0]);
    let tally = exchange(lan.on_v4(), guest.on_v4(), (10, 100), (5, 500));
    let turned = Tally { tx: tally.rx, rx: tally.tx };
    expect(&daemon, [(client(lan.on_v4()), tally), (client(guest.on_v4()), turned)]);
}

#[test]
fn a_client_without_ipv4_is_a_client_like_any_other() {
    let lab = Lab::builder().hosts(2).build();
    lab.router.must(&["ip", "-4", "addr", "flush", "dev", "br-lan"]);
    let daemon = setup(&lab).start();
    let host = lab.host(1);
    let tally = exchange(host.on_v6(), lab.internet.on_v6(), (10, 100), (5, 500));
    expect(&daemon, [(client(host.on_v6()), tally)]);
    daemon.wait_for(&crate::figures::series("client_status", "lan1", host.v6), 1.0);
    let metrics = fresh(&daemon);
    assert_eq!(metrics["gatemeter_clients{family=\"ipv4\",state=\"online\"}"], 0.0);
    assert!(!metrics.keys().any(|series| series.contains("ip=\"192.168.1.")), "{metrics:#?}");
}

#[test]
fn a_connection_from_outside_through_a_port_forward_counts_for_the_host_it_reaches() {
    let lab = Lab::builder().hosts(2).build();
    let mut firewall = Firewall::start(&lab);
    let (host, outside) = (lab.host(2), &lab.internet);
    firewall.forward_port("udp", 5000, host.v4, 5001);
    let daemon = setup(&lab).start();
    let (inner, outer) = (host.udp_socket(host.v4, 5001), outside.udp_socket(outside.v4, 0));
    for socket in [&inner, &outer] {
        socket.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    }
    let mut buffer = [0; 2000];
    for _ in 0..5 {
        outer.send_to(&[1; 300], (crate::lab::WAN4, 5000)).unwrap();
        let (_, seen) = inner.recv_from(&mut buffer).unwrap();
        inner.send_to(&[2; 50], seen).unwrap();
        outer.recv_from(&mut buffer).unwrap();
    }
    expect(&daemon, [(client(host.on_v4()), Tally { tx: 5 * (50 + 28), rx: 5 * (300 + 28) })]);
}

#[test]
fn two_hundred_and_fifty_clients_are_counted_to_the_byte() {
    let lab = Lab::builder().hosts(1).nat().build();
    let crowd = lab.crowd(lab.host(1), 250);
    let daemon = setup(&lab).start();
    let flows = crowd.flows(4);
    let mut want: BTreeMap<IpAddr, Tally> = BTreeMap::new();
    for (n, &ip) in crowd.members.iter().enumerate() {
        flows.exchange(n, 0..1, n, 2 * n);
        let header = 28;
        // Four times twenty bytes each way when the flows were opened.
        let tally = Tally { tx: 4 * (20 + header) + n as u64 + header, rx: 4 * (20 + header) + 2 * n as u64 + header };
        want.insert(ip.into(), tally);
    }
    daemon.wait_until("every byte of the crowd", |metrics| (by_address(metrics) == want).then_some(()));
    assert_eq!(sets(&lab.router), want);
    let metrics = fresh(&daemon);
    assert!(metrics["gatemeter_clients{family=\"ipv4\",state=\"online\"}"] >= 250.0);
}

#[test]
fn once_prints_the_same_figures_beside_a_daemon_and_without_one() {
    let lab = Lab::builder().hosts(2).nat().build();
    let setup = setup(&lab);
    let mut daemon = setup.start();
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sent.clone());
    for running in [true, false] {
        if !running {
            assert_eq!(daemon.stop().code(), Some(0));
        }
        let once = setup.run(&["once", "clients"]);
        assert_eq!(once.status.code(), Some(0), "{once:?}");
        let shown = clients(&crate::harness::exposition::parse(&once.stdout).unwrap());
        assert_eq!(shown, sent, "running: {running}");
    }
    // Looking changes nothing for the next daemon.
    let daemon = setup.start();
    let more = mark(&lab, lab.host(1));
    expect(&daemon, sent.into_iter().chain([more]));
}

#[test]
fn tcp_of_a_client_is_counted_both_ways_also_when_the_flow_is_older_than_the_daemon() {
    let lab = Lab::builder().hosts(1).nat().build();
    let mut pair = TcpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
    pair.up(100_000);
    let daemon = setup(&lab).start();
    daemon.wait_for(crate::figures::UP, 1.0);
    pair.up(200_000);
    pair.down(300_000);
    daemon.wait_until("both directions", |metrics| {
        let tally = clients(metrics).get(&client(lab.host(1).on_v4())).copied()?;
        (tally.tx >= 200_000 && tally.rx >= 300_000).then_some(())
    });
}
