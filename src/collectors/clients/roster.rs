//! The clients themselves: readings enter, totals, rates and presence leave.
//!
//! A round is one collection: [`Roster::begin`], any number of readings, [`Roster::finish`]. No clock is read here. Totals
//! only grow, whatever a source does: what a reading has less than the one before it began again from 0.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::accounting::{Counter, Direction};
use super::flows::Counts;
use super::neighbours::Entry;
use crate::netlink::neighbour::State;

/// How long a client without a neighbour entry to judge by counts as online after it sent, if no other time is set.
const DEFAULT_STALE: Duration = Duration::from_secs(300);

/// What rounds are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Time after its last confirmation for which a stale neighbour counts as online; none for ever.
    pub stale: Option<Duration>,
    /// Time unseen after which a client is forgotten.
    pub forget: Duration,
    /// Most clients kept.
    pub max_clients: usize,
    /// Whether a counter that was not there in the round before began from 0 since: else it may be old.
    pub begin_from_zero: bool,
    /// Whether a client stays for as long as its counters are there, as with rules that somebody else manages.
    pub keep_counted: bool,
}

/// One direction of one client.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Track {
    /// Bytes since the source began to count; never falls.
    pub total: u64,
    /// Bits per second over the time between the last two rounds.
    pub rate: f64,
    last: Option<u64>,
    /// Bytes since the round before.
    moved: u64,
    /// Whether this round has a reading.
    read: bool,
}

impl Track {
    fn read(&mut self, value: u64, from_zero: bool) {
        // Several readings of one round are parts of one figure only if the source says so; it adds them up itself.
        let moved = match self.last {
            Some(last) if value >= last => value - last,
            Some(_) => value,
            None if from_zero => value,
            None => {
                self.total = value;
                0
            }
        };
        if self.last.is_some() || from_zero {
            self.total = self.total.saturating_add(moved);
        }
        self.moved = self.moved.saturating_add(moved);
        self.last = Some(value);
        self.read = true;
    }

    fn settle(&mut self, elapsed: Option<Duration>) {
        if let Some(elapsed) = elapsed {
            self.rate = self.moved as f64 * 8.0 / elapsed.as_secs_f64();
        }
    }

    /// Whether there was ever a reading.
    pub fn is_known(&self) -> bool {
        self.last.is_some()
    }
}

/// One client: one address.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its hardware address, once a neighbour entry has told it.
    pub mac: Option<[u8; 6]>,
    /// The interface it was last seen behind.
    pub ifindex: Option<u32>,
    /// What it sends.
    pub tx: Track,
    /// What it receives.
    pub rx: Track,
    /// Its connections.
    pub flows: Counts,
    /// Whether it is there.
    pub online: bool,
    neighbour: Option<Entry>,
    /// When it was last found to have sent something.
    sent: Option<Instant>,
    /// When its neighbour entry was last missing.
    missing: Option<Instant>,
    since: Instant,
}

impl Client {
    fn new(now: Instant) -> Self {
        Client {
            mac: None,
            ifindex: None,
            tx: Track::default(),
            rx: Track::default(),
            flows: Counts::default(),
            online: false,
            neighbour: None,
            sent: None,
            missing: None,
            since: now,
        }
    }

    /// When it was last known to be there, if ever: confirmed by the neighbour table, or sending.
    pub fn last_seen(&self) -> Option<Instant> {
        self.neighbour.and_then(|entry| entry.confirmed).max(self.sent)
    }

    fn is_online(&self, now: Instant, stale: Option<Duration>) -> bool {
        let within = |at: Option<Instant>, limit| at.is_some_and(|at| now.saturating_duration_since(at) < limit);
        let sends = self.sent == Some(now);
        match self.neighbour.map(|entry| (entry.state, entry.confirmed)) {
            Some((State::Reachable | State::Delay | State::Probe, _)) => true,
            Some((State::Stale, confirmed)) => {
                stale.is_none_or(|stale| within(confirmed, stale) || within(self.sent, stale))
            }
            Some((State::Failed | State::Incomplete, _)) => sends,
            Some((State::Permanent | State::NoArp | State::None, _)) => {
                within(self.sent, stale.unwrap_or(DEFAULT_STALE))
            }
            // An entry that was there and went away went with the link; one that never was is that of a client behind
            // another router.
            None => sends || (self.missing < self.sent && within(self.sent, stale.unwrap_or(DEFAULT_STALE))),
        }
    }

    /// What decides who is forgotten first.
    fn evidence(&self) -> Instant {
        // Not when it was listed: one that did not fit is listed anew each time.
        self.last_seen().unwrap_or(self.since)
    }
}

/// All clients, by address.
#[derive(Debug)]
pub struct Roster {
    clients: BTreeMap<IpAddr, Client>,
    rules: Rules,
    /// When the last complete round was.
    before: Option<Instant>,
    forgotten: u64,
}

impl Roster {
    /// An empty one.
    pub fn new(rules: Rules) -> Self {
        Roster { clients: BTreeMap::new(), rules, before: None, forgotten: 0 }
    }

    /// Judges by other rules from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Begins a round.
    pub fn begin(&mut self) {
        for client in self.clients.values_mut() {
            client.flows = Counts::default();
            client.neighbour = None;
            for track in [&mut client.tx, &mut client.rx] {
                (track.moved, track.read) = (0, false);
            }
        }
    }

    /// An entry of the neighbour table. It makes a client if it was confirmed at a time that is not forgotten.
    pub fn neighbour(&mut self, addr: IpAddr, ifindex: u32, entry: Entry, now: Instant) {
        let recent = |at: Instant| now.saturating_duration_since(at) < self.rules.forget;
        let is_there = match entry.state {
            State::Reachable | State::Delay | State::Probe | State::Stale => entry.confirmed.is_none_or(recent),
            State::Permanent | State::NoArp => true,
            State::None | State::Incomplete | State::Failed => false,
        };
        let client = match is_there && entry.mac.is_some() {
            true => self.clients.entry(addr).or_insert_with(|| Client::new(now)),
            false => match self.clients.get_mut(&addr) {
                Some(client) => client,
                None => return,
            },
        };
        client.mac = entry.mac.or(client.mac);
        client.ifindex = Some(ifindex);
        client.neighbour = Some(entry);
    }

    /// A reading of a source. What was received makes no client: it may never have arrived anywhere.
    pub fn count(&mut self, counter: Counter, now: Instant) {
        let from_zero = self.rules.begin_from_zero && self.before.is_some();
        let client = match counter.direction {
            Direction::Tx => self.clients.entry(counter.addr).or_insert_with(|| Client::new(now)),
            Direction::Rx => match self.clients.get_mut(&counter.addr) {
                Some(client) => client,
                None => return,
            },
        };
        let track = match counter.direction {
            Direction::Tx => &mut client.tx,
            Direction::Rx => &mut client.rx,
        };
        track.read(counter.bytes, from_zero);
        if counter.direction == Direction::Tx && track.moved > 0 {
            client.sent = Some(now);
        }
    }

    /// A client's connections. Those that were answered make a client.
    pub fn flows(&mut self, addr: IpAddr, counts: Counts, now: Instant) {
        if counts.active > 0 {
            self.clients.entry(addr).or_insert_with(|| Client::new(now)).flows = counts;
        } else if let Some(client) = self.clients.get_mut(&addr) {
            client.flows = counts;
        }
    }

    /// Ends a round whose bytes were read at `read_at`: rates over the time since they were read before, presence, and who
    /// is forgotten, whose addresses it returns.
    pub fn finish(&mut self, now: Instant, read_at: Instant) -> Vec<IpAddr> {
        let elapsed = self.before.map(|before| read_at.saturating_duration_since(before));
        let elapsed = elapsed.filter(|time| !time.is_zero());
        self.before = Some(read_at);
        for client in self.clients.values_mut() {
            if client.neighbour.is_none() {
                client.missing = client.missing.max(client.ifindex.map(|_| now).filter(|_| client.online));
            }
            client.tx.settle(elapsed);
            client.rx.settle(elapsed);
            client.online = client.is_online(now, self.rules.stale);
        }
        let forgotten = self.forget(now);
        self.forgotten += forgotten.len() as u64;
        forgotten
    }

    fn forget(&mut self, now: Instant) -> Vec<IpAddr> {
        let rules = self.rules;
        let mut gone = Vec::new();
        self.clients.retain(|addr, client| {
            let counted = rules.keep_counted && (client.tx.read || client.rx.read);
            let unseen = now.saturating_duration_since(client.evidence());
            let keep = client.online || client.flows.active > 0 || counted || unseen < rules.forget;
            if !keep {
                gone.push(*addr);
            }
            keep
        });
        let excess = self.clients.len().saturating_sub(rules.max_clients);
        if excess > 0 {
            let mut by_evidence: Vec<_> =
                self.clients.iter().map(|(addr, c)| (c.online, c.evidence(), *addr)).collect();
            // Picking the first few without sorting the rest would be 3 kB of code on MIPS.
            by_evidence.sort_unstable();
            for (_, _, addr) in by_evidence.into_iter().take(excess) {
                self.clients.remove(&addr);
                gone.push(addr);
            }
        }
        gone
    }

    /// Every client with its address, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Client)> {
        self.clients.iter().map(|(addr, client)| (*addr, client))
    }

    /// How many clients were forgotten since start.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether an address is a client's that was seen to be there or to send.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.clients.contains_key(&addr)
    }

    /// Drops every client that `keep` refuses, and returns their addresses.
    pub fn retain(&mut self, keep: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let dropped: Vec<_> = self.clients.keys().copied().filter(|addr| !keep(*addr)).collect();
        self.clients.retain(|addr, _| keep(*addr));
        dropped
    }
}

#[cfg(test)]
mod tests;
