//! Configurations that change, daemons that are killed, and nothing that piles up.

use super::figures::{
    Figures, TARGETS, UP, Who, asked, asked_until, decided, halt, lab, on_record, reload, section, setup, target,
    threads_and_files,
};
use super::witness::Wire;
use crate::harness::PATIENCE;
use crate::lab::process::poll;
use crate::lab::responder::{Responder, Rule};

#[test]
fn a_new_configuration_keeps_the_counters_of_who_is_still_wanted() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().lose_every(5)).build();
    let wire = Wire::watch(&lab, &lab.router, far.ifname());
    let [stays, moves] = TARGETS.map(Who::icmp);
    let [goes, comes] = [Who::icmp("198.18.0.20"), Who::icmp("198.18.0.21")];
    let config = section(&[]) + &[TARGETS[0], TARGETS[1], "198.18.0.20"].map(|host| target(host, &[])).concat();
    let daemon = setup(&lab, &config).start();
    [stays, moves, goes].iter().for_each(|who| on_record(&far, *who, 10));
    let urgent = [("interval", "10"), ("dscp", "46")];
    let config = section(&[("interval", "50")])
        + &target(TARGETS[0], &urgent)
        + &target(TARGETS[1], &urgent)
        + &target("198.18.0.21", &[]);
    reload(&daemon, &config);
    on_record(&far, comes, 5);
    wire.line(&["tos 0xb8", " > 198.18.0.1: ICMP echo request"]);
    wire.line(&["class 0xb8", " > fd00:18::1: ", "echo request"]);
    let gone = goes.series("packets_sent_total", "");
    daemon.wait_until("no trace of who went", |metrics| (!metrics.contains_key(&gone)).then_some(()));
    halt(&daemon, &[], &[TARGETS[0], TARGETS[1], "198.18.0.21"].map(|host| target(host, &[])).concat());
    // Every probe that was ever sent to those who stayed is counted, under whichever configuration.
    let all = [stays, moves, comes];
    let (figures, log) = decided(&daemon, &far, &all);
    for (who, figures) in all.iter().zip(&figures) {
        let seen = who.seen(&log);
        assert_eq!(figures.counts(), (seen.count(), seen.delays().count()), "{who:?}");
    }
    let tos = |who: Who| {
        let mut all: Vec<u8> = who.seen(&log).requests.iter().map(|request| request.tos).collect();
        all.dedup();
        all
    };
    assert_eq!((tos(stays), tos(moves), tos(comes)), (vec![0, 184], vec![0, 184], vec![0]));
}

#[test]
fn another_size_is_on_the_wire_and_keeps_the_counters() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let all = TARGETS.map(Who::icmp);
    let config = |size| section(&[]) + &TARGETS.map(|host| target(host, &[("size", size)])).concat();
    let daemon = setup(&lab, &config("8")).start();
    let mut before = [0.0; 2];
    for size in ["8", "1000", "100"] {
        if before != [0.0; 2] {
            reload(&daemon, &config(size));
        }
        for (who, before) in all.iter().zip(&mut before) {
            let headers = if who.ip.is_ipv4() { 28 } else { 48 };
            let length = headers + size.parse::<usize>().unwrap();
            let sent = || who.seen(&far.log()).requests.iter().filter(|request| request.length == length).count();
            assert!(poll(PATIENCE, || (sent() >= 5).then_some(())).is_some(), "{size} {who:?}");
            let name = who.series("packets_recv_total", "");
            let page = asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= *before + 5.0);
            assert_eq!(Figures::of(*who, &page).causes(), []);
            *before = page[&name];
        }
    }
}

#[test]
fn another_timeout_and_histogram_hold_at_once() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().delay(super::figures::ms(150))).build();
    let config = |timeout| section(&[("timeout", timeout), ("histogram", if timeout == "100" { "1" } else { "0" })]);
    let targets = target(TARGETS[0], &[]);
    let who = Who::icmp(TARGETS[0]);
    let daemon = setup(&lab, &(config("100") + &targets)).start();
    let late = who.series("packets_late_total", "");
    let page = asked_until(&daemon, &who.query(), "late answers", |page| page[&late] >= 5.0);
    assert_eq!(Figures::of(who, &page).counts().1, 0);
    assert!(page.contains_key(&who.series("rtt_seconds_count", "")));
    reload(&daemon, &(config("60000") + &targets));
    on_record(&far, who, 20);
    reload(&daemon, &(config("400") + &targets));
    let received = who.series("packets_recv_total", "");
    let page = asked_until(&daemon, &who.query(), "answers", |page| page[&received] >= 5.0);
    assert!(!page.contains_key(&who.series("rtt_seconds_count", "")));
}

#[test]
fn a_configuration_that_breaks_is_told_by_line_and_the_old_one_goes_on() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let config = section(&[]) + &target(TARGETS[0], &[]);
    let daemon = setup(&lab, &config).start();
    let who = Who::icmp(TARGETS[0]);
    for (text, line, value) in [
        ("config probe 'probe'\n\toption interval '5'\n", 2, "'5'"),
        ("config probe 'probe'\n\tlist allow_target '198.18.0.0/33'\n", 2, "prefix length 33"),
        ("config target\n\toption host '198.18.0.300'\n", 2, "'198.18.0.300'"),
        ("config target\n\toption host 'a'\n\toption dscp '64'\n", 3, "'64'"),
        ("config target\n\toption host 'a'\n\toption size '7'\n", 3, "'7'"),
        ("config target\n\toption host 'a'\n\tlist tcp_port '0'\n", 3, "'0'"),
    ] {
        daemon.setup().write_uci("gatemeter", text);
        daemon.signal(libc::SIGHUP);
        let place = format!("{}:{line}: ", daemon.setup().dir().join("config/gatemeter").display());
        super::figures::told(&daemon, &[&place, value, "keeping the settings from before"]);
    }
    assert!(!daemon.stderr().contains("configuration read again"), "{}", daemon.stderr());
    let count = who.seen(&far.log()).count();
    on_record(&far, who, count + 10);
    assert_eq!(daemon.metrics()[UP], 1.0);
}

#[test]
fn a_killed_daemon_leaves_nothing_that_hinders_the_next_one() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().delay(super::figures::ms(100))).build();
    let config = section(&[]) + &target(TARGETS[0], &[]) + &target(TARGETS[1], &[("tcp_port", "80")]);
    let setup = setup(&lab, &config);
    let mut daemon = setup.start();
    let all = [Who::icmp(TARGETS[0]), Who::tcp(TARGETS[1], 80)];
    for _ in 0..2 {
        all.iter().for_each(|who| on_record(&far, *who, 10));
        daemon.kill9();
        // Answers to probes of the one before are under way.
        daemon = setup.start();
    }
    for who in all {
        let name = who.series("packets_recv_total", "");
        let page = asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 10.0);
        let figures = Figures::of(who, &page);
        assert_eq!((figures.causes(), figures.count("packets_late_total")), (vec![], 0));
        assert!(figures.value("latency_seconds") >= 0.1);
    }
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn two_daemons_probe_the_same_target_and_each_counts_its_own() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().lose_every(3)).build();
    let who = [Who::icmp(TARGETS[0]), Who::tcp(TARGETS[0], 80)];
    let daemons = ["9999", "9998"].map(|port| setup(&lab, &section(&[])).flags(&["-p", port]).start());
    for daemon in &daemons {
        who.iter().for_each(|who| _ = asked(daemon, &who.query()));
    }
    who.iter().for_each(|who| on_record(&far, *who, 60));
    daemons.iter().for_each(|daemon| halt(daemon, &[], ""));
    for who in who {
        let figures = || daemons.each_ref().map(|daemon| Figures::of(who, &asked(daemon, &who.query())));
        let sums = || {
            let figures = figures();
            let sum = |what: fn(&Figures) -> usize| figures.iter().map(what).sum::<usize>();
            (
                sum(|figures| figures.counts().0),
                sum(|figures| figures.counts().1),
                sum(|f| f.count("packets_duplicate_total")),
            )
        };
        let log = far.settled();
        let seen = who.seen(&log);
        let expected = (seen.count(), seen.delays().count(), 0);
        assert!(poll(PATIENCE, || (sums() == expected).then_some(())).is_some(), "{:?} {expected:?}", sums());
    }
    for daemon in &daemons {
        let ignored = daemon.metrics();
        assert_eq!(ignored["gatemeter_probe_ignored_packets_total{reason=\"foreign\"}"], 0.0);
    }
}

#[test]
fn threads_and_files_do_not_pile_up_over_reloads_and_targets() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let config = |identifier: &str, host: &str| {
        section(&[("identifier", identifier)]) + &target(host, &[]) + &target(host, &[("tcp_port", "80")])
    };
    let daemon = setup(&lab, &config("100", TARGETS[0])).start();
    let all_sockets = || {
        for target in TARGETS {
            for who in [Who::icmp(target), Who::tcp(target, 80)] {
                let name = who.series("packets_recv_total", "");
                asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 3.0);
            }
        }
    };
    all_sockets();
    // Connections of those who ask come and go.
    let least = || (0..20).map(|_| threads_and_files(&daemon)).min();
    let before = least();
    for round in 0..25 {
        let host = TARGETS[round % 2];
        reload(&daemon, &config(&format!("{}", 101 + round), host));
        asked(&daemon, &format!("target=198.18.5.{round}&target=fd00:18::5:{round}&tcp_port=443"));
    }
    all_sockets();
    let settled = || (least() <= before).then_some(());
    assert!(poll(PATIENCE, settled).is_some(), "{before:?} before, {:?} afterwards", least());
    assert_eq!(daemon.metrics()[UP], 1.0);
}
