//! Bytes of clients out of the counters of flows: readings of flows enter, totals of clients leave.
//!
//! Each reading adds what a flow has moved since the last one, so a flow that is seen twice, in a dump or by its end,
//! counts once. Flows that were there before us start from what their counters said at first: another run of this
//! program may have counted it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::key::{Flows, MAX_FLOWS, shrink};
use super::table::IsClient;
use crate::collectors::clients::accounting::{Counter, Direction};
use crate::netlink::conntrack::{Entry, Moved};

/// Dumps in a row that a flow may be missing from before it is forgotten. A dump can miss a flow while the table
/// changes, and a flow that is forgotten too early counts a second time.
const MISSED_DUMPS: u8 = 3;

/// What clients have moved since we began.
#[derive(Debug)]
pub struct Ledger {
    flows: Flows<Last>,
    clients: HashMap<IpAddr, [Moved; 2]>,
    max_clients: usize,
    /// Flows that are not known yet have moved what they have before we began.
    baseline: bool,
    generation: u8,
    unmetered: usize,
    untracked: usize,
}

/// The last reading of a flow, in its original direction and back. Together with its key it takes 40 bytes.
#[derive(Debug, Clone, Copy)]
struct Last {
    bytes: [u64; 2],
    /// The lower halves; a flow does not move 2^32 packets between two readings.
    packets: [u32; 2],
    generation: u8,
}

impl Ledger {
    /// An empty one with room for so many clients.
    pub fn new(max_clients: u16) -> Self {
        Ledger {
            flows: Flows::default(),
            clients: HashMap::new(),
            max_clients: usize::from(max_clients),
            baseline: true,
            generation: 0,
            unmetered: 0,
            untracked: 0,
        }
    }

    /// A dump begins.
    pub fn begin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        (self.unmetered, self.untracked) = (0, 0);
    }

    /// The dump is in, and so are the events that came meanwhile: from now on a flow that is not known is new.
    pub fn end(&mut self) {
        let generation = self.generation;
        self.flows.retain(|_, last| generation.wrapping_sub(last.generation) < MISSED_DUMPS);
        shrink(&mut self.flows);
        self.baseline = false;
    }

    /// Who is a client has changed: what flows have moved before that is not counted for those who become one.
    pub fn doubt(&mut self) {
        self.baseline = true;
    }

    /// Takes in the counters of a flow that goes on.
    pub fn read(&mut self, key: u64, entry: &Entry, is_client: IsClient<'_>) {
        let Some(moved) = entry.moved else {
            self.unmetered += 1;
            return;
        };
        let known = self.flows.get(&key).copied();
        // One that ends while it is listed has told so already, and with it what it moved.
        if known.is_none() && entry.dying {
            return;
        }
        let Some(ends) = self.find_ends(entry, is_client) else {
            self.flows.remove(&key);
            return;
        };
        if known.is_none() && self.flows.len() >= MAX_FLOWS {
            self.untracked += 1;
            return;
        }
        let counts = known.is_some() || !self.baseline;
        self.add(ends, if counts { since(known, moved) } else { [Moved::default(); 2] });
        let [sent, answered] = moved;
        let last = Last {
            bytes: [sent.bytes, answered.bytes],
            packets: [sent.packets as u32, answered.packets as u32],
            generation: self.generation,
        };
        self.flows.insert(key, last);
    }

    /// Takes in the final counters of a flow.
    pub fn close(&mut self, key: u64, entry: &Entry, is_client: IsClient<'_>) {
        let known = self.flows.remove(&key);
        if known.is_none() && self.baseline {
            return;
        }
        if let (Some(moved), Some(ends)) = (entry.moved, self.find_ends(entry, is_client)) {
            self.add(ends, since(known, moved));
        }
    }

    /// Forgets a client with its totals.
    pub fn forget(&mut self, addr: IpAddr) {
        self.clients.remove(&addr);
    }

    /// The totals of every client that has or had flows.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        self.clients.iter().flat_map(|(addr, totals)| {
            let [tx, rx] = *totals;
            [(Direction::Tx, tx), (Direction::Rx, rx)].map(|(direction, total)| Counter {
                addr: *addr,
                direction,
                bytes: total.bytes,
                packets: total.packets,
            })
        })
    }

    /// How many flows of the last dump had no counters.
    pub fn unmetered(&self) -> usize {
        self.unmetered
    }

    /// How many readings of flows found no room since the last dump began.
    pub fn untracked(&self) -> usize {
        self.untracked
    }

    /// The ends that are clients, that of the first packet first. The other one must have answered, or have totals
    /// already: nobody becomes a client by being scanned. What one client sends another before that one first answers
    /// counts for the sender only.
    fn find_ends(&self, entry: &Entry, is_client: IsClient<'_>) -> Option<[Option<IpAddr>; 2]> {
        let (first, other) = (entry.original.source, entry.reply.source);
        let takes_part = other != first && (entry.replied || self.clients.contains_key(&other));
        let ends = [Some(first).filter(|addr| is_client(*addr)), Some(other).filter(|a| takes_part && is_client(*a))];
        (ends != [None; 2]).then_some(ends)
    }

    fn add(&mut self, ends: [Option<IpAddr>; 2], [sent, answered]: [Moved; 2]) {
        let [first, other] = ends;
        for (addr, moved) in [(first, [sent, answered]), (other, [answered, sent])] {
            let Some(addr) = addr else { continue };
            if self.clients.len() >= self.max_clients && !self.clients.contains_key(&addr) {
                self.untracked += 1;
                continue;
            }
            for (total, moved) in self.clients.entry(addr).or_default().iter_mut().zip(moved) {
                total.bytes = total.bytes.saturating_add(moved.bytes);
                total.packets = total.packets.saturating_add(moved.packets);
            }
        }
    }
}

/// What a flow has moved since its last reading; all of it if it has been counted from zero in between.
fn since(last: Option<Last>, moved: [Moved; 2]) -> [Moved; 2] {
    let Some(last) = last else { return moved };
    let [sent, answered] = moved;
    let [sent_bytes, answered_bytes] = last.bytes;
    if sent.bytes < sent_bytes || answered.bytes < answered_bytes {
        return moved;
    }
    let one = |now: Moved, bytes: u64, packets: u32| Moved {
        bytes: now.bytes - bytes,
        packets: u64::from((now.packets as u32).wrapping_sub(packets)),
    };
    let [sent_packets, answered_packets] = last.packets;
    [one(sent, sent_bytes, sent_packets), one(answered, answered_bytes, answered_packets)]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::collectors::clients::flows::table::tests::{entry, lan, server};

    fn moved(sent: u64, answered: u64) -> Option<[Moved; 2]> {
        Some([Moved { packets: sent / 100, bytes: sent }, Moved { packets: answered / 100, bytes: answered }])
    }

    fn host(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 168, 1, n).into()
    }

    /// A ledger after its first dump, with which counting begins.
    fn begun() -> Ledger {
        let mut ledger = Ledger::new(8);
        ledger.begin();
        ledger.end();
        ledger
    }

    fn totals(ledger: &Ledger, addr: IpAddr) -> [u64; 2] {
        let bytes = |direction| {
            let found = ledger.counters().find(|counter| counter.addr == addr && counter.direction == direction);
            found.map_or(0, |counter| counter.bytes)
        };
        [bytes(Direction::Tx), bytes(Direction::Rx)]
    }

    #[test]
    fn a_flow_counts_once_however_often_it_is_read() {
        let mut ledger = begun();
        let flow = Entry { moved: moved(1000, 3000), ..entry(host(11), server()) };
        ledger.read(1, &flow, &lan);
        ledger.read(1, &flow, &lan);
        let more = Entry { moved: moved(1500, 3000), ..flow };
        ledger.close(1, &more, &lan);
        assert_eq!(totals(&ledger, host(11)), [1500, 3000]);
        let packets: Vec<u64> = ledger.counters().map(|counter| counter.packets).collect();
        assert_eq!(packets, [15, 30]);
    }

    #[test]
    fn what_flows_had_moved_before_the_first_dump_is_not_counted() {
        let mut ledger = Ledger::new(8);
        let flow = Entry { moved: moved(1000, 3000), ..entry(host(11), server()) };
        ledger.close(2, &flow, &lan);
        ledger.begin();
        ledger.read(1, &flow, &lan);
        ledger.end();
        // The client is told with zeroes, so that one sees it begin.
        assert_eq!((totals(&ledger, host(11)), ledger.counters().count()), ([0, 0], 2));
        ledger.close(1, &Entry { moved: moved(1100, 3300), ..flow }, &lan);
        assert_eq!(totals(&ledger, host(11)), [100, 300]);
        ledger.close(2, &flow, &lan);
        assert_eq!(totals(&ledger, host(11)), [1100, 3300]);
    }

    #[test]
    fn a_forwarded_flow_counts_the_other_way_round_and_between_clients_both_ways() {
        let mut ledger = begun();
        let inward = Entry { moved: moved(1000, 3000), replied: true, ..entry(server(), host(12)) };
        ledger.read(1, &inward, &lan);
        assert_eq!(totals(&ledger, host(12)), [3000, 1000]);
        let between = Entry { moved: moved(10, 20), replied: true, ..entry(host(11), host(12)) };
        ledger.read(2, &between, &lan);
        assert_eq!((totals(&ledger, host(11)), totals(&ledger, host(12))), ([10, 20], [3020, 1010]));
    }

    #[test]
    fn a_scan_makes_no_clients_but_reaches_those_there_are() {
        let mut ledger = begun();
        let scan = Entry { moved: moved(60, 0), ..entry(server(), host(12)) };
        ledger.read(1, &scan, &lan);
        assert_eq!(ledger.counters().count(), 0);
        ledger.read(2, &Entry { moved: moved(5, 5), ..entry(host(12), server()) }, &lan);
        ledger.read(1, &scan, &lan);
        assert_eq!(totals(&ledger, host(12)), [5, 65]);
    }

    #[test]
    fn a_flow_that_starts_again_from_zero_counts_from_zero() {
        let mut ledger = begun();
        let flow = Entry { moved: moved(1000, 3000), ..entry(host(11), server()) };
        ledger.read(1, &flow, &lan);
        ledger.read(1, &Entry { moved: moved(200, 300), ..flow }, &lan);
        assert_eq!(totals(&ledger, host(11)), [1200, 3300]);
    }

    #[test]
    fn a_flow_that_has_told_its_end_is_not_counted_again_by_a_dump() {
        let mut ledger = begun();
        let flow = Entry { moved: moved(1000, 3000), ..entry(host(11), server()) };
        ledger.close(1, &flow, &lan);
        ledger.begin();
        ledger.read(1, &Entry { dying: true, ..flow }, &lan);
        ledger.end();
        assert_eq!(totals(&ledger, host(11)), [1000, 3000]);
    }

    #[test]
    fn a_flow_that_a_dump_misses_is_not_counted_twice() {
        let mut ledger = begun();
        let flow = Entry { moved: moved(1000, 3000), ..entry(host(11), server()) };
        ledger.read(1, &flow, &lan);
        ledger.begin();
        ledger.end();
        ledger.close(1, &flow, &lan);
        assert_eq!(totals(&ledger, host(11)), [1000, 3000]);
        ledger.read(2, &flow, &lan);
        for _ in 0..MISSED_DUMPS {
            ledger.begin();
            ledger.end();
        }
        assert!(ledger.flows.is_empty());
    }

    #[test]
    fn flows_without_counters_are_told() {
        let mut ledger = begun();
        ledger.begin();
        ledger.read(1, &entry(host(11), server()), &lan);
        ledger.end();
        assert_eq!((ledger.unmetered(), ledger.counters().count()), (1, 0));
    }

    #[test]
    fn clients_beyond_the_limit_are_not_counted_and_told() {
        let mut ledger = Ledger::new(1);
        ledger.end();
        for n in [11, 12] {
            ledger.read(u64::from(n), &Entry { moved: moved(100, 0), ..entry(host(n), server()) }, &lan);
        }
        assert_eq!((ledger.counters().count(), ledger.untracked()), (2, 1));
    }

    #[test]
    fn a_reading_of_a_flow_takes_forty_bytes_at_most() {
        assert!(size_of::<(u64, Last)>() <= 40);
    }
}
