//! A real DNS server: dnsmasq on the router, which knows what it is told and asks nobody else.

use std::fs;
use std::net::SocketAddr;

use super::Lab;
use super::process::{self, Background};

/// Starts it at an address and port of the router, with these further words, such as `--host-record=nas.lan,192.0.2.1`,
/// and waits until it listens.
pub fn start(lab: &Lab, listen: SocketAddr, words: &[&str]) -> Background {
    let log = lab.dir().join("dns.log");
    let _ = fs::remove_file(&log);
    let (address, port) = (format!("--listen-address={}", listen.ip()), format!("--port={}", listen.port()));
    let mut all = vec![
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--log-facility=-",
        "--pid-file",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        &address,
        &port,
    ];
    all.extend(words);
    let daemon = lab.router.start(&all, &log);
    // The port in the kernel's table of UDP sockets.
    let port = format!(":{:04X} ", listen.port());
    let bound = || lab.router.read("/proc/thread-self/net/udp").contains(&port).then_some(());
    if process::poll(process::LIMIT, bound).is_none() {
        panic!("dnsmasq does not start:\n{}", fs::read_to_string(log).unwrap_or_default());
    }
    daemon
}
