//! What following the connections of 250 clients costs while connections come and go: CPU per interval of 2 s with
//! 20,000 and 50,000 flows in the table, by events and by reading all flows each time, beside `conntrack -L` in the same
//! run; and what the events cost the kernel while it forwards.
//!
//! "Taking in" is the part of netlink alone, for three choices of events: without changes nobody would know who has been
//! answered and what has closed. Half of the new connections are TCP with a short exchange, half are DNS-like, through a
//! router with masquerading. CPU time is the kernel's own account of the thread (/proc/thread-self/schedstat), of
//! children that of /proc/self/stat. `make bench` runs it; it takes root.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed assumption must stop the benchmark, and it runs real programs"
)]

#[path = "../tests/conntrack/inject.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod inject;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/report.rs"]
mod report;
#[path = "../tests/support/usage.rs"]
mod usage;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use gatemeter::collectors::clients::flows::{Connections, Options};
use gatemeter::netlink::conntrack::{self, GROUP_DESTROY, GROUP_NEW, GROUP_UPDATE};
use gatemeter::netlink::transport::Events;
use inject::{Flow, Injector};
use lab::Lab;
use report::{Rounds, shown};
use usage::{children_ms, status_kb};

const CLIENTS: u32 = 250;
const INTERVAL: Duration = Duration::from_secs(2);
const INTERVALS: u32 = 3;
/// Flows in the table.
const FLOWS: [u32; 2] = [20_000, 50_000];
/// Connections that begin in a second.
const RATES: [u32; 2] = [150, 300];
const PORT: u16 = 5300;
/// Connections of each series that tells what events cost the kernel.
const SERIES: u32 = 4000;

fn main() {
    let lab = Lab::builder().hosts(1).nat().build();
    let router = &lab.router;
    for (key, value) in [
        ("nf_conntrack_acct", "1"),
        // Short, so that as many flows end as begin.
        ("nf_conntrack_udp_timeout", "3"),
        ("nf_conntrack_udp_timeout_stream", "3"),
        ("nf_conntrack_tcp_timeout_time_wait", "3"),
    ] {
        router.sysctl(&format!("netfilter/{key}"), value);
    }
    // A port that a closed connection has had may be used again at once.
    lab.host(1).sysctl("ipv4/tcp_tw_reuse", "1");
    lab.host(1).sysctl("ipv4/ip_local_port_range", "1024 65535");
    let traffic = Traffic { rate: AtomicU32::new(0), stop: AtomicBool::new(false), made: AtomicU32::new(0) };
    let server = SocketAddr::new(lab.internet.v4.into(), PORT);
    let sockets = lab.internet.enter(|| (TcpListener::bind(server).unwrap(), UdpSocket::bind(server).unwrap()));
    thread::scope(|scope| {
        scope.spawn(|| serve_tcp(&sockets.0, &traffic));
        scope.spawn(|| serve_udp(&sockets.1, &traffic));
        scope.spawn(|| lab.host(1).enter(|| traffic.run(server)));
        let _end = End { lab: &lab, traffic: &traffic, server };
        router.enter(|| measure(&lab, &traffic));
        traffic.rate.store(0, Relaxed);
        router.enter(|| kernel_cost(&lab, server));
    });
}

/// Ends the threads that make traffic, also when something fails.
struct End<'a> {
    lab: &'a Lab,
    traffic: &'a Traffic,
    server: SocketAddr,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.traffic.stop.store(true, Relaxed);
        // The servers wait for somebody to come.
        self.lab.host(1).enter(|| {
            drop(TcpStream::connect(self.server));
            UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"end", self.server).unwrap();
        });
    }
}

fn measure(lab: &Lab, traffic: &Traffic) {
    println!("clients: following connections, CPU of an interval of {INTERVAL:?}, {INTERVALS} intervals");
    report::head(&["flows", "new in a second", "how", "ms", "events", "dumps", "overruns"]);
    let mut injector = Injector::open();
    let mut there = 0;
    for flows in FLOWS {
        injector.add((there..flows).map(|n| Flow::nth(n, CLIENTS)));
        there = flows;
        let count = shown(flows.into());
        let row = |rate: u32, how: &str, found: Found| {
            let Found { ms, events, dumps, overruns, .. } = found;
            let numbers = [rate, events, dumps as u32, overruns as u32].map(|number| number.to_string());
            report::line(&[&count, &numbers[0], how, &ms.text(), &numbers[1], &numbers[2], &numbers[3]]);
        };
        let single = |what: &str, figure: f64| report::line(&[&count, "", what, &shown(figure), "", "", ""]);
        let before = resident_kb();
        let silent = follow(Options::default());
        let kb = silent.resident_kb - before;
        row(0, "events, on a silent network", silent);
        // Later what has been freed meanwhile is used again.
        if flows == FLOWS[0] {
            single("kB of memory for that", kb as f64);
        }
        for rate in RATES {
            traffic.rate.store(rate, Relaxed);
            thread::sleep(INTERVAL * 3);
            row(rate, "events and rare dumps", follow(Options::default()));
            row(rate, "a dump each time", follow(Options { follow: false, ..Options::default() }));
            row(rate, "the same with bytes", follow(Options { bytes: true, ..Options::default() }));
            let ends = GROUP_NEW | GROUP_DESTROY;
            row(rate, "taking in: begin and end only", take_in(ends, false));
            row(rate, "taking in: changes, filtered", take_in(ends | GROUP_UPDATE, true));
            row(rate, "taking in: changes, all", take_in(ends | GROUP_UPDATE, false));
        }
        traffic.rate.store(0, Relaxed);
        thread::sleep(INTERVAL * 4);
        // Ten times, since the kernel tells it in steps of 10 ms.
        let began = children_ms();
        (0..10).for_each(|_| drop(lab.router.must(&["conntrack", "-L", "-o", "extended"])));
        single("`conntrack -L`, its output unread", (children_ms() - began) / 10.0);
    }
}

/// What intervals of one kind cost.
struct Found {
    ms: Rounds,
    events: u32,
    dumps: u64,
    overruns: u64,
    resident_kb: u64,
}

/// Intervals of our own following, after the first dump.
fn follow(options: Options) -> Found {
    let is_client = |addr: IpAddr| inject::is_client(addr) || matches!(addr, IpAddr::V4(a) if a.octets()[0] == 192);
    let mut connections = Connections::open(options).unwrap();
    let collect = |connections: &mut Connections| {
        let (began, due) = (cpu_ms(), Instant::now() + INTERVAL);
        smol::block_on(async {
            connections.collect(Instant::now(), &is_client).await.unwrap();
            let wait = async { _ = smol::Timer::at(due).await };
            let follow = async { match connections.follow(&is_client).await {} };
            smol::future::or(wait, follow).await;
        });
        cpu_ms() - began
    };
    collect(&mut connections);
    let ms = (0..INTERVALS).map(|_| collect(&mut connections)).collect();
    let totals = connections.totals();
    assert_eq!(totals.untracked, 0, "{totals:?}");
    Found { ms, events: 0, dumps: totals.dumps - 1, overruns: totals.overruns, resident_kb: resident_kb() }
}

/// Intervals that only take events in and decode them.
fn take_in(groups: u32, filtered: bool) -> Found {
    let mut events = Events::open(libc::NETLINK_NETFILTER, groups, 64 << 20).unwrap();
    if filtered {
        events.filter(&conntrack::event_filter()).unwrap();
    }
    let mut count = 0;
    let mut interval = || {
        let began = cpu_ms();
        for _ in 0..8 {
            thread::sleep(INTERVAL / 8);
            count += events.drain(100_000, |message| conntrack::decode(message).map(drop)).unwrap() as u32;
        }
        cpu_ms() - began
    };
    let ms = (0..INTERVALS).map(|_| interval()).collect();
    Found { ms, events: count / INTERVALS, dumps: 0, overruns: 0, resident_kb: 0 }
}

/// What a connection costs all CPUs together, nobody listening and somebody listening.
fn kernel_cost(lab: &Lab, server: SocketAddr) {
    println!("\nclients: the whole machine's CPU for a connection, {INTERVALS} series of {SERIES}");
    report::head(&["who listens", "us"]);
    let ends = GROUP_NEW | GROUP_DESTROY;
    let ways = [("nobody listens", 0), ("begin and end only", ends), ("changes, filtered", 7), ("changes, all", 7 | 8)];
    let mut rounds = vec![Vec::new(); ways.len()];
    for _ in 0..INTERVALS {
        for ((_, groups), found) in ways.iter().zip(&mut rounds) {
            let mut events =
                (*groups > 0).then(|| Events::open(libc::NETLINK_NETFILTER, groups & 7, 64 << 20).unwrap());
            if let Some(events) = events.as_mut().filter(|_| *groups == 7) {
                events.filter(&conntrack::event_filter()).unwrap();
            }
            // Exits with 1 if there are none.
            lab.router.run(&["conntrack", "-D", "-d", &server.ip().to_string()]);
            let began = busy_ms();
            lab.host(1).enter(|| (0..SERIES).for_each(|n| connect(server, n)));
            found.push((busy_ms() - began) * 1000.0 / f64::from(SERIES));
            if let Some(mut events) = events {
                let _ = events.drain(100_000, |_| Ok(()));
            }
        }
    }
    for ((how, _), us) in ways.iter().zip(rounds) {
        report::line(&[how, &Rounds::from_iter(us).text()]);
    }
    println!();
}

/// Connections that somebody makes at a rate.
struct Traffic {
    rate: AtomicU32,
    stop: AtomicBool,
    made: AtomicU32,
}

impl Traffic {
    fn run(&self, server: SocketAddr) {
        while !self.stop.load(Relaxed) {
            // Ten bursts a second.
            for _ in 0..self.rate.load(Relaxed) / 10 {
                connect(server, self.made.fetch_add(1, Relaxed));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A short connection: by turns TCP and UDP.
fn connect(server: SocketAddr, n: u32) {
    let mut answer = [0; 16];
    if n.is_multiple_of(2) {
        let mut tcp = TcpStream::connect(server).unwrap();
        tcp.write_all(b"question").unwrap();
        tcp.read_exact(&mut answer[..6]).unwrap();
    } else {
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        udp.send_to(b"question", server).unwrap();
        udp.recv_from(&mut answer).unwrap();
    }
}

fn serve_tcp(listener: &TcpListener, traffic: &Traffic) {
    while !traffic.stop.load(Relaxed) {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut question = [0; 8];
        if tcp.read_exact(&mut question).is_ok() {
            let _ = tcp.write_all(b"answer");
            // Until the other side closes, so that it is the one that waits.
            let _ = tcp.read(&mut question);
        }
    }
}

fn serve_udp(socket: &UdpSocket, traffic: &Traffic) {
    let mut question = [0; 16];
    while !traffic.stop.load(Relaxed) {
        let (_, from) = socket.recv_from(&mut question).unwrap();
        let _ = socket.send_to(b"answer", from);
    }
}

/// CPU time of this thread.
fn cpu_ms() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// Time all CPUs together were not idle.
fn busy_ms() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<f64> =
        text.lines().next().unwrap().split_whitespace().skip(1).map(|f| f.parse().unwrap()).collect();
    (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) * 10.0
}

fn resident_kb() -> u64 {
    status_kb(std::process::id(), "VmRSS:")
}
