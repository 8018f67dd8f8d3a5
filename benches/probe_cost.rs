//! What a probe costs on the layer of sockets, and how well the kernel's stamps agree with those of a capture on the
//! wire: echo requests from one namespace to another over a veth pair. Needs root and tcpdump; `make bench` runs it.
//!
//! The time is all that this process spent, the kernel's work for both ends of the wire included, since a veth pair hands
//! packets over in the context of the sender. Answers are read when the next batch goes out: with stamps of the kernel
//! there is no need to be woken for each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the bench")]
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "runs tcpdump to compare with")]

#[path = "../tests/support/capture.rs"]
mod capture;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/raw_sockets/prober.rs"]
mod prober;
#[path = "../tests/raw_sockets/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use capture::{Capture, Key, Times};
use gatemeter::sys::timestamps::Wanted;
use lab::{GATEWAY4, GATEWAY6, Lab};
use prober::Prober;

const SECONDS: f64 = 4.0;

fn main() {
    let lab = Lab::builder().hosts(0).build();
    println!("family  rate/s  batch  queue stamps    us CPU per probe (user + system)  answered  stamped");
    for (to, name) in [(IpAddr::from(GATEWAY4), "IPv4"), (GATEWAY6.into(), "IPv6")] {
        for rate in [5000.0, 10_000.0] {
            for batch in [1, 16, 32, 64] {
                for queue in [false, true] {
                    lab.router.enter(|| cost(name, to, rate, batch, queue));
                }
            }
        }
    }
    println!(
        "\ncount  batch  apart      reported RTT minus captured RTT, us: least  median  99 %  most   median RTT, us"
    );
    for (batch, apart) in [(1, 100), (1, 1000), (1, 10_000), (16, 1600), (64, 6400)] {
        agree(&lab, 960, batch, Duration::from_micros(apart));
    }
}

fn cost(name: &str, to: IpAddr, rate: f64, batch: u16, queue: bool) {
    let mut prober = Prober::echo(to.is_ipv4(), Wanted { queue, hardware: false });
    prober.warm_up(to);
    let slots = (rate * SECONDS / f64::from(batch)) as u32;
    let gap = Duration::from_secs_f64(f64::from(batch) / rate);
    let (mut answered, mut stamped, mut sequence) = (0, 0, 0u16);
    let (start, before) = (Instant::now(), spent());
    for slot in 0..slots {
        sleep((start + gap * slot).saturating_duration_since(Instant::now()));
        prober.fill(to, (0..batch).map(|n| sequence.wrapping_add(n)));
        sequence = sequence.wrapping_add(batch);
        assert_eq!(prober.send(), []);
        prober.drain();
        answered += prober.replies.len();
        stamped += prober.sent.len();
        prober.replies.clear();
        prober.sent.clear();
        prober.queued.clear();
    }
    let (after, took) = (spent(), start.elapsed().as_secs_f64());
    let count = f64::from(slots) * f64::from(batch);
    let [user, system] = [0, 1].map(|n| (after[n] - before[n]) / count * 1e6);
    println!(
        "{name}  {:6.0}  {batch:5}  {queue:12}  {:6.2} ({user:.2} + {system:.2})  {answered}/{count} {stamped}/{count}",
        count / took,
        user + system
    );
}

/// Seconds of CPU time that this process has used, as user and in the kernel.
fn spent() -> [f64; 2] {
    // SAFETY: the structure is plain numbers, for which zero is a value.
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: the call fills one live structure.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    [usage.ru_utime, usage.ru_stime].map(|time| time.tv_sec as f64 + time.tv_usec as f64 / 1e6)
}

fn agree(lab: &Lab, count: u16, batch: u16, apart: Duration) {
    let capture = Capture::start(lab, &lab.router, "wan");
    let reported = lab.router.enter(|| {
        let to = GATEWAY4.into();
        let mut prober = Prober::echo(true, Wanted::default());
        prober.warm_up(to);
        // Numbers that the warming up does not have.
        for first in (100..100 + count).step_by(batch.into()) {
            prober.fill(to, first..first + batch);
            assert_eq!(prober.send(), []);
            sleep(apart);
            prober.drain();
        }
        prober.drain_until("all replies", |prober| prober.replies.len() == usize::from(count));
        let times = (100..).zip(prober.sent.values());
        times.map(|(n, sent)| (n, prober.replies[&n].unwrap() as i64 - *sent as i64)).collect::<BTreeMap<u16, i64>>()
    });
    let by_sequence = |packets: &BTreeMap<Key, Times>| -> BTreeMap<u16, i64> {
        packets.iter().filter_map(|((.., sequence), times)| Some((*sequence, times.round_trip()?))).collect()
    };
    let captured = by_sequence(&capture.finish(|packets| {
        let found = by_sequence(packets);
        reported.keys().all(|n| found.contains_key(n))
    }));
    let mut differences = Vec::new();
    for (n, rtt) in &reported {
        differences.push(rtt - captured[n]);
    }
    differences.sort_unstable();
    let mut rtts: Vec<i64> = reported.into_values().collect();
    rtts.sort_unstable();
    let us = |sorted: &[i64], share: usize| sorted[(sorted.len() - 1) * share / 100] as f64 / 1e3;
    let [least, median, high, most] = [0, 50, 99, 100].map(|share| us(&differences, share));
    println!("{count:5}  {batch:5}  {apart:?}  {least:.3}  {median:.3}  {high:.3}  {most:.3}  {:.3}", us(&rtts, 50));
}
