//! Prometheus with the rules, asked as Grafana asks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::harness::http;
use crate::lab::{Lab, Node, process};
use crate::prometheus::Prometheus;
use crate::rules;

/// What must come true does so within seconds; minutes are for a machine that has no time.
const PATIENCE: Duration = Duration::from_secs(240);

/// Names with their values.
pub type Labels = BTreeMap<String, String>;

/// An alert that is pending or firing.
#[derive(Debug)]
pub struct Alert {
    pub is_firing: bool,
    /// `alertname` and `severity` included.
    pub labels: Labels,
    pub annotations: Labels,
}

/// The server on the router.
pub struct Server<'a> {
    node: &'a Node,
    _process: Prometheus<'a>,
}

impl<'a> Server<'a> {
    /// Scrapes these addresses on the router once a second, each a job with its name, and runs the rules sixty times as fast.
    pub fn start(lab: &'a Lab, jobs: &[(&str, &[&str])]) -> Self {
        let file = lab.dir().join("fast.rules.yml");
        fs::write(&file, rules::sixty_times_as_fast()).unwrap();
        let job = |(job, targets): &(&str, &[&str])| {
            let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
            format!("- job_name: {job}\n  static_configs:\n  - targets: [{}]\n", targets.join(", "))
        };
        let jobs: String = jobs.iter().map(job).collect();
        let config = format!("{jobs}rule_files: ['{}']\n", file.display());
        Self { node: &lab.router, _process: Prometheus::start_with(&lab.router, lab.dir(), &config) }
    }

    /// The answer to a query, or what is wrong with it.
    pub fn ask(&self, query: &str) -> Result<Vec<(Labels, f64)>, String> {
        let data = self.get(&format!("/api/v1/query?query={}", escaped(query)))?;
        let vector = data["result"].as_array().ok_or_else(|| format!("{query}: no vector in {data}"))?;
        let sample = |sample: &Value| {
            let value = sample["value"][1].as_str()?.parse().ok()?;
            Some((labels(&sample["metric"]), value))
        };
        Ok(vector.iter().filter_map(sample).collect())
    }

    /// Values of a label among the series that a selector chooses, as a variable of a board has them.
    pub fn values_of(&self, selector: &str, label: &str) -> Result<Vec<String>, String> {
        let data = self.get(&format!("/api/v1/label/{label}/values?match[]={}", escaped(selector)))?;
        Ok(data.as_array().into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect())
    }

    /// Alerts that are pending or firing.
    pub fn alerts(&self) -> Result<Vec<Alert>, String> {
        let data = self.get("/api/v1/alerts")?;
        let alert = |alert: &Value| Alert {
            is_firing: alert["state"] == "firing",
            labels: labels(&alert["labels"]),
            annotations: labels(&alert["annotations"]),
        };
        Ok(data["alerts"].as_array().into_iter().flatten().map(alert).collect())
    }

    /// What Prometheus says went wrong the last time with each rule, by its name.
    pub fn troubled_rules(&self) -> Result<Vec<String>, String> {
        let data = self.get("/api/v1/rules")?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let troubled = rules.filter(|rule| rule["health"] != "ok");
        Ok(troubled.map(|rule| format!("{}: {}", rule["name"], rule["lastError"])).collect())
    }

    /// Waits until a query has an answer that `wanted` is content with.
    #[track_caller]
    pub fn wait_for(&self, query: &str, wanted: impl Fn(&[(Labels, f64)]) -> bool) {
        self.wait_until(query, || self.ask(query), |answer| wanted(answer));
    }

    /// Waits until what `look` sees is what `wanted` wants; fails with what was seen last.
    #[track_caller]
    pub fn wait_until<T: std::fmt::Debug>(
        &self,
        what: &str,
        look: impl Fn() -> Result<T, String>,
        wanted: impl Fn(&T) -> bool,
    ) -> T {
        let mut last = None;
        let found = process::poll(PATIENCE, || {
            let seen = look();
            if seen.as_ref().is_ok_and(&wanted) {
                return seen.ok();
            }
            last = Some(seen);
            std::thread::sleep(Duration::from_millis(200));
            None
        });
        found.unwrap_or_else(|| panic!("{what}: not seen; the last was {last:#?}"))
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090));
        let response = http::get(self.node, address, path, &[])?;
        let answer: Value = serde_json::from_slice(&response.body).map_err(|e| format!("{path}: {e}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(format!("{path}: {answer}")),
        }
    }
}

fn labels(object: &Value) -> Labels {
    let pairs = object.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Text as it may stand in a query string.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(byte.into());
        } else {
            write!(escaped, "%{byte:02X}").unwrap();
        }
    }
    escaped
}
