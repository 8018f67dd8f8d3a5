//! Answers and events of a real kernel (6.18), little-endian and 64 bits, as the fuzzer's kept inputs hold them. They
//! are those about this ruleset, loaded by `nft -f` in an empty network namespace:
//! ```text
//! table inet gatemeter {
//!     comment "gatemeter: bytes of LAN clients"
//!     counter named { packets 7 bytes 4200; }
//!     set tx4 { type ipv4_addr; size 1024; flags dynamic; counter; elements = {
//!         192.168.1.10 counter packets 3 bytes 300, 192.168.1.11 counter packets 4 bytes 40000000000 } }
//!     set rx6 { type ipv6_addr; size 1024; flags dynamic; counter; elements = { fd00::11 counter packets 1 bytes 72 } }
//!     set plain { type ipv4_addr; elements = { 10.0.0.1 } }
//!     chain sub {
//!         ip saddr 192.168.1.10 counter packets 3 bytes 300 comment "tx_192.168.1.10"
//!         ip6 daddr fd00::11 counter name "named" comment "rx_fd00::11"
//!     }
//!     chain acct {
//!         type filter hook forward priority filter + 10; policy accept; comment "forwarded"
//!         iifname "br-lan" ip saddr 192.168.1.0/24 update @tx4 { ip saddr }
//!         jump sub
//!     }
//! }
//! ```
//! and, for `event_removed`, about `nft delete element inet gatemeter tx4 { 192.168.1.11 }`.

use super::batch::{Batch, HOOK_FORWARD, NewSet, Place, Said};
use super::expression::{FIRST, Meta, SECOND};
use super::read::{self, Change, Counting};
use super::*;
use crate::netlink::{Message, attributes, messages};

/// A kept input in the byte order of this machine.
macro_rules! kept {
    ($name:literal) => {
        native(include_bytes!(concat!("../../../fuzz/corpus/nftables/", $name)))
    };
}

/// Turns the headers of messages and attributes from little-endian into this machine's order.
fn native(datagram: &[u8]) -> Vec<u8> {
    let mut out = datagram.to_vec();
    let mut at = 0;
    while at < out.len() {
        let length = u32::from_le_bytes(out[at..at + 4].try_into().unwrap()) as usize;
        turn(&mut out, at, 4);
        turn(&mut out, at + 4, 2);
        turn(&mut out, at + 6, 2);
        turn(&mut out, at + 8, 4);
        turn(&mut out, at + 12, 4);
        turn_attributes(&mut out, at + 20, at + length);
        at += length.next_multiple_of(4);
    }
    out
}

/// Turns the attributes between two offsets if they are attributes to the last byte, and what is nested in them.
fn turn_attributes(out: &mut [u8], start: usize, end: usize) {
    let header = |out: &[u8], at: usize| usize::from(u16::from_le_bytes([out[at], out[at + 1]]));
    let mut at = start;
    while at + 4 <= end {
        let length = header(out, at);
        if length < 4 || at + length > end {
            return;
        }
        at += length.next_multiple_of(4);
    }
    if at != end || start == end {
        return;
    }
    let mut at = start;
    while at < end {
        let length = header(out, at);
        turn(out, at, 2);
        turn(out, at + 2, 2);
        turn_attributes(out, at + 4, at + length);
        at += length.next_multiple_of(4);
    }
}

fn turn(out: &mut [u8], at: usize, length: usize) {
    if cfg!(target_endian = "big") {
        out[at..at + length].reverse();
    }
}

fn first(datagram: &[u8]) -> Message<'_> {
    messages(datagram).next().unwrap().unwrap()
}

#[test]
fn a_table_tells_its_handle_and_comment() {
    let bytes = kept!("table");
    let table = read::table(&first(&bytes)).unwrap().unwrap();
    assert_eq!((table.flags, table.owner, table.handle, table.users), (0, None, 1, 6));
    assert_eq!(table.comment, Some(&b"gatemeter: bytes of LAN clients"[..]));
}

#[test]
fn a_base_chain_tells_its_hook_and_priority() {
    let bytes = kept!("chain");
    let chain = read::chain(&first(&bytes)).unwrap().unwrap();
    assert_eq!(chain.hook, Some((HOOK_FORWARD, 10)));
    assert_eq!((chain.handle, chain.users, chain.comment), (2, 2, Some(&b"forwarded"[..])));
}

#[test]
fn a_set_tells_its_shape() {
    let bytes = kept!("set");
    let set = read::set(&first(&bytes)).unwrap().unwrap();
    assert_eq!(set, read::Set { handle: 4, flags: SET_EVAL, key_length: 4, size: 1024, counts: true });
}

/// The elements of all messages, with their counts.
fn elements(bytes: &[u8]) -> Vec<(Vec<u8>, Count)> {
    let mut found = Vec::new();
    for message in messages(bytes) {
        read::elements(&message.unwrap(), |key, count| found.push((key.to_vec(), count))).unwrap();
    }
    found
}

#[test]
fn elements_are_read_with_their_counts_and_those_without_are_left_out() {
    let count = |bytes, packets| Count { bytes, packets };
    assert_eq!(
        elements(&kept!("elements")),
        [(vec![192, 168, 1, 11], count(40_000_000_000, 4)), (vec![192, 168, 1, 10], count(300, 3))]
    );
    let v6 = vec![0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11];
    assert_eq!(elements(&kept!("elements6")), [(v6, count(72, 1))]);
    assert_eq!(elements(&kept!("elements_plain")), []);
}

#[test]
fn rules_tell_comment_counter_and_jump() {
    let bytes = kept!("rules");
    let mut rules = Vec::new();
    for message in messages(&bytes) {
        rules.extend(read::rule(&message.unwrap()).unwrap());
    }
    let said: Vec<_> =
        rules.iter().map(|rule| (rule.chain, rule.comment(), rule.counting(), rule.jumps_to())).collect();
    let here = Counting::Here(Count { bytes: 300, packets: 3 });
    assert_eq!(
        said,
        [
            (&b"sub"[..], Some(&b"tx_192.168.1.10"[..]), Some(here), None),
            (b"sub", Some(b"rx_fd00::11"), Some(Counting::Named(b"named")), None),
            (b"acct", None, None, None),
            (b"acct", None, None, Some(&b"sub"[..])),
        ]
    );
    assert!(rules.iter().all(|rule| rule.family == Some(Family::Inet) && rule.table == b"gatemeter"));
}

#[test]
fn a_named_counter_tells_what_it_has_counted() {
    let bytes = kept!("counters");
    let found = read::named_counter(&first(&bytes)).unwrap().unwrap();
    assert_eq!((found.table, found.name), (&b"gatemeter"[..], &b"named"[..]));
    assert_eq!(found.count, Count { bytes: 4200, packets: 7 });
}

#[test]
fn events_tell_the_table_and_the_elements_that_were_removed() {
    let bytes = kept!("event_removed");
    let table = &b"gatemeter"[..];
    let removed = Change::In { family: Some(Family::Inet), table, elements_removed: true };
    assert_eq!(read::change(&first(&bytes)), Ok(Some(removed)));
    let mut gone = Vec::new();
    let set = read::removed_elements(&first(&bytes), |key, count| gone.push((key.to_vec(), count)));
    assert_eq!(set, Ok(Some(&b"tx4"[..])));
    assert_eq!(gone, [(vec![192, 168, 1, 11], Count { bytes: 40_000_000_000, packets: 4 })]);
    let bytes = kept!("event_new");
    let made = Change::In { family: Some(Family::Inet), table, elements_removed: false };
    for message in messages(&bytes) {
        assert_eq!(read::change(&message.unwrap()), Ok(Some(made)));
    }
    assert_eq!(read::change(&first(&kept!("generation"))), Ok(Some(Change::Generation)));
    assert_eq!(read::change(&Message { kind: 16, flags: 0, sequence: 0, body: &[] }), Ok(None));
}

#[test]
fn a_flow_table_tells_its_name_and_who_forwards() {
    // No capture: written after linux/netfilter/nf_tables.h, for want of a kernel with flow tables.
    for (flags, hardware) in [(0, false), (1, true), (3, true), (2, false)] {
        let bytes = request(kind::NEW_FLOWTABLE, 0, 1, Some(Family::Inet), |message| {
            message.text(flowtable::TABLE, "fw4").text(flowtable::NAME, "ft").be32(flowtable::FLAGS, flags);
        });
        let found = read::flowtable(&first(&bytes)).unwrap().unwrap();
        assert_eq!((found.table, found.name, found.hardware), (&b"fw4"[..], &b"ft"[..], hardware));
    }
}

/// A transaction with every kind of message.
fn batch() -> Vec<u8> {
    let family = Family::Inet;
    let mut batch = Batch::new();
    let count = Count { bytes: u64::MAX, packets: 1 << 40 };
    batch
        .table(family, "t", TABLE_OWNER | TABLE_PERSIST, Some("a comment"))
        .forward_chain(family, "t", "base", -5, Some("c"))
        .chain(family, "t", "sub", "d")
        .counting_set(family, "t", NewSet { name: "s", id: 1, key_type: 7, key_length: 4, size: 9 })
        .elements(family, "t", "s", &[(vec![10, 0, 0, 1], count), (vec![10, 0, 0, 2], Count::default())])
        .delete_element(family, "t", "s", &[10, 0, 0, 1])
        .rule(
            family,
            ("t", "sub"),
            Place::Last,
            &[Said::Comment("tx_10.0.0.1"), Said::Other(7, "mark")],
            &[
                Expression::Meta(Meta::Family),
                Expression::equals([2]),
                Expression::Network { offset: 12, length: 4 },
                Expression::Mask(vec![255, 255, 255, 0]),
                Expression::Equals { register: SECOND, value: vec![10, 0, 0, 0] },
                Expression::Counter(count),
                Expression::Update("s"),
                Expression::Return,
            ],
        )
        .rule(family, ("t", "base"), Place::First, &[], &[Expression::Jump("sub".to_owned())])
        .delete_rule(family, ("t", "sub"), 7)
        .delete_rules(family, "t", "sub")
        .delete_chain(family, "t", "sub")
        .delete_table(family, "t");
    batch.finish()
}

#[test]
fn what_a_transaction_makes_reads_back() {
    let bytes = batch();
    let all: Vec<Message<'_>> = messages(&bytes).map(Result::unwrap).collect();
    let of = |kind: u16| all.iter().filter(move |message| message.kind == kind);
    assert_eq!((all[0].kind, all[0].body), (0x10, &[0, 0, 0, 10][..]));
    assert_eq!(all[all.len() - 1].kind, 0x11);
    assert_eq!(all.iter().map(|message| message.sequence).collect::<Vec<_>>(), (1..=14).collect::<Vec<_>>());
    let table = read::table(of(0x0a00).next().unwrap()).unwrap().unwrap();
    assert_eq!((table.flags, table.comment), (6, Some(&b"a comment"[..])));
    let hooks: Vec<_> = of(0x0a03).map(|message| read::chain(message).unwrap().unwrap().hook).collect();
    assert_eq!(hooks, [Some((2, -5)), None]);
    let set = read::set(of(0x0a09).next().unwrap()).unwrap().unwrap();
    assert_eq!(set, read::Set { handle: 0, flags: SET_EVAL, key_length: 4, size: 9, counts: true });
    let count = Count { bytes: u64::MAX, packets: 1 << 40 };
    let mut found = Vec::new();
    of(0x0a0c).for_each(|message| read::elements(message, |key, count| found.push((key.to_vec(), count))).unwrap());
    assert_eq!(found, [(vec![10, 0, 0, 1], count), (vec![10, 0, 0, 2], Count::default())]);
    let rules: Vec<_> = of(0x0a06).map(|message| read::rule(message).unwrap().unwrap()).collect();
    assert_eq!(rules[0].comment(), Some(&b"tx_10.0.0.1"[..]));
    assert_eq!(rules[0].said(7), Some(&b"mark\0"[..]));
    assert_eq!((rules[0].counting(), rules[0].jumps_to()), (Some(Counting::Here(count)), None));
    assert_eq!((rules[1].comment(), rules[1].counting(), rules[1].jumps_to()), (None, None, Some(&b"sub"[..])));
}

#[test]
fn interface_names_are_compared_with_all_their_nuls() {
    let mut value = b"br-lan".to_vec();
    value.resize(16, 0);
    assert_eq!(Expression::ifname("br-lan"), Expression::Equals { register: FIRST, value });
}

#[test]
fn a_list_longer_than_an_attribute_is_split() {
    let elements: Vec<_> = (0..5000u32).map(|n| (n.to_be_bytes().to_vec(), Count::default())).collect();
    let mut batch = Batch::new();
    batch.elements(Family::Inet, "t", "s", &elements);
    let bytes = batch.finish();
    let mut found = 0;
    for message in messages(&bytes) {
        let message = message.unwrap();
        // With nothing cut off: an attribute longer than its length field would not fill the message.
        assert!(attributes(message.body.get(4..).unwrap()).all(|attribute| attribute.is_ok()));
        read::elements(&message, |_, _| found += 1).unwrap();
    }
    assert_eq!(found, 5000);
}

#[test]
fn a_comment_that_is_too_long_is_cut() {
    let mut batch = Batch::new();
    batch.table(Family::Inet, "t", 0, Some(&"x".repeat(400)));
    let bytes = batch.finish();
    let message = messages(&bytes).nth(1).unwrap().unwrap();
    assert_eq!(read::table(&message).unwrap().unwrap().comment.map(<[u8]>::len), Some(254));
}

#[test]
fn user_data_that_ends_early_says_nothing() {
    let mut datagram = Datagram::new();
    datagram.message(message_type(kind::NEW_RULE), 0, 1, &[1, 0, 0, 0]).attribute(rule::USERDATA, &[1, 0, 0, 9, b't']);
    let bytes = datagram.finish();
    assert_eq!(read::rule(&first(&bytes)).unwrap().unwrap().comment(), None);
}

#[test]
fn every_cut_of_a_message_is_an_error_or_a_value_never_a_panic() {
    for bytes in [kept!("table"), kept!("chain"), kept!("set"), kept!("elements"), kept!("rules"), batch()] {
        for message in messages(&bytes) {
            let message = message.unwrap();
            for end in 0..message.body.len() {
                let cut = Message { body: &message.body[..end], ..message };
                let _ = (read::table(&cut), read::chain(&cut), read::set(&cut), read::named_counter(&cut));
                let _ = (read::elements(&cut, |_, _| {}), read::removed_elements(&cut, |_, _| {}).map(drop));
                let _ = (read::flowtable(&cut), read::change(&cut));
                if let Ok(Some(rule)) = read::rule(&cut) {
                    let _ = (rule.comment(), rule.counting(), rule.jumps_to());
                }
            }
        }
    }
}
