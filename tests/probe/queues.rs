//! A firewall of the router's own, and the router's own queue.

use super::figures::{Figures, TARGETS, Who, asked_until, halt, lab, ms, on_record, section, setup, target, warm};
use super::times::within;
use super::witness::Wire;
use crate::harness::{Daemon, PATIENCE, Samples};
use crate::lab::Lab;
use crate::lab::process::poll;
use crate::lab::responder::{Log, Responder, Rule};

/// Ends the probing; figures and record of targets some of whose probes were never sent.
fn decided(
    lab: &Lab,
    daemon: &Daemon,
    far: &Responder,
    all: &[Who],
    options: &[(&str, &str)],
    unsent: &str,
) -> (Vec<Figures>, Log) {
    halt(daemon, options, "");
    let queue = || lab.router.must(&["tc", "-s", "qdisc", "show", "dev", far.ifname()]);
    assert!(poll(PATIENCE, || queue().contains("backlog 0b 0p").then_some(())).is_some(), "{}", queue());
    let log = far.settled();
    let figures = all.iter().map(|who| {
        let on_record = who.seen(&log).count();
        let is_all = |page: &Samples| {
            let figures = Figures::of(*who, page);
            figures.counts().0 == on_record + figures.lost(unsent)
        };
        Figures::of(*who, &asked_until(daemon, &who.query(), "all probes decided", is_all))
    });
    (figures.collect(), log)
}

/// The round trips, as a sum, are those of the record and of tcpdump.
fn check_times(figures: &Figures, who: Who, log: &Log, wire: &Wire) {
    let bounds: Vec<(f64, f64)> = wire.bounds(who, &who.seen(log).requests).into_iter().flatten().collect();
    assert_eq!(figures.counts().1, bounds.len());
    let sum = |side: fn(&(f64, f64)) -> f64| bounds.iter().map(side).sum::<f64>();
    within("the sum", figures.value("latency_seconds_total"), (sum(|bounds| bounds.0), sum(|bounds| bounds.1)));
    let squares = |side: fn(&(f64, f64)) -> f64| bounds.iter().map(|bounds| side(bounds).powi(2)).sum::<f64>();
    let range = (squares(|bounds| bounds.0), squares(|bounds| bounds.1));
    within("the squares", figures.value("latency_squared_seconds_total"), range);
}

/// All round trips but a few before it was warm.
fn stamped_by_the_kernel(daemon: &Daemon) {
    let metrics = daemon.metrics();
    let by_others = metrics.iter().filter(|(series, _)| {
        series.starts_with("gatemeter_probe_round_trips_total{") && !series.contains("timestamps=\"kernel\"")
            || series.starts_with("gatemeter_probe_impossible_timestamps_total{")
    });
    assert!(by_others.map(|(_, count)| count).sum::<f64>() <= 3.0, "{metrics:#?}");
}

#[test]
fn a_firewall_that_refuses_probes_is_told_and_disturbs_no_stamp_then_or_afterwards() {
    let lab = lab();
    let options = [("interval", "10")];
    let (far, daemon) = warm(&lab, &section(&options));
    // Delays so different that a stamp of another probe would show.
    far.default_rule(Rule::new().delay(ms(20)).jitter(ms(19), 4));
    let wire = Wire::watch(&lab, &lab.router, far.ifname());
    let refused = TARGETS.map(Who::icmp);
    let others = ["198.18.0.2", "fd00:18::2"].map(Who::icmp);
    let all = [refused, others].concat();
    lab.router.must(&[
        "nft",
        "add table inet lab; add chain inet lab out { type filter hook output priority 0; }; \
                             add rule inet lab out ip daddr 198.18.0.1 drop; \
                             add rule inet lab out ip6 daddr fd00:18::1 drop",
    ]);
    let list: String = all.iter().map(|who| format!("target={}&", who.ip)).collect();
    let lost = refused.map(|who| who.series("packets_lost_total", "cause=\"not_permitted\""));
    asked_until(&daemon, &list, "refusals", |page| lost.iter().all(|lost| page.get(lost) >= Some(&30.0)));
    lab.router.must(&["nft", "delete", "table", "inet", "lab"]);
    all.iter().for_each(|who| on_record(&far, *who, 40));
    let (figures, log) = decided(&lab, &daemon, &far, &all, &options, "not_permitted");
    for (who, figures) in all.iter().zip(&figures) {
        check_times(figures, *who, &log, &wire);
        let causes: Vec<String> = figures.causes().into_iter().map(|(cause, _)| cause).collect();
        let expected: &[&str] = if refused.contains(who) { &["not_permitted"] } else { &[] };
        assert_eq!(causes, expected, "{who:?}");
    }
    let refusals: usize = figures.iter().map(|figures| figures.lost("not_permitted")).sum();
    daemon.wait_for("icmp_packets_error_total", refusals as f64);
    stamped_by_the_kernel(&daemon);
}

#[test]
fn syns_that_a_firewall_refuses_are_told() {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    lab.router.must(&[
        "nft",
        "add table inet lab; add chain inet lab out { type filter hook output priority 0; }; \
                             add rule inet lab out tcp dport 80 drop",
    ]);
    let all = TARGETS.map(|target| Who::tcp(target, 80));
    for who in all {
        let lost = who.series("packets_lost_total", "cause=\"not_permitted\"");
        asked_until(&daemon, &who.query(), "refusals", |page| page.get(&lost) >= Some(&5.0));
    }
    lab.router.must(&["nft", "delete", "table", "inet", "lab"]);
    all.iter().for_each(|who| on_record(&far, *who, 10));
    let (figures, log) = decided(&lab, &daemon, &far, &all, &[], "not_permitted");
    for (who, figures) in all.iter().zip(&figures) {
        assert_eq!(figures.counts().1, who.seen(&log).count());
    }
}

#[test]
fn a_full_queue_is_told_beside_round_trips_that_do_not_grow_by_it() {
    let lab = lab();
    let options = [("interval", "10"), ("timeout", "2000")];
    let (far, daemon) = warm(&lab, &section(&options));
    let wire = Wire::watch(&lab, &lab.router, far.ifname());
    // Six thousand bytes a second, for ten thousand; a quarter of a second of them fits into the queue.
    let shaper = ["rate", "50kbit", "burst", "600", "limit", "1500"];
    lab.router.must(&[&["tc", "qdisc", "replace", "dev", far.ifname(), "root", "tbf"], &shaper[..]].concat());
    let who = Who::icmp(TARGETS[0]);
    let lost = who.series("packets_lost_total", "cause=\"no_buffer\"");
    asked_until(&daemon, &who.query(), "a full queue", |page| page.get(&lost) >= Some(&10.0));
    let queue = |metrics: &Samples, what: &str| {
        let name = format!("gatemeter_probe_queue_delay_{what}_total{{interface=\"{}\"}}", far.ifname());
        metrics.get(&name).copied().unwrap_or(0.0)
    };
    daemon.wait_until("delay in the queue", |metrics| {
        let (seconds, probes) = (queue(metrics, "seconds"), queue(metrics, "probes"));
        (probes >= 20.0 && seconds / probes >= 0.05).then_some(())
    });
    on_record(&far, who, 30);
    let (figures, log) = decided(&lab, &daemon, &far, &[who], &options, "no_buffer");
    // Behind the queue tcpdump saw what the far end did.
    check_times(&figures[0], who, &log, &wire);
    let causes: Vec<String> = figures[0].causes().into_iter().map(|(cause, _)| cause).collect();
    assert_eq!(causes, ["no_buffer"]);
    stamped_by_the_kernel(&daemon);
    assert!(daemon.metrics()["icmp_packets_error_total"] >= 10.0);
}

#[test]
fn a_probe_that_is_longer_than_the_link_goes_in_fragments() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    let all = [host.v4.into(), host.v6.into()].map(|ip| Who { ip, tcp_port: None });
    let wire = Wire::watch(&lab, host, "eth0");
    let config = section(&[]) + &all.map(|who| target(&who.ip.to_string(), &[("size", "5000")])).concat();
    let daemon = setup(&lab, &config).start();
    for who in all {
        let figures = |page: &Samples| Figures::of(who, page).counts().1 >= 5;
        asked_until(&daemon, &who.query(), "answers", figures);
    }
    wire.line(&[" > 192.168.1.11: ICMP echo request", "length 1480"]);
    wire.line(&[" > 192.168.1.11: ", "offset 4440"]);
    wire.line(&["frag (0x", ":0|1448)"]);
}
