//! What a scrape costs with 10, 100 and 1,000 hosts, what the daemon weighs in memory, and what a
//! node_exporter of the same machine takes for its own page in the same run.
//!
//! CPU time is the kernel's own account of each thread (/proc/PID/task/TID/schedstat, nanoseconds), kernel work on behalf
//! of the process included. `make bench` runs it; it takes root.

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
#[path = "../tests/support/report.rs"]
mod report;
#[path = "../tests/support/usage.rs"]
mod usage;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use harness::{Setup, http};
use lab::Lab;
use lab::process::Background;
use report::{Budget, Peer, Rounds, Summary, shown};
use usage::{cpu_nanoseconds, status_kb};

const SCRAPES: u32 = 200;
const ROUNDS: usize = 5;

fn main() {
    let lab = Lab::builder().hosts(1).build();
    println!("scrape: {ROUNDS} rounds of {SCRAPES} scrapes");
    report::head(&["program", "page, bytes", "CPU of a scrape, us", "resident, kB"]);
    let mut ours = Rounds::default();
    for hosts in [10, 100, 1000] {
        let flags = ["-e", "-t", "1", "-4", "192.168.0.0/16/br-lan", "-o", "traffic.unknown_hosts=1"];
        let setup = Setup::new(&lab).flags(&flags);
        let mut daemon = setup.start();
        seen(&lab, hosts);
        let wanted = format!("{hosts} hosts");
        daemon.wait_until(&wanted, |metrics| {
            let known = *metrics.get("gatemeter_traffic_hosts{family=\"ipv4\"}")?;
            (known >= f64::from(hosts)).then_some(())
        });
        ours = measure(&lab, &format!("gatemeter, {hosts} hosts"), daemon.pid(), 9999);
        let status = daemon.stop();
        assert!(status.success(), "{status}");
        assert_eq!(setup.run(&["clean"]).status.code(), Some(0));
    }
    let log = lab.dir().join("node_exporter.log");
    let exporter = lab.router.start(&["prometheus-node-exporter", "--web.listen-address=:9100"], &log);
    answers(&lab, 9100, &exporter);
    let theirs = measure(&lab, "prometheus-node-exporter, its defaults", exporter.pid(), 9100);
    let peer = Peer::new("node_exporter, its defaults", theirs.median());
    Summary::new("scrape").row("a scrape of 1,000 clients: CPU", Budget::AtMost(5000.0), "us", &ours, &[peer]);
    println!();
}

/// Lets the router see one packet to the internet from each of so many LAN addresses.
fn seen(lab: &Lab, hosts: u32) {
    let host = lab.host(1);
    let socket = host.packet_socket(&host.ifname);
    let macs = lab::frames::Macs { source: host.mac, destination: lab.router_mac(host) };
    for n in 0..hosts {
        let source = IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 64, 0)) + n));
        let frame = lab::frames::udp(macs, source, lab::GATEWAY4.into(), b"here");
        socket.send(&frame).unwrap();
    }
}

fn answers(lab: &Lab, port: u16, program: &Background) {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let up = lab::process::poll(harness::PATIENCE, || http::get(&lab.router, address, "/metrics", &[]).ok());
    assert!(up.is_some_and(|page| page.status == 200), "process {} does not serve port {port}", program.pid());
}

fn measure(lab: &Lab, name: &str, pid: u32, port: u16) -> Rounds {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let mut length = 0;
    let rounds = (0..ROUNDS).map(|_| {
        let before = cpu_nanoseconds(pid);
        for _ in 0..SCRAPES {
            let page = http::get(&lab.router, address, "/metrics", &[]).unwrap();
            assert_eq!(page.status, 200);
            length = page.body.len();
        }
        (cpu_nanoseconds(pid) - before) as f64 / f64::from(SCRAPES) / 1e3
    });
    let rounds: Rounds = rounds.collect();
    let resident = status_kb(pid, "VmRSS:") as f64;
    report::line(&[name, &shown(length as f64), &rounds.text(), &shown(resident)]);
    rounds
}
