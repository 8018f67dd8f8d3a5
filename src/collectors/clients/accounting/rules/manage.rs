//! `manage_rules`: a pair of rules for each client in a chain that every forwarded packet passes.
//!
//! What others made is respected: a chain, a jump and a pair of rules that are there already are used as they are. Our
//! own rules bear a mark that nft keeps and does not show, our chain, jump and table a comment.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::super::transaction::{Answer, Batches, commit};
use super::super::watch::Watch;
use super::super::{COMMENT, Direction, PRIORITY, refused, single, there};
use super::{Totals, client, comment};
use crate::collectors::single::Single;
use crate::error::{Error, Result};
use crate::netlink::Message;
use crate::netlink::nftables::batch::{Place, Said};
use crate::netlink::nftables::expression::Meta;
use crate::netlink::nftables::{self, Count, Expression, Family, read};
use crate::netlink::transport::Requests;

/// The chain of forwarded packets that a firewall usually has.
const FORWARD: &str = "forward";
/// Type and text of the mark in the user data of our rules.
const MARK: (u8, &str) = (b'g', "gatemeter");
/// How often a change is tried anew when others change the ruleset at the same time.
const TRIES: u32 = 20;
/// What we try, as it reads after "cannot".
const TRIED: &str = "keep a pair of nftables rules for each client";

/// In charge of one chain.
#[derive(Debug)]
pub struct Manager {
    place: Location,
    /// Keeps a second daemon from making every rule twice.
    _single: Single,
    writer: Requests,
    watch: Watch,
    /// Whose rules there shall be, in order; nothing is made before that is known.
    clients: Option<Vec<IpAddr>>,
    unreached_was_told: bool,
}

/// A chain in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    family: Family,
    table: String,
    chain: String,
}

/// What is there.
#[derive(Debug, Default)]
struct Seen {
    /// Whether there is the table, whether we made it, and how many things are in it.
    table: Option<(bool, u32)>,
    /// The chain, if there is one.
    chain: Option<SeenChain>,
    /// Whether the table has a chain of forwarded packets to jump from.
    forward: bool,
    /// Our jumps.
    jumps: Vec<u64>,
    /// The rules that name a client, by client.
    rules: BTreeMap<(IpAddr, Direction), Vec<SeenRule>>,
    rule_count: u32,
}

#[derive(Debug, Clone, Copy)]
struct SeenChain {
    is_base: bool,
    /// Rules in it and ways to it.
    users: u32,
    is_ours: bool,
}

#[derive(Debug, Clone, Copy)]
struct SeenRule {
    handle: u64,
    is_ours: bool,
}

impl Manager {
    /// Takes charge of a chain.
    pub fn open(table: Option<&(Family, String)>, chain: Option<&str>) -> Result<Manager> {
        let place = Location::new(table, chain)?;
        let single = single(TRIED)?;
        let writer = Requests::open(libc::NETLINK_NETFILTER).map_err(|error| refused(TRIED, error))?;
        let watch = Watch::open(place.family, &place.table).map_err(|error| refused(TRIED, error))?;
        Ok(Manager { place, _single: single, writer, watch, clients: None, unreached_was_told: false })
    }

    /// From now on there shall be rules for these clients, who come in order, and no rules of ours for others.
    pub fn want(&mut self, mut clients: Vec<IpAddr>) {
        let family = self.place.family;
        clients.retain(|addr| family == Family::Inet || addr.is_ipv4() == (family == Family::Ip));
        self.clients = Some(clients);
    }

    /// Whether there shall be rules for a client.
    pub fn keeps(&self, addr: IpAddr) -> bool {
        self.clients.as_ref().is_some_and(|clients| clients.binary_search(&addr).is_ok())
    }

    /// How many times events about the ruleset were lost.
    pub fn overruns(&self) -> u64 {
        self.watch.overruns()
    }

    /// Waits until somebody changed the table.
    pub async fn wait(&mut self) -> Result<()> {
        // Elements are of no interest: the loss of some is no reason to look.
        self.watch.elements = false;
        self.watch.doubt(|_| {}).await.map(drop).map_err(|error| Error::io("follow changes of nftables", error))
    }

    /// Makes what is missing, with what it had counted, and removes what is of no use any more; true if that took a
    /// change.
    pub async fn ensure(&mut self, reader: &mut Requests, totals: &Totals) -> Result<bool> {
        let mut changed = false;
        for _ in 0..TRIES {
            let seen = look(reader, &self.place).await.map_err(|error| refused(TRIED, error))?;
            let batches = self.steps(&seen, totals).finish();
            if batches.is_empty() {
                self.watch.settled();
                return Ok(changed);
            }
            for batch in &batches {
                match commit(&mut self.writer, batch) {
                    Answer::Done => changed = true,
                    Answer::Changed => break,
                    Answer::Unknown(error) | Answer::Refused(error) => return Err(self.refusal(error)),
                }
            }
        }
        Err(Error::failed(TRIED, "others change the ruleset faster than rules can be made"))
    }

    fn refusal(&self, error: io::Error) -> Error {
        let Location { family, table, .. } = &self.place;
        let tried = format!("{TRIED} in the table {} {table}", family.word());
        match error.raw_os_error() {
            // We could look at the table, so it is not that we may do nothing.
            Some(libc::EPERM) => Error::io(tried, error)
                .remedy("another process owns that table; set clients.table to another one, or clients.accounting=set"),
            _ => refused(&tried, error),
        }
    }

    fn steps(&mut self, seen: &Seen, totals: &Totals) -> Batches {
        let Location { family, table, chain } = &self.place;
        let family = *family;
        let mut batches = Batches::default();
        let Some(clients) = &self.clients else { return batches };
        if seen.table.is_none() {
            batches.next().table(family, table, 0, Some(COMMENT));
        }
        let reached = seen.chain.is_some_and(|chain| chain.is_base || chain.users > seen.rule_count);
        match seen.chain {
            None if !seen.forward => {
                batches.next().forward_chain(family, table, chain, PRIORITY, Some(COMMENT));
            }
            None => {
                batches.next().chain(family, table, chain, COMMENT);
            }
            Some(_) => {}
        }
        if !reached && seen.forward {
            // At the head: behind a rule that accepts established connections, only first packets would be counted.
            let jump = Expression::Jump(chain.clone());
            batches.next().rule(family, (table, FORWARD), Place::First, &[Said::Comment(COMMENT)], &[jump]);
        } else if !reached && seen.chain.is_some() && !std::mem::replace(&mut self.unreached_was_told, true) {
            log::warn!(
                target: "clients",
                "no packet passes the nftables chain {chain}: the table {} {table} has no chain {FORWARD} to jump \
                 from; remove the chain, and it is made with a hook of its own",
                family.word(),
            );
        }
        for addr in clients {
            for direction in [Direction::Tx, Direction::Rx] {
                let key = (*addr, direction);
                if !seen.rules.contains_key(&key) {
                    let said = [Said::Comment(&comment(*addr, direction)), Said::Other(MARK.0, MARK.1)];
                    let expressions = expressions(family, *addr, direction, totals.of(key));
                    batches.next().rule(family, (table, chain), Place::Last, &said, &expressions);
                }
            }
        }
        for ((addr, _), rules) in &seen.rules {
            // Of several rules, those of others count as well; so ours are too many.
            let spare = if clients.binary_search(addr).is_ok() {
                usize::from(rules.iter().all(|rule| rule.is_ours))
            } else {
                0
            };
            for rule in rules.iter().filter(|rule| rule.is_ours).skip(spare) {
                batches.next().delete_rule(family, (table, chain), rule.handle);
            }
        }
        batches
    }
}

impl Location {
    /// A chain in which rules can be kept.
    pub fn new(table: Option<&(Family, String)>, chain: Option<&str>) -> Result<Location> {
        let invalid = |option, problem: &str| Err(Error::invalid(option, problem));
        let Some((family, table)) = table else {
            return invalid("clients.table", "manage_rules takes one table, such as inet filter, and not any");
        };
        let Some(chain) = chain else {
            return invalid("clients.chain", "manage_rules takes one chain, such as CLIENT_TRAFFIC, and not any");
        };
        if !matches!(family, Family::Inet | Family::Ip | Family::Ip6) {
            return invalid("clients.table", "manage_rules takes a table of the family inet, ip or ip6");
        }
        Ok(Location { family: *family, table: table.clone(), chain: chain.to_owned() })
    }
}

/// A rule that counts what a client sends or receives.
fn expressions(family: Family, addr: IpAddr, direction: Direction, from: Count) -> Vec<Expression> {
    let (number, octets, offsets) = match addr {
        IpAddr::V4(addr) => (Family::Ip, addr.octets().to_vec(), [12, 16]),
        IpAddr::V6(addr) => (Family::Ip6, addr.octets().to_vec(), [8, 24]),
    };
    let [source, destination] = offsets;
    let offset = if direction == Direction::Tx { source } else { destination };
    let mut rule = Vec::new();
    if family == Family::Inet {
        rule.extend([Expression::Meta(Meta::Family), Expression::equals([number as u8])]);
    }
    let length = octets.len() as u32;
    rule.extend([Expression::Network { offset, length }, Expression::equals(octets), Expression::Counter(from)]);
    rule
}

/// Looks at the table, the chain and its rules.
async fn look(requests: &mut Requests, place: &Location) -> io::Result<Seen> {
    let Location { family, table, chain } = place;
    let ours = |comment: Option<&[u8]>| comment == Some(COMMENT.as_bytes());
    let mut seen = Seen::default();
    let sequence = requests.next_sequence();
    there(requests.get(&nftables::get_table(sequence, *family, table), |message| {
        seen.table = read::table(message)?.map(|table| (ours(table.comment), table.users));
        Ok(())
    }))?;
    if seen.table.is_none() {
        return Ok(seen);
    }
    let sequence = requests.next_sequence();
    there(requests.get(&nftables::get_chain(sequence, *family, table, chain), |message| {
        seen.chain = read::chain(message)?.map(|chain| SeenChain {
            is_base: chain.hook.is_some(),
            users: chain.users,
            is_ours: ours(chain.comment),
        });
        Ok(())
    }))?;
    let sequence = requests.next_sequence();
    there(requests.get(&nftables::get_chain(sequence, *family, table, FORWARD), |message| {
        seen.forward = chain != FORWARD && read::chain(message)?.is_some_and(|chain| chain.hook.is_some());
        Ok(())
    }))?;
    // Every rule of the table: those of the chain, and our jumps wherever they are.
    let dump = |sequence| nftables::dump_rules(sequence, Some((*family, table)), None);
    for _ in 0..TRIES {
        (seen.rule_count, seen.rules, seen.jumps) = (0, BTreeMap::new(), Vec::new());
        let each = |message: &Message<'_>| {
            let Some(rule) = read::rule(message)?.filter(|rule| rule.table == table.as_bytes()) else { return Ok(()) };
            if rule.chain == FORWARD.as_bytes() && ours(rule.comment()) && rule.jumps_to() == Some(chain.as_bytes()) {
                seen.jumps.push(rule.handle);
            }
            if rule.chain != chain.as_bytes() {
                return Ok(());
            }
            seen.rule_count += 1;
            if let Some(key) = rule.comment().and_then(client)
                && rule.counting().is_some()
            {
                let is_ours = rule.said(MARK.0).is_some_and(|mark| mark.starts_with(MARK.1.as_bytes()));
                seen.rules.entry(key).or_default().push(SeenRule { handle: rule.handle, is_ours });
            }
            Ok(())
        };
        if requests.dump(dump, each).await? {
            return Ok(seen);
        }
    }
    Ok(seen)
}

/// Removes what we made in a chain, and the chain and the table if they are ours and nothing else is in them; returns
/// what was removed, in words.
pub async fn remove(place: &Location) -> Result<Vec<String>> {
    const TRIED: &str = "remove nftables rules";
    let Location { family, table, chain } = place;
    let mut requests = Requests::open(libc::NETLINK_NETFILTER).map_err(|error| refused(TRIED, error))?;
    for _ in 0..TRIES {
        let seen = look(&mut requests, place).await.map_err(|error| refused(TRIED, error))?;
        let (mut batches, mut said) = (Batches::default(), Vec::new());
        let ours: Vec<u64> =
            seen.rules.values().flatten().filter(|rule| rule.is_ours).map(|rule| rule.handle).collect();
        for handle in &ours {
            batches.next().delete_rule(*family, (table, chain), *handle);
        }
        for handle in &seen.jumps {
            batches.next().delete_rule(*family, (table, FORWARD), *handle);
        }
        let word = family.word();
        if !ours.is_empty() {
            said.push(format!("{} nftables rules of the chain {chain} in the table {word} {table}", ours.len()));
        }
        let left = seen.chain.map_or(0, |chain| chain.users as usize).saturating_sub(ours.len() + seen.jumps.len());
        if seen.chain.is_some_and(|chain| chain.is_ours) && left == 0 {
            batches.next().delete_chain(*family, table, chain);
            said.push(format!("nftables chain {chain} in the table {word} {table}"));
            if seen.table == Some((true, 1)) {
                batches.next().delete_table(*family, table);
                said.push(format!("nftables table {word} {table}"));
            }
        }
        let batches = batches.finish();
        // Once one is refused because of a change, what is left is looked at anew.
        let mut answers = batches.iter().map(|batch| commit(&mut requests, batch));
        match answers.find(|answer| !matches!(answer, Answer::Done)) {
            None => return Ok(said),
            Some(Answer::Unknown(error) | Answer::Refused(error)) => return Err(refused(TRIED, error)),
            Some(_) => {}
        }
    }
    Err(Error::failed(TRIED, "others change the ruleset at the same time"))
}
