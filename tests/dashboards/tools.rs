//! What Prometheus's own tool says of rules and queries.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::board;
use crate::lab::process;
use crate::rules;

/// A directory that goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("gatemeter-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs promtool, which must be content.
fn promtool(words: &[&str], file: &Path) -> String {
    let mut command = Command::new("promtool");
    command.args(words).arg(file);
    process::must(command, "").unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn prometheus_takes_the_rules_at_their_own_pace_and_at_that_of_the_test() {
    promtool(&["check", "rules", "--lint-fatal"], &rules::path());
    let scratch = Scratch::new("rules");
    let fast = scratch.0.join("fast.yml");
    fs::write(&fast, rules::sixty_times_as_fast()).unwrap();
    promtool(&["check", "rules", "--lint-fatal"], &fast);
}

#[test]
fn prometheus_takes_every_query_of_every_board() {
    let mut file = "groups:\n- name: boards\n  rules:\n".to_owned();
    for (n, query) in board::all().iter().flat_map(board::Board::queries).enumerate() {
        // In single quotes YAML leaves everything as it is but those.
        let expression = board::filled_in(&query.expression, "1m", "6h").replace('\'', "''");
        writeln!(
            file,
            "  - record: query{n}\n    expr: '{expression}'\n    labels: {{whence: '{}'}}",
            query.whence.replace('\'', "''")
        )
        .unwrap();
    }
    let scratch = Scratch::new("queries");
    let path = scratch.0.join("queries.yml");
    fs::write(&path, file).unwrap();
    promtool(&["check", "rules"], &path);
}

#[test]
fn alerts_come_and_go_as_the_days_pass() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboards/days.yml");
    promtool(&["test", "rules"], Path::new(cases));
}
