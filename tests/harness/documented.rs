//! What docs/faults.md says that one sees of a fault. A test injects the fault and asks for all of it: the lines are read from
//! the document, so what the document says is what the program says. `tests/documents.rs` sees to it that each section
//! has its test.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::{Daemon, PATIENCE, Samples};
use crate::lab::process::{self, Output};

/// Stands in a line for what differs from machine to machine.
const ANYTHING: char = '…';

/// What a section says.
pub struct Documented {
    heading: String,
    check: Said,
    log: Said,
    metrics: Said,
}

/// Lines of one kind, and whether they were looked for.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    held: Cell<bool>,
}

impl Documented {
    /// What the section under this heading says.
    pub fn of(heading: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
        let text = fs::read_to_string(path).unwrap();
        let mut section = Documented {
            heading: heading.to_owned(),
            check: Said::default(),
            log: Said::default(),
            metrics: Said::default(),
        };
        let mut lines = text.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
        assert!(lines.next().is_some(), "docs/faults.md has no heading {heading}");
        for line in lines.take_while(|line| !line.starts_with('#')) {
            let Some((kind, said)) = line.strip_prefix("    ").and_then(|line| line.split_once(' ')) else { continue };
            let of_kind = match kind {
                "check" => &mut section.check,
                "log" => &mut section.log,
                "metric" => &mut section.metrics,
                _ => panic!("docs/faults.md, {heading}: {kind} is none of check, log and metric"),
            };
            of_kind.lines.push(said.trim().to_owned());
        }
        section
    }

    /// `check` prints each of its lines.
    #[track_caller]
    pub fn by_check(&self, check: &Output) {
        for line in self.check.hold() {
            assert!(has(&check.stdout, line), "{}: check does not print {line}\n{}", self.heading, check.stdout);
        }
    }

    /// The log has each of its lines, or will.
    #[track_caller]
    pub fn by_log(&self, log: impl Fn() -> String) {
        for line in self.log.hold() {
            let seen = process::poll(PATIENCE, || has(&log(), line).then_some(()));
            assert!(seen.is_some(), "{}: the log does not say {line}\n{}", self.heading, log());
        }
    }

    /// The metrics have each of its series at once, or will.
    #[track_caller]
    pub fn by_metrics(&self, daemon: &Daemon) {
        self.by_samples(|| daemon.metrics());
    }

    /// Likewise, from wherever they are read.
    #[track_caller]
    pub fn by_samples(&self, metrics: impl Fn() -> Samples) {
        let lines = self.metrics.hold();
        let mut last = Samples::new();
        let seen = process::poll(PATIENCE, || {
            last = metrics();
            lines.iter().all(|line| holds(&last, line)).then_some(())
        });
        let missing: Vec<&String> = lines.iter().filter(|line| !holds(&last, line)).collect();
        assert!(seen.is_some(), "{}: the metrics are not {missing:#?} but\n{last:#?}", self.heading);
    }

    /// Log and metrics.
    #[track_caller]
    pub fn by_daemon(&self, daemon: &Daemon) {
        self.by_metrics(daemon);
        self.by_log(|| daemon.stderr());
    }
}

impl Said {
    fn hold(&self) -> &[String] {
        self.held.set(true);
        &self.lines
    }
}

impl Drop for Documented {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (kind, said) in [("check", &self.check), ("log", &self.log), ("metric", &self.metrics)] {
            assert!(
                said.lines.is_empty() || said.held.get(),
                "{}: nobody has looked for its {kind} lines",
                self.heading
            );
        }
    }
}

/// Whether a text has a line that is like this one.
fn has(text: &str, wanted: &str) -> bool {
    text.lines().any(|line| is_like(line, wanted))
}

/// Whether a line holds the pieces of another one in their order.
fn is_like(line: &str, wanted: &str) -> bool {
    let plain = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = plain.as_str();
    wanted.split(ANYTHING).all(|piece| {
        let piece = piece.split_whitespace().collect::<Vec<_>>().join(" ");
        match rest.split_once(piece.as_str()) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        }
    })
}

/// Whether a series is as it is said to be: `SERIES VALUE`, `SERIES grows` (it is above 0), or `SERIES is absent`.
fn holds(metrics: &Samples, said: &str) -> bool {
    let of = |wanted: &str| {
        let matches = |series: &&String| is_like(series, wanted);
        metrics.keys().filter(matches).map(|series| metrics[series]).collect::<Vec<_>>()
    };
    if let Some(series) = said.strip_suffix(" is absent") {
        return of(series).is_empty();
    }
    if let Some(series) = said.strip_suffix(" grows") {
        return of(series).iter().any(|value| *value > 0.0);
    }
    let (series, value) = said.rsplit_once(' ').unwrap();
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{said}: what is its value?"));
    of(series).contains(&value)
}
