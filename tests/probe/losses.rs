//! What is lost, late, doubled, overtaken or damaged is counted as the far end has it on record.

use super::figures::{
    Figures, TARGETS, TIMEOUT, Who, asked, asked_until, compared, decided, halt, lab, ms, on_record, section, setup,
    warm,
};
use crate::harness::Samples;
use crate::lab::Lab;
use crate::lab::responder::{Log, Rule};

/// Probes both families under a rule, until each has been probed so often.
fn probed(rule: Rule, count: usize, check: impl Fn(&Figures, &Log, Who)) {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    far.default_rule(rule);
    let all = TARGETS.map(Who::icmp);
    asked(&daemon, &format!("target={}&target={}", TARGETS[0], TARGETS[1]));
    let (figures, log) = compared(&daemon, &far, &all, count, &[]);
    for (who, figures) in all.into_iter().zip(&figures) {
        let seen = who.seen(&log);
        let counts = (seen.count(), seen.answered_within(TIMEOUT));
        assert_eq!(figures.counts(), counts, "{who:?}");
        assert_eq!(figures.causes().iter().map(|(_, count)| count).sum::<usize>(), counts.0 - counts.1, "{who:?}");
        assert_eq!(figures.count("packets_duplicate_total"), seen.duplicates(), "{who:?}");
        assert_eq!(figures.count("packets_late_total"), seen.late_for(TIMEOUT), "{who:?}");
        // Those that are late have been overtaken, too, and are lost already.
        if seen.late_for(TIMEOUT) == 0 {
            assert_eq!(figures.count("packets_reordered_total"), seen.inversions(), "{who:?}");
        }
        check(figures, &log, who);
    }
}

#[test]
fn every_fifth_that_is_lost_is_counted() {
    probed(Rule::new().lose_every(5), 60, |figures, log, who| {
        assert_eq!((figures.lost("timeout"), figures.causes().len()), (who.seen(log).lost(), 1));
        assert!(figures.lost("timeout") >= 12);
    });
}

#[test]
fn random_losses_are_counted_one_by_one_and_are_as_many_as_they_should_be() {
    probed(Rule::new().lose(0.3, 5), 100, |figures, log, who| {
        let seen = who.seen(log);
        assert_eq!(figures.lost("timeout"), seen.lost());
        // Four standard deviations of a binomial distribution.
        let count = seen.count() as f64;
        assert!((seen.lost() as f64 - 0.3 * count).abs() <= 4.0 * (0.21 * count).sqrt(), "{} of {count}", seen.lost());
        // All are in the window unless it saw a change in them.
        let (sent, _) = figures.counts();
        assert!((25..=sent).contains(&figures.count("samples_count")));
    });
}

#[test]
fn an_answer_after_the_timeout_is_late_and_its_probe_lost() {
    probed(Rule::new().late_every(4, ms(800)), 40, |figures, log, who| {
        assert!(who.seen(log).late_for(TIMEOUT) >= 10);
        assert_eq!(figures.lost("timeout"), figures.count("packets_late_total"));
        assert!(figures.value("latency_seconds") < TIMEOUT.as_secs_f64());
    });
}

#[test]
fn an_answer_that_comes_twice_counts_once_and_as_a_duplicate() {
    probed(Rule::new().duplicate_every(3), 40, |figures, log, who| {
        assert!(who.seen(log).duplicates() >= 13);
        assert!(figures.causes().is_empty());
    });
}

#[test]
fn answers_that_are_overtaken_are_counted() {
    probed(Rule::new().reorder_every(4), 40, |figures, log, who| {
        assert!(who.seen(log).inversions() >= 9);
        // The last one may be held for a successor that does not come.
        assert!(figures.lost("timeout") <= 1);
    });
}

#[test]
fn jitter_beyond_the_interval_reorders_and_loses_nothing() {
    probed(Rule::new().delay(ms(60)).jitter(ms(55), 3), 60, |figures, log, who| {
        assert!(who.seen(log).inversions() >= 5);
        assert!(figures.causes().is_empty());
    });
}

#[test]
fn a_time_to_live_that_changes_is_told_and_counted() {
    probed(Rule::new().ttl_alternating(50, 60), 20, |figures, log, who| {
        let ttls = who.seen(log).ttls();
        assert_eq!(figures.count("reply_ttl_changes_total"), ttls.len() - 1);
        assert_eq!(figures.count("reply_ttl"), usize::from(*ttls.last().unwrap()));
    });
}

#[test]
fn a_window_begins_anew_where_losses_begin() {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[("interval", "10"), ("timeout", "1000")]));
    let who = Who::icmp(TARGETS[0]);
    asked(&daemon, &who.query());
    on_record(&far, who, 60);
    far.rule(who.ip, Rule::silent());
    let before = who.seen(&far.log()).delays().count();
    on_record(&far, who, before + 60);
    halt(&daemon, &[("timeout", "1000")], "");
    let (figures, log) = decided(&daemon, &far, &[who]);
    let lost = who.seen(&log).lost();
    // Only what is newer than the change: all of it is lost, whatever the totals are.
    assert_eq!((figures[0].count("samples_count"), figures[0].value("loss_ratio")), (lost, 1.0));
    assert_eq!(figures[0].lost("timeout"), lost);
    assert!(figures[0].value("latency_seconds").is_nan() && figures[0].value("standard_deviation_seconds").is_nan());
    assert!(figures[0].value("latency_seconds_total") > 0.0);
}

#[test]
fn an_impairment_of_netem_is_what_is_told_where_the_kernel_has_it() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    let netem =
        ["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "30ms", "loss", "25%", "limit", "10000"];
    let added = host.run(&netem);
    let daemon = setup(&lab, &section(&[("interval", "10")])).start();
    let all = [host.v4.into(), host.v6.into()].map(|ip| Who { ip, tcp_port: None });
    let query = format!("target={}&target={}", all[0].ip, all[1].ip);
    let sent = |page: &Samples| all.iter().all(|who| page[&who.series("packets_sent_total", "")] >= 200.0);
    let page = asked_until(&daemon, &query, "200 probes", sent);
    for figures in all.map(|who| Figures::of(who, &page)) {
        let (sent, answered) = figures.counts();
        let mean = figures.value("latency_seconds_total") / answered as f64;
        let loss = 1.0 - answered as f64 / sent as f64;
        if added.status.success() {
            assert!(mean >= 0.03, "{mean}");
            assert!((loss - 0.25).abs() <= 4.0 * (0.1875 / sent as f64).sqrt(), "{loss}");
        } else {
            // Why not is known; all that netem does is done by the far end of the other tests.
            assert!(added.stderr.contains("qdisc kind is unknown"), "{}", added.stderr);
            assert_eq!(loss, 0.0);
        }
    }
}
