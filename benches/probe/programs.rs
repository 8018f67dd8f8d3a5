//! The programs that probe: how each is started, and what it reports.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::exposition::{self, Samples};
use crate::harness::{Daemon, PATIENCE, Setup, http};
use crate::lab::process::{self, Background};
use crate::lab::{Lab, Node};
use crate::usage::cpu_nanoseconds;

const SMOKEPING: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9374);
const BLACKBOX: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9115);
/// Targets that one connection to blackbox_exporter asks about.
const ASKED_BY_ONE: usize = 100;
/// With many more targets smokeping_prober takes minutes to answer a request, so it is not asked.
const ASKABLE: usize = 100;
/// Between the probes that fping sends: as many milliseconds as make it even with 100 targets a second, and its least
/// without being told that it is dangerous, which is how those run it who have many targets.
const EVEN: &str = "10";
const QUICK: &str = "1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Gatemeter,
    /// Another build of it, see [`Program::with_other_build`].
    OtherBuild,
    FpingEven,
    FpingQuick,
    Smokeping,
    Blackbox,
}

/// Of one target: probes sent and answered, and the sum of their round trips in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub sent: f64,
    pub answered: f64,
    pub rtt: f64,
}

pub type Reported = BTreeMap<Ipv4Addr, Figures>;

/// A program that probes.
pub struct Running<'a> {
    lab: &'a Lab,
    kind: Kind<'a>,
    targets: usize,
    /// Packets on the wire before it was started.
    before: u64,
    /// So many probes of each target are waited for at the end.
    until: Option<u32>,
}

enum Kind<'a> {
    Gatemeter(Box<Daemon<'a>>),
    Fping(Background, PathBuf),
    Smokeping(Background),
    Blackbox(Background, Askers),
}

/// Threads that ask blackbox_exporter as Prometheus does, over connections that stay open.
struct Askers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Reported>>,
}

impl Program {
    pub const ALL: [Program; 5] =
        [Program::Gatemeter, Program::FpingEven, Program::FpingQuick, Program::Smokeping, Program::Blackbox];

    /// These, and beside our program the build that GATEMETER_OTHER_BUILD names, for what a change has brought.
    pub fn with_other_build(programs: &[Program]) -> Vec<Program> {
        let mut programs = programs.to_vec();
        if other_build().is_some() {
            programs.insert(1, Program::OtherBuild);
        }
        programs
    }

    /// Whether it is a build of ours.
    pub fn is_ours(self) -> bool {
        matches!(self, Program::Gatemeter | Program::OtherBuild)
    }

    pub fn name(self) -> &'static str {
        match self {
            Program::Gatemeter => "gatemeter",
            Program::OtherBuild => "gatemeter, the other build",
            Program::FpingEven => "fping -i10",
            Program::FpingQuick => "fping -i1",
            Program::Smokeping => "smokeping_prober",
            Program::Blackbox => "blackbox_exporter",
        }
    }

    /// Probes each target so often until it is stopped.
    pub fn start<'a>(self, lab: &'a Lab, targets: &[Ipv4Addr], interval: Duration) -> Running<'a> {
        self.begin(lab, targets, interval, None)
    }

    /// Probes each target once a second, until it can report on so many probes of each.
    pub fn start_to_compare<'a>(self, lab: &'a Lab, targets: &[Ipv4Addr], probes: u32) -> Running<'a> {
        self.begin(lab, targets, Duration::from_secs(1), Some(probes))
    }

    fn begin<'a>(self, lab: &'a Lab, targets: &[Ipv4Addr], interval: Duration, until: Option<u32>) -> Running<'a> {
        let before = lab.router.counters("wan").tx_packets;
        let kind = match self {
            Program::Gatemeter => gatemeter(lab, targets, interval, until.is_some(), None),
            Program::OtherBuild => gatemeter(lab, targets, interval, until.is_some(), other_build()),
            Program::FpingEven => fping(lab, targets, EVEN, until),
            Program::FpingQuick => fping(lab, targets, QUICK, until),
            Program::Smokeping => smokeping(lab, targets),
            Program::Blackbox => blackbox(lab, targets),
        };
        Running { lab, kind, targets: targets.len(), before, until }
    }
}

/// A file in the lab's directory that nobody has used before.
fn fresh(lab: &Lab, name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    lab.dir().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn other_build() -> Option<PathBuf> {
    std::env::var_os("GATEMETER_OTHER_BUILD").map(PathBuf::from)
}

fn gatemeter<'a>(
    lab: &'a Lab,
    targets: &[Ipv4Addr],
    interval: Duration,
    is_quick: bool,
    build: Option<PathBuf>,
) -> Kind<'a> {
    let mut text = format!(
        "config probe 'probe'\n\toption unlocked '1'\n\toption interval '{}'\n\toption max_targets '{}'\n",
        interval.as_millis(),
        targets.len()
    );
    targets.iter().for_each(|ip| text += &format!("config target\n\toption host '{ip}'\n"));
    let setup = Setup::new(lab).flags(&["-e", "--collectors", "probe"]).uci("gatemeter", &text);
    // A page each second where its end is waited for.
    let setup = if is_quick { setup.flags(&["-t", "1"]) } else { setup };
    let setup = build.iter().fold(setup, |setup, build| setup.program(build));
    Kind::Gatemeter(Box::new(setup.start_unready()))
}

fn fping<'a>(lab: &Lab, targets: &[Ipv4Addr], apart: &str, count: Option<u32>) -> Kind<'a> {
    let (targets, count): (Vec<String>, _) =
        (targets.iter().map(Ipv4Addr::to_string).collect(), count.map(|count| (count + 1).to_string()));
    let mut words = vec!["fping", "-q", "-p", "1000", "-i", apart];
    match &count {
        Some(count) => words.extend(["-c", count]),
        None => words.push("-l"),
    }
    words.extend(targets.iter().map(String::as_str));
    let log = fresh(lab, "fping");
    Kind::Fping(lab.router.start(&words, &log), log)
}

fn smokeping<'a>(lab: &Lab, targets: &[Ipv4Addr]) -> Kind<'a> {
    let config = fresh(lab, "smokeping.yml");
    let hosts: String = targets.iter().map(|ip| format!("  - {ip}\n")).collect();
    let text = format!("targets:\n- hosts:\n{hosts}  interval: 1s\n  network: ip4\n  protocol: icmp\n  size: 56\n");
    fs::write(&config, text).unwrap();
    let (config, listen) = (format!("--config.file={}", config.display()), format!("--web.listen-address={SMOKEPING}"));
    let words = ["prometheus-smokeping-prober", &config, &listen];
    Kind::Smokeping(lab.router.start(&words, &fresh(lab, "smokeping")))
}

fn blackbox<'a>(lab: &Lab, targets: &[Ipv4Addr]) -> Kind<'a> {
    let config = fresh(lab, "blackbox.yml");
    fs::write(&config, "modules:\n  icmp:\n    prober: icmp\n    timeout: 2s\n").unwrap();
    let (config, listen) = (format!("--config.file={}", config.display()), format!("--web.listen-address={BLACKBOX}"));
    let words = ["prometheus-blackbox-exporter", "--log.level=error", &config, &listen];
    let process = lab.router.start(&words, &fresh(lab, "blackbox"));
    let answers = || http::get(&lab.router, BLACKBOX, "/-/healthy", &[]).ok();
    assert!(process::poll(PATIENCE, answers).is_some(), "blackbox_exporter does not serve");
    let stop = Arc::new(AtomicBool::new(false));
    let ask = |targets: &[Ipv4Addr]| {
        let (router, targets, stop) = (lab.router.clone(), targets.to_vec(), stop.clone());
        thread::spawn(move || ask(&router, &targets, &stop))
    };
    let threads = targets.chunks(ASKED_BY_ONE).map(ask).collect();
    Kind::Blackbox(process, Askers { stop, threads })
}

/// Asks for each target in turn, evenly over a second.
fn ask(router: &Node, targets: &[Ipv4Addr], stop: &AtomicBool) -> Reported {
    let mut stream = router.tcp_connect(BLACKBOX).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reported, begun) = (Reported::new(), Instant::now());
    for (turn, ip) in targets.iter().cycle().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let due = begun + Duration::from_secs(1) * turn as u32 / targets.len() as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let page = get(&mut stream, &format!("/probe?module=icmp&target={ip}"));
        let figures: &mut Figures = reported.entry(*ip).or_default();
        figures.sent += 1.0;
        if page["probe_success"] > 0.0 {
            figures.answered += 1.0;
            figures.rtt += page["probe_icmp_duration_seconds{phase=\"rtt\"}"];
        }
    }
    reported
}

fn get(stream: &mut TcpStream, path: &str) -> Samples {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {BLACKBOX}\r\n\r\n").as_bytes()).unwrap();
    let (mut bytes, mut part) = (Vec::new(), [0; 8192]);
    loop {
        let got = stream.read(&mut part).unwrap();
        assert!(got > 0, "blackbox_exporter has closed the connection");
        bytes.extend(&part[..got]);
        if let Some(response) = http::parse(&bytes) {
            return exposition::parse(&response.text()).unwrap();
        }
    }
}

impl Running<'_> {
    pub fn pid(&self) -> u32 {
        match &self.kind {
            Kind::Gatemeter(daemon) => daemon.pid(),
            Kind::Fping(process, _) | Kind::Smokeping(process) | Kind::Blackbox(process, _) => process.pid(),
        }
    }

    /// Until every target has been sent to, and it serves if it does.
    pub fn wait_until_it_probes(&self) {
        let begun = || {
            let sent = self.lab.router.counters("wan").tx_packets - self.before;
            (sent >= self.targets as u64).then_some(())
        };
        assert!(process::poll(PATIENCE, begun).is_some(), "process {} does not probe", self.pid());
        if matches!(self.kind, Kind::Smokeping(_)) && self.targets <= ASKABLE {
            let serves = || http::get(&self.lab.router, SMOKEPING, "/metrics", &[]).ok();
            assert!(process::poll(PATIENCE, serves).is_some(), "smokeping_prober does not serve");
        }
    }

    /// Microseconds of CPU that a scrape takes, where one is more than asking for a probe.
    pub fn scrape(&self) -> Option<f64> {
        let fetch: &dyn Fn() = match &self.kind {
            Kind::Gatemeter(daemon) => &|| drop(daemon.get("/metrics").unwrap()),
            Kind::Smokeping(_) if self.targets <= ASKABLE => {
                &|| drop(http::get(&self.lab.router, SMOKEPING, "/metrics", &[]).unwrap())
            }
            Kind::Smokeping(_) | Kind::Fping(..) | Kind::Blackbox(..) => return None,
        };
        let before = cpu_nanoseconds(self.pid());
        fetch();
        Some((cpu_nanoseconds(self.pid()) - before) as f64 / 1e3)
    }

    /// Stops it, and tells what it says of its targets.
    pub fn finish(self) -> Reported {
        let Running { lab, kind, targets, until, .. } = self;
        match kind {
            Kind::Gatemeter(mut daemon) => {
                let names = [
                    "icmp_probe_packets_sent_total",
                    "icmp_probe_packets_recv_total",
                    "icmp_probe_latency_seconds_total",
                ];
                // Its figures are of the last page, which has probes that are decided only.
                let least = f64::from(until.unwrap_or(1));
                let reported = daemon.wait_until("results of every target", |metrics| {
                    let reported = by_target(metrics, names);
                    let is_known = |figures: &Figures| figures.sent >= least;
                    (!reported.is_empty() && reported.values().all(is_known)).then_some(reported)
                });
                assert!(daemon.stop().success(), "{}", daemon.stderr());
                reported
            }
            Kind::Fping(mut process, log) => {
                if until.is_none() {
                    process.signal(libc::SIGINT);
                }
                process.wait(PATIENCE);
                fs::read_to_string(log).unwrap().lines().filter_map(summary).collect()
            }
            Kind::Smokeping(_) if targets > ASKABLE => Reported::new(),
            Kind::Smokeping(_process) => {
                thread::sleep(Duration::from_secs(until.map_or(0, |count| u64::from(count) + 2)));
                let page = http::get(&lab.router, SMOKEPING, "/metrics", &[]).unwrap().text();
                let [sent, count, sum] = [
                    "smokeping_requests_total",
                    "smokeping_response_duration_seconds_count",
                    "smokeping_response_duration_seconds_sum",
                ];
                by_target(&exposition::parse(&page).unwrap(), [sent, count, sum])
            }
            Kind::Blackbox(_process, askers) => {
                thread::sleep(Duration::from_secs(until.map_or(0, |count| u64::from(count) + 1)));
                askers.stop.store(true, Ordering::Relaxed);
                askers.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            }
        }
    }
}

/// Probes sent, answered, and the sum of round trips, from the series of these names.
fn by_target(metrics: &Samples, [sent, answered, rtt]: [&str; 3]) -> Reported {
    let mut reported = Reported::new();
    for (series, value) in metrics {
        let name = series.split('{').next().unwrap_or_default();
        let Some(ip) = exposition::label(series, "ip").and_then(|ip| ip.parse().ok()) else { continue };
        let mut figures = |set: fn(&mut Figures, f64)| set(reported.entry(ip).or_default(), *value);
        match name {
            _ if name == sent => figures(|figures, value| figures.sent = value),
            _ if name == answered => figures(|figures, value| figures.answered = value),
            _ if name == rtt => figures(|figures, value| figures.rtt = value),
            _ => {}
        }
    }
    reported
}

/// A line of fping's last words: `10.77.0.1 : xmt/rcv/%loss = 5/5/0%, min/avg/max = 0.040/0.051/0.062`.
fn summary(line: &str) -> Option<(Ipv4Addr, Figures)> {
    let (ip, rest) = line.split_once(" : xmt/rcv/%loss = ")?;
    let mut counts = rest.split('/');
    let mut count = || counts.next()?.parse::<f64>().ok();
    let (sent, answered) = (count()?, count()?);
    let mean = rest.split_once("min/avg/max = ").and_then(|(_, times)| times.split('/').nth(1)?.parse::<f64>().ok());
    Some((ip.trim().parse().ok()?, Figures { sent, answered, rtt: mean.unwrap_or_default() / 1e3 * answered }))
}
