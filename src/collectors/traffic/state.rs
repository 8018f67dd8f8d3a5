//! Who is idle for how long, and who makes room when a table fills. Knows no clock and no map.
//!
//! The kernel's tables hold the counts; here is only when each host's packet count last moved.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::codec::{Counters, HostKey};

/// A table counts as filling from this share of its limit on, in eighths.
const FILLING_EIGHTHS: usize = 7;
/// Eviction goes on until this share of the limit is used, in eighths.
const RELIEVED_EIGHTHS: usize = 6;

/// One host of the latest reading.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// What the kernel counted.
    pub counters: Counters,
    moved: Instant,
    reading: u32,
}

/// The hosts of the latest reading, by address.
#[derive(Debug, Default)]
pub struct Hosts {
    known: BTreeMap<HostKey, Host>,
    reading: u32,
}

impl Hosts {
    /// Begins a reading of the tables.
    pub fn begin(&mut self) {
        self.reading = self.reading.wrapping_add(1);
    }

    /// Takes in one entry of the reading.
    pub fn observe(&mut self, key: &HostKey, counters: &Counters, now: Instant) {
        let reading = self.reading;
        let host = self.known.entry(*key).or_insert(Host { counters: *counters, moved: now, reading });
        if host.counters != *counters {
            host.moved = now;
        }
        host.counters = *counters;
        host.reading = reading;
    }

    /// Ends the reading: hosts it did not show are gone.
    pub fn end(&mut self) {
        let reading = self.reading;
        self.known.retain(|_, host| host.reading == reading);
    }

    /// Forgets a host that was evicted.
    pub fn forget(&mut self, key: &HostKey) {
        self.known.remove(key);
    }

    /// Every host with its counters, IPv4 first, in the order of addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&HostKey, &Counters)> {
        self.known.iter().map(|(key, host)| (key, &host.counters))
    }

    /// How many hosts have an address of this version.
    pub fn count(&self, ipv6: bool) -> usize {
        self.known.keys().filter(|key| key.addr.is_ipv6() == ipv6).count()
    }

    /// The hosts that make room: none while both tables have room, else those idle longest, and at least for `idle`,
    /// until there is room again. `limit` is the number of entries of each table.
    pub fn to_evict(&self, now: Instant, idle: Duration, limit: usize) -> Vec<HostKey> {
        let mut evicted = Vec::new();
        for ipv6 in [false, true] {
            let used = self.count(ipv6);
            if used * 8 < limit * FILLING_EIGHTHS {
                continue;
            }
            let rested = |host: &Host| now.saturating_duration_since(host.moved);
            let mut candidates: Vec<_> = self
                .known
                .iter()
                .filter(|(key, host)| key.addr.is_ipv6() == ipv6 && rested(host) >= idle)
                .map(|(key, host)| (host.moved, *key))
                .collect();
            candidates.sort_unstable();
            let target = limit * RELIEVED_EIGHTHS / 8;
            evicted.extend(candidates.into_iter().take(used.saturating_sub(target)).map(|(_, key)| key));
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> HostKey {
        HostKey { mac: [2, 0, 0, 0, 0, last], addr: [192, 168, 1, last].into() }
    }

    fn packets(download_packets: u64) -> Counters {
        Counters { download_packets, ..Counters::default() }
    }

    /// Eight hosts of which the first `active` had a packet in the second reading, 100 s after the first.
    fn filled(active: u8) -> (Hosts, Instant) {
        let start = Instant::now();
        let later = start + Duration::from_secs(100);
        let mut hosts = Hosts::default();
        for (now, moved) in [(start, 0), (later, active)] {
            hosts.begin();
            (0..8).for_each(|i| hosts.observe(&key(i), &packets(u64::from(i < moved)), now));
            hosts.end();
        }
        (hosts, later)
    }

    #[test]
    fn nobody_is_evicted_while_there_is_room() {
        let (hosts, now) = filled(0);
        assert!(hosts.to_evict(now, Duration::from_secs(60), 16).is_empty());
    }

    #[test]
    fn the_longest_idle_make_room_until_a_quarter_is_free() {
        let (hosts, now) = filled(0);
        assert_eq!(hosts.to_evict(now, Duration::from_secs(60), 8), [key(0), key(1)]);
    }

    #[test]
    fn a_host_that_moved_lately_stays_even_in_a_full_table() {
        let (hosts, now) = filled(7);
        assert_eq!(hosts.to_evict(now, Duration::from_secs(60), 8), [key(7)]);
        assert!(hosts.to_evict(now, Duration::from_secs(101), 8).is_empty());
    }

    #[test]
    fn hosts_come_by_address_and_those_of_ipv4_first() {
        let mut hosts = Hosts::default();
        let want = [("10.0.0.2", 9), ("10.0.0.2", 10), ("192.168.1.1", 3), ("2001:db8::1", 1), ("fd00::1", 2)];
        let want = want.map(|(addr, last)| HostKey { addr: addr.parse().unwrap(), mac: [2, 0, 0, 0, 0, last] });
        want.iter().rev().for_each(|key| hosts.observe(key, &packets(1), Instant::now()));
        assert_eq!(hosts.iter().map(|(key, _)| *key).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_host_that_a_reading_does_not_show_is_gone() {
        let (mut hosts, now) = filled(0);
        hosts.begin();
        hosts.observe(&key(3), &packets(1), now);
        hosts.end();
        assert_eq!(hosts.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(3)]);
    }
}
