//! What is not counted: others' addresses, dropped packets, and what finds no room.

use std::net::IpAddr;

use gatemeter::collectors::clients::accounting::Direction::{Rx, Tx};
use gatemeter::collectors::clients::accounting::sets::Options;
use gatemeter::collectors::clients::subnets::Lan;

use crate::common::*;
use crate::lab::frames::{Macs, udp};
use crate::lab::traffic::{Sent, UdpPair, send_udp};
use crate::lab::{LAN4, Lab};

/// Sends a packet with an address of one's choice from a host of the LAN, or from the internet; it arrives nowhere.
fn forge(lab: &Lab, outside: bool, from: &str, to: &str) -> Sent {
    let (node, next) =
        if outside { (&lab.internet, [2, 0x1a, 0, 0, 0xff, 0xfe]) } else { (lab.host(1), lab.router.mac) };
    let macs = Macs { source: node.mac, destination: next };
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    node.packet_socket("eth0").send(&udp(macs, from, to, &[0; 100])).unwrap();
    Sent::datagrams(from, 1, 100)
}

#[test]
fn forged_and_passing_addresses_get_into_no_set() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(true));
    forge(&lab, false, "10.9.9.9", "198.51.100.10");
    forge(&lab, false, "2001:db8:9::9", "2001:db8:beef::10");
    // An address of the LAN, but not from there.
    forge(&lab, true, "192.168.1.77", "198.51.100.10");
    // What was sent afterwards has arrived, so what was sent before has passed.
    let sent = send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 1, 10);
    // The answer to it does go to a client.
    let answer = (("192.168.1.77".parse().unwrap(), Rx), (20 + 8 + 128, 1));
    assert_eq!(read(&mut sets), Counts::from([count(lab.host(1).v4, Tx, sent), answer]));
}

#[test]
fn what_the_firewall_drops_is_not_counted() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(true));
    nft(
        &lab.router,
        "table inet fw { chain forward { type filter hook forward priority filter; policy accept;\n\
         udp length 108 drop\n}\n}\n",
    );
    forge(&lab, false, "192.168.1.11", "198.51.100.10");
    let sent = send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 5, 10);
    assert_eq!(read(&mut sets), Counts::from([count(lab.host(1).v4, Tx, sent)]));
}

#[test]
fn prefixes_inside_each_other_count_a_packet_once() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, options(true));
    let wide = ["192.168.0.0/16", LAN4, "192.168.1.11/32", "::/0", "2001:db8:1:1::/64"];
    smol::block_on(sets.apply(&[lan("br-lan", &wide), lan("br-lan", &[LAN4]), lan("gone0", &[LAN4])])).unwrap();
    let sent = send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 5, 10);
    let sent6 = send_udp(lab.host(1).on_v6(), lab.internet.on_v6(), 5, 10);
    assert_eq!(read(&mut sets), Counts::from([count(lab.host(1).v4, Tx, sent), count(lab.host(1).v6, Tx, sent6)]));
}

#[test]
fn other_lans_are_counted_from_then_on_and_the_counts_stay() {
    let lab = Lab::builder().hosts(1).guest().build();
    let mut sets = open(&lab, options(true));
    let (near, guest, far) = (lab.host(1).on_v4(), lab.guests[0].on_v4(), lab.internet.on_v4());
    let mut pairs = [UdpPair::open(near, far), UdpPair::open(guest, far)];
    let both = pairs.each_mut().map(|pair| pair.up(3, 50));
    let all: Vec<Lan> = lans();
    smol::block_on(sets.apply(&all[..1])).unwrap();
    let mut sent = both[0];
    sent += pairs[0].up(4, 50);
    pairs[1].up(4, 50);
    assert_eq!(read(&mut sets), Counts::from([count(near.ip, Tx, sent), count(guest.ip, Tx, both[1])]));
    smol::block_on(sets.apply(&[])).unwrap();
    pairs[0].up(1, 50);
    assert_eq!(read(&mut sets)[&(near.ip, Tx)], (sent.l3, sent.packets));
}

#[test]
fn a_full_set_takes_no_more_and_forgotten_clients_make_room() {
    let lab = Lab::builder().hosts(3).build();
    let mut sets = open(&lab, Options { max_clients: 2, protect: true });
    let far = lab.internet.on_v4();
    for host in &lab.lan {
        send_udp(host.on_v4(), far, 2, 10);
    }
    assert_eq!(read(&mut sets).len(), 2);
    let fill = sets.fill()[0];
    assert_eq!((fill.set, fill.used, fill.size), ("tx4", 2, 2));
    // One that was never there is no obstacle.
    sets.forget(&["192.168.1.200".parse().unwrap(), lab.host(1).v4.into(), lab.host(1).v6.into()]).unwrap();
    let sent = send_udp(lab.host(3).on_v4(), far, 2, 10);
    let counts = read(&mut sets);
    assert_eq!(counts.keys().map(|(addr, _)| *addr).collect::<Vec<_>>(), [lab.host(2).v4, lab.host(3).v4]);
    assert_eq!(counts[&(lab.host(3).v4.into(), Tx)], (sent.l3, sent.packets));
}

#[test]
fn addresses_that_only_a_scan_tried_are_evicted_when_room_gets_short() {
    let lab = Lab::builder().hosts(1).build();
    let mut sets = open(&lab, Options { max_clients: 8, protect: true });
    let (near, far) = (lab.host(1).on_v6(), lab.internet.on_v6());
    let mut pair = UdpPair::open(near, far);
    let (up, down) = (pair.up(2, 10), pair.down(2, 10));
    for n in 1..=7 {
        forge(&lab, true, "2001:db8:beef::10", &format!("2001:db8:1:1::bad:{n}"));
    }
    let all = |counts: &Counts| counts.keys().filter(|(_, direction)| *direction == Rx).count();
    assert_eq!(
        crate::lab::process::poll(crate::lab::process::LIMIT, || (all(&read(&mut sets)) == 8).then_some(())),
        Some(())
    );
    let kept: IpAddr = "2001:db8:1:1::bad:3".parse().unwrap();
    for _ in 0..3 {
        read(&mut sets);
    }
    assert_eq!(sets.evict(|addr| addr == kept).unwrap(), 6);
    let counts = read(&mut sets);
    assert_eq!(all(&counts), 2);
    assert!(counts.contains_key(&(kept, Rx)));
    assert_eq!((counts[&(near.ip, Tx)], counts[&(near.ip, Rx)]), ((up.l3, up.packets), (down.l3, down.packets)));
    // There is room, so nothing goes.
    assert_eq!(sets.evict(|_| false).unwrap(), 0);
}

#[test]
fn elements_that_somebody_else_removed_do_not_hinder_forgetting() {
    let lab = Lab::builder().hosts(2).build();
    let mut sets = open(&lab, options(false));
    let far = lab.internet.on_v4();
    for host in &lab.lan {
        send_udp(host.on_v4(), far, 2, 10);
    }
    assert_eq!(read(&mut sets).len(), 2);
    nft(&lab.router, "delete element inet gatemeter tx4 { 192.168.1.11 }\n");
    sets.forget(&[lab.host(1).v4.into(), lab.host(2).v4.into()]).unwrap();
    assert_eq!(read(&mut sets), Counts::new());
    assert!(!listing(&lab.router).contains("elements"));
}
