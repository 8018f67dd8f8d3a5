//! Names in boards and rules against the tables in the code: what is renamed there and not here fails.

use std::collections::{BTreeMap, BTreeSet};

use gatemeter::collectors::ALL;
use gatemeter::daemon::self_metrics;
use gatemeter::metrics::Kind;

use crate::board;
use crate::promql;
use crate::rules;

/// Labels that Prometheus adds to everything it scrapes, or that stand for the name.
const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "__name__"];

/// Labels by metric, the parts of histograms included.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::new();
    for desc in ALL.iter().flat_map(|row| row.metrics).chain(self_metrics::ALL) {
        let labels: BTreeSet<String> =
            desc.labels.iter().chain(&OF_PROMETHEUS).map(|&label| label.to_owned()).collect();
        match desc.kind {
            Kind::Histogram => {
                for part in ["_sum", "_count"] {
                    known.insert(format!("{}{part}", desc.name), labels.clone());
                }
                let labels = labels.into_iter().chain(["le".to_owned()]).collect();
                known.insert(format!("{}_bucket", desc.name), labels);
            }
            _ => {
                known.insert(desc.name.to_owned(), labels);
            }
        }
    }
    known
}

/// What is wrong with the names of a query; the labels that it can have come back.
fn check(
    query: &str,
    whence: &str,
    known: &BTreeMap<String, BTreeSet<String>>,
    wrong: &mut Vec<String>,
) -> BTreeSet<String> {
    let names = promql::names(query);
    let mut possible = BTreeSet::new();
    for (metric, matchers) in &names.metrics {
        let Some(labels) = known.get(metric) else {
            wrong.push(format!("{whence}: there is no metric {metric}"));
            continue;
        };
        for label in matchers.iter().filter(|label| !labels.contains(*label)) {
            wrong.push(format!("{whence}: {metric} has no label {label}"));
        }
        possible.extend(labels.iter().cloned());
    }
    if names.metrics.is_empty() {
        wrong.push(format!("{whence}: no metric in {query}"));
    }
    for label in names.labels.iter().filter(|label| !possible.contains(*label)) {
        wrong.push(format!("{whence}: no metric in it has a label {label}"));
    }
    possible
}

/// The names in double braces of a legend.
fn in_braces(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or(rest).trim())
}

#[test]
fn boards_ask_for_metrics_and_labels_that_there_are() {
    let known = known();
    let mut wrong = Vec::new();
    for board in board::all() {
        for query in board.queries() {
            let possible = check(&query.expression, &query.whence, &known, &mut wrong);
            for label in in_braces(&query.legend).filter(|label| !possible.contains(*label)) {
                wrong.push(format!("{}: the legend has a label {label}, the query none", query.whence));
            }
        }
        for (name, selector, label) in board.variables() {
            let whence = format!("{}: variable {name}", board.name);
            // A selector without a name chooses by it, and is checked where it is asked.
            if !selector.starts_with('{') {
                let possible = check(&selector, &whence, &known, &mut wrong);
                if !possible.contains(&label) {
                    wrong.push(format!("{whence}: there is no label {label}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rules_ask_for_metrics_and_labels_that_there_are() {
    let mut known = known();
    let mut wrong = Vec::new();
    // A rule may use what an earlier one records.
    for rule in rules::all() {
        let mut possible = check(&rule.expression, &rule.name, &known, &mut wrong);
        possible.extend(rule.labels.iter().map(|(name, _)| name.clone()));
        let used = rule.rest.split("$labels.").skip(1);
        for label in used.map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap()) {
            if !possible.contains(label) {
                wrong.push(format!("{}: an annotation has a label {label}, the alert none", rule.name));
            }
        }
        if !rule.is_alert {
            known.entry(rule.name).or_default().extend(possible);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_board_stands_alone_without_the_rules() {
    let recorded: Vec<String> = rules::all().into_iter().filter(|rule| !rule.is_alert).map(|rule| rule.name).collect();
    for query in board::all().iter().flat_map(board::Board::queries) {
        for (metric, _) in promql::names(&query.expression).metrics {
            assert!(!recorded.contains(&metric), "{}: {metric} is there only with the rules", query.whence);
        }
    }
}

#[test]
fn every_alert_stands_in_the_document_and_no_other() {
    let text = std::fs::read_to_string(board::dir().join("../docs/dashboards.md")).unwrap();
    let mut told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let rules = rules::all();
    let mut alerts: Vec<&str> = rules.iter().filter(|rule| rule.is_alert).map(|rule| rule.name.as_str()).collect();
    told.sort_unstable();
    alerts.sort_unstable();
    assert_eq!(told, alerts);
}
