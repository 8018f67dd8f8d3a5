//! Round trips and all that is computed from them lie between the delays on record and what tcpdump saw.

use super::figures::{Figures, TARGETS, Who, asked, compared, lab, ms, section, warm};
use super::witness::{Bounds, Wire};
use crate::lab::responder::{Port, Rule};

/// Errors of numbers that are added up or printed in another order.
const ROUNDING: f64 = 1e-9;

#[track_caller]
pub fn within(what: &str, value: f64, (least, most): (f64, f64)) {
    let is_within = value >= least * (1.0 - ROUNDING) && value <= most * (1.0 + ROUNDING);
    assert!(is_within, "{what} is {value} and not from {least} to {most}");
}

/// The least and the most that the difference of two round trips can be.
fn difference(one: (f64, f64), other: (f64, f64)) -> (f64, f64) {
    let least = (one.0 - other.1).max(other.0 - one.1).max(0.0);
    (least, (one.1 - other.0).max(other.1 - one.0))
}

fn check(figures: &Figures, bounds: &[Bounds]) {
    let known: Vec<(f64, f64)> = bounds.iter().flatten().copied().collect();
    let sum = |of: fn(f64) -> f64| {
        let total = |side: fn(&(f64, f64)) -> f64| known.iter().map(|bounds| of(side(bounds))).sum::<f64>();
        (total(|bounds| bounds.0), total(|bounds| bounds.1))
    };
    let count = known.len() as f64;
    assert_eq!(figures.counts(), (bounds.len(), known.len()));
    let (least, most) = sum(|rtt| rtt);
    within("the sum", figures.value("latency_seconds_total"), (least, most));
    within("the sum of squares", figures.value("latency_squared_seconds_total"), sum(|rtt| rtt * rtt));

    // All of the results are in the window.
    assert_eq!(figures.count("samples_count"), bounds.len());
    assert_eq!(figures.value("loss_ratio"), (bounds.len() - known.len()) as f64 / bounds.len() as f64);
    within("the mean", figures.value("latency_seconds"), (least / count, most / count));
    // A deviation changes no more than by that of what is added, which is not above its root mean square.
    let mean = least / count;
    let deviation = (known.iter().map(|(least, _)| (least - mean).powi(2)).sum::<f64>() / count).sqrt();
    let room = (known.iter().map(|(least, most)| (most - least).powi(2)).sum::<f64>() / count).sqrt();
    within("the deviation", figures.value("standard_deviation_seconds"), (deviation - room, deviation + room));

    let pairs = bounds.windows(2).filter_map(|pair| Some(difference(pair[0]?, pair[1]?)));
    let (mut variations, mut variation, mut jitter) = (0, (0.0, 0.0), (0.0, 0.0));
    for (least, most) in pairs {
        variations += 1;
        variation = (variation.0 + least, variation.1 + most);
        // RFC 3550, 6.4.1.
        jitter = (jitter.0 + (least - jitter.0) / 16.0, jitter.1 + (most - jitter.1) / 16.0);
    }
    assert_eq!(figures.count("latency_variations_total"), variations);
    within("the variation", figures.value("latency_variation_seconds_total"), variation);
    // It is kept in sixteenths of a nanosecond.
    within("the jitter", figures.value("jitter_seconds"), (jitter.0 - 2e-9, jitter.1 + 2e-9));

    assert_eq!(figures.bucket("+Inf"), count);
    assert_eq!(figures.value("rtt_seconds_count"), count);
    within("the sum of the histogram", figures.value("rtt_seconds_sum"), (least, most));
    for bound in ["0.0016", "0.0032", "0.0064", "0.0128", "0.0256"] {
        let at: f64 = bound.parse().unwrap();
        let surely = known.iter().filter(|(_, most)| *most <= at).count() as f64;
        let at_most = known.iter().filter(|(least, _)| *least <= at).count() as f64;
        within(bound, figures.bucket(bound), (surely, at_most));
    }
}

#[test]
fn echoes_took_as_long_as_the_far_end_and_tcpdump_say() {
    let lab = lab();
    let options = [("histogram", "1"), ("interval", "10")];
    let (far, daemon) = warm(&lab, &section(&options));
    far.default_rule(Rule::new().delay(ms(8)).jitter(ms(7), 11).lose_every(7));
    let wire = Wire::watch(&lab, &lab.router, far.ifname());
    let all = TARGETS.map(Who::icmp);
    asked(&daemon, &format!("target={}&target={}", TARGETS[0], TARGETS[1]));
    let (figures, log) = compared(&daemon, &far, &all, 100, &options);
    for (who, figures) in all.into_iter().zip(&figures) {
        check(figures, &wire.bounds(who, &who.seen(&log).requests));
    }
}

#[test]
fn syns_took_as_long_as_the_far_end_and_tcpdump_say() {
    let lab = lab();
    let options = [("histogram", "1"), ("interval", "10")];
    let (far, daemon) = warm(&lab, &section(&options));
    far.default_rule(Rule::new().delay(ms(8)).jitter(ms(7), 12).lose_every(9).port(81, Port::Closed));
    let wire = Wire::watch(&lab, &lab.router, far.ifname());
    let all = [Who::tcp(TARGETS[0], 80), Who::tcp(TARGETS[1], 81)];
    all.iter().for_each(|who| _ = asked(&daemon, &who.query()));
    let (figures, log) = compared(&daemon, &far, &all, 100, &options);
    for (who, figures) in all.into_iter().zip(&figures) {
        check(figures, &wire.bounds(who, &who.seen(&log).requests));
    }
}

#[test]
fn no_round_trip_is_so_short_that_it_is_lost_in_rounding() {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[("interval", "10")]));
    let wire = Wire::watch(&lab, &lab.router, far.ifname());
    let who = Who::icmp(TARGETS[0]);
    asked(&daemon, &who.query());
    let (figures, log) = compared(&daemon, &far, &[who], 50, &[]);
    let bounds = wire.bounds(who, &who.seen(&log).requests);
    let least: f64 = bounds.iter().map(|bounds| bounds.unwrap().0).sum();
    let most: f64 = bounds.iter().map(|bounds| bounds.unwrap().1).sum();
    within("the sum", figures[0].value("latency_seconds_total"), (least, most));
    // Nanoseconds are told, not microseconds.
    assert!((figures[0].value("latency_seconds_total") * 1e6).fract() > 1e-4);
}
