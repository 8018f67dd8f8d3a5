//! `gatemeter ping` in the lab: what a person at a terminal sees, and how it ends.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use harness::{PATIENCE, Setup};
use lab::Lab;
use lab::process::{self, Background, Output};

fn ping(lab: &Lab, words: &[&str]) -> Output {
    Setup::new(lab).run(&[&["ping"], words].concat())
}

/// Round trips in the lines of one address, in milliseconds.
fn times(output: &str, from: &str) -> Vec<f64> {
    let of_address = output.lines().filter(|line| line.contains(&format!(" from {from}")));
    let time = |line: &str| line.split(" time=").nth(1)?.split(' ').next()?.parse().ok();
    of_address.map(|line| time(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[test]
fn each_round_trip_is_printed_and_summed_up_for_every_target() {
    let lab = Lab::builder().hosts(0).build();
    let targets = [lab.internet.v4.to_string(), lab.internet.v6.to_string()];
    let output = ping(&lab, &[&targets[0], &targets[1], "-n", "3"]);
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{}", output.stdout);
    for target in &targets {
        assert!(output.stdout.contains(&format!("PING {target} ({target}): 56 bytes of data\n")), "{}", output.stdout);
        let times = times(&output.stdout, target);
        assert_eq!(times.len(), 3, "{}", output.stdout);
        let summary = output.stdout.split(&format!("--- {target} ({target}) ping statistics ---\n")).nth(1).unwrap();
        let mut lines = summary.lines();
        assert_eq!(lines.next(), Some("3 packets transmitted, 3 received, 0% packet loss"));
        // The first answer to a system's first socket with timestamps may come without one.
        let rtt = lines.next().unwrap().strip_prefix("rtt min/avg/max/mdev = ").unwrap();
        let (figures, clock) = rtt.split_once(" ms, timestamps: ").unwrap();
        assert_eq!(clock, "kernel");
        let [least, mean, most, _] =
            figures.split('/').map(|text| text.parse::<f64>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!("{figures}")
        };
        assert!(least <= mean && mean <= most, "{figures}");
        assert!(times.iter().all(|time| (least..=most).contains(time)), "{times:?} {figures}");
    }
    for sequence in 1..=3 {
        assert_eq!(output.stdout.matches(&format!("icmp_seq={sequence} ttl=64 ")).count(), 2, "{}", output.stdout);
    }
}

#[test]
fn ports_are_told_open_and_closed() {
    let lab = Lab::builder().hosts(0).build();
    let _listener = lab.internet.tcp_listener(lab.internet.v4, 7001);
    let (target, v6) = (lab.internet.v4.to_string(), lab.internet.v6.to_string());
    let open = ping(&lab, &["--tcp", "7001", &target, "-n", "2"]);
    assert_eq!(open.status.code(), Some(0), "{open:?}");
    assert!(open.stdout.contains(&format!("PING {target} ({target}) TCP port 7001\n")), "{}", open.stdout);
    assert_eq!(times(&open.stdout, &target).len(), 2);
    assert!(!open.stdout.contains("closed") && !open.stdout.contains("refused"), "{}", open.stdout);
    let closed = ping(&lab, &["--tcp", "7002", &target, &v6, "-n", "2"]);
    assert_eq!(closed.status.code(), Some(0), "{closed:?}");
    assert_eq!(closed.stdout.matches(" ms closed (").count(), 4, "{}", closed.stdout);
    let summary = "2 packets transmitted, 2 received, 0% packet loss, 2 refused\n";
    assert_eq!(closed.stdout.matches(summary).count(), 2, "{}", closed.stdout);
}

#[test]
fn errors_are_told_with_who_sent_them_and_what_never_answers_ends_with_1() {
    let lab = Lab::builder().hosts(0).build();
    for words in [
        "add table inet t",
        "add chain inet t in { type filter hook input priority 0; }",
        "add rule inet t in ip protocol icmp reject with icmp type admin-prohibited",
    ] {
        lab.internet.must(&["nft", words]);
    }
    let target = lab.internet.v4.to_string();
    let output = ping(&lab, &[&target, "-n", "2"]);
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(1), ""), "{}", output.stdout);
    for sequence in 1..=2 {
        let line = format!("From {target}: icmp_seq={sequence} prohibited\n");
        assert!(output.stdout.contains(&line), "{}", output.stdout);
    }
    assert!(output.stdout.ends_with("2 packets transmitted, 0 received, 100% packet loss\n"), "{}", output.stdout);
    lab.router.must(&["ip", "route", "del", "default"]);
    let output = ping(&lab, &["198.51.100.10", "-n", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("198.51.100.10: icmp_seq=1 not sent: no route\n"), "{}", output.stdout);
}

#[test]
fn it_goes_on_until_it_is_interrupted_and_then_sums_up() {
    let lab = Lab::builder().hosts(0).build();
    let log = lab.dir().join("ping");
    let target = lab.internet.v4.to_string();
    let mut command = Setup::new(&lab).command();
    let file = fs::File::create(&log).unwrap();
    command.args(["ping", &target]).stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
    let shown = process::shown(&command);
    let mut running = Background::adopt(command.spawn().unwrap(), shown);
    let text = || fs::read_to_string(&log).unwrap();
    assert!(process::poll(PATIENCE, || text().contains("icmp_seq=2 ").then_some(())).is_some(), "{}", text());
    running.signal(libc::SIGINT);
    let status = running.wait(PATIENCE);
    assert!(status.success(), "{status:?} {}", text());
    assert!(text().contains(" received, 0% packet loss\nrtt min/avg/max/mdev = "), "{}", text());
}

#[test]
fn it_ends_when_nobody_reads_its_lines_any_more() {
    let lab = Lab::builder().hosts(0).build();
    let mut command = Setup::new(&lab).command();
    command.args(["ping", &lab.internet.v4.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    let shown = process::shown(&command);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("PING "), "{first}");
    assert!(Background::adopt(child, shown).wait(PATIENCE).success());
}

#[test]
fn what_cannot_be_pinged_is_told_in_one_line() {
    let lab = Lab::builder().hosts(0).build();
    let no_server = ["-o", "probe.dns_server=127.0.0.1:9"];
    for (flags, words, code, line) in [
        (&[][..], &["-n", "0", "192.0.2.1"][..], 2, "-n: '0' is not a number of probes, expected 1 or more"),
        (&[], &["--tcp", "0", "192.0.2.1"], 2, "--tcp: '0' is not a TCP port, expected 1 to 65535"),
        (&[], &["192.0.2.300"], 2, "ping: '192.0.2.300' is neither an address nor a host name"),
        (&[], &[], 2, "ping: nobody to ping, expected addresses or host names"),
        (
            &no_server,
            &["a.example"],
            1,
            "cannot find the address of a.example: no DNS server answers (asked: 127.0.0.1:9)",
        ),
    ] {
        let output = Setup::new(&lab).flags(flags).run(&[&["ping"], words].concat());
        let got = (output.status.code(), output.stdout.as_str(), output.stderr.as_str());
        assert_eq!(got, (Some(code), "", format!("gatemeter: {line}\n").as_str()), "{words:?}");
    }
}
