//! Which flow counts for whom, by hand-made entries.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::netlink::conntrack::Tuple;

const UDP: u8 = 17;
const TCP: u8 = 6;

/// 192.168.1.0/24 and 2001:db8:1:1::/64 without the router's .1.
pub fn lan(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.octets()[..3] == [192, 168, 1] && !matches!(addr.octets()[3], 1 | 255),
        IpAddr::V6(addr) => addr.segments()[..4] == [0x2001, 0xdb8, 1, 1],
    }
}

pub fn server() -> IpAddr {
    Ipv4Addr::new(203, 0, 113, 1).into()
}

/// A UDP flow without NAT that nobody has answered.
pub fn entry(source: IpAddr, destination: IpAddr) -> Entry {
    let original = Tuple { source, destination, protocol: UDP, ports: [4000, 53] };
    let reply = Tuple { source: destination, destination: source, protocol: UDP, ports: [53, 4000] };
    Entry { id: 7, zone: 0, original, reply, replied: false, dying: false, offloaded: false, tcp: None, moved: None }
}

fn host(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 1, n).into()
}

fn answered(source: IpAddr, destination: IpAddr) -> Entry {
    Entry { replied: true, ..entry(source, destination) }
}

fn tcp(state: Option<TcpState>, replied: bool) -> Entry {
    let mut entry = Entry { replied, tcp: state, ..entry(host(11), server()) };
    entry.original.protocol = TCP;
    entry
}

fn know(table: &mut Table, key: u64, entry: &Entry) {
    table.know(key, entry, Source::Event, &lan);
}

/// Active and unreplied flows of a host.
fn counts(table: &Table, n: u8) -> (u32, u32) {
    let counts = table.counts(host(n));
    (counts.active, counts.unreplied)
}

#[test]
fn a_flow_waits_for_an_answer_is_active_and_ends() {
    let mut table = Table::new(8);
    know(&mut table, 1, &entry(host(11), server()));
    assert_eq!(counts(&table, 11), (0, 1));
    know(&mut table, 1, &answered(host(11), server()));
    assert_eq!(counts(&table, 11), (1, 0));
    table.forget(1);
    assert_eq!((counts(&table, 11), table.clients().count(), table.flows()), ((0, 0), 0, 0));
}

#[test]
fn a_tcp_connection_is_active_from_handshake_until_both_sides_have_closed() {
    let mut table = Table::new(8);
    let mut seen = Vec::new();
    for (state, replied) in [
        (TcpState::SynSent, false),
        (TcpState::SynRecv, true),
        (TcpState::Established, true),
        (TcpState::FinWait, true),
        (TcpState::CloseWait, true),
        (TcpState::LastAck, true),
        (TcpState::TimeWait, true),
    ] {
        know(&mut table, 1, &tcp(Some(state), replied));
        seen.push(counts(&table, 11));
    }
    assert_eq!(seen, [(0, 1), (0, 1), (1, 0), (1, 0), (1, 0), (0, 0), (0, 0)]);
}

#[test]
fn a_refused_connection_counts_for_nobody() {
    let mut table = Table::new(8);
    know(&mut table, 1, &tcp(Some(TcpState::SynSent), false));
    know(&mut table, 1, &tcp(Some(TcpState::Close), true));
    assert_eq!((counts(&table, 11), table.flows()), ((0, 0), 0));
}

#[test]
fn a_flow_that_is_being_removed_is_gone_although_a_dump_still_lists_it() {
    let mut table = Table::new(8);
    know(&mut table, 1, &answered(host(11), server()));
    table.know(1, &Entry { dying: true, ..answered(host(11), server()) }, Source::Dump, &lan);
    assert_eq!((counts(&table, 11), table.flows()), ((0, 0), 0));
}

#[test]
fn an_update_that_tells_no_state_changes_what_is_known_and_begins_nothing() {
    let mut table = Table::new(8);
    // Picked up in its midst, as after a restart of the router: established, and then answered.
    know(&mut table, 1, &tcp(Some(TcpState::Established), false));
    assert_eq!(counts(&table, 11), (0, 1));
    know(&mut table, 1, &tcp(None, true));
    assert_eq!(counts(&table, 11), (1, 0));
    know(&mut table, 2, &tcp(None, true));
    assert_eq!((counts(&table, 11), table.flows()), ((1, 0), 1));
}

#[test]
fn behind_a_port_forward_the_host_that_answers_has_the_flow() {
    let mut table = Table::new(8);
    let wan = Ipv4Addr::new(198, 51, 100, 2).into();
    let mut forwarded = entry(server(), wan);
    forwarded.reply.source = host(12);
    know(&mut table, 1, &forwarded);
    assert_eq!((counts(&table, 12), table.flows()), ((0, 0), 0));
    know(&mut table, 1, &Entry { replied: true, ..forwarded });
    assert_eq!(counts(&table, 12), (1, 0));
}

#[test]
fn between_two_clients_a_flow_counts_once_for_each() {
    let mut table = Table::new(8);
    know(&mut table, 1, &entry(host(11), host(12)));
    assert_eq!((counts(&table, 11), counts(&table, 12)), ((0, 1), (0, 0)));
    know(&mut table, 1, &answered(host(11), host(12)));
    assert_eq!((counts(&table, 11), counts(&table, 12)), ((1, 0), (1, 0)));
    assert_eq!(table.flows(), 1);
}

#[test]
fn a_client_that_reaches_itself_by_way_of_the_router_counts_once() {
    let mut table = Table::new(8);
    know(&mut table, 1, &answered(host(11), host(11)));
    assert_eq!(counts(&table, 11), (1, 0));
}

#[test]
fn with_the_router_a_flow_counts_for_the_client_only() {
    let mut table = Table::new(8);
    know(&mut table, 1, &answered(host(11), host(1)));
    know(&mut table, 2, &answered(host(1), host(11)));
    know(&mut table, 3, &answered(host(1), server()));
    assert_eq!((counts(&table, 11), counts(&table, 1), table.flows()), ((2, 0), (0, 0), 2));
}

#[test]
fn ipv6_counts_like_ipv4() {
    let mut table = Table::new(8);
    let at = |n| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, n));
    know(&mut table, 1, &answered(at(11), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into()));
    assert_eq!(table.clients().collect::<Vec<_>>(), [(at(11), Counts { active: 1, unreplied: 0 })]);
}

#[test]
fn what_a_dump_does_not_tell_is_gone_and_what_it_tells_twice_counts_once() {
    let mut table = Table::new(8);
    for key in [1, 2] {
        know(&mut table, key, &answered(host(11), server()));
    }
    know(&mut table, 3, &answered(host(12), server()));
    table.begin();
    for _ in 0..2 {
        table.know(2, &answered(host(11), server()), Source::Dump, &lan);
    }
    // An event between two pieces of the dump.
    know(&mut table, 4, &answered(host(11), server()));
    table.end();
    assert_eq!((counts(&table, 11), counts(&table, 12), table.flows()), ((2, 0), (0, 0), 2));
}

#[test]
fn a_dump_that_breaks_off_loses_nothing_and_the_next_one_leaves_nothing_behind() {
    let mut table = Table::new(8);
    for key in 0..10 {
        know(&mut table, key, &answered(host(11), server()));
    }
    table.begin();
    table.know(1, &answered(host(11), server()), Source::Dump, &lan);
    assert_eq!(counts(&table, 11), (10, 0));
    table.begin();
    table.end();
    assert_eq!((counts(&table, 11), table.flows()), ((0, 0), 0));
}

#[test]
fn flows_from_before_the_subscription_stay_silent() {
    let mut table = Table::new(8);
    table.begin();
    table.know(1, &answered(host(11), server()), Source::Silent, &lan);
    table.end();
    assert_eq!(table.silent(), 1);
    table.begin();
    table.know(1, &answered(host(11), server()), Source::Dump, &lan);
    table.know(2, &answered(host(11), server()), Source::Dump, &lan);
    table.end();
    assert_eq!((table.silent(), table.flows()), (1, 2));
    table.forget(1);
    assert_eq!(table.silent(), 0);
}

#[test]
fn when_the_lan_changes_a_dump_counts_anew() {
    let mut table = Table::new(8);
    for key in [1, 2] {
        know(&mut table, key, &answered(host(11), host(12)));
    }
    table.doubt();
    table.begin();
    let only_12 = |addr| addr == host(12);
    for key in [1, 2] {
        table.know(key, &answered(host(11), host(12)), Source::Dump, &only_12);
    }
    table.end();
    assert_eq!((counts(&table, 11), counts(&table, 12)), ((0, 0), (2, 0)));
}

#[test]
fn clients_beyond_the_limit_are_told_and_places_are_used_again() {
    let mut table = Table::new(2);
    for n in 11..14 {
        know(&mut table, u64::from(n), &entry(host(n), server()));
    }
    assert_eq!((table.untracked(), table.clients().count()), (1, 2));
    table.forget(11);
    know(&mut table, 13, &entry(host(13), server()));
    assert_eq!((counts(&table, 13), table.ends.all.len()), ((0, 1), 2));
    // Both ends or none: the second has no place.
    know(&mut table, 14, &answered(host(13), host(15)));
    assert_eq!((counts(&table, 13), table.untracked()), ((0, 1), 2));
}

#[test]
fn flows_beyond_the_limit_are_told_and_their_memory_is_given_back() {
    let mut table = Table::new(8);
    let flow = entry(host(11), server());
    for key in 0..MAX_FLOWS as u64 + 5 {
        know(&mut table, key.wrapping_mul(0x9e37_79b9_7f4a_7c15), &flow);
    }
    assert_eq!((table.flows(), table.untracked()), (MAX_FLOWS, 5));
    assert!(table.flows.capacity() <= 1 << 18, "{}", table.flows.capacity());
    table.begin();
    table.know(0, &flow, Source::Dump, &lan);
    table.end();
    table.shrink();
    assert!(table.flows.capacity() < 16, "{}", table.flows.capacity());
    assert_eq!(counts(&table, 11), (0, 1));
}

#[test]
fn a_flow_takes_sixteen_bytes() {
    assert_eq!(size_of::<(u64, Flow)>(), 16);
}
