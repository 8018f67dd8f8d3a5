//! Presence: who is there, who has left, and who is no client at all.

use std::collections::BTreeSet;

use crate::figures::{by_client, client, clients, collected_at, expect, fresh, mark, series, setup};
use crate::harness::{Daemon, exposition};
use crate::lab::{Lab, Node};
use crate::witness;

const STATUS: &str = "client_status";
const LAST_SEEN: &str = "client_last_seen_timestamp_seconds";

/// Waits until a host is shown as online. It is asked again and again, as it is forgotten within seconds: longer than
/// that a busy machine may take from one page to the next.
#[track_caller]
fn comes_online(lab: &Lab, daemon: &Daemon, host: &Node) {
    let status = series(STATUS, &host.name, host.v4);
    daemon.wait_until("the host online", |metrics| {
        let is_online = metrics.get(&status) == Some(&1.0);
        if !is_online {
            assert!(lab.router.pings(host.v4, 1), "{} does not answer", host.name);
        }
        is_online.then_some(())
    });
}

#[test]
fn a_client_that_leaves_is_offline_and_online_again_when_it_comes_back() {
    let lab = Lab::builder().hosts(2).living_neighbours().build();
    let daemon = setup(&lab).flags(&["-o", "clients.stale=2"]).start();
    let (host, here) = (lab.host(1), lab.host(2));
    let counted = mark(&lab, host);
    comes_online(&lab, &daemon, host);

    lab.unplug(host);
    // The router needs it in vain, which is how it is noticed at once.
    assert!(!lab.router.pings(host.v4, 1));
    daemon.wait_for(&series(STATUS, "lan1", host.v4), 0.0);
    let before = fresh(&daemon);
    let seen = |metrics: &crate::harness::Samples| metrics[&series(LAST_SEEN, "lan1", host.v4)];
    let after = fresh(&daemon);
    assert!((seen(&after) - seen(&before)).abs() < 0.5, "{} {}", seen(&before), seen(&after));
    assert_eq!(clients(&after)[&client(host.on_v4())], counted.1, "bytes stay");

    lab.plug(host);
    let more = mark(&lab, host);
    comes_online(&lab, &daemon, host);
    let back = fresh(&daemon);
    assert!(seen(&back) > seen(&after));
    expect(&daemon, [counted, more, mark(&lab, here)]);
}

#[test]
fn a_client_that_only_falls_silent_is_offline_after_the_time_that_was_set() {
    let lab = Lab::builder().hosts(1).living_neighbours().build();
    let host = lab.host(1);
    // The kernel keeps its entry, stale, for ever.
    let daemon = setup(&lab).flags(&["-o", "clients.stale=1"]).start();
    daemon.wait_for(&series(STATUS, "lan1", host.v4), 0.0);
    let entry = witness::neighbours(&lab.router).into_iter().find(|neighbour| neighbour.ip == host.v4).unwrap();
    assert_eq!(entry.state, "STALE");
    // It answers when it is asked.
    comes_online(&lab, &daemon, host);
}

#[test]
fn with_stale_0_a_silent_client_is_online_for_as_long_as_the_kernel_remembers_it() {
    let lab = Lab::builder().hosts(1).living_neighbours().build();
    let host = lab.host(1);
    let daemon = setup(&lab).flags(&["-o", "clients.stale=0"]).start();
    let stale = || {
        let neighbours = witness::neighbours(&lab.router);
        neighbours.iter().any(|neighbour| neighbour.ip == host.v4 && neighbour.state == "STALE").then_some(())
    };
    assert!(crate::lab::process::poll(crate::harness::PATIENCE, stale).is_some());
    assert_eq!(fresh(&daemon)[&series(STATUS, "lan1", host.v4)], 1.0);
}

#[test]
fn whoever_the_neighbour_table_knows_is_shown_with_its_hardware_address_and_interface() {
    let lab = Lab::builder().hosts(3).guest().build();
    let daemon = setup(&lab).start();
    let want: BTreeSet<_> = witness::neighbours(&lab.router)
        .into_iter()
        .filter(|neighbour| neighbour.interface.starts_with("br-"))
        .map(|neighbour| (neighbour.ip.to_string(), neighbour.mac.unwrap(), neighbour.interface))
        .collect();
    assert_eq!(want.len(), 3 * 3 + 2, "{want:#?}");
    let metrics = fresh(&daemon);
    let label = |series: &String, name| exposition::label(series, name).unwrap();
    let shown: BTreeSet<_> = metrics
        .keys()
        .filter(|series| series.starts_with("client_info{"))
        .map(|series| (label(series, "ip"), label(series, "mac").to_uppercase(), label(series, "interface")))
        .collect();
    assert_eq!(shown, want);
    let status = by_client(&metrics, STATUS);
    assert_eq!(status.len(), want.len());
    assert!(status.values().all(|online| *online == 1.0), "{status:#?}");
}

#[test]
fn the_addresses_of_one_device_share_its_hardware_address() {
    let lab = Lab::builder().hosts(2).build();
    let daemon = setup(&lab).start();
    let metrics = fresh(&daemon);
    let host = lab.host(1);
    let of_device: BTreeSet<_> = metrics
        .keys()
        .filter(|series| series.starts_with("client_info{"))
        .filter(|series| exposition::label(series, "mac").unwrap().to_uppercase() == host.mac_text())
        .map(|series| exposition::label(series, "ip").unwrap())
        .collect();
    let addresses = [host.v4.to_string(), host.v6.to_string(), host.ula.unwrap().to_string()];
    assert_eq!(of_device, addresses.into());
    assert!(metrics.iter().filter(|(series, _)| series.starts_with("client_info{")).all(|(_, value)| *value == 1.0));
}

#[test]
fn clients_are_counted_by_family_and_by_whether_they_are_there() {
    let lab = Lab::builder().hosts(3).living_neighbours().build();
    let daemon = setup(&lab).flags(&["-o", "clients.stale=1"]).start();
    lab.unplug(lab.host(3));
    assert!(!lab.router.pings(lab.host(3).v4, 1));
    assert!(lab.router.pings(lab.host(1).v4, 1) && lab.router.pings(lab.host(2).v6, 1));
    for metrics in [fresh(&daemon), fresh(&daemon)] {
        let status = by_client(&metrics, STATUS);
        for (family, is_v6) in [("ipv4", false), ("ipv6", true)] {
            for (state, value) in [("online", 1.0), ("offline", 0.0)] {
                let fits = |(key, status): &(&String, &f64)| {
                    key.rsplit(' ').next().unwrap().contains(':') == is_v6 && **status == value
                };
                let want = status.iter().filter(fits).count() as f64;
                let told = metrics[&format!("gatemeter_clients{{family=\"{family}\",state=\"{state}\"}}")];
                assert_eq!(told, want, "{family} {state} in {status:#?}");
            }
        }
    }
}

#[test]
fn an_address_that_never_answered_is_no_client() {
    let lab = Lab::builder().hosts(1).living_neighbours().build();
    let daemon = setup(&lab).start();
    assert!(!lab.router.pings([192, 168, 1, 99], 1));
    assert!(witness::neighbours(&lab.router).iter().any(|entry| entry.ip.to_string() == "192.168.1.99"));
    shows_no(&daemon, "192.168.1.99");
}

#[test]
fn the_router_the_internet_and_broadcasts_are_no_clients() {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = setup(&lab).start();
    lab.host(1).run(&["ping", "-b", "-c", "1", "-w", "1", "192.168.1.255"]);
    lab.router.pings(lab.host(1).v4, 1);
    lab.host(1).pings(lab.router.v4, 1);
    for ip in ["192.168.1.1", "192.168.1.255", "203.0.113.1", "203.0.113.2", "198.51.100.10", "fd00:1:1::1"] {
        shows_no(&daemon, ip);
    }
}

#[test]
fn the_time_a_client_was_last_seen_is_now_for_one_that_is_there() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    mark(&lab, lab.host(1));
    let metrics = fresh(&daemon);
    let seen = metrics[&series(LAST_SEEN, "lan1", lab.host(1).v4)];
    let age = collected_at(&metrics) - seen;
    // The lab's entries were confirmed when it was built.
    assert!((-1.0..600.0).contains(&age), "{age} s ago");
}

fn shows_no(daemon: &Daemon, ip: &str) {
    let metrics = fresh(daemon);
    let label = format!("ip=\"{ip}\"");
    assert!(!metrics.keys().any(|series| series.contains(&label)), "{ip}: {metrics:#?}");
}
