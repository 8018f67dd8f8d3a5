//! Which addresses are clients: those of the subnets that were asked for, or of the LANs that are found.

use std::collections::BTreeSet;

use crate::figures::{UP, by_client, client, exchange, expect, fresh, mark, series, setup, told};
use crate::harness::{Daemon, Setup};
use crate::lab::Lab;

fn with_subnets<'a>(lab: &'a Lab, subnets: &[&str]) -> Setup<'a> {
    let options: Vec<String> = subnets.iter().map(|subnet| format!("clients.subnet={subnet}")).collect();
    let flags: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    setup(lab).flags(&flags)
}

/// The addresses shown.
fn shown(daemon: &Daemon) -> BTreeSet<String> {
    let keys = by_client(&fresh(daemon), "client_status").into_keys();
    keys.map(|key| key.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn any_prefix_length_is_a_subnet() {
    let lab = Lab::builder().hosts(6).nat().build();
    // .8 to .15: the hosts .11 to .15 and not .16.
    let daemon = with_subnets(&lab, &["192.168.1.8/29"]).start();
    exchange(lab.host(6).on_v4(), lab.internet.on_v4(), (3, 30), (3, 30));
    let want: Vec<_> = lab.lan[..4].iter().map(|host| mark(&lab, host)).collect();
    expect(&daemon, want);
    let ips = ["192.168.1.11", "192.168.1.12", "192.168.1.13", "192.168.1.14"].map(str::to_owned);
    // .15 is the subnet's broadcast address.
    assert_eq!(shown(&daemon), ips.into());
}

#[test]
fn subnets_that_overlap_count_each_byte_once_and_are_told() {
    let lab = Lab::builder().hosts(2).nat().build();
    let setup = with_subnets(&lab, &["192.168.1.0/25", "192.168.0.0/16", "192.168.1.0/24/br-lan"]);
    let check = setup.run(&["check"]);
    let lines = || check.stdout.lines().filter(|line| line.starts_with("clients"));
    assert!(lines().any(|line| line.contains("192.168.1.0/25") && line.contains("overlap")), "{check:?}");
    let daemon = setup.start();
    expect(&daemon, [mark(&lab, lab.host(1)), mark(&lab, lab.host(2))]);
    told(&daemon, &["192.168.1.0/25", "overlap"]);
}

#[test]
fn a_subnet_that_is_nowhere_is_told_and_taken_up_when_it_appears() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = with_subnets(&lab, &["192.168.1.0/24", "10.20.0.0/24", "10.30.0.0/24/br-iot"]);
    let daemon = setup.start();
    told(&daemon, &["10.20.0.0/24", "no interface has an address in it"]);
    told(&daemon, &["10.30.0.0/24", "no interface br-iot"]);
    let first = mark(&lab, lab.host(1));
    expect(&daemon, [first.clone()]);
    daemon.wait_for(UP, 1.0);

    lab.router.must(&["ip", "addr", "add", "10.20.0.1/24", "dev", "br-lan"]);
    lab.host(1).must(&["ip", "addr", "add", "10.20.0.7/24", "dev", "eth0"]);
    assert!(lab.router.pings([10, 20, 0, 7], 1));
    daemon.wait_for(&series("client_status", "lan1", [10, 20, 0, 7]), 1.0);
    let late = lab.host(1).on([10, 20, 0, 7]);
    expect(&daemon, [first, (client(late), exchange(late, lab.internet.on_v4(), (3, 30), (4, 40)))]);
}

#[test]
fn the_whole_internet_is_no_lan() {
    let lab = Lab::builder().hosts(0).build();
    for subnet in ["0.0.0.0/0", "::/0"] {
        let refused = with_subnets(&lab, &[subnet]).run(&["check"]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(refused.stderr.contains("clients.subnet") && refused.stderr.contains(subnet), "{refused:?}");
    }
}

#[test]
fn a_prefix_that_comes_later_is_found_by_itself() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    let first = mark(&lab, lab.host(1));
    expect(&daemon, [first.clone()]);
    // As after a reconnect: another global prefix.
    lab.router.must(&["ip", "addr", "add", "2001:db8:1:9::1/64", "dev", "br-lan", "nodad"]);
    lab.host(1).must(&["ip", "addr", "add", "2001:db8:1:9::7/64", "dev", "eth0", "nodad"]);
    let late = lab.host(1).on("2001:db8:1:9::7".parse::<std::net::IpAddr>().unwrap());
    assert!(lab.router.pings(late.ip, 1));
    daemon.wait_for(&series("client_status", "lan1", late.ip), 1.0);
    expect(&daemon, [first, (client(late), exchange(late, lab.internet.on_v6(), (3, 30), (4, 40)))]);
}

#[test]
fn an_interface_is_the_lans_again_once_the_default_route_has_left_it() {
    let lab = Lab::builder().hosts(1).build();
    lab.replace_default_route("192.168.1.11", "br-lan");
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 0.0);
    lab.replace_default_route("203.0.113.1", "wan");
    daemon.wait_for(UP, 1.0);
    expect(&daemon, [mark(&lab, lab.host(1))]);

    lab.replace_default_route("192.168.1.11", "br-lan");
    daemon.wait_for(UP, 0.0);
    // Nor does it announce the end of routes that go with their interface.
    for state in ["down", "up"] {
        lab.router.must(&["ip", "link", "set", "br-lan", state]);
    }
    daemon.wait_for(UP, 1.0);
}

#[test]
fn a_bridged_access_point_is_told_that_it_forwards_nothing() {
    let lab = Lab::builder().hosts(2).build();
    // Its way out leads through its own LAN, so its clients' packets never pass its network layer.
    lab.router.must(&["ip", "link", "set", "wan", "down"]);
    lab.replace_default_route("192.168.1.11", "br-lan");
    let setup = with_subnets(&lab, &["192.168.1.0/24"]);
    let check = setup.run(&["check"]);
    let lines = || check.stdout.lines().filter(|line| line.starts_with("clients"));
    assert!(lines().any(|line| line.contains("br-lan") && line.contains("default route")), "{check:?}");
    let daemon = setup.start();
    told(&daemon, &["br-lan", "default route"]);
    // Who is there is known all the same.
    daemon.wait_for(&series("client_status", "lan2", lab.host(2).v4), 1.0);
}
