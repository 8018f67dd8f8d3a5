//! What is remembered of adapters from one walk to the next: when they answered, and to what.

use std::time::{Duration, Instant};

use super::codec::Question;
use super::walk::Walk;
use crate::names::Mac;
use crate::sorted::Sorted;

/// An adapter that neither answers nor is listed by another is forgotten after this time.
const FORGET: Duration = Duration::from_secs(3600);
/// Walks for which an adapter is first asked what it answered before. Then all is tried again: firmware changes, and what was
/// lost on the way is no refusal.
const WALKS: u8 = 8;

/// The adapters of the last hour.
#[derive(Debug, Default)]
pub struct Memory {
    adapters: Sorted<Mac, Adapter>,
}

/// What is remembered of one adapter.
#[derive(Debug, Clone, Copy)]
pub struct Adapter {
    /// Whether it answered in the last walk.
    pub is_up: bool,
    /// When it last answered.
    pub seen: Option<Instant>,
    /// When it last answered or was listed.
    mentioned: Instant,
    /// What it answered, and for how many walks that is asked first.
    answers_to: Option<(Question, u8)>,
}

impl Memory {
    /// What an adapter is to be asked first.
    pub fn first_question(&self, mac: Mac) -> Option<Question> {
        self.adapters.get(&mac)?.answers_to.map(|(question, _)| question)
    }

    /// Every adapter, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&Mac, &Adapter)> {
        self.adapters.iter()
    }

    /// Takes in what a walk has found, and keeps at most `limit` adapters.
    pub fn update(&mut self, walk: &Walk, limit: usize, now: Instant) {
        for (_, adapter) in self.adapters.iter_mut() {
            adapter.is_up = false;
            adapter.answers_to =
                adapter.answers_to.and_then(|(question, walks)| Some((question, walks.checked_sub(1)?)));
        }
        for device in &walk.devices {
            let mut adapter = self.adapters.get(&device.mac).copied().unwrap_or(Adapter {
                is_up: false,
                seen: None,
                mentioned: now,
                answers_to: None,
            });
            (adapter.is_up, adapter.mentioned) = (device.is_up(), now);
            if device.is_up() {
                adapter.seen = Some(now);
            }
            match device.answers_to {
                // That is what all are asked first anyway.
                Some(Question::Networks1) => adapter.answers_to = None,
                Some(question) if adapter.answers_to.is_none() => adapter.answers_to = Some((question, WALKS)),
                _ => {}
            }
            self.adapters.insert(device.mac, adapter);
        }
        self.adapters.retain(|_, adapter| now.saturating_duration_since(adapter.mentioned) < FORGET);
        while self.adapters.len() > limit {
            let oldest = self.adapters.iter().min_by_key(|(_, adapter)| (adapter.mentioned, adapter.seen));
            let Some(oldest) = oldest.map(|(mac, _)| *mac) else { break };
            self.adapters.remove(&oldest);
        }
    }
}
