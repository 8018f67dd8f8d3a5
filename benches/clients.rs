//! What the `clients` collector costs: an update with 250 clients and many flows, beside the same reading done with the
//! programs that network-metrics-exporter runs for it; and what counting costs each packet, as a set and as two rules for
//! each client. `make bench` runs it; it takes root.
//!
//! CPU time of the daemon is the kernel's own account of its threads (/proc/PID/task/TID/schedstat), work in the kernel
//! on its behalf included. CPU time of the other way is that of the reading process and of all its children
//! (/proc/PID/stat). Both run at the same time, once a second each, on the same router with the same churn.
//!
//! A packet that is sent into a veth pair is forwarded and delivered by the thread that sends it, or by the kernel's
//! ksoftirqd when that falls behind; the CPU time of both is what a packet costs, whoever else uses the machine.
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
#[path = "../tests/support/net.rs"]
mod net;
#[path = "../tests/support/report.rs"]
mod report;
#[path = "../tests/support/usage.rs"]
mod usage;

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Daemon, Setup, exposition};
use lab::crowd::{Crowd, Flows};
use lab::traffic::StopOnDrop;
use lab::{Lab, frames, process};
use report::{Budget, Peer, Rounds, Summary, shown};
use usage::{cpu_nanoseconds, largest_child_kb, median, status_kb, task_nanoseconds};

/// Clients of the router in the first part.
const CLIENTS: u16 = 250;
/// Flows of all clients together, in a step each.
const FLOWS: [usize; 2] = [20_000, 50_000];
/// Rounds of the first part, and seconds of each.
const ROUNDS: usize = 5;
const SECONDS: u64 = 6;
/// Clients in the steps of the second part, its rounds, and the packets in each.
const SIZES: [u16; 3] = [10, 100, 250];
const PACKET_ROUNDS: usize = 101;
const PACKETS: usize = 8_000;

/// What makes this program read once a second in the other way, with the first and the last seconds as its words.
const OTHER_WAY: &str = "--the-other-way";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == OTHER_WAY) {
        the_other_way();
        return;
    }
    let summary = Summary::new("clients");
    // Either part alone: `cargo bench --bench clients -- packets`.
    if !words.iter().any(|word| word == "packets") {
        updates(&summary);
    }
    if !words.iter().any(|word| word == "updates") {
        packets(&summary);
    }
}

// The first part: updates.

/// What network-metrics-exporter itself took for an update with 20,000 flows, first version and newest, in ms.
const NETWORK_METRICS: [f64; 2] = [315.0, 526.0];

fn updates(summary: &Summary) {
    println!("clients: an update, {CLIENTS} clients, {ROUNDS} rounds of {SECONDS} s");
    report::head(&["reading", "CPU per update, ms", "times ours", "resident, kB", "at most, kB"]);
    for count in FLOWS {
        let lab = tracking_lab();
        let crowd = lab.crowd(lab.host(1), CLIENTS);
        let script = "add table inet filter\n\
                      add chain inet filter forward { type filter hook forward priority filter; }\n\
                      add chain inet filter CLIENT_TRAFFIC\n\
                      add rule inet filter forward jump CLIENT_TRAFFIC\n";
        nft(&lab, &(script.to_owned() + &pairs_of_rules(&crowd, CLIENTS)));
        let flows = crowd.flows(count / usize::from(CLIENTS));
        let leases = lab.dir().join("leases");
        fs::write(&leases, crowd.leases()).unwrap();
        let leases = format!("clients.leases={}", leases.display());
        let flags = ["-e", "--collectors", "clients", "-o", "clients.interval=1", "--textfile", "none", "-o", &leases];
        let mut daemon = Setup::new(&lab).flags(&flags).start();
        let each = (count / usize::from(CLIENTS)) as f64;
        daemon.wait_until("every flow", |metrics| {
            let all = metrics.iter().filter(|(series, _)| series.starts_with("client_active_connections{"));
            (all.filter(|(_, value)| **value >= each).count() >= usize::from(CLIENTS)).then_some(())
        });
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stopping = StopOnDrop(&stop);
            scope.spawn(|| churn(&lab, &flows, &stop));
            side_by_side(&lab, &daemon, count, summary);
        });
        let log = daemon.stderr();
        let told: Vec<_> = log.lines().filter(|line| !line.starts_with("INFO")).collect();
        assert!(told.is_empty(), "{told:#?}");
        assert!(daemon.stop().success());
    }
}

/// A router that forgets closed connections after a second, so that flows end as fast as they begin.
fn tracking_lab() -> Lab {
    let lab = Lab::builder().hosts(1).nat().build();
    for (key, value) in [
        ("nf_conntrack_acct", "1"),
        ("nf_conntrack_udp_timeout", "7200"),
        ("nf_conntrack_udp_timeout_stream", "7200"),
        ("nf_conntrack_tcp_timeout_time_wait", "1"),
        ("nf_conntrack_tcp_timeout_close", "1"),
    ] {
        lab.router.sysctl(&format!("netfilter/{key}"), value);
    }
    lab
}

/// Our updates and those by the other way, in the same rounds.
fn side_by_side(lab: &Lab, daemon: &Daemon, count: usize, summary: &Summary) {
    let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), (0, 0));
    for _ in 0..ROUNDS {
        let other = lab.router.command(std::env::current_exe().unwrap());
        let other = thread::scope(|scope| {
            let other = scope.spawn(move || {
                let mut other = other;
                other.args([OTHER_WAY, &SECONDS.to_string()]);
                process::must(other, "").unwrap()
            });
            ours.push(per_update(daemon));
            other.join().unwrap()
        });
        let fields: Vec<f64> = other.split_whitespace().map(|field| field.parse().unwrap()).collect();
        theirs.push(fields[0]);
        peak = (peak.0.max(fields[1] as u64), peak.1.max(fields[2] as u64));
    }
    let memory = ["VmRSS:", "VmHWM:"].map(|name| shown(status_kb(daemon.pid(), name) as f64));
    let (ours, theirs) = (Rounds::from_iter(ours), Rounds::from_iter(theirs));
    let count = shown(count as f64);
    report::line(&[&format!("gatemeter, {count} flows"), &ours.text(), "1", &memory[0], &memory[1]]);
    let name = format!("nft -j, conntrack -L, ip neigh, {count} flows");
    let peak = format!("{} + {}", shown(peak.0 as f64), shown(peak.1 as f64));
    let times = shown(theirs.median() / ours.median());
    report::line(&[&name, &theirs.text(), &times, "", &peak]);
    let mut peers = vec![Peer::new("nft, conntrack, ip", theirs.median())];
    if count == "20,000" {
        let quoted = |ms| Peer::quoted("network-metrics-exporter", ms);
        peers.extend(NETWORK_METRICS.map(quoted));
    }
    let budget = if count == "20,000" { Budget::AtMost(6.0) } else { Budget::None };
    let what = format!("clients: CPU of an update, {CLIENTS} clients, {count} flows");
    summary.row(&what, budget, "ms", &ours, &peers);
}

/// Milliseconds of CPU per update over one round.
fn per_update(daemon: &Daemon) -> f64 {
    let updated = || {
        let metrics = exposition::parse(&daemon.page().unwrap()).unwrap();
        metrics["gatemeter_collector_last_success_timestamp_seconds{collector=\"clients\"}"]
    };
    let (begun, before) = (updated(), cpu_nanoseconds(daemon.pid()));
    thread::sleep(Duration::from_secs(SECONDS));
    let after = cpu_nanoseconds(daemon.pid());
    let updates = (updated() - begun).round();
    assert!(updates >= 1.0, "no update in {SECONDS} s");
    (after - before) as f64 / updates / 1e6
}

/// Fifty connections a second that carry a little and close, and datagrams in 500 of the flows.
fn churn(lab: &Lab, flows: &Flows, stop: &AtomicBool) {
    let (host, far) = (lab.host(1), &lab.internet);
    let listener = far.tcp_listener(far.v4, 0);
    let address = listener.local_addr().unwrap();
    let mut member = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        host.enter(|| {
            for _ in 0..5 {
                let mut near = std::net::TcpStream::connect(address).unwrap();
                let (mut far, _) = listener.accept().unwrap();
                near.write_all(&[1; 1000]).unwrap();
                far.read_exact(&mut [0; 1000]).unwrap();
            }
        });
        for _ in 0..5 {
            flows.exchange(member, 0..10, 100, 1000);
            member = (member + 1) % usize::from(CLIENTS);
        }
        thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
    }
}

/// Reads once a second what network-metrics-exporter reads, with the programs it runs, and takes out of it what it
/// needs, by plain search for words: less than its JSON and regular expressions take. Prints milliseconds of CPU per
/// update, and the memory of this process and of the largest of the others.
fn the_other_way() {
    let seconds: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let output = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (mut updates, mut peak) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let next = Instant::now() + Duration::from_secs(1);
        let rules = output(&["nft", "-j", "list", "chain", "inet", "filter", "CLIENT_TRAFFIC"]);
        let mut bytes: HashMap<&str, u64> = HashMap::new();
        for rule in rules.split("\"comment\": \"").skip(1) {
            let (comment, rest) = rule.split_once('"').unwrap();
            let count = rest.split_once("\"bytes\": ").unwrap().1;
            let count = count.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            bytes.insert(comment, count.parse().unwrap());
        }
        assert_eq!(bytes.len(), 2 * usize::from(CLIENTS));
        let connections = output(&["conntrack", "-L", "-o", "extended"]);
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for word in connections.split([' ', '\n']) {
            let address = word.strip_prefix("src=").or_else(|| word.strip_prefix("dst="));
            if let Some(address) = address.filter(|address| address.starts_with("10.77.")) {
                *counts.entry(address).or_default() += 1;
            }
        }
        assert_eq!(counts.len(), usize::from(CLIENTS));
        let neighbours = output(&["ip", "neigh", "show"]);
        let online = |line: &&str| ["REACHABLE", "STALE", "DELAY", "PROBE"].iter().any(|state| line.contains(state));
        assert!(neighbours.lines().filter(online).count() >= usize::from(CLIENTS));
        updates += 1;
        peak = peak.max(status_kb(std::process::id(), "VmHWM:"));
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // proc(5): ticks of this process and of its children that have ended, behind the name in parentheses.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    println!("{} {peak} {}", ticks as f64 * 10.0 / f64::from(updates), largest_child_kb());
}

// The second part: packets.

fn packets(summary: &Summary) {
    println!("\nclients: counting a packet, medians of {PACKET_ROUNDS} interleaved rounds of {PACKETS}");
    report::head(&["counting", "clients", "ns per packet", "rate against none", "ns more than none"]);
    let lab = Lab::builder().hosts(1).build();
    let table = our_table(&lab);
    let host = lab.host(1);
    let crowd = lab.crowd(host, SIZES[SIZES.len() - 1]);
    let frame = |&ip: &Ipv4Addr| {
        let macs = frames::Macs { source: host.mac, destination: lab.router_mac(host) };
        // Nobody is there, and over IPv4 the internet keeps silent about it.
        frames::udp(macs, IpAddr::V4(ip), IpAddr::from([198, 51, 100, 77]), &[7; 18])
    };
    let all: Vec<Vec<u8>> = crowd.members.iter().map(frame).collect();
    let sender = host.enter(|| net::Sender::new(lab::sys::if_index("eth0").unwrap() as u32));
    let set = |_: u16| table.clone();
    let rules = |size: u16| {
        "add table inet filter\n\
         add chain inet filter forward { type filter hook forward priority filter; }\n"
            .to_owned()
            + &pairs_of_rules(&crowd, size).replace("CLIENT_TRAFFIC", "forward")
    };
    let nothing = |_: u16| String::new();
    let empty =
        |_: u16| "table inet empty { chain forward { type filter hook forward priority filter + 10; }; }\n".to_owned();
    let ways: [(&str, &dyn Fn(u16) -> String); 4] =
        [("none", &nothing), ("no rule", &empty), ("a set", &set), ("two rules", &rules)];
    let mut figures = Figures::new();
    for _ in 0..PACKET_ROUNDS {
        for size in SIZES {
            for (name, script) in ways {
                lab.router.must(&["nft", "flush", "ruleset"]);
                nft(&lab, &script(size));
                let repeated = |count| all[..usize::from(size)].iter().cycle().take(count).map(|frame| &frame[..]);
                sender.send_all(repeated(PACKETS / 10));
                let before = lab.internet.counters("eth0").rx_packets;
                let begun = forwarding_nanoseconds();
                sender.send_all(repeated(PACKETS));
                let arrived = || {
                    let arrived = lab.internet.counters("eth0").rx_packets - before;
                    (arrived >= PACKETS as u64 * 999 / 1000).then_some(())
                };
                assert!(process::poll(process::LIMIT, arrived).is_some(), "packets are lost with {name}");
                let each = (forwarding_nanoseconds() - begun) as f64 / PACKETS as f64;
                figures.entry((name, size)).or_default().push(each);
            }
        }
    }
    tell_rates(&figures, &ways.map(|(name, _)| name), summary);
}

/// Nanoseconds per packet in each round, by the way of counting and the number of clients.
type Figures<'a> = HashMap<(&'a str, u16), Vec<f64>>;

fn tell_rates(figures: &Figures<'_>, ways: &[&str], summary: &Summary) {
    let mut rate_of = HashMap::new();
    for size in SIZES {
        for &name in ways {
            // Each round beside the same round without counting: the machine's pace changes in between.
            let rounds = figures[&(name, size)].iter().zip(&figures[&("none", size)]);
            let (mut rates, mut more): (Vec<f64>, Vec<f64>) =
                rounds.map(|(each, none)| (none / each, each - none)).unzip();
            let each = median(&mut figures[&(name, size)].clone());
            let (rate, more) = (median(&mut rates), median(&mut more));
            report::line(&[name, &size.to_string(), &shown(each), &shown(rate), &shown(more)]);
            rate_of.insert((name, size), rate);
        }
    }
    let most = SIZES[SIZES.len() - 1];
    let rate = |name| Rounds::from(rate_of[&(name, most)]);
    let what = format!("clients: forwarding rate with {most} clients counted, against none");
    // The budget is that it does not grow with clients, which is the next row.
    let peers = [Peer::new("two rules a client", rate("two rules").median())];
    summary.row(&what, Budget::None, "times", &rate("a set"), &peers);
    let kept = |name| rate_of[&(name, most)] / rate_of[&(name, SIZES[0])];
    let what = format!("clients: that rate with {most} clients over that with {}", SIZES[0]);
    let peers = [Peer::new("two rules a client", kept("two rules"))];
    summary.row(&what, Budget::AtLeast(0.95), "times", &Rounds::from(kept("a set")), &peers);
    println!();
}

/// The table as the daemon makes it, as text that nft takes.
fn our_table(lab: &Lab) -> String {
    let none = format!("clients.leases={}", lab.dir().join("none").display());
    // One subnet of IPv4 and two of IPv6, as most homes have.
    let flags = ["--collectors", "clients", "-o", &none, "-o", "clients.subnet=10.77.0.0/16/br-lan"];
    let flags_v6 = ["-o", "clients.subnet=2001:db8:1:1::/64", "-o", "clients.subnet=fd00:1:1::/64"];
    lab.router.must(&["ip", "addr", "add", "10.77.0.1/16", "dev", "br-lan"]);
    let mut daemon = Setup::new(lab).flags(&flags).flags(&flags_v6).start();
    daemon.wait_for("gatemeter_collector_up{collector=\"clients\"}", 1.0);
    daemon.kill9();
    let table = lab.router.must(&["nft", "-s", "list", "table", "inet", "gatemeter"]);
    lab.router.must(&["ip", "addr", "del", "10.77.0.1/16", "dev", "br-lan"]);
    // nft prints flags that it does not know as none, and then does not take that.
    table.lines().filter(|line| line.trim() != "flags").map(|line| format!("{line}\n")).collect()
}

fn pairs_of_rules(crowd: &Crowd, count: u16) -> String {
    let pair = |ip: &Ipv4Addr| {
        format!(
            "add rule inet filter CLIENT_TRAFFIC ip saddr {ip} counter comment \"tx_{ip}\"\n\
             add rule inet filter CLIENT_TRAFFIC ip daddr {ip} counter comment \"rx_{ip}\"\n"
        )
    };
    crowd.members.iter().take(usize::from(count)).map(pair).collect()
}

fn nft(lab: &Lab, script: &str) {
    let mut nft = lab.router.command("nft");
    nft.args(["-f", "-"]);
    process::must(nft, script).unwrap();
}

/// CPU time of this thread and of the kernel's threads that take over packets.
fn forwarding_nanoseconds() -> u64 {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let takes_over = |path: &PathBuf| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        name.starts_with("ksoftirqd/")
    };
    let ksoftirqd: u64 = processes.filter(takes_over).map(|path| task_nanoseconds(&path)).sum();
    ksoftirqd + task_nanoseconds(Path::new("/proc/thread-self"))
}
