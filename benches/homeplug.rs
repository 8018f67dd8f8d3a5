//! What a walk through a powerline network costs, and beside it a scrape of Debian's homeplug_exporter on the same simulated
//! adapters, which asks them at every scrape: CPU, frames, memory, and whether both say the same. The exporter asks the near
//! adapter only; we ask every one, with `extended` for its chip and links, too. Needs root; `make bench` runs it.
//!
//! One after the other, since the exporter takes answers to our questions for answers to its own. CPU time is that of all
//! threads by the kernel's account (/proc/PID/task/TID/schedstat); frames are those that the router's interface has sent.
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
#[path = "../tests/homeplug/witness.rs"]
mod witness;

use std::thread;
use std::time::{Duration, Instant};

use exporters::Kind;
use harness::{Setup, exposition};
use lab::Lab;
use lab::powerline::{Chip, Segment, adapter_mac, text};
use report::{Budget, Rounds, Summary, shown};
use usage::{cpu_nanoseconds, status_kb};

const SIZES: [u8; 2] = [4, 30];
const ROUNDS: usize = 5;
/// Seconds of a round; a walk ends after a second of silence, and the next begins a second later.
const SECONDS: u64 = 8;
/// Scrapes of the exporter in a round, which last more than a second each.
const SCRAPES: u32 = 5;
/// The question that begins a walk: VS_NW_INFO in its newer version, to whoever is near.
const NETWORKS: u16 = 0xa038;
const NEAR: [u8; 6] = [0x00, 0xb0, 0x52, 0x00, 0x00, 0x01];

/// What was measured of a program.
struct Found {
    ms: Rounds,
    frames: f64,
    resident_kb: u64,
    /// Of the near adapter.
    rates: witness::Rates,
}

fn main() {
    let summary = Summary::new("homeplug");
    println!("homeplug: {ROUNDS} rounds of {SECONDS} s, or of {SCRAPES} scrapes");
    report::head(&["program", "CPU, ms", "frames sent", "resident, kB", "rates of the near adapter"]);
    for adapters in SIZES {
        let lab = Lab::builder().hosts(1).build();
        let segment = lab.powerline(whole::network(Chip::Qca7420, adapters));
        let found = [
            (format!("gatemeter, a walk, {adapters} adapters"), walks(&lab, &segment, &[])),
            (
                format!("gatemeter, a walk without `extended`, {adapters} adapters"),
                walks(&lab, &segment, &["-o", "homeplug.extended=0"]),
            ),
            (format!("homeplug_exporter, a scrape, {adapters} adapters"), scrapes(&lab)),
        ];
        let [.., (_, theirs)] = &found;
        for (name, found) in &found {
            let agree = if found.rates == theirs.rates { "the same" } else { "OTHERS" };
            let rates = format!("{}, {agree}", found.rates.len());
            report::line(&[name, &found.ms.text(), &shown(found.frames), &shown(found.resident_kb as f64), &rates]);
        }
        let [(_, ours), _, _] = &found;
        let row = |what: &str, unit, ours: Rounds, theirs| {
            let peers = [report::Peer::new("homeplug_exporter", theirs)];
            summary.row(&format!("homeplug: {what}, {adapters} adapters"), Budget::None, unit, &ours, &peers);
        };
        row("CPU of a walk", "ms", ours.ms.clone(), theirs.ms.median());
        row("frames sent in a walk", "", ours.frames.into(), theirs.frames);
        row("resident memory", "kB", (ours.resident_kb as f64).into(), theirs.resident_kb as f64);
    }
    println!();
}

fn walks(lab: &Lab, segment: &Segment, flags: &[&str]) -> Found {
    let each_second = ["-e", "--collectors", "homeplug", "-o", "homeplug.interface=plc0", "-o", "homeplug.interval=1"];
    let daemon = Setup::new(lab).flags(&each_second).flags(&["--textfile", "none"]).flags(flags).start();
    let everybody = segment.model().adapters.len();
    daemon.wait_until("every adapter", |metrics| {
        (metrics.keys().filter(|name| name.starts_with("homeplug_device_up{")).count() == everybody).then_some(())
    });
    let (mut frames, mut ms) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        segment.requests();
        let before = (cpu_nanoseconds(daemon.pid()), lab.router.counters("plc0").tx_packets);
        thread::sleep(Duration::from_secs(SECONDS));
        let after = (cpu_nanoseconds(daemon.pid()), lab.router.counters("plc0").tx_packets);
        let requests = segment.requests();
        let begun =
            requests.iter().filter(|asked| asked.destination == NEAR && asked.kind == NETWORKS && asked.version == 1);
        let walks = begun.count() as f64;
        assert!(walks >= 1.0, "no walk in {SECONDS} s: {requests:?}");
        ms.push((after.0 - before.0) as f64 / 1e6 / walks);
        frames.push((after.1 - before.1) as f64 / walks);
    }
    let near = text(&adapter_mac(1));
    let rates = witness::ours(&daemon.metrics()).into_iter().filter(|((device, _), _)| *device == near);
    Found {
        ms: ms.into_iter().collect(),
        frames: Rounds::from_iter(frames).median(),
        resident_kb: status_kb(daemon.pid(), "VmRSS:"),
        rates: rates.collect(),
    }
}

fn scrapes(lab: &Lab) -> Found {
    let exporter = Kind::Homeplug.start(lab, &[]);
    exporter.get("/metrics");
    let (mut frames, mut ms, mut page) = (Vec::new(), Vec::new(), String::new());
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        let before = (cpu_nanoseconds(exporter.pid()), lab.router.counters("plc0").tx_packets);
        for _ in 0..SCRAPES {
            page = exporter.get("/metrics").text();
        }
        let after = (cpu_nanoseconds(exporter.pid()), lab.router.counters("plc0").tx_packets);
        ms.push((after.0 - before.0) as f64 / 1e6 / f64::from(SCRAPES));
        frames.push((after.1 - before.1) as f64 / f64::from(SCRAPES));
    }
    let each = begun.elapsed().as_secs_f64() / ROUNDS as f64 / f64::from(SCRAPES);
    eprintln!("a scrape of homeplug_exporter lasts {each:.2} s");
    let rates = witness::exporters(&exposition::parse(&page).unwrap(), &text(&adapter_mac(1)));
    Found {
        ms: ms.into_iter().collect(),
        frames: Rounds::from_iter(frames).median(),
        resident_kb: status_kb(exporter.pid(), "VmRSS:"),
        rates,
    }
}
