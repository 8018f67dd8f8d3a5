//! The one source of bytes that the settings name.

use std::net::IpAddr;

use super::ROW;
use super::accounting::Counter;
use super::accounting::rules::{self, Rules};
use super::accounting::sets::{self, Sets};
use super::roster::Roster;
use super::settings::{Accounting, Settings};
use super::subnets::Lan;
use crate::error::Result;

/// Where bytes come from.
pub enum Source {
    /// Our own nftables sets.
    Sets(Box<Sets>),
    /// Rules that name a client, and why the last reading found none.
    Rules(Box<Rules>, Option<String>),
    /// The totals of flows, which the reader of connections has.
    Flows,
    /// No bytes.
    Off,
}

impl Source {
    /// Opens the source for the daemon.
    pub async fn open(settings: &Settings) -> Result<Source> {
        Ok(match settings.accounting {
            Accounting::Set => Source::Sets(Box::new(Sets::open(sets_options(settings)).await?)),
            Accounting::Rules => Source::Rules(Box::new(Rules::open(&rules_options(settings))?), None),
            Accounting::Conntrack => Source::Flows,
            Accounting::Off => Source::Off,
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
            Accounting::Rules => Ok(Source::Rules(Box::new(Rules::open_beside(&rules_options(settings))?), None)),
            _ => Source::open(settings).await,
        }
    }

    /// Its name, as `clients.accounting` has it.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Sets(_) => "set",
            Source::Rules(..) => "rules",
            Source::Flows => "conntrack",
            Source::Off => "off",
        }
    }

    /// Counts the clients of these LANs.
    pub async fn apply(&mut self, lans: &[Lan]) -> Result<()> {
        match self {
            Source::Sets(sets) => sets.apply(lans).await,
            Source::Rules(..) | Source::Flows | Source::Off => Ok(()),
        }
    }

    /// Reads what was counted, but for flows.
    pub async fn read(&mut self, each: impl FnMut(Counter)) -> Result<()> {
        match self {
            Source::Sets(sets) => sets.read(each).await,
            Source::Rules(rules, told) => {
                rules.read(each).await?;
                if let Some(nothing) = rules.nothing().filter(|nothing| told.as_deref() != Some(nothing)) {
                    log::warn!(target: ROW.name, "no bytes are counted: {nothing}");
                }
                *told = rules.nothing().map(str::to_owned);
                Ok(())
            }
            Source::Flows | Source::Off => Ok(()),
        }
    }

    /// Fits what is counted to the clients there are, of which those in `forgotten` are none any more.
    pub async fn keep(&mut self, roster: &Roster, forgotten: &[IpAddr]) -> Result<()> {
        match self {
            Source::Sets(sets) => {
                sets.forget(forgotten)?;
                sets.evict(|addr| roster.contains(addr)).map(|_| ())
            }
            Source::Rules(rules, _) => rules.keep(roster.iter().map(|(addr, _)| addr).collect()).await,
            Source::Flows | Source::Off => Ok(()),
        }
    }

    /// How full what counts is; empty if it has no bound.
    pub fn fill(&self) -> Vec<sets::Fill> {
        match self {
            Source::Sets(sets) => sets.fill().to_vec(),
            Source::Rules(..) | Source::Flows | Source::Off => Vec::new(),
        }
    }

    /// How many times events about what counts were lost; nothing where none are followed.
    pub fn overruns(&self) -> Option<u64> {
        match self {
            Source::Sets(sets) => sets.overruns(),
            Source::Rules(rules, _) => rules.overruns(),
            Source::Flows | Source::Off => None,
        }
    }

    /// Waits until somebody else has changed what we count with, and repairs it. Safe to be dropped.
    pub async fn changed(&mut self) -> Result<()> {
        match self {
            Source::Sets(sets) => sets.changed().await,
            Source::Rules(rules, _) => rules.changed().await,
            Source::Flows | Source::Off => std::future::pending().await,
        }
    }
}

/// What the sets are opened with.
fn sets_options(settings: &Settings) -> sets::Options {
    sets::Options { max_clients: settings.max_clients, protect: true }
}

/// What the rules are opened with.
pub fn rules_options(settings: &Settings) -> rules::Options {
    rules::Options { table: settings.table.clone(), chain: settings.chain.clone(), manage: settings.manage_rules }
}
