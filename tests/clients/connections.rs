//! Connections: one for each client that takes part, for as long as it lives.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::figures::{by_client, client, fresh, setup};
use crate::harness::{Daemon, PATIENCE, Samples};
use crate::lab::firewall::Firewall;
use crate::lab::traffic::{TcpPair, UdpPair, send_udp};
use crate::lab::{Lab, process};
use crate::witness;

const ACTIVE: &str = "client_active_connections";

/// Connections by address, of those that have any.
fn active(metrics: &Samples) -> BTreeMap<IpAddr, u64> {
    let rows = by_client(metrics, ACTIVE).into_iter();
    let rows = rows.map(|(key, count)| (key.rsplit(' ').next().unwrap().parse().unwrap(), count as u64));
    rows.filter(|(_, count)| *count > 0).collect()
}

fn is_client(lab: &Lab, ip: IpAddr) -> bool {
    let hosts = || lab.lan.iter().chain(&lab.guests);
    hosts().any(|host| [host.v4.into(), host.v6.into()].contains(&ip) || host.ula.is_some_and(|ula| ula == ip))
}

/// Waits until the daemon shows exactly these connections, and `conntrack` says the same.
fn expect(lab: &Lab, daemon: &Daemon, want: &[(IpAddr, u64)]) {
    let want: BTreeMap<_, _> = want.iter().copied().collect();
    let mut last = Default::default();
    let agreed = process::poll(PATIENCE, || {
        last = (active(&daemon.metrics()), witness::connections(&lab.router, |ip| is_client(lab, ip)));
        (last.0 == want && last.1 == want).then_some(())
    });
    assert!(agreed.is_some(), "the daemon says {:#?}\nconntrack says {:#?}\nand not {want:#?}", last.0, last.1);
}

/// Forgets what building the lab has left in the connection table, and lets no flow expire before it is looked at.
fn flush(lab: &Lab) {
    for key in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
        lab.router.sysctl(&format!("netfilter/{key}"), "3600");
    }
    lab.router.must(&["conntrack", "-F"]);
}

fn talk_once(from: crate::lab::End, to: crate::lab::End) -> UdpPair {
    let mut pair = UdpPair::open(from, to);
    pair.up(1, 10);
    pair.down(1, 10);
    pair
}

#[test]
fn each_flow_counts_once_for_each_client_that_takes_part() {
    let lab = Lab::builder().hosts(3).guest().build();
    let mut firewall = Firewall::start(&lab);
    firewall.forward_port("tcp", 8080, lab.host(3).v4, 80);
    let daemon = setup(&lab).start();
    flush(&lab);
    let (one, guest) = (lab.host(1), &lab.guests[0]);
    // Behind NAT, without NAT, to the router itself, between two LANs.
    let _pairs = [
        talk_once(one.on_v4(), lab.internet.on_v4()),
        talk_once(one.on_v4(), lab.internet.on_v4()),
        talk_once(one.on_v6(), lab.internet.on_v6()),
        talk_once(one.on_v4(), lab.router.on_v4()),
        talk_once(one.on_v4(), guest.on_v4()),
        talk_once(lab.router.on(crate::lab::WAN4), lab.internet.on_v4()),
    ];
    // From outside, by a port forward.
    let listener = lab.host(3).tcp_listener(lab.host(3).v4, 80);
    let _outer = lab.internet.tcp_connect((crate::lab::WAN4, 8080).into()).unwrap();
    let _inner = listener.accept().unwrap();
    expect(&lab, &daemon, &[(one.v4.into(), 4), (one.v6.into(), 1), (guest.v4.into(), 1), (lab.host(3).v4.into(), 1)]);
}

#[test]
fn a_connection_that_closes_or_is_never_answered_is_not_active() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).start();
    flush(&lab);
    let (one, two) = (lab.host(1), lab.host(2));
    let mut tcp = TcpPair::open(one.on_v4(), lab.internet.on_v4());
    tcp.up(1000);
    let _udp = talk_once(two.on_v4(), lab.internet.on_v4());
    send_udp(two.on_v4(), lab.internet.on_v4(), 3, 10);
    expect(&lab, &daemon, &[(one.v4.into(), 1), (two.v4.into(), 1)]);
    drop(tcp);
    expect(&lab, &daemon, &[(two.v4.into(), 1)]);
    let listing = lab.router.must(&["conntrack", "-L", "-p", "tcp"]);
    assert!(listing.contains("TIME_WAIT") || listing.contains("CLOSE"), "{listing}");
}

#[test]
fn connections_from_before_the_daemon_count_and_those_that_end_without_a_word_go() {
    let lab = Lab::builder().hosts(2).build();
    // NAT alone would follow IPv4 only.
    let _firewall = Firewall::start(&lab);
    flush(&lab);
    let (one, two) = (lab.host(1), lab.host(2));
    let _pairs = [talk_once(one.on_v4(), lab.internet.on_v4()), talk_once(two.on_v6(), lab.internet.on_v6())];
    let daemon = setup(&lab).start();
    expect(&lab, &daemon, &[(one.v4.into(), 1), (two.v6.into(), 1)]);
    lab.router.must(&["conntrack", "-D", "-s", &one.v4.to_string()]);
    expect(&lab, &daemon, &[(two.v6.into(), 1)]);
}

#[test]
fn twenty_thousand_flows_are_followed_and_their_end_at_one_blow_too() {
    let lab = Lab::builder().hosts(1).nat().build();
    let crowd = lab.crowd(lab.host(1), 250);
    flush(&lab);
    let early = crowd.flows(30);
    let daemon = setup(&lab).start();
    // Half of them before the daemon came, half while it looks on.
    let late = crowd.flows(50);
    assert_eq!(early.count() + late.count(), 20_000);
    let each: BTreeMap<IpAddr, u64> = crowd.members.iter().map(|&ip| (ip.into(), 80)).collect();
    daemon.wait_until("every flow", |metrics| (active(metrics) == each).then_some(()));
    flush(&lab);
    daemon.wait_until("no flow", |metrics| active(metrics).is_empty().then_some(()));
    for member in 0..crowd.members.len() {
        late.exchange(member, 0..2, 10, 10);
    }
    let each: BTreeMap<IpAddr, u64> = crowd.members.iter().map(|&ip| (ip.into(), 2)).collect();
    daemon.wait_until("the flows that came back", |metrics| (active(metrics) == each).then_some(()));
}

#[test]
fn a_client_without_connections_has_none_and_not_the_last_number() {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = setup(&lab).start();
    flush(&lab);
    let host = lab.host(1);
    let _pair = talk_once(host.on_v4(), lab.internet.on_v4());
    expect(&lab, &daemon, &[(host.v4.into(), 1)]);
    flush(&lab);
    expect(&lab, &daemon, &[]);
    let shown = by_client(&fresh(&daemon), ACTIVE);
    assert_eq!(shown.get(&client(host.on_v4())), Some(&0.0), "{shown:#?}");
}
