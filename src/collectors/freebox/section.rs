//! A group of the box's API as it is kept: its figures, when it is read again, and what is wrong with it.

use std::time::{Duration, Instant};

use super::NAME;
use super::client::{Client, Fault, Refusal};
use super::groups::{Context, Group, Replies};
use super::table;
use crate::error::Error;
use crate::metrics::Page;

/// How long what this box does not have is left alone.
const ABSENT: Duration = Duration::from_secs(3600);
/// Likewise what we lack a right for: somebody may be about to give it.
const DENIED: Duration = Duration::from_secs(300);
/// After so many paces without success a group's figures are dropped.
const STALE_PACES: u32 = 3;
/// Timers are not exact: what is due within this is due.
const SLACK: Duration = Duration::from_millis(500);

/// A group and what is known of it.
pub struct Section {
    /// What is read.
    pub group: &'static Group,
    /// The figures that were read last.
    pub page: Page,
    /// When it was last tried.
    pub tried: Option<Instant>,
    /// How long it is left alone after that.
    pub pause: Duration,
    /// How long the last try took.
    pub took: Duration,
    /// How often it is read while all is well.
    pace: Duration,
    /// When its figures were read.
    read: Option<Instant>,
    /// Why it cannot be read, as it was told.
    trouble: Option<String>,
}

impl Section {
    /// A group that was never read; none is read more often than each interval.
    pub fn new(group: &'static Group, interval: Duration) -> Self {
        let pace = interval.max(Duration::from_secs(group.pace.into()));
        let (page, took) = (Page::new(), Duration::ZERO);
        Section { group, page, tried: None, pause: pace, took, pace, read: None, trouble: None }
    }

    /// Whether it is to be read in the round that has begun `now`.
    pub fn is_due(&self, now: Instant) -> bool {
        self.tried.is_none_or(|tried| tried < now && now.duration_since(tried) + SLACK >= self.pause)
    }

    /// Its turn in the round that has begun `now`.
    pub fn begin(&mut self, now: Instant) {
        (self.tried, self.pause) = (Some(now), self.pace);
    }

    /// Makes its figures anew.
    pub fn fill(&mut self, replies: &Replies, context: &Context, per_host: bool, points: bool) {
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

    /// Whether it could be read last time.
    pub fn is_well(&self) -> bool {
        self.trouble.is_none() && self.read.is_some()
    }

    /// It was read at this time.
    pub fn well(&mut self, at: Instant) {
        self.read = Some(at);
        if self.trouble.take().is_some() {
            log::info!(target: NAME, "{} can be read again", self.group.name);
        }
    }

    /// It could not be read, which is told once, and again if the reason changes. What all others would fail for, too, comes
    /// back as an error.
    pub fn failed(&mut self, fault: Fault) -> Option<Error> {
        if let Fault::Refused(refusal) = &fault {
            // What is not there any more is not shown any longer.
            self.read = None;
            self.pause = match refusal.code {
                _ if self.group.always => self.pace,
                "insufficient_rights" => DENIED.max(self.pace),
                "invalid_request" => ABSENT.max(self.pace),
                _ => self.pace,
            };
        }
        let concerns_all = matches!(fault, Fault::Login(_)) || self.group.name == "connection";
        let error = fault.into_error(&format!("read {}", self.group.name));
        if concerns_all {
            return Some(error);
        }
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            log::warn!(target: NAME, "{trouble}; the rest goes on");
            self.trouble = Some(trouble);
        }
        None
    }

    /// Drops figures that are too old to be shown.
    pub fn drop_if_stale(&mut self, now: Instant) {
        if self.read.is_none_or(|read| now.saturating_duration_since(read) >= self.pace * STALE_PACES) {
            self.page.clear();
        }
    }
}

/// Asks for everything a group is made of.
///
/// # Errors
/// The right for it is not ours, or its first answers cannot be had.
pub async fn read(client: &mut Client, group: &Group, version: u32) -> Result<Replies, Fault> {
    if let Some(right) = group.right.filter(|right| client.lacks(right)) {
        // A session keeps the rights it began with.
        client.renew(DENIED / 2).await;
        if client.lacks(right) {
            return Err(Fault::Refused(Refusal::lacking(right)));
        }
    }
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
