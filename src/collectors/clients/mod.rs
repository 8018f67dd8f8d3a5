//! Every client of the LAN: its bytes, rates, connections, presence and names, read over netlink.
//!
//! A client is an address. Each source is followed or read by a module of its own, and all of them meet in the
//! [`roster`]: [`accounting`] has the bytes, [`flows`] the connections, [`presence`] the neighbours. [`subnets`] decides
//! whose addresses are clients' at all.

pub mod accounting;
pub mod flows;
mod metrics;
mod observer;
pub mod presence;
mod report;
pub mod roster;
pub mod settings;
pub mod subnets;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use smol::future::FutureExt as _;

use super::{Collector, Finding, LocalFuture, Reload, Row, interfaces};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Page;
use crate::names::Mac;
use crate::names::directory::Directory;
use crate::sys::caps::Capability;
use crate::sys::clock;
use observer::Observer;
use roster::{Client, Roster, Rules};
use settings::{Accounting, SECTION, Settings};
use subnets::Lans;

/// This collector as the rest of the program sees it.
pub const ROW: Row = Row {
    name: "clients",
    section: &SECTION,
    metrics: metrics::ALL,
    capabilities: &[Capability::NetAdmin],
    prepare: |_| {},
    build: |config| Ok(Box::new(Clients::new(Settings::read(config)?))),
    check,
    clean: |_| Ok(Vec::new()),
};

/// The collector.
struct Clients {
    settings: Settings,
    names: Directory,
    roster: Roster,
    lans: Lans,
    open: Option<Observer>,
    /// When presence was last judged.
    judged: Option<Instant>,
}

impl Clients {
    fn new(settings: Settings) -> Self {
        let (names, roster) = (Directory::new(settings.names.clone()), Roster::new(rules(&settings)));
        Clients { settings, names, roster, lans: Lans::default(), open: None, judged: None }
    }

    async fn open(&mut self) -> Result<()> {
        self.open = Some(Observer::open().await?);
        self.settle().await
    }

    /// Makes everything fit the LAN as it is now.
    async fn settle(&mut self) -> Result<()> {
        let Some(observer) = &mut self.open else { return Ok(()) };
        if !observer.has_changed() {
            return Ok(());
        }
        let lans = Lans::find(&self.settings.subnets, &observer.interfaces);
        if lans == self.lans {
            return Ok(());
        }
        for problem in lans.problems.iter().filter(|problem| !self.lans.problems.contains(problem)) {
            log::warn!(target: ROW.name, "{problem}");
        }
        self.lans = lans;
        let lans = &self.lans;
        observer.list_neighbours(&|addr| lans.is_client(addr)).await
    }

    async fn collect(&mut self, page: &mut Page) -> Result<()> {
        let lans = &self.lans;
        let Some(observer) = &mut self.open else { return Err(not_open()) };
        observer.catch_up(&|addr| lans.is_client(addr)).await?;
        self.settle().await?;
        let Some(observer) = &mut self.open else { return Err(not_open()) };
        let (now, lans) = (Instant::now(), &self.lans);
        if let (Some(stale), Some(before)) = (self.settings.stale, self.judged)
            && observer.presence.expired(before, now, stale)
        {
            observer.list_neighbours(&|addr| lans.is_client(addr)).await?;
        }
        self.judged = Some(now);
        self.roster.begin();
        for (addr, ifindex, entry) in observer.presence.iter() {
            self.roster.neighbour(addr, ifindex, entry, now);
        }
        let _forgotten = self.roster.finish(now);
        self.names.refresh(now);
        for (addr, client) in self.roster.iter().filter(|(_, client)| client.online) {
            self.names.learned(client.mac.map(Mac).as_ref(), &addr, now);
        }
        self.write(page, now);
        Ok(())
    }

    /// The hardware address of a client: as the neighbour table has it, else as it was known before a restart.
    fn mac(&self, addr: IpAddr, client: &Client) -> Option<Mac> {
        client.mac.map(Mac).or_else(|| self.names.mac_of(&addr))
    }

    fn write(&self, page: &mut Page, now: Instant) {
        let name = |addr: IpAddr, client: &Client| self.names.name(self.mac(addr, client).as_ref(), &addr);
        let mac = |addr, client: &Client| self.mac(addr, client);
        let interface = |addr, client: &Client| self.lans.ifname_of(addr, client.ifindex).unwrap_or("");
        let context = report::Context {
            name: &name,
            mac: &mac,
            interface: &interface,
            counts_bytes: self.settings.accounting != Accounting::Off,
            knows_flows: false,
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
        Box::pin(Clients::open(self))
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(Clients::collect(self, page))
    }

    fn between(&mut self) -> LocalFuture<'_, Error> {
        Box::pin(async {
            loop {
                let lans = &self.lans;
                let Some(observer) = &mut self.open else { return std::future::pending().await };
                let is_client = |addr| lans.is_client(addr);
                let observed = observer.follow(&is_client);
                let named = async {
                    self.names.work().await;
                    Ok(())
                };
                if let Err(error) = observed.or(named).await {
                    return error;
                }
                if let Err(error) = self.settle().await {
                    return error;
                }
            }
        })
    }

    fn reconfigure(&mut self, config: &Config) -> Result<Reload> {
        let _ = Settings::read(config)?;
        Ok(Reload::Rebuild)
    }
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        stale: settings.stale,
        forget: settings.forget,
        max_clients: settings.max_clients as usize,
        begin_from_zero: settings.accounting != Accounting::Rules,
        keep_counted: settings.accounting == Accounting::Rules && !settings.manage_rules,
    }
}

fn not_open() -> Error {
    Error::failed("measure clients", "the collector is not open")
}

fn check(config: &Config) -> Vec<Finding> {
    let settings = match Settings::read(config) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let lans = match smol::block_on(interfaces::now()) {
        Ok(interfaces) => Lans::find(&settings.subnets, &interfaces),
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let _ = lans;
    Vec::new()
}
