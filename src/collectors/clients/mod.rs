//! Every client of the LAN: its bytes, rates, connections, presence and names, read over netlink.
//!
//! A client is an address. Each source is followed or read by a module of its own, and all of them meet in the
//! [`roster`]: [`accounting`] has the bytes, [`flows`] the connections, [`neighbours`] who is there. [`subnets`] decides
//! whose addresses are clients' at all.

pub mod accounting;
mod check;
mod connections;
pub mod flows;
mod metrics;
pub mod neighbours;
mod observer;
mod report;
pub mod roster;
pub mod settings;
mod source;
pub mod subnets;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use smol::future::FutureExt as _;

use super::{Collector, LocalFuture, Reload, Row};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Page;
use crate::names::Mac;
use crate::names::directory::Directory;
use crate::sys::caps::Capability;
use crate::sys::clock;
use accounting::Counter;
use connections::Connections;
use observer::Observer;
use roster::{Client, Roster, Rules};
use settings::{Accounting, SECTION, Settings};
use source::Source;
use subnets::Lans;

/// This collector as the rest of the program sees it.
pub const ROW: Row = Row {
    name: "clients",
    section: &SECTION,
    metrics: metrics::ALL,
    capabilities: |_| &[Capability::NetAdmin],
    prepare: |_| {},
    build: |config| Ok(Box::new(Clients::new(Settings::read(config)?))),
    check: check::check,
    clean: check::clean,
};

/// The collector.
struct Clients {
    settings: Settings,
    names: Directory,
    roster: Roster,
    lans: Lans,
    open: Option<Open>,
    /// The LANs have changed since the source was told.
    unapplied: bool,
    /// The LANs have changed since the neighbours were listed.
    unlisted: bool,
    /// The LANs have changed since they were told; they are once a collection succeeds, and not at each try.
    untold: bool,
    /// Other subnets are asked for since the LANs were found.
    resettled: bool,
    /// Clients that were dropped for it, whose counters are to be removed.
    dropped: Vec<IpAddr>,
    /// When presence was last judged.
    judged: Option<Instant>,
}

/// What is read and followed.
struct Open {
    observer: Observer,
    source: Source,
    connections: Connections,
}

impl Clients {
    fn new(settings: Settings) -> Self {
        let (names, roster) = (Directory::new(settings.names.clone()), Roster::new(rules(&settings)));
        Clients {
            settings,
            names,
            roster,
            lans: Lans::default(),
            open: None,
            unapplied: false,
            unlisted: false,
            untold: false,
            resettled: false,
            dropped: Vec::new(),
            judged: None,
        }
    }

    async fn open(&mut self, source: Source, follow: bool) -> Result<()> {
        let connections = Connections::open(&self.settings, follow)?;
        if self.settings.accounting == Accounting::Conntrack && flows::check::counts_bytes() == Some(false) {
            log::warn!(
                target: ROW.name,
                "no bytes are counted: nf_conntrack_acct is 0; sysctl -w net.netfilter.nf_conntrack_acct=1 turns that on \
                 for connections that begin after it"
            );
        }
        self.open = Some(Open { observer: Observer::open().await?, source, connections });
        self.settle().await
    }

    /// Makes everything fit the LAN as it is now. What is interrupted or fails is done by the next call.
    async fn settle(&mut self) -> Result<()> {
        let Some(Open { observer, source, connections }) = &mut self.open else { return Ok(()) };
        if observer.has_changed() || self.resettled {
            let lans = Lans::find(&self.settings.subnets, &observer.interfaces);
            // Without any LAN the collection fails and tells the reason.
            let told = |text: &&String| self.lans.problems.contains(text) || self.lans.doubts.contains(text);
            let is_new = |text: &&String| !lans.lans.is_empty() && !told(text);
            for problem in lans.problems.iter().chain(&lans.doubts).filter(is_new) {
                log::warn!(target: ROW.name, "{problem}");
            }
            if lans.lans != self.lans.lans {
                (self.unapplied, self.untold) = (true, true);
            }
            if lans != self.lans {
                self.unlisted = true;
                connections.recount();
            }
            self.lans = lans;
        }
        let lans = &self.lans;
        if std::mem::take(&mut self.resettled) {
            self.dropped.extend(self.roster.retain(|addr| lans.is_client(addr)));
        }
        if self.unapplied {
            source.apply(&lans.lans).await?;
            self.unapplied = false;
        }
        if self.unlisted {
            observer.list_neighbours(&|addr| lans.is_client(addr)).await?;
            self.unlisted = false;
        }
        Ok(())
    }

    async fn collect(&mut self, page: &mut Page) -> Result<()> {
        let lans = &self.lans;
        let Some(Open { observer, .. }) = &mut self.open else { return Err(not_open()) };
        observer.catch_up(&|addr| lans.is_client(addr)).await?;
        self.settle().await?;
        // Rules that somebody else wrote say for themselves who is a client.
        let as_written = rules(&self.settings).keep_counted;
        if self.lans.lans.is_empty() && !as_written {
            return Err(no_lan(&self.lans));
        }
        let Some(Open { observer, source, connections }) = &mut self.open else { return Err(not_open()) };
        let (now, lans) = (Instant::now(), &self.lans);
        let is_client = |addr| lans.is_client(addr);
        if let (Some(stale), Some(before)) = (self.settings.stale, self.judged)
            && observer.neighbours.expired(before, now, stale)
        {
            observer.list_neighbours(&is_client).await?;
        }
        self.judged = Some(now);
        self.roster.begin();
        let roster = &mut self.roster;
        let mut count = |counter: Counter| {
            if as_written || is_client(counter.addr) {
                roster.count(counter, now);
            }
        };
        source.read(&mut count).await?;
        let flows_read_at = connections.collect(now, &is_client).await?;
        connections.each(|addr, counts| roster.flows(addr, counts, now));
        let mut read_at = now;
        if matches!(source, Source::Flows) {
            read_at = flows_read_at.unwrap_or(now);
            connections.bytes(|counter| roster.count(counter, now));
        }
        for (addr, ifindex, entry) in observer.neighbours.iter() {
            roster.neighbour(addr, ifindex, entry, now);
        }
        let mut forgotten = roster.finish(now, read_at);
        forgotten.append(&mut self.dropped);
        source.keep(roster, &forgotten).await?;
        connections.forget(&forgotten);
        self.names.refresh(now);
        for (addr, client) in roster.iter().filter(|(_, client)| client.online) {
            self.names.learned(client.mac.map(Mac).as_ref(), &addr, now);
        }
        if std::mem::take(&mut self.untold) {
            log::info!(target: ROW.name, "{}", self.lans);
        }
        self.write(page, now);
        Ok(())
    }

    /// The hardware address of a client: as the neighbour table has it, else as it was known before a restart.
    fn mac(&self, addr: IpAddr, client: &Client) -> Option<Mac> {
        client.mac.map(Mac).or_else(|| self.names.mac_of(&addr))
    }

    fn write(&self, page: &mut Page, now: Instant) {
        let Some(open) = &self.open else { return };
        let name = |addr: IpAddr, client: &Client| self.names.name(self.mac(addr, client).as_ref(), &addr);
        let mac = |addr, client: &Client| self.mac(addr, client);
        let interface = |addr, client: &Client| self.lans.ifname_of(addr, client.ifindex).unwrap_or("");
        let context = report::Context {
            name: &name,
            mac: &mac,
            interface: &interface,
            source: &open.source,
            flows: open.connections.totals(),
            overruns: open.observer.overruns(),
            limit: self.settings.max_clients.into(),
            now,
            unix_now: clock::unix_now(),
        };
        report::write(page, &self.roster, &context);
    }
}

impl Collector for Clients {
    fn interval(&self) -> Duration {
        self.settings.interval
    }

    fn open(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async {
            let source = Source::open(&self.settings).await?;
            Clients::open(self, source, true).await
        })
    }

    fn open_once(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async {
            self.names.read_only();
            let source = Source::open_once(&self.settings).await?;
            Clients::open(self, source, false).await
        })
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(Clients::collect(self, page))
    }

    fn between(&mut self) -> LocalFuture<'_, Error> {
        Box::pin(async {
            loop {
                let lans = &self.lans;
                let Some(Open { observer, source, connections }) = &mut self.open else {
                    return std::future::pending().await;
                };
                let is_client = |addr| lans.is_client(addr);
                let observed = observer.follow(&is_client);
                let repaired = source.changed();
                let followed = connections.follow(&is_client);
                let named = async {
                    self.names.work().await;
                    Ok(())
                };
                if let Err(error) = observed.or(repaired).or(followed).or(named).await {
                    return error;
                }
                if let Err(error) = self.settle().await {
                    return error;
                }
            }
        })
    }

    fn reconfigure(&mut self, config: &Config) -> Result<Reload> {
        let new = Settings::read(config)?;
        let old = &self.settings;
        let counts_by = |settings: &Settings| {
            let Settings { accounting, manage_rules, max_clients, .. } = *settings;
            (accounting, manage_rules, max_clients, settings.table.clone(), settings.chain.clone())
        };
        if counts_by(&new) != counts_by(old) {
            return Ok(Reload::Rebuild);
        }
        if new.names != old.names {
            self.names.save(Instant::now());
            self.names = Directory::new(new.names.clone());
        }
        if new.subnets != old.subnets {
            self.resettled = true;
        }
        self.roster.set_rules(rules(&new));
        self.settings = new;
        Ok(Reload::Done)
    }
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        stale: settings.stale,
        forget: settings.forget,
        max_clients: settings.max_clients as usize,
        begin_from_zero: settings.accounting != Accounting::Rules || settings.manage_rules,
        keep_counted: settings.accounting == Accounting::Rules && !settings.manage_rules,
    }
}

fn not_open() -> Error {
    Error::failed("measure clients", "the collector is not open")
}

/// Nothing to measure: what was asked for is not there, or nothing looks like a LAN.
fn no_lan(lans: &Lans) -> Error {
    match lans.problems.first() {
        Some(problem) => Error::failed("measure clients", problem.clone()),
        None => Error::failed("measure clients", "no LAN interface was found").remedy(
            "name it, as in -o clients.subnet=192.168.1.0/24/br-lan; a bridged access point routes nothing, \
             so measure on the router",
        ),
    }
}
