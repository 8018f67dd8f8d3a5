//! Any bytes as messages about flows and as lines of /proc/net/nf_conntrack: no panic, no endless walk, and whatever they
//! tell, in any order, what is counted for the clients adds up.

#![no_main]

use std::net::IpAddr;

use gatemeter::collectors::clients::flows::key::Keys;
use gatemeter::collectors::clients::flows::proc;
use gatemeter::collectors::clients::flows::table::{Source, Table};
use gatemeter::netlink::conntrack::{self, Event};
use gatemeter::netlink::messages;
use libfuzzer_sys::fuzz_target;

const MOST: u16 = 4;

/// Half of all addresses are clients'.
fn is_client(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.octets()[3] % 2 == 0,
        IpAddr::V6(addr) => addr.octets()[15] % 2 == 0,
    }
}

fn check(table: &Table) {
    let clients: Vec<_> = table.clients().collect();
    assert!(clients.len() <= usize::from(MOST));
    let ends: usize = clients.iter().map(|(_, counts)| (counts.active + counts.unreplied) as usize).sum();
    // Each flow counts for one or both of its ends.
    assert!((table.flows()..=2 * table.flows()).contains(&ends), "{ends} of {}", table.flows());
    assert!(table.silent() <= table.flows() && table.offloaded() <= table.flows());
    assert!(clients.iter().all(|(addr, counts)| is_client(*addr) && table.counts(*addr) == *counts));
}

fuzz_target!(|bytes: &[u8]| {
    let (keys, mut table) = (Keys::default(), Table::new(MOST));
    table.begin();
    // Each message takes at least its header, so the walk is bounded.
    for message in messages(bytes).take(bytes.len() / 16 + 1).flatten() {
        let _ = conntrack::decode_stats(&message);
        match conntrack::decode(&message) {
            Ok(Some(Event::Known(entry))) => {
                let source = [Source::Event, Source::Dump, Source::Silent][message.sequence as usize % 3];
                table.know(keys.of(&entry), &entry, source, &is_client);
            }
            Ok(Some(Event::Gone(entry))) => table.forget(keys.of(&entry)),
            _ => continue,
        }
        check(&table);
        match message.flags % 8 {
            1 => table.doubt(),
            2 => table.begin(),
            3 => table.end(),
            _ => {}
        }
        check(&table);
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(entry) = std::str::from_utf8(line).ok().and_then(proc::line) {
            table.know(keys.of(&entry), &entry, Source::Dump, &is_client);
            check(&table);
        }
    }
    table.begin();
    table.end();
    table.shrink();
    assert!(table.flows() == 0 && table.clients().count() == 0);
});
