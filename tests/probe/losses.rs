//! What is lost, late, doubled, overtaken or damaged is counted as the far end has it on record.

use super::figures::{Figures, TARGETS, TIMEOUT, Who, asked, compared, lab, ms, section, warm};
use crate::lab::responder::{Flaw, Kind, Log, Rule};

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
        assert_eq!(figures.count("packets_reordered_total"), seen.inversions(), "{who:?}");
        assert_eq!(figures.count("packets_late_total"), seen.late_for(TIMEOUT), "{who:?}");
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
