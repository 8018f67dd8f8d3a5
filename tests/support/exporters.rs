//! Debian's exporters that do a part of our work, on the router of the lab.
//!
//! A crate that uses this declares `mod lab;` and `mod harness;` beside it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each user needs a part of it, and a failed assumption stops it"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use crate::harness::PATIENCE;
use crate::harness::http::{self, Response};
use crate::lab::Lab;
use crate::lab::process::{self, Background};

/// Which, and what each is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its defaults.
    Node,
    Blackbox,
    Smokeping,
    Homeplug,
}

/// One of them at work; ended on drop.
pub struct Exporter<'a> {
    lab: &'a Lab,
    address: SocketAddr,
    process: Background,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Homeplug, Kind::Smokeping, Kind::Blackbox, Kind::Node];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Node => "node_exporter",
            Kind::Blackbox => "blackbox_exporter",
            Kind::Smokeping => "smokeping_prober",
            Kind::Homeplug => "homeplug_exporter",
        }
    }

    /// Starts it; smokeping_prober probes these targets once a second, homeplug_exporter asks on `plc0`.
    pub fn start<'a>(self, lab: &'a Lab, targets: &[Ipv4Addr]) -> Exporter<'a> {
        let file = |name: &str| lab.dir().join(name).display().to_string();
        let (port, listen, words) = match self {
            Kind::Node => (9100, "web.listen-address", vec![]),
            Kind::Blackbox => {
                let config = file("blackbox.yml");
                fs::write(&config, "modules:\n  icmp:\n    prober: icmp\n    timeout: 2s\n").unwrap();
                (9115, "web.listen-address", vec!["--log.level=error".to_owned(), format!("--config.file={config}")])
            }
            Kind::Smokeping => {
                let config = file("smokeping.yml");
                // It does not run without one: then it asks itself, once an hour.
                let (targets, interval) =
                    if targets.is_empty() { (&[Ipv4Addr::LOCALHOST][..], "1h") } else { (targets, "1s") };
                let hosts: String = targets.iter().map(|ip| format!("  - {ip}\n")).collect();
                let text = format!(
                    "targets:\n- hosts:\n{hosts}  interval: {interval}\n  network: ip4\n  protocol: icmp\n  size: 56\n"
                );
                fs::write(&config, text).unwrap();
                (9374, "web.listen-address", vec![format!("--config.file={config}")])
            }
            Kind::Homeplug => (9702, "telemetry.address", vec!["--interface=plc0".to_owned()]),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let program = format!("prometheus-{}", self.name().replace('_', "-"));
        let listen = format!("--{listen}={address}");
        let mut line = vec![program.as_str(), &listen];
        line.extend(words.iter().map(String::as_str));
        let process = lab.router.start(&line, &lab.dir().join(format!("{program}.log")));
        Exporter { lab, address, process }
    }
}

impl Exporter<'_> {
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// One answer, if it gives one.
    pub fn try_get(&self, path: &str) -> Option<Response> {
        http::get(&self.lab.router, self.address, path, &[]).ok().filter(|answer| answer.status == 200)
    }

    /// Its answer once it serves.
    pub fn get(&self, path: &str) -> Response {
        let answer = process::poll(PATIENCE, || self.try_get(path));
        answer.unwrap_or_else(|| panic!("process {} does not serve {path} on {}", self.pid(), self.address))
    }
}
