//! Events of the kernel that the daemon had no room for, on each socket that it follows them by: what it knows afterwards
//! is what there is, and a counter tells of it.
//!
//! The daemon is stopped while thousands of changes come, as a router's is whose one processor is busy with packets. The
//! changes it has room for are then those that were undone later, so whoever took them for the truth would be wrong.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gatemeter::netlink::route::{self, Event};
use gatemeter::netlink::transport::{Events, Overrun, Requests};
use gatemeter::netlink::{self, Message};

use super::inject::{Flow, Injector};
use super::{CLIENTS_UP, Daemon, Lab, PATIENCE, Samples, Setup, StopOnDrop, UP, process, setup_of};
use crate::harness::supervise::Answer;
use crate::harness::{Documented, Supervisor};
use crate::lab::powerline::Model;
use crate::lab::traffic::send_udp;
use crate::lab::{End, GATEWAY6, Node};

const PROBE_UP: &str = "gatemeter_collector_up{collector=\"probe\"}";

/// Runs `ip` on many lines.
fn ip_batch(node: &Node, lines: &str) {
    let mut command = node.command("ip");
    command.args(["-batch", "-"]);
    process::must(command, lines).unwrap();
}

/// More changes than any socket of the daemon has room for.
fn flood() -> String {
    let mut lines = "link add flood type bridge\nlink set flood up\n".to_owned();
    for n in 0..1500u32 {
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 0, 1)) + n);
        lines += &format!("addr add {ip}/32 dev flood\nneigh add {ip} lladdr 02:00:00:00:00:01 dev flood\n");
    }
    lines + "link del flood\n"
}

/// Does something while the daemon cannot run.
fn while_stopped(daemon: &Daemon, work: impl FnOnce()) {
    daemon.signal(libc::SIGSTOP);
    let state = || fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    assert!(process::poll(PATIENCE, || state().contains(") T ").then_some(())).is_some());
    work();
    daemon.signal(libc::SIGCONT);
}

/// Metrics of collections of both that began after this call.
fn fresh(daemon: &Daemon) -> Samples {
    daemon.fresh("clients");
    daemon.fresh("traffic")
}

/// Bytes that an address has sent, as `traffic` and as `clients` has them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Counted {
    uploaded: f64,
    tx: f64,
}

fn counted(metrics: &Samples, end: End) -> Counted {
    let sum = |start: &str| {
        let is_its = |series: &&String| series.starts_with(start) && series.contains(&format!("ip=\"{}\"", end.ip));
        metrics.keys().filter(is_its).map(|series| metrics[series]).sum()
    };
    Counted { uploaded: sum("node_nat_traffic_upload{"), tx: sum("client_traffic_bytes{direction=\"tx\"") }
}

/// Has an address send until both collectors count it, or neither does any more; returns what they have counted of it.
/// The daemon hears of changes in its own time.
#[track_caller]
fn until_settled(daemon: &Daemon, from: End, to: End, is_counted: bool) -> Counted {
    let mut before = counted(&fresh(daemon), from);
    let settled = process::poll(PATIENCE, || {
        send_udp(from, to, 1, 5);
        let now = counted(&fresh(daemon), from);
        let grown = [now.uploaded > before.uploaded, now.tx > before.tx];
        before = now;
        (grown == [is_counted; 2]).then_some(())
    });
    assert!(settled.is_some(), "{}: counted is not {is_counted} with both, {before:?}", from.ip);
    before
}

/// Interfaces that packets are counted on.
fn attached(metrics: &Samples) -> Vec<String> {
    let name = |series: &String| crate::exposition::label(series, "interface").unwrap();
    metrics.keys().filter(|series| series.starts_with("gatemeter_traffic_interface_attached{")).map(name).collect()
}

fn probing<'a>(lab: &'a Lab, flags: &[&str]) -> Setup<'a> {
    let all = ["--log-level", "debug", "-o", "probe.unlocked=1", "-o", "probe.interval=100"];
    setup_of(lab, "traffic,clients,probe").flags(&all).flags(flags)
}

#[test]
fn lost_events_about_the_network_leave_nothing_that_is_no_longer_so() {
    let lab = Lab::builder().hosts(1).guest().build();
    let guest = &lab.guests[0];
    // One target is reached through an interface by its name, one as the routes say.
    let (to_guest, internet) = (guest.v4.to_string(), lab.internet.v6.to_string());
    let targets = [
        "-o",
        &format!("target.host={to_guest}"),
        "-o",
        &format!("target.host={internet}"),
        "-o",
        "target.host=gateway",
        "-o",
        "target.ip_version=6",
    ];
    let daemon = probing(&lab, &["-o", "probe.interface4=br-guest"]).flags(&targets).start();
    for up in [UP, CLIENTS_UP, PROBE_UP] {
        daemon.wait_for(up, 1.0);
    }
    let early = "route replace default via 2001:db8:1:1::11 dev br-lan\n\
                 link set br-guest down\nlink set br-guest name br-other\nlink set br-other up\n\
                 addr add 192.168.77.1/24 dev br-lan\n\
                 neigh add 192.168.1.200 lladdr 02:00:00:00:00:c8 nud permanent dev br-lan\n";
    let late = "link set br-other down\nlink set br-other name br-guest\nlink set br-guest up\n\
                addr del 192.168.77.1/24 dev br-lan\nneigh del 192.168.1.200 dev br-lan\n\
                addr add 192.168.99.1/24 dev br-lan\n\
                route replace default via 2001:db8:ffff::1 dev wan\n";
    while_stopped(&daemon, || ip_batch(&lab.router, &format!("{early}{}{late}", flood())));
    Documented::of("Lost events about the network").by_daemon(&daemon);
    let is_gateway = |series: &&String| series.contains(",target=\"gateway\"");
    daemon.wait_until("the interfaces, the gateway, and no neighbour that is no more", |metrics| {
        let gateways: Vec<&String> = metrics.keys().filter(is_gateway).collect();
        let gateway = format!("ip=\"{GATEWAY6}\"");
        let is_so = attached(metrics) == ["br-guest", "br-lan"]
            && matches!(gateways[..], [series] if series.contains(&gateway))
            && !metrics.keys().any(|series| series.contains("192.168.1.200"));
        is_so.then_some(())
    });
    // The address that came counts as the LAN's, and the one that went does not.
    let host = lab.host(1);
    host.must(&["ip", "addr", "add", "192.168.77.50/24", "dev", "eth0"]);
    host.must(&["ip", "addr", "add", "192.168.99.50/24", "dev", "eth0"]);
    let old = host.on(Ipv4Addr::new(192, 168, 77, 50));
    let new = host.on(Ipv4Addr::new(192, 168, 99, 50));
    // Once both count the one, they have listed all anew.
    let before = until_settled(&daemon, new, lab.internet.on_v4(), true);
    send_udp(old, lab.internet.on_v4(), 10, 100);
    let sent = send_udp(new, lab.internet.on_v4(), 10, 100);
    let wanted = Counted { uploaded: before.uploaded + sent.l2 as f64, tx: before.tx + sent.l3 as f64 };
    daemon.wait_until("bytes of the address that came", |metrics| (counted(metrics, new) == wanted).then_some(()));
    let stale = counted(&fresh(&daemon), old);
    assert_eq!(stale, Counted::default(), "bytes of the address that went");
    // Probes leave by both again: by the interface's name, and by the route.
    for ip in [&to_guest, &internet] {
        let series = format!("icmp_probe_packets_recv_total{{ip=\"{ip}\"}}");
        let before = daemon.metrics()[&series];
        let answered = |metrics: &Samples| metrics.get(&series).filter(|now| **now >= before + 5.0).map(|_| ());
        daemon.wait_until("answers", answered);
    }
    let said = daemon.stderr();
    assert!(!said.contains("ERROR"), "{said}");
    for collector in ["traffic", "clients", "probe"] {
        let errors = format!("gatemeter_collector_errors_total{{collector=\"{collector}\"}}");
        assert_eq!(daemon.fresh(collector)[&errors], 0.0);
    }
}

#[test]
fn lost_events_about_connections_are_made_up_for_by_reading_all() {
    let lab = Lab::builder().hosts(1).nat().build();
    lab.router.must(&["ip", "addr", "add", "10.77.0.1/16", "dev", "br-lan"]);
    let daemon = setup_of(&lab, "clients").start();
    daemon.wait_for(CLIENTS_UP, 1.0);
    // As many are put in as two of these buffers hold, and the first are gone again.
    while_stopped(&daemon, || {
        lab.router.enter(|| {
            let mut injector = Injector::open();
            injector.add((0..7000).map(|n| Flow::nth(n, 20)));
            injector.remove((0..1000).map(|n| Flow::nth(n, 20)));
        });
    });
    Documented::of("Lost events about connections").by_daemon(&daemon);
    daemon.wait_for("gatemeter_clients_flow_overruns_total", 1.0);
    // The network has some of its own, as those of neighbours that were not reached.
    let are = |wanted: f64| {
        let flows = "gatemeter_clients_flows";
        let count =
            |metrics: &Samples| metrics.get(flows).filter(|count| (wanted..wanted + 10.0).contains(count)).map(drop);
        daemon.wait_until(flows, count);
    };
    are(6000.0);
    // What happens from then on is followed again.
    let reads = daemon.metrics()["gatemeter_clients_flow_reads_total"];
    lab.router.enter(|| Injector::open().remove((1000..3000).map(|n| Flow::nth(n, 20))));
    are(4000.0);
    assert_eq!(daemon.metrics()["gatemeter_clients_flow_reads_total"], reads);
}

#[test]
fn lost_events_about_the_ruleset_are_no_reason_to_lose_rules() {
    let lab = Lab::builder().hosts(1).build();
    let rules = ["-o", "clients.accounting=rules", "-o", "clients.manage_rules=1"];
    let daemon = setup_of(&lab, "clients").flags(&rules).start();
    daemon.wait_for(CLIENTS_UP, 1.0);
    let host = lab.host(1);
    let tx = format!("client_traffic_bytes{{direction=\"tx\",ip=\"{}\",client=\"lan1\"}}", host.v4);
    let mut bytes = send_udp(host.on_v4(), lab.internet.on_v4(), 10, 100).l3;
    // Its rule comes with the client's neighbour entry, which is there from the start.
    daemon.wait_for(&tx, bytes as f64);
    while_stopped(&daemon, || {
        let mut lines = "delete table inet filter\nadd table inet others\nadd chain inet others many\n".to_owned();
        lines += &"add rule inet others many ip saddr 192.0.2.1 counter accept\n".repeat(2000);
        let mut nft = lab.router.command("nft");
        nft.args(["-f", "-"]);
        process::must(nft, &lines).unwrap();
    });
    Documented::of("Lost events about the ruleset").by_daemon(&daemon);
    let listed = || lab.router.must(&["nft", "list", "ruleset"]).contains(&format!("tx_{}", host.v4)).then_some(());
    assert!(process::poll(PATIENCE, listed).is_some(), "the rule is not made again");
    bytes += send_udp(host.on_v4(), lab.internet.on_v4(), 10, 100).l3;
    daemon.wait_for(&tx, bytes as f64);
}

/// Adds and removes an address again and again until told to stop.
fn churn(stop: &AtomicBool) {
    let mut requests = Requests::open(libc::NETLINK_ROUTE).unwrap();
    let index = fs::read_to_string("/proc/thread-self/net/dev_snmp6/br-guest").unwrap();
    let index: u32 = index.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    // struct ifaddrmsg, and IFA_LOCAL with 192.168.66.1.
    let mut fixed = [libc::AF_INET as u8, 24, 0, 0, 0, 0, 0, 0, 8, 0, 2, 0, 192, 168, 66, 1];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&[8u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat());
    while !stop.load(Ordering::Relaxed) {
        for (kind, flags) in [(libc::RTM_NEWADDR, libc::NLM_F_CREATE), (libc::RTM_DELADDR, 0)] {
            let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
            let sequence = requests.next_sequence();
            let refused = requests.change(&netlink::request(kind, flags, sequence, &fixed)).unwrap();
            assert!(refused.is_empty(), "{refused:?}");
        }
    }
}

#[test]
fn a_list_that_changes_while_it_is_read_is_read_again() {
    let lab = Lab::builder().hosts(1).guest().build();
    // So many that the kernel hands them out in several pieces.
    let many: String =
        (0..3000).map(|n: u32| format!("addr add 10.98.{}.{}/32 dev lo\n", n / 250, n % 250 + 1)).collect();
    ip_batch(&lab.router, &many);
    let stop = AtomicBool::new(false);
    let lab = &lab;
    let daemon = thread::scope(|scope| {
        let churning = scope.spawn(|| lab.router.enter(|| churn(&stop)));
        let stopping = StopOnDrop(&stop);
        // The kernel does mark lists as interrupted.
        lab.router.enter(|| {
            let mut requests = Requests::open(libc::NETLINK_ROUTE).unwrap();
            let request = |sequence| {
                let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
                netlink::request(libc::RTM_GETADDR, flags, sequence, &[0; 8])
            };
            let interrupted = || (!smol::block_on(requests.dump(request, |_| Ok(()))).unwrap()).then_some(());
            assert!(process::poll(PATIENCE, interrupted).is_some(), "no list was interrupted");
        });
        let daemon = setup_of(lab, "traffic,clients").start();
        drop(stopping);
        churning.join().unwrap();
        daemon
    });
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    // Nothing is left of the address that came and went.
    let guest = &lab.guests[0];
    guest.must(&["ip", "addr", "add", "192.168.66.50/24", "dev", "eth0"]);
    let stale = guest.on(Ipv4Addr::new(192, 168, 66, 50));
    let before = until_settled(&daemon, stale, lab.internet.on_v4(), false);
    send_udp(stale, lab.internet.on_v4(), 10, 100);
    until_settled(&daemon, guest.on_v4(), lab.internet.on_v4(), true);
    assert_eq!(counted(&fresh(&daemon), stale), before);
}

#[test]
fn a_socket_that_lost_events_has_none_left_that_is_older_and_tells_of_the_next_loss() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.enter(|| {
        let mut events = Events::open(libc::NETLINK_ROUTE, route::GROUPS, 4096).unwrap();
        for round in 1..=3 {
            ip_batch(&lab.router, &flood());
            assert_eq!(events.drain(1024, |_| Ok(())), Err(Overrun));
            assert_eq!(events.overruns(), round);
            let mark = Ipv4Addr::new(10, 1, 1, round as u8);
            lab.router.must(&["ip", "addr", "add", &format!("{mark}/32"), "dev", "lo"]);
            let mut seen = Vec::new();
            let each = |message: &Message<'_>| {
                if let Some(Event::Address(address)) = route::decode(message)? {
                    seen.push(address.addr);
                }
                Ok(())
            };
            assert!(events.drain(1024, each).is_ok());
            assert_eq!(seen, [IpAddr::V4(mark)]);
        }
    });
}

/// Whether a descriptor of a thread is a netlink socket.
fn is_netlink(thread: u32, descriptor: u64) -> bool {
    let link = fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).unwrap_or_default();
    let Some(inode) = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')) else {
        return false;
    };
    let table = fs::read_to_string(format!("/proc/{thread}/net/netlink")).unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().next_back() == Some(inode))
}

#[test]
fn a_kernel_without_memory_for_its_answers_is_told_and_asked_again() {
    let told = Documented::of("No memory for answers of the kernel");
    let lab = Lab::builder().hosts(1).nat().build();
    let poor = Arc::new(AtomicBool::new(false));
    let refuse = poor.clone();
    let supervisor = Supervisor::new(libc::SYS_recvfrom, move |call| {
        match refuse.load(Ordering::SeqCst) && is_netlink(call.thread, call.args[0]) {
            true => Answer::Error(libc::ENOBUFS),
            false => Answer::Kernel,
        }
    });
    let _segment = lab.powerline(Model::home());
    let flags = ["-o", "homeplug.interface=plc0", "-o", "homeplug.interval=1"];
    let all = [UP, CLIENTS_UP, PROBE_UP, "gatemeter_collector_up{collector=\"homeplug\"}"];
    let daemon = setup_of(&lab, "traffic,clients,probe,homeplug").flags(&flags).supervised(supervisor).start();
    for up in all {
        daemon.wait_for(up, 1.0);
    }
    let (sent, ()) = super::while_talking(&lab, || {
        poor.store(true, Ordering::SeqCst);
        lab.router.must(&["ip", "addr", "add", "192.168.88.1/24", "dev", "br-lan"]);
        told.by_daemon(&daemon);
        poor.store(false, Ordering::SeqCst);
        for up in all {
            daemon.wait_for(up, 1.0);
        }
        super::let_it_flow(&lab);
    });
    super::expect_both(&daemon, sent);
}
