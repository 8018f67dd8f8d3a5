//! Links, interfaces, addresses and routes that go and come back: the daemon tells why probes are lost, and goes on.

use super::figures::{Figures, UP, Who, asked, asked_until, on_record, section, setup};
use super::witness::Wire;
use crate::harness::{Daemon, PATIENCE, Samples};
use crate::lab::process::poll;
use crate::lab::responder::Responder;
use crate::lab::{GATEWAY4, GATEWAY6, Lab, WAN4, WAN6};

/// The server in the internet, by both families.
fn server(lab: &Lab) -> [Who; 2] {
    [lab.internet.v4.into(), lab.internet.v6.into()].map(|ip| Who { ip, tcp_port: None })
}

fn query(all: &[Who]) -> String {
    all.iter().map(|who| format!("target={}&", who.ip)).collect()
}

/// Waits until every one of them has been answered so many times more.
#[track_caller]
fn answers(daemon: &Daemon, all: &[Who], more: f64) -> Samples {
    let received = |page: &Samples, who: &Who| page[&who.series("packets_recv_total", "")];
    let before = asked(daemon, &query(all));
    asked_until(daemon, &query(all), "answers", |page| {
        all.iter().all(|who| received(page, who) >= received(&before, who) + more)
    })
}

/// Waits until every one of them has lost so many more for one of these causes.
#[track_caller]
fn losses(daemon: &Daemon, all: &[Who], causes: &[&str], more: usize) -> Samples {
    let lost = |page: &Samples, who: &Who| {
        let figures = Figures::of(*who, page);
        causes.iter().map(|cause| figures.lost(cause)).sum::<usize>()
    };
    let before = asked(daemon, &query(all));
    asked_until(daemon, &query(all), &format!("losses by {causes:?}"), |page| {
        all.iter().all(|who| lost(page, who) >= lost(&before, who) + more)
    })
}

/// The collector has been well all the time.
fn was_well(daemon: &Daemon) {
    assert_eq!(daemon.metrics()[UP], 1.0);
    assert_eq!(daemon.metrics()["gatemeter_collector_errors_total{collector=\"probe\"}"], 0.0);
    let said = daemon.stderr();
    assert!(!said.contains("ERROR") && !said.contains("panic"), "{said}");
}

/// The WAN's cable and what is configured on it, as the lab has it.
fn make_wan(lab: &Lab) {
    let netns = &lab.internet.netns;
    lab.router.must(&["ip", "link", "add", "wan", "type", "veth", "peer", "name", "eth0", "netns", netns]);
    for (node, ifname, addresses) in [
        (&lab.router, "wan", [format!("{WAN4}/24"), format!("{WAN6}/64")]),
        (&lab.internet, "eth0", [format!("{GATEWAY4}/24"), format!("{GATEWAY6}/64")]),
    ] {
        node.must(&["ip", "link", "set", ifname, "up"]);
        for address in addresses {
            let mut words = vec!["ip", "addr", "add", &address, "dev", ifname];
            words.extend(address.contains(':').then_some("nodad"));
            node.must(&words);
        }
    }
    default_routes(lab);
}

fn default_routes(lab: &Lab) {
    lab.router.must(&["ip", "route", "replace", "default", "via", &GATEWAY4.to_string()]);
    lab.router.must(&["ip", "-6", "route", "replace", "default", "via", &GATEWAY6.to_string(), "dev", "wan"]);
}

#[test]
fn a_cable_that_is_pulled_loses_probes_until_it_is_put_in_again() {
    let lab = Lab::builder().hosts(0).build();
    let daemon = setup(&lab, &section(&[("timeout", "200")])).start();
    let all = server(&lab);
    answers(&daemon, &all, 5.0);
    lab.internet.must(&["ip", "link", "set", "eth0", "down"]);
    losses(&daemon, &all, &["timeout", "no_route", "interface_down"], 10);
    lab.internet.must(&["ip", "link", "set", "eth0", "up"]);
    // The other side's routes went with its link; addresses of IPv6 too.
    lab.internet.must(&["ip", "addr", "replace", &format!("{GATEWAY6}/64"), "dev", "eth0", "nodad"]);
    default_routes(&lab);
    answers(&daemon, &all, 10.0);
    was_well(&daemon);
}

#[test]
fn a_link_that_is_down_has_no_route_until_it_is_up_again() {
    let lab = Lab::builder().hosts(0).build();
    let daemon = setup(&lab, &section(&[("timeout", "200")])).start();
    let all = [&server(&lab)[..], &[Who { ip: lab.internet.v4.into(), tcp_port: Some(80) }]].concat();
    let tcp = all[2].query();
    answers(&daemon, &all[..2], 5.0);
    asked(&daemon, &tcp);
    lab.router.must(&["ip", "link", "set", "wan", "down"]);
    losses(&daemon, &all[..2], &["no_route", "interface_down"], 10);
    let lost = all[2].series("packets_lost_total", "cause=\"no_route\"");
    asked_until(&daemon, &tcp, "SYNs without a route", |page| page.get(&lost) >= Some(&5.0));
    let errors =
        daemon.wait_until("errors", |metrics| Some(metrics["icmp_packets_error_total"]).filter(|n| *n >= 20.0));
    assert!(errors >= 20.0);
    lab.router.must(&["ip", "link", "set", "wan", "up"]);
    lab.router.must(&["ip", "addr", "replace", &format!("{WAN6}/64"), "dev", "wan", "nodad"]);
    default_routes(&lab);
    answers(&daemon, &all[..2], 10.0);
    was_well(&daemon);
}

/// Takes the interface away and makes it anew while it is probed by it.
fn made_again(options: &[(&str, &str)], causes: &[&str]) {
    let lab = Lab::builder().hosts(0).build();
    let daemon = setup(&lab, &section(&[&[("timeout", "200")], options].concat())).start();
    let all = server(&lab);
    answers(&daemon, &all, 5.0);
    for _ in 0..2 {
        lab.router.must(&["ip", "link", "delete", "wan"]);
        losses(&daemon, &all, causes, 10);
        make_wan(&lab);
        answers(&daemon, &all, 10.0);
    }
    was_well(&daemon);
}

#[test]
fn a_named_interface_that_is_removed_and_made_again_is_used_again() {
    made_again(&[("interface4", "wan"), ("interface6", "wan")], &["interface_down"]);
}

#[test]
fn the_routes_interface_that_is_removed_and_made_again_is_used_again() {
    made_again(&[], &["no_route"]);
}

#[test]
fn an_interface_that_does_not_exist_yet_is_used_when_it_does() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.must(&["ip", "link", "delete", "wan"]);
    let daemon = setup(&lab, &section(&[("interface4", "wan"), ("interface6", "wan")])).start();
    let all = server(&lab);
    losses(&daemon, &all, &["interface_down"], 3);
    make_wan(&lab);
    answers(&daemon, &all, 5.0);
    was_well(&daemon);
}

#[test]
fn an_address_that_is_gone_is_followed_by_the_next_one() {
    let lab = Lab::builder().hosts(0).build();
    let _listener = lab.internet.tcp_listener(lab.internet.v4, 80);
    let wire = Wire::watch(&lab, &lab.internet, "eth0");
    let daemon = setup(&lab, &section(&[("timeout", "200")])).start();
    let who = Who { ip: lab.internet.v4.into(), tcp_port: Some(80) };
    let received = who.series("packets_recv_total", "");
    asked_until(&daemon, &who.query(), "answers", |page| page[&received] >= 5.0);
    lab.router.must(&["ip", "-4", "addr", "flush", "dev", "wan"]);
    // Its routes go with it, or the neighbours' addresses are all there is.
    let lost = |page: &Samples| {
        ["no_route", "no_address"].map(|cause| Figures::of(who, page).lost(cause)).iter().sum::<usize>()
    };
    let page = asked_until(&daemon, &who.query(), "losses", |page| lost(page) >= 5);
    lab.router.must(&["ip", "addr", "add", "203.0.113.77/24", "dev", "wan"]);
    default_routes(&lab);
    asked_until(&daemon, &who.query(), "answers", |later| later[&received] >= page[&received] + 5.0);
    wire.line(&["203.0.113.77.", " > 198.51.100.10.80: Flags [S],"]);
    wire.line(&[&format!("{WAN4}."), " > 198.51.100.10.80: Flags [S],"]);
    was_well(&daemon);
}

#[test]
fn a_default_route_without_a_gateway_is_followed_to_another_interface() {
    let lab = Lab::builder().hosts(0).build();
    let far = [0, 1].map(|_| Responder::builder(&lab.router).no_prefix().build());
    let move_to = |to: &Responder| {
        for family in ["-4", "-6"] {
            let source = to.source(family == "-4").to_string();
            lab.router.must(&["ip", family, "route", "flush", "default"]);
            lab.router.must(&["ip", family, "route", "add", "default", "dev", to.ifname(), "src", &source]);
        }
    };
    move_to(&far[0]);
    let daemon = setup(&lab, &section(&[])).start();
    let echoes = ["192.0.2.55", "2001:db8:77::1"].map(Who::icmp);
    let syn = Who::tcp("192.0.2.55", 443);
    answers(&daemon, &echoes, 5.0);
    asked(&daemon, &syn.query());
    on_record(&far[0], syn, 3);
    move_to(&far[1]);
    for who in [echoes[0], echoes[1], syn] {
        // Echoes have the source of the new route at once, and SYNs when the daemon has heard of it.
        let own = far[1].source(who.ip.is_ipv4());
        let moved = || {
            let log = far[1].log();
            let latest = who.seen(&log).requests.last().map(|request| request.source);
            (latest == Some(own)).then_some(())
        };
        assert!(poll(PATIENCE, moved).is_some(), "no probe of {who:?} comes from {own}");
        on_record(&far[1], who, 10);
    }
    answers(&daemon, &echoes, 10.0);
    let by = |metrics: &Samples, far: &Responder| {
        let name = format!("gatemeter_probe_round_trips_total{{interface=\"{}\",timestamps=\"kernel\"}}", far.ifname());
        metrics.get(&name).copied().unwrap_or(0.0)
    };
    daemon.wait_until("both interfaces", |metrics| far.iter().all(|far| by(metrics, far) > 0.0).then_some(()));
    was_well(&daemon);
}

#[test]
fn a_named_interface_is_used_whatever_the_routes_say() {
    let lab = Lab::builder().hosts(0).build();
    let by_route = Responder::start(&lab.router);
    let named = Responder::builder(&lab.router).no_prefix().build();
    // Of IPv6 it needs a route there, if one that is worse; of IPv4 the kernel takes everybody for a neighbour then.
    lab.router.must(&["ip", "-6", "route", "add", "fd00:18::/64", "dev", named.ifname(), "metric", "4096"]);
    let options = [("interface4", named.ifname()), ("interface6", named.ifname())];
    let daemon = setup(&lab, &section(&options)).start();
    let all = [Who::icmp("198.18.0.1"), Who::icmp("fd00:18::1")];
    answers(&daemon, &all, 10.0);
    assert_eq!(by_route.log().requests.len(), 0);
    for who in all {
        assert!(who.seen(&named.log()).count() >= 10);
    }
}

#[test]
fn probes_through_a_bridge_and_its_ports_are_stamped_by_the_kernel() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    let all = [host.v4.into(), host.v6.into()].map(|ip| Who { ip, tcp_port: None });
    let stamped = |daemon: &Daemon, interface: &str| {
        let name = format!("gatemeter_probe_round_trips_total{{interface=\"{interface}\",timestamps=\"kernel\"}}");
        daemon.wait_until("stamps", |metrics| metrics.get(&name).filter(|count| **count >= 20.0).copied());
    };
    let mut daemon = setup(&lab, &section(&[])).start();
    answers(&daemon, &all, 20.0);
    stamped(&daemon, "br-lan");
    daemon.stop();

    // A port answers no ARP for itself, so the neighbour is known beforehand.
    lab.router.must(&["ip", "neigh", "add", &host.v4.to_string(), "lladdr", &host.mac_text(), "dev", "lan1"]);
    let daemon = setup(&lab, &section(&[("interface4", "lan1")])).start();
    answers(&daemon, &all[..1], 20.0);
    stamped(&daemon, "lan1");
}

#[test]
fn a_family_whose_interface_is_none_is_not_probed() {
    let lab = Lab::builder().hosts(0).build();
    let daemon = setup(&lab, &section(&[("interface6", "none")])).start();
    let [v4, v6] = server(&lab);
    answers(&daemon, &[v4], 3.0);
    let refused = super::figures::ask(&daemon, &v6.query(), &[]);
    assert_eq!(
        (refused.status, refused.text()),
        (400, format!("# 400 - target {}: probe.interface6 is none\n", v6.ip))
    );
    assert!(
        poll(PATIENCE, || daemon.get("/debug/probes").ok()?.text().contains("\"total_probes\":1,").then_some(()))
            .is_some()
    );
}
