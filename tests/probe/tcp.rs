//! Ports, as SYNs find them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use super::figures::{
    Figures, TARGETS, TIMEOUT, Who, asked, asked_until, compared, halt, lab, ms, section, setup, warm,
};
use crate::harness::PATIENCE;
use crate::lab::Lab;
use crate::lab::process::poll;
use crate::lab::responder::{Kind, Port, Rule};

#[test]
fn open_closed_and_filtered_ports_are_told_apart_and_left_without_a_half_open_connection() {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    far.default_rule(Rule::new().port(81, Port::Closed).port(82, Port::Filtered));
    let all = TARGETS.map(|target| [80, 81, 82].map(|port| Who::tcp(target, port))).concat();
    asked(&daemon, &format!("target={}&target={}&tcp_port=80&tcp_port=81&tcp_port=82", TARGETS[0], TARGETS[1]));
    let (figures, log) = compared(&daemon, &far, &all, 20, &[]);
    for (who, figures) in all.iter().zip(&figures) {
        let seen = who.seen(&log);
        let sent = seen.count();
        match who.tcp_port {
            Some(80) => {
                assert_eq!((figures.counts(), figures.count("packets_refused_total")), ((sent, sent), 0));
                // The kernel, which knows nothing of our SYNs, resets each of the answers.
                assert_eq!((seen.sent(Kind::SynAck), seen.resets()), (sent, sent));
            }
            Some(81) => {
                assert_eq!((figures.counts(), figures.count("packets_refused_total")), ((sent, sent), sent));
                assert_eq!((seen.sent(Kind::Reset), seen.resets()), (sent, 0));
            }
            _ => assert_eq!((figures.counts(), figures.lost("timeout")), ((sent, 0), sent)),
        }
    }
}

#[test]
fn a_syn_ack_that_is_sent_again_is_no_round_trip_of_a_second() {
    let lab = lab();
    let options = [("timeout", "2000")];
    let (far, daemon) = warm(&lab, &section(&options));
    far.default_rule(Rule::new().syn_ack_lost_every(3));
    let all = TARGETS.map(|target| Who::tcp(target, 80));
    all.iter().for_each(|who| _ = asked(&daemon, &who.query()));
    let (figures, log) = compared(&daemon, &far, &all, 30, &options);
    for (who, figures) in all.iter().zip(&figures) {
        let (seen, limit) = (who.seen(&log), ms(900));
        assert!(seen.late_for(limit) >= 10);
        assert_eq!(figures.counts(), (seen.count(), seen.answered_within(limit)));
        assert_eq!(figures.lost("timeout"), seen.late_for(limit));
        let longest = seen.delays_within(limit).max().unwrap();
        assert!(longest < ms(900) && figures.value("latency_seconds") < 0.9);
        // The latest may still be under way when all are decided.
        let name = who.series("packets_late_total", "");
        asked_until(&daemon, &who.query(), "late answers", |page| page[&name] == seen.late_for(limit) as f64);
    }
}

#[test]
fn losses_and_duplicates_of_syn_acks_are_counted() {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    far.default_rule(Rule::new().lose_every(4).duplicate_every(3).ttl_alternating(40, 50));
    let all = TARGETS.map(|target| Who::tcp(target, 22));
    all.iter().for_each(|who| _ = asked(&daemon, &who.query()));
    let (figures, log) = compared(&daemon, &far, &all, 24, &[]);
    for (who, figures) in all.iter().zip(&figures) {
        let seen = who.seen(&log);
        assert_eq!(figures.counts(), (seen.count(), seen.answered_within(TIMEOUT)));
        assert_eq!((figures.lost("timeout"), seen.duplicates() > 0), (seen.lost(), true));
        assert_eq!(figures.count("packets_duplicate_total"), seen.duplicates());
        // Duplicates do not change it, as they have the same.
        let firsts: Vec<u8> = seen.requests.iter().filter_map(|request| Some(request.sound().next()?.ttl)).collect();
        let changes = firsts.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(figures.count("reply_ttl_changes_total"), changes);
    }
}

#[test]
fn a_real_host_keeps_no_half_open_connection_and_sees_no_connection_at_all() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    host.must(&[
        "nft",
        "add table inet lab; add chain inet lab in { type filter hook input priority 0; }; \
                        add rule inet lab in tcp dport 7002 drop",
    ]);
    let listeners = [host.tcp_listener(host.v4, 7000), host.tcp_listener(host.v6, 7000)];
    let daemon = setup(&lab, &section(&[])).start();
    let all: Vec<Who> = [host.v4.into(), host.v6.into()]
        .into_iter()
        .flat_map(|ip| [7000, 7001, 7002].map(|port| Who { ip, tcp_port: Some(port) }))
        .collect();
    let query = format!("target={}&target={}&tcp_port=7000&tcp_port=7001&tcp_port=7002", host.v4, host.v6);
    let page = asked_until(&daemon, &query, "30 probes of each", |page| {
        all.iter().all(|who| page[&who.series("packets_sent_total", "")] >= 30.0)
    });
    for who in &all {
        let figures = Figures::of(*who, &page);
        let (sent, answered) = figures.counts();
        let expected = match who.tcp_port {
            Some(7000) => (sent, 0),
            Some(7001) => (sent, sent),
            _ => (0, 0),
        };
        assert_eq!((answered, figures.count("packets_refused_total")), expected, "{who:?}");
    }
    halt(&daemon, &[], "");
    let half_open = || host.must(&["ss", "-Htan", "state", "syn-recv"]);
    assert!(poll(PATIENCE, || half_open().is_empty().then_some(())).is_some(), "{}", half_open());
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // Nor does the router have any.
    assert_eq!(lab.router.must(&["ss", "-Htan", "state", "syn-sent"]), "");
}

#[test]
fn a_firewall_that_tracks_connections_is_left_without_half_open_ones() {
    let lab = Lab::builder().hosts(0).nat().build();
    let _listener = lab.internet.tcp_listener(lab.internet.v4, 7000);
    let daemon = setup(&lab, &section(&[])).start();
    let who = Who { ip: lab.internet.v4.into(), tcp_port: Some(7000) };
    let answered = who.series("packets_recv_total", "");
    asked_until(&daemon, &who.query(), "answers", |page| page[&answered] >= 40.0);
    halt(&daemon, &[], "");
    // Each port is used again and again, and none is left in the middle of a handshake once the last probe is over.
    let mut last = String::new();
    let closed = poll(PATIENCE, || {
        last = lab.router.must(&["conntrack", "-L", "-p", "tcp"]);
        (!["SYN_RECV", "SYN_SENT", "ESTABLISHED"].iter().any(|state| last.contains(state))).then_some(())
    });
    assert!(closed.is_some(), "{last}");
    let tracked = last.lines().filter(|line| line.contains("dport=7000")).count();
    assert!((1..=16).contains(&tracked), "{last}");
}

#[test]
fn connections_of_the_machine_itself_are_not_disturbed() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    let _server = host.start(&["iperf3", "-s"], &lab.dir().join("iperf3"));
    let listens = || host.must(&["ss", "-Htln"]).contains(":5201").then_some(());
    assert!(poll(PATIENCE, listens).is_some());
    let daemon = setup(&lab, &section(&[("interval", "10")])).start();
    let who = Who { ip: host.v4.into(), tcp_port: Some(5201) };
    let answered = who.series("packets_recv_total", "");
    let before = asked_until(&daemon, &who.query(), "answers", |page| page[&answered] >= 10.0)[&answered];

    // A connection that was there before, and is used all the while.
    let listener = host.tcp_listener(host.v4, 7000);
    let mut mine = lab.router.tcp_connect((host.v4, 7000).into()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    asked(&daemon, &Who { ip: host.v4.into(), tcp_port: Some(7000) }.query());
    let address = host.v4.to_string();
    let bulk = lab.router.must(&["iperf3", "-J", "-c", &address, "-n", "20M"]);
    assert!(bulk.contains("\"sum_received\"") && !bulk.contains("\"error\""), "{bulk}");
    let page = asked_until(&daemon, &who.query(), "more answers", |page| page[&answered] >= before + 20.0);
    assert_eq!(Figures::of(who, &page).causes(), []);
    mine.write_all(b"still there").unwrap();
    let mut heard = [0; 11];
    theirs.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still there");
}
