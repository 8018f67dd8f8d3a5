//! What the traffic program costs per packet, on a veth pair in namespaces of its own, by the kernel's own figures
//! (kernel.bpf_stats_enabled). Needs root; `make bench` runs it.
//!
//! Every round measures each program on the same packets in turn: one that does nothing, ours, and for comparison the
//! least that can be called accounting (one constant subnet, one look-up by address, two adds). What counts is the
//! difference to the one that does nothing, which holds the cost of measuring.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the test")]
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "runs ip to set up")]

#[path = "../tests/support/bpf.rs"]
mod bpf;
#[path = "../tests/support/net.rs"]
mod net;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use etherparse::PacketBuilder;
use gatemeter::collectors::traffic::codec::Rules;
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Direction, Settings};
use gatemeter::sys::bpf::{Map, TCX_EGRESS, TCX_INGRESS, possible_cpus, tcx_attach};

const PACKETS: usize = 200_000;
const ROUNDS: usize = 7;
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

struct Veth {
    lan: u32,
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
    let veth = Veth { lan, from_lan: net::Sender::new(host), to_lan: net::Sender::new(lan) };
    let (lan4, internet4) = ([192, 168, 1, 10], [203, 0, 113, 5]);
    let lan6 = "2001:db8:1::10".parse::<Ipv6Addr>().unwrap();
    let internet6 = "2a00:1450::5".parse::<Ipv6Addr>().unwrap();
    let (mut arp_up, mut arp_down) = (udp(lan4, internet4, true), udp(internet4, lan4, false));
    arp_up[12..14].copy_from_slice(&[8, 6]);
    arp_down[12..14].copy_from_slice(&[8, 6]);

    println!("ns per packet above an empty program: median (lowest to highest of {ROUNDS} rounds of {PACKETS})");
    let cases = [
        ("accounted, IPv4", vec![udp(lan4, internet4, true)], vec![udp(internet4, lan4, false)]),
        ("accounted, IPv6", vec![udp(lan6, internet6, true)], vec![udp(internet6, lan6, false)]),
        ("accounted, 250 hosts", hosts(250, true), hosts(250, false)),
        ("ignored, LAN to LAN", vec![udp(lan4, [192, 168, 1, 11], true)], vec![udp([192, 168, 1, 11], lan4, false)]),
        ("ignored, not IP", vec![arp_up], vec![arp_down]),
    ];
    for (name, up, down) in &cases {
        for (direction, frames) in [(Direction::In, up), (Direction::Out, down)] {
            let repeated = || frames.iter().cycle().take(PACKETS).map(|frame| &frame[..]);
            let rounds = (0..ROUNDS).map(|_| {
                let empty = veth.run(&bpf::always(-1), direction, repeated());
                let ours = veth.run_ours(1024, direction, &[], repeated());
                // The sketch knows IPv4 only.
                let sketch = (frames[0][12..14] == [8, 0]).then(|| {
                    let (sketch, _map) = sketch(direction, frames);
                    veth.run(&sketch, direction, repeated()) - empty
                });
                (ours - empty, sketch.unwrap_or(f64::NAN))
            });
            report(name, direction, rounds);
        }
    }

    let many = hosts(50_000, true);
    let rounds = (0..ROUNDS).map(|_| {
        let empty = veth.run(&bpf::always(-1), Direction::In, many.iter().map(|frame| &frame[..]));
        let ours = veth.run_ours(65_536, Direction::In, &[], many.iter().map(|frame| &frame[..]));
        (ours - empty, f64::NAN)
    });
    report("new host each packet", Direction::In, rounds);
    let rounds = (0..ROUNDS).map(|_| {
        let empty = veth.run(&bpf::always(-1), Direction::In, many.iter().map(|frame| &frame[..]));
        let known = hosts(16, true);
        let ours = veth.run_ours(16, Direction::In, &known, many.iter().skip(16).map(|frame| &frame[..]));
        (ours - empty, f64::NAN)
    });
    report("no room in the table", Direction::In, rounds);
}

fn report(name: &str, direction: Direction, rounds: impl Iterator<Item = (f64, f64)>) {
    let (mut ours, mut sketches): (Vec<f64>, Vec<f64>) = rounds.unzip();
    let summary = |all: &mut Vec<f64>| {
        all.sort_by(f64::total_cmp);
        format!("{:6.1} ({:.1} to {:.1})", all[all.len() / 2], all[0], all[all.len() - 1])
    };
    let way = if direction == Direction::In { "ingress" } else { "egress" };
    let sketch = if sketches[0].is_nan() { String::new() } else { format!("   sketch {}", summary(&mut sketches)) };
    println!("{name:22} {way:8} gatemeter {}{sketch}", summary(&mut ours));
}

impl Veth {
    /// Mean nanoseconds per run of a program on these frames.
    fn run<'a>(&self, program: &OwnedFd, direction: Direction, frames: impl Iterator<Item = &'a [u8]>) -> f64 {
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
        let sender = if direction == Direction::In { &self.from_lan } else { &self.to_lan };
        sender.send_all(known.iter().map(|frame| &frame[..]));
        self.measure(accounting.program(direction), direction, frames)
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
        let after = stats(program);
        assert!(after.1 - before.1 > 10_000, "the program did not run; is {STATS} 1?");
        (after.0 - before.0) as f64 / (after.1 - before.1) as f64
    }
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

/// The comparison: IPv4 of one constant subnet (the first frame's /8), one look-up by address in a per-CPU table that
/// holds all hosts of `frames`, two adds; by hand, in the instructions of linux/bpf.h.
fn sketch(direction: Direction, frames: &[Vec<u8>]) -> (OwnedFd, Map) {
    const PERCPU_HASH: u32 = 5;
    let at: i16 = if direction == Direction::In { 26 } else { 30 };
    let table = bpf::map(PERCPU_HASH, 4, 32, 1024, 0);
    let fd = table.as_raw_fd();
    let cpus = possible_cpus().unwrap();
    let map = Map::new(table, cpus).unwrap();
    let offset = at as usize;
    for frame in frames {
        let _ = map.update(&frame[offset..offset + 4], &vec![0; 32 * cpus], 0);
    }
    let mask = u32::from_ne_bytes([255, 0, 0, 0]);
    let subnet = u32::from_ne_bytes([frames[0][offset], 0, 0, 0]);
    let ipv4 = i32::from(u16::from_ne_bytes([8, 0]));
    let mut code = Vec::new();
    let mut put = |op: u8, to: u8, from: u8, off: i16, imm: i32| {
        code.push(op);
        code.push(if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to });
        code.extend(off.to_ne_bytes());
        code.extend(imm.to_ne_bytes());
    };
    put(0xbf, 6, 1, 0, 0); //        r6 = r1
    put(0x61, 2, 1, 76, 0); //       r2 = data
    put(0x61, 3, 1, 80, 0); //       r3 = data_end
    put(0xbf, 4, 2, 0, 0); //        r4 = r2
    put(0x07, 4, 0, 0, 34); //       r4 += 34
    put(0x2d, 4, 3, 20, 0); //       if r4 > r3 goto out
    put(0x69, 4, 2, 12, 0); //       r4 = EtherType
    put(0x55, 4, 0, 18, ipv4); //    if r4 != IPv4 goto out
    put(0x61, 5, 2, at, 0); //       r5 = address
    put(0xbf, 4, 5, 0, 0); //        r4 = r5
    put(0x54, 4, 0, 0, mask as i32); // w4 &= mask
    put(0x56, 4, 0, 14, subnet as i32); // if w4 != subnet goto out
    put(0x63, 10, 5, -4, 0); //      key = r5
    put(0xbf, 2, 10, 0, 0); //       r2 = r10
    put(0x07, 2, 0, 0, -4); //       r2 += -4
    put(0x18, 1, 1, 0, fd); //       r1 = map
    put(0, 0, 0, 0, 0);
    put(0x85, 0, 0, 0, 1); //        call bpf_map_lookup_elem
    put(0x15, 0, 0, 7, 0); //        if r0 == 0 goto out
    put(0x61, 1, 6, 0, 0); //        r1 = len
    put(0x79, 2, 0, 0, 0); //        r2 = bytes
    put(0x0f, 2, 1, 0, 0); //        r2 += r1
    put(0x7b, 0, 2, 0, 0); //        bytes = r2
    put(0x79, 2, 0, 8, 0); //        r2 = packets
    put(0x07, 2, 0, 0, 1); //        r2 += 1
    put(0x7b, 0, 2, 8, 0); //        packets = r2
    put(0xb7, 0, 0, 0, -1); // out:  r0 = TC_ACT_UNSPEC
    put(0x95, 0, 0, 0, 0); //        exit
    (bpf::load(&code, 0).unwrap_or_else(|error| panic!("{error}")), map)
}
