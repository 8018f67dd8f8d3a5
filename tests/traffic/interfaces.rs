//! Interfaces that come, go, change their name or their addresses while the daemon runs.

use std::net::{IpAddr, Ipv4Addr};

use crate::figures::{Tally, UP, exchange, expect, fresh, host, hosts, let_it_flow, mark, setup, while_talking};
use crate::harness::{Daemon, PATIENCE};
use crate::lab::traffic::send_udp;
use crate::lab::{End, Lab, Node, process};

const MISSING: &str = "gatemeter_traffic_interface_attached{interface=\"br-foo\",hook=\"none\"}";

fn attached(ifname: &str) -> String {
    format!("gatemeter_traffic_interface_attached{{interface=\"{ifname}\",hook=\"tcx\"}}")
}

/// Makes an empty bridge on the router, without the quarter of a minute it takes to learn.
fn add_bridge(router: &Node, name: &str, mac: &str, address: &str) {
    router.must(&["ip", "link", "add", name, "address", mac, "type", "bridge", "stp_state", "0", "forward_delay", "0"]);
    router.must(&["ip", "addr", "add", address, "dev", name]);
    router.must(&["ip", "link", "set", name, "up"]);
}

/// Moves a host to a bridge and waits until it reaches the router there.
fn plug(lab: &Lab, node: &Node, bridge: &str, gateway: [u8; 4]) {
    lab.router.must(&["ip", "link", "set", &node.name, "master", bridge]);
    wait_for_router(node, gateway.into());
}

/// Waits until a host has an answer from the router; what it sends for that stays in the LAN.
fn wait_for_router(node: &Node, gateway: IpAddr) {
    let answered = process::poll(PATIENCE, || node.pings(gateway, 1).then_some(()));
    assert!(answered.is_some(), "{}: {gateway} does not answer", node.name);
}

/// Gives a host another IPv4 address and sends all its IPv4 traffic through another router address.
fn renumber(node: &Node, address: [u8; 4], gateway: [u8; 4]) {
    let (address, gateway) = (Ipv4Addr::from(address), Ipv4Addr::from(gateway));
    node.must(&["ip", "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
    node.must(&["ip", "route", "replace", "default", "via", &gateway.to_string(), "src", &address.to_string()]);
}

/// Has a host send to `peer` until the daemon's view of it has settled: until one datagram more is charged, or is not.
/// The kernel tells the daemon of changes in its own time. Returns what the host was charged for all of them.
fn until_settled(daemon: &Daemon, from: End, peer: End, counted: bool) -> Tally {
    let mut charged = charged_with(daemon, from);
    let settled = process::poll(PATIENCE, || {
        send_udp(from, peer, 1, 5);
        let now = charged_with(daemon, from);
        let more = now.up_packets > charged.up_packets;
        charged = now;
        (more == counted).then_some(())
    });
    assert!(settled.is_some(), "{} to {}: counted is never {counted}", from.ip, peer.ip);
    charged
}

fn charged_with(daemon: &Daemon, end: End) -> Tally {
    hosts(&fresh(daemon)).get(&host(end)).copied().unwrap_or_default()
}

#[test]
fn an_interface_that_is_missing_is_told_once_and_counted_from_when_it_appears() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).flags(&["-4", "192.168.1.1/24/br-lan", "-4", "192.168.7.1/24/br-foo"]).start();
    daemon.wait_for(MISSING, 0.0);
    let mut want = vec![mark(&lab, lab.host(1))];
    expect(&daemon, want.clone());

    add_bridge(&lab.router, "br-foo", "02:1a:00:00:07:fe", "192.168.7.1/24");
    daemon.wait_for(&attached("br-foo"), 1.0);
    assert!(!daemon.metrics().contains_key(MISSING));
    let mover = lab.host(2);
    renumber(mover, [192, 168, 7, 12], [192, 168, 7, 1]);
    plug(&lab, mover, "br-foo", [192, 168, 7, 1]);
    let end = mover.on(Ipv4Addr::new(192, 168, 7, 12));
    want.push((host(end), exchange(end, lab.internet.on_v4(), (33, 333), (44, 444))));
    want.push(mark(&lab, lab.host(1)));
    expect(&daemon, want);
    let said = daemon.stderr();
    assert_eq!(said.matches("there is no interface br-foo now").count(), 1, "{said}");
}

#[test]
fn with_no_interface_at_all_the_daemon_waits_for_one() {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = setup(&lab).flags(&["-4", "192.168.7.1/24/br-foo"]).start();
    daemon.wait_for(UP, 0.0);
    daemon.wait_for("gatemeter_collector_errors_total{collector=\"traffic\"}", 3.0);
    let said = daemon.stderr();
    assert_eq!(said.lines().filter(|line| line.starts_with("ERROR")).count(), 1, "{said}");
    assert!(said.contains("there is no interface br-foo now"), "{said}");

    add_bridge(&lab.router, "br-foo", "02:1a:00:00:07:fe", "192.168.7.1/24");
    daemon.wait_for(UP, 1.0);
    let mover = lab.host(1);
    renumber(mover, [192, 168, 7, 12], [192, 168, 7, 1]);
    plug(&lab, mover, "br-foo", [192, 168, 7, 1]);
    let end = mover.on(Ipv4Addr::new(192, 168, 7, 12));
    expect(&daemon, [(host(end), exchange(end, lab.internet.on_v4(), (33, 333), (44, 444)))]);
}

#[test]
fn a_bridge_that_is_deleted_and_made_again_is_counted_again_when_it_is_named() {
    a_bridge_that_is_deleted_and_made_again_is_counted_again(&["-4", "192.168.1.1/24/br-lan"]);
}

#[test]
fn a_bridge_that_is_deleted_and_made_again_is_counted_again_when_it_is_found() {
    a_bridge_that_is_deleted_and_made_again_is_counted_again(&[]);
}

fn a_bridge_that_is_deleted_and_made_again_is_counted_again(flags: &[&str]) {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = setup(&lab).flags(flags).start();
    let end = lab.host(1).on_v4();
    let mut want = vec![(host(end), exchange(end, lab.internet.on_v4(), (10, 100), (20, 200)))];
    expect(&daemon, want.clone());
    for _ in 0..2 {
        lab.router.must(&["ip", "link", "del", "br-lan"]);
        daemon.wait_for(UP, 0.0);
        add_bridge(&lab.router, "br-lan", "02:1a:00:00:01:fe", "192.168.1.1/24");
        plug(&lab, lab.host(1), "br-lan", [192, 168, 1, 1]);
        daemon.wait_for(UP, 1.0);
        daemon.wait_for(&attached("br-lan"), 1.0);
        want.push((host(end), exchange(end, lab.internet.on_v4(), (11, 110), (22, 220))));
        expect(&daemon, want.clone());
    }
}

#[test]
fn an_interface_is_the_lans_again_once_the_default_route_has_left_it() {
    let lab = Lab::builder().hosts(1).build();
    lab.replace_default_route("192.168.1.11", "br-lan");
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 0.0);
    lab.replace_default_route("203.0.113.1", "wan");
    daemon.wait_for(&attached("br-lan"), 1.0);
    expect(&daemon, [mark(&lab, lab.host(1))]);

    lab.replace_default_route("192.168.1.11", "br-lan");
    daemon.wait_for(UP, 0.0);
    // Nor does it announce the end of routes that go with their interface.
    for state in ["down", "up"] {
        lab.router.must(&["ip", "link", "set", "br-lan", state]);
    }
    daemon.wait_for(&attached("br-lan"), 1.0);
}

#[test]
fn a_found_interface_that_is_renamed_goes_on_counting() {
    let lab = Lab::builder().hosts(2).build();
    let daemon = setup(&lab).start();
    let (sent, _) = while_talking(&lab, || {
        for (old, new) in [("br-lan", "br-home"), ("br-home", "br-lan")] {
            let_it_flow(&lab);
            lab.router.must(&["ip", "link", "set", "dev", old, "name", new]);
            daemon.wait_for(&attached(new), 1.0);
            assert!(!daemon.metrics().contains_key(&attached(old)));
        }
        let_it_flow(&lab);
    });
    expect(&daemon, sent);
}

#[test]
fn a_named_interface_is_dropped_and_taken_up_by_its_name() {
    let lab = Lab::builder().hosts(1).guest().build();
    let flags = ["-4", "192.168.1.1/24/br-lan", "-4", "192.168.2.1/24/br-guest"];
    let daemon = setup(&lab).flags(&flags).start();
    let (lan, guest) = (lab.host(1), &lab.guests[0]);
    let mut want = vec![mark(&lab, lan), mark(&lab, guest)];
    expect(&daemon, want.clone());

    lab.router.must(&["ip", "link", "set", "dev", "br-lan", "name", "br-home"]);
    daemon.wait_for("gatemeter_traffic_interface_attached{interface=\"br-lan\",hook=\"none\"}", 0.0);
    send_udp(lan.on_v4(), lab.internet.on_v4(), 7, 70);
    want.push(mark(&lab, guest));
    expect(&daemon, want.clone());

    lab.router.must(&["ip", "link", "set", "dev", "br-home", "name", "br-lan"]);
    daemon.wait_for(&attached("br-lan"), 1.0);
    want.extend([mark(&lab, lan), mark(&lab, guest)]);
    expect(&daemon, want);
}

#[test]
fn an_address_added_on_the_wan_is_the_routers_own_from_then_on() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    let lan = lab.host(1);
    for (address, prefix) in [("203.0.113.50", 24), ("198.18.0.1", 32), ("2001:db8:ffff::50", 64)] {
        let own = lab.router.on(address.parse::<IpAddr>().unwrap());
        let address = format!("{address}/{prefix}");
        let nodad = own.ip.is_ipv6().then_some("nodad");
        lab.router.must(&["ip", "addr", "add", &address, "dev", "wan"].into_iter().chain(nodad).collect::<Vec<_>>());
        let (from, internet) = match own.ip {
            IpAddr::V4(_) => (lan.on_v4(), lab.internet.on_v4()),
            IpAddr::V6(_) => (lan.on_v6(), lab.internet.on_v6()),
        };
        let mut want = until_settled(&daemon, from, own, false);
        exchange(from, own, (50, 500), (40, 400));
        want += exchange(from, internet, (1, 10), (1, 10));
        assert_eq!(charged_with(&daemon, from), want, "{address}");
    }
}

#[test]
fn prefixes_that_come_and_go_on_the_lan_are_followed_and_the_rest_loses_no_packet() {
    let lab = Lab::builder().hosts(2).guest().build();
    lab.internet.must(&["ip", "route", "add", "192.168.77.0/24", "via", "203.0.113.2"]);
    let daemon = setup(&lab).start();
    let newcomer = &lab.guests[0];
    let own = newcomer.on(Ipv4Addr::new(192, 168, 77, 12));
    let (sent, counted) = while_talking(&lab, || {
        for _ in 0..5 {
            for change in ["add", "del"] {
                lab.router.must(&["ip", "addr", change, "192.168.88.1/24", "dev", "br-lan"]);
                let_it_flow(&lab);
            }
        }
        lab.router.must(&["ip", "addr", "add", "192.168.77.1/24", "dev", "br-guest"]);
        renumber(newcomer, [192, 168, 77, 12], [192, 168, 77, 1]);
        wait_for_router(newcomer, [192, 168, 77, 1].into());
        let mut counted = until_settled(&daemon, own, lab.internet.on_v4(), true);
        counted += exchange(own, lab.internet.on_v4(), (30, 300), (20, 200));
        // From one LAN to the other it is no internet traffic under the new address either.
        exchange(own, lab.host(1).on_v4(), (30, 300), (20, 200));
        counted
    });
    expect(&daemon, sent.into_iter().chain([(host(own), counted)]));

    lab.router.must(&["ip", "addr", "del", "192.168.77.1/24", "dev", "br-guest"]);
    newcomer.must(&["ip", "route", "replace", "default", "via", "192.168.2.1", "src", "192.168.77.12"]);
    assert_eq!(until_settled(&daemon, own, lab.internet.on_v4(), false).down_bytes, counted.down_bytes);
}
