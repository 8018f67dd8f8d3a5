//! The names that were known once: they live on when a lease ends, and across restarts.
//!
//! | file | what |
//! |---|---|
//! | `codec` | the text of the file |
//! | `file` | when the file is read and written, and what goes wrong with it |
//!
//! Here is the table. A client is kept by its MAC address, together with the addresses at which it was seen, because
//! after a restart a client that is away is known by its address only. A host behind another router, whose MAC address
//! nobody sees, is kept by its one address. An address belongs to whoever had it last: another MAC address takes it
//! away, so a reused address never shows an old name. What is seen longest ago makes room.

pub mod codec;
pub mod file;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::codec::{MAX_ADDRS, Record};
use super::mac::Mac;
use super::{Belief, Found};
use crate::sorted::Sorted;

/// Most clients that are kept.
pub const MAX_ENTRIES: usize = 1024;

/// An address seen within this time makes no room for another one of the same client: with more addresses than places
/// each would drive out the next for ever.
const FRESH: Duration = Duration::from_secs(3600);

/// The table.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Sorted<Key, Entry>,
    /// Who has an address. Each address of an entry is here, with that entry, and no other is.
    owners: Sorted<IpAddr, Key>,
    /// Grows with each collection; an entry's tells how long ago it was seen.
    round: u32,
    /// Whether the file should be written: something besides the order of entries has changed.
    changed: bool,
}

/// What a name is kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Mac(Mac),
    Addr(IpAddr),
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    belief: Belief,
    addrs: Vec<Seen>,
    round: u32,
}

/// An address and when it was last seen; never, if it is from the file.
#[derive(Debug, Clone, Copy)]
struct Seen {
    addr: IpAddr,
    at: Option<Instant>,
}

impl Cache {
    /// The name kept for a client: by its MAC address, or, without a name for that, by an address that is nobody
    /// else's.
    pub fn find(&self, mac: Option<&Mac>, addr: &IpAddr) -> Option<Found<'_>> {
        let of = |key: &Key| self.entries.get(key).map(|entry| Found { name: &entry.name, belief: entry.belief });
        let owner = || self.owners.get(addr);
        match mac {
            Some(mac) => of(&Key::Mac(*mac)).or_else(|| of(owner().filter(|key| matches!(key, Key::Addr(_)))?)),
            None => of(owner()?),
        }
    }

    /// The MAC address that was last seen with an address.
    pub fn mac_of(&self, addr: &IpAddr) -> Option<Mac> {
        match self.owners.get(addr) {
            Some(Key::Mac(mac)) => Some(*mac),
            _ => None,
        }
    }

    /// A collection begins.
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// A client is there, perhaps under a name that is known from elsewhere.
    pub fn saw(&mut self, mac: Option<&Mac>, addr: &IpAddr, found: Option<Found<'_>>, now: Instant) {
        let Some(key) = self.key(mac, addr) else { return };
        let round = self.round;
        if !self.entries.contains_key(&key) {
            self.arrived(key, addr, found, now);
        } else if self.owners.get(addr) != Some(&key) {
            self.claim(key, addr, now);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.round = round;
        if let Some(seen) = entry.addrs.iter_mut().find(|seen| seen.addr == *addr) {
            seen.at = Some(now);
        }
        if let Some(found) = found.filter(|found| found.belief < entry.belief) {
            self.changed |= entry.rename(found);
        }
    }

    /// Names a client by what reverse DNS says of its addresses, unless it has a better name. A client with several
    /// names there keeps the one it has.
    pub fn resolve<'a>(
        &mut self,
        mac: Option<&Mac>,
        addr: &IpAddr,
        name_of: impl Fn(&IpAddr) -> Option<&'a str>,
        now: Instant,
    ) {
        let Some(key) = self.key(mac, addr) else { return };
        let resolved = |name| Found { name, belief: Belief::Resolved };
        let Some(entry) = self.entries.get_mut(&key) else {
            if let Some(name) = name_of(addr) {
                self.saw(mac, addr, Some(resolved(name)), now);
            }
            return;
        };
        let names = || entry.addrs.iter().filter_map(|seen| Some((seen.addr, name_of(&seen.addr)?)));
        if entry.belief < Belief::Resolved || names().any(|(_, name)| *name == *entry.name) {
            return;
        }
        if let Some((_, name)) = names().min() {
            self.changed |= entry.rename(resolved(name));
        }
    }

    /// Asks for every name anew, because files have changed: by MAC address and each address of a client. Who has a name
    /// no more keeps the one there is.
    pub fn renew<'a>(&mut self, find: impl Fn(Option<&Mac>, &IpAddr) -> Option<Found<'a>>) {
        const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        for (key, entry) in self.entries.iter_mut() {
            let mac = match key {
                Key::Mac(mac) => Some(mac),
                Key::Addr(_) => None,
            };
            let addrs = entry.addrs.iter().map(|seen| seen.addr).chain(entry.addrs.is_empty().then_some(NOWHERE));
            let found = addrs.filter_map(|addr| Some((addr, find(mac, &addr).filter(Found::is_its_own)?)));
            // Of names that are believed alike, the one it has stays.
            match found.min_by_key(|(addr, found)| (found.belief, found.name != &*entry.name, *addr)) {
                Some((_, found)) => self.changed |= entry.rename(found),
                None => entry.belief = entry.belief.max(Belief::Remembered),
            }
        }
    }

    /// Puts in what a file had; what is there already stays. The first record was seen last.
    pub fn restore<'a>(&mut self, records: impl DoubleEndedIterator<Item = Record<'a>>) {
        for record in records.rev() {
            let key = match (record.mac, record.addrs.first()) {
                (Some(mac), _) => Key::Mac(mac),
                (None, Some(addr)) => Key::Addr(*addr),
                (None, None) => continue,
            };
            self.round += 1;
            let belief = if record.from_dns { Belief::Resolved } else { Belief::Remembered };
            self.insert(key, Found { name: &record.name, belief });
            for addr in &record.addrs {
                self.take(addr);
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.addrs.push(Seen { addr: *addr, at: None });
                    self.owners.insert(*addr, key);
                }
            }
        }
        self.changed = false;
    }

    /// What a file is to have, seen last first.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, entry)| (std::cmp::Reverse(entry.round), **key));
        entries.into_iter().map(|(key, entry)| Record {
            mac: match key {
                Key::Mac(mac) => Some(*mac),
                Key::Addr(_) => None,
            },
            name: Cow::Borrowed(&entry.name),
            from_dns: entry.belief == Belief::Resolved,
            addrs: entry.addrs.iter().map(|seen| seen.addr).collect(),
        })
    }

    /// What a client is kept by: its MAC address if that is one station's; else its address, unless that is a client's
    /// who was seen there before.
    fn key(&self, mac: Option<&Mac>, addr: &IpAddr) -> Option<Key> {
        match (mac, self.owners.get(addr)) {
            (Some(mac), _) => Some(Key::Mac(*mac)),
            (None, Some(key)) => Some(*key),
            (None, None) => is_worth_keeping(addr).then_some(Key::Addr(*addr)),
        }
    }

    /// Makes an entry for a client that has none, if it has a name: the one found, or the one that was kept for its
    /// address while its MAC address was not known.
    fn arrived(&mut self, key: Key, addr: &IpAddr, found: Option<Found<'_>>, now: Instant) {
        let before = self.take(addr);
        let before = before.as_ref().map(|entry| Found { name: &entry.name, belief: entry.belief });
        if let Some(found) = found.or(before) {
            self.insert(key, found);
            self.claim(key, addr, now);
        }
    }

    /// Gives an address to an entry.
    fn claim(&mut self, key: Key, addr: &IpAddr, now: Instant) {
        self.take(addr);
        let Some(entry) = self.entries.get_mut(&key).filter(|_| is_worth_keeping(addr)) else { return };
        if entry.addrs.len() >= MAX_ADDRS {
            let Some(oldest) = entry.least_needed(addr, now) else { return };
            let oldest = entry.addrs.swap_remove(oldest);
            self.owners.remove(&oldest.addr);
        }
        entry.addrs.push(Seen { addr: *addr, at: Some(now) });
        self.owners.insert(*addr, key);
        self.changed = true;
    }

    /// Takes an address away from whoever has it; returns the entry if it was only about that address.
    fn take(&mut self, addr: &IpAddr) -> Option<Entry> {
        let owner = self.owners.remove(addr)?;
        self.changed = true;
        if let Key::Addr(_) = owner {
            return self.entries.remove(&owner);
        }
        let entry = self.entries.get_mut(&owner)?;
        entry.addrs.retain(|seen| seen.addr != *addr);
        if matches!(entry.belief, Belief::WrittenAddr | Belief::LeaseAddr) {
            entry.belief = Belief::Remembered;
        }
        None
    }

    fn insert(&mut self, key: Key, found: Found<'_>) {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.round).map(|(key, _)| *key);
            let gone = oldest.and_then(|key| self.entries.remove(&key));
            for seen in gone.iter().flat_map(|entry| &entry.addrs) {
                self.owners.remove(&seen.addr);
            }
        }
        let entry = Entry { name: found.name.into(), belief: found.belief, addrs: Vec::new(), round: self.round };
        let gone = self.entries.insert(key, entry);
        for seen in gone.iter().flat_map(|entry| &entry.addrs) {
            self.owners.remove(&seen.addr);
        }
        self.changed = true;
    }
}

impl Entry {
    /// Takes a name over; true if the file has to be written for it.
    fn rename(&mut self, found: Found<'_>) -> bool {
        let before = (self.belief == Belief::Resolved, found.name == &*self.name);
        self.belief = found.belief;
        if found.name != &*self.name {
            self.name = found.name.into();
        }
        before != (self.belief == Belief::Resolved, true)
    }

    /// Which address makes room for another one, if any may: IPv6 hosts make up new addresses every day, but the one
    /// IPv4 address should always have its place.
    fn least_needed(&self, addr: &IpAddr, now: Instant) -> Option<usize> {
        let is_fresh = |seen: &Seen| seen.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        let may_go = |seen: &Seen| !is_fresh(seen) || (addr.is_ipv4() && seen.addr.is_ipv6());
        let candidates = self.addrs.iter().enumerate().filter(|(_, seen)| may_go(seen));
        candidates.min_by_key(|(_, seen)| (seen.addr.is_ipv4(), seen.at)).map(|(index, _)| index)
    }
}

impl Found<'_> {
    /// Whether the name is the client's own, and not that of another one that has or had its address.
    fn is_its_own(&self) -> bool {
        self.belief != Belief::OtherMac
    }
}

/// Whether an address tells one host from all others, and will tomorrow.
fn is_worth_keeping(addr: &IpAddr) -> bool {
    let of_one_link = match addr {
        IpAddr::V4(addr) => addr.is_link_local() || addr.is_broadcast(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    };
    !(of_one_link || addr.is_unspecified() || addr.is_loopback() || addr.is_multicast())
}

#[cfg(test)]
mod tests;
