//! The real Prometheus server on a machine of the lab, and what it answers.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::lab::Node;
use crate::lab::process::{self, Background};

/// How long to wait for a scrape that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that scrapes once a second; ended on drop, its data with the lab's directory.
pub struct Prometheus<'a> {
    node: &'a Node,
    log: std::path::PathBuf,
    _process: Background,
}

impl<'a> Prometheus<'a> {
    /// Starts it on port 9090 of `node`, with its data below `dir`; each job has a target (`127.0.0.1:9999`) and a path.
    #[allow(dead_code, reason = "one user of this has a whole configuration instead")]
    pub fn start(node: &'a Node, dir: &Path, jobs: &[(&str, &str, &str)]) -> Self {
        let job = |(job, target, path): &(&str, &str, &str)| {
            format!("- job_name: {job}\n  metrics_path: {path}\n  static_configs:\n  - targets: ['{target}']\n")
        };
        Self::start_with(node, dir, &jobs.iter().map(job).collect::<String>())
    }

    /// Likewise with the whole of `scrape_configs`, and behind it what else there is to configure, such as `rule_files`. Rules
    /// are evaluated once a second, too.
    pub fn start_with(node: &'a Node, dir: &Path, scrape_configs: &str) -> Self {
        let config = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nscrape_configs:\n{scrape_configs}"
        );
        let dir = dir.join("prometheus");
        fs::create_dir(&dir).unwrap();
        let (file, data, log) = (dir.join("prometheus.yml"), dir.join("data"), dir.join("log"));
        fs::write(&file, config).unwrap();
        let flags = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", data.display()),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ];
        let words: Vec<&str> = ["prometheus"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        let process = node.start(&words, &log);
        Self { node, log, _process: process }
    }

    /// The values of a query, by series as promtool writes them; none while the server is not ready.
    pub fn query(&self, expression: &str) -> Vec<(String, f64)> {
        let output = self.node.run(&["promtool", "query", "instant", "http://127.0.0.1:9090", expression]);
        let line = |line: &str| {
            let (series, rest) = line.split_once(" => ")?;
            Some((series.to_owned(), rest.split_once(" @[")?.0.parse().ok()?))
        };
        output.stdout.lines().filter_map(line).collect()
    }

    /// Waits until a query has one answer that `wanted` is content with; fails with the server's log.
    #[track_caller]
    pub fn wait_for(&self, expression: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let mut last = Vec::new();
        let found = process::poll(PATIENCE, || {
            last = self.query(expression);
            last.first().map(|(_, value)| *value).filter(|value| last.len() == 1 && wanted(*value))
        });
        found.unwrap_or_else(|| {
            panic!("{expression} is {last:?}\n{}", fs::read_to_string(&self.log).unwrap_or_default())
        })
    }
}
