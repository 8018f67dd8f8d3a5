//! The target called gateway: it goes with the default route of each family, and without one there is nobody to probe.

use std::net::IpAddr;

use super::figures::{UP, Who, ask, asked_until, section, setup, target};
use crate::harness::{Daemon, Samples};
use crate::lab::{GATEWAY4, GATEWAY6, Lab};

/// The provider's end of the second line, and the router's.
const OTHER: &str = "10.64.0.1";
const OTHER_OWN: &str = "10.64.0.2";

fn config() -> String {
    section(&[]) + &target("gateway", &[("name", "next hop")])
}

fn received(ip: IpAddr) -> String {
    Who { ip, tcp_port: None }.series("packets_recv_total", "")
}

fn info(ip: IpAddr) -> String {
    format!("icmp_probe_target_info{{ip=\"{ip}\",target=\"gateway\",name=\"next hop\"}}")
}

/// Waits until these answer, and nobody else is probed for the configuration.
#[track_caller]
fn only(daemon: &Daemon, wanted: &[IpAddr]) -> Samples {
    let seen = daemon.wait_until(&format!("{wanted:?} and no others"), |metrics| {
        let others = metrics.keys().filter(|series| series.starts_with("icmp_probe_target_info{")).count();
        let answers = |ip: &IpAddr| metrics.get(&received(*ip)).is_some_and(|count| *count >= 3.0);
        let is_so = others == wanted.len() && wanted.iter().all(|ip| answers(ip) && metrics.contains_key(&info(*ip)));
        is_so.then(|| metrics.clone())
    });
    assert_eq!(seen[UP], 1.0);
    seen
}

/// A second line to the internet, whose default route comes after that of the first.
fn second_line(lab: &Lab) {
    lab.router.must(&["ip", "link", "add", "lte", "type", "veth", "peer", "name", "lte", "netns", &lab.internet.netns]);
    for (node, address) in [(&lab.router, OTHER_OWN), (&lab.internet, OTHER)] {
        node.must(&["ip", "link", "set", "lte", "up"]);
        node.must(&["ip", "addr", "add", &format!("{address}/24"), "dev", "lte"]);
    }
    lab.router.must(&["ip", "route", "add", "default", "via", OTHER, "metric", "20"]);
}

#[test]
fn the_gateways_of_both_families_are_probed_under_one_name() {
    let lab = Lab::builder().hosts(0).build();
    let daemon = setup(&lab, &config()).start();
    only(&daemon, &[GATEWAY4.into(), GATEWAY6.into()]);
    // Whoever asks for it over HTTP has the same targets.
    let page = asked_until(&daemon, "target=gateway", "figures", |page| page.contains_key(&info(GATEWAY6.into())));
    assert!(page.contains_key(&info(GATEWAY4.into())), "{page:?}");
    assert!(daemon.stderr().contains("the gateways are 203.0.113.1 and 2001:db8:ffff::1"), "{}", daemon.stderr());
}

#[test]
fn an_address_that_means_something_on_its_link_only_is_probed_there() {
    let lab = Lab::builder().hosts(0).build();
    second_line(&lab);
    let local: IpAddr = "fe80::1".parse().unwrap();
    // Two lines whose far ends have the same address, as providers' routers do.
    for ifname in ["eth0", "lte"] {
        lab.internet.must(&["ip", "addr", "add", "fe80::1/64", "dev", ifname, "nodad"]);
    }
    lab.router.must(&["ip", "-6", "route", "replace", "default", "via", "fe80::1", "dev", "wan"]);
    let daemon =
        setup(&lab, &(section(&[]) + &target("gateway", &[("name", "next hop"), ("ip_version", "6")]))).start();
    only(&daemon, &[local]);
    lab.internet.must(&["ip", "link", "set", "lte", "down"]);
    let before = daemon.metrics()[&received(local)];
    daemon.wait_until("answers by the first line", |m| (m[&received(local)] >= before + 20.0).then_some(()));
    let tcp = "target=gateway&ip_version=6&tcp_port=9";
    let resets = Who { ip: local, tcp_port: Some(9) }.series("packets_recv_total", "");
    asked_until(&daemon, tcp, "resets", |page| page.get(&resets).is_some_and(|count| *count >= 3.0));
}

#[test]
fn it_moves_with_the_default_route_and_begins_anew() {
    let lab = Lab::builder().hosts(0).build();
    second_line(&lab);
    let only4 = section(&[("interface6", "none")]) + &target("gateway", &[("name", "next hop")]);
    let daemon = setup(&lab, &only4).start();
    let (first, second): (IpAddr, IpAddr) = (GATEWAY4.into(), OTHER.parse().unwrap());
    only(&daemon, &[first]);
    // The kernel tells of what takes another's place, but not of the end of that which has made room.
    lab.router.must(&["ip", "route", "replace", "default", "via", OTHER]);
    let page = only(&daemon, &[second]);
    assert!(!page.contains_key(&received(first)), "{page:?}");
    lab.router.must(&["ip", "route", "replace", "default", "via", &GATEWAY4.to_string()]);
    only(&daemon, &[first]);
    // With its interface goes its route.
    lab.router.must(&["ip", "link", "set", "wan", "down"]);
    only(&daemon, &[second]);
    let said = daemon.stderr();
    assert!(said.contains("the gateway is 10.64.0.1") && !said.contains("ERROR"), "{said}");
}

#[test]
fn without_a_default_route_there_is_nobody_to_probe_and_nothing_wrong() {
    let lab = Lab::builder().hosts(0).build();
    let routes = |verb| {
        let (v4, v6) = (GATEWAY4.to_string(), GATEWAY6.to_string());
        lab.router.must(&["ip", "route", verb, "default", "via", &v4]);
        lab.router.must(&["ip", "-6", "route", verb, "default", "via", &v6, "dev", "wan"]);
    };
    routes("del");
    let daemon = setup(&lab, &config()).start();
    daemon.wait_until("a page of nobody", |metrics| (metrics["icmp_active_probes"] == 0.0).then_some(()));
    only(&daemon, &[]);
    let answer = ask(&daemon, "target=gateway", &[]);
    let text = answer.text();
    assert_eq!((answer.status, text.trim()), (400, "# 400 - target gateway: no default route leads to a router now"));
    assert_eq!(daemon.metrics()["gatemeter_collector_errors_total{collector=\"probe\"}"], 0.0);
    routes("add");
    only(&daemon, &[GATEWAY4.into(), GATEWAY6.into()]);
    routes("del");
    only(&daemon, &[]);
    assert!(!daemon.stderr().contains("ERROR"), "{}", daemon.stderr());
}

#[test]
fn a_single_collection_a_check_and_ping_know_it() {
    let lab = Lab::builder().hosts(0).build();
    let setup = setup(&lab, &config());
    let run = |words: &[&str]| {
        let output = setup.run(words);
        (output.status.code(), output.stdout, output.stderr)
    };
    let (code, page, stderr) = run(&["once", "probe"]);
    assert!(code == Some(0) && page.contains(&info(GATEWAY4.into())), "{page}{stderr}");
    let (_, check, _) = run(&["check"]);
    assert!(check.contains("target gateway: the gateways are 203.0.113.1 and "), "{check}");
    let (code, ping, stderr) = run(&["ping", "gateway", "-n", "1"]);
    assert!(code == Some(0) && ping.starts_with("PING gateway (203.0.113.1)"), "{ping}{stderr}");
    lab.router.must(&["ip", "route", "del", "default"]);
    lab.router.must(&["ip", "-6", "route", "del", "default"]);
    let (code, page, stderr) = run(&["once", "probe"]);
    assert!(code == Some(0) && !page.contains("target_info{"), "{page}{stderr}");
    let (code, _, stderr) = run(&["ping", "gateway", "-n", "1"]);
    let told = "gatemeter: cannot ping gateway: no default route leads to a router now";
    assert_eq!((code, stderr.trim()), (Some(1), told));
}
