//! `accounting=rules`: reads rules that name a client in their comment, `tx_ADDRESS` or `rx_ADDRESS`, and with
//! `manage_rules` makes and keeps such rules.
//!
//! Every forwarded packet passes all of them, two for each client, so this is for rulesets that have them already;
//! our own sets cost the same however many clients there are.

mod manage;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use self::manage::{Location, Manager};
use super::{Counter, Direction, refused, there};
use crate::error::{Error, Result};
use crate::netlink::Message;
use crate::netlink::nftables::read::{self, Counting};
use crate::netlink::nftables::{self, Count, Family};
use crate::netlink::transport::Requests;

/// How often a listing is repeated that was interrupted by a change; the last one is taken as it is.
const DUMP_TRIES: u32 = 8;
/// Most pairs of address and direction that are kept; no ruleset with more would let packets through in time.
const MAX_NAMED: usize = 65536;
/// What we try, as it reads after "cannot".
const TRIED: &str = "read the counters of nftables rules";

/// What [`Rules::open`] needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Family and name of the table with the rules; all tables if none.
    pub table: Option<(String, String)>,
    /// The chain with the rules; all chains if none.
    pub chain: Option<String>,
    /// Whether the rules are made and kept by us; takes a table and a chain.
    pub manage: bool,
}

/// The rules of one table and chain, or of all.
#[derive(Debug)]
pub struct Rules {
    table: Option<(Family, String)>,
    chain: Option<String>,
    reader: Requests,
    totals: Totals,
    manager: Option<Manager>,
    nothing: Option<String>,
}

/// What the rules of each client have counted together.
#[derive(Debug, Default)]
struct Totals {
    entries: HashMap<(IpAddr, Direction), Total>,
    reading: u32,
}

#[derive(Debug, Clone, Copy)]
struct Total {
    count: Count,
    /// The reading that found its rules last.
    seen: u32,
}

/// A rule that counts in a named counter.
struct Named {
    family: Option<Family>,
    table: Vec<u8>,
    counter: Vec<u8>,
    key: (IpAddr, Direction),
}

impl Rules {
    /// Opens what there is to read, and with `manage` takes charge of the chain. Nothing is changed before
    /// [`Rules::keep`].
    pub fn open(options: &Options) -> Result<Rules> {
        let mut rules = Rules::open_beside(options)?;
        if options.manage {
            rules.manager = Some(Manager::open(rules.table.as_ref(), rules.chain.as_deref())?);
        }
        Ok(rules)
    }

    /// Opens it only to be read, perhaps beside the daemon that keeps the rules.
    pub fn open_beside(options: &Options) -> Result<Rules> {
        let reader = Requests::open(libc::NETLINK_NETFILTER).map_err(|error| refused(TRIED, error))?;
        let table = options.table.as_ref().map(|(family, name)| Ok((known_family(family)?, name.clone())));
        let (table, chain) = (table.transpose()?, options.chain.clone());
        Ok(Rules { table, chain, reader, totals: Totals::default(), manager: None, nothing: None })
    }

    /// Calls `each` for every client and direction that rules are about; several rules of one client are added up.
    /// A firewall that is reloaded makes its rules anew, so without `manage` a count may begin anew.
    pub async fn read(&mut self, mut each: impl FnMut(Counter)) -> Result<()> {
        let mut named = Vec::new();
        for _ in 0..DUMP_TRIES {
            named.clear();
            self.totals.reading = self.totals.reading.wrapping_add(1);
            if self.list(&mut named).await.map_err(|error| refused(TRIED, error))? {
                break;
            }
        }
        if !named.is_empty() {
            self.add_named(&named).await.map_err(|error| refused(TRIED, error))?;
        }
        let (reading, manager) = (self.totals.reading, self.manager.as_ref());
        let is_kept = |addr| manager.is_some_and(|manager| manager.keeps(addr));
        self.totals.entries.retain(|(addr, _), total| total.seen == reading || is_kept(*addr));
        let mut found = false;
        for ((addr, direction), total) in &self.totals.entries {
            found = true;
            let Count { bytes, packets } = total.count;
            each(Counter { addr: *addr, direction: *direction, bytes, packets });
        }
        // What is managed is made as soon as there is a client.
        let complete = found || self.manager.is_some();
        self.nothing = if complete { None } else { Some(self.reason().map_err(|error| refused(TRIED, error))?) };
        Ok(())
    }

    /// Why the last reading found nothing, if it did; it will once there is something.
    pub fn nothing(&self) -> Option<&str> {
        self.nothing.as_deref()
    }

    /// How many times events about the ruleset were lost; nothing where none are followed.
    pub fn overruns(&self) -> Option<u64> {
        self.manager.as_ref().map(Manager::overruns)
    }

    /// With `manage`, makes the rules of these clients, who come in order, and removes those that were made for others.
    pub async fn keep(&mut self, clients: Vec<IpAddr>) -> Result<()> {
        let Some(manager) = &mut self.manager else { return Ok(()) };
        manager.want(clients);
        manager.ensure(&mut self.reader, &self.totals).await.map(drop)
    }

    /// With `manage`, waits until somebody else changes the table so that rules are missing, and makes them again with
    /// what they had counted; returns once it did. Safe to be dropped while it waits, and to be called again.
    pub async fn changed(&mut self) -> Result<()> {
        let Some(manager) = &mut self.manager else { return std::future::pending().await };
        loop {
            manager.wait().await?;
            if manager.ensure(&mut self.reader, &self.totals).await? {
                return Ok(());
            }
        }
    }

    /// Lists the rules once; false if a change came in between.
    async fn list(&mut self, named: &mut Vec<Named>) -> io::Result<bool> {
        let table = self.table.as_ref().map(|(family, name)| (*family, name.as_str()));
        let (chain, totals) = (self.chain.as_deref(), &mut self.totals);
        let each = |message: &Message<'_>| {
            let Some(rule) = read::rule(message)? else { return Ok(()) };
            // Kernels differ in what they leave out of a listing.
            let of_table =
                |(family, name): (Family, &str)| rule.family == Some(family) && rule.table == name.as_bytes();
            if !table.is_none_or(of_table) || chain.is_some_and(|chain| rule.chain != chain.as_bytes()) {
                return Ok(());
            }
            let Some(key) = rule.comment().and_then(client) else { return Ok(()) };
            match rule.counting() {
                Some(Counting::Here(count)) => totals.add(key, count),
                Some(Counting::Named(counter)) => named.push(Named {
                    family: rule.family,
                    table: rule.table.to_vec(),
                    counter: counter.to_vec(),
                    key,
                }),
                None => {}
            }
            Ok(())
        };
        self.reader.dump(|sequence| nftables::dump_rules(sequence, table, chain), each).await
    }

    /// Adds what named counters have counted for the rules that refer to them.
    async fn add_named(&mut self, named: &[Named]) -> io::Result<()> {
        let table = self.table.as_ref().map(|(family, name)| (*family, name.as_str()));
        let totals = &mut self.totals;
        let each = |message: &Message<'_>| {
            let Some(found) = read::named_counter(message)? else { return Ok(()) };
            let refers =
                |rule: &&Named| rule.family == found.family && rule.table == found.table && rule.counter == found.name;
            named.iter().filter(refers).for_each(|rule| totals.add(rule.key, found.count));
            Ok(())
        };
        self.reader.dump(|sequence| nftables::dump_counters(sequence, table), each).await.map(drop)
    }

    /// What is missing where nothing was found.
    fn reason(&mut self) -> io::Result<String> {
        const RULES: &str = "no rule has a comment such as tx_192.168.1.2 and a counter";
        let Some((family, table)) = &self.table else { return Ok(RULES.to_owned()) };
        let word = family.word();
        let mut found = false;
        let sequence = self.reader.next_sequence();
        there(self.reader.get(&nftables::get_table(sequence, *family, table), |_| {
            found = true;
            Ok(())
        }))?;
        if !found {
            return Ok(format!("there is no nftables table {word} {table}; clients.manage_rules=1 makes it"));
        }
        let Some(chain) = &self.chain else { return Ok(format!("{RULES} in the nftables table {word} {table}")) };
        found = false;
        let sequence = self.reader.next_sequence();
        there(self.reader.get(&nftables::get_chain(sequence, *family, table, chain), |_| {
            found = true;
            Ok(())
        }))?;
        Ok(if found {
            format!("{RULES} in the chain {chain} of the nftables table {word} {table}")
        } else {
            format!("there is no chain {chain} in the nftables table {word} {table}; clients.manage_rules=1 makes it")
        })
    }
}

impl Totals {
    fn add(&mut self, key: (IpAddr, Direction), more: Count) {
        if self.entries.len() >= MAX_NAMED && !self.entries.contains_key(&key) {
            return;
        }
        let total = self.entries.entry(key).or_insert(Total { count: Count::default(), seen: 0 });
        total.count = if total.seen == self.reading { total.count + more } else { more };
        total.seen = self.reading;
    }

    fn of(&self, key: (IpAddr, Direction)) -> Count {
        self.entries.get(&key).map(|total| total.count).unwrap_or_default()
    }
}

/// Removes what `manage` made, and nothing that others made; returns what was removed, in words.
pub async fn remove(options: &Options) -> Result<Vec<String>> {
    // With any table or any chain, nothing can have been made.
    let (Some((family, table)), Some(chain)) = (&options.table, &options.chain) else { return Ok(Vec::new()) };
    let place = Location::new(Some(&(known_family(family)?, table.clone())), Some(chain));
    match place {
        Ok(place) => manage::remove(&place).await,
        Err(_) => Ok(Vec::new()),
    }
}

/// The client and direction that a comment names; other comments are none of ours.
pub fn client(comment: &[u8]) -> Option<(IpAddr, Direction)> {
    let (direction, addr) = match comment {
        [b't', b'x', b'_', addr @ ..] => (Direction::Tx, addr),
        [b'r', b'x', b'_', addr @ ..] => (Direction::Rx, addr),
        _ => return None,
    };
    Some((std::str::from_utf8(addr).ok()?.parse().ok()?, direction))
}

/// The comment that names a client and direction.
pub fn comment(addr: IpAddr, direction: Direction) -> String {
    match direction {
        Direction::Tx => format!("tx_{addr}"),
        Direction::Rx => format!("rx_{addr}"),
    }
}

fn known_family(word: &str) -> Result<Family> {
    Family::from_word(word).ok_or_else(|| {
        let words = Family::ALL.map(Family::word).join(", ");
        Error::invalid("clients.table", format!("there is no nftables family {word}, expected {words}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_direction_and_a_whole_address_name_a_client() {
        let v4: IpAddr = "192.168.1.1".parse().unwrap();
        assert_eq!(client(b"tx_192.168.1.1"), Some((v4, Direction::Tx)));
        assert_eq!(client(b"rx_192.168.1.10"), Some(("192.168.1.10".parse().unwrap(), Direction::Rx)));
        assert_eq!(client(b"rx_2001:DB8::1"), Some(("2001:db8::1".parse().unwrap(), Direction::Rx)));
        let strange: [&[u8]; 9] = [
            b"",
            b"tx_",
            b"tx_192.168.1",
            b"tx_192.168.1.1 ",
            b"tx_192.168.1.1/24",
            b"xtx_192.168.1.1",
            b"tx-10.0.0.1",
            b"TX_10.0.0.1",
            b"tx_\xff\xfe",
        ];
        for comment in strange {
            assert_eq!(client(comment), None, "{comment:?}");
        }
    }

    #[test]
    fn a_comment_reads_back_as_the_client_it_was_made_for() {
        for addr in ["192.168.1.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            let addr: IpAddr = addr.parse().unwrap();
            for direction in [Direction::Tx, Direction::Rx] {
                assert_eq!(client(comment(addr, direction).as_bytes()), Some((addr, direction)));
            }
        }
    }
}
