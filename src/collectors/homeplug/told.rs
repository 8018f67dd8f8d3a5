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
pub enum Told {
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
pub fn read(mme: &Mme<'_>, question: Question) -> (Option<Told>, Option<Malformed>) {
    match question {
        Question::Networks1 | Question::Networks0 => list(mme, network::read, Told::Networks),
        Question::StandardNetworks => list(mme, standard::networks, Told::Networks),
        Question::BroadcomNetworks => list(mme, mediaxtream::networks, Told::Networks),
        Question::StandardRates2 | Question::StandardRates1 => list(mme, standard::rates, Told::Rates),
        Question::BroadcomRates(_) => list(mme, mediaxtream::rates, Told::Rates),
        Question::Stations => list(mme, standard::stations, Told::Heard),
        Question::Version => whole(version::read(mme).map(Told::Version)),
        Question::Link(_) => whole(link::read(mme).map(Told::Link)),
        Question::BroadcomDiscover => whole(mediaxtream::discovered(mme).map(Told::Side)),
        Question::BroadcomStation => whole(mediaxtream::station(mme).map(Told::Station)),
    }
}

/// A list is as good as what could be read of it.
fn list<T>(
    mme: &Mme<'_>,
    read: fn(&Mme<'_>, &mut Vec<T>) -> Result<(), Malformed>,
    told: fn(Vec<T>) -> Told,
) -> (Option<Told>, Option<Malformed>) {
    let mut items = Vec::new();
    let problem = read(mme, &mut items).err();
    ((problem.is_none() || !items.is_empty()).then(|| told(items)), problem)
}

fn whole(told: Result<Told, Malformed>) -> (Option<Told>, Option<Malformed>) {
    match told {
        Ok(told) => (Some(told), None),
        Err(problem) => (None, Some(problem)),
    }
}
