//! Systems that lack something: the daemon says what, once, and lives on.

use crate::figures::{UP, expect, mark, setup, static_leases};
use crate::harness::confine::{CAP_NET_ADMIN, CAP_NET_RAW};
use crate::harness::{Confine, Setup};
use crate::lab::Lab;
use crate::lab::traffic::send_udp;
use crate::witness;

#[test]
fn a_daemon_without_the_capability_says_what_to_grant() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab).confined(Confine::default().capabilities(&[CAP_NET_RAW]));
    let mut daemon = setup.start();
    daemon.wait_for(UP, 0.0);
    daemon.wait_until("two tries", |metrics| {
        (metrics["gatemeter_collector_errors_total{collector=\"clients\"}"] >= 2.0).then_some(())
    });
    let said = daemon.stderr();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("CAP_NET_ADMIN"), "{said}");
    assert_eq!(daemon.get("/healthz").unwrap().status, 200);
    assert_eq!(daemon.stop().code(), Some(0));

    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    assert!(check.stdout.lines().any(|line| line.contains("BROKEN") && line.contains("CAP_NET_ADMIN")), "{check:?}");
    assert_eq!(setup.run(&["once", "clients"]).status.code(), Some(1));
    assert_eq!(witness::tables(&lab.router), "");
}

#[test]
fn the_one_capability_that_is_asked_for_is_enough() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = setup(&lab).confined(Confine::default().capabilities(&[CAP_NET_ADMIN]));
    let mut daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    expect(&daemon, [mark(&lab, lab.host(1))]);
    assert_eq!(daemon.stop().code(), Some(0));
    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert_eq!(setup.run(&["clean"]).status.code(), Some(0));
}

#[test]
fn the_other_collector_never_notices_that_this_one_fails() {
    let lab = Lab::builder().hosts(1).build();
    lab.router.must(&["nft", "add table inet gatemeter; add chain inet gatemeter mine"]);
    let nowhere = lab.dir().join("none");
    let daemon = Setup::new(&lab)
        .uci("dhcp", &static_leases(&lab))
        .flags(&["-e", "-t", "1", "--collectors", "traffic,clients", "-o", "clients.interval=1"])
        .flags(&["-o", &format!("traffic.leases={}", nowhere.display())])
        .start();
    daemon.wait_for(UP, 0.0);
    daemon.wait_for("gatemeter_collector_up{collector=\"traffic\"}", 1.0);
    let host = lab.host(1);
    let sent = send_udp(host.on_v4(), lab.internet.on_v4(), 10, 100);
    let series = format!("node_nat_traffic_upload{{mac=\"{}\",hostname=\"lan1\",ip=\"{}\"}}", host.mac_text(), host.v4);
    daemon.wait_for(&series, sent.l2 as f64);
}

#[test]
fn check_tells_what_will_be_measured_and_changes_nothing() {
    let lab = Lab::builder().hosts(1).guest().build();
    let check = setup(&lab).run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    for word in ["br-lan", "192.168.1.0/24", "2001:db8:1:1::/64", "br-guest", "192.168.2.0/24"] {
        let told = check.stdout.lines().any(|line| line.starts_with("clients") && line.contains(word));
        assert!(told, "{word} is not told:\n{}", check.stdout);
    }
    assert!(!check.stdout.contains("BROKEN"), "{check:?}");
    assert_eq!(witness::tables(&lab.router), "");
}

#[test]
fn without_a_lan_the_daemon_says_how_to_name_one() {
    let lab = Lab::builder().hosts(1).build();
    for address in ["192.168.1.1/24", "2001:db8:1:1::1/64", "fd00:1:1::1/64"] {
        lab.router.must(&["ip", "addr", "del", address, "dev", "br-lan"]);
    }
    let setup = setup(&lab);
    let check = setup.run(&["check"]);
    assert!(check.stdout.contains("clients.subnet="), "{check:?}");
    let daemon = setup.start();
    crate::figures::told(&daemon, &["clients.subnet="]);
}
