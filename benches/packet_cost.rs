//! What the traffic program costs per packet, on a veth pair in namespaces of its own, from the kernel's own figures
//! (kernel.bpf_stats_enabled). `make bench` runs it; it needs root.
#![allow(missing_docs)]

#[path = "../tests/support/net.rs"]
mod net;

use std::fs;
use std::os::fd::AsRawFd as _;

use etherparse::PacketBuilder;
use gatemeter::collectors::traffic::codec::Rules;
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Direction, Settings};

const PACKETS: usize = 200_000;
const ROUNDS: usize = 5;
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// Nanoseconds and runs of a program so far.
fn stats(accounting: &Accounting, direction: Direction) -> (u64, u64) {
    let fd = accounting.program(direction).unwrap();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.trim().parse::<u64>().unwrap()
    };
    (number("run_time_ns:"), number("run_cnt:"))
}

fn udp4(source: [u8; 4], destination: [u8; 4], up: bool) -> Vec<u8> {
    let (from, to) = if up { (HOST, ROUTER) } else { (ROUTER, HOST) };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from, to).ipv4(source, destination, 64).udp(1000, 53).write(&mut frame, &[7; 86]).unwrap();
    frame
}

fn udp6(source: [u8; 16], destination: [u8; 16], up: bool) -> Vec<u8> {
    let (from, to) = if up { (HOST, ROUTER) } else { (ROUTER, HOST) };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from, to).ipv6(source, destination, 64).udp(1000, 53).write(&mut frame, &[7; 66]).unwrap();
    frame
}

fn main() {
    net::enter_namespaces();
    let before = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").unwrap();
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").unwrap();
    let result = std::panic::catch_unwind(measure);
    fs::write("/proc/sys/kernel/bpf_stats_enabled", before).unwrap();
    if result.is_err() {
        std::process::exit(1);
    }
}

fn measure() {
    let (lan, host) = net::veth("lan0", "host0");
    let settings = Settings { max_hosts: 1024, pin_dir: None, attach: Attach::Auto };
    let start = std::time::Instant::now();
    let mut accounting = Accounting::open(&settings).unwrap_or_else(|error| panic!("{error}"));
    println!("open: {:?}", start.elapsed());
    let rules = Rules {
        lan4: vec![([192, 168, 1, 0].into(), 24)],
        local4: vec![([198, 51, 100, 7].into(), 32)],
        lan6: vec![("2001:db8:1::".parse().unwrap(), 64)],
        local6: vec![("2001:db8:1::".parse().unwrap(), 56)],
        ..Rules::default()
    };
    let start = std::time::Instant::now();
    accounting.attach(lan, "lan0", &rules).unwrap_or_else(|error| panic!("{error}"));
    println!("attach: {:?}", start.elapsed());

    let lan6 = "2001:db8:1::10".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let internet6 = "2a00:1450::5".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut arp = udp4([0; 4], [0; 4], true);
    arp[12..14].copy_from_slice(&[8, 6]);
    let cases = [
        (
            "accounted v4",
            udp4([192, 168, 1, 10], [203, 0, 113, 5], true),
            udp4([203, 0, 113, 5], [192, 168, 1, 10], false),
        ),
        ("accounted v6", udp6(lan6, internet6, true), udp6(internet6, lan6, false)),
        (
            "LAN to LAN v4",
            udp4([192, 168, 1, 10], [192, 168, 1, 11], true),
            udp4([192, 168, 1, 11], [192, 168, 1, 10], false),
        ),
        ("not IP", arp.clone(), arp),
    ];
    let from_lan = net::Sender::new(host);
    let to_lan = net::Sender::new(lan);
    let packets = std::env::var("PACKETS").ok().and_then(|n| n.parse().ok()).unwrap_or(PACKETS);
    for (name, up, down) in &cases {
        for (direction, sender, frame) in [(Direction::In, &from_lan, up), (Direction::Out, &to_lan, down)] {
            let mut rounds: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let (ns, runs) = stats(&accounting, direction);
                    sender.send_all(std::iter::repeat_n(&frame[..], packets));
                    let (ns2, runs2) = stats(&accounting, direction);
                    assert!((runs2 - runs) as usize >= packets);
                    (ns2 - ns) as f64 / (runs2 - runs) as f64
                })
                .collect();
            rounds.sort_by(f64::total_cmp);
            println!(
                "{name:14} {direction:?}  {:.1} ns  ({:.1} to {:.1})",
                rounds[ROUNDS / 2],
                rounds[0],
                rounds[ROUNDS - 1]
            );
        }
    }
}
