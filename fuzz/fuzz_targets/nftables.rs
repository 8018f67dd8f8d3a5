//! Any bytes as answers and events of nf_tables: no panic, names and counts stay within the message, and what we ask the kernel
//! to make is read back as it was meant.

#![no_main]

use gatemeter::collectors::clients::accounting::rules;
use gatemeter::netlink::messages;
use gatemeter::netlink::nftables::batch::{Batch, Place, Said};
use gatemeter::netlink::nftables::expression::Expression;
use gatemeter::netlink::nftables::read::{self, Counting};
use gatemeter::netlink::nftables::{Count, Family};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    // Each message takes at least its header, so the walk is bounded.
    for message in messages(datagram).take(datagram.len() / 16 + 1).flatten() {
        let _ = (read::table(&message), read::chain(&message), read::set(&message), read::change(&message));
        let _ = read::flowtable(&message);
        let mut count = 0;
        let each = |key: &[u8], _| {
            count += 1;
            assert!(key.len() <= message.body.len());
        };
        let _ = read::elements(&message, each);
        assert!(count <= message.body.len() / 4);
        let _ = read::removed_elements(&message, |_, _| {}).map(drop);
        if let Ok(Some(counter)) = read::named_counter(&message) {
            assert!(!counter.name.contains(&0));
        }
        if let Ok(Some(rule)) = read::rule(&message) {
            assert!(rule.comment().is_none_or(|comment| comment.len() <= 255 && !comment.contains(&0)));
            if let Some((addr, direction)) = rule.comment().and_then(rules::client) {
                let comment = rules::comment(addr, direction);
                assert_eq!(rules::client(comment.as_bytes()), Some((addr, direction)));
            }
            assert!(rule.jumps_to().is_none_or(|chain| !chain.contains(&0)));
            if let Some(Counting::Named(name)) = rule.counting() {
                assert!(!name.contains(&0));
            }
            let _ = rule.said(7);
        }
    }
    if let Ok(text) = std::str::from_utf8(datagram) {
        written(text);
    }
});

/// A rule and elements with this text wherever there may be some.
fn written(text: &str) {
    let words: Vec<&str> = text.split(['\0', '\n']).filter(|word| (1..200).contains(&word.len())).take(8).collect();
    let [table, chain, comment, rest @ ..] = &*words else { return };
    let count = Count { bytes: u64::from_be_bytes(*b"gatemete"), packets: text.len() as u64 };
    let mut batch = Batch::new();
    batch.table(Family::Inet, table, 0, Some(comment)).forward_chain(Family::Ip6, table, chain, -5, Some(comment));
    let expressions = [Expression::ifname("br-lan"), Expression::Counter(count), Expression::Jump((*chain).to_owned())];
    batch.rule(Family::Ip, (table, chain), Place::Last, &[Said::Comment(comment), Said::Other(7, table)], &expressions);
    let elements: Vec<_> = rest.iter().map(|word| (word.as_bytes().to_vec(), count)).collect();
    batch.elements(Family::Inet, table, chain, &elements);
    let bytes = batch.finish();
    let mut seen = (0, Vec::new());
    for message in messages(&bytes) {
        let message = message.expect("we have written it");
        if let Ok(Some(read)) = read::chain(&message) {
            assert!(read.hook == Some((2, -5)) && read.comment == Some(comment.as_bytes()));
            seen.0 += 1;
        }
        if let Ok(Some(rule)) = read::rule(&message) {
            assert_eq!((rule.family, rule.table, rule.chain), (Some(Family::Ip), table.as_bytes(), chain.as_bytes()));
            assert_eq!(rule.comment(), Some(comment.as_bytes()));
            assert_eq!(rule.said(7).and_then(|said| said.strip_suffix(b"\0")), Some(table.as_bytes()));
            assert_eq!((rule.counting(), rule.jumps_to()), (Some(Counting::Here(count)), Some(chain.as_bytes())));
            seen.0 += 1;
        }
        let _ = read::elements(&message, |key, count| seen.1.push((key.to_vec(), count)));
    }
    assert_eq!(seen, (2, elements));
}
