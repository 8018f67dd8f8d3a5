//! Made-up frames through the loaded program, without any interface (BPF_PROG_TEST_RUN).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatemeter::collectors::traffic::codec::{Amount, Count, Counters, Rules};
use gatemeter::collectors::traffic::loader::{Accounting, Attach, Direction};
use gatemeter::sys::bpf;

use crate::lab::*;
use crate::net;

/// The program, told to account loopback: frames without an interface belong to it.
struct Program(Accounting);

impl Program {
    fn new(rules: &Rules) -> Program {
        Program::with_hosts(rules, 1024)
    }

    fn with_hosts(rules: &Rules, max_hosts: u32) -> Program {
        net::enter_namespaces();
        let mut accounting = open(max_hosts, None, Attach::Auto);
        accounting.account_unattached(1, rules).unwrap_or_else(|error| panic!("{error}"));
        Program(accounting)
    }

    fn run(&self, direction: Direction, frame: &[u8], context: &[u8]) {
        let program = self.0.program(direction);
        let run = bpf::test_run(program, frame, context, 1).unwrap();
        assert_eq!(run.retval, u32::MAX, "the packet must always go on to the next program");
    }

    fn enters(&self, frame: &[u8]) {
        self.run(Direction::In, frame, &[]);
    }

    fn leaves(&self, frame: &[u8]) {
        self.run(Direction::Out, frame, &[]);
    }

    /// Both ways, as a packet with this many segments.
    fn aggregated(&self, direction: Direction, frame: &[u8], segments: u32) {
        // gso_segs of struct __sk_buff (linux/bpf.h).
        let mut context = [0u8; 192];
        context[164..168].copy_from_slice(&segments.to_ne_bytes());
        self.run(direction, frame, &context);
    }

    fn assert_counted(&mut self, addr: impl Into<IpAddr>, counters: Counters) {
        assert_eq!(hosts(&mut self.0).into_iter().collect::<Vec<_>>(), [(host(addr), counters)]);
    }

    fn assert_nothing_counted(&mut self) {
        assert_eq!(hosts(&mut self.0).len(), 0, "{:?}", hosts(&mut self.0));
    }
}

#[test]
fn an_ipv4_packet_from_the_lan_is_upload_of_its_source() {
    let mut program = Program::new(&rules());
    let frame = from_host(LAN4, INTERNET4, 100);
    program.enters(&frame);
    program.enters(&frame);
    program.assert_counted(LAN4, up(2, 2 * (14 + 20 + 8 + 100)));
}

#[test]
fn an_ipv4_packet_to_the_lan_is_download_of_its_destination() {
    let mut program = Program::new(&rules());
    program.leaves(&to_host(INTERNET4, LAN4, 100));
    program.assert_counted(LAN4, down(1, 142));
}

#[test]
fn an_ipv6_packet_from_the_lan_is_upload_of_its_source() {
    let mut program = Program::new(&rules());
    program.enters(&from_host(LAN6, INTERNET6, 100));
    program.assert_counted(LAN6, up(1, 14 + 40 + 8 + 100));
}

#[test]
fn an_ipv6_packet_to_the_lan_is_download_of_its_destination() {
    let mut program = Program::new(&rules());
    program.leaves(&to_host(INTERNET6, LAN6, 100));
    program.assert_counted(LAN6, down(1, 162));
}

#[test]
fn both_directions_of_a_host_share_one_entry() {
    let mut program = Program::new(&rules());
    program.enters(&from_host(LAN4, INTERNET4, 10));
    program.leaves(&to_host(INTERNET4, LAN4, 20));
    let both = Counters { upload_packets: 1, upload_bytes: 52, download_packets: 1, download_bytes: 62 };
    program.assert_counted(LAN4, both);
}

#[test]
fn the_same_address_under_another_mac_is_another_host() {
    let mut program = Program::new(&rules());
    program.enters(&from_host(LAN4, INTERNET4, 10));
    program.enters(&udp([2, 0xa, 0xb, 0xc, 0xd, 0xe], ROUTER, LAN4.into(), INTERNET4.into(), 20));
    let hosts = hosts(&mut program.0);
    let found: Vec<_> = hosts.iter().map(|(key, counters)| (key.mac, counters.upload_bytes)).collect();
    assert_eq!(found, [(HOST, 52), ([2, 0xa, 0xb, 0xc, 0xd, 0xe], 62)]);
}

#[test]
fn ingress_never_counts_download_nor_egress_upload() {
    let mut program = Program::new(&rules());
    program.enters(&to_host(INTERNET4, LAN4, 10));
    program.leaves(&from_host(LAN4, INTERNET4, 10));
    program.enters(&to_host(INTERNET6, LAN6, 10));
    program.leaves(&from_host(LAN6, INTERNET6, 10));
    program.assert_nothing_counted();
}

#[test]
fn traffic_with_private_shared_multicast_and_reserved_addresses_is_not_internet() {
    let mut program = Program::new(&rules());
    for peer in [
        [0, 1, 2, 3],
        [10, 0, 0, 1],
        [10, 255, 255, 255],
        [100, 64, 0, 1],
        [100, 127, 255, 255],
        [127, 0, 0, 1],
        [169, 254, 1, 1],
        [172, 16, 0, 1],
        [172, 31, 255, 255],
        [192, 168, 7, 7],
        [224, 0, 0, 251],
        [239, 255, 255, 250],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
    ] {
        program.enters(&from_host(LAN4, peer, 10));
        program.leaves(&to_host(peer, LAN4, 10));
    }
    for peer in [
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fc00::1",
        "fdff::1",
        "ff02::fb",
        "ff0e::1",
        "::ffff:203.0.113.5",
        "::203.0.113.5",
    ] {
        let peer: Ipv6Addr = peer.parse().unwrap();
        program.enters(&from_host(LAN6, peer, 10));
        program.leaves(&to_host(peer, LAN6, 10));
    }
    program.assert_nothing_counted();
}

#[test]
fn the_neighbours_of_those_ranges_and_documentation_addresses_are_internet() {
    let mut program = Program::new(&rules());
    let peers = [
        [1, 0, 0, 0],
        [9, 255, 255, 255],
        [11, 0, 0, 0],
        [100, 63, 255, 255],
        [100, 128, 0, 0],
        [126, 255, 255, 255],
        [128, 0, 0, 0],
        [169, 253, 255, 255],
        [169, 255, 0, 0],
        [172, 15, 255, 255],
        [172, 32, 0, 0],
        [192, 167, 255, 255],
        [192, 169, 0, 0],
        [223, 255, 255, 255],
        [192, 0, 2, 1],
        [198, 51, 100, 8],
        [203, 0, 113, 1],
    ];
    for peer in peers {
        program.enters(&from_host(LAN4, peer, 10));
    }
    program.assert_counted(LAN4, up(peers.len() as u64, peers.len() as u64 * 52));
    program.0.remove(&host(LAN4)).unwrap();

    let peers = [
        "::1:0:0:1",
        "64:ff9b::203.0.113.5",
        "fbff::1",
        "fe00::1",
        "fe7f::1",
        "fec0::1",
        "2001:db8:2::1",
        "0:1::",
        "::fffe:0:1",
    ];
    for peer in peers {
        program.leaves(&to_host(peer.parse::<Ipv6Addr>().unwrap(), LAN6, 10));
    }
    program.assert_counted(LAN6, down(peers.len() as u64, peers.len() as u64 * 72));
}

#[test]
fn the_routers_own_addresses_and_other_lan_prefixes_are_not_internet() {
    let mut program = Program::new(&rules());
    program.enters(&from_host(LAN4, [198, 51, 100, 7], 10));
    program.leaves(&to_host([198, 51, 100, 7], LAN4, 10));
    program.enters(&from_host(LAN6, "2001:db8:1:ff::1".parse::<Ipv6Addr>().unwrap(), 10));
    program.assert_nothing_counted();
}

#[test]
fn hosts_of_a_public_lan_prefix_do_not_count_among_each_other() {
    let mut program = Program::new(&Rules { lan4: vec![(Ipv4Addr::new(198, 51, 100, 0), 24)], ..Rules::default() });
    program.enters(&from_host([198, 51, 100, 1], [198, 51, 100, 2], 10));
    program.assert_nothing_counted();
    program.enters(&from_host([198, 51, 100, 1], INTERNET4, 10));
    program.assert_counted([198, 51, 100, 1], up(1, 52));
}

#[test]
fn an_address_outside_the_lan_prefixes_is_not_accounted() {
    let mut program = Program::new(&rules());
    program.enters(&from_host([192, 168, 2, 10], INTERNET4, 10));
    program.enters(&from_host("2001:db8:1:1::10".parse::<Ipv6Addr>().unwrap(), INTERNET6, 10));
    program.assert_nothing_counted();
}

#[test]
fn sixteen_lan_and_thirty_two_local_prefixes_all_work() {
    let lan4: Vec<_> = (0..16).map(|i| (Ipv4Addr::new(192, 168, i * 2, 0), 24)).collect();
    let lan6: Vec<_> = (0..16).map(|i| (Ipv6Addr::new(0x2001, 0xdb8, 1, i * 2, 0, 0, 0, 0), 64)).collect();
    let local4: Vec<_> = (0..32).map(|i| (Ipv4Addr::new(203, 0, 113, i * 2), 32)).collect();
    let local6: Vec<_> = (0..16).map(|i| (Ipv6Addr::new(0x2a00, 0x1450, 0, 0, 0, 0, 0, i * 2), 128)).collect();
    let mut program = Program::new(&Rules { lan4, lan6, local4, local6, ..Rules::default() });
    program.enters(&from_host([192, 168, 30, 9], [203, 0, 113, 62], 10));
    program.enters(&from_host(
        "2001:db8:1:1e::9".parse::<Ipv6Addr>().unwrap(),
        "2a00:1450::1e".parse::<Ipv6Addr>().unwrap(),
        10,
    ));
    program.assert_nothing_counted();
    program.enters(&from_host([192, 168, 30, 9], [203, 0, 113, 63], 10));
    program.enters(&from_host(
        "2001:db8:1:1e::9".parse::<Ipv6Addr>().unwrap(),
        "2a00:1450::1f".parse::<Ipv6Addr>().unwrap(),
        10,
    ));
    assert_eq!(hosts(&mut program.0).len(), 2);
}

#[test]
fn tags_in_the_payload_are_seen_through_and_not_counted() {
    let mut program = Program::new(&rules());
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x8100, 5)]));
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x88a8, 5), (0x8100, 6)]));
    program.enters(&from_host(LAN4, INTERNET4, 10));
    program.assert_counted(LAN4, up(3, 3 * 52));
    program.0.remove(&host(LAN4)).unwrap();
    program.leaves(&tagged(&to_host(INTERNET6, LAN6, 10), &[(0x8100, 5)]));
    program.leaves(&tagged(&to_host(INTERNET6, LAN6, 10), &[(0x8100, 5), (0x8100, 6)]));
    program.assert_counted(LAN6, down(2, 2 * 72));
}

#[test]
fn a_third_tag_makes_a_frame_not_ip() {
    let mut program = Program::new(&rules());
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x88a8, 5), (0x8100, 6), (0x8100, 7)]));
    program.assert_nothing_counted();
}

#[test]
fn a_vlan_that_is_accounted_elsewhere_is_skipped_by_its_outer_tag() {
    let mut program = Program::new(&Rules { skip_vlans: vec![5, 4095], ..rules() });
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x8100, 5)]));
    // Priority and drop bits do not belong to the id.
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x8100, 0xf005)]));
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x8100, 4095)]));
    program.assert_nothing_counted();
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x8100, 6), (0x8100, 5)]));
    program.enters(&tagged(&from_host(LAN4, INTERNET4, 10), &[(0x8100, 6)]));
    program.enters(&from_host(LAN4, INTERNET4, 10));
    program.assert_counted(LAN4, up(3, 3 * 52));
}

#[test]
fn ipv4_options_and_ipv6_extension_headers_do_not_hide_a_packet() {
    let mut program = Program::new(&rules());
    program.enters(&with_options(&from_host(LAN4, INTERNET4, 10)));
    program.assert_counted(LAN4, up(1, 52 + 24));
    program.0.remove(&host(LAN4)).unwrap();
    program.enters(&with_extensions(&from_host(LAN6, INTERNET6, 10)));
    program.assert_counted(LAN6, up(1, 72 + 8 + 8));
}

#[test]
fn every_fragment_counts_as_a_packet() {
    let mut program = Program::new(&rules());
    let mut first = from_host(LAN4, INTERNET4, 64);
    first[20] = 0x20;
    program.enters(&first);
    let mut last = from_host(LAN4, INTERNET4, 32);
    last[21] = 9;
    program.enters(&last);
    program.assert_counted(LAN4, up(2, 42 + 64 + 42 + 32));
}

#[test]
fn arp_and_other_frames_that_are_not_ip_are_ignored() {
    let mut program = Program::new(&rules());
    for kind in [0x0806u16, 0x8863, 0x8864, 0x0026, 0x88cc, 0x86de, 0x0801] {
        let mut frame = from_host(LAN4, INTERNET4, 100);
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        program.enters(&frame);
        program.leaves(&frame);
    }
    program.assert_nothing_counted();
    assert_eq!(program.0.uncounted().unwrap(), Default::default());
}

// The kernel refuses to run a program on an untagged frame that ends inside its IP header; such frames are sent over
// a real interface in `live`.
#[test]
fn a_tagged_frame_cut_at_any_length_is_counted_or_reported_and_never_misread() {
    let mut program = Program::new(&rules());
    let frame4 = tagged(&from_host(LAN4, INTERNET4, 46), &[(0x8100, 5)]);
    let frame6 = tagged(&from_host(LAN6, INTERNET6, 46), &[(0x8100, 5)]);
    for len in 14..=80 {
        program.enters(&frame4[..len]);
        program.enters(&frame6[..len]);
    }
    // Whole from the end of both addresses on: 38 bytes for IPv4, 58 for IPv6; IP from the end of the tag on.
    let expected = [
        (host(LAN4), up(43, (38..=80).map(|len: u64| len - 4).sum())),
        (host(LAN6), up(23, (58..=80).map(|len: u64| len - 4).sum())),
    ];
    assert_eq!(hosts(&mut program.0).into_iter().collect::<Vec<_>>(), expected);
    let cut = Amount { packets: 20 + 40, bytes: (18..38u64).sum::<u64>() + (18..58u64).sum::<u64>() };
    assert_eq!(program.0.uncounted().unwrap().truncated, cut);
}

#[test]
fn l2_counts_an_aggregated_packet_as_the_interface_does() {
    let mut program = Program::new(&rules());
    program.aggregated(Direction::In, &from_host(LAN4, INTERNET4, 1000), 10);
    program.assert_counted(LAN4, up(1, 1042));
}

#[test]
fn wire_counts_every_udp_segment_with_its_own_headers() {
    let mut program = Program::new(&Rules { count: Count::Wire, ..rules() });
    program.aggregated(Direction::In, &from_host(LAN4, INTERNET4, 1000), 10);
    program.assert_counted(LAN4, up(10, 1000 + 10 * 42));
    program.0.remove(&host(LAN4)).unwrap();
    program.aggregated(Direction::Out, &to_host(INTERNET6, LAN6, 1000), 4);
    program.assert_counted(LAN6, down(4, 1000 + 4 * 62));
}

#[test]
fn wire_counts_every_tcp_segment_with_its_options_and_ip_options() {
    let mut program = Program::new(&Rules { count: Count::Wire, ..rules() });
    let frame = with_options(&tcp(&from_host(LAN4, INTERNET4, 1012)));
    program.aggregated(Direction::In, &frame, 5);
    // 24 bytes of IP options, 32 bytes of TCP header of which 12 are options.
    program.assert_counted(LAN4, up(5, 14 + 44 + 1020 + 4 * (14 + 44 + 32)));
    program.0.remove(&host(LAN4)).unwrap();
    program.aggregated(Direction::In, &tcp(&from_host(LAN6, INTERNET6, 1012)), 5);
    program.assert_counted(LAN6, up(5, 14 + 40 + 1020 + 4 * (14 + 40 + 32)));
}

#[test]
fn wire_finds_the_headers_behind_ipv6_extensions_and_tags() {
    let mut program = Program::new(&Rules { count: Count::Wire, ..rules() });
    let frame = with_extensions(&tcp(&from_host(LAN6, INTERNET6, 1012)));
    program.aggregated(Direction::In, &tagged(&frame, &[(0x8100, 5)]), 3);
    program.assert_counted(LAN6, up(3, 14 + 40 + 16 + 1020 + 2 * (14 + 40 + 16 + 32)));
}

#[test]
fn wire_counts_a_single_packet_as_it_is() {
    let mut program = Program::new(&Rules { count: Count::Wire, ..rules() });
    for segments in [0, 1] {
        program.aggregated(Direction::In, &from_host(LAN4, INTERNET4, 100), segments);
    }
    program.assert_counted(LAN4, up(2, 284));
}

#[test]
fn a_full_table_is_reported_and_known_hosts_go_on_counting() {
    let mut program = Program::with_hosts(&rules(), 4);
    for last in 1..=10 {
        program.enters(&from_host([192, 168, 1, last], INTERNET4, 10));
    }
    for last in 1..=10 {
        program.enters(&from_host([192, 168, 1, last], INTERNET4, 10));
    }
    let hosts = hosts(&mut program.0);
    assert_eq!(hosts.values().copied().collect::<Vec<_>>(), [up(2, 104); 4]);
    assert_eq!(program.0.uncounted().unwrap().table_full, Amount { packets: 12, bytes: 12 * 52 });
    assert_eq!(program.0.capacity(), 4);
}

#[test]
fn a_removed_host_makes_room_and_starts_from_zero() {
    let mut program = Program::with_hosts(&rules(), 1);
    program.enters(&from_host(LAN4, INTERNET4, 10));
    program.0.remove(&host(LAN4)).unwrap();
    program.0.remove(&host(LAN4)).unwrap();
    program.enters(&from_host([192, 168, 1, 11], INTERNET4, 20));
    program.assert_counted([192, 168, 1, 11], up(1, 62));
}

#[test]
fn a_thousand_hosts_of_both_families_are_all_read() {
    let mut program = Program::with_hosts(&Rules { lan4: vec![(Ipv4Addr::new(10, 0, 0, 0), 8)], ..rules() }, 2000);
    for i in 0..1000u16 {
        let [high, low] = i.to_be_bytes();
        program.enters(&from_host([10, 0, high, low], INTERNET4, 10));
        let addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x1000 + i);
        program.leaves(&to_host(INTERNET6, addr, 10));
    }
    let hosts = hosts(&mut program.0);
    assert_eq!(hosts.len(), 2000);
    assert!(hosts.iter().all(|(key, counters)| *counters == if key.addr.is_ipv4() { up(1, 52) } else { down(1, 72) }));
}

/// Replaces the UDP header by a TCP header of 32 bytes; the payload shrinks by 24.
fn tcp(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let (protocol, start) = if frame[12..14] == [8, 0] { (23, 34) } else { (20, 54) };
    frame[protocol] = 6;
    frame[start + 12] = 0x80;
    frame
}

/// Inserts 24 bytes of IPv4 options.
fn with_options(frame: &[u8]) -> Vec<u8> {
    let mut longer = frame[..34].to_vec();
    longer[14] = 0x4b;
    longer.extend([1; 24]);
    longer.extend(&frame[34..]);
    longer
}

/// Inserts a hop-by-hop and a destination header of 8 bytes each.
fn with_extensions(frame: &[u8]) -> Vec<u8> {
    let mut longer = frame[..54].to_vec();
    let protocol = std::mem::replace(&mut longer[20], 0);
    longer.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    longer.extend([protocol, 0, 1, 4, 0, 0, 0, 0]);
    longer.extend(&frame[54..]);
    longer
}
