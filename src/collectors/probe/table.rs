//! Everybody who is probed: addresses with ports, the host names they stand for, and whose turn it is. Pure: sockets and
//! name servers are the engine's, time is a parameter.
//!
//! An address and port is probed once, whoever wants it and how often. Those of the configuration stay; what somebody else
//! asked for goes when nobody has asked for it for ten minutes. If a host name moves to another address, what is known of
//! the old one moves along, unless somebody else wants the old one, too.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use super::gateway;
use super::ledger::Accounted;
use super::schedule::Schedule;
use super::settings::{Host, Manner, Settings, Wanted};
use super::target::{Protocol, Target, Timing};
use crate::names::host_name::HostName;
use crate::names::lookup::Families;
use crate::netlink::route::Path;
use crate::sorted::Sorted;

/// What nobody has asked for in this time is not probed any more.
pub const KEPT: Duration = Duration::from_secs(600);
/// Longest wait for the answer to a SYN: a peer whose answer was lost repeats it after a second, and what comes then says
/// nothing about the path.
const TCP_TIMEOUT: Duration = Duration::from_millis(900);

/// A TCP port, or none for ICMP.
pub type Port = Option<NonZeroU16>;

/// Who is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its address.
    pub ip: IpAddr,
    /// Its TCP port, or none for ICMP.
    pub port: Port,
}

/// A target and how it is probed.
#[derive(Debug)]
pub struct Entry {
    /// Who it is.
    pub key: Key,
    /// How it is probed.
    pub manner: Manner,
    /// What became of its probes.
    pub target: Target,
    /// How it is reached, and when that was looked up; none if it must be looked up.
    pub path: Option<(Path, Instant)>,
    /// What of its totals stands in the ledger.
    pub accounted: Accounted,
    /// Who last sent an ICMP error about it.
    pub reporter: Option<IpAddr>,
    /// Whether the configuration has it.
    pub is_configured: bool,
    /// Whether somebody has asked for it besides.
    is_asked: bool,
    /// Whether it is wanted by its address, and not only by host names.
    is_literal: bool,
}

/// A host name, and what it stands for.
#[derive(Debug)]
pub struct Name {
    /// The name.
    pub host: HostName,
    /// Which of its addresses count.
    pub families: Families,
    /// The addresses it had when it was last looked up.
    pub addresses: Vec<IpAddr>,
    accessed: Instant,
    is_configured: bool,
}

/// There is no room for so many targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// See the module.
#[derive(Debug)]
pub struct Table {
    entries: Sorted<u32, Box<Entry>>,
    by_key: Sorted<Key, u32>,
    next_id: u32,
    names: Vec<Name>,
    schedule: Schedule,
    timeout: Duration,
    histogram: bool,
    limit: usize,
}

/// On whose behalf the addresses of a host name are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The configuration has it.
    Configuration,
    /// Somebody asks for it.
    Request,
    /// It was looked up again.
    Lookup,
}

impl Table {
    /// A table without anybody.
    pub fn new(settings: &Settings, now: Instant) -> Self {
        Table {
            entries: Sorted::default(),
            by_key: Sorted::default(),
            next_id: 0,
            names: Vec::new(),
            schedule: Schedule::new(now, settings.maxpps),
            timeout: settings.timeout,
            histogram: settings.histogram,
            limit: settings.max_targets,
        }
    }

    /// Takes other settings over: who is still wanted keeps what is known of it. Host names of the configuration are to be
    /// bound again.
    pub fn reconfigure(&mut self, settings: &Settings, now: Instant) {
        self.limit = settings.max_targets;
        self.schedule.set_max_rate(settings.maxpps, now);
        self.names.iter_mut().for_each(|name| name.is_configured = false);
        self.entries.iter_mut().for_each(|(_, entry)| entry.is_configured = false);
        self.timeout = settings.timeout;
        self.histogram = settings.histogram;
        self.entries.iter_mut().for_each(|(_, entry)| entry.target.set_histogram(settings.histogram));
        // Everybody begins with the manner of the section; targets of the configuration get their own below.
        let ids: Vec<u32> = self.entries.keys().copied().collect();
        ids.into_iter().for_each(|id| self.set_manner(id, settings.manner, now));
        for wanted in &settings.targets {
            let is_same = |name: &&Name| {
                matches!(&wanted.host, Host::Name(host) if *host == name.host) && name.families == wanted.families
            };
            let addresses = self.names.iter().find(is_same).map(|name| name.addresses.clone());
            self.configure(wanted, &addresses.unwrap_or_default(), now);
        }
        // Whom only the old configuration had is dropped at once.
        self.sweep_with(now, |entry| !entry.is_asked);
    }

    /// Takes in what a target of the configuration stands for: one address, or those that its host name has now.
    pub fn configure(&mut self, wanted: &Wanted, addresses: &[IpAddr], now: Instant) {
        let (literal, addresses) = match &wanted.host {
            Host::Address(ip) => (Some(*ip), &[][..]),
            Host::Name(host) => {
                self.bind(host, wanted.families, addresses, By::Configuration, now);
                (None, addresses)
            }
        };
        for ip in addresses.iter().chain(&literal) {
            for port in &wanted.ports {
                let Ok(id) = self.want(Key { ip: *ip, port: *port }, wanted.manner, literal.is_some(), now) else {
                    continue;
                };
                // The first of several that want the same address says how it is probed.
                let Some(entry) = self.get_mut(id) else { continue };
                if !std::mem::replace(&mut entry.is_configured, true) {
                    self.set_manner(id, wanted.manner, now);
                }
            }
        }
    }

    /// Takes in which addresses a host name has. Those that it no longer has hand what is known of them to those that are
    /// new, unless somebody else wants them.
    pub fn bind(&mut self, host: &HostName, families: Families, addresses: &[IpAddr], by: By, now: Instant) {
        let is_same = |name: &Name| name.host == *host && name.families == families;
        let at = self.names.iter().position(is_same).unwrap_or_else(|| {
            let (host, addresses) = (host.clone(), Vec::new());
            self.names.push(Name { host, families, addresses, accessed: now, is_configured: false });
            self.names.len() - 1
        });
        let Some(name) = self.names.get_mut(at) else { return };
        match by {
            By::Configuration => name.is_configured = true,
            By::Request => name.accessed = now,
            By::Lookup => {}
        }
        let old = std::mem::replace(&mut name.addresses, addresses.to_vec());
        let mut new: Vec<IpAddr> = addresses.iter().filter(|ip| !old.contains(ip)).copied().collect();
        if gateway::is_meant(host) {
            // Another router at the end of another line: nothing that is known of one says anything about the other.
            new.clear();
        }
        for gone in old.iter().filter(|ip| !addresses.contains(ip)) {
            let heir = new.iter().position(|ip| ip.is_ipv4() == gone.is_ipv4()).map(|at| new.remove(at));
            if self.names.iter().any(|name| name.addresses.contains(gone)) {
                continue;
            }
            let left = self.entries.values().filter(|entry| entry.key.ip == *gone && !entry.is_literal);
            let left: Vec<Key> = left.map(|entry| entry.key).collect();
            left.into_iter().for_each(|key| self.leave(key, heir, now));
        }
    }

    /// The host names that wanted this address have it no more.
    fn leave(&mut self, old: Key, heir: Option<IpAddr>, now: Instant) {
        let new = heir.map(|ip| Key { ip, port: old.port }).filter(|new| !self.by_key.contains_key(new));
        let Some(id) = self.by_key.get(&old).copied() else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match new {
            Some(new) => {
                entry.key = new;
                entry.path = None;
                entry.target.moved();
                self.by_key.remove(&old);
                self.by_key.insert(new, id);
            }
            None if entry.is_asked => entry.is_configured = false,
            None => self.remove(id, now),
        }
    }

    /// Somebody asks for this address, besides what the configuration has.
    ///
    /// # Errors
    /// It is not probed yet, and there is no room for more.
    pub fn ask(&mut self, key: Key, manner: Manner, is_literal: bool, now: Instant) -> Result<u32, Full> {
        let id = self.want(key, manner, is_literal, now)?;
        if let Some(entry) = self.get_mut(id) {
            entry.is_asked = true;
            entry.target.touch(now);
        }
        Ok(id)
    }

    /// The number under which this address is probed from now on.
    fn want(&mut self, key: Key, manner: Manner, is_literal: bool, now: Instant) -> Result<u32, Full> {
        if let Some(id) = self.by_key.get(&key).copied() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.is_literal |= is_literal;
            }
            return Ok(id);
        }
        if self.entries.len() >= self.limit {
            return Err(Full);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let protocol = if key.port.is_some() { Protocol::Tcp } else { Protocol::Icmp };
        let mut target = Target::new(protocol, self.timing(key.port, manner), now);
        target.set_histogram(self.histogram);
        let accounted = Accounted::default();
        let (path, reporter, is_configured, is_asked) = (None, None, false, false);
        let entry = Entry { key, manner, target, path, accounted, reporter, is_configured, is_asked, is_literal };
        self.entries.insert(id, Box::new(entry));
        self.by_key.insert(key, id);
        self.schedule.add(id, manner.interval, now);
        Ok(id)
    }

    fn timing(&self, port: Port, manner: Manner) -> Timing {
        let timeout = if port.is_some() { self.timeout.min(TCP_TIMEOUT) } else { self.timeout };
        Timing { interval: manner.interval, timeout }
    }

    fn set_manner(&mut self, id: u32, manner: Manner, now: Instant) {
        let Some(entry) = self.entries.get(&id) else { return };
        let timing = self.timing(entry.key.port, manner);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.target.set_timing(timing);
        let old = std::mem::replace(&mut entry.manner, manner);
        if old.interval != manner.interval {
            self.schedule.remove(id, now);
            self.schedule.add(id, manner.interval, now);
        }
    }

    /// Gives nobody a turn any more who had this many, and tells whether all had and nothing is waited for.
    pub fn finish(&mut self, count: u64, now: Instant) -> bool {
        let ids: Vec<u32> = self.entries.keys().copied().collect();
        let mut is_done = true;
        for id in ids {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if entry.target.begun() < count {
                is_done = false;
                continue;
            }
            entry.target.expire(now);
            is_done &= !entry.target.is_waiting();
            self.schedule.remove(id, now);
        }
        is_done
    }

    /// Decides all probes: what has not been answered by now counts as lost.
    pub fn decide(&mut self, now: Instant) {
        let end = now + 2 * self.timeout;
        self.entries.iter_mut().for_each(|(_, entry)| entry.target.expire(end));
    }

    /// Whether there is room for so many more.
    pub fn has_room_for(&self, more: usize) -> bool {
        self.entries.len() + more <= self.limit
    }

    /// Drops what is not of the configuration and nobody has asked for lately.
    pub fn sweep(&mut self, now: Instant) {
        self.sweep_with(now, |_| false);
        self.names.retain(|name| name.is_configured || now.saturating_duration_since(name.accessed) < KEPT);
    }

    fn sweep_with(&mut self, now: Instant, is_needless: impl Fn(&Entry) -> bool) {
        let is_old = |entry: &Entry| now.saturating_duration_since(entry.target.accessed()) >= KEPT;
        let goes = |entry: &Entry| !entry.is_configured && (is_old(entry) || is_needless(entry));
        let ids: Vec<u32> = self.entries.iter().filter(|(_, entry)| goes(entry)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.remove(id, now));
    }

    fn remove(&mut self, id: u32, now: Instant) {
        if let Some(entry) = self.entries.remove(&id) {
            self.by_key.remove(&entry.key);
            self.schedule.remove(id, now);
        }
    }

    /// The number of an address and port, if it is probed.
    pub fn find(&self, key: &Key) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// A target by its number.
    pub fn get(&self, id: u32) -> Option<&Entry> {
        // Numbers are given in order, so each stands at its own place until one is removed.
        self.entries.get_near(id as usize, &id).map(|entry| &**entry)
    }

    /// A target by its number, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Entry> {
        self.entries.get_mut_near(id as usize, &id).map(|entry| &mut **entry)
    }

    /// All targets with their numbers, in the order of addresses.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.by_key.values().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// All targets, to be changed.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(|(_, entry)| &mut **entry)
    }

    /// How many addresses and ports are probed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is probed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The host names that are wanted.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Whose turn it is, and when the next one is due.
    pub fn schedule(&mut self) -> &mut Schedule {
        &mut self.schedule
    }

    /// Nobody knows any more how targets are reached.
    pub fn forget_paths(&mut self) {
        self.entries.iter_mut().for_each(|(_, entry)| entry.path = None);
    }
}

#[cfg(test)]
mod tests;
