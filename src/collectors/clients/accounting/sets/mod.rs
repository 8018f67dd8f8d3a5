//! `accounting=set`: a table of our own in which packets add the clients' addresses to sets, each with a counter.
//!
//! A packet costs one look-up for each direction it counts in, however many clients there are, and a new client is
//! counted from its first packet. The counts live in the kernel: they go on while the daemon is away, and the next one
//! takes them over. Since Linux 6.9 nobody else can change the table while we run; elsewhere it is made again, with its
//! counts, as soon as somebody removes it (`nft flush ruleset`, `/etc/init.d/firewall stop`). What is lost then is what
//! was counted since the last reading; and all of it if that happens while no daemon runs.

mod keep;
mod kernel;
mod layout;
mod ledger;

use std::io;
use std::net::IpAddr;

use self::kernel::{Seen, look};
use self::layout::{FAMILY, KINDS, SETS, TABLE};
use self::ledger::Ledger;
use super::transaction::{Answer, Batches, commit};
use super::watch::{Doubt, Watch};
use super::{Counter, Direction, refused, single};
use crate::collectors::clients::subnets::Lan;
use crate::collectors::single::Single;
use crate::error::{Error, Result};
use crate::netlink::Message;
use crate::netlink::nftables::batch::Batch;
use crate::netlink::nftables::read;
use crate::netlink::nftables::{self, Count, Expression};
use crate::netlink::transport::Requests;

/// How often a change is tried anew when others change the ruleset at the same time.
const TRIES: u32 = 20;
/// How often a dump is repeated that was interrupted by a change.
const DUMP_TRIES: u32 = 4;
/// Readings without a packet after which what is not a client may be evicted.
const IDLE_READINGS: u32 = 3;

/// What [`Sets::open`] needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Elements in each of the four sets.
    pub max_clients: u32,
    /// Whether the table is to be ours alone where the kernel can do that (Linux 6.9).
    pub protect: bool,
}

/// How full a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Its name: tx4, rx4, tx6 or rx6.
    pub set: &'static str,
    /// Elements at the last reading.
    pub used: u32,
    /// Most elements. Beyond them new clients are not counted.
    pub size: u32,
}

/// The table, as it is kept by the daemon or as it is read beside it.
#[derive(Debug)]
pub struct Sets {
    options: Options,
    reader: Requests,
    keeper: Option<Keeper>,
    ledger: Ledger,
    fill_was_told: bool,
}

/// What it takes to keep the table.
#[derive(Debug)]
struct Keeper {
    /// Keeps a second daemon away from a table without owner.
    _single: Single,
    /// The socket that owns the table. Nothing is dumped through it: a dump that is given up costs the socket.
    owner: Requests,
    watch: Watch,
    /// The rules that there shall be; before [`Sets::apply`], those that there are.
    rules: Option<Vec<Vec<Expression>>>,
    /// The rules are not yet those that there shall be.
    new_rules: bool,
    /// What there was when all was as it shall be.
    made: Option<Seen>,
    /// We changed the table and have not looked at it since.
    fresh: bool,
    /// The table is being made and may lack elements.
    unfinished: bool,
}

impl Sets {
    /// Opens the table for the one daemon of this network namespace: takes it over with its counts, or makes it.
    /// What is counted is said by [`Sets::apply`].
    pub async fn open(options: Options) -> Result<Sets> {
        let single = single(TRIED)?;
        let open = || Requests::open(libc::NETLINK_NETFILTER).map_err(|error| refused(TRIED, error));
        let keeper = Keeper {
            _single: single,
            owner: open()?,
            watch: Watch::open(FAMILY, TABLE).map_err(|error| refused(TRIED, error))?,
            rules: None,
            new_rules: false,
            made: None,
            fresh: false,
            unfinished: false,
        };
        let mut sets =
            Sets { options, reader: open()?, keeper: Some(keeper), ledger: Ledger::default(), fill_was_told: false };
        sets.ensure().await?;
        Ok(sets)
    }

    /// Opens the table only to be read, perhaps beside the daemon that keeps it: nothing is changed.
    pub async fn open_beside() -> Result<Sets> {
        const TRIED: &str = "read what nftables has counted for LAN clients";
        let mut reader = Requests::open(libc::NETLINK_NETFILTER).map_err(|error| refused(TRIED, error))?;
        match look(&mut reader).await.map_err(|error| refused(TRIED, error))? {
            Some(seen) if seen.is_ours() => {
                let size = seen.sets.iter().flatten().map(|set| set.size).min().unwrap_or(0);
                let options = Options { max_clients: size, protect: seen.is_protected() };
                Ok(Sets { options, reader, keeper: None, ledger: Ledger::default(), fill_was_told: false })
            }
            Some(_) => Err(not_ours(TRIED)),
            None => Err(Error::failed(TRIED, format!("there is no table inet {TABLE}"))
                .remedy("start the daemon: it makes the table, and counts from then on")),
        }
    }

    /// Whether nobody else can change the table.
    pub fn is_protected(&self) -> bool {
        self.options.protect
    }

    /// How many times events about the ruleset were lost; nothing where none are followed.
    pub fn overruns(&self) -> Option<u64> {
        self.keeper.as_ref().map(|keeper| keeper.watch.overruns())
    }

    /// Counts the clients of these LANs and no others from now on; what was counted stays.
    pub async fn apply(&mut self, lans: &[Lan]) -> Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let rules = layout::rules(lans);
        if keeper.rules.as_ref() != Some(&rules) {
            keeper.rules = Some(rules);
            keeper.new_rules = true;
        }
        self.ensure().await.map(drop)
    }

    /// Reads what was counted and calls `each` for every client and direction. A count never goes back, whatever
    /// others do to the table, as long as it is kept by us. Rarely `each` is called twice for the same one, the later
    /// call being right, or a client is left out that was there before and will be again: the kernel's list moves
    /// while it is read.
    pub async fn read(&mut self, mut each: impl FnMut(Counter)) -> Result<()> {
        for _ in 0..TRIES {
            match self.read_sets(&mut each).await {
                Ok(()) => return self.mend(&mut each),
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.keeper.is_some() => {
                    self.ensure().await?;
                }
                Err(error) => return Err(refused("read what nftables has counted for LAN clients", error)),
            }
        }
        Err(Error::failed(TRIED, "the table is removed faster than it is made"))
    }

    async fn read_sets(&mut self, each: &mut impl FnMut(Counter)) -> io::Result<()> {
        if let Some(keeper) = &mut self.keeper {
            keeper.watch.take_in(told(&mut self.ledger));
        }
        self.ledger.begin();
        for (set, kind) in KINDS.iter().enumerate() {
            for _ in 0..DUMP_TRIES {
                let dump = |sequence| nftables::dump_elements(sequence, FAMILY, TABLE, kind.name);
                let ledger = &mut self.ledger;
                let each = |message: &Message<'_>| {
                    read::elements(message, |key, count| {
                        let Some(addr) = layout::address(key).filter(|addr| kind.takes(*addr)) else { return };
                        let count = ledger.note(set, addr, count);
                        let (bytes, packets) = (count.bytes, count.packets);
                        each(Counter { addr, direction: kind.direction, bytes, packets });
                    })
                };
                if self.reader.dump(dump, each).await? {
                    break;
                }
            }
        }
        self.ledger.trim(self.options.max_clients);
        self.tell_fill();
        Ok(())
    }

    /// Puts back, after a reading, what others took from the elements.
    fn mend(&mut self, each: &mut impl FnMut(Counter)) -> Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let mut batches = Batches::default();
        for (set, addr, count) in self.ledger.restarted() {
            let Some(kind) = KINDS.get(set) else { continue };
            let key = layout::key(addr);
            let batch = batches.next();
            batch.delete_element(FAMILY, TABLE, kind.name, &key).elements(FAMILY, TABLE, kind.name, &[(key, count)]);
        }
        let missing = std::mem::take(&mut keeper.watch.elements);
        for (set, kind) in KINDS.iter().enumerate().filter(|_| missing) {
            let gone: Vec<_> = self.ledger.missing(set).collect();
            for (addr, Count { bytes, packets }) in &gone {
                each(Counter { addr: *addr, direction: kind.direction, bytes: *bytes, packets: *packets });
            }
            let gone: Vec<_> = gone.into_iter().map(|(addr, count)| (layout::key(addr), count)).collect();
            layout::add_elements(&mut batches, kind, &gone);
        }
        let batches = batches.finish();
        if batches.is_empty() {
            return Ok(());
        }
        // A refusal is no failure: the next reading finds the same.
        let done = batches.iter().all(|batch| matches!(commit(&mut keeper.owner, batch), Answer::Done));
        keeper.watch.pass_over();
        if done {
            self.ledger.settle();
            if missing {
                self.ledger.made(false);
            }
        }
        Ok(())
    }

    /// Removes what was counted for clients that are forgotten.
    pub fn forget(&mut self, addrs: &[IpAddr]) -> Result<()> {
        let mut gone = Vec::new();
        for (set, kind) in KINDS.iter().enumerate() {
            let there = addrs.iter().filter(|addr| kind.takes(**addr) && self.ledger.has(set, **addr));
            gone.extend(there.map(|addr| (set, *addr)));
        }
        self.remove(gone)
    }

    /// Makes room where a set is more than three quarters full: removes addresses that got packets and never sent any,
    /// such as those that a scan from outside tried, unless they are `known` as clients. Returns how many.
    pub fn evict(&mut self, known: impl Fn(IpAddr) -> bool) -> Result<usize> {
        let mut gone = Vec::new();
        for (set, kind) in KINDS.iter().enumerate() {
            let crowded = self.ledger.len(set) > self.options.max_clients as usize / 4 * 3;
            if kind.direction == Direction::Tx || !crowded {
                continue;
            }
            let sends = |addr| self.ledger.any(addr, |kind| kind.direction == Direction::Tx);
            let idle = self.ledger.idle(set, IDLE_READINGS).filter(|addr| !sends(*addr) && !known(*addr));
            gone.extend(idle.map(|addr| (set, addr)));
        }
        let count = gone.len();
        self.remove(gone).map(|()| count)
    }

    fn remove(&mut self, gone: Vec<(usize, IpAddr)>) -> Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        for part in gone.chunks(200) {
            let mut left = part.to_vec();
            // Refused for those that somebody else removed: without them it is done.
            for _ in 0..TRIES {
                let mut batch = Batch::new();
                for (set, addr) in &left {
                    let name = KINDS.get(*set).map_or("", |kind| kind.name);
                    batch.delete_element(FAMILY, TABLE, name, &layout::key(*addr));
                }
                let refusals = keeper.owner.change(&batch.finish()).map_err(|error| refused(TRIED, error))?;
                if refusals.is_empty() {
                    break;
                }
                // Messages are numbered from 2 on.
                let missing =
                    |index: usize| refusals.iter().any(|r| r.sequence as usize == index + 2 && r.errno == libc::ENOENT);
                left = left.into_iter().enumerate().filter(|(at, _)| !missing(*at)).map(|(_, pair)| pair).collect();
            }
            for (set, addr) in part {
                self.ledger.remove(*set, *addr);
            }
        }
        keeper.watch.pass_over();
        Ok(())
    }

    /// How full each set was at the last reading.
    pub fn fill(&self) -> [Fill; SETS] {
        let mut fill = [Fill { set: "", used: 0, size: self.options.max_clients }; SETS];
        for ((at, kind), fill) in KINDS.iter().enumerate().zip(&mut fill) {
            (fill.set, fill.used) = (kind.name, self.ledger.len(at) as u32);
        }
        fill
    }

    fn tell_fill(&mut self) {
        let full = self.fill().into_iter().find(|fill| fill.used >= fill.size);
        if let Some(full) = full.filter(|_| !std::mem::replace(&mut self.fill_was_told, true)) {
            log::warn!(
                target: "clients",
                "the nftables set {} is full with {} addresses: further clients are not counted; \
                 raise clients.max_clients",
                full.set, full.size,
            );
        }
    }

    /// Waits until somebody else changes our table, and mends it; returns once it did. Sleeps while nobody changes the
    /// ruleset, and wakes at most ten times a second however fast others change theirs. Safe to be dropped while it
    /// waits, and to be called again.
    pub async fn changed(&mut self) -> Result<()> {
        loop {
            let Some(keeper) = &mut self.keeper else { return std::future::pending().await };
            let doubt = keeper
                .watch
                .doubt(told(&mut self.ledger))
                .await
                .map_err(|error| Error::io("follow changes of nftables", error))?;
            if doubt == Doubt::Table && self.ensure().await? {
                return Ok(());
            }
            if self.keeper.as_ref().is_some_and(|keeper| keeper.watch.elements) {
                self.read(|_| {}).await?;
            }
        }
    }
}

/// What we try, as it reads after "cannot".
pub(super) const TRIED: &str = "count LAN clients with nftables";

/// What becomes of the event that elements were removed.
fn told(ledger: &mut Ledger) -> impl FnMut(&Message<'_>) {
    |message| {
        let mut gone = |name: &[u8], key: &[u8], last| {
            let set = KINDS.iter().position(|kind| kind.name.as_bytes() == name);
            if let (Some(set), Some(addr)) = (set, layout::address(key)) {
                ledger.removed(set, addr, last);
            }
        };
        // The set's name comes with the elements, so they are read twice.
        if let Ok(Some(name)) = read::removed_elements(message, |_, _| {}) {
            let _ = read::removed_elements(message, |key, last| gone(name, key, last));
        }
    }
}

/// What there is of our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// There is none.
    None,
    /// It is there, and nobody owns it.
    Ours,
    /// It is there, and a running process owns it.
    Kept,
    /// Somebody else made a table of that name.
    Foreign,
}

/// Looks at the table. Changes nothing.
pub async fn state(requests: &mut Requests) -> Result<Table> {
    Ok(match look(requests).await.map_err(|error| refused("look at nftables", error))? {
        None => Table::None,
        Some(seen) if !seen.is_ours() => Table::Foreign,
        Some(seen) if seen.is_owned() => Table::Kept,
        Some(_) => Table::Ours,
    })
}

/// Removes the table, if there is one of ours that nobody owns; returns what was removed, in words.
pub async fn remove(tried: &str) -> Result<Option<String>> {
    let mut requests = Requests::open(libc::NETLINK_NETFILTER).map_err(|error| refused(tried, error))?;
    match state(&mut requests).await? {
        Table::None | Table::Foreign => return Ok(None),
        Table::Kept => {
            return Err(Error::failed(tried, "a running process owns it").remedy("stop the gatemeter that runs first"));
        }
        Table::Ours => {}
    }
    let mut batch = Batch::new();
    batch.delete_table(FAMILY, TABLE);
    match commit(&mut requests, &batch.finish()) {
        Answer::Done => Ok(Some(format!("nftables table inet {TABLE}"))),
        Answer::Changed => Ok(None),
        Answer::Unknown(error) | Answer::Refused(error) => Err(refused(tried, error)),
    }
}

/// A table of our name that is not ours.
pub(super) fn not_ours(tried: &str) -> Error {
    Error::failed(tried, format!("there is a table inet {TABLE} that gatemeter did not make"))
        .remedy(format!("rename it, or remove it with: nft delete table inet {TABLE}"))
}
