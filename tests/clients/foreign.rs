//! Beside other users of nftables: their reloads cost nothing, their sweeps cost what passed meanwhile and no more, and
//! nothing of theirs is touched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::figures::{StopOnDrop, UP, clients, expect, fresh, let_it_flow, mark, setup, sum, told, while_talking};
use crate::harness::PATIENCE;
use crate::lab::firewall::Firewall;
use crate::lab::{Lab, process};
use crate::witness;

/// Waits until the daemon has made its table again, and has read it once.
fn wait_for_table(lab: &Lab, daemon: &crate::harness::Daemon) {
    let whole = || witness::table_is_whole(&lab.router).then_some(());
    assert!(process::poll(PATIENCE, whole).is_some(), "there is no table: {}", daemon.stderr());
    fresh(daemon);
}

#[test]
fn a_firewall_that_is_reloaded_again_and_again_costs_no_byte() {
    let lab = Lab::builder().hosts(2).build();
    let firewall = Firewall::start(&lab);
    let daemon = setup(&lab).start();
    let stop = AtomicBool::new(false);
    let (sent, reloads) = while_talking(&lab, || {
        thread::scope(|scope| {
            let reloader = scope.spawn(|| {
                let mut reloads = 0;
                while !stop.load(Ordering::Relaxed) {
                    firewall.reload();
                    reloads += 1;
                    thread::sleep(Duration::from_millis(5));
                }
                reloads
            });
            let stopping = StopOnDrop(&stop);
            for _ in 0..6 {
                let_it_flow(&lab);
                fresh(&daemon);
            }
            drop(stopping);
            reloader.join().unwrap()
        })
    });
    assert!(reloads > 5, "{reloads} reloads");
    expect(&daemon, sent);
    assert_eq!(daemon.metrics()["gatemeter_collector_errors_total{collector=\"clients\"}"], 0.0);
}

#[test]
fn after_all_rules_were_flushed_in_mid_traffic_counting_goes_on_and_no_total_falls() {
    let lab = Lab::builder().hosts(2).build();
    let daemon = setup(&lab).start();
    while_talking(&lab, || {
        let_it_flow(&lab);
        let mut before = clients(&fresh(&daemon));
        assert_eq!(before.len(), 4, "{before:#?}");
        for _ in 0..3 {
            lab.router.must(&["nft", "flush", "ruleset"]);
            wait_for_table(&lab, &daemon);
            let_it_flow(&lab);
            let after = clients(&fresh(&daemon));
            for (client, old) in &before {
                let new = after[client];
                assert!(new.tx > old.tx && new.rx > old.rx, "{client} had {old:?} and then {new:?}");
            }
            before = after;
        }
    });
}

#[test]
fn what_was_counted_before_all_rules_were_flushed_is_kept_to_the_byte() {
    let lab = Lab::builder().hosts(2).build();
    let daemon = setup(&lab).start();
    let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sent.clone());
    lab.router.must(&["nft", "flush", "ruleset"]);
    wait_for_table(&lab, &daemon);
    expect(&daemon, sent.clone());
    let (more, _) = while_talking(&lab, || let_it_flow(&lab));
    expect(&daemon, sum(sent.into_iter().chain(more)));
}

#[test]
fn a_chain_that_somebody_emptied_counts_again() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).start();
    let first = mark(&lab, lab.host(1));
    expect(&daemon, [first.clone()]);
    let chain = ["nft", "flush", "chain", witness::TABLE[0], witness::TABLE[1], "acct"];
    // The daemon may own the table, which nobody else can change then.
    lab.router.run(&chain);
    let before = clients(&daemon.metrics())[&first.0];
    let counted_again = process::poll(PATIENCE, || {
        mark(&lab, lab.host(1));
        let now = clients(&fresh(&daemon))[&first.0];
        (now.tx > before.tx && now.rx > before.rx).then_some(())
    });
    assert!(counted_again.is_some(), "nothing counts any more: {}", daemon.stderr());
}

#[test]
fn a_table_of_that_name_that_somebody_else_made_is_told_and_left_alone() {
    let lab = Lab::builder().hosts(1).build();
    lab.router.must(&[
        "nft",
        "add table inet gatemeter; add chain inet gatemeter mine; add rule inet gatemeter mine counter",
    ]);
    let before = lab.router.must(&["nft", "list", "table", "inet", "gatemeter"]);
    let setup = setup(&lab);
    let daemon = setup.start_unready();
    let line = told(&daemon, &["ERROR", "inet gatemeter"]);
    assert!(line.contains("nft delete table inet gatemeter"), "the remedy is told: {line}");
    daemon.wait_until("two tries", |metrics| {
        (metrics["gatemeter_collector_errors_total{collector=\"clients\"}"] >= 2.0).then_some(())
    });
    assert_eq!(daemon.metrics()[UP], 0.0);
    assert_eq!(daemon.stderr().matches("ERROR").count(), 1, "{}", daemon.stderr());

    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    assert!(check.stdout.lines().any(|line| line.contains("BROKEN") && line.contains("inet gatemeter")), "{check:?}");
    setup.run(&["clean"]);
    assert_eq!(lab.router.must(&["nft", "list", "table", "inet", "gatemeter"]), before);

    lab.router.must(&["nft", "delete", "table", "inet", "gatemeter"]);
    daemon.wait_for(UP, 1.0);
    wait_for_table(&lab, &daemon);
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn clean_removes_the_table_and_nothing_else_and_says_so() {
    let lab = Lab::builder().hosts(1).build();
    let _firewall = Firewall::start(&lab);
    let setup = setup(&lab);
    let mut daemon = setup.start();
    expect(&daemon, [mark(&lab, lab.host(1))]);
    daemon.kill9();
    assert!(witness::table_is_whole(&lab.router), "a killed daemon leaves its counts");
    let cleaned = setup.run(&["clean"]);
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert!(cleaned.stdout.contains("inet gatemeter"), "{cleaned:?}");
    assert_eq!(witness::tables(&lab.router), "table inet fw4\n");
    let again = setup.run(&["clean"]);
    assert_eq!((again.status.code(), again.stdout.as_str()), (Some(0), "nothing to remove\n"), "{again:?}");
    // The next daemon begins from nothing.
    let daemon = setup.start();
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn a_daemon_that_was_stopped_leaves_its_table_and_nobody_elses_rules_changed() {
    let lab = Lab::builder().hosts(1).build();
    let _firewall = Firewall::start(&lab);
    let before = lab.router.must(&["nft", "list", "table", "inet", "fw4"]);
    let mut daemon = setup(&lab).start();
    expect(&daemon, [mark(&lab, lab.host(1))]);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(witness::table_is_whole(&lab.router));
    assert_eq!(lab.router.must(&["nft", "list", "table", "inet", "fw4"]), before);
}
