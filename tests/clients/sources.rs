//! Other places to take bytes from: the totals of conntrack, or none.

use crate::figures::{
    UP, by_client, client, clients, exchange, expect, fresh, let_it_flow, mark, series, setup, sum, while_talking,
};
use crate::harness::Setup;
use crate::lab::Lab;
use crate::lab::firewall::Firewall;
use crate::lab::traffic::UdpPair;
use crate::witness;

/// A daemon that takes bytes from conntrack, on a router that keeps them, as OpenWrt does.
fn by_conntrack<'a>(lab: &'a Lab) -> Setup<'a> {
    lab.router.sysctl("netfilter/nf_conntrack_acct", "1");
    lab.router.must(&["conntrack", "-F"]);
    setup(lab).flags(&["-o", "clients.accounting=conntrack"])
}

#[test]
fn conntracks_totals_are_shown_to_the_byte_over_both_families() {
    let lab = Lab::builder().hosts(2).build();
    // NAT alone would follow IPv4 only.
    let _firewall = Firewall::start(&lab);
    let daemon = by_conntrack(&lab).start();
    daemon.wait_for(UP, 1.0);
    let (sent, _) = while_talking(&lab, || {
        for _ in 0..3 {
            let_it_flow(&lab);
        }
    });
    expect(&daemon, sent);
    assert!(!witness::tables(&lab.router).contains("gatemeter"), "{}", witness::tables(&lab.router));
}

#[test]
fn flows_that_begin_and_end_between_two_readings_are_not_missed() {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = by_conntrack(&lab).flags(&["-o", "clients.interval=3"]).start();
    daemon.wait_for(UP, 1.0);
    let host = lab.host(1).on_v4();
    let mut sent = Default::default();
    for n in 1..=20 {
        sent = sum([(client(host), exchange(host, lab.internet.on_v4(), (n, 100), (n, 200)))].into_iter().chain(sent));
        lab.router.must(&["conntrack", "-D", "-s", "192.168.1.11"]);
    }
    expect(&daemon, sent);
}

#[test]
fn a_flow_that_lives_on_and_one_from_before_the_daemon_count_what_they_move() {
    let lab = Lab::builder().hosts(2).nat().build();
    let setup = by_conntrack(&lab);
    let (old, new) = (lab.host(1).on_v4(), lab.host(2).on_v4());
    let mut pair = UdpPair::open(old, lab.internet.on_v4());
    pair.up(5, 50);
    pair.down(5, 50);
    let daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    let before = clients(&fresh(&daemon)).get(&client(old)).copied().unwrap_or_default();
    let (up, down) = (pair.up(10, 100), pair.down(20, 200));
    let mut want = crate::figures::Tally::of(up, down);
    want += before;
    expect(&daemon, [(client(old), want), (client(new), exchange(new, lab.internet.on_v4(), (1, 10), (2, 20)))]);
}

#[test]
fn conntrack_that_keeps_no_totals_is_told() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = setup(&lab).flags(&["-o", "clients.accounting=conntrack"]);
    lab.router.sysctl("netfilter/nf_conntrack_acct", "0");
    let check = setup.run(&["check"]);
    assert!(check.stdout.contains("nf_conntrack_acct"), "{check:?}");
    let daemon = setup.start();
    crate::figures::told(&daemon, &["nf_conntrack_acct"]);
}

#[test]
fn without_accounting_there_are_no_bytes_and_no_table_and_all_the_rest() {
    let lab = Lab::builder().hosts(2).nat().build();
    lab.router.must(&["conntrack", "-F"]);
    let daemon = setup(&lab).flags(&["-o", "clients.accounting=off"]).start();
    let host = lab.host(1);
    let mut pair = UdpPair::open(host.on_v4(), lab.internet.on_v4());
    pair.up(1, 1);
    pair.down(1, 1);
    daemon.wait_for(&series("client_active_connections", "lan1", host.v4), 1.0);
    daemon.wait_for(&series("client_status", "lan1", host.v4), 1.0);
    let metrics = fresh(&daemon);
    assert!(!metrics.keys().any(|name| name.starts_with("client_traffic_")), "{metrics:#?}");
    assert!(!witness::tables(&lab.router).contains("gatemeter"));
    assert_eq!(by_client(&metrics, "client_status").len(), 2 * 3);
}

#[test]
fn another_source_after_a_signal_makes_no_total_fall_and_leaves_no_second_count() {
    let lab = Lab::builder().hosts(1).nat().build();
    let nowhere = lab.dir().join("none");
    let section = |accounting: &str| format!("config clients 'clients'\n\toption accounting '{accounting}'\n");
    lab.router.sysctl("netfilter/nf_conntrack_acct", "1");
    let setup =
        setup(&lab).uci("gatemeter", &section("set")).flags(&["-o", &format!("clients.leases={}", nowhere.display())]);
    let daemon = setup.start();
    let first = mark(&lab, lab.host(1));
    expect(&daemon, [first.clone()]);
    setup.write_uci("gatemeter", &section("off"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_until("no bytes", |metrics| clients(metrics).is_empty().then_some(()));
    setup.write_uci("gatemeter", &section("set"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_until("bytes", |metrics| (!clients(metrics).is_empty()).then_some(()));
    let now = clients(&fresh(&daemon))[&first.0];
    assert!(now.tx >= first.1.tx && now.rx >= first.1.rx, "{now:?} after {:?}", first.1);
}
