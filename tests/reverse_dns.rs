//! Names from a real dnsmasq by reverse DNS, with servers in the way that are dead, lie or talk nonsense.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption must stop the test")]

mod lab;

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use async_io::Timer;
use gatemeter::names::directory::Settings;
use gatemeter::names::{Directory, Mac, ReverseDns, Sources};
use lab::process::{Background, LIMIT};
use lab::{Lab, Node, dns};
use smol::future::FutureExt as _;

const NAS4: &str = "192.168.1.20";
const NAS6: &str = "fd00:1:1::20";
const NAS: Mac = Mac([2, 0x1a, 0, 0, 1, 20]);

/// dnsmasq on the router, which knows `nas.home.arpa` by two addresses.
fn start_dnsmasq(lab: &Lab) -> Background {
    let record = format!("--host-record=nas.home.arpa,{NAS4},{NAS6}");
    // What providers make up for addresses without a name.
    let made_up = "--ptr-record=21.1.168.192.in-addr.arpa,host-192-168-1-21.home.arpa";
    dns::start(lab, (lab.router.v4, 53).into(), &[&record, made_up])
}

/// The router's directory of names, which asks these servers or those of its resolv.conf.
fn directory(lab: &Lab, servers: Vec<SocketAddr>) -> Directory {
    let resolv_conf = lab.dir().join("resolv.conf");
    fs::write(&resolv_conf, format!("search home.arpa\nnameserver {}\n", lab.router.v4)).unwrap();
    Directory::new(Settings {
        sources: Sources { uci_dir: lab.dir().to_owned(), leases: vec![lab.dir().join("none")], hosts: Vec::new() },
        cache: Some(cache(lab)),
        reverse_dns: Some(ReverseDns { servers, resolv_conf }),
    })
}

fn cache(lab: &Lab) -> PathBuf {
    lab.dir().join("names")
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Collects as a daemon does until each client has its name: takes notice of all, then lets the directory work.
fn until_named(directory: &mut Directory, clients: &[(Option<&Mac>, IpAddr)]) {
    let deadline = Instant::now() + LIMIT;
    loop {
        directory.refresh(Instant::now());
        for (mac, addr) in clients {
            directory.learned(*mac, addr, Instant::now());
        }
        if clients.iter().all(|(mac, addr)| directory.name(*mac, addr).is_some()) {
            return;
        }
        assert!(Instant::now() < deadline, "not all have a name: {directory:#?}");
        let overdue = async { _ = Timer::at(deadline).await };
        smol::block_on(directory.work().or(overdue));
    }
}

#[test]
fn both_addresses_of_a_host_are_named_and_the_name_is_kept() {
    let lab = Lab::builder().hosts(1).build();
    let _dnsmasq = start_dnsmasq(&lab);
    lab.router.enter(|| {
        let mut directory = directory(&lab, Vec::new());
        let made_up = addr("192.168.1.21");
        directory.learned(None, &made_up, Instant::now());
        until_named(&mut directory, &[(None, addr(NAS4)), (None, addr(NAS6))]);
        assert_eq!(directory.name(None, &addr(NAS4)), Some("nas"));
        assert_eq!(directory.name(None, &addr(NAS6)), Some("nas"));
        assert_eq!(directory.name(None, &made_up), None);
        // Its MAC address becomes known: all its addresses are one client's.
        until_named(&mut directory, &[(Some(&NAS), addr(NAS6)), (Some(&NAS), addr(NAS4))]);
        assert_eq!(directory.name(Some(&NAS), &addr("fd00:1:1::99")), Some("nas"));
    });
    let kept = "# gatemeter names 1\n02:1A:00:00:01:14 nas dns fd00:1:1::20 192.168.1.20\n";
    assert_eq!(fs::read_to_string(cache(&lab)).unwrap(), kept);
}

#[test]
fn a_dead_server_is_followed_by_the_next() {
    let lab = Lab::builder().hosts(1).build();
    let _dnsmasq = start_dnsmasq(&lab);
    // Nobody has the first address, and nobody listens at the second.
    for dead in [addr("192.168.1.200"), lab.host(1).v4.into()] {
        lab.router.enter(|| {
            let mut directory = directory(&lab, vec![(dead, 53).into(), (lab.router.v4, 53).into()]);
            until_named(&mut directory, &[(None, addr(NAS4))]);
            assert_eq!(directory.name(None, &addr(NAS4)), Some("nas"));
            directory.read_only();
        });
    }
}

#[test]
fn garbage_and_answers_from_another_port_do_not_count() {
    let lab = Lab::builder().hosts(1).build();
    let _dnsmasq = start_dnsmasq(&lab);
    let liar = lab.host(1);
    let (asked, other) = (liar.udp_socket(liar.v4, 53), liar.udp_socket(liar.v4, 0));
    let lies = thread::spawn(move || lie(&asked, &other));
    lab.router.enter(|| {
        let mut directory = directory(&lab, vec![(liar.v4, 53).into(), (lab.router.v4, 53).into()]);
        until_named(&mut directory, &[(None, addr(NAS4))]);
        assert_eq!(directory.name(None, &addr(NAS4)), Some("nas"));
    });
    lies.join().unwrap();
}

/// Answers one question with garbage from the right port, and with a well-made lie from the wrong one.
fn lie(asked: &UdpSocket, other: &UdpSocket) {
    asked.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buf = [0; 512];
    let (len, from) = asked.recv_from(&mut buf).unwrap();
    let question = &buf[..len];
    for garbage in [&b""[..], b"nonsense", &[0xff; 600], question] {
        asked.send_to(garbage, from).unwrap();
    }
    let mut lie = question.to_vec();
    (lie[2], lie[3], lie[7]) = (0x85, 0x80, 1);
    lie.extend(b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c\x00\x05\x03lie\x00");
    other.send_to(&lie, from).unwrap();
    // With the right port, but another number.
    (lie[0], lie[1]) = (!lie[0], lie[1]);
    asked.send_to(&lie, from).unwrap();
}

#[test]
fn a_router_without_a_server_still_collects() {
    let lab = Lab::builder().hosts(1).build();
    let node: &Node = &lab.router;
    node.enter(|| {
        let mut directory = directory(&lab, Vec::new());
        for _ in 0..3 {
            directory.refresh(Instant::now());
            directory.learned(None, &addr(NAS4), Instant::now());
            assert!(smol::block_on(smol::future::poll_once(directory.work())).is_none());
        }
        assert_eq!(directory.name(None, &addr(NAS4)), None);
    });
}
