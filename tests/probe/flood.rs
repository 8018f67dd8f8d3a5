//! Somebody sends forged replies as fast as a link takes them.

use etherparse::PacketBuilder;

use super::figures::{Figures, Who, asked, decided, halt, on_record, section, setup};
use crate::harness::{Daemon, Documented, PATIENCE};
use crate::lab::process::poll;
use crate::lab::responder::{Responder, Rule};
use crate::lab::{Lab, Node};

const IDENTIFIER: u16 = 4711;

fn ignored(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metrics()[&format!("gatemeter_probe_ignored_packets_total{{reason=\"{reason}\"}}")]
}

/// Echo replies with our identifier, in the name of a target, with any cookie.
fn forged(lab: &Lab, host: &Node, from: [u8; 4], number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(host.mac, lab.router_mac(host))
        .ipv4(from, lab.router.v4.octets(), 64)
        .icmpv4_echo_reply(IDENTIFIER, number as u16)
        .write(&mut frame, &[&number.to_be_bytes()[..], &[0x5a; 52]].concat())
        .unwrap();
    frame
}

#[test]
fn figures_stay_right_and_what_is_forged_is_counted() {
    let lab = Lab::builder().hosts(1).build();
    let far = Responder::builder(&lab.router).rule(Rule::new().lose_every(5)).build();
    // Whoever forges addresses is not asked where from.
    for interface in ["all", "br-lan"] {
        lab.router.sysctl(&format!("ipv4/conf/{interface}/rp_filter"), "0");
    }
    let identifier = IDENTIFIER.to_string();
    let options = [("identifier", identifier.as_str())];
    let daemon = setup(&lab, &section(&options)).start();
    let [target, other] = [Who::icmp("198.18.0.1"), Who::icmp("198.18.0.2")];
    asked(&daemon, "target=198.18.0.1");
    on_record(&far, target, 5);
    let host = lab.host(1);
    let socket = host.packet_socket("eth0");
    // In portions that there is room for, each of them is counted: in the name of the target, and of nobody.
    let mut sent = 0;
    for _ in 0..20 {
        for _ in 0..50 {
            socket.send(&forged(&lab, host, [198, 18, 0, 1], sent)).unwrap();
            socket.send(&forged(&lab, host, [198, 18, 77, 1], sent)).unwrap();
            sent += 2;
        }
        let counted = || (ignored(&daemon, "foreign") == f64::from(sent)).then_some(());
        if poll(PATIENCE, counted).is_none() {
            panic!("{} of {sent} are counted", ignored(&daemon, "foreign"));
        }
        if sent >= 400 {
            break;
        }
    }
    // Then as fast as it goes.
    for number in 0..60_000 {
        let frame = forged(&lab, host, [198, 18, 0, 1], number);
        // A full queue is nothing to wait for.
        _ = socket.send(&frame);
    }
    asked(&daemon, "target=198.18.0.2");
    on_record(&far, other, 10);
    halt(&daemon, &options, "");
    let all = [target, other];
    let (figures, log) = decided(&daemon, &far, &all);
    let mut lost = 0;
    for (who, figures) in all.iter().zip(&figures) {
        lost += check(figures, who.seen(&log).count(), who.seen(&log).delays().count());
    }
    let overflows = daemon.wait_until("what there was no room for", |metrics| {
        let overflows = metrics["gatemeter_probe_receive_overflows_total"] as usize;
        (overflows >= lost).then_some(overflows)
    });
    // What there was no room for was forged or ours; what the link had none for never came.
    let foreign = ignored(&daemon, "foreign") as usize;
    assert!(foreign > sent as usize, "{foreign} of {sent}");
    assert!(foreign + overflows <= sent as usize + 60_000 + lost, "{foreign} and {overflows}");
    Documented::of("Forged echo replies").by_metrics(&daemon);
    assert_eq!((ignored(&daemon, "malformed"), daemon.metrics()[super::figures::UP]), (0.0, 1.0));
}

/// Nothing is made up; returns how many of the answers are lost.
fn check(figures: &Figures, sent: usize, answered: usize) -> usize {
    let counts = figures.counts();
    assert_eq!(counts.0, sent);
    assert!(counts.1 <= answered, "{counts:?} of {answered}");
    for name in ["packets_duplicate_total", "packets_late_total", "packets_reordered_total", "reply_ttl_changes_total"]
    {
        assert_eq!(figures.count(name), 0, "{name}");
    }
    answered - counts.1
}
