//! Who is there, by the kernel's neighbour table: rtnetlink events enter, what is known of an address leaves.
//!
//! The kernel says REACHABLE for half a minute after a neighbour answered, and STALE for as long as nothing is sent to
//! it afterwards, which may be for ever. So a stale neighbour counts as present for a while after its last confirmation
//! only. Confirmations of a stale entry come without an event; whoever is about to be taken for gone is looked up again
//! first (see [`Neighbours::expired`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::netlink::neighbour::{Event, Neighbour, State};

/// Entries beyond this number are not kept; the kernel's own limit is 1024 for each family unless it was raised.
const MAX_ENTRIES: usize = 16384;

/// What is known of one address on one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its hardware address, also when it has not answered since.
    pub mac: Option<[u8; 6]>,
    /// How sure the kernel is of it.
    pub state: State,
    /// When it was confirmed for the last time.
    pub confirmed: Option<Instant>,
}

/// The neighbours that are clients.
#[derive(Debug, Default)]
pub struct Neighbours {
    entries: BTreeMap<(IpAddr, u32), Entry>,
    /// A list is under way: what it does not name is gone.
    listing: Option<BTreeMap<(IpAddr, u32), Entry>>,
}

impl Neighbours {
    /// Takes in one event at `now`; `is_client` says which addresses are of interest.
    pub fn apply(&mut self, event: Event, now: Instant, is_client: impl Fn(IpAddr) -> bool) {
        match event {
            Event::Neighbour(neighbour) => {
                let key = (neighbour.addr, neighbour.ifindex);
                let known = self.entries.get(&key).or_else(|| self.listing.as_ref()?.get(&key)).copied();
                if !is_client(neighbour.addr) || (known.is_none() && self.entries.len() >= MAX_ENTRIES) {
                    return;
                }
                self.entries.insert(key, entry(&neighbour, known.as_ref(), now));
            }
            Event::Gone { ifindex, addr } => {
                self.entries.remove(&(addr, ifindex));
            }
        }
    }

    /// A list of all neighbours begins: those that it does not name are gone.
    pub fn begin(&mut self) {
        let before = std::mem::take(&mut self.entries);
        // A list that was begun and given up before knew more than what came after it.
        self.listing.get_or_insert_default().extend(before);
    }

    /// The list is complete.
    pub fn end(&mut self) {
        self.listing = None;
    }

    /// Every address with what is known of it, in order; an address seen on several interfaces comes once, as where it
    /// is most certainly.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, u32, Entry)> {
        let mut entries = self.entries.iter().map(|((addr, ifindex), entry)| (*addr, *ifindex, *entry)).peekable();
        std::iter::from_fn(move || {
            let mut best = entries.next()?;
            while let Some(next) = entries.next_if(|next| next.0 == best.0) {
                if rank(&next.2) > rank(&best.2) {
                    best = next;
                }
            }
            Some(best)
        })
    }

    /// Whether a stale neighbour's last confirmation became older than `stale` since `before`: the kernel may have
    /// confirmed it since without saying so.
    pub fn expired(&self, before: Instant, now: Instant, stale: Duration) -> bool {
        self.entries.values().any(|entry| {
            let confirmed = entry.confirmed.filter(|_| entry.state == State::Stale);
            confirmed.is_some_and(|at| at + stale <= now && at + stale > before)
        })
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no address is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn entry(neighbour: &Neighbour, known: Option<&Entry>, now: Instant) -> Entry {
    let confirmed = neighbour.confirmed.and_then(|age| now.checked_sub(age));
    Entry {
        // The kernel forgets the hardware address of a neighbour that does not answer any more.
        mac: neighbour.mac.or(known.and_then(|known| known.mac)),
        state: neighbour.state,
        // An entry that never answered is created with the age of its creation.
        confirmed: match neighbour.state {
            State::Reachable | State::Stale | State::Delay | State::Probe => confirmed,
            _ => known.and_then(|known| known.confirmed),
        },
    }
}

fn rank(entry: &Entry) -> (u8, Option<Instant>) {
    let certainty = match entry.state {
        State::Reachable => 4,
        State::Delay | State::Probe => 3,
        State::Stale => 2,
        State::Permanent | State::NoArp => 1,
        State::None | State::Incomplete | State::Failed => 0,
    };
    (certainty, entry.confirmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(addr: &str, ifindex: u32, state: State, age: Option<u64>) -> Event {
        Event::Neighbour(Neighbour {
            ifindex,
            addr: addr.parse().unwrap(),
            mac: matches!(state, State::Reachable | State::Stale).then_some([2, 0, 0, 0, 0, 1]),
            state,
            confirmed: age.map(Duration::from_secs),
        })
    }

    fn later(seconds: u64) -> Instant {
        // Instants cannot be made; far enough from the start of the machine for ages to be subtracted.
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(|| Instant::now() + Duration::from_secs(100_000)) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_neighbour_that_fails_keeps_its_hardware_address_and_last_confirmation() {
        let mut neighbours = Neighbours::default();
        neighbours.apply(neighbour("10.0.0.2", 3, State::Reachable, Some(1)), later(10), |_| true);
        neighbours.apply(neighbour("10.0.0.2", 3, State::Failed, Some(0)), later(60), |_| true);
        let (_, _, entry) = neighbours.iter().next().unwrap();
        assert_eq!((entry.state, entry.mac.is_some()), (State::Failed, true));
        assert_eq!(entry.confirmed, Some(later(9)));
    }

    #[test]
    fn an_address_on_two_interfaces_is_where_it_is_most_certainly() {
        let mut neighbours = Neighbours::default();
        neighbours.apply(neighbour("10.0.0.2", 3, State::Stale, Some(5)), later(0), |_| true);
        neighbours.apply(neighbour("10.0.0.2", 4, State::Reachable, Some(5)), later(0), |_| true);
        neighbours.apply(neighbour("10.0.0.3", 4, State::Failed, None), later(0), |_| true);
        let found: Vec<_> = neighbours.iter().map(|(addr, ifindex, _)| (addr.to_string(), ifindex)).collect();
        assert_eq!(found, [("10.0.0.2".to_owned(), 4), ("10.0.0.3".to_owned(), 4)]);
    }

    #[test]
    fn what_a_list_does_not_name_is_gone_when_it_ends() {
        let mut neighbours = Neighbours::default();
        for addr in ["10.0.0.2", "10.0.0.3"] {
            neighbours.apply(neighbour(addr, 3, State::Reachable, Some(0)), later(0), |_| true);
        }
        neighbours.begin();
        neighbours.apply(neighbour("10.0.0.3", 3, State::Failed, None), later(1), |_| true);
        neighbours.end();
        let (addr, _, entry) = neighbours.iter().next().unwrap();
        assert_eq!((neighbours.len(), addr.to_string()), (1, "10.0.0.3".into()));
        // Known from before the list.
        assert!(entry.mac.is_some());
    }

    #[test]
    fn an_address_that_is_no_clients_is_not_kept() {
        let mut neighbours = Neighbours::default();
        neighbours.apply(neighbour("10.0.0.2", 3, State::Reachable, Some(0)), later(0), |_| false);
        assert!(neighbours.is_empty());
        neighbours.apply(neighbour("10.0.0.2", 3, State::Reachable, Some(0)), later(0), |_| true);
        neighbours.apply(Event::Gone { ifindex: 3, addr: "10.0.0.2".parse().unwrap() }, later(0), |_| true);
        assert!(neighbours.is_empty());
    }

    #[test]
    fn a_flood_of_neighbours_is_bounded_and_those_that_are_known_are_followed() {
        let mut neighbours = Neighbours::default();
        for n in 0..=MAX_ENTRIES as u32 {
            let addr = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
            neighbours.apply(neighbour(&addr, 3, State::Reachable, Some(0)), later(0), |_| true);
        }
        assert_eq!(neighbours.len(), MAX_ENTRIES);
        neighbours.apply(neighbour("10.0.0.0", 3, State::Failed, None), later(1), |_| true);
        assert_eq!(neighbours.iter().next().map(|(_, _, entry)| entry.state), Some(State::Failed));
    }

    #[test]
    fn a_stale_entry_expires_once() {
        let mut neighbours = Neighbours::default();
        neighbours.apply(neighbour("10.0.0.2", 3, State::Stale, Some(10)), later(10), |_| true);
        let stale = Duration::from_secs(30);
        assert!(!neighbours.expired(later(10), later(29), stale));
        assert!(neighbours.expired(later(29), later(31), stale));
        assert!(!neighbours.expired(later(31), later(33), stale));
    }
}
