//! Under which name a host is shown, and what a name cannot do.

use std::collections::BTreeSet;
use std::fs;

use crate::figures::{Tally, UP, exchange, expect, hosts, inject, mark, named, nobody, setup, static_lease};
use crate::harness::exposition;
use crate::lab::dhcp::DhcpServer;
use crate::lab::{Lab, frames, process};

const UNKNOWN: &str = "gatemeter_traffic_unknown_hosts";

#[test]
fn a_mac_address_is_the_same_however_it_is_written() {
    let lab = Lab::builder().hosts(6).build();
    let texts = lab.lan.iter().map(|host| host.mac_text()).collect::<Vec<_>>();
    let leases = format!(
        "config host\n\toption name 'lower'\n\toption mac '{}'\n\
         config host 'named_section'\n\toption mac '{}'\n\toption name 'upper'\n\
         config host\n\toption name 'dashes'\n\toption mac '{}'\n\
         config host\n\toption name 'listed'\n\tlist mac '02:ff:ff:ff:ff:01'\n\tlist mac '{}'\n\
         config host\n\toption name 'spaced'\n\toption mac '02:ff:ff:ff:ff:02 {}'\n\
         config host\n\toption name 'macless'\n\
         config host\n\toption mac '02:ff:ff:ff:ff:03'\n",
        texts[0].to_lowercase(),
        texts[1],
        texts[2].replace(':', "-").to_lowercase(),
        texts[3],
        texts[4],
    );
    let daemon = setup(&lab).uci("dhcp", &leases).start();
    let mut want = Vec::new();
    for (n, name) in ["lower", "upper", "dashes", "listed", "spaced", "nobody knows"].into_iter().enumerate() {
        let (v4, v6) = (lab.lan[n].on_v4(), lab.lan[n].on_v6());
        let counted = [
            (named(name, v4), exchange(v4, lab.internet.on_v4(), (n + 1, 100), (1, 200))),
            (named(&format!("{name}-v6"), v6), exchange(v6, lab.internet.on_v6(), (n + 1, 100), (1, 200))),
        ];
        // The last is known to nobody and left out.
        want.extend((n < 5).then_some(counted).into_iter().flatten());
    }
    daemon.wait_for(UNKNOWN, 2.0);
    expect(&daemon, want);
    let metrics = daemon.metrics();
    assert_eq!(metrics["gatemeter_traffic_hosts{family=\"ipv4\"}"], 6.0);
    assert_eq!(metrics["gatemeter_traffic_hosts{family=\"ipv6\"}"], 6.0);
}

#[test]
fn unknown_hosts_are_shown_when_asked_for_and_are_still_told_to_be_unknown() {
    let lab = Lab::builder().hosts(2).build();
    let daemon =
        setup(&lab).uci("dhcp", &static_lease("lan1", lab.host(1))).flags(&["-o", "traffic.unknown_hosts=1"]).start();
    let stranger = lab.host(2);
    let want = [
        mark(&lab, lab.host(1)),
        (named("unknown", stranger.on_v4()), exchange(stranger.on_v4(), lab.internet.on_v4(), (10, 100), (5, 500))),
        (named("unknown", stranger.on_v6()), exchange(stranger.on_v6(), lab.internet.on_v6(), (11, 100), (6, 500))),
    ];
    expect(&daemon, want);
    daemon.wait_for(UNKNOWN, 2.0);
}

#[test]
fn a_dhcp_client_is_shown_under_the_name_in_its_lease() {
    let lab = Lab::builder().hosts(2).build();
    let server = DhcpServer::start(&lab);
    let leases = format!("traffic.leases={}", server.leases().display());
    let daemon = setup(&lab).uci("dhcp", "").flags(&["-o", &leases]).start();
    let radio = lab.host(2);
    let ip = server.lease(radio, "kitchen-radio");
    let leased = radio.on(ip);
    expect(&daemon, [(named("kitchen-radio", leased), exchange(leased, lab.internet.on_v4(), (10, 100), (5, 500)))]);
}

#[test]
fn a_name_that_changes_in_the_configuration_is_shown_without_a_restart_or_a_signal() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab).uci("dhcp", "");
    let daemon = setup.start();
    let lan = lab.host(1);
    let (_, sent) = mark(&lab, lan);
    daemon.wait_for(UNKNOWN, 1.0);
    expect(&daemon, []);
    for name in ["tablet", "telly"] {
        setup.write_uci("dhcp", &static_lease(name, lan));
        expect(&daemon, [(named(name, lan.on_v4()), sent)]);
    }
    // A file that is half written is not taken for an empty one.
    setup.write_uci("dhcp", "config host\n\toption name 'tell");
    let again = mark(&lab, lan).1;
    expect(&daemon, [(named("telly", lan.on_v4()), sent), (named("telly", lan.on_v4()), again)]);
    assert!(daemon.stderr().contains("names known from it are kept"), "{}", daemon.stderr());
}

#[test]
fn a_hostile_name_cannot_forge_a_sample() {
    let lab = Lab::builder().hosts(1).build();
    let long = "n".repeat(300);
    let by_lease: [(&[u8], &str); 6] = [
        (b"quo\"te", "quo\"te"),
        (b"back\\slash\\n", "back\\slash\\n"),
        (b"\"}\\", "\"}\\"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"not\xff\xfeutf8", "not\u{fffd}\u{fffd}utf8"),
        (b"\x1b[31m\x7f", "\u{fffd}[31m\u{fffd}"),
    ];
    let by_uci: [(&[u8], &str); 4] = [
        (b"'ends\nnode_nat_traffic_download{mac=\"f\",hostname=\"f\",ip=\"f\"} 1'", "ends"),
        (b"'a\"}'", "a\"}"),
        (long.as_bytes(), &long[..255]),
        (b"\"}\\\\\"", "}\\"),
    ];
    let (mut leases, mut uci, mut want) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut sent = Vec::new();
    for (n, (name, shown)) in by_lease.iter().chain(&by_uci).enumerate() {
        let mac = [2, 0xee, 0, 0, 0, n as u8];
        let text = mac.map(|byte| format!("{byte:02x}")).join(":");
        let ip = format!("192.168.1.{}", 100 + n);
        let line = if n < by_lease.len() {
            [format!("1700000000 {text} {ip} ").as_bytes(), name, b" *\n"].concat()
        } else {
            [format!("config host\n\toption mac '{text}'\n\toption name ").as_bytes(), name, b"\n"].concat()
        };
        if n < by_lease.len() { &mut leases } else { &mut uci }.extend(line);
        let macs = frames::Macs { source: mac, destination: lab.router_mac(lab.host(1)) };
        sent.push(frames::udp(macs, ip.parse().unwrap(), nobody(false), &[0; 10]));
        want.insert(format!("{shown} {ip} {}", text.to_uppercase()));
    }
    let lease_file = lab.dir().join("hostile.leases");
    fs::write(&lease_file, &leases).unwrap();
    let setup = setup(&lab).flags(&["-o", &format!("traffic.leases={}", lease_file.display())]);
    fs::write(setup.dir().join("config/dhcp"), &uci).unwrap();
    let daemon = setup.start();
    inject(&lab, &lab.host(1).packet_socket("eth0"), &sent);
    daemon.wait_for("gatemeter_traffic_hosts{family=\"ipv4\"}", 10.0);

    // The page is read as strictly as a scrape reads it; every host has its one name and its own figures.
    let shown = hosts(&daemon.metrics());
    assert_eq!(shown.keys().cloned().collect::<BTreeSet<_>>(), want);
    let each = Tally::frames(&sent[..1]);
    assert_eq!((each.up_bytes, each.up_packets), (52, 1));
    assert!(shown.values().all(|tally| *tally == each), "{shown:#?}");
    exposition::parse(&daemon.textfile().unwrap()).unwrap();

    let page = daemon.page().unwrap();
    let mut promtool = std::process::Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let verdict = process::run(promtool, &page, process::LIMIT).unwrap();
    let complaints = verdict.stdout + &verdict.stderr;
    // 0: perfect, 3: readable, with remarks on names and types.
    assert!(matches!(verdict.status.code(), Some(0 | 3)), "{complaints}\n{page}");
    let ours = complaints.lines().filter(|line| !line.starts_with("node_nat_traffic_")).collect::<Vec<_>>();
    assert_eq!(ours, [""; 0], "promtool may complain about the names that mezoura fixed, not about ours");

    let front = daemon.get("/").unwrap().text();
    assert!(!front.contains("alert(1)"), "{front}");
    daemon.wait_for(UP, 1.0);
}

#[test]
fn a_host_that_two_sources_name_has_the_name_of_the_configuration() {
    let lab = Lab::builder().hosts(2).build();
    let file = lab.dir().join("some.leases");
    let lease =
        |n: usize, name| format!("1700000000 {} {} {name} *\n", lab.host(n).mac_text().to_lowercase(), lab.host(n).v4);
    fs::write(&file, lease(1, "from-lease") + &lease(2, "only-lease")).unwrap();
    let daemon = setup(&lab)
        .uci("dhcp", &static_lease("from-uci", lab.host(1)))
        .flags(&["-o", &format!("traffic.leases={}", file.display())])
        .start();
    let want = [("from-uci", 1), ("only-lease", 2)]
        .map(|(name, n)| (named(name, lab.host(n).on_v4()), mark(&lab, lab.host(n)).1));
    expect(&daemon, want);
}
