//! Any bytes as answers and events of nf_tables: no panic, and names and counts stay within the message.

#![no_main]

use gatemeter::netlink::messages;
use gatemeter::netlink::nftables::read::{self, Counting};
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
            assert!(rule.jumps_to().is_none_or(|chain| !chain.contains(&0)));
            if let Some(Counting::Named(name)) = rule.counting() {
                assert!(!name.contains(&0));
            }
            let _ = rule.said(7);
        }
    }
});
