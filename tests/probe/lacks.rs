//! Systems that lack something; `check` and `once`.

use std::fs;

use super::figures::{TARGETS, UP, Who, ask, asked, asked_until, lab, section, setup, target, told, warm_up};
use crate::harness::confine::{CAP_NET_ADMIN, CAP_NET_RAW};
use crate::harness::{Confine, Daemon, Setup, exposition};
use crate::lab::Lab;
use crate::lab::responder::{Responder, Rule};

#[test]
fn without_the_capability_it_says_what_to_grant_and_the_others_go_on() {
    let lab = Lab::builder().hosts(1).build();
    let nowhere = lab.dir().join("none").display().to_string();
    let setup = Setup::new(&lab)
        .uci("gatemeter", &(section(&[]) + &target("198.51.100.10", &[])))
        .flags(&["-e", "-t", "1", "--collectors", "clients,probe", "-o", &format!("clients.leases={nowhere}")])
        .confined(Confine::default().capabilities(&[CAP_NET_ADMIN]));
    let mut daemon = setup.start();
    daemon.wait_for(UP, 0.0);
    daemon.wait_for("gatemeter_collector_up{collector=\"clients\"}", 1.0);
    daemon.wait_until("two tries", |metrics| {
        (metrics["gatemeter_collector_errors_total{collector=\"probe\"}"] >= 2.0).then_some(())
    });
    let said = daemon.stderr();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("[probe]") && lines[0].contains("CAP_NET_RAW"), "{said}");
    let refused = ask(&daemon, "target=198.51.100.10", &[]);
    assert_eq!(refused.status, 503);
    assert!(refused.text().starts_with("# 503 - the probe collector is down: "), "{}", refused.text());
    assert!(refused.text().contains("CAP_NET_RAW"), "{}", refused.text());
    assert_eq!(daemon.stop().code(), Some(0));

    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    let broken = |line: &str| line.starts_with("probe") && line.contains("BROKEN") && line.contains("CAP_NET_RAW");
    assert!(check.stdout.lines().any(broken), "{check:?}");
    let once = setup.run(&["once", "probe"]);
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    assert!(once.stderr.contains("CAP_NET_RAW"), "{once:?}");
}

/// What each thread of a process may do.
fn capabilities(daemon: &Daemon) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let held = threads.map(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    });
    let mut held: Vec<u64> = held.collect();
    held.dedup();
    held
}

#[test]
fn raw_sockets_are_all_it_may_open_unless_network_cards_are_to_be_told() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    for (hardware, expected) in [("0", 1 << CAP_NET_RAW), ("1", 1 << CAP_NET_RAW | 1 << CAP_NET_ADMIN)] {
        let mut daemon = setup(&lab, &section(&[("hardware", hardware)])).start();
        assert_eq!(capabilities(&daemon), [expected], "{hardware}");
        // Sockets that are needed later can still be opened.
        for target in TARGETS {
            for who in [Who::icmp(target), Who::tcp(target, 80)] {
                let name = who.series("packets_recv_total", "");
                asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 3.0);
            }
        }
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

#[test]
fn the_one_capability_that_is_asked_for_is_enough() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let setup = setup(&lab, &section(&[])).confined(Confine::default().capabilities(&[CAP_NET_RAW]));
    let mut daemon = setup.start();
    for who in [Who::icmp(TARGETS[0]), Who::tcp(TARGETS[1], 80)] {
        let name = who.series("packets_recv_total", "");
        asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 3.0);
    }
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(setup.run(&["check"]).status.code(), Some(0));
}

#[test]
fn a_card_that_cannot_stamp_is_told_once_and_the_kernel_stamps_instead() {
    let lab = Lab::builder().hosts(1).build();
    let _far = Responder::start(&lab.router);
    let daemon = setup(&lab, &section(&[("hardware", "1")])).start();
    warm_up(&daemon);
    asked(&daemon, &format!("target={}&target={}", lab.internet.v4, lab.host(1).v6));
    for interface in ["wan", "br-lan"] {
        let name = format!("gatemeter_probe_round_trips_total{{interface=\"{interface}\",timestamps=\"kernel\"}}");
        daemon.wait_until("stamps", |metrics| metrics.get(&name).filter(|count| **count >= 10.0).copied());
        let line = format!("the network card of {interface} does not stamp every packet");
        told(&daemon, &[&line, "the kernel's stamps are used", "probe.hardware=0"]);
        assert_eq!(daemon.stderr().matches(&line).count(), 1, "{}", daemon.stderr());
    }
    let metrics = daemon.metrics();
    assert!(!metrics.keys().any(|series| series.contains("timestamps=\"hardware\"")), "{metrics:#?}");
    let check = setup(&lab, &section(&[("hardware", "1"), ("interface4", "wan")])).run(&["check"]);
    assert!(check.stdout.contains("the network card of wan does not stamp every packet"), "{check:?}");
}

#[test]
fn once_prints_figures_of_every_target_of_the_configuration() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new()).build();
    far.rule(super::figures::ip("198.18.0.9"), Rule::silent());
    let config = section(&[("timeout", "300"), ("dns_server", "127.0.0.1:5399")])
        + &target(TARGETS[0], &[("name", "Provider")])
        + &target("198.18.0.9", &[])
        + &target(TARGETS[1], &[("tcp_port", "80")])
        + &target("none.example.org", &[]);
    let once = setup(&lab, &config).run(&["once", "probe"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let page = exposition::parse(&once.stdout).unwrap();
    assert_eq!((page[UP], page["gatemeter_probe_unresolved_targets"]), (1.0, 1.0));
    for (who, answers) in
        [(Who::icmp(TARGETS[0]), true), (Who::icmp("198.18.0.9"), false), (Who::tcp(TARGETS[1], 80), true)]
    {
        assert!(page[&who.series("packets_sent_total", "")] >= 1.0, "{who:?} {page:#?}");
        assert_eq!(page[&who.series("packets_recv_total", "")] >= 1.0, answers, "{who:?} {page:#?}");
        assert_eq!(page[&who.series("loss_ratio", "")] == 0.0, answers, "{who:?} {page:#?}");
    }
    // Without anybody to probe there is nothing to wait for.
    let once = setup(&lab, &section(&[])).run(&["once", "probe"]);
    assert_eq!((once.status.code(), exposition::parse(&once.stdout).unwrap()["icmp_active_probes"]), (Some(0), 0.0));
}

#[test]
fn check_tells_what_would_be_probed_and_what_is_in_the_way() {
    let lab = lab();
    let told = |config: &str, code: i32, words: &[&str]| {
        let check = setup(&lab, config).run(&["check"]);
        assert_eq!(check.status.code(), Some(code), "{check:?}");
        for word in words {
            assert!(
                check.stdout.lines().any(|line| line.starts_with("probe") && line.contains(word)),
                "{word}: {check:?}"
            );
        }
    };
    told(&section(&[]), 0, &["no targets are configured: whoever asks /probe names them"]);
    told(&section(&[("targets_from_http", "0")]), 0, &["nothing is probed"]);
    let targets = target("198.51.100.10", &[]) + &target("www.example.org", &[]);
    told(
        &(section(&[("interface4", "wan"), ("interface6", "none")]) + &targets),
        0,
        &["2 targets are configured", "IPv6 is not probed"],
    );
    told(
        &section(&[("interface4", "ppp7")]),
        1,
        &["there is no interface ppp7 for IPv4 probes: name another, or auto"],
    );
    lab.router.must(&["ip", "route", "flush", "default"]);
    told(&(section(&[]) + &targets), 0, &["target 198.51.100.10 cannot be reached now: no route"]);
    // Nobody was probed.
    assert_eq!(setup(&lab, "config probe 'probe'\n\toption interval 'fast'\n").run(&["check"]).status.code(), Some(2));
}
