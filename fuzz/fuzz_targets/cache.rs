//! Any bytes as the file of the name cache: no panic, what is read survives being written, and so does the table.

#![no_main]

use gatemeter::names::cache::codec::{self, MAX_ADDRS, MAX_SIZE, Record};
use gatemeter::names::cache::{Cache, MAX_ENTRIES};
use gatemeter::names::table::MAX_NAME;
use libfuzzer_sys::fuzz_target;

fn records(text: &str) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    codec::parse(text, |record| records.push(record));
    records
}

fn table(text: &str) -> String {
    let mut cache = Cache::default();
    cache.restore(records(text).into_iter().take(MAX_ENTRIES).collect::<Vec<_>>().into_iter());
    codec::encode(cache.records())
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let read = records(&text);
    for record in &read {
        assert!((1..=MAX_NAME).contains(&record.name.len()) && !record.name.contains(char::is_control));
        assert!(record.addrs.len() <= MAX_ADDRS && (record.mac.is_some() || record.addrs.len() == 1));
    }
    let written = codec::encode(read.iter().cloned());
    assert!(written.len() <= MAX_SIZE);
    let again = records(&written);
    assert_eq!(again, read.get(..again.len()).expect("no more than was written"));
    let kept = table(&text);
    assert_eq!(table(&kept), kept);
});
