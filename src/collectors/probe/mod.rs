//! Round trips and losses to targets by ICMP echo and TCP SYN.
//!
//! [`settings`] says whom to probe, [`desk`] takes in who asks for more, [`table`] holds all of them, and [`schedule`] says
//! whose turn it is; [`gateway`] is the one of them that goes with the default route. The [`engine`] sends through one [`channel`] for each protocol, along [`paths`] that it follows, and
//! [`intake`] brings what comes back to its [`target`], whose latest results stand in its [`window`]. Packets and the
//! kernel's messages are read and written by [`codec`]; [`filter`] has the kernel keep from us what is no answer.
//! [`report`] writes it all down. Only engine, channel and paths touch sockets; time is a parameter everywhere else.

mod channel;
mod check;
pub mod codec;
pub mod desk;
pub mod engine;
pub mod filter;
pub mod gateway;
pub mod intake;
mod ledger;
mod metrics;
mod numbers;
pub mod paths;
mod ports;
mod random;
mod report;
pub mod request;
pub mod schedule;
pub mod settings;
mod signal;
pub mod table;
pub mod target;
pub mod window;

#[cfg(test)]
mod packets;

use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::Timer;
use smol::future::FutureExt as _;

use super::{Collector, LocalFuture, Reload, Row};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Page;
use crate::sys::caps::Capability;
use desk::Desk;
use engine::Engine;
use settings::{SECTION, Settings, Via};

pub use report::json;

/// This collector as the rest of the program sees it.
pub const ROW: Row = Row {
    name: "probe",
    section: &SECTION,
    metrics: metrics::ALL,
    // To tell a network card to stamp packets, and to tell it back at the end.
    capabilities: |config| match settings::wants_hardware(config) {
        true => &[Capability::NetRaw, Capability::NetAdmin],
        false => &[Capability::NetRaw],
    },
    prepare: |_| {},
    build: |config| Ok(Box::new(Prober::new(Settings::read(config)?))),
    check: check::check,
    clean: |_| Ok(Vec::new()),
};

/// Longest time that a single collection waits for the first results.
const ONCE: Duration = Duration::from_secs(8);
/// How often it looks for them.
const LOOK: Duration = Duration::from_millis(50);

/// The collector.
struct Prober {
    desk: Rc<Desk>,
    engine: Option<Engine>,
}

impl Prober {
    fn new(settings: Settings) -> Self {
        Prober { desk: Rc::new(Desk::new(settings, Instant::now())), engine: None }
    }

    async fn open(&mut self) -> Result<()> {
        let settings = self.desk.state().settings.clone();
        for line in &settings.locked {
            log::warn!(target: ROW.name, "{line}");
        }
        let engine = Engine::open(&settings).await?;
        for (option, via) in [("interface4", &settings.via4), ("interface6", &settings.via6)] {
            if let Via::Interface(name) = via
                && !engine.paths().has(name)
            {
                log::warn!(target: ROW.name, "probe.{option}: there is no interface {name} now; it is used once it is there");
            }
        }
        let mut state = self.desk.state();
        state.follow(engine.paths().gateways(&settings), Instant::now());
        state.refresh(Instant::now());
        drop(state);
        self.engine = Some(engine);
        Ok(())
    }

    async fn open_once(&mut self) -> Result<()> {
        self.open().await?;
        let desk = self.desk.clone();
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let first_results = async {
            let end = Instant::now() + ONCE;
            while Instant::now() < end && !desk.state().has_results() {
                Timer::after(LOOK).await;
            }
            Ok(())
        };
        let failure = async { Err(engine.run(&self.desk).await) };
        first_results.or(failure).await
    }

    fn collect(&mut self, page: &mut Page) -> Result<()> {
        let Some(engine) = &mut self.engine else { return Err(Error::failed("probe", "the collector is not open")) };
        let now = Instant::now();
        let mut state = self.desk.state();
        engine.receive(&mut state, now);
        engine.settle(&mut state);
        state.refresh(now);
        report::of_configuration(&mut state, page);
        page.single(&metrics::OVERRUNS, engine.paths().overruns());
        Ok(())
    }
}

impl Collector for Prober {
    fn interval(&self) -> Duration {
        self.desk.state().settings.page_interval
    }

    fn open(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(Prober::open(self))
    }

    fn open_once(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(Prober::open_once(self))
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(async { Prober::collect(self, page) })
    }

    fn between(&mut self) -> LocalFuture<'_, Error> {
        Box::pin(async {
            match &mut self.engine {
                Some(engine) => engine.run(&self.desk).await,
                None => std::future::pending().await,
            }
        })
    }

    fn reconfigure(&mut self, config: &Config) -> Result<Reload> {
        let settings = Settings::read(config)?;
        for line in &settings.locked {
            log::warn!(target: ROW.name, "{line}");
        }
        if let Some(engine) = &mut self.engine {
            engine.reconfigure(&settings, &mut self.desk.state());
        }
        let gateways = self.engine.as_ref().map(|engine| engine.paths().gateways(&settings));
        self.desk.reconfigure(settings, Instant::now());
        if let Some(gateways) = gateways {
            self.desk.state().follow(gateways, Instant::now());
        }
        Ok(Reload::Done)
    }

    fn desk(&self) -> Option<Rc<Desk>> {
        Some(self.desk.clone())
    }
}
