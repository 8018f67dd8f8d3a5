//! /probe and /debug/probes: what is refused, why, and that it changes nothing; what is answered, and in which form.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};

use flate2::read::GzDecoder;

use super::figures::{TARGETS, Who, ask, asked, asked_until, debug, lab, reload, section, setup, target};
use crate::harness::{Daemon, Setup, exposition, http};
use crate::lab::Lab;
use crate::lab::responder::Responder;

/// Query, headers, and why it is refused.
type Case = (String, Vec<(&'static str, &'static str)>, String);

/// Who is probed how, as far as requests decide it.
fn state(lab: &Lab, daemon: &Daemon) -> String {
    debug(
        lab,
        daemon,
        "[.total_probes, [.probes[] | [.ip_address, .tcp_port, .hosts, .configured, .interval_seconds, .last_access]]]",
    )
}

#[track_caller]
fn refused(lab: &Lab, daemon: &Daemon, query: &str, headers: &[(&str, &str)], status: u16, why: &str) {
    let before = state(lab, daemon);
    let answer = ask(daemon, query, headers);
    assert_eq!((answer.status, answer.text()), (status, format!("# {status} - {why}\n")), "{query} {headers:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(state(lab, daemon), before, "{query}");
}

#[test]
fn a_bad_request_is_told_why_and_changes_nothing() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    // Nobody is asked at this port.
    let daemon = setup(&lab, &section(&[("max_targets", "4"), ("dns_server", "127.0.0.1:5399")])).start();
    asked(&daemon, "target=198.18.0.1&target=198.18.0.2");
    let missing = "target parameter missing, expected an address or a host name";
    let port = |text: &str| format!("tcp_port '{text}' is not a TCP port, expected 1 to 65535");
    let limit = |text: &str| format!("x-target-limit '{text}': expected a whole number");
    let cases: Vec<Case> = vec![
        (String::new(), vec![], missing.into()),
        ("ip_version=4".into(), vec![], missing.into()),
        ("tcp_port=80".into(), vec![], missing.into()),
        ("target=198.18.0.1&tcp_port=0".into(), vec![], port("0")),
        ("target=198.18.0.9&tcp_port=65536".into(), vec![], port("65536")),
        ("target=198.18.0.9&tcp_port=http".into(), vec![], port("http")),
        ("target=198.18.0.9&tcp_port=80&tcp_port=".into(), vec![], port("")),
        ("target=198.18.0.9&ip_version=5".into(), vec![], "ip_version '5': expected 4, 6 or all".into()),
        ("target=".into(), vec![], "target '' is not a host name: it is empty".into()),
        ("target=198.18.0.300".into(), vec![], "target '198.18.0.300' is neither an address nor a host name".into()),
        ("target=localhost".into(), vec![], "target localhost has no address that is probed: 127.0.0.1, ::1".into()),
        ("target=fe80::1%25eth0".into(), vec![], "target 'fe80::1%eth0' is neither an address nor a host name".into()),
        (
            "target=198.18.0.9&target=a%20b".into(),
            vec![],
            "target 'a b' is not a host name: ' ' is no letter, digit, '-', '_' or dot".into(),
        ),
        (
            "target=198.18.0.1&target=198.18.0.9".into(),
            vec![("x-target-limit", "1")],
            "too many targets, the limit is 1".into(),
        ),
        ("target=198.18.0.1".into(), vec![("x-target-limit", "0")], "too many targets, the limit is 0".into()),
        ("target=198.18.0.1".into(), vec![("x-target-limit", "-1")], limit("-1")),
        ("target=198.18.0.1".into(), vec![("x-target-limit", "many")], limit("many")),
        ("target=198.18.0.1".into(), vec![("X-Target-Limit", "5"), ("x-target-limit", "x")], limit("x")),
        (
            "target=198.18.0.1&tcp_port=1&tcp_port=2&tcp_port=3".into(),
            vec![("x-target-limit", "2")],
            "too many targets, the limit is 2".into(),
        ),
        (
            "target=198.18.0.5&target=198.18.0.6&target=198.18.0.7".into(),
            vec![],
            "too many targets: 3 more than the 2 that are probed, probe.max_targets is 4".into(),
        ),
        (
            "target=198.18.0.1&target=198.18.0.2&target=fd00:18::1&target=fd00:18::2&target=fd00:18::3".into(),
            vec![],
            "too many targets: 5 addresses and ports, the limit is 4".into(),
        ),
        (
            "target=none.example.org".into(),
            vec![],
            "target none.example.org does not resolve: no DNS server answers (asked: 127.0.0.1:5399)".into(),
        ),
    ];
    for (query, headers, why) in &cases {
        refused(&lab, &daemon, query, headers, 400, why);
    }
    // What was there before is still probed, and there is still room for as many as before.
    asked(&daemon, "target=198.18.0.1&target=198.18.0.2&target=198.18.0.3&target=198.18.0.4");
    assert_eq!(debug(&lab, &daemon, ".total_probes").trim(), "4");
}

#[test]
fn what_the_configuration_does_not_allow_is_forbidden() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let allow = [("allow_target", "198.18.0.0/24"), ("allow_target", "fd00:18::/126")];
    let config = section(&allow) + &target("198.18.9.9", &[]);
    let daemon = setup(&lab, &config).start();
    for target in ["198.18.0.7", "fd00:18::3", "198.18.9.9"] {
        asked(&daemon, &format!("target={target}"));
    }
    for (query, ip) in [
        ("target=198.18.1.7", "198.18.1.7"),
        ("target=fd00:18::4", "fd00:18::4"),
        ("target=198.18.0.8&target=198.18.1.7", "198.18.1.7"),
        ("target=198.18.0.8&target=::ffff:198.18.1.7", "198.18.1.7"),
        ("target=198.18.9.9&tcp_port=22", "198.18.9.9"),
    ] {
        refused(&lab, &daemon, query, &[], 403, &format!("target {ip} is not in probe.allow_target"));
    }

    reload(&daemon, &(section(&[("targets_from_http", "0")]) + &target("198.18.9.9", &[])));
    let gone = || {
        crate::lab::process::poll(crate::harness::PATIENCE, || {
            (debug(&lab, &daemon, ".total_probes").trim() == "3").then_some(())
        })
    };
    assert!(gone().is_some());
    asked(&daemon, "target=198.18.9.9");
    for (query, who) in [("target=198.18.0.8", "198.18.0.8"), ("target=www.example.org", "www.example.org")] {
        let why = format!("target {who} is not in the configuration, and probe.targets_from_http is 0");
        refused(&lab, &daemon, query, &[], 403, &why);
    }
}

#[test]
fn a_prober_that_is_off_or_down_says_so_to_those_who_ask() {
    let lab = lab();
    let daemon = Setup::new(&lab).flags(&["-e", "--collectors", "clients"]).start();
    let off = crate::lab::process::poll(crate::harness::PATIENCE, || {
        let answer = daemon.get("/probe?target=198.18.0.1").ok()?;
        (answer.status == 503).then(|| answer.text())
    });
    assert_eq!(off.as_deref(), Some("# 503 - the probe collector is off\n"));
    let debug = daemon.get("/debug/probes").unwrap();
    assert_eq!((debug.status, debug.text().as_str()), (503, "the probe collector is off\n"));
}

#[test]
fn limits_of_the_asker_hold_and_the_answer_tells_how_many_addresses_there_are() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let daemon = setup(&lab, &section(&[])).start();
    let two = format!("target={}&target={}", TARGETS[0], TARGETS[1]);
    for (query, headers, count) in [
        (two.as_str(), &[][..], "2"),
        (&format!("{two}&target={}", TARGETS[0]), &[("x-target-limit", "2")], "2"),
        (&two, &[("X-Target-Limit", " 7 "), ("x-target-limit", "2")], "2"),
        (&format!("{two}&tcp_port=80&tcp_port=443"), &[("x-target-limit", "4")], "2"),
        ("target=198.18.0.9&tcp_port=1&tcp_port=1&tcp_port=2", &[("x-target-limit", "2")], "1"),
        ("target=198.18.0.1&target=::ffff:198.18.0.1", &[("x-target-limit", "9999999")], "1"),
    ] {
        let answer = ask(&daemon, query, headers);
        assert_eq!((answer.status, answer.header("x-target-count")), (200, Some(count)), "{query} {}", answer.text());
    }
}

#[test]
fn the_first_answer_has_nothing_yet_and_names_what_is_unknown() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let daemon = setup(&lab, &section(&[("interval", "60000")])).start();
    for who in [Who::icmp("198.18.0.1"), Who::tcp("198.18.0.1", 80)] {
        let page = asked(&daemon, &who.query());
        let value = |name: &str| page[&who.series(name, "")];
        for name in [
            "packets_sent_total",
            "packets_recv_total",
            "latency_seconds_total",
            "latency_squared_seconds_total",
            "samples_count",
        ] {
            assert_eq!(value(name), 0.0, "{name}");
        }
        for name in ["latency_seconds", "standard_deviation_seconds", "loss_ratio"] {
            assert!(value(name).is_nan(), "{name}");
        }
        // Nobody has answered yet.
        assert!(!page.contains_key(&who.series("reply_ttl", "")));
    }
}

#[test]
fn an_answer_is_about_icmp_or_about_ports_and_about_nobody_else() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let daemon = setup(&lab, &(section(&[]) + &target("198.18.0.50", &[]))).start();
    let icmp = asked(&daemon, "target=198.18.0.1");
    let tcp = asked(&daemon, "target=198.18.0.1&target=fd00:18::1&tcp_port=80&tcp_port=443");
    assert!(
        icmp.keys().all(|series| series.starts_with("icmp_probe_") && series.contains("ip=\"198.18.0.1\"")),
        "{icmp:#?}"
    );
    assert!(tcp.keys().all(|series| series.starts_with("tcp_probe_")), "{tcp:#?}");
    for (ip, port) in [("198.18.0.1", 80), ("198.18.0.1", 443), ("fd00:18::1", 80), ("fd00:18::1", 443)] {
        assert!(tcp.contains_key(&Who::tcp(ip, port).series("packets_sent_total", "")));
    }
    // What is asked for by HTTP only is in no file; all of it counts.
    let metrics =
        daemon.wait_until("all of them", |metrics| (metrics["tcp_active_probes"] == 4.0).then(|| metrics.clone()));
    assert_eq!(metrics["icmp_active_probes"], 2.0);
    assert!(metrics.contains_key(&Who::icmp("198.18.0.50").series("packets_sent_total", "")));
    assert!(!metrics.keys().any(|series| series.contains("ip=\"198.18.0.1\"") || series.starts_with("tcp_probe_")));
}

#[test]
fn an_answer_comes_in_the_format_and_encoding_that_was_asked_for() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let daemon = setup(&lab, &section(&[("histogram", "1")])).start();
    let who = Who::icmp("198.18.0.1");
    let name = who.series("packets_recv_total", "");
    asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 3.0);
    let plain = ask(&daemon, &who.query(), &[]);
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(plain.header("content-encoding"), None);
    let accept =
        [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), ("Accept-Encoding", "gzip")];
    let open = ask(&daemon, &who.query(), &accept);
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(open.header("content-encoding"), Some("gzip"));
    assert_eq!(open.header("x-target-count"), Some("1"));
    let mut text = String::new();
    GzDecoder::new(&open.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE icmp_probe_packets_recv counter\n"), "{text}");
    exposition::parse(&text).unwrap();
    // The first request for somebody does not have to be a GET.
    let router = SocketAddr::from((Ipv4Addr::LOCALHOST, 9999));
    let head = b"HEAD /probe?target=198.18.0.2 HTTP/1.1\r\nHost: router\r\nConnection: close\r\n\r\n";
    let head = String::from_utf8(http::raw(&lab.router, router, head).unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\r\nx-target-count: 1\r\n"), "{head}");
    let post =
        b"POST /probe?target=198.18.0.3 HTTP/1.1\r\nHost: router\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let post = String::from_utf8(http::raw(&lab.router, router, post).unwrap()).unwrap();
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert_eq!(debug(&lab, &daemon, "[.probes[].ip_address]").trim(), r#"["198.18.0.1","198.18.0.2"]"#);
}

#[test]
fn the_state_of_every_target_is_json() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let config = section(&[]) + &target("198.18.0.10", &[("interval", "30")]);
    let daemon = setup(&lab, &config).start();
    let answer = daemon.get("/debug/probes").unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    asked(&daemon, "target=fd00:18::1&target=198.18.0.9");
    asked(&daemon, "target=198.18.0.9&tcp_port=443");
    for who in [Who::icmp("198.18.0.9"), Who::icmp("198.18.0.10"), Who::icmp("fd00:18::1"), Who::tcp("198.18.0.9", 443)]
    {
        super::figures::on_record(&far, who, 3);
    }
    let short = "[.probes[] | [.ip_address, .tcp_port, .configured, .interval_seconds]]";
    // By their text, as the program whose endpoint it is has them.
    let expected = r#"[["198.18.0.10",0,true,0.03],["198.18.0.9",0,false,0.02],["198.18.0.9",443,false,0.02],["fd00:18::1",0,false,0.02]]"#;
    assert_eq!(debug(&lab, &daemon, short).trim(), expected);
    let all = "[.probes[] | .sent_count >= .recv_count and .recv_count > 0 and .ttl == 64 and .loss_ratio == 0 and \
               .latency_seconds > 0 and .samples > 0 and .lost == {} and .reporter == null] | all";
    let told = crate::lab::process::poll(crate::harness::PATIENCE, || {
        (debug(&lab, &daemon, all).trim() == "true").then_some(())
    });
    assert!(told.is_some(), "{}", debug(&lab, &daemon, "."));
    let asked_now =
        "(.timestamp - ([.probes[] | select(.configured | not) | .last_access] | min)) | . >= 0 and . <= 90";
    assert_eq!(debug(&lab, &daemon, asked_now).trim(), "true");
}
