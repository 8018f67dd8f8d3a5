//! Who is connected, and who must go when there is no room: the one place where fairness is decided.
//!
//! No socket and no clock: connections report their state, the caller passes the time. With at most 64 entries a
//! scan costs less than an index would.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What a connection is doing, from the easiest to the hardest to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Its last words are said; the client may read them before it is closed.
    Closing,
    /// Kept after a reply; no byte of the next request has come.
    Idle,
    /// Its first request is awaited, or part of a request head has come. A fresh connection counts as busy so that
    /// a crowd of half-sent requests does not push it out before its own request is read.
    Reading,
    /// The reply is on its way.
    Writing,
    /// The handler works on the reply.
    Handling,
}

/// One connection; `T` is what ends it when dropped.
#[derive(Debug)]
struct Entry<T> {
    id: u64,
    peer: IpAddr,
    state: State,
    since: Instant,
    /// Of the reply that is on its way.
    bytes: usize,
    /// Not on the allow list: it is here only to read its 403.
    refused: bool,
    handle: Option<T>,
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<Entry<T>>,
    next_id: u64,
    /// How many there may be.
    capacity: usize,
    /// After this long a reply on its way counts as held up by its reader.
    slow_write: Duration,
}

/// How much room an address takes: connections of its network, then its own.
type Share = (usize, usize);

impl<T> Table<T> {
    pub(super) fn new(capacity: usize, slow_write: Duration) -> Table<T> {
        Table { entries: Vec::new(), next_id: 0, capacity, slow_write }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are here only to read their 403.
    pub(super) fn refused(&self) -> usize {
        self.entries.iter().filter(|entry| entry.refused).count()
    }

    /// Adds a connection from `peer` and returns its id.
    pub(super) fn insert(&mut self, peer: IpAddr, refused: bool, now: Instant) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let state = if refused { State::Closing } else { State::Reading };
        self.entries.push(Entry { id, peer, state, since: now, bytes: 0, refused, handle: None });
        id
    }

    /// Keeps what ends the connection; a handle for a connection that is gone comes back.
    pub(super) fn attach(&mut self, id: u64, handle: T) -> Option<T> {
        match self.entries.iter_mut().find(|entry| entry.id == id) {
            Some(entry) => entry.handle.replace(handle),
            None => Some(handle),
        }
    }

    /// Notes what a connection does from `now` on.
    pub(super) fn set(&mut self, id: u64, state: State, now: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            (entry.state, entry.since, entry.bytes) = (state, now, 0);
        }
    }

    /// Notes that a reply of `bytes` is on its way from `now` on, and returns what ends those for which there is no room
    /// beside it: all together may have `most` bytes, or this one alone what it has. Of the others, the address with the
    /// most connections loses its oldest reply.
    pub(super) fn write(&mut self, id: u64, bytes: usize, most: usize, now: Instant) -> Vec<T> {
        self.set(id, State::Writing, now);
        let mut ended = Vec::new();
        while self.entries.iter().map(|entry| entry.bytes).sum::<usize>() + bytes > most {
            let others = self.entries.iter().filter(|entry| entry.bytes > 0);
            let Some(victim) = others
                .min_by_key(|entry| (std::cmp::Reverse(self.share(entry.peer)), entry.since))
                .map(|entry| entry.id)
            else {
                break;
            };
            ended.extend(self.remove(victim));
        }
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.bytes = bytes;
        }
        ended
    }

    /// Forgets a connection and returns what ends it.
    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        self.entries.swap_remove(at).handle
    }

    /// Forgets all connections that have no reply under way, and returns what ends them.
    pub(super) fn remove_waiting(&mut self) -> Vec<T> {
        let waiting = |entry: &mut Entry<T>| entry.state <= State::Reading;
        self.entries.extract_if(.., waiting).filter_map(|entry| entry.handle).collect()
    }

    /// Makes room for a connection from `newcomer` and returns what ends the one that must go.
    ///
    /// The rules, in order:
    /// 1. Whoever is only here to read a refusal goes first.
    /// 2. Among connections that hold no reply, or hold one up by reading slowly, the address with the most
    ///    connections loses one: the idle before the reading before the slow, the oldest first. An address with
    ///    fewer connections than the newcomer's loses none, so nobody displaces others by opening more.
    /// 3. Work in progress is ended only where its address has more connections than the newcomer's will have.
    ///
    /// `None`: the newcomer must go, its address has taken its share.
    pub(super) fn evict(&mut self, newcomer: IpAddr, now: Instant) -> Option<T> {
        let id = self.victim(self.share(newcomer), now)?;
        self.remove(id)
    }

    /// Like [`Table::evict`] for when the process is out of descriptors: ends what may be ended by rules 1 and 2.
    pub(super) fn evict_spare(&mut self, now: Instant) -> Option<T> {
        let id = self.refused_victim().or_else(|| self.yielding_victim((0, 0), now))?;
        self.remove(id)
    }

    fn victim(&self, newcomer: Share, now: Instant) -> Option<u64> {
        self.refused_victim().or_else(|| self.yielding_victim(newcomer, now)).or_else(|| self.greedy_victim(newcomer))
    }

    fn refused_victim(&self) -> Option<u64> {
        self.entries.iter().filter(|entry| entry.refused).min_by_key(|entry| entry.since).map(|entry| entry.id)
    }

    fn yielding_victim(&self, newcomer: Share, now: Instant) -> Option<u64> {
        self.entries
            .iter()
            .filter(|entry| match entry.state {
                State::Closing | State::Idle | State::Reading => true,
                State::Writing => now.saturating_duration_since(entry.since) > self.slow_write,
                State::Handling => false,
            })
            .map(|entry| (self.share(entry.peer), entry))
            .filter(|(share, _)| *share >= newcomer)
            .min_by_key(|(share, entry)| (std::cmp::Reverse(*share), entry.state, entry.since))
            .map(|(_, entry)| entry.id)
    }

    fn greedy_victim(&self, (network, address): Share) -> Option<u64> {
        self.entries
            .iter()
            .map(|entry| (self.share(entry.peer), entry))
            .filter(|(share, _)| *share > (network + 1, address + 1))
            .min_by_key(|(share, entry)| (std::cmp::Reverse(*share), entry.state, entry.since))
            .map(|(_, entry)| entry.id)
    }

    fn share(&self, peer: IpAddr) -> Share {
        let network = network(peer);
        let same_network = self.entries.iter().filter(|entry| network_of(entry) == network).count();
        let same_address = self.entries.iter().filter(|entry| entry.peer == peer).count();
        (same_network, same_address)
    }
}

fn network_of<T>(entry: &Entry<T>) -> IpAddr {
    network(entry.peer)
}

/// What one subscriber holds: an IPv4 address, or an IPv6 /64, in which a host can take a new address for each
/// connection (RFC 8981).
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of four whose handles are the letters given, in order of age.
    struct Scene {
        table: Table<char>,
        start: Instant,
        age: u64,
    }

    fn scene() -> Scene {
        Scene { table: Table::new(4, Duration::from_secs(2)), start: Instant::now(), age: 0 }
    }

    impl Scene {
        fn with(mut self, name: char, peer: &str, state: State) -> Scene {
            let now = self.start + Duration::from_secs(self.age);
            self.age += 1;
            let id = self.table.insert(peer.parse().unwrap(), false, now);
            self.table.attach(id, name);
            self.table.set(id, state, now);
            self
        }

        /// Who goes when `peer` comes one second after the youngest connection's last change.
        fn evicted_by(mut self, peer: &str) -> Option<char> {
            let now = self.start + Duration::from_secs(self.age);
            self.table.evict(peer.parse().unwrap(), now)
        }
    }

    #[test]
    fn the_oldest_idle_connection_goes_before_one_that_has_begun_to_ask() {
        let full = scene()
            .with('a', "10.0.0.1", State::Reading)
            .with('b', "10.0.0.2", State::Idle)
            .with('c', "10.0.0.3", State::Idle)
            .with('d', "10.0.0.4", State::Handling);
        assert_eq!(full.evicted_by("10.0.0.9"), Some('b'));
    }

    #[test]
    fn the_address_with_most_connections_loses_one_even_if_another_is_idle_for_longer() {
        let full = scene()
            .with('a', "10.0.0.1", State::Idle)
            .with('b', "10.0.0.66", State::Reading)
            .with('c', "10.0.0.66", State::Reading)
            .with('d', "10.0.0.66", State::Reading);
        assert_eq!(full.evicted_by("10.0.0.9"), Some('b'));
    }

    #[test]
    fn a_greedy_address_displaces_only_its_own() {
        let full = || {
            scene().with('a', "10.0.0.1", State::Idle).with('b', "10.0.0.66", State::Handling).with(
                'c',
                "10.0.0.66",
                State::Handling,
            )
        };
        let with_own_idle = full().with('d', "10.0.0.66", State::Idle);
        assert_eq!(with_own_idle.evicted_by("10.0.0.66"), Some('d'));
        let all_busy = full().with('d', "10.0.0.66", State::Handling);
        assert_eq!(all_busy.evicted_by("10.0.0.66"), None);
    }

    #[test]
    fn work_in_progress_ends_where_one_address_has_taken_most_of_it() {
        let full = || {
            scene()
                .with('a', "10.0.0.66", State::Handling)
                .with('b', "10.0.0.66", State::Handling)
                .with('c', "10.0.0.66", State::Handling)
                .with('d', "10.0.0.1", State::Handling)
        };
        assert_eq!(full().evicted_by("10.0.0.9"), Some('a'));
        assert_eq!(full().evicted_by("10.0.0.1"), Some('a'));
    }

    #[test]
    fn a_reply_is_ended_only_once_its_reader_is_slow() {
        let full = scene()
            .with('a', "10.0.0.1", State::Handling)
            .with('b', "10.0.0.2", State::Handling)
            .with('c', "10.0.0.3", State::Writing)
            .with('d', "10.0.0.4", State::Handling);
        assert_eq!(full.evicted_by("10.0.0.9"), None);
        let full = scene()
            .with('a', "10.0.0.3", State::Writing)
            .with('b', "10.0.0.1", State::Handling)
            .with('c', "10.0.0.2", State::Handling)
            .with('d', "10.0.0.4", State::Handling);
        assert_eq!(full.evicted_by("10.0.0.9"), Some('a'));
    }

    #[test]
    fn replies_for_which_there_is_no_memory_end_the_oldest_of_the_address_with_most_connections() {
        let mut full = scene()
            .with('a', "10.0.0.1", State::Handling)
            .with('b', "10.0.0.66", State::Handling)
            .with('c', "10.0.0.66", State::Handling)
            .with('d', "10.0.0.66", State::Handling);
        let ids: Vec<u64> = full.table.entries.iter().map(|entry| entry.id).collect();
        let mut write = |at: usize, bytes| full.table.write(ids[at], bytes, 1000, full.start);
        assert!(write(0, 400).is_empty());
        assert!(write(1, 300).is_empty());
        assert!(write(2, 300).is_empty());
        assert_eq!(write(3, 600), ['b', 'c'], "and not the one of another address");
        // A reply that is over makes room, and one that is larger than all may have is alone.
        full.table.set(ids[3], State::Idle, full.start);
        assert!(full.table.write(ids[3], 500, 1000, full.start).is_empty());
        assert_eq!(full.table.write(ids[3], 5000, 1000, full.start), ['a']);
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_counts_as_one() {
        let full = scene()
            .with('a', "10.0.0.1", State::Idle)
            .with('b', "2001:db8:0:1::1", State::Reading)
            .with('c', "2001:db8:0:1::2", State::Reading)
            .with('d', "2001:db8:0:2::1", State::Idle);
        assert_eq!(full.evicted_by("10.0.0.9"), Some('b'));
    }

    #[test]
    fn a_refused_peer_goes_before_all_others() {
        let mut full = scene().with('a', "10.0.0.1", State::Idle).with('b', "10.0.0.1", State::Idle);
        let id = full.table.insert("192.0.2.1".parse().unwrap(), true, full.start);
        full.table.attach(id, 'r');
        assert_eq!(full.table.refused(), 1);
        assert_eq!(full.evicted_by("10.0.0.9"), Some('r'));
    }

    #[test]
    fn a_handle_for_a_connection_that_is_gone_comes_back() {
        let mut table = Table::new(4, Duration::ZERO);
        let id = table.insert("10.0.0.1".parse().unwrap(), false, Instant::now());
        assert_eq!(table.remove(id), None);
        assert_eq!(table.attach(id, 'a'), Some('a'));
    }

    #[test]
    fn those_without_a_reply_under_way_are_ended_together() {
        let mut full = scene()
            .with('a', "10.0.0.1", State::Idle)
            .with('b', "10.0.0.2", State::Handling)
            .with('c', "10.0.0.3", State::Reading)
            .with('d', "10.0.0.4", State::Writing);
        assert_eq!(full.table.remove_waiting(), ['a', 'c']);
        assert!(!full.table.is_empty());
    }
}
