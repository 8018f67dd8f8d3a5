//! What Linux 6.18 delivered between two namespaces with a veth pair, which the fuzzer starts from, too: probes with the
//! identifier 0x1234 from 10.9.0.1 and fd09::1, to a host, behind it, and to what its firewall rejects.

use std::net::IpAddr;
use std::path::Path;

use super::icmp::{Echo, Problem, Quoted, Received, Report};
use super::stamps::{Abi, Control, Icmp, Notice};
use super::tcp::Answer;
use super::{icmp, tcp};

const X86_64: Abi = Abi { word: 8, is_big: false, sol_socket: 1 };
const COOKIE: u64 = 0x0102_0304_0506_0708;

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/probe").join(name)).unwrap()
}

fn control(name: &str, abi: &Abi) -> Control {
    Control::read(&capture(name), abi).unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn echo_report(problem: Problem, destination: &str, sequence: u16) -> Received {
    let probe = Quoted::Echo { identifier: 0x1234, sequence, cookie: Some(COOKIE) };
    Received::Error(Report { problem, destination: addr(destination), probe })
}

fn syn_report(destination: &str) -> Received {
    let probe = Quoted::Tcp { source_port: 61_234, destination_port: 9999, sequence: 7 };
    Received::Error(Report { problem: Problem::Prohibited, destination: addr(destination), probe })
}

#[test]
fn replies_of_a_kernel_are_read() {
    let reply = Received::Reply(Echo { identifier: 0x1234, sequence: 2, cookie: COOKIE });
    let packet = capture("v4-reply");
    let (outer, received) = icmp::read_v4(&packet).unwrap();
    assert_eq!((addr("10.9.0.2"), 64, reply), (outer.source.into(), outer.ttl, received));
    assert_eq!(icmp::read_v6(&capture("v6-reply")), Ok(reply));
}

#[test]
fn errors_of_a_kernel_are_read() {
    let v4 = |name: &str| icmp::read_v4(&capture(name)).unwrap().1;
    assert_eq!(v4("v4-unreachable"), echo_report(Problem::NetworkUnreachable, "10.8.0.9", 3));
    assert_eq!(v4("v4-ttl"), echo_report(Problem::TimeExceeded, "10.8.0.2", 4));
    assert_eq!(v4("v4-prohibited-syn"), syn_report("10.9.0.2"));
    let v6 = |name: &str| icmp::read_v6(&capture(name)).unwrap();
    assert_eq!(v6("v6-unreachable"), echo_report(Problem::NetworkUnreachable, "fd08::9", 3));
    assert_eq!(v6("v6-prohibited-syn"), syn_report("fd09::2"));
}

#[test]
fn answers_of_ports_are_read_though_no_card_finished_the_checksum() {
    let answer = |source_port, sequence, is_refusal| {
        Some(Answer { source_port, destination_port: 61_234, sequence, is_refusal })
    };
    let v4 = |name: &str| tcp::read_v4(&capture(name)).unwrap().1;
    assert_eq!((v4("tcp4-open"), v4("tcp4-closed")), (answer(7777, 5, false), answer(7778, 6, true)));
    let v6 = |name: &str| tcp::read_v6(&capture(name)).unwrap();
    assert_eq!((v6("tcp6-open"), v6("tcp6-closed")), (answer(7777, 5, false), answer(7778, 6, true)));
}

#[test]
fn control_messages_of_a_kernel_are_read() {
    let v4 = control("control-v4", &X86_64);
    assert!(v4.stamps.software.is_some() && v4.stamps.hardware.is_none());
    assert_eq!((v4.hop_limit, v4.ifindex, v4.destination), (Some(64), Some(2), Some(addr("10.9.0.1"))));
    let v6 = control("control-v6", &X86_64);
    assert!(v6.stamps.software.is_some());
    assert_eq!((v6.hop_limit, v6.ifindex, v6.destination), (Some(64), Some(2), Some(addr("fd09::1"))));

    let (queued, sent) = (control("control-queued-v4", &X86_64), control("control-sent-v4", &X86_64));
    assert_eq!((queued.notice, sent.notice), (Some(Notice::Queued(1)), Some(Notice::Sent(1))));
    assert!(queued.stamps.software < sent.stamps.software && sent.stamps.software < v4.stamps.software);
    assert_eq!(control("control-sent-v6", &X86_64).notice, Some(Notice::Sent(1)));

    for (name, kind, reporter) in [("control-failed-v4", 3, "10.9.0.2"), ("control-failed-v6", 1, "fd09::2")] {
        let icmp = Icmp { kind, code: 0, reporter: Some(addr(reporter)) };
        let number = 101;
        assert_eq!(control(name, &X86_64).notice, Some(Notice::Failed { number, icmp: Some(icmp), mtu: 0 }));
    }
}

#[test]
fn control_messages_of_small_machines_are_read() {
    for (end, is_big) in [("mips", true), ("mipsel", false)] {
        let abi = Abi { word: 4, is_big, sol_socket: 0xffff };
        let sent = control(&format!("control-sent-{end}"), &abi);
        assert_eq!((sent.notice, sent.stamps.hardware.map(u64::from)), (Some(Notice::Sent(7)), Some(77_000_000_006)));
        let old = control(&format!("control-old-{end}"), &abi);
        assert_eq!((old.hop_limit, old.stamps.software), (Some(57), sent.stamps.software));
    }
}
