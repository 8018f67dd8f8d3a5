//! What the daemon does when there is nothing to do, and how soon it has something to show: wake-ups of all threads of each
//! collector alone and of all five together, nobody asking; and the time from the start to the first complete page. Beside
//! it, in the same network, the exporters that are here. Needs root; `make bench` runs it.
//!
//! A wake-up is a voluntary context switch (/proc/PID/task/TID/status). Wake-ups that are nearer to each other than a look
//! of the benchmark make one moment: the processor left its sleep once for all of them.
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

use std::thread;
use std::time::{Duration, Instant};

use exporters::Kind;
use harness::Setup;
use lab::Lab;
use report::{Budget, Rounds, Summary, shown};
use usage::voluntary_switches;
use whole::{COLLECTORS, Size, Whole};

const SIZE: Size = Size { clients: 250, targets: 100, adapters: 4 };
/// A multiple of every interval.
const WINDOW: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// Seconds between two collections of each, as configured; a text file is written when those of 5 s are done.
const INTERVALS: [f64; 5] = [5.0, 2.0, 5.0, 15.0, 10.0];
const TEXT_FILE: f64 = 5.0;
const STARTS: usize = 9;

fn main() {
    let summary = Summary::new("idle");
    let lab = Lab::builder().hosts(1).build();
    let whole = Whole::start(&lab, SIZE);
    wake_ups(&whole, &summary);
    starts(&whole, &summary);
}

/// Wake-ups, and moments that have one.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    switches: u64,
    moments: u64,
}

/// Of each of these processes at the same time.
fn watch(pids: &[u32]) -> Vec<Counts> {
    let look = || pids.iter().map(|pid| voluntary_switches(*pid)).collect::<Vec<u64>>();
    let begun = Instant::now();
    let (first, mut last, mut was_awake) = (look(), look(), vec![false; pids.len()]);
    let mut counts = vec![Counts::default(); pids.len()];
    while begun.elapsed() < WINDOW {
        thread::sleep(LOOK);
        let now = look();
        for (n, counts) in counts.iter_mut().enumerate() {
            let is_awake = now[n] > last[n];
            counts.moments += u64::from(is_awake && !was_awake[n]);
            was_awake[n] = is_awake;
        }
        last = now;
    }
    counts.iter_mut().zip(last.iter().zip(first)).for_each(|(counts, (last, first))| counts.switches = last - first);
    counts
}

fn wake_ups(whole: &Whole<'_>, summary: &Summary) {
    println!("idle: wake-ups in {} s, nobody asking", WINDOW.as_secs());
    report::head(&["program", "own intervals", "moments awake", "wake-ups of all threads"]);
    let row = |name: &str, due: f64, counts: Counts| {
        let due = if due > 0.0 { shown(due) } else { String::new() };
        report::line(&[name, &due, &counts.moments.to_string(), &counts.switches.to_string()]);
    };
    let window = WINDOW.as_secs_f64();
    // Without targets: what the prober sends is no idleness.
    let setup = without_targets(whole);
    let text_files = window / TEXT_FILE;
    // A daemon each, at the same time.
    let alone = |(n, collector): (usize, &&str)| {
        let (port, file) = (format!("{}", 9990 + n), setup.dir().join(collector).display().to_string());
        setup.clone().flags(&["--collectors", collector, "-p", &port, "--textfile", &file]).start()
    };
    let daemons: Vec<_> = COLLECTORS.iter().enumerate().map(alone).collect();
    settle();
    let counts = watch(&daemons.iter().map(harness::Daemon::pid).collect::<Vec<_>>());
    for ((collector, interval), counts) in COLLECTORS.iter().zip(INTERVALS).zip(counts) {
        let due = window / interval + if interval == TEXT_FILE { 0.0 } else { text_files };
        row(&format!("gatemeter, {collector}"), due, counts);
    }
    drop(daemons);
    let exporters: Vec<_> = Kind::ALL.iter().map(|peer| peer.start(whole.lab(), &[])).collect();
    exporters.iter().for_each(|exporter| drop(exporter.get("/metrics")));
    let daemon = setup.start();
    settle();
    let mut pids = vec![daemon.pid()];
    pids.extend(exporters.iter().map(exporters::Exporter::pid));
    let counts = watch(&pids);
    let due = INTERVALS.iter().map(|interval| window / interval).sum::<f64>();
    row("gatemeter, all five", due, counts[0]);
    let mut theirs = Vec::new();
    for (peer, counts) in Kind::ALL.iter().zip(&counts[1..]) {
        row(peer.name(), 0.0, *counts);
        theirs.push(report::Peer::new(peer.name(), counts.moments as f64));
    }
    let what = format!("idle: moments awake in {} s, all five collectors", WINDOW.as_secs());
    summary.row(&what, Budget::AtMost(due), "", &Rounds::from(counts[0].moments as f64), &theirs);
}

fn without_targets<'a>(whole: &Whole<'a>) -> Setup<'a> {
    let setup = whole.setup("");
    let path = setup.dir().join("config/gatemeter");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, _) = text.split_once("config target").unwrap();
    setup.write_uci("gatemeter", before);
    setup
}

/// What begins with the start is over.
fn settle() {
    thread::sleep(Duration::from_secs(5));
}

fn starts(whole: &Whole<'_>, summary: &Summary) {
    println!("\nstart: from the start to the first complete page, {STARTS} times");
    report::head(&["program", "ms"]);
    let two = Setup::new(whole.lab()).flags(&["-e", "--collectors", "traffic,clients"]);
    let five = whole.setup("");
    let target = whole.targets[0];
    let peer = |peer: Kind, path: &str| -> Rounds {
        let start = |_| {
            let begun = Instant::now();
            let exporter = peer.start(whole.lab(), &whole.targets);
            soon(|| exporter.try_get(path));
            begun.elapsed().as_secs_f64() * 1e3
        };
        (0..STARTS).map(start).collect()
    };
    let ours = |setup: &Setup<'_>| -> Rounds {
        let start = |_| {
            let begun = Instant::now();
            let mut daemon = setup.start_unready();
            soon(|| setup.complete(&daemon.page().ok()?).ok());
            let ms = begun.elapsed().as_secs_f64() * 1e3;
            assert!(daemon.stop().success());
            ms
        };
        (0..STARTS).map(start).collect()
    };
    let probe = format!("/probe?module=icmp&target={target}");
    let (two, five) = (ours(&two), ours(&five));
    let (node, blackbox) = (peer(Kind::Node, "/metrics"), peer(Kind::Blackbox, &probe));
    let Size { clients, targets, .. } = SIZE;
    for (name, rounds) in [
        ("gatemeter, traffic and clients".to_owned(), &two),
        (format!("gatemeter, all five, {clients} clients, {targets} targets"), &five),
        ("node_exporter, its defaults".to_owned(), &node),
        ("blackbox_exporter, the answer for one target".to_owned(), &blackbox),
    ] {
        report::line(&[&name, &rounds.text()]);
    }
    let peers =
        [report::Peer::new("node_exporter", node.median()), report::Peer::new("blackbox_exporter", blackbox.median())];
    for (name, rounds) in [("traffic and clients", two), ("all five collectors", five)] {
        summary.row(
            &format!("start to the first complete page, {name}"),
            Budget::AtMost(1000.0),
            "ms",
            &rounds,
            &peers,
        );
    }
    println!();
}

/// Asks again and again, with no more than a millisecond in between.
fn soon<T>(mut answer: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(begun.elapsed() < harness::PATIENCE, "no complete page");
        thread::sleep(Duration::from_millis(1));
    }
}
