//! Connections of LAN clients, as conntrack knows them, and their bytes where it counts them.
//!
//! Reading all flows costs the kernel 2 us for each, so they are followed by events and read as a whole at the start,
//! when events were lost, and rarely else. Where the kernel offers no events or no conntrack over netlink, all flows are
//! read each time, from /proc/net/nf_conntrack at worst.

pub mod check;
pub mod key;
mod ledger;
mod pace;
pub mod proc;
mod reader;
pub mod table;

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use async_io::Timer;

pub use table::{Counts, IsClient};

use self::key::Keys;
use self::ledger::Ledger;
use self::pace::Pace;
use self::reader::{Reader, Taken};
use self::table::{Source, Table};
use super::accounting::Counter;
use crate::error::Result;
use crate::netlink::conntrack::{Entry, Event};
use crate::sys::clock::thread_cpu;
use check::Announced;

/// How long events gather before they are taken in, so that a busy network does not wake us for each.
const GATHER: Duration = Duration::from_millis(200);
/// Shortest time between two readings of /proc/net/nf_conntrack, which takes longer than netlink.
const PROC_INTERVAL: Duration = Duration::from_secs(10);

/// What to measure, and how.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Follow events between readings; off for a single reading.
    pub follow: bool,
    /// Keep totals of bytes and packets, for which all flows are read each time.
    pub bytes: bool,
    /// Most clients; flows of those beyond are told as untracked.
    pub max_clients: u16,
    /// Room for unread events in bytes, as the kernel counts them: some 1,250 for each.
    pub event_buffer: i32,
    /// Read /proc/net/nf_conntrack even if there is netlink.
    pub proc: bool,
}

impl Default for Options {
    fn default() -> Self {
        // Twice this, as the kernel doubles it, is room for 3,300 events: 16,000 a second, with GATHER between.
        Options { follow: true, bytes: false, max_clients: 4096, event_buffer: 2 << 20, proc: false }
    }
}

/// Where the figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From events; all flows are read rarely.
    Events,
    /// All flows are read each time, because events are off, are too many, or leave the bytes out.
    Dumps,
    /// All flows are read from /proc/net/nf_conntrack, at most every 10 s.
    Proc,
}

impl Mode {
    /// The mode in a word.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Events => "events",
            Mode::Dumps => "dumps",
            Mode::Proc => "proc",
        }
    }
}

/// Figures about all flows together and about how they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Flows of clients, without those that are closing.
    pub flows: usize,
    /// Those of them that pass by in a flowtable, as of the last time all flows were read.
    pub offloaded: usize,
    /// Those of them that may end without an event, because they are older than the subscription.
    pub silent: usize,
    /// Flows of clients that found no room since all flows were last read.
    pub untracked: usize,
    /// Flows without counters when all flows were last read, where bytes are asked for.
    pub unmetered: usize,
    /// How many times all flows were read.
    pub dumps: u64,
    /// How many times events were lost.
    pub overruns: u64,
    /// How they are read.
    pub mode: Mode,
}

/// Follows flows and counts them for clients.
#[derive(Debug)]
pub struct Connections {
    options: Options,
    reader: Reader,
    keys: Keys,
    table: Table,
    ledger: Option<Ledger>,
    pace: Pace,
    /// Flows of the next dump may be older than the subscription.
    older: bool,
    /// Events were lost: those that come are of no use before all flows are read.
    lost: bool,
    dumps: u64,
    overruns: u64,
    /// Those of them that `pace` knows.
    overruns_told: u64,
}

impl Connections {
    /// Opens what this system offers: netlink, else /proc.
    pub fn open(options: Options) -> Result<Self> {
        let reader = Reader::open(options.proc)?;
        let interval = if reader.is_netlink() { Duration::ZERO } else { PROC_INTERVAL };
        let mut connections = Connections {
            options,
            reader,
            keys: Keys::default(),
            table: Table::new(options.max_clients),
            ledger: options.bytes.then(|| Ledger::new(options.max_clients)),
            pace: Pace::new(interval, options.bytes),
            older: false,
            lost: false,
            dumps: 0,
            overruns: 0,
            overruns_told: 0,
        };
        if options.follow {
            connections.subscribe();
        }
        Ok(connections)
    }

    /// Brings the figures up to date. `now` must not run behind what it was before.
    pub async fn collect(&mut self, now: Instant, is_client: IsClient<'_>) -> Result<()> {
        self.take_events(is_client);
        if self.overruns > self.overruns_told {
            self.overruns_told = self.overruns;
            // For bytes all flows are read each time as it is, and events tell of those that live shorter.
            if self.pace.lost(now) && !self.options.bytes {
                self.unsubscribe();
            }
        }
        if self.pace.rested(now) {
            self.subscribe();
        }
        if self.pace.due(now, self.table.silent() > 0) {
            self.read_all(now, is_client).await?;
        }
        self.table.shrink();
        Ok(())
    }

    /// Takes in events while there are some, between two collections. Never ends; to be dropped when a collection is due.
    pub async fn follow(&mut self, is_client: IsClient<'_>) -> Infallible {
        loop {
            let Some(events) = self.reader.events().filter(|_| !self.lost) else { return pending().await };
            match events.readable().await {
                Ok(()) => drop(Timer::after(GATHER).await),
                Err(_) => self.lose(),
            }
            self.take_events(is_client);
        }
    }

    /// Who is a client has changed: the next collection counts anew.
    pub fn recount(&mut self) {
        self.table.doubt();
        self.ledger.iter_mut().for_each(Ledger::doubt);
        self.pace.want();
    }

    /// Connections of one client.
    pub fn counts(&self, addr: IpAddr) -> Counts {
        self.table.counts(addr)
    }

    /// All clients that have connections.
    pub fn clients(&self) -> impl Iterator<Item = (IpAddr, Counts)> {
        self.table.clients()
    }

    /// Figures about all flows together.
    pub fn totals(&self) -> Totals {
        let unread = self.ledger.as_ref().map_or(0, Ledger::untracked);
        Totals {
            flows: self.table.flows(),
            offloaded: self.table.offloaded(),
            silent: self.table.silent(),
            untracked: self.table.untracked().max(unread),
            unmetered: self.ledger.as_ref().map_or(0, Ledger::unmetered),
            dumps: self.dumps,
            overruns: self.overruns,
            mode: self.mode(),
        }
    }

    /// What each client has moved since the first collection, if bytes are asked for; as of [`Connections::read_at`].
    pub fn bytes(&self, each: impl FnMut(Counter)) {
        self.ledger.iter().flat_map(Ledger::counters).for_each(each);
    }

    /// Forgets what a client has moved.
    pub fn forget(&mut self, addr: IpAddr) {
        self.ledger.iter_mut().for_each(|ledger| ledger.forget(addr));
    }

    /// When all flows were last read.
    pub fn read_at(&self) -> Option<Instant> {
        self.pace.read_at()
    }

    /// Whether events are given up for a while because they come faster than they can be taken in.
    pub fn is_flooded(&self) -> bool {
        self.pace.rests()
    }

    fn mode(&self) -> Mode {
        match self.reader.is_netlink() {
            false => Mode::Proc,
            true if self.pace.following() && !self.options.bytes => Mode::Events,
            true => Mode::Dumps,
        }
    }

    /// Begins to follow events if the kernel announces flows at all; without, all flows are read each time.
    fn subscribe(&mut self) {
        let announced = check::announced();
        let open = announced != Announced::None && self.reader.subscribe(self.options.bytes, self.options.event_buffer);
        self.pace.follow(open);
        self.older = open && announced == Announced::SinceSubscription;
        self.lost = false;
    }

    fn unsubscribe(&mut self) {
        self.reader.unsubscribe();
        self.pace.follow(false);
        self.lost = false;
    }

    fn take_events(&mut self, is_client: IsClient<'_>) {
        if self.lost {
            return;
        }
        let (keys, table, ledger) = (&self.keys, &mut self.table, &mut self.ledger);
        let taken = self.reader.take_events(|event| match event {
            Event::Known(entry) => table.know(keys.of(&entry), &entry, Source::Event, is_client),
            Event::Gone(entry) => {
                let key = keys.of(&entry);
                table.forget(key);
                if let Some(ledger) = ledger {
                    ledger.close(key, &entry, is_client);
                }
            }
        });
        if taken == Taken::Lost {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.overruns += 1;
    }

    async fn read_all(&mut self, now: Instant, is_client: IsClient<'_>) -> Result<()> {
        let began = thread_cpu();
        if self.lost {
            self.reader.discard_events();
            self.lost = false;
        }
        let source = if self.older { Source::Silent } else { Source::Dump };
        let (keys, table, ledger) = (&self.keys, &mut self.table, &mut self.ledger);
        table.begin();
        ledger.iter_mut().for_each(Ledger::begin);
        let each = |entry: &Entry| {
            let key = keys.of(entry);
            table.know(key, entry, source, is_client);
            if let Some(ledger) = ledger {
                ledger.read(key, entry, is_client);
            }
        };
        self.reader.read_all(each).await?;
        self.older = false;
        self.dumps += 1;
        self.pace.done(now, thread_cpu().saturating_sub(began));
        self.take_events(is_client);
        self.table.end();
        self.ledger.iter_mut().for_each(Ledger::end);
        if self.pace.following() && check::announced() == Announced::None {
            self.unsubscribe();
        }
        Ok(())
    }
}
