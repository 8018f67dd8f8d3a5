//! Packets through real interfaces: a veth pair whose one end is the router's LAN interface, the other the host's.

use std::net::UdpSocket;

use gatemeter::collectors::traffic::codec::{Amount, Count, Counters, Rules};
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Hook};

use crate::lab::*;
use crate::net;
use crate::wait::{LIMIT, poll};

/// A router with one LAN interface and one host behind it.
struct Router {
    accounting: Accounting,
    lan: u32,
    /// Sends as the host.
    host: net::Sender,
    /// Sends as the router, out of its LAN interface.
    router: net::Sender,
}

fn router(attach: Attach, rules: &Rules) -> Router {
    net::enter_namespaces();
    let (lan, host) = net::veth("lan0", "host0");
    let mut accounting = open(1024, None, attach);
    accounting.attach(lan, "lan0", rules).unwrap_or_else(|error| panic!("{error}"));
    Router { accounting, lan, host: net::Sender::new(host), router: net::Sender::new(lan) }
}

fn counts_both_directions(attach: Attach, hook: Hook) {
    let mut router = router(attach, &rules());
    assert_eq!(router.accounting.hook(router.lan), Some(hook));
    for _ in 0..1000 {
        router.host.send(&from_host(LAN4, INTERNET4, 100));
        router.router.send(&to_host(INTERNET4, LAN4, 200));
        router.host.send(&from_host(LAN6, INTERNET6, 100));
        router.router.send(&to_host(INTERNET6, LAN6, 200));
        router.host.send(&from_host(LAN4, [192, 168, 1, 1], 100));
    }
    let counters = |headers: u64| Counters {
        upload_packets: 1000,
        upload_bytes: 1000 * (headers + 100),
        download_packets: 1000,
        download_bytes: 1000 * (headers + 200),
    };
    let expected = [(host(LAN4), counters(42)), (host(LAN6), counters(62))];
    expect(&mut router.accounting, expected);
}

#[test]
fn tcx_counts_every_packet_of_both_directions() {
    if !has_tcx() {
        return assert_tcx_is_refused();
    }
    counts_both_directions(Attach::Tcx, Hook::Tcx);
}

#[test]
fn clsact_counts_every_packet_of_both_directions() {
    counts_both_directions(Attach::Clsact, Hook::Clsact);
}

fn lets_others_decide(attach: Attach) {
    let mut router = router(attach, &rules());
    net::run("ip link set lan0 address 02:00:00:00:00:fe");
    net::run("ip addr add 192.168.1.1/24 dev lan0");
    net::run("ip addr add 203.0.113.5/32 dev lo");
    let socket = UdpSocket::bind("203.0.113.5:53").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    router.host.send(&from_host(LAN4, INTERNET4, 100));
    assert_eq!(socket.recv(&mut [0; 200]).unwrap(), 100, "the packet goes on to the router's own stack");

    net::pin_dir();
    let other = crate::bpf::always(2);
    let pin = std::path::Path::new("/mnt/bpf/other");
    gatemeter::sys::bpf::pin(std::os::fd::AsFd::as_fd(&other), pin).unwrap();
    let _ = net::try_run("tc qdisc add dev lan0 clsact");
    net::run("tc filter add dev lan0 ingress prio 50 bpf direct-action object-pinned /mnt/bpf/other");
    router.host.send(&from_host(LAN4, INTERNET4, 100));
    expect(&mut router.accounting, [(host(LAN4), up(2, 284))]);
    // Counted, it was on its way to the other program.
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    assert!(socket.recv(&mut [0; 200]).is_err(), "another program after ours may still drop it");
}

#[test]
fn after_a_tcx_link_others_still_decide() {
    if !has_tcx() {
        return assert_tcx_is_refused();
    }
    lets_others_decide(Attach::Tcx);
}

#[test]
fn after_a_clsact_filter_others_still_decide() {
    lets_others_decide(Attach::Clsact);
}

#[test]
fn headers_outside_the_linear_part_are_read() {
    let mut router = router(Attach::Auto, &rules());
    net::run("ip link set lan0 mtu 9000");
    net::run("ip link set host0 mtu 9000");
    router.router.send_scattered(&to_host(INTERNET4, LAN4, 6000), 14);
    router.router.send_scattered(&to_host(INTERNET6, LAN6, 6000), 20);
    let expected = [(host(LAN4), down(1, 6042)), (host(LAN6), down(1, 6062))];
    expect(&mut router.accounting, expected);
}

#[test]
fn a_frame_cut_at_any_length_is_counted_or_reported() {
    let mut router = router(Attach::Auto, &rules());
    let (frame4, frame6) = (to_host(INTERNET4, LAN4, 46), to_host(INTERNET6, LAN6, 46));
    for len in 15..=80 {
        router.router.send(&frame4[..len]);
        router.router.send(&frame6[..len]);
    }
    let expected = [(host(LAN4), down(47, (34..=80u64).sum())), (host(LAN6), down(27, (54..=80u64).sum()))];
    expect(&mut router.accounting, expected);
    let cut = Amount { packets: 19 + 39, bytes: (15..34u64).sum::<u64>() + (15..54u64).sum::<u64>() };
    assert_eq!(router.accounting.uncounted().unwrap().truncated, cut);
}

#[test]
fn a_tag_taken_off_by_the_interface_counts_like_one_in_the_payload() {
    let mut router = router(Attach::Auto, &rules());
    // At ingress the kernel moves the tag into the packet's metadata; at egress of a packet socket it stays.
    router.host.send(&tagged(&from_host(LAN4, INTERNET4, 100), &[(0x8100, 5)]));
    router.host.send(&tagged(&from_host(LAN4, INTERNET4, 100), &[(0x88a8, 5), (0x8100, 6)]));
    router.router.send(&tagged(&to_host(INTERNET4, LAN4, 100), &[(0x8100, 5)]));
    let both = Counters { upload_packets: 2, upload_bytes: 284, download_packets: 1, download_bytes: 142 };
    expect(&mut router.accounting, [(host(LAN4), both)]);
}

#[test]
fn a_vlan_that_is_accounted_on_its_own_device_is_skipped_by_the_tag_in_metadata() {
    let mut router = router(Attach::Auto, &Rules { skip_vlans: vec![5], ..rules() });
    router.host.send(&tagged(&from_host(LAN4, INTERNET4, 100), &[(0x8100, 5)]));
    router.host.send(&tagged(&from_host(LAN4, INTERNET4, 100), &[(0x8100, 6)]));
    // The outer tag decides, in the metadata at ingress, in the payload at egress.
    router.host.send(&tagged(&from_host(LAN4, INTERNET4, 100), &[(0x88a8, 6), (0x8100, 5)]));
    router.router.send(&tagged(&to_host(INTERNET4, LAN4, 100), &[(0x8100, 5)]));
    expect(&mut router.accounting, [(host(LAN4), up(2, 284))]);
}

/// Ten datagrams that the kernel carries as one packet as far as the router.
fn send_aggregated() {
    net::run("ip addr add 192.168.1.10/24 dev host0");
    net::run("ip link set host0 address 02:00:00:00:00:01");
    net::run("ip neigh add 192.168.1.1 lladdr 02:00:00:00:00:fe dev host0");
    net::run("ip route add 203.0.113.0/24 via 192.168.1.1");
    let socket = UdpSocket::bind("192.168.1.10:0").unwrap();
    net::segment_udp(&socket, 1000);
    assert_eq!(socket.send_to(&[7; 10_000], "203.0.113.5:9").unwrap(), 10_000);
}

#[test]
fn l2_bytes_of_an_aggregated_packet_are_those_of_the_interface() {
    let mut router = router(Attach::Auto, &rules());
    let received = |file| std::fs::read_to_string(format!("/sys/class/net/lan0/statistics/{file}")).unwrap();
    send_aggregated();
    expect(&mut router.accounting, [(host(LAN4), up(1, 10_042))]);
    assert_eq!((received("rx_packets").trim(), received("rx_bytes").trim()), ("1", "10042"));
}

#[test]
fn wire_bytes_of_an_aggregated_packet_are_those_of_its_datagrams() {
    let mut router = router(Attach::Auto, &Rules { count: Count::Wire, ..rules() });
    send_aggregated();
    expect(&mut router.accounting, [(host(LAN4), up(10, 10 * 1042))]);
}

#[test]
fn sixteen_interfaces_are_told_apart() {
    net::enter_namespaces();
    let mut accounting = open(1024, None, Attach::Auto);
    // Far apart, so that the numbers of some meet in every low byte.
    for i in 0..17u32 {
        let index = 10 + i * 256;
        net::run(&format!("ip link add lan{i} index {index} type veth peer name host{i}"));
        net::run(&format!("ip link set lan{i} up"));
        net::run(&format!("ip link set host{i} up"));
        let own = Rules { lan4: vec![([10, i as u8, 0, 0].into(), 16)], ..Rules::default() };
        let attached = accounting.attach(index, &format!("lan{i}"), &own);
        if i == 16 {
            let error = attached.unwrap_err().to_string();
            assert!(error.contains("16 interfaces"), "{error}");
        } else {
            attached.unwrap_or_else(|error| panic!("{error}"));
        }
    }
    for i in 0..16u8 {
        let sender = net::Sender::new(net::ifindex(&format!("host{i}")));
        // Only its own LAN counts on an interface.
        sender.send(&from_host([10, i, 0, 9], INTERNET4, usize::from(i)));
        sender.send(&from_host([10, i + 1, 0, 9], INTERNET4, 100));
    }
    let expected: Vec<_> = (0..16u8).map(|i| (host([10, i, 0, 9]), up(1, 42 + u64::from(i)))).collect();
    expect(&mut accounting, expected);
}

#[test]
fn changed_rules_hold_from_one_packet_to_the_next() {
    let mut router = router(Attach::Auto, &rules());
    // On one core packets are looked at in the order in which they were sent, so the one that is counted under all rules
    // tells that the others have been judged by those that were in force.
    net::stay_on(0);
    let (judged, counted) = (from_host(LAN4, INTERNET4, 100), from_host(LAN6, INTERNET6, 100));
    let both = |accounting: &mut Accounting, v4: u64, v6: u64| {
        expect(accounting, [(host(LAN4), up(v4, v4 * 142)), (host(LAN6), up(v6, v6 * 162))]);
    };
    let send = |router: &mut Router, v4: u64, v6: u64| {
        router.host.send(&judged);
        router.host.send(&counted);
        both(&mut router.accounting, v4, v6);
    };
    send(&mut router, 1, 1);
    let local = Rules { local4: vec![(INTERNET4.into(), 32)], ..rules() };
    router.accounting.set_rules(router.lan, &local).unwrap();
    send(&mut router, 1, 2);
    router.accounting.attach(router.lan, "lan0", &rules()).unwrap();
    send(&mut router, 2, 3);
}

#[test]
fn no_packet_is_lost_or_miscounted_while_rules_change() {
    let mut router = router(Attach::Auto, &rules());
    const PACKETS: usize = 200_000;
    let host0 = net::ifindex("host0");
    let sender = std::thread::spawn(move || {
        let (counted, local) = (from_host(LAN4, INTERNET4, 100), from_host(LAN4, [198, 51, 100, 7], 100));
        let sender = net::Sender::new(host0);
        sender.send_all((0..PACKETS).flat_map(|_| [&counted[..], &local[..]]));
    });
    // The same meaning in ever other places: prefixes move through all positions of the lists.
    let mut changes = 0;
    while !sender.is_finished() {
        let mut rules = rules();
        for i in 0..changes % 15 {
            rules.lan4.push(([192, 168, 100 + i as u8, 0].into(), 24));
            rules.local4.push(([198, 18, i as u8, 0].into(), 25));
        }
        router.accounting.set_rules(router.lan, &rules).unwrap();
        changes += 1;
    }
    sender.join().unwrap();
    assert!(changes > 2, "the rules never changed while packets were flowing");
    expect(&mut router.accounting, [(host(LAN4), up(PACKETS as u64, PACKETS as u64 * 142))]);
}

#[test]
fn two_cpus_that_see_a_host_first_at_once_lose_no_packet() {
    let mut router = router(Attach::Auto, &rules());
    let host0 = net::ifindex("host0");
    let senders: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                let sender = net::Sender::new(host0);
                let frames: Vec<_> = (1..=250).map(|last| from_host([192, 168, 1, last], INTERNET4, 10)).collect();
                for _ in 0..20 {
                    sender.send_all(frames.iter().map(|frame| &frame[..]));
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let mut last = (0, 0);
    let all = poll(LIMIT, || {
        let hosts = hosts(&mut router.accounting);
        let packets: u64 = hosts.values().map(|counters| counters.upload_packets).sum();
        last = (packets + router.accounting.uncounted().unwrap().table_full.packets, hosts.len());
        (last == (2 * 20 * 250, 250)).then_some(())
    });
    assert!(all.is_some(), "packets and hosts: {last:?}");
}

#[test]
fn an_interface_without_ethernet_addresses_is_refused() {
    net::enter_namespaces();
    net::run("ip tuntap add dev tun0 mode tun");
    let mut accounting = open(16, None, Attach::Auto);
    let error = accounting.attach(net::ifindex("tun0"), "tun0", &rules()).unwrap_err().to_string();
    assert!(error.contains("not an Ethernet interface"), "{error}");
}

#[test]
fn an_interface_that_is_gone_or_renamed_is_refused() {
    net::enter_namespaces();
    let (lan, _) = net::veth("lan0", "host0");
    let mut accounting = open(16, None, Attach::Auto);
    let error = accounting.attach(999, "lan0", &rules()).unwrap_err().to_string();
    assert_eq!(error, "cannot account lan0: there is no interface 999");
    let error = accounting.attach(lan, "lan1", &rules()).unwrap_err().to_string();
    assert_eq!(error, format!("cannot account lan1: interface {lan} is called lan0"));
}
