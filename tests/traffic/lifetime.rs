//! Counts outlive the daemon: however it ends, whoever comes after it, not one packet is lost or counted twice.

use std::fs;

use crate::figures::{UP, expect, hosts, let_it_flow, mark, setup, static_leases, sum, while_talking};
use crate::harness::PATIENCE;
use crate::lab::traffic::send_udp;
use crate::lab::{Lab, process};

#[test]
fn a_killed_daemon_loses_no_packet_with_tcx() {
    a_killed_daemon_loses_no_packet("tcx");
}

#[test]
fn a_killed_daemon_loses_no_packet_with_clsact() {
    a_killed_daemon_loses_no_packet("clsact");
}

fn a_killed_daemon_loses_no_packet(attach: &str) {
    let lab = Lab::builder().hosts(2).nat().build();
    let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={attach}")]);
    let mut daemon = setup.start();
    let (sent, daemon) = while_talking(&lab, || {
        for _ in 0..3 {
            let_it_flow(&lab);
            daemon.kill9();
            let_it_flow(&lab);
            daemon = setup.start();
            daemon.wait_for(UP, 1.0);
        }
        let_it_flow(&lab);
        daemon
    });
    assert!(sent.values().all(|tally| tally.up_packets > 7 * 40), "{sent:#?}");
    expect(&daemon, sent);
    daemon.wait_for(&format!("gatemeter_traffic_interface_attached{{interface=\"br-lan\",hook=\"{attach}\"}}"), 1.0);
}

#[test]
fn counting_goes_on_while_a_stopped_daemon_is_away_with_tcx() {
    counting_goes_on_while_a_stopped_daemon_is_away("tcx");
}

#[test]
fn counting_goes_on_while_a_stopped_daemon_is_away_with_clsact() {
    counting_goes_on_while_a_stopped_daemon_is_away("clsact");
}

fn counting_goes_on_while_a_stopped_daemon_is_away(attach: &str) {
    let lab = Lab::builder().hosts(2).build();
    let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={attach}")]);
    let mut daemon = setup.start();
    let before = while_talking(&lab, || let_it_flow(&lab)).0;
    let status = daemon.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!setup.textfile().exists(), "a stopped daemon shows no figures");

    let between = while_talking(&lab, || let_it_flow(&lab)).0;
    let daemon = setup.start();
    let after = while_talking(&lab, || let_it_flow(&lab)).0;
    expect(&daemon, before.into_iter().chain(between).chain(after));
    daemon.wait_for("gatemeter_traffic_pinned", 1.0);
}

#[test]
fn a_second_daemon_says_why_it_does_not_count_and_takes_over_when_the_first_is_gone() {
    let lab = Lab::builder().hosts(2).build();
    let mut first = setup(&lab).start();
    let second = setup(&lab).flags(&["-p", "9998"]);
    let (sent, second) = while_talking(&lab, || {
        let second = second.start();
        second.wait_for(UP, 0.0);
        let_it_flow(&lab);
        first.wait_for(UP, 1.0);
        second
    });
    expect(&first, sent.clone());
    assert_eq!(hosts(&second.metrics()).len(), 0);
    let said = second.stderr();
    assert!(said.contains("another gatemeter is accounting in this network namespace; stop that one first"), "{said}");
    assert_eq!(said.matches("another gatemeter").count(), 1, "{said}");
    assert_eq!(second.get("/healthz").unwrap().status, 200);

    let (more, status) = while_talking(&lab, || {
        let status = first.stop();
        second.wait_for(UP, 1.0);
        status
    });
    assert_eq!(status.code(), Some(0));
    expect(&second, sent.into_iter().chain(more));
}

#[test]
fn a_signal_brings_new_subnets_and_names_and_keeps_the_counts() {
    let lab = Lab::builder().hosts(2).guest().build();
    let subnets = |list: &[&str]| {
        let list: String = list.iter().map(|item| format!("\tlist subnet4 '{item}'\n")).collect();
        format!("config traffic 'traffic'\n{list}\tlist subnet6 '2001:db8:1::/48'\n")
    };
    let (lan, guest) = ("192.168.1.1/24/br-lan", "192.168.2.1/24/br-guest");
    let setup = setup(&lab).uci("gatemeter", &subnets(&[lan]));
    let daemon = setup.start();
    let guest_host = &lab.guests[0];
    // Not a LAN that was asked for, so not counted.
    send_udp(guest_host.on_v4(), lab.internet.on_v4(), 5, 5);
    let (mut sent, _) = while_talking(&lab, || {
        let_it_flow(&lab);
        setup.write_uci("gatemeter", &subnets(&[lan, guest]));
        setup.write_uci("dhcp", &static_leases(&lab).replace("'lan2'", "'renamed'"));
        daemon.signal(libc::SIGHUP);
        daemon.wait_for(&attached("br-guest"), 1.0);
        let_it_flow(&lab);
    });
    for family in ["", "-v6"] {
        let old = sent.keys().find(|key| key.starts_with(&format!("lan2{family} "))).unwrap().clone();
        let tally = sent.remove(&old).unwrap();
        sent.insert(old.replace("lan2", "renamed"), tally);
    }
    let guest_sent = [mark(&lab, guest_host), mark(&lab, guest_host)];
    let sent = sum(sent.into_iter().chain(guest_sent));
    expect(&daemon, sent.clone());

    setup.write_uci("gatemeter", &subnets(&[lan]));
    daemon.signal(libc::SIGHUP);
    daemon
        .wait_until("the guests' bridge let go", |metrics| metrics.get(&attached("br-guest")).is_none().then_some(()));
    send_udp(guest_host.on_v4(), lab.internet.on_v4(), 5, 5);
    let last = mark(&lab, lab.host(1));
    expect(&daemon, sent.into_iter().chain([last]));
}

fn attached(ifname: &str) -> String {
    format!("gatemeter_traffic_interface_attached{{interface=\"{ifname}\",hook=\"tcx\"}}")
}

#[test]
fn a_configuration_that_breaks_is_told_by_line_and_the_old_one_goes_on() {
    let lab = Lab::builder().hosts(1).build();
    let good = "config traffic 'traffic'\n\tlist subnet4 '192.168.1.1/24/br-lan'\n";
    let setup = setup(&lab).uci("gatemeter", good);
    let daemon = setup.start();
    let mut sent = vec![mark(&lab, lab.host(1))];
    let file = setup.dir().join("config/gatemeter");
    for (text, line, problem) in [
        ("config traffic 'traffic'\n\n\tlist subnet4 '192.168.1.1/24/br-lan\n", 3, "unterminated"),
        ("config traffic 'traffic'\n\toption max_hosts 'many'\n", 2, "many"),
        ("config traffic 'traffic'\n\tlist subnet4 '192.168.1.1/24'\n", 2, "is not ADDR/LEN/IFACE"),
    ] {
        setup.write_uci("gatemeter", text);
        daemon.signal(libc::SIGHUP);
        let wanted = format!("{}:{line}: ", file.display());
        let said = process::poll(PATIENCE, || {
            let said = daemon.stderr();
            let line = said.lines().find(|said| said.contains(&wanted) && said.contains(problem))?;
            Some(line.to_owned())
        });
        let said = said.unwrap_or_else(|| panic!("no line with {wanted} and {problem}"));
        assert!(said.ends_with("; keeping the settings from before"), "{said}");
        sent.push(mark(&lab, lab.host(1)));
        expect(&daemon, sent.clone());
    }
    daemon.wait_for(UP, 1.0);
}

#[test]
fn another_table_size_keeps_every_count_by_signal_and_by_restart() {
    let lab = Lab::builder().hosts(2).build();
    let size = |hosts: u32| format!("config traffic 'traffic'\n\toption max_hosts '{hosts}'\n");
    let setup = setup(&lab).uci("gatemeter", &size(64));
    let mut daemon = setup.start();
    let (sent, daemon) = while_talking(&lab, || {
        let_it_flow(&lab);
        for hosts in [128, 32] {
            setup.write_uci("gatemeter", &size(hosts));
            daemon.signal(libc::SIGHUP);
            daemon.wait_for("gatemeter_traffic_hosts_limit", f64::from(hosts));
            let_it_flow(&lab);
        }
        for hosts in [256, 16] {
            daemon.kill9();
            setup.write_uci("gatemeter", &size(hosts));
            let_it_flow(&lab);
            daemon = setup.start();
            daemon.wait_for("gatemeter_traffic_hosts_limit", f64::from(hosts));
            let_it_flow(&lab);
        }
        daemon
    });
    expect(&daemon, sent);
    let left: Vec<_> =
        fs::read_dir(lab.bpffs().join("gatemeter/v1")).unwrap().flatten().map(|e| e.file_name()).collect();
    let aside = left.iter().filter(|name| name.to_string_lossy().contains('.')).count();
    assert_eq!(aside, 0, "tables of another size are merged and removed: {left:?}");
}

#[test]
fn without_pinning_counts_end_with_the_daemon_and_nothing_stays_behind() {
    for attach in ["tcx", "clsact"] {
        let lab = Lab::builder().hosts(1).build();
        let flags = ["-o", "traffic.pin_dir=none", "-o", &format!("traffic.attach={attach}")];
        let setup = setup(&lab).flags(&flags);
        let mut daemon = setup.start();
        daemon.wait_for("gatemeter_traffic_pinned", 0.0);
        let kernel = crate::kernel::Objects::of(&daemon);
        let (sent, _) = while_talking(&lab, || let_it_flow(&lab));
        expect(&daemon, sent);
        assert_eq!(daemon.stop().code(), Some(0));
        kernel.wait_until_gone();
        crate::kernel::nothing_on(&lab.router, "br-lan");
        send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 5, 5);

        let daemon = setup.start();
        expect(&daemon, [mark(&lab, lab.host(1))]);
    }
}

#[test]
fn a_pin_directory_that_is_no_bpf_file_system_is_told_and_counting_goes_on_without() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab);
    let dir = setup.dir().join("state/pins");
    let daemon = setup.flags(&["-o", &format!("traffic.pin_dir={}", dir.display())]).start();
    daemon.wait_for("gatemeter_traffic_pinned", 0.0);
    expect(&daemon, [mark(&lab, lab.host(1))]);
    let said = daemon.stderr();
    assert!(said.contains("counts end with the daemon") && said.contains("not on a BPF file system"), "{said}");
    assert!(!dir.exists(), "nothing is left of the attempt");
}
