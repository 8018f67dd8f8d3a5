//! Logical networks: the daemon goes by what the service script has written about them, and by what it writes next.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod harness;
mod lab;

use std::fs;
use std::path::PathBuf;

use harness::{Daemon, PATIENCE, Samples, Setup};
use lab::{Lab, process};

/// A daemon's setup with this configuration, and the file in which the script describes networks; it is not there yet.
fn setup<'a>(lab: &'a Lab, config: &str, collectors: &str) -> (Setup<'a>, PathBuf) {
    let file = lab.dir().join("networks");
    let option = format!("main.networks={}", file.display());
    let flags = ["-t", "1", "--collectors", collectors, "-o", &option];
    (Setup::new(lab).uci("gatemeter", config).flags(&flags), file)
}

/// What the script does when netifd has news.
fn describe(daemon: &Daemon<'_>, file: &PathBuf, text: &str) {
    fs::write(file, text).unwrap();
    daemon.signal(libc::SIGHUP);
}

#[track_caller]
fn told(daemon: &Daemon<'_>, text: &str) {
    let seen = process::poll(PATIENCE, || daemon.stderr().contains(text).then_some(()));
    assert!(seen.is_some(), "{text} is not in\n{}", daemon.stderr());
}

/// Uploads of all hosts, in bytes.
fn uploads(metrics: &Samples) -> f64 {
    metrics.iter().filter(|(series, _)| series.starts_with("node_nat_traffic_upload{")).map(|(_, bytes)| bytes).sum()
}

fn ping(lab: &Lab) {
    lab.host(1).must(&["ping", "-c", "3", "-i", "0.2", &lab.internet.v4.to_string()]);
    lab.host(1).must(&["ping", "-c", "3", "-i", "0.2", &lab.internet.v6.to_string()]);
}

#[test]
fn a_network_is_measured_once_it_is_up_and_its_counts_outlive_its_absence() {
    let lab = Lab::builder().hosts(1).build();
    let config = "config traffic traffic\n\toption unknown_hosts 1\n\tlist subnet4 lan\n\tlist subnet6 lan\n\
                  config clients clients\n\toption interval 1\n\tlist subnet lan\n\
                  config probe probe\n\toption interface4 wan\n\toption interface6 none\n\
                  config target\n\toption host gateway\n";
    let (setup, file) = setup(&lab, config, "traffic,clients,probe");
    let daemon = setup.start_unready();
    // There is no network of that name, and no device: that is no error, and told.
    told(&daemon, "there is no interface lan now");
    describe(&daemon, &file, "lan br-lan br-lan 192.168.1.1/24\nwan wan wan 203.0.113.2/24\n");
    daemon.wait_until("an attachment", |m| {
        (m.get("gatemeter_collector_up{collector=\"traffic\"}") == Some(&1.0)).then_some(())
    });
    told(&daemon, "br-lan");
    ping(&lab);
    // Both families: which prefixes the device has is the kernel's to say.
    let first = daemon.wait_until("uploads", |m| Some(uploads(m)).filter(|bytes| *bytes > 600.0));
    daemon.wait_until("the client", |m| {
        m.keys().any(|series| series.starts_with("client_status{ip=\"192.168.1.11\"")).then_some(())
    });
    let gateway = "icmp_probe_packets_recv_total{ip=\"203.0.113.1\"}";
    daemon.wait_until("the gateway by wan", |m| m.get(gateway).filter(|count| **count >= 1.0).map(drop));

    describe(&daemon, &file, "lan - br-lan\nwan - wan\n");
    told(&daemon, "there is no interface lan (down) now");
    daemon.wait_until("nobody to probe", |m| (!m.contains_key(gateway)).then_some(()));
    describe(&daemon, &file, "lan br-lan br-lan 192.168.1.1/24\nwan wan wan 203.0.113.2/24\n");
    daemon.wait_until("the gateway again", |m| m.get(gateway).filter(|count| **count >= 1.0).map(drop));
    ping(&lab);
    daemon.wait_until("more uploads", |m| Some(uploads(m)).filter(|bytes| *bytes > first));
}

#[test]
fn the_page_is_there_once_its_network_is_and_for_that_network_only() {
    let lab = Lab::builder().hosts(1).guest().build();
    let config = "config gatemeter main\n\toption http 1\n\toption listen 'lan:9999'\n\tlist allow lan\n";
    let (setup, file) = setup(&lab, config, "probe");
    let daemon = setup.start_unready();
    told(&daemon, "HTTP waits for an address of network lan, which has none now");
    told(&daemon, "network lan has no address now, so main.allow admits nobody on it");
    let status = |from: &lab::Node, url: &str| {
        from.run(&["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", url]).stdout
    };
    let page = "http://192.168.1.1:9999/metrics";
    assert_eq!(status(lab.host(1), page), "000");
    describe(&daemon, &file, "lan br-lan br-lan 192.168.1.1/24 fd00:1:1::1/64\n");
    let served = process::poll(PATIENCE, || (status(lab.host(1), page) == "200").then_some(()));
    assert!(served.is_some(), "{}", daemon.stderr());
    // Guests reach that address, too, and are told that it is not for them; the other addresses are not listened on.
    assert_eq!(status(&lab.guests[0], page), "403");
    assert_eq!(status(&lab.guests[0], "http://192.168.2.1:9999/metrics"), "000");
    describe(&daemon, &file, "lan - br-lan\n");
    let gone = process::poll(PATIENCE, || (status(lab.host(1), page) == "000").then_some(()));
    assert!(gone.is_some(), "{}", daemon.stderr());
}

#[test]
fn check_tells_what_is_what_and_what_of_the_file_cannot_be_read() {
    let lab = Lab::builder().hosts(0).build();
    let config = "config probe probe\n\toption interface4 lan\n\toption interface6 wan\n";
    let (setup, file) = setup(&lab, config, "probe");
    fs::write(&file, "lan br-lan br-lan\nwan - -\nnonsense\n").unwrap();
    let output = setup.run(&["check"]);
    for line in [
        "logical networks: lan is br-lan, wan is down",
        "networks:3: expected NAME DEVICE PORT and addresses, as in lan br-lan br-lan 192.168.1.1/24",
        "IPv6 is probed by wan (down) once it is up",
    ] {
        assert!(output.stdout.contains(line), "{line} is not in\n{}", output.stdout);
    }
    assert!(output.status.success(), "{}", output.stdout);
}
