//! The traffic program on the running kernel: made-up frames, real interfaces, takeovers.
#![allow(clippy::disallowed_methods, reason = "tests may run ip, tc and bpftool to set up and to check")]
#![allow(missing_docs)]

#[path = "support/net.rs"]
mod net;

use std::net::IpAddr;

use etherparse::PacketBuilder;
use gatemeter::collectors::traffic::codec::{Counters, HostKey, Rules};
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Hook, Settings};

#[test]
fn smoke() {
    net::enter_namespaces();
    let (lan, host) = net::veth("lan0", "host0");
    let settings = Settings { max_hosts: 1024, pin_dir: None, attach: Attach::Auto };
    let mut accounting = Accounting::open(&settings).unwrap_or_else(|e| panic!("{e}"));
    let rules = Rules { lan4: vec![("192.168.1.0".parse().unwrap(), 24)], ..Rules::default() };
    let hook = accounting.attach(lan, "lan0", &rules).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(hook, Hook::Tcx);
    let mut up = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0xfe])
        .ipv4([192, 168, 1, 10], [203, 0, 113, 5], 64)
        .udp(1000, 53)
        .write(&mut up, &[7; 100])
        .unwrap();
    let mut down = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xfe], [2, 0, 0, 0, 0, 1])
        .ipv4([203, 0, 113, 5], [192, 168, 1, 10], 64)
        .udp(53, 1000)
        .write(&mut down, &[7; 200])
        .unwrap();
    let sender = net::Sender::new(host);
    for _ in 0..10 {
        sender.send(&up);
    }
    let sender = net::Sender::new(lan);
    for _ in 0..5 {
        sender.send(&down);
    }
    let mut seen = Vec::new();
    accounting.read(|key, counters| seen.push((*key, *counters))).unwrap();
    let key = HostKey { mac: [2, 0, 0, 0, 0, 1], addr: IpAddr::from([192, 168, 1, 10]) };
    assert_eq!(
        seen,
        [(key, Counters { download_bytes: 5 * 242, download_packets: 5, upload_bytes: 1420, upload_packets: 10 })]
    );
}
