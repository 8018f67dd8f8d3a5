//! Resident memory with all five collectors at work, for 250 clients, 100 targets, powerline adapters and a Freebox, after
//! 100 scrapes; beside it, in the same network, that of the peers that are here, each with its part of the work. The static
//! program of routers is measured, too, if it is in dist/ (`make cross`). Needs root; `make bench` runs it.
//!
//! The prober asks often and waits briefly, so that the 250 results kept of each target are complete soon: what it has in
//! flight is then as much as with its own defaults.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed assumption must stop the benchmark, and it runs real programs"
)]

#[path = "../tests/support/exporters.rs"]
mod exporters;
#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/report.rs"]
mod report;
#[path = "../tests/support/usage.rs"]
mod usage;
#[path = "whole/mod.rs"]
mod whole;

use std::path::Path;
use std::thread;
use std::time::Duration;

use exporters::Kind;
use lab::Lab;
use report::{Budget, Rounds, Summary, shown};
use usage::status_kb;
use whole::{COLLECTORS, Size, Whole};

const SIZE: Size = Size { clients: 250, targets: 100, adapters: 4 };
const SCRAPES: u32 = 100;
/// Of the budget's figure; the one with many flows is taken once.
const ROUNDS: usize = 3;
/// Results that are kept of each target.
const RESULTS: f64 = 250.0;
const PROBE: &str = "\toption unlocked 1\n\toption interval 50\n\toption timeout 50\n";
/// Flows of each client: one that has made it known, and as many as make 20,000.
const FLOWS: [usize; 2] = [1, 80];
/// In kB of 1,024 bytes, as the kernel tells memory.
const BUDGET: f64 = 5000.0;
/// Peers that are not here, with what they took elsewhere.
const QUOTED: [(&str, f64); 3] =
    [("icmp-exporter", 28_000.0), ("network-metrics-exporter", 27_000.0), ("freebox_monitor.py", 31_000.0)];

fn main() {
    let lab = Lab::builder().hosts(1).nat().build();
    let whole = Whole::start(&lab, SIZE);
    let summary = Summary::new("memory");
    let Size { clients, targets, adapters } = SIZE;
    println!(
        "memory: {clients} clients, {targets} targets, {adapters} adapters, a Freebox, after {SCRAPES} scrapes; kB"
    );
    report::head(&["program", "resident", "its own part", "at most", "page, bytes"]);
    let theirs: Vec<report::Peer> =
        Kind::ALL.iter().map(|peer| report::Peer::new(peer.name(), beside(&whole, *peer))).collect();
    let quoted = QUOTED.iter().map(|(name, kb)| {
        report::line(&[&format!("{name}, quoted"), &shown(*kb), "", "", ""]);
        report::Peer::quoted(name, *kb)
    });
    let peers: Vec<report::Peer> = theirs.into_iter().chain(quoted).collect();
    let musl = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/gatemeter-x86_64-unknown-linux-musl");
    for each in FLOWS {
        let _flows = whole.crowd.flows(each);
        let count = shown((each * usize::from(SIZE.clients)) as f64);
        for (name, program) in [("glibc, dynamic", harness::binary()), ("musl, static", musl.clone())] {
            if !program.exists() {
                report::line(&[name, "not built", "", "", ""]);
                continue;
            }
            let what = format!("{name}, {count} flows");
            let rounds = if each == FLOWS[0] { ROUNDS } else { 1 };
            let resident = ours(&whole, &program, &what, rounds);
            if each == FLOWS[0] {
                let what = format!("resident memory of all five collectors, {name}");
                summary.row(&what, Budget::AtMost(BUDGET), "kB", &resident, &peers);
            }
        }
    }
    println!();
}

fn ours(whole: &Whole<'_>, program: &Path, what: &str, rounds: usize) -> Rounds {
    let (mut resident, mut own, mut most, mut page) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let setup = whole.setup(PROBE).program(program);
        let daemon = setup.start();
        for collector in COLLECTORS {
            daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
        }
        daemon.wait_until("complete results", |metrics| {
            let mut counts = metrics.iter().filter(|(name, _)| name.starts_with("icmp_probe_packets_sent_total{"));
            let sent = counts.clone().count() >= SIZE.targets as usize && counts.all(|(_, count)| *count >= RESULTS);
            let named = metrics.keys().filter(|name| name.starts_with("client_status{")).count();
            (sent && named >= usize::from(SIZE.clients)).then_some(())
        });
        for _ in 0..SCRAPES {
            page = daemon.page().unwrap().len();
        }
        let kb = |name| status_kb(daemon.pid(), name) as f64;
        resident.push(kb("VmRSS:"));
        own.push(kb("RssAnon:"));
        most.push(kb("VmHWM:"));
    }
    let rounds = [resident, own, most].map(Rounds::from_iter);
    let [resident, own, most] = rounds.each_ref().map(Rounds::text);
    report::line(&[what, &resident, &own, &most, &shown(page as f64)]);
    let [resident, ..] = rounds;
    resident
}

/// Resident memory of a peer with its part of the work.
fn beside(whole: &Whole<'_>, peer: Kind) -> f64 {
    let exporter = peer.start(whole.lab(), &whole.targets);
    let mut page = exporter.get("/metrics").body.len();
    if peer == Kind::Smokeping {
        // Some probes of each.
        thread::sleep(Duration::from_secs(20));
    }
    for n in 0..SCRAPES as usize {
        let path = match peer {
            Kind::Blackbox => format!("/probe?module=icmp&target={}", whole.targets[n % whole.targets.len()]),
            _ => "/metrics".to_owned(),
        };
        page = exporter.get(&path).body.len();
    }
    let [resident, own, most] = ["VmRSS:", "RssAnon:", "VmHWM:"].map(|name| status_kb(exporter.pid(), name) as f64);
    report::line(&[peer.name(), &shown(resident), &shown(own), &shown(most), &shown(page as f64)]);
    resident
}
