//! What the traffic program costs per packet, on a veth pair in namespaces of its own, by the kernel's own figures
//! (kernel.bpf_stats_enabled). Needs root; `make bench` runs it.
//!
//! Every round measures each program on the same packets in turn: one that does nothing, ours, and for comparison the
//! least that can be called accounting, and one that looks up what mezoura looks up (`packet_cost/others.rs`). What counts
//! is the difference to the one that does nothing, which holds the cost of measuring. At the end every core sends packets
//! of the same host at once: what cores share, they wait for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the test")]
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "runs ip to set up")]

#[path = "../tests/support/bpf.rs"]
mod bpf;
#[path = "../tests/support/net.rs"]
mod net;
#[path = "packet_cost/others.rs"]
mod others;
#[path = "../tests/support/report.rs"]
mod report;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::Barrier;
use std::thread;

use etherparse::PacketBuilder;
use gatemeter::collectors::traffic::codec::Rules;
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Direction, Settings};
use gatemeter::sys::bpf::{TCX_EGRESS, TCX_INGRESS, tcx_attach};
use report::{Budget, Peer, Rounds, Summary};

const PACKETS: usize = 200_000;
const ROUNDS: usize = 7;
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What mezoura itself took per packet above an empty program, up and down.
const MEZOURA: [f64; 2] = [91.0, 77.0];

struct Veth {
    lan: u32,
    host: u32,
    from_lan: net::Sender,
    to_lan: net::Sender,
}

fn main() {
    net::enter_namespaces();
    let before = fs::read_to_string(STATS).unwrap();
    fs::write(STATS, "1").unwrap();
    let result = std::panic::catch_unwind(measure);
    fs::write(STATS, before).unwrap();
    if result.is_err() {
        std::process::exit(1);
    }
}

fn measure() {
    let (lan, host) = net::veth("lan0", "host0");
    let veth = Veth { lan, host, from_lan: net::Sender::new(host), to_lan: net::Sender::new(lan) };
    let (lan4, internet4) = ([192, 168, 1, 10], [203, 0, 113, 5]);
    let lan6 = "2001:db8:1::10".parse::<Ipv6Addr>().unwrap();
    let internet6 = "2a00:1450::5".parse::<Ipv6Addr>().unwrap();
    let (mut arp_up, mut arp_down) = (udp(lan4, internet4, true), udp(internet4, lan4, false));
    arp_up[12..14].copy_from_slice(&[8, 6]);
    arp_down[12..14].copy_from_slice(&[8, 6]);

    let summary = Summary::new("packet_cost");
    println!("traffic: ns per packet above an empty program, {ROUNDS} rounds of {PACKETS}");
    report::head(&["packet", "hook", "gatemeter", "the least", "mezoura's way"]);
    let cases = [
        ("accounted, IPv4", Some(45.0), vec![udp(lan4, internet4, true)], vec![udp(internet4, lan4, false)]),
        ("accounted, IPv6", Some(45.0), vec![udp(lan6, internet6, true)], vec![udp(internet6, lan6, false)]),
        ("accounted, 250 hosts in turn", Some(45.0), hosts(250, true), hosts(250, false)),
        (
            "ignored, LAN to LAN",
            Some(10.0),
            vec![udp(lan4, [192, 168, 1, 11], true)],
            vec![udp([192, 168, 1, 11], lan4, false)],
        ),
        ("ignored, not IP", Some(10.0), vec![arp_up], vec![arp_down]),
    ];
    for (name, budget, up, down) in &cases {
        for (direction, frames) in [(Direction::In, up), (Direction::Out, down)] {
            let repeated = || frames.iter().cycle().take(PACKETS).map(|frame| &frame[..]);
            // The others know IPv4 only.
            let is_ipv4 = frames[0][12..14] == [8, 0];
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let empty = veth.run(&bpf::always(-1), direction, repeated());
                let ours = veth.run_ours(1024, direction, &[], repeated());
                let mut round = vec![ours - empty];
                if is_ipv4 {
                    let (sketch, _map) = others::sketch(direction == Direction::In, frames);
                    round.push(veth.run(&sketch, direction, repeated()) - empty);
                    let (mezoura, _maps) = others::mezoura(direction == Direction::In, frames);
                    round.push(veth.run(&mezoura, direction, repeated()) - empty);
                }
                rounds.push(round);
            }
            report(&summary, name, direction, budget.map(Budget::AtMost), &rounds);
        }
    }

    let many = hosts(50_000, true);
    let each = || many.iter().map(|frame| &frame[..]);
    let (mut first, mut full) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let empty = veth.run(&bpf::always(-1), Direction::In, each());
        first.push(vec![veth.run_ours(65_536, Direction::In, &[], each()) - empty]);
        full.push(vec![veth.run_ours(16, Direction::In, &hosts(16, true), each().skip(16)) - empty]);
    }
    report(&summary, "first packet of a host", Direction::In, None, &first);
    report(&summary, "no room in the table", Direction::In, None, &full);
    together(&veth, &summary, &udp(lan4, internet4, true));
}

/// A line, and a row of the summary if there is a budget. Each round has our figure first, then those of the others.
fn report(summary: &Summary, name: &str, direction: Direction, budget: Option<Budget>, rounds: &[Vec<f64>]) {
    let of = |n: usize| rounds.iter().map(|round| round.get(n).copied()).collect::<Option<Rounds>>();
    let ours = of(0).unwrap();
    let cells = [1, 2].map(|n| of(n).map(|rounds| rounds.text()).unwrap_or_default());
    let (way, quoted) = if direction == Direction::In { ("ingress", MEZOURA[0]) } else { ("egress", MEZOURA[1]) };
    report::line(&[name, way, &ours.text(), &cells[0], &cells[1]]);
    let Some(budget) = budget else { return };
    let mut peers: Vec<Peer> = Vec::new();
    for (n, name) in [(1, "the least"), (2, "mezoura's way")] {
        peers.extend(of(n).map(|rounds| Peer::new(name, rounds.median())));
    }
    if name.starts_with("accounted") {
        peers.push(Peer::quoted("mezoura", quoted));
    }
    summary.row(&format!("traffic: a packet at {way}, {name}"), budget, "ns", &ours, &peers);
}

/// The same packet on one core, and on every core at once.
fn together(veth: &Veth, summary: &Summary, frame: &Vec<u8>) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("\ntraffic: the same packet on one core and on {cores} at once, ns above an empty program");
    report::head(&["program", "one core", &format!("{cores} cores at once"), "times as long"]);
    if cores < 2 {
        report::line(&["this machine has one core", "", "", ""]);
        return;
    }
    let frames = std::slice::from_ref(frame);
    let mut rounds: [Vec<[f64; 2]>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let (sketch, _map) = others::sketch(true, frames);
        let (mezoura, _maps) = others::mezoura(true, frames);
        let on = |cores: usize| {
            let run = |program: BorrowedFd<'_>| {
                let _link = tcx_attach(program, veth.lan, TCX_INGRESS).unwrap();
                veth.at_once(program, cores, &frames[0])
            };
            let empty = run(bpf::always(-1).as_fd());
            let ours = veth.with_ours(1024, |program, _| veth.at_once(program, cores, &frames[0]));
            [ours, run(sketch.as_fd()), run(mezoura.as_fd())].map(|ns| ns - empty)
        };
        let (one, all) = (on(1), on(cores));
        for (n, rounds) in rounds.iter_mut().enumerate() {
            rounds.push([one[n], all[n]]);
        }
    }
    let names = ["gatemeter", "the least: a table per core", "mezoura's way: one table for all"];
    let mut ratios = Vec::new();
    for (name, rounds) in names.iter().zip(&rounds) {
        let of = |n: usize| rounds.iter().map(|round| round[n]).collect::<Rounds>();
        let ratio: Rounds = rounds.iter().map(|[one, all]| all / one).collect();
        report::line(&[name, &of(0).text(), &of(1).text(), &ratio.text()]);
        ratios.push(ratio);
    }
    let peers = [Peer::new("the least", ratios[1].median()), Peer::new("mezoura's way", ratios[2].median())];
    // A tenth more is what a second busy core may do to the first one's clock and memory.
    let what = "traffic: time of a packet with every core at it, over that with one";
    summary.row(what, Budget::AtMost(1.1), "times", &ratios[0], &peers);
    println!();
}

impl Veth {
    /// Mean nanoseconds per run of a program on these frames.
    fn run<'a>(
        &self,
        program: &impl std::os::fd::AsFd,
        direction: Direction,
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> f64 {
        let hook = if direction == Direction::In { TCX_INGRESS } else { TCX_EGRESS };
        let _link = tcx_attach(program.as_fd(), self.lan, hook).unwrap();
        self.measure(program.as_fd(), direction, frames)
    }

    /// The same for ours, which sees `known` before.
    fn run_ours<'a>(
        &self,
        max_hosts: u32,
        direction: Direction,
        known: &[Vec<u8>],
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> f64 {
        self.with_ours(max_hosts, |ingress, egress| {
            let (sender, program) =
                if direction == Direction::In { (&self.from_lan, ingress) } else { (&self.to_lan, egress) };
            sender.send_all(known.iter().map(|frame| &frame[..]));
            self.measure(program, direction, frames)
        })
    }

    /// Works with ours attached, whose programs for ingress and egress it is told.
    fn with_ours<T>(&self, max_hosts: u32, work: impl FnOnce(BorrowedFd<'_>, BorrowedFd<'_>) -> T) -> T {
        let rules = Rules {
            lan4: vec![([192, 168, 1, 0].into(), 24), ([10, 0, 0, 0].into(), 8)],
            local4: vec![([198, 51, 100, 7].into(), 32)],
            lan6: vec![("2001:db8:1::".parse().unwrap(), 64)],
            local6: vec![("2001:db8:1::".parse().unwrap(), 56), ("2001:db8:ff::1".parse().unwrap(), 128)],
            ..Rules::default()
        };
        let settings = Settings { max_hosts, pin_dir: None, attach: Attach::Tcx };
        let mut accounting = Accounting::open(&settings).unwrap_or_else(|error| panic!("{error}"));
        accounting.attach(self.lan, "lan0", &rules).unwrap_or_else(|error| panic!("{error}"));
        work(accounting.program(Direction::In), accounting.program(Direction::Out))
    }

    /// Mean nanoseconds per run of a program that is attached, while each of so many cores sends the frame from the LAN.
    fn at_once(&self, program: BorrowedFd<'_>, cores: usize, frame: &[u8]) -> f64 {
        let before = stats(program);
        let begin = Barrier::new(cores);
        thread::scope(|scope| {
            for core in 0..cores {
                let begin = &begin;
                scope.spawn(move || {
                    net::stay_on(core);
                    let sender = net::Sender::new(self.host);
                    begin.wait();
                    sender.send_all(std::iter::repeat_n(frame, PACKETS));
                });
            }
        });
        mean(before, stats(program))
    }

    fn measure<'a>(
        &self,
        program: BorrowedFd<'_>,
        direction: Direction,
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> f64 {
        let sender = if direction == Direction::In { &self.from_lan } else { &self.to_lan };
        let before = stats(program);
        sender.send_all(frames);
        mean(before, stats(program))
    }
}

/// Nanoseconds of a run between two looks.
fn mean(before: (u64, u64), after: (u64, u64)) -> f64 {
    assert!(after.1 - before.1 > 10_000, "the program did not run; is {STATS} 1?");
    (after.0 - before.0) as f64 / (after.1 - before.1) as f64
}

/// Nanoseconds and runs of a program so far.
fn stats(program: BorrowedFd<'_>) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.trim().parse::<u64>().unwrap()
    };
    (number("run_time_ns:"), number("run_cnt:"))
}

fn udp(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, up: bool) -> Vec<u8> {
    let (from, to) = if up { (HOST, ROUTER) } else { (ROUTER, HOST) };
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(from, to);
    match (source.into(), destination.into()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            builder.ipv4(source.octets(), destination.octets(), 64).udp(1000, 53).write(&mut frame, &[7; 86]).unwrap();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            builder.ipv6(source.octets(), destination.octets(), 64).udp(1000, 53).write(&mut frame, &[7; 66]).unwrap();
        }
        _ => panic!("two families in one packet"),
    }
    frame
}

/// A datagram of each of `count` hosts.
fn hosts(count: u32, up: bool) -> Vec<Vec<u8>> {
    let internet = Ipv4Addr::new(203, 0, 113, 5);
    let hosts = (0..count).map(|i| Ipv4Addr::from(0x0a00_0000 + i));
    hosts.map(|host| if up { udp(host, internet, true) } else { udp(internet, host, false) }).collect()
}
