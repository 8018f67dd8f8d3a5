//! Any bytes as a file of leases or hosts: no panic, and nothing unfit is kept from it.

#![no_main]

use gatemeter::names::leases;
use gatemeter::names::mac::Mac;
use gatemeter::names::table::{MAX_NAME, Table};
use libfuzzer_sys::fuzz_target;

const ROOM: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (table, unread) = Table::of_text(&text, ROOM);
    assert!(table.entries() <= ROOM);
    assert!(unread.lines <= text.lines().count() && unread.first <= text.lines().count());
    leases::parse(&text, |entry| {
        if let Some(mac) = entry.mac {
            assert_eq!(mac.to_string().parse(), Ok(mac));
        }
        let names = [
            entry.mac.and_then(|mac| table.by_mac(&mac)),
            entry.addr.and_then(|addr| table.by_addr(&addr)).map(|named| &*named.name),
        ];
        for name in names.into_iter().flatten() {
            assert!((1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control), "{name:?}");
        }
    });
    for word in text.split_ascii_whitespace() {
        let _ = word.parse::<Mac>();
        let _ = leases::duid_mac(word);
    }
});
