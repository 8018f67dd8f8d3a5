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
