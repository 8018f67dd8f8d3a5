//! The operator's box (Freebox) through its API: the line, the box itself, its switch, Wi-Fi, LAN, disks and more.
//!
//! [`client`] finds the API and keeps one session; [`groups`] say what is asked and what figures come of it, by tables
//! that [`table`] walks. Each group is read at its own pace and keeps its figures until it is read again, and what is
//! wrong with one of them harms no other.

mod check;
mod client;
pub mod credentials;
pub mod fold;
pub mod groups;
pub mod http;
pub mod json;
mod metrics;
pub mod register;
pub mod secret;
mod settings;
mod socket;
pub mod table;
#[cfg_attr(feature = "tls", path = "tls_rustls.rs")]
mod tls;

use std::time::{Duration, Instant};

use super::{Collector, LocalFuture, Reload, Row};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Page;
use crate::sorted::Sorted;
use crate::sys::clock;
use client::{Client, Fault};
use groups::{Context, Group, Replies};
use settings::{SECTION, Settings};

/// Section, label and log target.
const NAME: &str = "freebox";
/// What a round may take where the supervisor gives it ten seconds: it ends by itself before it counts as hung.
const SHORTEST_ROUND: Duration = Duration::from_millis(8500);
/// How long what this box does not have, or does not let us see, is left alone.
const ABSENT: Duration = Duration::from_secs(3600);
/// Likewise what we lack a right for: somebody may be about to give it.
const DENIED: Duration = Duration::from_secs(300);
/// How long the place of the API holds.
const PLACE: Duration = Duration::from_secs(3600);
/// After so many paces without success a group's figures are dropped.
const STALE_PACES: u32 = 3;
/// How many groups may get no answer before a round is given up.
const MAX_UNANSWERED: usize = 2;
/// A group that began so much later than the round did not have all of it.
const HEAD_START: Duration = Duration::from_secs(1);
/// How long the box may take to hear that a session is over.
const FAREWELL: Duration = Duration::from_millis(300);

/// This collector as the rest of the program sees it.
pub const ROW: Row = Row {
    name: NAME,
    section: &SECTION,
    metrics: &metrics::ALL,
    capabilities: |_| &[],
    prepare: |_| {},
    build: |config| Ok(Box::new(Freebox::new(Settings::read(config)?))),
    check: check::check,
    clean: |_| Ok(Vec::new()),
};

/// The collector.
struct Freebox {
    settings: Settings,
    client: Option<Client>,
    sections: Vec<Section>,
    context: Context,
    /// The name of the board, once it is known.
    board: Option<String>,
    /// Failed requests by code.
    errors: Sorted<&'static str, u64>,
    /// When the place of the API was last asked for.
    found: Option<Instant>,
}

/// A group and what is known of it.
struct Section {
    group: &'static Group,
    page: Page,
    /// When it was last tried.
    tried: Option<Instant>,
    /// When its figures were read.
    read: Option<Instant>,
    /// How long it is left alone after that.
    pause: Duration,
    /// Why it cannot be read, as it was told.
    trouble: Option<String>,
    took: Duration,
}

impl Freebox {
    fn new(settings: Settings) -> Self {
        let section = |index: &usize| {
            let group = groups::ALL.get(*index)?;
            let pause = settings.interval.max(Duration::from_secs(group.pace.into()));
            let (page, took) = (Page::new(), Duration::ZERO);
            Some(Section { group, page, tried: None, read: None, pause, trouble: None, took })
        };
        let sections = settings.groups.iter().filter_map(section).collect();
        Freebox {
            settings,
            client: None,
            sections,
            context: Context::default(),
            board: None,
            errors: Sorted::default(),
            found: None,
        }
    }

    async fn collect(&mut self, page: &mut Page) -> Result<()> {
        let begun = Instant::now();
        let round = self.settings.interval.mul_f32(0.85).max(SHORTEST_ROUND);
        let tried = || format!("read {}", self.settings.endpoint.host);
        let Some(client) = &mut self.client else { return Err(Error::failed(tried(), "it is not open")) };
        client.begin(begun + round);
        if self.found.is_none_or(|found| begun.duration_since(found) >= PLACE) {
            client.forget_place();
            self.found = None;
        }
        if let Err(fault) = client.open().await {
            count(&mut self.errors, fault.code());
            client.forget_place();
            return Err(fault.into_error(&tried()));
        }
        let Some(place) = client.place() else { return Err(Error::failed(tried(), "its API was not found")) };
        (self.context.version, self.context.now) = (place.version, clock::unix_now() as u64);
        self.context.box_model.clone_from(&place.model);
        self.found = self.found.or(Some(begun));
        self.read_due(begun, page.wants_points()).await?;
        self.write(page);
        Ok(())
    }

    /// Reads the groups that are due, those that have waited longest first.
    async fn read_due(&mut self, now: Instant, points: bool) -> Result<()> {
        let switch_first = self.settings.patch_rate_up;
        let is_due = |section: &&mut Section| {
            section.tried.is_none_or(|tried| tried < now && now.duration_since(tried) + SLACK >= section.pause)
        };
        // The line is what the collector is for; its upload may be the switch's.
        let order = |section: &&mut Section| {
            let rank = match section.group.name {
                "switch" if switch_first => 0,
                "connection" => 1,
                _ => 2,
            };
            (rank, section.tried)
        };
        let mut unanswered = 0;
        while let Some(section) = self.sections.iter_mut().filter(is_due).min_by_key(order) {
            let Some(client) = &mut self.client else { break };
            if client.is_late() || unanswered >= MAX_UNANSWERED {
                break;
            }
            let (group, begun) = (section.group, Instant::now());
            section.tried = Some(now);
            let pace = self.settings.interval.max(Duration::from_secs(group.pace.into()));
            section.pause = pace;
            let outcome = match group.right.filter(|right| client.lacks(right)) {
                Some(right) => Err(Fault::Refused(client::Refusal::lacking(right))),
                None => read(client, group, self.context.version).await,
            };
            section.took = begun.elapsed();
            let fault = match outcome {
                Ok(replies) => {
                    if group.name == "switch" && switch_first {
                        self.context.upload = groups::switch::upload(&replies);
                    } else if group.name == "sys" {
                        self.board = groups::system::board(&replies);
                    }
                    section.fill(&replies, &self.context, self.settings.per_host, points);
                    section.read = Some(begun);
                    section.well();
                    continue;
                }
                Err(fault) => fault,
            };
            if let Fault::Transport(_) = &fault
                && client.is_late()
                && begun.saturating_duration_since(now) > HEAD_START
            {
                // The round was over before the group was: it has its turn in the next one.
                section.pause = Duration::ZERO;
                break;
            }
            count(&mut self.errors, fault.code());
            if let Fault::Login(error) = fault {
                return Err(error);
            }
            if let Fault::Transport(_) = &fault {
                unanswered += 1;
            }
            if let Fault::Refused(refusal) = &fault {
                section.read = None;
                section.pause = match refusal.code {
                    _ if group.always => pace,
                    "insufficient_rights" => DENIED.max(pace),
                    "invalid_request" => ABSENT.max(pace),
                    _ => pace,
                };
            }
            let is_line = group.name == "connection";
            let error = fault.into_error(&format!("read {}", group.name));
            if is_line {
                // Perhaps it is another box by now, or none.
                self.found = None;
                return Err(error);
            }
            section.unwell(error.to_string());
        }
        for section in &mut self.sections {
            let pace = self.settings.interval.max(Duration::from_secs(section.group.pace.into()));
            if section.read.is_none_or(|read| now.saturating_duration_since(read) >= pace * STALE_PACES) {
                section.page.clear();
            }
        }
        Ok(())
    }

    fn write(&self, page: &mut Page) {
        for section in &self.sections {
            page.append(&section.page);
        }
        let Some((client, place)) = self.client.as_ref().and_then(|client| Some((client, client.place()?))) else {
            return;
        };
        let api = page.labels(&[&place.version, &place.url]);
        page.family(&metrics::API_INFO);
        page.sample(api, 1u64);
        let tried = || self.sections.iter().filter(|section| section.tried.is_some());
        let labels: Vec<_> = tried().map(|section| page.labels(&[&section.group.name])).collect();
        page.family(&metrics::UP);
        tried().zip(&labels).for_each(|(section, labels)| page.sample(*labels, section.is_well()));
        page.family(&metrics::DURATION);
        tried().zip(&labels).for_each(|(section, labels)| page.sample(*labels, section.took.as_secs_f64()));
        let labels: Vec<_> = self.errors.keys().map(|code| page.labels(&[code])).collect();
        page.family(&metrics::ERRORS);
        self.errors.values().zip(&labels).for_each(|(count, labels)| page.sample(*labels, *count));
        page.single(&metrics::LOGINS, client.logins);
        let labels: Vec<_> = client.rights.iter().map(|(right, _)| page.labels(&[right])).collect();
        page.family(&metrics::PERMISSION);
        client.rights.iter().zip(&labels).for_each(|((_, granted), labels)| page.sample(*labels, *granted));
        if page.wants_points() {
            let board = self.board.as_deref().unwrap_or("");
            let tags: [&dyn std::fmt::Display; 6] =
                [&"hw_board", &board, &"api_endpoint", &place.url, &"api_version", &place.version];
            let tags = page.labels(&tags);
            page.set_common_tags(tags);
        }
    }
}

fn count(errors: &mut Sorted<&'static str, u64>, code: &'static str) {
    let before = errors.get(&code).copied().unwrap_or(0);
    errors.insert(code, before + 1);
}

/// Timers are not exact: what is due within this is due.
const SLACK: Duration = Duration::from_millis(500);

/// Asks for everything a group is made of.
async fn read(client: &mut Client, group: &Group, version: u32) -> Result<Replies, Fault> {
    let mut replies = Replies::default();
    let mut refused = None;
    for path in (group.first)(version) {
        match client.get(path).await {
            Ok(doc) => replies.0.push(Some(doc)),
            Err(Fault::Refused(refusal)) => {
                replies.0.push(None);
                refused = refused.or(Some(refusal));
            }
            Err(fault) => return Err(fault),
        }
    }
    if let (Some(refusal), true) = (refused, replies.0.iter().all(Option::is_none)) {
        return Err(Fault::Refused(refusal));
    }
    for path in (group.more)(&replies) {
        match client.get(&path).await {
            Ok(doc) => replies.0.push(Some(doc)),
            Err(Fault::Refused(_) | Fault::Malformed(_)) => replies.0.push(None),
            Err(fault) => return Err(fault),
        }
    }
    Ok(replies)
}

impl Section {
    fn fill(&mut self, replies: &Replies, context: &Context, per_host: bool, points: bool) {
        if points && !self.page.wants_points() {
            self.page = Page::with_points();
        }
        self.page.clear();
        let mut records = Vec::new();
        (self.group.records)(replies, context, &mut records);
        table::write_families(&mut self.page, self.group.families, &records, per_host);
        if points {
            table::write_points(&mut self.page, self.group.forms, &records);
        }
    }

    fn is_well(&self) -> bool {
        self.trouble.is_none() && self.read.is_some()
    }

    fn well(&mut self) {
        if self.trouble.take().is_some() {
            log::info!(target: NAME, "{} can be read again", self.group.name);
        }
    }

    /// Told once, and again if the reason changes.
    fn unwell(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            log::warn!(target: NAME, "{trouble}; the rest goes on");
            self.trouble = Some(trouble);
        }
    }
}

impl Collector for Freebox {
    fn interval(&self) -> Duration {
        self.settings.interval
    }

    fn open(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async {
            let credentials = credentials::read(&self.settings.credentials)?;
            if credentials.is_none() {
                return Err(register::missing(&self.settings));
            }
            self.client = Some(Client::new(self.settings.clone(), credentials)?);
            Ok(())
        })
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(Freebox::collect(self, page))
    }

    fn close(&mut self) -> LocalFuture<'_, ()> {
        Box::pin(async {
            if let Some(client) = &mut self.client {
                client.begin(Instant::now() + FAREWELL);
                client.logout().await;
            }
        })
    }

    fn reconfigure(&mut self, config: &Config) -> Result<Reload> {
        Ok(if Settings::read(config)? == self.settings { Reload::Done } else { Reload::Rebuild })
    }
}
