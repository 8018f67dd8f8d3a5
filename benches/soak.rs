//! Everything at once, for long: all five collectors on the router of the virtual home network, with 250 clients, 20,000
//! flows, 1,000 probe targets, 30 powerline adapters, a Freebox, 100 Mbit/s of small packets, and ten scrapes a second.
//! Needs root; `make soak` runs it (SECONDS_SOAK=3600).
//!
//! A line a minute says what the daemon has used and how late each collector was. At the end the load goes on with one
//! collector after the other alone, for the share of each. Ends with 1 if memory or descriptors grew after ten minutes
//! (half the time of a shorter run), if a collector failed, or if one missed an interval.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed assumption must stop the benchmark, and it runs real programs"
)]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/usage.rs"]
mod usage;
#[path = "whole/mod.rs"]
mod whole;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Daemon, Setup, exposition};
use lab::Lab;
use lab::firewall::Firewall;
use lab::traffic::StopOnDrop;
use usage::{cpu_nanoseconds, status_kb};
use whole::{COLLECTORS, Size, Whole};

const SIZE: Size = Size { clients: 250, targets: 1000, adapters: 30 };
const FLOWS_EACH: usize = 80;
const SCRAPES_PER_SECOND: u32 = 10;
/// Payload of the small packets: 142 bytes on the wire with their headers.
const SMALL: usize = 100;
/// Small packets in a second that make 100 Mbit/s.
const SMALL_PER_SECOND: u64 = 100_000_000 / 8 / (SMALL as u64 + 42);
/// Small packets that are sent before the time is looked at.
const BURST: u64 = 64;
/// After which memory must stand still: 250 results of a target, asked every two seconds, are complete after 500 s.
const WARM: Duration = Duration::from_secs(600);
/// How long each collector runs alone at the end.
const ALONE: Duration = Duration::from_secs(30);
/// Seconds between two collections of each, as configured below.
const INTERVALS: [f64; 5] = [5.0, 2.0, 5.0, 15.0, 10.0];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let after = words.iter().position(|word| word == "--seconds").and_then(|at| words.get(at + 1));
    let seconds: u64 = after.map_or(60, |word| word.parse().expect("--seconds takes a number"));
    let length = Duration::from_secs(seconds.clamp(10, 6 * 3600));

    let lab = Lab::builder().hosts(2).build();
    let _firewall = Firewall::start(&lab);
    let whole = Whole::start(&lab, SIZE);
    let flows = whole.crowd.flows(FLOWS_EACH);
    let setup = whole.setup("");

    let Size { clients, targets, adapters } = SIZE;
    println!("{} flows of {clients} clients, {targets} targets, {adapters} adapters, {seconds} s", flows.count());
    let (stop, small) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let stopping = StopOnDrop(&stop);
        scope.spawn(|| {
            // Each flow once in fifteen seconds, so that none expires.
            let members = usize::from(clients);
            for member in (0..members).cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                flows.exchange(member, 0..flows.each(), 64, 64);
                thread::sleep(Duration::from_secs(15) / u32::from(clients));
            }
        });
        scope.spawn(|| send_small_packets(&lab, &stop, &small));
        let verdict = watch(&setup, length, &small);
        alone(&setup);
        drop(stopping);
        verdict
    })
}

/// From the second LAN host to the internet, as many as make 100 Mbit/s, or as many as this machine forwards.
fn send_small_packets(lab: &Lab, stop: &AtomicBool, sent: &AtomicU64) {
    let from = lab.lan[1].udp_socket(lab.lan[1].v4, 0);
    let to = lab.internet.udp_socket(lab.internet.v4, 0);
    from.connect(to.local_addr().unwrap()).unwrap();
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            // What does not fit a queue is lost, as it would be.
            let _ = from.send(&[0; SMALL]);
        }
        let count = sent.fetch_add(BURST, Ordering::Relaxed) + BURST;
        let due = Duration::from_nanos(count * 1_000_000_000 / SMALL_PER_SECOND);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

/// The longest time between two successes of each collector, as told by the daemon's own stamps.
#[derive(Default)]
struct Gaps {
    last: BTreeMap<&'static str, f64>,
    longest: BTreeMap<&'static str, f64>,
}

impl Gaps {
    fn see(&mut self, page: &exposition::Samples) {
        for collector in COLLECTORS {
            let stamp = "gatemeter_collector_last_success_timestamp_seconds";
            let Some(at) = page.get(&format!("{stamp}{{collector=\"{collector}\"}}")).copied() else { continue };
            if let Some(before) = self.last.insert(collector, at).filter(|before| *before > 0.0 && at > *before) {
                let longest = self.longest.entry(collector).or_default();
                *longest = longest.max(at - before);
            }
        }
    }
}

fn watch(setup: &Setup<'_>, length: Duration, small: &AtomicU64) -> ExitCode {
    let daemon = setup.start();
    for collector in COLLECTORS {
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
    }
    let pid = daemon.pid();
    let files = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let (begun, mut gaps, mut failed) = (Instant::now(), Gaps::default(), 0);
    let (mut line_at, mut cpu, mut packets) = (begun, cpu_nanoseconds(pid), small.load(Ordering::Relaxed));
    let line_every = (length / 60).max(Duration::from_secs(10));
    let warm = WARM.min(length / 2);
    let mut warmed: Option<(u64, usize)> = None;
    let mut scrapes = 0u32;
    println!("   s    RSS kB  files  CPU %  Mbit/s  scrapes failed  longest gap in s: {}", COLLECTORS.join(" "));
    while begun.elapsed() < length {
        match daemon.page() {
            // Reading each of them would cost more than the daemon does.
            Ok(page) if scrapes.is_multiple_of(SCRAPES_PER_SECOND / 2) => match exposition::parse(&page) {
                Ok(page) => gaps.see(&page),
                Err(why) => panic!("a page that nobody can read: {why}"),
            },
            Ok(_) => {}
            Err(_) => failed += 1,
        }
        scrapes += 1;
        if warmed.is_none() && begun.elapsed() >= warm {
            warmed = Some((status_kb(pid, "VmRSS:"), files()));
        }
        if line_at.elapsed() >= line_every {
            let (now, count) = (cpu_nanoseconds(pid), small.load(Ordering::Relaxed));
            let seconds = line_at.elapsed().as_secs_f64();
            let megabits = (count - packets) as f64 * (SMALL as f64 + 42.0) * 8.0 / 1e6 / seconds;
            let each: Vec<String> =
                COLLECTORS.iter().map(|name| format!("{:.1}", gaps.longest.get(name).unwrap_or(&0.0))).collect();
            println!(
                "{:>4}  {:>8}  {:>5}  {:>5.1}  {megabits:>6.1}  {scrapes:>7} {failed:>6}  {}",
                begun.elapsed().as_secs(),
                status_kb(pid, "VmRSS:"),
                files(),
                (now - cpu) as f64 / 1e7 / seconds,
                each.join(" "),
            );
            (line_at, cpu, packets) = (Instant::now(), now, count);
        }
        let due = Duration::from_secs(1) * scrapes / SCRAPES_PER_SECOND;
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    verdict(&daemon, &gaps, warmed.unwrap_or_default(), (status_kb(pid, "VmRSS:"), files()), failed)
}

fn verdict(daemon: &Daemon<'_>, gaps: &Gaps, warmed: (u64, usize), ended: (u64, usize), failed: u32) -> ExitCode {
    let metrics = daemon.metrics();
    let mut faults = Vec::new();
    println!("resident: {} kB when warm, {} kB at the end, {} kB at most", warmed.0, ended.0, {
        status_kb(daemon.pid(), "VmHWM:")
    });
    // A tenth more is what caches and buffers may settle to.
    if ended.0 > warmed.0 + warmed.0 / 10 {
        faults.push(format!("memory grew from {} to {} kB", warmed.0, ended.0));
    }
    if ended.1 > warmed.1 + 4 {
        faults.push(format!("descriptors grew from {} to {}", warmed.1, ended.1));
    }
    if failed > 0 {
        faults.push(format!("{failed} scrapes failed"));
    }
    for (collector, interval) in COLLECTORS.iter().zip(INTERVALS) {
        let errors = metrics[&format!("gatemeter_collector_errors_total{{collector=\"{collector}\"}}")];
        if errors > 0.0 {
            faults.push(format!("{collector} failed {errors} times"));
        }
        let longest = gaps.longest.get(collector).copied().unwrap_or_default();
        if longest >= 2.0 * interval {
            faults.push(format!("{collector} missed an interval: {longest:.1} s between two collections"));
        }
    }
    for series in ["gatemeter_probe_missed_turns_total", "gatemeter_clients_flow_overruns_total"] {
        println!("{series} {}", metrics.get(series).copied().unwrap_or_default());
    }
    if !daemon.stderr().lines().all(|line| line.starts_with("INFO")) {
        println!("{}", daemon.stderr());
    }
    faults.iter().for_each(|fault| println!("FAULT: {fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The share of each collector: the same load, and the daemon with it alone. Nobody scrapes.
fn alone(setup: &Setup<'_>) {
    println!("one collector alone, {} s each:", ALONE.as_secs());
    for collector in COLLECTORS {
        let setup = setup.clone().flags(&["--collectors", collector]);
        let daemon = setup.start();
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
        thread::sleep(Duration::from_secs(3));
        let before = cpu_nanoseconds(daemon.pid());
        thread::sleep(ALONE);
        let percent = (cpu_nanoseconds(daemon.pid()) - before) as f64 / 1e7 / ALONE.as_secs_f64();
        println!("  {collector:<9} {percent:>5.2} % of a core, {} kB", status_kb(daemon.pid(), "VmRSS:"));
    }
}
