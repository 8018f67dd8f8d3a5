//! An answer, read by the question it answers.

use super::codec::link::{self, Link};
use super::codec::mediaxtream::{self, Side};
use super::codec::network::{self, Network};
use super::codec::standard::{self, Heard, Rates};
use super::codec::version::{self, Version};
use super::codec::{Mme, Question};
use crate::error::Malformed;

/// What an adapter has told.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// Its networks, with its peers if they come along.
    Networks(Vec<Network>),
    /// Rates to its peers.
    Rates(Vec<Rates>),
    /// Stations it hears.
    Heard(Vec<Heard>),
    /// What it is, unless it cannot say.
    Version(Option<Version>),
    /// Counters of a link, unless it cannot say.
    Link(Option<Link>),
    /// Where it is plugged in.
    Side(Side),
    /// What a Broadcom adapter is.
    Station(mediaxtream::Station),
}

/// Reads an answer; what is wrong with it stands beside what could be read, which is none if there was nothing to read.
pub fn read(mme: &Mme<'_>, question: Question) -> (Option<Answer>, Option<Malformed>) {
    match question {
        Question::Networks1 | Question::Networks0 => list(mme, network::read, Answer::Networks),
        Question::StandardNetworks => list(mme, standard::networks, Answer::Networks),
        Question::BroadcomNetworks => list(mme, mediaxtream::networks, Answer::Networks),
        Question::StandardRates2 | Question::StandardRates1 => list(mme, standard::rates, Answer::Rates),
        Question::BroadcomRates(_) => list(mme, mediaxtream::rates, Answer::Rates),
        Question::Stations => list(mme, standard::stations, Answer::Heard),
        Question::Version => whole(version::read(mme).map(Answer::Version)),
        Question::Link(_) => whole(link::read(mme).map(Answer::Link)),
        Question::BroadcomDiscover => whole(mediaxtream::discovered(mme).map(Answer::Side)),
        Question::BroadcomStation => whole(mediaxtream::station(mme).map(Answer::Station)),
    }
}

/// A list is as good as what could be read of it.
fn list<T>(
    mme: &Mme<'_>,
    read: fn(&Mme<'_>, &mut Vec<T>) -> Result<(), Malformed>,
    answer: fn(Vec<T>) -> Answer,
) -> (Option<Answer>, Option<Malformed>) {
    let mut items = Vec::new();
    let problem = read(mme, &mut items).err();
    ((problem.is_none() || !items.is_empty()).then(|| answer(items)), problem)
}

fn whole(answer: Result<Answer, Malformed>) -> (Option<Answer>, Option<Malformed>) {
    match answer {
        Ok(answer) => (Some(answer), None),
        Err(problem) => (None, Some(problem)),
    }
}
