//! Powerline networks: adapters, their networks, peers, rates and firmware, asked for with HomePlug AV management messages.
//!
//! Every interval a [`survey`] opens the interfaces, makes one [`walk`] over the adapters that answer or are listed by one
//! that does, and closes them again; [`report`] writes what was found. What adapters say is read by [`codec`].

pub mod answer;
mod check;
pub mod codec;
pub mod filter;
mod memory;
mod metrics;
mod port;
mod report;
pub mod settings;
mod survey;
mod table;
pub mod walk;

use std::time::{Duration, Instant};

use super::{Collector, LocalFuture, Reload, Row};
use crate::config::Config;
use crate::error::Result;
use crate::metrics::Page;
use crate::sorted::Sorted;
use crate::sys::caps::Capability;
use crate::sys::clock;
use memory::Memory;
use port::FRAME_BYTES;
use report::Context;
use settings::{SECTION, Settings};
use survey::{Survey, survey};
use walk::Counts;

pub use table::show;

/// This collector as the rest of the program sees it.
pub const ROW: Row = Row {
    name: "homeplug",
    section: &SECTION,
    metrics: metrics::ALL,
    capabilities: |_| &[Capability::NetRaw],
    prepare: |_| {},
    build: |config| Ok(Box::new(Homeplug::new(Settings::read(config)?))),
    check: check::check,
    clean: |_| Ok(Vec::new()),
};

/// Interfaces whose frames that were dropped are counted; names beyond it begin again from 0.
const MAX_INTERFACES: usize = 64;

/// The collector.
struct Homeplug {
    settings: Settings,
    memory: Memory,
    totals: Totals,
    /// Interfaces that could not be asked on in the last walk, with the reason that was told.
    troubles: Sorted<String, String>,
    buf: Vec<u8>,
}

/// What all walks have counted together.
#[derive(Debug, Default)]
pub struct Totals {
    counts: Counts,
    /// Answers that were not looked at, by interface.
    dropped: Sorted<String, u64>,
}

impl Homeplug {
    fn new(settings: Settings) -> Self {
        Homeplug {
            settings,
            memory: Memory::default(),
            totals: Totals::default(),
            troubles: Sorted::default(),
            buf: vec![0; FRAME_BYTES],
        }
    }

    async fn collect(&mut self, page: &mut Page) -> Result<()> {
        let memory = &self.memory;
        let survey = survey(&self.settings, &mut self.buf, &|mac| memory.first_question(mac)).await?;
        let now = Instant::now();
        self.memory.update(&survey.walk, self.settings.max_devices, now);
        self.totals.add(&survey);
        self.tell(&survey);
        let context = Context {
            memory: &self.memory,
            totals: &self.totals,
            extended: self.settings.extended,
            now,
            unix_now: clock::unix_now(),
        };
        report::write(page, &survey, &context);
        Ok(())
    }

    /// Logs what has changed about interfaces; that none works is the collection's own error.
    fn tell(&mut self, survey: &Survey) {
        for interface in &survey.interfaces {
            let text = interface.trouble.as_ref().map(ToString::to_string);
            if text.as_ref() == self.troubles.get(&interface.name) {
                continue;
            }
            match text {
                Some(text) => {
                    log::warn!(target: ROW.name, "{text}");
                    self.troubles.insert(interface.name.clone(), text);
                }
                None => {
                    log::info!(target: ROW.name, "{} works again", interface.name);
                    self.troubles.remove(&interface.name);
                }
            }
        }
    }
}

impl Totals {
    fn add(&mut self, survey: &Survey) {
        let Counts { requests, answers, rejected } = survey.walk.counts;
        self.counts.requests += requests;
        self.counts.answers += answers;
        for (total, new) in self.counts.rejected.iter_mut().zip(rejected) {
            *total += new;
        }
        for interface in &survey.interfaces {
            let total = self.dropped.get(&interface.name).copied().unwrap_or(0);
            if self.dropped.len() >= MAX_INTERFACES && !self.dropped.contains_key(&interface.name) {
                self.dropped = Sorted::default();
            }
            self.dropped.insert(interface.name.clone(), total + interface.dropped);
        }
    }
}

impl Collector for Homeplug {
    fn interval(&self) -> Duration {
        self.settings.interval
    }

    // Each walk opens its own sockets.
    fn open(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(Homeplug::collect(self, page))
    }

    fn reconfigure(&mut self, config: &Config) -> Result<Reload> {
        self.settings = Settings::read(config)?;
        self.troubles.retain(|name, _| self.settings.interfaces.contains(name));
        Ok(Reload::Done)
    }
}
