//! The lab itself: what the other integration tests rest on.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod lab;

use std::iter;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::dhcp::DhcpServer;
use lab::firewall::Firewall;
use lab::traffic::{self, Sent, TcpPair, UdpPair};
use lab::{Counters, Lab, frames, leftovers, node, process};

#[test]
fn every_host_reaches_the_internet_over_both_families() {
    let lab = Lab::builder().hosts(3).guest().nat().build();
    for host in lab.lan.iter().chain(&lab.guests) {
        assert!(host.pings(lab.internet.v4, 3), "{} {}", host.name, lab.internet.v4);
        assert!(host.pings(lab.internet.v6, 3), "{} {}", host.name, lab.internet.v6);
        assert!(host.pings(lab::GATEWAY4, 1) && host.pings(lab::GATEWAY6, 1), "{}", host.name);
    }
    assert!(lab.router.pings(lab.internet.v4, 1) && lab.router.pings(lab.internet.v6, 1));
    assert!(lab.host(1).pings(lab.host(3).ula.unwrap(), 1) && lab.host(2).pings(lab.guests[0].v4, 1));
}

#[test]
fn hosts_are_hidden_behind_the_router_with_nat_and_visible_without() {
    for (lab, seen) in [
        (Lab::builder().hosts(1).nat().build(), IpAddr::V4(lab::WAN4)),
        (Lab::builder().hosts(1).build(), IpAddr::from([192, 168, 1, 11])),
    ] {
        let mut pair = UdpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
        pair.up(1, 10);
        pair.down(1, 10);
        assert_eq!(pair.client_address().ip(), seen);
    }
}

#[test]
fn interface_counters_equal_the_datagrams_sent_byte_for_byte() {
    let lab = Lab::builder().hosts(2).nat().build();
    let (sender, bystander) = (lab.host(1), lab.host(2));
    for (from, to) in [(sender.on_v4(), lab.internet.on_v4()), (sender.on_v6(), lab.internet.on_v6())] {
        let before = [sender, bystander].map(|host| host.counters("eth0"));
        let wan_before = lab.router.counters("wan");

        let mut pair = UdpPair::open(from, to);
        let up = pair.up(1000, 333);
        let down = pair.down(77, 1200);

        // An interface may count a packet a moment after its receiver has read it.
        let counted =
            |counters: &Counters| (counters.tx_packets, counters.tx_bytes, counters.rx_packets, counters.rx_bytes);
        let wanted = (1000, up.l2, 77, down.l2);
        let mut last = Vec::new();
        let agreed = process::poll(process::LIMIT, || {
            last = vec![sender.counters("eth0") - before[0], lab.router.counters("wan") - wan_before];
            last.iter().all(|counters| counted(counters) == wanted).then_some(())
        });
        assert!(agreed.is_some(), "{last:?} is not {wanted:?}");
        let quiet = bystander.counters("eth0") - before[1];
        assert_eq!((quiet.tx_packets, quiet.rx_packets), (0, 0));
    }
}

#[test]
fn counters_read_by_the_lab_are_those_of_ip_link() {
    let lab = Lab::builder().hosts(1).build();
    traffic::send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 50, 100);
    let shown = lab.host(1).must(&["ip", "-s", "-j", "link", "show", "dev", "eth0"]);
    let counters = lab.host(1).counters("eth0");
    let tx = format!("\"tx\":{{\"bytes\":{},\"packets\":{},", counters.tx_bytes, counters.tx_packets);
    assert!(shown.contains(&tx), "{tx} not in {shown}");
}

#[test]
fn a_datagram_is_counted_with_its_headers_once() {
    let v4 = Sent::datagrams(IpAddr::from([192, 0, 2, 1]), 3, 100);
    assert_eq!(v4, Sent { packets: 3, payload: 300, l3: 3 * 128, l2: 3 * 142 });
    let v6 = Sent::datagrams("2001:db8::1".parse().unwrap(), 1, 100);
    assert_eq!((v6.l3, v6.l2), (148, 162));
}

#[test]
fn frames_made_to_order_arrive_as_they_were_made() {
    let lab = Lab::builder().hosts(2).build();
    let (sender, receiver) = (lab.host(1), lab.host(2));
    let macs = frames::Macs { source: [2, 0xba, 0xd0, 0, 0, 1], destination: receiver.mac };
    let forged = IpAddr::from([10, 66, 66, 66]);
    let plain = frames::udp(macs, forged, receiver.v4.into(), &[7; 600]);
    let double_tagged = frames::tagged(&plain, &[(0x88a8, 7), (0x8100, 42)]);
    let eth0 = sender.packet_socket("eth0");
    let tap = receiver.packet_socket("eth0");
    for frame in [plain, double_tagged] {
        eth0.send(&frame).unwrap();
        // The receiver's own answers pass its tap too.
        let mut arriving = || tap.receive(Duration::from_secs(10)).unwrap().unwrap();
        let arrived = iter::repeat_with(&mut arriving).find(|seen| seen[6..12] == macs.source).unwrap();
        // The kernel takes the outer tag into metadata: the frame ends alike and keeps its addresses.
        assert_eq!(arrived[..12], frame[..12]);
        assert!(frame.ends_with(&arrived[16..]));
    }
}

#[test]
fn fragments_are_put_together_again_by_the_receiver() {
    let lab = Lab::builder().hosts(2).build();
    let (sender, receiver) = (lab.host(1), lab.host(2));
    let socket = receiver.udp_socket(receiver.v4, 9);
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let macs = frames::Macs { source: sender.mac, destination: receiver.mac };
    let payload: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    let pieces = frames::fragments(&frames::udp(macs, sender.v4.into(), receiver.v4.into(), &payload), 400);
    assert_eq!(pieces.len(), 3);
    let eth0 = sender.packet_socket("eth0");
    for piece in &pieces {
        eth0.send(piece).unwrap();
    }
    let mut buffer = [0; 2000];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[..length], payload);
    assert_eq!(from.ip(), IpAddr::from(sender.v4));
}

#[test]
fn tcp_carries_what_was_asked_in_both_directions() {
    let lab = Lab::builder().hosts(1).nat().build();
    let before = lab.host(1).counters("eth0");
    let mut pair = TcpPair::open(lab.host(1).on_v4(), lab.internet.on_v4());
    pair.up(300_000);
    pair.down(700_000);
    let moved = lab.host(1).counters("eth0") - before;
    assert!(moved.tx_bytes > 300_000 && moved.rx_bytes > 700_000, "{moved:?}");

    let run = traffic::iperf3(lab.host(1).on_v6(), lab.internet.on_v6(), 5_000_000, true, lab.dir());
    assert!(run.received >= 5_000_000 && run.sent >= run.received, "{run:?}");
}

#[test]
fn without_offloads_every_segment_is_a_packet_of_its_own() {
    let lab = Lab::builder().hosts(1).build();
    let host = lab.host(1);
    let off = [("tso", false), ("gso", false), ("gro", false)];
    host.set_offloads("eth0", &off);
    lab.internet.set_offloads("eth0", &off);
    assert!(!host.offloads("eth0")["tcp-segmentation-offload"]);
    let before = host.counters("eth0");
    TcpPair::open(host.on_v4(), lab.internet.on_v4()).up(1_000_000);
    let sent = host.counters("eth0") - before;
    assert!(sent.tx_packets >= 1_000_000 / 1448, "{sent:?}");
}

#[test]
fn a_dhcp_client_gets_an_address_and_its_name_into_the_lease_file() {
    let lab = Lab::builder().hosts(2).build();
    let server = DhcpServer::start(&lab);
    let ip = server.lease(lab.host(2), "kitchen-radio");
    let leases = std::fs::read_to_string(server.leases()).unwrap();
    assert!(leases.contains(&format!(" 02:1a:00:00:01:02 {ip} kitchen-radio ")), "{leases}");
    assert!(lab.router.pings(ip, 1));
}

#[test]
fn a_program_that_overruns_its_limit_is_killed_and_reported() {
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let error = process::run(sleep, "", Duration::from_millis(100)).unwrap_err();
    assert_eq!(error, "sleep 60: still running after 0 s, killed");
}

#[test]
fn a_dropped_lab_leaves_no_namespace_no_mount_and_no_directory() {
    let lab = Lab::builder().guest().build();
    let (id, bpffs) = (lab.id.clone(), lab.bpffs());
    assert!(leftovers::mounted(&bpffs).is_some());
    assert_eq!(left_of(&id).len(), 5 + 1);
    drop(lab);
    assert_eq!(left_of(&id), [""; 0]);
    assert!(leftovers::mounted(&bpffs).is_none());
}

#[test]
fn a_lab_cleans_up_after_a_panicking_test() {
    let failing = std::thread::spawn(|| {
        let lab = Lab::builder().hosts(1).build();
        std::panic::panic_any(lab.id.clone());
    });
    let id = *failing.join().unwrap_err().downcast::<String>().unwrap();
    assert_eq!(left_of(&id), [""; 0]);
    assert!(leftovers::mounted(&Path::new("/tmp").join(&id).join("bpf")).is_none());
}

#[test]
fn what_a_killed_owner_left_is_swept_and_what_a_living_one_holds_is_not() {
    let script = "ip netns add gm$$-0-router && mkdir -p /tmp/gm$$-0/bpf && \
                  mount -t bpf gm$$-0 /tmp/gm$$-0/bpf && echo $$ && kill -9 $$";
    let mut owner = Command::new("sh");
    owner.args(["-c", script]);
    let killed = process::run(owner, "", process::LIMIT).unwrap();
    let id = format!("gm{}-0", killed.stdout.trim());
    assert_eq!(killed.status.code(), None, "{killed:?}");

    let living = Lab::builder().hosts(1).build();
    let _second = Lab::builder().hosts(1).build();

    assert_eq!(left_of(&id), [""; 0]);
    assert!(leftovers::mounted(&Path::new("/tmp").join(&id).join("bpf")).is_none());
    assert!(living.host(1).pings(living.internet.v4, 1));
}

/// Namespaces and directories whose name starts with `id`.
fn left_of(id: &str) -> Vec<String> {
    let all = leftovers::names(node::NETNS_DIR).into_iter().chain(leftovers::names("/tmp"));
    all.filter(|name| name == id || name.starts_with(&format!("{id}-"))).collect()
}

#[test]
fn an_address_that_is_given_back_leaves_the_lease_file() {
    let lab = Lab::builder().hosts(1).build();
    let server = DhcpServer::start(&lab);
    server.lease(lab.host(1), "kitchen-radio");
    server.release(lab.host(1), &lab.dir().join("udhcpc.log"));
    let leases = std::fs::read_to_string(server.leases()).unwrap();
    assert!(!leases.contains("kitchen-radio"), "{leases}");
}

#[test]
fn a_crowd_has_as_many_flows_as_one_asks_for_behind_a_firewall() {
    let lab = Lab::builder().hosts(1).build();
    let _firewall = Firewall::start(&lab);
    let crowd = lab.crowd(lab.host(1), 250);
    let flows = crowd.flows(8);
    assert_eq!(flows.count(), 2000);
    let count = lab.router.must(&["conntrack", "-C"]);
    assert!(count.trim().parse::<usize>().unwrap() >= 2000, "{count}");
    let neighbours = lab.router.must(&["ip", "neigh", "show", "dev", "br-lan"]);
    assert!(neighbours.lines().count() >= 250, "{neighbours}");
}

#[test]
fn a_port_that_is_forwarded_reaches_the_host_also_after_a_reload() {
    let lab = Lab::builder().hosts(1).build();
    let mut firewall = Firewall::start(&lab);
    firewall.forward_port("udp", 5000, lab.host(1).v4, 5001);
    let (inside, outside) = (lab.host(1).udp_socket(lab.host(1).v4, 5001), lab.internet.udp_socket(lab.internet.v4, 0));
    for _ in 0..2 {
        outside.send_to(b"in", (lab::WAN4, 5000)).unwrap();
        inside.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        inside.recv_from(&mut [0; 10]).unwrap();
        firewall.reload();
    }
}

#[test]
fn living_neighbours_are_learned_and_lost() {
    let lab = Lab::builder().hosts(2).living_neighbours().build();
    let state = |host: usize| {
        let shown = lab.router.must(&["ip", "-4", "neigh", "show", "dev", "br-lan", &lab.host(host).v4.to_string()]);
        shown.split_whitespace().last().unwrap_or("none").to_owned()
    };
    let becomes = |host: usize, want: &str| {
        let seen = process::poll(process::LIMIT, || (state(host) == want).then_some(()));
        assert!(seen.is_some(), "{host} is {} and not {want}", state(host));
    };
    becomes(1, "STALE");
    lab.unplug(lab.host(1));
    assert!(!lab.router.pings(lab.host(1).v4, 1));
    becomes(1, "FAILED");
    lab.plug(lab.host(1));
    assert!(lab.host(1).pings(lab.internet.v4, 1));
    becomes(1, "STALE");
}
