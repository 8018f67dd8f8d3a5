//! Real packets are counted to the byte, each in the direction its client sees.

use gatemeter::collectors::clients::accounting::Direction::{Rx, Tx};

use crate::common::*;
use crate::lab::Lab;
use crate::lab::traffic::{UdpPair, send_udp};

#[test]
fn packets_are_counted_to_the_byte_in_both_families_and_directions() {
    let lab = Lab::builder().hosts(2).guest().build();
    let mut sets = open(&lab, options(true));
    println!("{}", lab.router.must(&["nft", "list", "ruleset"]));
    let mut expected = Counts::new();
    for (near, far) in [
        (lab.host(1).on_v4(), lab.internet.on_v4()),
        (lab.host(1).on_v6(), lab.internet.on_v6()),
        (lab.guests[0].on_v4(), lab.internet.on_v4()),
    ] {
        let mut pair = UdpPair::open(near, far);
        expected.extend([count(near.ip, Tx, pair.up(40, 700)), count(near.ip, Rx, pair.down(30, 1200))]);
    }
    assert_eq!(read(&mut sets), expected);
}

#[test]
fn a_packet_between_two_lans_counts_as_sent_by_one_and_received_by_the_other() {
    let lab = Lab::builder().hosts(1).guest().build();
    let mut sets = open(&lab, options(true));
    let (lan, guest) = (lab.host(1), &lab.guests[0]);
    let sent = send_udp(lan.on_v4(), guest.on_v4(), 20, 500);
    let sent6 = send_udp(guest.on_v6(), lan.on_v6(), 10, 100);
    let expected = Counts::from([
        count(lan.v4, Tx, sent),
        count(guest.v4, Rx, sent),
        count(guest.v6, Tx, sent6),
        count(lan.v6, Rx, sent6),
    ]);
    assert_eq!(read(&mut sets), expected);
}
