//! What could be used against others, and what keeps it from that.

use super::figures::{TARGETS, Who, asked, debug, lab, on_record, section, setup, target, told};
use crate::lab::responder::{Responder, What};

fn identifiers(far: &Responder, who: Who) -> Vec<u16> {
    let log = far.log();
    let mut all: Vec<u16> = who
        .seen(&log)
        .requests
        .iter()
        .filter_map(|request| match request.what {
            What::Echo { identifier, .. } => Some(identifier),
            _ => None,
        })
        .collect();
    all.dedup();
    all
}

#[test]
fn without_unlocking_nothing_is_faster_than_the_default_and_that_is_told() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let config = section(&[("unlocked", "0"), ("interval", "10"), ("maxpps", "20000"), ("identifier", "4711")])
        + &target(TARGETS[0], &[("interval", "10")])
        + &target("198.18.0.2", &[("interval", "5000")]);
    let setup = setup(&lab, &config);
    let daemon = setup.start();
    for line in [
        "probe.interval 10 takes probe.unlocked=1; it is 2000",
        "probe.maxpps 20000 takes probe.unlocked=1; it is 10000",
        "probe.identifier 4711 takes probe.unlocked=1; it is 0",
        &format!("the interval of target {} 10 takes probe.unlocked=1; it is 2000", TARGETS[0]),
    ] {
        told(&daemon, &["WARN", line]);
        let check = setup.run(&["check"]);
        assert!(check.stdout.lines().any(|told| told.contains(line)), "{line} is not in {}", check.stdout);
    }
    asked(&daemon, "target=198.18.0.3");
    let intervals = debug(&lab, &daemon, "[.probes[] | [.ip_address, .interval_seconds]]");
    assert_eq!(intervals.trim(), r#"[["198.18.0.1",2],["198.18.0.2",5],["198.18.0.3",2]]"#);
    let who = Who::icmp(TARGETS[0]);
    on_record(&far, who, 1);
    assert_eq!(identifiers(&far, who), [daemon.pid() as u16]);
}

#[test]
fn an_identifier_is_as_it_was_asked_for_in_both_families() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let targets = TARGETS.map(|host| target(host, &[])).concat();
    let daemon = setup(&lab, &(section(&[("identifier", "4711")]) + &targets)).start();
    for who in TARGETS.map(Who::icmp) {
        on_record(&far, who, 2);
        assert_eq!(identifiers(&far, who), [4711]);
    }
    // Another one takes other sockets, and counters go on.
    super::figures::reload(&daemon, &(section(&[("identifier", "4712")]) + &targets));
    for who in TARGETS.map(Who::icmp) {
        let moved = || (identifiers(&far, who) == [4711, 4712]).then_some(());
        assert!(crate::lab::process::poll(crate::harness::PATIENCE, moved).is_some(), "{:?}", identifiers(&far, who));
        let name = who.series("packets_recv_total", "");
        super::figures::asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 5.0);
    }
}

#[test]
fn the_rate_has_a_limit_by_which_every_interval_stretches() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let daemon = setup(&lab, &section(&[("interval", "10"), ("maxpps", "100")])).start();
    let targets: Vec<String> = (1..=20).map(|number| format!("target=198.18.3.{number}")).collect();
    asked(&daemon, &targets.join("&"));
    // 2,000 probes a second are wanted, and 100 are allowed.
    daemon.wait_for("gatemeter_probe_interval_stretch_ratio", 20.0);
    far.forget();
    on_record(&far, Who::icmp("198.18.3.20"), 5);
    let log = far.log();
    let (first, last) = (log.requests.first().unwrap(), log.requests.last().unwrap());
    let seconds = (last.read.monotonic - first.read.monotonic) as f64 / 1e9;
    // What was sent late, when it was read early, makes no more than a few.
    let most = 100.0 * seconds + 10.0;
    assert!(log.requests.len() as f64 <= most, "{} in {seconds} s", log.requests.len());
}

#[test]
fn many_targets_are_probed_evenly_and_not_in_a_burst() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let daemon = setup(&lab, &section(&[("interval", "1000")])).start();
    let targets: Vec<String> = (0..200).map(|number| format!("target=198.18.4.{number}")).collect();
    asked(&daemon, &targets.join("&"));
    let enough = || (far.log().requests.len() >= 500).then_some(());
    assert!(crate::lab::process::poll(crate::harness::PATIENCE, enough).is_some());
    let log = far.log();
    let times: Vec<u64> = log.requests.iter().map(|request| request.read.monotonic).collect();
    // Late ones follow at twice the rate at most, so whatever the machine does no fifty come at once: within a
    // twentieth of a second there is room for 20, and what one wake-up sends together.
    let densest =
        times.iter().map(|from| times.iter().filter(|at| (*from..from + 50_000_000).contains(*at)).count()).max();
    assert!(densest < Some(50), "{densest:?} probes within 50 ms");
}
