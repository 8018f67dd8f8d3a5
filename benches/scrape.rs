//! What a scrape costs with 10, 100 and 1,000 hosts, what the daemon weighs in memory and on flash, and what a
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
#[path = "../tests/support/usage.rs"]
mod usage;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use harness::{Setup, http};
use lab::Lab;
use lab::process::Background;
use usage::{cpu_nanoseconds, status_kb};

const SCRAPES: u32 = 200;
const ROUNDS: usize = 5;

fn main() {
    let lab = Lab::builder().hosts(1).build();
    println!("scrape: CPU per scrape, {ROUNDS} rounds of {SCRAPES} scrapes, median [lowest, highest]\n");
    println!("{:<34} {:>9} {:>24} {:>12}", "program", "page B", "us per scrape", "resident kB");
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
        measure(&lab, &format!("gatemeter, {hosts} hosts"), daemon.pid(), 9999);
        let status = daemon.stop();
        assert!(status.success(), "{status}");
        assert_eq!(setup.run(&["clean"]).status.code(), Some(0));
    }
    let log = lab.dir().join("node_exporter.log");
    let exporter = lab.router.start(&["prometheus-node-exporter", "--web.listen-address=:9100"], &log);
    answers(&lab, 9100, &exporter);
    measure(&lab, "prometheus-node-exporter", exporter.pid(), 9100);
    let binary = harness::binary();
    println!("\n{}: {} bytes", binary.display(), fs::metadata(&binary).unwrap().len());
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

fn measure(lab: &Lab, name: &str, pid: u32, port: u16) {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let mut length = 0;
    let mut rounds: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let before = cpu_nanoseconds(pid);
            for _ in 0..SCRAPES {
                let page = http::get(&lab.router, address, "/metrics", &[]).unwrap();
                assert_eq!(page.status, 200);
                length = page.body.len();
            }
            (cpu_nanoseconds(pid) - before) / u64::from(SCRAPES) / 1000
        })
        .collect();
    rounds.sort_unstable();
    let spread = format!("{} [{}, {}]", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    println!("{name:<34} {length:>9} {spread:>24} {:>12}", status_kb(pid, "VmRSS:"));
}
