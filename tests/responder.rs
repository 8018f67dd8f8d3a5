//! The far end that the prober is measured against, measured by others first: ping, fping, tcpdump, the kernel's TCP
//! and the kernel's stamps.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod lab;

#[path = "responder/faults.rs"]
mod faults;
#[path = "responder/lifetime.rs"]
mod lifetime;
#[path = "raw_sockets/prober.rs"]
mod prober;
#[path = "responder/tcp.rs"]
mod tcp;
#[path = "responder/times.rs"]
mod times;
#[path = "raw_sockets/wire.rs"]
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use lab::{Lab, Node};

/// An address of either family that a responder answers for.
const TARGETS: [&str; 2] = ["198.18.0.1", "fd00:18::1"];

fn lab() -> Lab {
    Lab::builder().hosts(0).build()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What ping prints on `count` requests, 10 ms or more apart; it waits two seconds for the last reply.
fn ping(node: &Node, target: &str, count: usize) -> String {
    let count = count.to_string();
    let output = node.run(&["ping", "-n", "-c", &count, "-i", "0.01", "-W", "2", target]);
    output.stdout + &output.stderr
}

/// Sequence numbers of the replies that ping prints, in its order.
fn sequences(printed: &str) -> Vec<usize> {
    let replies = printed.lines().filter(|line| line.contains(" bytes from "));
    replies.map(|line| field(line, "icmp_seq=").parse().unwrap()).collect()
}

/// What follows `name` up to the next space.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().unwrap()
}
