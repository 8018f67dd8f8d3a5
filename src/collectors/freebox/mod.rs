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
mod section;
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
use groups::{Context, Upload};
use section::Section;
use settings::{SECTION, Settings};

/// Section, label and log target.
const NAME: &str = "freebox";
/// What a round may take where the supervisor gives it ten seconds: it ends by itself before it counts as hung.
const SHORTEST_ROUND: Duration = Duration::from_millis(8500);
/// How long the place of the API holds.
const PLACE: Duration = Duration::from_secs(3600);
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

impl Freebox {
    fn new(settings: Settings) -> Self {
        let sections: Vec<_> = settings.groups().map(|group| Section::new(group, settings.interval)).collect();
        let mut context = Context::default();
        if settings.patch_rate_up && sections.iter().any(|section| section.group.name == "switch") {
            context.upload = Upload::Switch(None);
        }
        Freebox { settings, client: None, sections, context, board: None, errors: Sorted::default(), found: None }
    }

    async fn collect(&mut self, page: &mut Page) -> Result<()> {
        let begun = Instant::now();
        let round = self.settings.interval.mul_f32(0.85).max(SHORTEST_ROUND);
        let tried = || format!("read {}", self.settings.endpoint.host);
        let missing = || register::missing(&self.settings);
        let Some(client) = &mut self.client else { return Err(Error::failed(tried(), "it is not open")) };
        client.begin(begun + round);
        if !client.has_session() {
            // The last one may be of no use any more, and there may be a new one.
            client.take_credentials(credentials::read(&self.settings.credentials)?.ok_or_else(missing)?);
        }
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

    /// Reads the groups that are due, one after the other.
    async fn read_due(&mut self, now: Instant, points: bool) -> Result<()> {
        let mut unanswered = 0;
        while let Some(section) = next_due(&mut self.sections, self.context.upload != Upload::Own, now) {
            let Some(client) = &mut self.client else { break };
            if client.is_late() || unanswered >= MAX_UNANSWERED {
                break;
            }
            let begun = Instant::now();
            section.begin(now);
            let outcome = section::read(client, section.group, self.context.version).await;
            section.took = begun.elapsed();
            match outcome {
                Ok(replies) => {
                    match (section.group.name, &mut self.context.upload) {
                        ("switch", Upload::Switch(upload)) => *upload = groups::switch::upload(&replies),
                        ("sys", _) => self.board = groups::system::board(&replies),
                        _ => {}
                    }
                    section.fill(&replies, &self.context, self.settings.per_host, points);
                    section.well(begun);
                }
                Err(Fault::Transport(_)) if client.is_late() && begun.saturating_duration_since(now) > HEAD_START => {
                    // The round was over before the group was: it has its turn in the next one.
                    section.pause = Duration::ZERO;
                    break;
                }
                Err(fault) => {
                    count(&mut self.errors, fault.code());
                    unanswered += usize::from(matches!(fault, Fault::Transport(_)));
                    if let ("switch", Upload::Switch(upload)) = (section.group.name, &mut self.context.upload) {
                        *upload = None;
                    }
                    if let Some(error) = section.failed(fault) {
                        // Perhaps it is another box by now, or none.
                        self.found = None;
                        return Err(error);
                    }
                }
            }
        }
        self.sections.iter_mut().for_each(|section| section.drop_if_stale(now));
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

/// Of the groups that are due the one that has waited longest. The line comes before all others, as it is what the collector
/// is for; its upload may be the switch's.
fn next_due(sections: &mut [Section], switch_first: bool, now: Instant) -> Option<&mut Section> {
    let order = |section: &&mut Section| {
        let rank = match section.group.name {
            "switch" if switch_first => 0,
            "connection" => 1,
            _ => 2,
        };
        (rank, section.tried)
    };
    sections.iter_mut().filter(|section| section.is_due(now)).min_by_key(order)
}

fn count(errors: &mut Sorted<&'static str, u64>, code: &'static str) {
    let before = errors.get(&code).copied().unwrap_or(0);
    errors.insert(code, before + 1);
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
