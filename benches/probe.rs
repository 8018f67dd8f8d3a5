//! What the prober costs, and how right its round trips are, beside fping, smokeping_prober and blackbox_exporter on the
//! same wire in the same run: from the router of the virtual home network to many addresses at the other end of its WAN.
//! Needs root; `make bench` runs it. One part alone: `cargo bench --bench probe -- cost`, `fast` or `exactness`. Another build of
//! the daemon, named in GATEMETER_OTHER_BUILD, takes turns with this one.
//!
//! CPU time is that of all threads of the program by the kernel's account (/proc/PID/task/TID/schedstat), with the
//! kernel's work for both ends of the wire, since a veth pair hands packets over in the context of the sender. The number
//! of probes is that of packets on the wire. Round trips are compared with those of a capture at the sender's end of it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed assumption must stop the benchmark, and it runs real programs"
)]

#[path = "../tests/support/capture.rs"]
mod capture;
#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "probe/programs.rs"]
mod programs;
#[path = "../tests/support/report.rs"]
mod report;
#[path = "../tests/support/usage.rs"]
mod usage;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use capture::{Capture, Key, Times};
use lab::{GATEWAY4, Lab};
use programs::{Program, Running};
use report::{Budget, Peer, Rounds, Summary};
use usage::{cpu_nanoseconds, median, spread, status_kb};

const ROUNDS: usize = 3;
/// After the first probe of each target, before anything is measured.
const SETTLE: Duration = Duration::from_millis(500);
/// As long as the daemon's pages are apart, so that each window has one.
const WINDOW: Duration = Duration::from_secs(5);
/// For those that do nothing from time to time only.
const SHORT_WINDOW: Duration = Duration::from_secs(3);
/// Probes of each target whose round trips are compared.
const COMPARED: u32 = 4;

fn main() {
    let lab = Lab::builder().hosts(0).build();
    // Any number of targets at the far end.
    lab.internet.must(&["ip", "route", "add", "local", "10.77.0.0/16", "dev", "lo"]);
    lab.router.must(&["ip", "route", "add", "10.77.0.0/16", "via", &GATEWAY4.to_string()]);
    let words: Vec<String> = std::env::args().collect();
    let wanted = |part: &str| {
        !["cost", "fast", "exactness"].iter().any(|other| *other != part && words.contains(&(*other).to_owned()))
    };
    let summary = Summary::new("probe");
    if wanted("cost") {
        cost(&lab, &summary, 100, &Program::with_other_build(&Program::ALL));
        let quick = [Program::Gatemeter, Program::FpingQuick, Program::Smokeping, Program::Blackbox];
        cost(&lab, &summary, 1000, &Program::with_other_build(&quick));
    }
    if wanted("fast") {
        fast(&lab, &summary);
    }
    if wanted("exactness") {
        exactness(&lab, &summary);
    }
}

fn targets(count: u32) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, 77, 0, 1));
    (0..count).map(|n| Ipv4Addr::from(first + n)).collect()
}

/// What was measured of one program in one window.
struct Window {
    us_per_probe: f64,
    /// Share of a core.
    cpu: f64,
    rate: f64,
}

fn window(lab: &Lab, running: &Running<'_>, length: Duration) -> Window {
    let sent = || lab.router.counters("wan").tx_packets;
    let (packets, cpu, begun) = (sent(), cpu_nanoseconds(running.pid()), std::time::Instant::now());
    thread::sleep(length);
    let (packets, cpu) = ((sent() - packets) as f64, (cpu_nanoseconds(running.pid()) - cpu) as f64);
    let took = begun.elapsed().as_secs_f64();
    Window { us_per_probe: cpu / packets / 1e3, cpu: cpu / 1e9 / took, rate: packets / took }
}

/// Figures of one program over all rounds.
#[derive(Default)]
struct Found {
    us: Vec<f64>,
    cpu: Vec<f64>,
    rate: Vec<f64>,
    resident_kb: Vec<f64>,
    scrape_us: Vec<f64>,
    /// Probes that the program says it has sent, and that were answered.
    sent: f64,
    answered: f64,
}

impl Found {
    fn add(&mut self, lab: &Lab, running: Running<'_>, length: Duration) {
        running.wait_until_it_probes();
        thread::sleep(SETTLE);
        let Window { us_per_probe, cpu, rate } = window(lab, &running, length);
        self.us.push(us_per_probe);
        self.cpu.push(cpu * 100.0);
        self.rate.push(rate);
        self.resident_kb.push(status_kb(running.pid(), "VmRSS:") as f64);
        if let Some(us) = running.scrape() {
            self.scrape_us.push(us);
        }
        for figures in running.finish().values() {
            self.sent += figures.sent;
            self.answered += figures.answered;
        }
    }

    /// In percent, as the program says.
    fn loss(&self) -> String {
        if self.sent > 0.0 { format!("{:.3}", 100.0 * (1.0 - self.answered / self.sent)) } else { "-".to_owned() }
    }
}

fn cost(lab: &Lab, summary: &Summary, count: u32, programs: &[Program]) {
    println!("probe: {count} targets once a second, {ROUNDS} rounds in turn, median (lowest to highest)\n");
    println!(
        "{:<28} {:>26} {:>7} {:>9} {:>12} {:>9} {:>28}",
        "program", "CPU us per probe", "ratio", "probes/s", "resident kB", "lost %", "CPU us of a scrape"
    );
    let targets = targets(count);
    let mut found: Vec<Found> = programs.iter().map(|_| Found::default()).collect();
    for _ in 0..ROUNDS {
        for (program, found) in programs.iter().zip(&mut found) {
            let length = if program.is_ours() { WINDOW } else { SHORT_WINDOW };
            found.add(lab, program.start(lab, &targets, Duration::from_secs(1)), length);
        }
    }
    let ours = median(&mut found[0].us);
    let others = programs.iter().zip(&found).skip(1);
    let peers: Vec<Peer> =
        others.map(|(program, found)| Peer::new(program.name(), median(&mut found.us.clone()))).collect();
    let budget = if count == 100 { Budget::AtMost(30.0) } else { Budget::None };
    let what = format!("probe: CPU of a probe, {count} targets once a second");
    summary.row(&what, budget, "us", &Rounds::from_iter(found[0].us.clone()), &peers);
    for (program, mut found) in programs.iter().zip(found) {
        let ratio = median(&mut found.us) / ours;
        let scrape = if found.scrape_us.is_empty() { String::new() } else { spread(&mut found.scrape_us) };
        println!(
            "{:<28} {:>26} {ratio:>7.1} {:>9.0} {:>12.0} {:>9} {scrape:>28}",
            program.name(),
            spread(&mut found.us),
            median(&mut found.rate),
            median(&mut found.resident_kb),
            found.loss(),
        );
    }
    println!();
}

/// As many probes as the daemon sends at most, unless it is allowed more.
fn fast(lab: &Lab, summary: &Summary) {
    println!("probe: 1000 targets ten times a second, {ROUNDS} rounds, median (lowest to highest)\n");
    let (targets, mut found) = (targets(1000), Found::default());
    for _ in 0..ROUNDS {
        found.add(lab, Program::Gatemeter.start(lab, &targets, Duration::from_millis(100)), WINDOW);
    }
    // As many as 10,000, but for a probe or two that the window has cut off.
    let (rate, cpu) = (Rounds::from_iter(found.rate.clone()), Rounds::from_iter(found.cpu.clone()));
    summary.row("probe: probes a second, 1,000 targets", Budget::AtLeast(9_900.0), "", &rate, &[]);
    summary.row("probe: of a core for that", Budget::AtMost(100.0), "%", &cpu, &[]);
    println!("CPU us per probe  {}", spread(&mut found.us));
    println!("% of a core       {}", spread(&mut found.cpu));
    println!("probes/s          {}", spread(&mut found.rate));
    println!("resident kB       {}", spread(&mut found.resident_kb));
    println!("lost              {:.0} of {:.0}\n", found.sent - found.answered, found.sent);
}

/// Threads that do nothing but keep every core busy.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start() -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let spin = |_| {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..cores).map(spin).collect();
        Load { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn exactness(lab: &Lab, summary: &Summary) {
    println!(
        "probe: reported round trip minus that on the wire, us; means of {COMPARED} or {} probes of each of 100 targets\n",
        COMPARED + 1
    );
    println!(
        "{:<6} {:<28} {:>9} {:>9} {:>9} {:>9} {:>14}",
        "load", "program", "least", "median", "95 %", "most", "median RTT, us"
    );
    let programs = [Program::Gatemeter, Program::FpingEven, Program::Smokeping, Program::Blackbox];
    for is_loaded in [false, true] {
        let mut furthest = Vec::new();
        for program in programs {
            let load = is_loaded.then(Load::start);
            let (mut errors, mut wire) = compare(lab, program);
            drop(load);
            let middle = median(&mut errors);
            let [least, high, most] = [0, 95, 100].map(|share| errors[(errors.len() - 1) * share / 100]);
            let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            furthest.push((program.name(), sizes[(sizes.len() - 1) * 95 / 100]));
            println!(
                "{:<6} {:<28} {least:>9.2} {middle:>9.2} {high:>9.2} {most:>9.2} {:>14.2}",
                if is_loaded { "full" } else { "none" },
                program.name(),
                median(&mut wire)
            );
        }
        let peers: Vec<Peer> = furthest[1..].iter().map(|(name, us)| Peer::new(name, *us)).collect();
        let load = if is_loaded { "every core busy" } else { "idle" };
        let what = format!("probe: reported from captured round trip, 95 of 100 targets within, {load}");
        summary.row(&what, Budget::AtMost(3.0), "us", &Rounds::from(furthest[0].1), &peers);
    }
}

/// For each target, by how much the reported mean is above that of the same probes on the wire, and the latter.
fn compare(lab: &Lab, program: Program) -> (Vec<f64>, Vec<f64>) {
    let capture = Capture::start(lab, &lab.router, "wan");
    let running = program.start_to_compare(lab, &targets(100), COMPARED);
    let reported = running.finish();
    let captured = capture.finish(|packets| {
        let trips = by_target(packets);
        reported.iter().all(|(ip, figures)| trips.get(ip).is_some_and(|trips| trips.len() as f64 >= figures.answered))
    });
    let trips = by_target(&captured);
    let pairs = reported.iter().filter(|(_, figures)| figures.answered > 0.0).map(|(ip, figures)| {
        // What is reported are the first ones: later ones may be under way or not counted yet.
        let own = &trips[ip][..figures.answered as usize];
        let wire = own.iter().sum::<f64>() / figures.answered;
        (figures.rtt * 1e6 / figures.answered - wire, wire)
    });
    pairs.unzip()
}

/// Round trips on the wire in microseconds, in the order of requests.
fn by_target(packets: &BTreeMap<Key, Times>) -> BTreeMap<Ipv4Addr, Vec<f64>> {
    let mut sorted: Vec<(Ipv4Addr, Times)> = packets.iter().map(|((ip, ..), times)| (*ip, *times)).collect();
    sorted.sort_by_key(|(_, times)| times.request);
    let mut trips = BTreeMap::<_, Vec<f64>>::new();
    for (ip, times) in sorted {
        if let Some(trip) = times.round_trip() {
            trips.entry(ip).or_default().push(trip as f64 / 1e3);
        }
    }
    trips
}
