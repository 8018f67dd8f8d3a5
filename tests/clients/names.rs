//! Names: where they come from, how long they hold, and what a name cannot do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::figures::{
    UP, bare_setup, by_client, exchange, expect, fresh, mark, named, series, setup, static_lease, told,
};
use crate::harness::{Daemon, Samples, Setup, exposition};
use crate::lab::crowd::Crowd;
use crate::lab::dhcp::DhcpServer;
use crate::lab::{Lab, dns, process};

const STATUS: &str = "client_status";

/// A set-up that takes names from one file of leases and one of hosts, both given.
fn with_files<'a>(lab: &'a Lab, leases: &Path, hosts: &Path) -> Setup<'a> {
    bare_setup(lab).flags(&[
        "-o",
        &format!("clients.leases={}", leases.display()),
        "-o",
        &format!("clients.hosts={}", hosts.display()),
    ])
}

/// The names a page gives an address: one, or a series was left behind.
fn names_of(metrics: &Samples, ip: &str) -> BTreeSet<String> {
    let of_ip = |series: &&String| exposition::label(series, "ip").is_some_and(|label| label == ip);
    metrics.keys().filter(of_ip).map(|series| exposition::label(series, "client").unwrap()).collect()
}

fn wait_for_name(daemon: &Daemon, ip: &str, name: &str) {
    daemon.wait_until(&format!("{ip} called {name} and nothing else"), |metrics| {
        (names_of(metrics, ip) == BTreeSet::from([name.to_owned()])).then_some(())
    });
}

#[test]
fn a_client_has_the_name_of_the_configuration_the_lease_the_hosts_file_or_ethers() {
    let lab = Lab::builder().hosts(6).build();
    let server = DhcpServer::start(&lab);
    let leased = server.lease(lab.host(2), "by-lease");
    let both = server.lease(lab.host(6), "not-this-one");
    let (hosts, ethers) = (lab.dir().join("hosts"), lab.dir().join("ethers"));
    fs::write(&hosts, format!("{} by-hosts by-hosts.lan # a comment\n", lab.host(3).v4)).unwrap();
    fs::write(&ethers, format!("{} by-ethers\n", lab.host(4).mac_text().to_lowercase())).unwrap();
    let daemon = with_files(&lab, server.leases(), &hosts)
        .uci("dhcp", &(static_lease("by-uci", lab.host(1)) + &static_lease("uci-first", lab.host(6))))
        .flags(&["-o", &format!("clients.hosts={}", ethers.display())])
        .start();
    let internet = lab.internet.on_v4();
    let want = [
        (1, "by-uci", lab.host(1).v4),
        (2, "by-lease", leased),
        (3, "by-hosts", lab.host(3).v4),
        (4, "by-ethers", lab.host(4).v4),
        (5, "unknown", lab.host(5).v4),
        (6, "uci-first", both),
    ];
    let tallies =
        want.map(|(n, name, ip)| (named(name, ip), exchange(lab.host(n).on(ip), internet, (n, 100), (1, 50))));
    expect(&daemon, tallies);
    // What has a name by its hardware address has it under all of its addresses.
    wait_for_name(&daemon, &lab.host(4).v6.to_string(), "by-ethers");
    wait_for_name(&daemon, &lab.host(2).v4.to_string(), "by-lease");
}

#[test]
fn a_name_outlives_its_lease_and_the_daemon_however_that_ends() {
    let lab = Lab::builder().hosts(1).build();
    let server = DhcpServer::start(&lab);
    let ip = server.lease(lab.host(1), "kitchen-radio").to_string();
    let setup = with_files(&lab, server.leases(), &lab.dir().join("none"));
    let mut daemon = setup.start();
    exchange(lab.host(1).on(ip.parse::<std::net::IpAddr>().unwrap()), lab.internet.on_v4(), (1, 1), (1, 1));
    wait_for_name(&daemon, &ip, "kitchen-radio");
    server.release(lab.host(1), &lab.dir().join("udhcpc.log"));
    fresh(&daemon);
    wait_for_name(&daemon, &ip, "kitchen-radio");
    assert_eq!(daemon.stop().code(), Some(0));

    let mut daemon = setup.start();
    wait_for_name(&daemon, &ip, "kitchen-radio");
    daemon.kill9();
    let daemon = setup.start();
    wait_for_name(&daemon, &ip, "kitchen-radio");
    drop(daemon);
}

#[test]
fn names_learned_just_before_a_kill_are_known_again_from_the_lease_or_the_cache() {
    let lab = Lab::builder().hosts(1).build();
    let server = DhcpServer::start(&lab);
    let setup = with_files(&lab, server.leases(), &lab.dir().join("none"));
    let mut daemon = setup.start();
    let ip = server.lease(lab.host(1), "tablet").to_string();
    assert!(lab.router.pings(ip.parse::<std::net::IpAddr>().unwrap(), 1));
    wait_for_name(&daemon, &ip, "tablet");
    daemon.kill9();
    let daemon = setup.start();
    wait_for_name(&daemon, &ip, "tablet");
}

#[test]
fn a_cache_that_was_cut_off_or_is_nonsense_costs_names_and_nothing_else() {
    let lab = Lab::builder().hosts(3).build();
    let leases = lab.dir().join("leases");
    let lease = |n: usize| {
        let host = lab.host(n);
        format!("1900000000 {} {} device-{n} *\n", host.mac_text().to_lowercase(), host.v4)
    };
    fs::write(&leases, lease(1) + &lease(2) + &lease(3)).unwrap();
    let cache = lab.dir().join("cache/names");
    fs::create_dir_all(cache.parent().unwrap()).unwrap();
    let setup = with_files(&lab, &leases, &lab.dir().join("none"))
        .flags(&["-o", &format!("clients.name_cache={}", cache.display())]);
    let mut daemon = setup.start();
    for n in 1..=3 {
        wait_for_name(&daemon, &lab.host(n).v4.to_string(), &format!("device-{n}"));
    }
    assert_eq!(daemon.stop().code(), Some(0));
    let whole = fs::read(&cache).unwrap();
    fs::write(&leases, "").unwrap();

    for (text, what) in [
        (whole[..whole.len() - 5].to_vec(), "cut off"),
        (vec![0xff; 4096], "no text"),
        ([&whole[..], b"\"} 1\n\n|||\n\0\0"].concat(), "followed by nonsense"),
        (Vec::new(), "empty"),
    ] {
        fs::write(&cache, &text).unwrap();
        let mut daemon = setup.start();
        daemon.wait_for(UP, 1.0);
        let metrics = fresh(&daemon);
        let possible = ["device-1", "device-2", "device-3", "unknown"];
        for name in by_client(&metrics, STATUS).keys().map(|key| key.rsplit_once(' ').unwrap().0) {
            assert!(possible.contains(&name), "{what}: {name}");
        }
        if what == "followed by nonsense" {
            assert_eq!(names_of(&metrics, &lab.host(1).v4.to_string()), ["device-1".to_owned()].into(), "{what}");
        }
        daemon.kill9();
    }
    // And what it lost it learns again.
    fs::write(&leases, lease(1)).unwrap();
    let daemon = setup.start();
    wait_for_name(&daemon, &lab.host(1).v4.to_string(), "device-1");
}

#[test]
fn the_cache_is_not_written_again_while_no_name_changes() {
    let lab = Lab::builder().hosts(2).build();
    let setup = setup(&lab);
    let mut daemon = setup.start();
    daemon.wait_for(&series(STATUS, "lan1", lab.host(1).v4), 1.0);
    assert_eq!(daemon.stop().code(), Some(0));
    let cache = setup.dir().join("state/names");
    let written = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = (fs::read(&cache).unwrap(), written(&cache));
    let mut daemon = setup.start();
    for _ in 0..3 {
        fresh(&daemon);
    }
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!((fs::read(&cache).unwrap(), written(&cache)), before);
}

#[test]
fn a_client_that_is_renamed_has_one_name_and_one_set_of_series() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab).uci("dhcp", "");
    let daemon = setup.start();
    let ip = lab.host(1).v4.to_string();
    let mut sent = mark(&lab, lab.host(1)).1;
    wait_for_name(&daemon, &ip, "unknown");
    for name in ["tablet", "telly"] {
        setup.write_uci("dhcp", &static_lease(name, lab.host(1)));
        wait_for_name(&daemon, &ip, name);
        sent += mark(&lab, lab.host(1)).1;
        expect(&daemon, [(named(name, lab.host(1).v4), sent)]);
    }
}

#[test]
fn an_address_that_goes_to_another_device_takes_that_ones_name() {
    let lab = Lab::builder().hosts(2).living_neighbours().build();
    let server = DhcpServer::start(&lab);
    let setup = with_files(&lab, server.leases(), &lab.dir().join("none"));
    let mut daemon = setup.start();
    let ip = server.lease(lab.host(1), "old-phone");
    assert!(lab.router.pings(ip, 1));
    wait_for_name(&daemon, &ip.to_string(), "old-phone");
    server.release(lab.host(1), &lab.dir().join("udhcpc.log"));
    lab.host(1).must(&["ip", "addr", "del", &format!("{ip}/24"), "dev", "eth0"]);
    lab.host(2).must(&["ip", "addr", "add", &format!("{ip}/24"), "dev", "eth0"]);
    lab.router.must(&["ip", "neigh", "flush", "to", &ip.to_string()]);
    fs::write(server.leases(), format!("1900000000 {} {ip} new-phone *\n", lab.host(2).mac_text().to_lowercase()))
        .unwrap();
    assert!(lab.router.pings(ip, 1));
    wait_for_name(&daemon, &ip.to_string(), "new-phone");
    daemon.kill9();
    let daemon = setup.start();
    wait_for_name(&daemon, &ip.to_string(), "new-phone");
}

#[test]
fn a_hostile_name_out_of_a_real_lease_harms_nobody() {
    let lab = Lab::builder().hosts(6).build();
    let server = DhcpServer::start(&lab);
    let long = [b'n'; 255];
    let names: [&[u8]; 6] = [
        b"quo\"te} 1",
        b"new\nclient_status{ip=\"6.6.6.6\",client=\"x\"} 1",
        b"back\\slash\\",
        b"not\xff\xfeutf8",
        &long,
        b"\x1b[31m\0\x7f",
    ];
    let ips: Vec<_> = names.iter().zip(&lab.lan).map(|(name, host)| server.lease_raw(host, name)).collect();
    let daemon = with_files(&lab, server.leases(), &lab.dir().join("none")).start();
    for (host, ip) in lab.lan.iter().zip(&ips) {
        exchange(host.on(*ip), lab.internet.on_v4(), (1, 1), (1, 1));
        daemon.wait_until("its bytes", |metrics| {
            let label = format!("ip=\"{ip}\"");
            let moved = |(series, value): (&String, &f64)| {
                series.starts_with("client_traffic_bytes{") && series.contains(&label) && *value > 0.0
            };
            metrics.iter().any(moved).then_some(())
        });
    }
    harmless(&daemon);
}

#[test]
fn a_hostile_name_that_a_lease_file_holds_is_shown_escaped_and_bounded() {
    let lab = Lab::builder().hosts(7).build();
    let long = "n".repeat(300);
    let names: [(&[u8], &str); 7] = [
        (b"quo\"te", "quo\"te"),
        (b"back\\slash\\n", "back\\slash\\n"),
        (b"\"}\\", "\"}\\"),
        (b"pipe|tab", "pipe|tab"),
        (b"not\xff\xfeutf8", "not\u{fffd}\u{fffd}utf8"),
        (b"\x1b[31m\x7f", "\u{fffd}[31m\u{fffd}"),
        (long.as_bytes(), &long[..255]),
    ];
    let mut text = Vec::new();
    for ((name, _), host) in names.iter().zip(&lab.lan) {
        text.extend(format!("1900000000 {} {} ", host.mac_text().to_lowercase(), host.v4).as_bytes());
        text.extend([*name, b" *\n"].concat());
    }
    let leases = lab.dir().join("hostile.leases");
    fs::write(&leases, text).unwrap();
    let setup = with_files(&lab, &leases, &lab.dir().join("none"));
    let mut daemon = setup.start();
    for ((_, shown), host) in names.iter().zip(&lab.lan) {
        wait_for_name(&daemon, &host.v4.to_string(), shown);
    }
    harmless(&daemon);
    // The cache brings every one of them back as it was.
    fs::write(&leases, "").unwrap();
    assert_eq!(daemon.stop().code(), Some(0));
    let daemon = setup.start();
    for ((_, shown), host) in names.iter().zip(&lab.lan) {
        wait_for_name(&daemon, &host.v4.to_string(), shown);
    }
    harmless(&daemon);
}

/// The page is one a scrape takes, with no sample that a name has forged.
fn harmless(daemon: &Daemon) {
    daemon.wait_for(UP, 1.0);
    let metrics = daemon.metrics();
    exposition::parse(&daemon.textfile().unwrap()).unwrap();
    for series in metrics.keys() {
        assert!(!series.contains("6.6.6.6\",client=\"x\""), "{series}");
        for label in ["client", "ip"].iter().filter_map(|name| exposition::label(series, name)) {
            assert!(label.len() <= 255 && !label.chars().any(char::is_control), "{series}");
        }
    }
    let page = daemon.page().unwrap();
    let mut promtool = std::process::Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let verdict = process::run(promtool, &page, process::LIMIT).unwrap();
    let complaints = verdict.stdout + &verdict.stderr;
    // 0: perfect, 3: readable, with remarks on names and types.
    assert!(matches!(verdict.status.code(), Some(0 | 3)), "{complaints}\n{page}");
    let fixed = ["client_traffic_bytes", "client_traffic_rate_bps"];
    let ours = complaints.lines().filter(|line| !fixed.iter().any(|name| line.starts_with(name)));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0], "promtool may complain about names that the peer fixed, not ours");
}

#[test]
fn lines_that_say_nothing_cost_only_themselves_and_are_told_by_number() {
    let lab = Lab::builder().hosts(4).build();
    let (leases, hosts) = (lab.dir().join("odd.leases"), lab.dir().join("odd.hosts"));
    let lease = |n: usize| {
        let host = lab.host(n);
        format!("1900000000 {} {} device-{n} *\n", host.mac_text().to_lowercase(), host.v4)
    };
    let odd = "what\n1900000000\n1900000000 zz:zz 192.168.1.300 nobody *\n\0\0\0\n192.168.1 half\n";
    fs::write(&leases, lease(1) + odd + &lease(2)).unwrap();
    let named = |n: usize| format!("{} device-{n}\n", lab.host(n).v4);
    fs::write(&hosts, format!("# by hand\n{}192.168.1.300 nobody\n{}", named(3), named(4))).unwrap();
    let daemon = with_files(&lab, &leases, &hosts).start();
    for n in 1..=4 {
        wait_for_name(&daemon, &lab.host(n).v4.to_string(), &format!("device-{n}"));
    }
    told(&daemon, &[&format!("{}:2", leases.display())]);
    told(&daemon, &[&format!("{}:3", hosts.display())]);
}

#[test]
fn names_come_and_go_with_the_files_without_a_restart() {
    let lab = Lab::builder().hosts(1).build();
    let (leases, hosts) = (lab.dir().join("leases"), lab.dir().join("hosts"));
    let daemon = with_files(&lab, &leases, &hosts).start();
    let ip = lab.host(1).v4.to_string();
    wait_for_name(&daemon, &ip, "unknown");
    fs::write(&leases, format!("1900000000 {} {ip} by-lease *\n", lab.host(1).mac_text())).unwrap();
    wait_for_name(&daemon, &ip, "by-lease");
    // What a person wrote says more than what a client calls itself.
    fs::write(&hosts, format!("{ip} by-hand\n")).unwrap();
    wait_for_name(&daemon, &ip, "by-hand");
}

#[test]
fn reverse_dns_names_those_that_no_file_names() {
    let lab = Lab::builder().hosts(2).build();
    let record = "--host-record=printer.lan,192.168.1.12";
    let _server = dns::start(&lab, ([127, 0, 0, 1], 53).into(), &[record]);
    let daemon = setup(&lab)
        .uci("dhcp", &static_lease("by-uci", lab.host(1)))
        .flags(&["-o", "clients.reverse_dns=1", "-o", "clients.dns_server=127.0.0.1"])
        .start();
    let printer = lab.host(2).v4.to_string();
    let name = daemon.wait_until("a name for the printer", |metrics| {
        names_of(metrics, &printer).into_iter().find(|name| name != "unknown")
    });
    assert!(["printer", "printer.lan"].contains(&name.as_str()), "{name}");
    wait_for_name(&daemon, &printer, &name);
    wait_for_name(&daemon, &lab.host(1).v4.to_string(), "by-uci");
}

#[test]
fn a_name_server_that_is_dead_holds_nothing_up() {
    let lab = Lab::builder().hosts(1).nat().build();
    // The internet swallows the questions.
    let daemon = setup(&lab)
        .uci("dhcp", "")
        .flags(&["-o", "clients.reverse_dns=1", "-o", "clients.dns_server=198.51.100.77"])
        .start();
    let mut sent = mark(&lab, lab.host(1)).1;
    for _ in 0..3 {
        fresh(&daemon);
        sent += mark(&lab, lab.host(1)).1;
        expect(&daemon, [(named("unknown", lab.host(1).v4), sent)]);
    }
    daemon.wait_for(UP, 1.0);
    // A question is given two seconds.
    let duration = daemon.metrics()["gatemeter_collector_duration_seconds{collector=\"clients\"}"];
    assert!(duration < 2.0, "a collection took {duration} s");
}

#[test]
fn a_crowd_of_leases_names_a_crowd_of_clients() {
    let lab = Lab::builder().hosts(1).build();
    let crowd = lab.crowd(lab.host(1), 250);
    let leases = lab.dir().join("crowd.leases");
    let lease = |(n, ip): (u16, _)| format!("1900000000 {} {ip} device-{n} *\n", Crowd::mac_text(n));
    fs::write(&leases, (0..).zip(&crowd.members).map(lease).collect::<String>()).unwrap();
    let daemon = with_files(&lab, &leases, &lab.dir().join("none")).start();
    daemon.wait_until("250 names", |metrics| {
        let known = by_client(metrics, STATUS);
        let named = |(n, ip): (usize, _)| known.contains_key(&format!("device-{n} {ip}"));
        crowd.members.iter().enumerate().all(named).then_some(())
    });
}
