//! Collectors: each measures one subject and fills a page with it. None knows where the page goes.
//!
//! A collector is one row of [`ALL`] and one implementation of [`Collector`]; the [`crate::supervisor`] opens it, asks
//! it for its figures when they are due, and deals with its failures.

#[cfg(feature = "clients")]
pub mod clients;
#[cfg(feature = "freebox")]
pub mod freebox;
#[cfg(feature = "homeplug")]
pub mod homeplug;
pub mod interfaces;
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(any(feature = "clients", feature = "traffic"))]
mod single;
#[cfg(feature = "traffic")]
pub mod traffic;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::config::schema::{MAIN, SectionSpec, left_out, without};
use crate::error::{Error, Result};
use crate::metrics::{Desc, Page};
use crate::sys::caps::Capability;

/// Where others may ask to have somebody probed.
#[cfg(feature = "probe")]
pub use probe::desk::Desk;

/// There is none in a program that was built without the prober.
#[cfg(not(feature = "probe"))]
#[derive(Debug)]
pub enum Desk {}

/// Every collector that this program was built with, in the order of output.
pub static ALL: &[Row] = &[
    #[cfg(feature = "traffic")]
    traffic::ROW,
    #[cfg(feature = "clients")]
    clients::ROW,
    #[cfg(feature = "probe")]
    probe::ROW,
    #[cfg(feature = "homeplug")]
    homeplug::ROW,
    #[cfg(feature = "freebox")]
    freebox::ROW,
];

/// What the rest of the program knows of a collector before it runs.
#[derive(Debug)]
pub struct Row {
    /// Name of its section, of its `collector` label, and of the log target.
    pub name: &'static str,
    /// Its section in the configuration.
    pub section: &'static SectionSpec,
    /// All families it may write.
    pub metrics: &'static [&'static Desc],
    /// Capabilities it needs to be opened and to run, at start and whenever it is tried again.
    pub capabilities: fn(&Config) -> &'static [Capability],
    /// Does what takes more than these capabilities, once, before they are reduced. What fails here is found and told
    /// when the collector is opened.
    pub prepare: fn(&Config),
    /// Reads its section; opens nothing.
    pub build: fn(&Config) -> Result<Box<dyn Collector>>,
    /// Tells what it would use, and what this system lacks for it.
    pub check: fn(&Config) -> Vec<Finding>,
    /// Removes every trace that runs left on the system; returns what was removed, in words.
    pub clean: fn(&Config) -> Result<Vec<String>>,
}

/// A future on the one thread of the daemon.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A collector at work. All its state is its own; the supervisor calls one method at a time.
pub trait Collector {
    /// Time between two collections.
    fn interval(&self) -> Duration;

    /// Opens sockets and programs. Called once; after a failure a new collector is built and opened.
    fn open(&mut self) -> LocalFuture<'_, Result<()>>;

    /// Opens for a single collection, perhaps beside a daemon that runs.
    fn open_once(&mut self) -> LocalFuture<'_, Result<()>> {
        self.open()
    }

    /// Reads the figures into an empty page.
    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>>;

    /// Works between two collections, such as following kernel events; ends only by failing. It is dropped whenever a
    /// collection is due and called again after it, so it must keep its state in `self`.
    fn between(&mut self) -> LocalFuture<'_, Error> {
        Box::pin(std::future::pending())
    }

    /// Takes leave of whoever it has a session with, before it is dropped in order; it is not waited for long.
    fn close(&mut self) -> LocalFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Takes a new configuration over without losing counts.
    fn reconfigure(&mut self, config: &Config) -> Result<Reload>;

    /// Where others may ask to have somebody probed, for the collector that does so.
    fn desk(&self) -> Option<Rc<Desk>> {
        None
    }
}

/// What became of a new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The collector goes on with it.
    Done,
    /// It takes a new collector; this one is to be dropped first.
    Rebuild,
}

/// One line of `gatemeter check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it works.
    pub verdict: Verdict,
    /// What was found, and what to do if it does not work.
    pub text: String,
}

/// Whether something that was checked works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Ok,
    /// It works, with a loss that is told.
    Note,
    /// It does not work.
    Broken,
}

impl Finding {
    /// Something that works.
    pub fn ok(text: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Ok, text: text.into() }
    }

    /// Something that works less well than it could.
    pub fn note(text: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Note, text: text.into() }
    }

    /// Something that does not work, with the remedy.
    pub fn broken(text: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Broken, text: text.into() }
    }
}

/// The sections a configuration may have.
pub static SECTIONS: &[&SectionSpec] = &[
    &MAIN,
    #[cfg(feature = "traffic")]
    traffic::ROW.section,
    #[cfg(feature = "clients")]
    clients::ROW.section,
    #[cfg(feature = "probe")]
    probe::ROW.section,
    #[cfg(feature = "probe")]
    &probe::settings::TARGET_SECTION,
    #[cfg(feature = "homeplug")]
    homeplug::ROW.section,
    #[cfg(feature = "freebox")]
    freebox::ROW.section,
];

/// The rows that are to run: those named, or those whose section is enabled.
pub fn selected(config: &Config, named: Option<&[&str]>, place: &str) -> Result<Vec<&'static Row>> {
    let Some(named) = named else {
        let enabled = |row: &&'static Row| match config.section(row.section.kind).get("enabled").switch() {
            Ok(true) => Some(Ok(*row)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        return ALL.iter().collect::<Vec<_>>().iter().filter_map(enabled).collect();
    };
    let unknown = |name: &&&str| !ALL.iter().any(|row| row.name == **name);
    if let Some(name) = named.iter().find(unknown) {
        if let Some(collector) = left_out(name) {
            return Err(Error::invalid(place, without(collector)));
        }
        let names: Vec<_> = ALL.iter().map(|row| row.name).collect();
        let problem = format!("there is no collector '{name}', expected {}", names.join(", "));
        return Err(Error::invalid(place, problem));
    }
    Ok(ALL.iter().filter(|row| named.contains(&row.name)).collect())
}
