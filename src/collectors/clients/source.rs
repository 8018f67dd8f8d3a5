//! The one source of bytes that the settings name.

use std::net::IpAddr;

use super::accounting::Counter;
use super::accounting::sets::{self, Sets};
use super::settings::{Accounting, Settings};
use super::subnets::Lan;
use crate::error::Result;

/// Where bytes come from.
pub enum Source {
    /// Our own nftables sets.
    Sets(Box<Sets>),
    /// No bytes.
    Off,
}

impl Source {
    /// Opens the source for the daemon.
    pub async fn open(settings: &Settings) -> Result<Source> {
        Ok(match settings.accounting {
            Accounting::Set => {
                let options = sets::Options { max_clients: settings.max_clients, protect: true };
                Source::Sets(Box::new(Sets::open(options).await?))
            }
            _ => Source::Off,
        })
    }

    /// Opens the source for one reading, perhaps beside a daemon that keeps it.
    pub async fn open_once(settings: &Settings) -> Result<Source> {
        match settings.accounting {
            Accounting::Set => match Sets::open_beside().await {
                Ok(sets) => Ok(Source::Sets(Box::new(sets))),
                // Nobody counts yet: from now on.
                Err(_) => Source::open(settings).await,
            },
            _ => Source::open(settings).await,
        }
    }

    /// Counts the clients of these LANs.
    pub async fn apply(&mut self, lans: &[Lan]) -> Result<()> {
        match self {
            Source::Sets(sets) => sets.apply(lans).await,
            Source::Off => Ok(()),
        }
    }

    /// Reads what was counted.
    pub async fn read(&mut self, each: impl FnMut(Counter)) -> Result<()> {
        match self {
            Source::Sets(sets) => sets.read(each).await,
            Source::Off => Ok(()),
        }
    }

    /// Removes what was counted for clients that are forgotten, and what only fills the room of others.
    pub fn forget(&mut self, addrs: &[IpAddr], is_known: impl Fn(IpAddr) -> bool) -> Result<()> {
        match self {
            Source::Sets(sets) => {
                sets.forget(addrs)?;
                sets.evict(is_known).map(|_| ())
            }
            Source::Off => Ok(()),
        }
    }

    /// Waits until somebody else has changed what we count with, and repairs it. Safe to be dropped.
    pub async fn changed(&mut self) -> Result<()> {
        match self {
            Source::Sets(sets) => sets.changed().await,
            Source::Off => std::future::pending().await,
        }
    }
}
