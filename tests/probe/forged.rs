//! Replies that are none of ours, or damaged: ignored, counted where they reach us, and no figure changes.

use std::net::IpAddr;

use super::figures::{TARGETS, Who, asked, compared, lab, section, warm};
use crate::harness::Daemon;
use crate::lab::responder::{Flaw, Log, Responder, Rule};

fn ignored(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metrics()[&format!("gatemeter_probe_ignored_packets_total{{reason=\"{reason}\"}}")]
}

/// Probes the targets while every second reply has a flaw; checks that the others only count.
fn flawed(all: &[Who], rule: Rule, check: impl Fn(&Daemon, &Log, &Responder)) {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    far.default_rule(rule);
    all.iter().for_each(|who| _ = asked(&daemon, &who.query()));
    let (figures, log) = compared(&daemon, &far, all, 20, &[]);
    for (who, figures) in all.iter().zip(&figures) {
        let seen = who.seen(&log);
        let (sent, sound) = (seen.count(), seen.delays().count());
        assert_eq!(seen.flawed(), sent - sound);
        assert_eq!((figures.counts(), figures.lost("timeout")), ((sent, sound), seen.flawed()), "{who:?}");
        for name in ["packets_duplicate_total", "packets_late_total", "packets_reordered_total"] {
            assert_eq!(figures.count(name), 0, "{name}");
        }
        assert_eq!(figures.count("reply_ttl_changes_total"), 0);
    }
    check(&daemon, &log, &far);
}

/// How many replies to one family, or to both, have a flaw.
fn of_family(log: &Log, all: &[Who], is_wanted: fn(&IpAddr) -> bool) -> f64 {
    let wanted = all.iter().filter(|who| is_wanted(&who.ip));
    wanted.map(|who| who.seen(log).flawed() as f64).sum()
}

fn counted(daemon: &Daemon, reason: &str, count: f64) {
    daemon.wait_for(&format!("gatemeter_probe_ignored_packets_total{{reason=\"{reason}\"}}"), count);
    for other in ["malformed", "foreign", "stale"].into_iter().filter(|other| *other != reason) {
        assert_eq!(ignored(daemon, other), 0.0, "{other}");
    }
}

#[test]
fn a_wrong_checksum_is_malformed() {
    let all = TARGETS.map(Who::icmp);
    flawed(&all, Rule::new().corrupt_every(2), |daemon, log, _| {
        // The kernel itself drops it from ICMPv6.
        counted(daemon, "malformed", of_family(log, &all, IpAddr::is_ipv4));
    });
}

#[test]
fn a_reply_that_is_cut_off_is_malformed() {
    let all = TARGETS.map(Who::icmp);
    for length in [8, 15] {
        flawed(&all, Rule::new().flawed_every(2, Flaw::Truncated(length)), |daemon, log, _| {
            counted(daemon, "malformed", of_family(log, &all, |_| true));
        });
    }
}

#[test]
fn a_reply_with_another_cookie_is_foreign() {
    let all = TARGETS.map(Who::icmp);
    flawed(&all, Rule::new().flawed_every(2, Flaw::Cookie), |daemon, log, _| {
        counted(daemon, "foreign", of_family(log, &all, |_| true));
    });
}

#[test]
fn a_reply_from_somebody_else_is_foreign_also_if_that_one_is_probed_too() {
    // The sender is the neighbour whose address differs in the last bit but one.
    let all = ["198.18.0.1", "198.18.0.3", "fd00:18::1"].map(Who::icmp);
    flawed(&all, Rule::new().flawed_every(2, Flaw::Source), |daemon, log, _| {
        counted(daemon, "foreign", of_family(log, &all, |_| true));
    });
}

#[test]
fn a_reply_with_another_identifier_is_somebody_elses_and_never_reaches_us() {
    let all = TARGETS.map(Who::icmp);
    flawed(&all, Rule::new().flawed_every(2, Flaw::Identifier), |daemon, _, _| {
        ["malformed", "foreign", "stale"].iter().for_each(|reason| assert_eq!(ignored(daemon, reason), 0.0));
    });
}

#[test]
fn answers_to_syns_that_no_probe_asked_for_are_ignored() {
    let all = TARGETS.map(|target| Who::tcp(target, 80));
    for flaw in [Flaw::Port, Flaw::Acknowledged, Flaw::Source] {
        flawed(&all, Rule::new().flawed_every(2, flaw), |daemon, log, _| {
            counted(daemon, "foreign", of_family(log, &all, |_| true));
        });
    }
}

#[test]
fn answers_to_syns_that_are_damaged_are_malformed() {
    let all = TARGETS.map(|target| Who::tcp(target, 80));
    flawed(&all, Rule::new().corrupt_every(2), |daemon, log, _| {
        // The kernel looks at those of IPv6, for it computes ours.
        counted(daemon, "malformed", of_family(log, &all, IpAddr::is_ipv4));
    });
}
