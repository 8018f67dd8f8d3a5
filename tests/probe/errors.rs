//! ICMP errors: each ends a probe with the cause it tells, however much of the probe it quotes, and no other probe.

use std::net::IpAddr;

use super::figures::{Figures, Who, asked, compared, debug, lab, section, warm};
use crate::lab::responder::{Error, Flaw, Rule};

/// Errors with the cause that they are told as.
fn kinds() -> Vec<(Error, &'static str)> {
    vec![
        (Error::v4(3, 0), "network_unreachable"),
        (Error::v4(3, 1), "host_unreachable"),
        (Error::v4(3, 2), "unreachable"),
        (Error::v4(3, 3), "port_unreachable"),
        (Error::v4(3, 4).mtu(1280), "too_big"),
        (Error::v4(3, 9), "prohibited"),
        (Error::v4(3, 10), "prohibited"),
        (Error::v4(3, 13), "prohibited"),
        (Error::v4(11, 0), "time_exceeded"),
        (Error::v4(12, 0), "parameter_problem"),
        (Error::v6(1, 0), "network_unreachable"),
        (Error::v6(1, 1), "prohibited"),
        (Error::v6(1, 3), "host_unreachable"),
        (Error::v6(1, 4), "port_unreachable"),
        (Error::v6(1, 5), "prohibited"),
        (Error::v6(2, 0).mtu(1300), "too_big"),
        (Error::v6(3, 0), "time_exceeded"),
        (Error::v6(4, 0), "parameter_problem"),
    ]
}

/// An address for each error, of its family.
fn targets(tcp_port: Option<u16>) -> Vec<(Who, Error, &'static str)> {
    let numbered = (1..).zip(kinds());
    let each = |(number, (error, cause)): (u8, (Error, &'static str))| {
        let is_v4 = format!("{error:?}").contains("v4: true");
        let ip = if is_v4 { format!("198.18.1.{number}") } else { format!("fd00:18::1:{number}") };
        (Who { ip: ip.parse().unwrap(), tcp_port }, error, cause)
    };
    numbered.map(each).collect()
}

/// Probes all of them, each second probe being answered with its error in this shape.
fn every_second(tcp_port: Option<u16>, shape: fn(Error) -> Error) {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    let targets = targets(tcp_port);
    for (who, error, _) in &targets {
        far.rule(who.ip, Rule::new().error_every(2, shape(*error)));
    }
    let all: Vec<Who> = targets.iter().map(|(who, ..)| *who).collect();
    let list: String = all.iter().map(|who| format!("target={}&", who.ip)).collect();
    asked(&daemon, &(list + &tcp_port.map(|port| format!("tcp_port={port}")).unwrap_or_default()));
    let (figures, log) = compared(&daemon, &far, &all, 6, &[]);
    for ((who, error, cause), figures) in targets.iter().zip(&figures) {
        let seen = who.seen(&log);
        assert!(seen.errors() >= 3);
        assert_eq!(figures.causes(), [((*cause).to_owned(), seen.errors())], "{error:?}");
        assert_eq!(figures.counts(), (seen.count(), seen.count() - seen.errors()), "{error:?}");
    }
    let metrics = daemon.metrics();
    for reason in ["malformed", "foreign", "stale"] {
        assert_eq!(metrics[&format!("gatemeter_probe_ignored_packets_total{{reason=\"{reason}\"}}")], 0.0, "{reason}");
    }
    let reporters = debug(&lab, &daemon, "[.probes[].reporter] | unique");
    assert_eq!(reporters.trim(), r#"[null,"198.19.254.1","fd00:19::254:1"]"#);
}

#[test]
fn errors_about_echoes_are_told_by_their_kind() {
    every_second(None, |error| error);
}

#[test]
fn errors_that_quote_eight_bytes_of_an_echo_are_enough() {
    every_second(None, Error::quoting_eight_bytes);
}

#[test]
fn errors_that_quote_options_are_understood() {
    every_second(None, |error| error.quoting_options().quoting_eight_bytes());
}

#[test]
fn errors_about_syns_are_told_by_their_kind() {
    every_second(Some(80), |error| error);
}

#[test]
fn errors_that_quote_the_ports_of_a_syn_and_its_number_are_enough() {
    every_second(Some(443), |error| error.quoting_options().quoting_eight_bytes());
}

#[test]
fn an_error_that_is_cut_off_or_damaged_says_nothing() {
    let lab = lab();
    let (far, daemon) = warm(&lab, &section(&[]));
    let all = [Who::icmp("198.18.1.1"), Who::icmp("198.18.1.2"), Who::icmp("fd00:18::1:1")];
    let error = |v4: bool| if v4 { Error::v4(3, 1) } else { Error::v6(1, 3) };
    for (who, flaw) in all.iter().zip([Flaw::Checksum, Flaw::Truncated(30), Flaw::Truncated(50)]) {
        far.rule(who.ip, Rule::new().error(error(who.ip.is_ipv4())).flawed(flaw));
    }
    all.iter().for_each(|who| _ = asked(&daemon, &who.query()));
    let (figures, log) = compared(&daemon, &far, &all, 10, &[]);
    for (who, figures) in all.iter().zip(&figures) {
        let count = who.seen(&log).count();
        assert_eq!((figures.counts(), figures.causes()), ((count, 0), vec![("timeout".to_owned(), count)]), "{who:?}");
    }
}

#[test]
fn a_router_of_the_kernels_own_reports_and_is_named() {
    let lab = crate::lab::Lab::builder().hosts(0).build();
    lab.internet.must(&["ip", "route", "add", "unreachable", "198.51.100.128/25"]);
    lab.internet.must(&["ip", "route", "add", "prohibit", "2001:db8:beef::/64"]);
    lab.internet.must(&["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
    lab.internet.sysctl("ipv6/conf/all/forwarding", "1");
    lab.internet.sysctl("ipv4/icmp_ratelimit", "0");
    lab.internet.sysctl("ipv6/icmp/ratelimit", "0");
    let daemon = super::figures::setup(&lab, &section(&[("timeout", "300")])).start();
    for (target, cause) in [("198.51.100.200", "host_unreachable"), ("2001:db8:beef::77", "prohibited")] {
        let who = Who::icmp(target);
        let told = who.series("packets_lost_total", &format!("cause=\"{cause}\""));
        let page = super::figures::asked_until(&daemon, &who.query(), cause, |page| page.get(&told) >= Some(&5.0));
        assert_eq!(Figures::of(who, &page).counts().1, 0);
        let filter = format!(".probes[] | select(.ip_address == \"{target}\") | .reporter");
        let reporter: IpAddr = debug(&lab, &daemon, &filter).trim().parse().unwrap();
        assert!([crate::lab::GATEWAY4.into(), IpAddr::from(crate::lab::GATEWAY6)].contains(&reporter), "{reporter}");
    }
}
