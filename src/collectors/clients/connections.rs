//! The reader of connections, which others of this collector can do without: where the kernel offers none, that is said
//! once, tried again now and then, and the families about them are left out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::ROW;
use super::accounting::Counter;
use super::flows::{self, Counts, IsClient, Mode, Totals};
use super::settings::{Accounting, Settings};
use crate::error::{Error, Result};

/// Time between two tries to open what could not be opened or failed.
const PAUSE: Duration = Duration::from_secs(60);

/// Connections, as long as they can be read.
pub struct Connections {
    options: flows::Options,
    reader: Option<flows::Connections>,
    /// Without connections there are no bytes either.
    needed: bool,
    /// What is the matter, as it was told.
    trouble: Option<String>,
    tried: Option<Instant>,
    mode: Option<Mode>,
}

impl Connections {
    /// Opens what the system offers; with `follow` to be kept up to date by events. Fails only if bytes depend on it.
    pub fn open(settings: &Settings, follow: bool) -> Result<Self> {
        let needed = settings.accounting == Accounting::Conntrack;
        let max_clients = settings.max_clients as u16;
        let options = flows::Options { follow, bytes: needed, max_clients, ..flows::Options::default() };
        let mut connections = Connections { options, reader: None, needed, trouble: None, tried: None, mode: None };
        match flows::Connections::open(options) {
            Ok(reader) => connections.reader = Some(reader),
            Err(error) => connections.fail(error)?,
        }
        Ok(connections)
    }

    /// Brings the figures up to date; returns when flows were last read as a whole.
    pub async fn collect(&mut self, now: Instant, is_client: IsClient<'_>) -> Result<Option<Instant>> {
        if self.reader.is_none() && self.tried.is_none_or(|tried| now.saturating_duration_since(tried) >= PAUSE) {
            self.tried = Some(now);
            match flows::Connections::open(self.options) {
                Ok(reader) => self.reader = Some(reader),
                Err(error) => self.fail(error)?,
            }
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        if let Err(error) = reader.collect(now, is_client).await {
            self.tried = Some(now);
            self.fail(error)?;
            return Ok(None);
        }
        let (read_at, totals) = (reader.read_at(), reader.totals());
        if self.trouble.take().is_some() {
            log::warn!(target: ROW.name, "connections can be read again");
        }
        self.tell(totals);
        Ok(read_at)
    }

    /// Takes in events between two collections; never ends. Safe to be dropped.
    pub async fn follow<T>(&mut self, is_client: IsClient<'_>) -> T {
        match &mut self.reader {
            Some(reader) => match reader.follow(is_client).await {},
            None => std::future::pending().await,
        }
    }

    /// Who is a client has changed.
    pub fn recount(&mut self) {
        self.reader.iter_mut().for_each(flows::Connections::recount);
    }

    /// Calls `each` for every client that has connections.
    pub fn each(&self, mut each: impl FnMut(IpAddr, Counts)) {
        for (addr, counts) in self.reader.iter().flat_map(flows::Connections::clients) {
            each(addr, counts);
        }
    }

    /// Calls `each` for what each client has moved, if bytes are asked for.
    pub fn bytes(&self, each: impl FnMut(Counter)) {
        if let Some(reader) = &self.reader {
            reader.bytes(each);
        }
    }

    /// Forgets what these clients have moved.
    pub fn forget(&mut self, addrs: &[IpAddr]) {
        if let Some(reader) = &mut self.reader {
            addrs.iter().for_each(|addr| reader.forget(*addr));
        }
    }

    /// Figures about all of them, if they can be read.
    pub fn totals(&self) -> Option<Totals> {
        self.reader.as_ref().map(flows::Connections::totals)
    }

    fn fail(&mut self, error: Error) -> Result<()> {
        self.reader = None;
        if self.needed {
            return Err(error);
        }
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            log::warn!(target: ROW.name, "going on without connections: {text}");
            self.trouble = Some(text);
        }
        Ok(())
    }

    /// Tells when they are read in another way than before, which costs more or says less.
    fn tell(&mut self, totals: Totals) {
        let flooded = self.reader.as_ref().is_some_and(flows::Connections::is_flooded);
        if self.mode.replace(totals.mode) == Some(totals.mode) {
            return;
        }
        match totals.mode {
            Mode::Events => log::debug!(target: ROW.name, "connections are followed by events"),
            Mode::Dumps if flooded => log::warn!(
                target: ROW.name,
                "connections change faster than they can be followed: for a while they are counted now and then",
            ),
            Mode::Dumps => log::debug!(target: ROW.name, "all connections are read each time"),
            Mode::Proc => log::warn!(
                target: ROW.name,
                "connections are read from /proc/net/nf_conntrack now and then; kmod-nf-conntrack-netlink makes that \
                 exact and cheap",
            ),
        }
    }
}
