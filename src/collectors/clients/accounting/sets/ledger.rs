//! What was last read of each element: so that a table that somebody removed is made again with its counts.

use std::collections::HashMap;
use std::net::IpAddr;

use super::layout::{KINDS, Kind, SETS, key};
use crate::netlink::nftables::Count;

/// One element.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    count: Count,
    /// The reading that saw it last.
    seen: u32,
    /// Readings since it last changed.
    idle: u32,
    /// It was removed: if it is there, it counts anew.
    removed: bool,
}

/// The elements of the four sets.
#[derive(Debug, Default)]
pub struct Ledger {
    sets: [HashMap<IpAddr, Entry>; SETS],
    reading: u32,
    /// Elements that began to count anew, with all they have counted; not yet so in the kernel.
    restarted: HashMap<(usize, IpAddr), Count>,
}

impl Ledger {
    /// Begins a reading of all sets, perhaps not for the first time.
    pub fn begin(&mut self) {
        self.reading = self.reading.wrapping_add(1);
        self.restarted.clear();
    }

    /// Takes in an element and returns what it has counted in all: if it began anew, with what it had before.
    pub fn note(&mut self, set: usize, addr: IpAddr, now: Count) -> Count {
        let Some(entries) = self.sets.get_mut(set) else { return now };
        let reading = self.reading;
        let entry = entries.entry(addr).or_insert(Entry { count: now, seen: reading, idle: 0, removed: false });
        if entry.removed || now.bytes < entry.count.bytes || now.packets < entry.count.packets {
            let all = entry.count + now;
            entry.seen = reading;
            self.restarted.insert((set, addr), all);
            return all;
        }
        // One reading may meet an element twice.
        if entry.seen != reading {
            entry.idle = if entry.count == now { entry.idle.saturating_add(1) } else { 0 };
        }
        entry.seen = reading;
        entry.count = now;
        now
    }

    /// Elements of the last reading that began to count anew, with all they have counted: they are to be replaced.
    pub fn restarted(&self) -> impl Iterator<Item = (usize, IpAddr, Count)> {
        self.restarted.iter().map(|((set, addr), count)| (*set, *addr, *count))
    }

    /// The elements that began to count anew were replaced by ones that have counted all.
    pub fn settle(&mut self) {
        for ((set, addr), count) in self.restarted.drain() {
            if let Some(entry) = self.sets.get_mut(set).and_then(|entries| entries.get_mut(&addr)) {
                entry.count = count;
                entry.removed = false;
            }
        }
    }

    /// Somebody removed an element, which had counted this much.
    pub fn removed(&mut self, set: usize, addr: IpAddr, last: Count) {
        if let Some(entry) = self.sets.get_mut(set).and_then(|entries| entries.get_mut(&addr)) {
            entry.count.bytes = entry.count.bytes.max(last.bytes);
            entry.count.packets = entry.count.packets.max(last.packets);
            entry.removed = true;
        }
    }

    /// Every element, or those that the last reading did not meet, were made with what they had counted.
    pub fn made(&mut self, all: bool) {
        let reading = self.reading;
        let entries = self.sets.iter_mut().flat_map(HashMap::values_mut);
        entries.filter(|entry| all || entry.seen != reading).for_each(|entry| entry.removed = false);
    }

    /// The elements of a set that the last reading did not meet.
    pub fn missing(&self, set: usize) -> impl Iterator<Item = (IpAddr, Count)> {
        let entries = self.sets.get(set).into_iter().flatten();
        entries.filter(|(_, entry)| entry.seen != self.reading).map(|(addr, entry)| (*addr, entry.count))
    }

    /// All elements of a set with all they have counted, at most `size`; if it has more, those that were idle longest are left out, and forgotten.
    pub fn elements(&mut self, set: usize, size: u32) -> Vec<(Vec<u8>, Count)> {
        let Some(entries) = self.sets.get_mut(set) else { return Vec::new() };
        let size = size as usize;
        if entries.len() > size {
            let mut order: Vec<_> = entries.iter().map(|(addr, entry)| (entry.idle, *addr)).collect();
            order.sort_unstable();
            for (_, addr) in order.into_iter().skip(size) {
                entries.remove(&addr);
            }
        }
        let all = |(addr, entry): (&IpAddr, &Entry)| {
            (key(*addr), self.restarted.get(&(set, *addr)).copied().unwrap_or(entry.count))
        };
        entries.iter().map(all).collect()
    }

    /// How many elements a set has.
    pub fn len(&self, set: usize) -> usize {
        self.sets.get(set).map_or(0, HashMap::len)
    }

    /// Whether a set has this element.
    pub fn has(&self, set: usize, addr: IpAddr) -> bool {
        self.sets.get(set).is_some_and(|entries| entries.contains_key(&addr))
    }

    /// An element is gone for good.
    pub fn remove(&mut self, set: usize, addr: IpAddr) {
        if let Some(entries) = self.sets.get_mut(set) {
            entries.remove(&addr);
        }
    }

    /// Elements of a set that did not change in the last `idle` readings.
    pub fn idle(&self, set: usize, idle: u32) -> impl Iterator<Item = IpAddr> {
        let entries = self.sets.get(set).into_iter().flatten();
        entries.filter(move |(_, entry)| entry.idle >= idle).map(|(addr, _)| *addr)
    }

    /// Whether any set has an element of this address under a kind that `which` accepts.
    pub fn any(&self, addr: IpAddr, which: impl Fn(&Kind) -> bool) -> bool {
        KINDS.iter().enumerate().any(|(set, kind)| which(kind) && self.has(set, addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn count(bytes: u64, packets: u64) -> Count {
        Count { bytes, packets }
    }

    /// One reading in which the first set has just this element.
    fn reading(ledger: &mut Ledger, now: Count) -> Count {
        ledger.begin();
        ledger.note(0, ADDR, now)
    }

    #[test]
    fn an_element_that_began_anew_goes_on_from_what_it_had() {
        let mut ledger = Ledger::default();
        assert_eq!(reading(&mut ledger, count(100, 5)), count(100, 5));
        assert_eq!(reading(&mut ledger, count(20, 1)), count(120, 6));
        // As long as the kernel has not taken it over, that is so again.
        assert_eq!(reading(&mut ledger, count(40, 2)), count(140, 7));
        assert_eq!(ledger.restarted().collect::<Vec<_>>(), [(0, ADDR, count(140, 7))]);
        ledger.settle();
        assert_eq!(reading(&mut ledger, count(150, 8)), count(150, 8));
        assert_eq!(ledger.restarted().count(), 0);
    }

    #[test]
    fn a_removal_that_was_told_is_known_even_if_the_new_count_is_higher() {
        let mut ledger = Ledger::default();
        reading(&mut ledger, count(100, 5));
        ledger.removed(0, ADDR, count(110, 6));
        assert_eq!(reading(&mut ledger, count(500, 9)), count(610, 15));
        ledger.settle();
        assert_eq!(reading(&mut ledger, count(700, 20)), count(700, 20));
    }

    #[test]
    fn an_element_that_is_missing_keeps_its_count_until_it_is_forgotten() {
        let mut ledger = Ledger::default();
        reading(&mut ledger, count(100, 5));
        ledger.begin();
        assert_eq!(ledger.missing(0).collect::<Vec<_>>(), [(ADDR, count(100, 5))]);
        assert_eq!(ledger.elements(0, 10), [(key(ADDR), count(100, 5))]);
        ledger.remove(0, ADDR);
        assert_eq!((ledger.missing(0).count(), ledger.len(0)), (0, 0));
    }

    #[test]
    fn an_element_met_twice_in_a_reading_is_not_idle() {
        let mut ledger = Ledger::default();
        reading(&mut ledger, count(100, 5));
        ledger.note(0, ADDR, count(100, 5));
        assert_eq!(ledger.idle(0, 1).count(), 0);
        reading(&mut ledger, count(100, 5));
        assert_eq!(ledger.idle(0, 1).count(), 1);
        reading(&mut ledger, count(101, 6));
        assert_eq!(ledger.idle(0, 1).count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_what_was_idle_longest() {
        let mut ledger = Ledger::default();
        let addr = |n: u8| IpAddr::from([10, 0, 0, n]);
        for round in 0..3u64 {
            ledger.begin();
            for n in 0..10 {
                ledger.note(0, addr(n), count(if n < 4 { round } else { 0 }, 1));
            }
        }
        let mut kept: Vec<_> = ledger.elements(0, 4).into_iter().map(|(key, _)| key[3]).collect();
        kept.sort_unstable();
        assert_eq!(kept, [0, 1, 2, 3]);
        assert_eq!(ledger.len(0), 4);
    }
}
