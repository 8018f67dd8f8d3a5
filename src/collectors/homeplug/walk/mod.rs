//! One walk through the powerline networks: whom to ask what, and what the answers say. Pure: it is handed frames and the
//! time, and says which frame is due.
//!
//! It begins with questions to one address (the near adapters, all, or one), and asks each adapter that answers or is
//! listed by another, once each. Of an adapter it knows nothing of it tries one kind of message after the other. An adapter
//! has one question to answer at a time, so that small processors keep up. It is over a second after the last news.

mod counts;

use std::time::{Duration, Instant};

use super::answer::{self, Answer};
use super::codec::link::Link;
use super::codec::mediaxtream::{self, Side};
use super::codec::network::{Network, Station, may_be_adapter};
use super::codec::standard::{self, Heard, Rates};
use super::codec::version::{self, Version};
use super::codec::{BROADCAST, ERROR, Fit, LOCAL, Mme, Question};
use crate::names::Mac;

pub use counts::{Counts, Reason};

/// A walk is over so long after the last news.
pub const QUIET: Duration = Duration::from_secs(1);
/// A walk is over so long after its beginning, news or not.
pub const LONGEST: Duration = Duration::from_secs(5);
/// After so long the next question is asked; an answer to the last one counts nevertheless, until the walk is over.
const PATIENCE: Duration = Duration::from_millis(200);
/// After a question to everybody, so long those answer before they are asked one by one.
const GATHER: Duration = Duration::from_millis(100);
/// Stations kept in one walk, of all adapters together.
const MAX_STATIONS: usize = 1024;
/// Networks kept of one adapter.
const MAX_NETWORKS: usize = 16;

/// Questions about the networks of an adapter, in the order in which an unknown one is asked them.
const LADDER: [Question; 4] =
    [Question::Networks1, Question::Networks0, Question::StandardNetworks, Question::BroadcomNetworks];

/// Those of them that Qualcomm's chips answer.
const QUALCOMM_LADDER: &[Question] = &[Question::Networks1, Question::Networks0];

/// What the user asked for.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whom to ask first.
    pub destination: Mac,
    /// Whether to ask for more than networks and rates, and in other ways than Qualcomm's.
    pub extended: bool,
    /// Most adapters asked.
    pub max_devices: usize,
}

/// An adapter that answered or was listed by one that did.
#[derive(Debug)]
pub struct Device {
    /// Its address.
    pub mac: Mac,
    /// Number of the interface it is reached through.
    pub interface: usize,
    /// Its networks with its peers there.
    pub networks: Vec<Network>,
    /// Chip and firmware of a Qualcomm adapter.
    pub version: Option<Version>,
    /// Chip, firmware and uptime of a Broadcom adapter.
    pub station: Option<mediaxtream::Station>,
    /// Counters of links, by peer.
    pub links: Vec<(Mac, Link)>,
    /// The question that told its networks, to be asked first next time.
    pub answers_to: Option<Question>,
    heard: Vec<Heard>,
    asked: u16,
    answered: u16,
    todo: Vec<Question>,
    /// The question it is to answer now, or none, until the next one may be asked.
    waiting: (Option<Question>, Instant),
}

impl Device {
    /// Whether it answered anything.
    pub fn is_up(&self) -> bool {
        self.answered != 0
    }

    /// How many stations it lists, in all its networks.
    pub fn stations(&self) -> usize {
        self.networks.iter().map(|network| network.stations.len()).sum()
    }

    /// Whether another answer about its networks is better than the one there is.
    fn wants(&self, question: Question) -> bool {
        let place = |question| LADDER.iter().position(|step| *step == question);
        self.answers_to.is_none_or(|known| place(question) < place(known))
    }

    fn ask(&mut self, questions: &[Question]) {
        for question in questions {
            let is_done = match question {
                Question::Link(peer) => self.links.iter().any(|(known, _)| known == peer),
                _ => (self.asked | self.answered) & question.bit() != 0,
            };
            if !is_done && self.waiting.0 != Some(*question) && !self.todo.contains(question) {
                self.todo.push(*question);
            }
        }
    }

    /// The answer that was waited for has come, or will not come.
    fn go_on(&mut self, now: Instant) {
        self.waiting = (None, now);
    }

    /// What follows from having waited in vain.
    fn was_silent(&mut self, question: Question) {
        match question {
            Question::StandardRates2 => self.ask(&[Question::StandardRates1]),
            // One that does not tell of one link does not tell of the others.
            Question::Link(_) => self.todo.retain(|next| !matches!(next, Question::Link(_))),
            _ => {}
        }
    }
}

/// A question that is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send {
    /// Number of the interface.
    pub interface: usize,
    /// To whom.
    pub destination: Mac,
    /// What.
    pub question: Question,
}

/// A walk under way, and what it has found.
#[derive(Debug)]
pub struct Walk {
    rules: Rules,
    /// Adapters in the order in which they were found.
    pub devices: Vec<Device>,
    /// What was counted.
    pub counts: Counts,
    /// Adapters whose firmware does not run, by what they say of themselves.
    pub boot_loaders: Vec<Version>,
    first: Vec<Send>,
    /// Questions that anybody may answer.
    asked: u16,
    begun: Instant,
    news: Instant,
    stations: usize,
}

impl Walk {
    /// Begins a walk on `interfaces` interfaces.
    pub fn new(rules: Rules, interfaces: usize, now: Instant) -> Self {
        let mut walk = Walk {
            rules,
            devices: Vec::new(),
            counts: Counts::default(),
            boot_loaders: Vec::new(),
            first: Vec::new(),
            asked: 0,
            begun: now,
            news: now,
            stations: 0,
        };
        // Old chips do not know version 1, new ones tell the whole rate in it only.
        let mut questions = vec![(rules.destination, Question::Networks1), (rules.destination, Question::Networks0)];
        if rules.extended {
            questions.push((rules.destination, Question::Version));
            let is_local = rules.destination == LOCAL;
            if !is_local {
                questions.push((rules.destination, Question::Stations));
            }
            // Broadcom's do not listen to the address that means the near ones, but tell on which side they are.
            questions.push((if is_local { BROADCAST } else { rules.destination }, Question::BroadcomDiscover));
        }
        for (destination, question) in questions {
            walk.asked |= question.bit();
            walk.first.extend((0..interfaces).map(|interface| Send { interface, destination, question }));
        }
        // Taken from the end.
        walk.first.reverse();
        walk
    }

    /// The next question that is due, until there is none.
    pub fn due(&mut self, now: Instant, remembered: &dyn Fn(Mac) -> Option<Question>) -> Option<Send> {
        if let Some(send) = self.first.pop() {
            self.counts.requests += 1;
            return Some(send);
        }
        for device in self.devices.iter_mut().filter(|device| device.waiting.1 <= now) {
            if let Some(question) = device.waiting.0.take() {
                device.was_silent(question);
            }
            // What kind of message it answered before is what it is asked first.
            if device.asked == 0
                && let Some(at) = remembered(device.mac).and_then(|known| device.todo.iter().position(|q| *q == known))
            {
                device.todo.swap(0, at);
            }
            if device.todo.is_empty() {
                continue;
            }
            let question = device.todo.remove(0);
            device.asked |= question.bit();
            device.waiting = (Some(question), now + PATIENCE);
            self.counts.requests += 1;
            return Some(Send { interface: device.interface, destination: device.mac, question });
        }
        None
    }

    /// When something is due or the walk is over, whichever comes first.
    pub fn wake(&self) -> Instant {
        let pending = |device: &&Device| device.waiting.0.is_some() || !device.todo.is_empty();
        let due = self.devices.iter().filter(pending).map(|device| device.waiting.1);
        due.fold(self.end(), Instant::min)
    }

    /// Whether nothing more is to be expected.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.end()
    }

    fn end(&self) -> Instant {
        (self.news + QUIET).min(self.begun + LONGEST)
    }

    /// Takes in a frame, and says why it is not used, if it is not.
    pub fn take(&mut self, frame: &[u8], interface: usize, now: Instant) -> Option<Reason> {
        let used =
            super::codec::read(frame).map_err(|_| Reason::Malformed).and_then(|mme| self.mme(&mme, interface, now));
        match used {
            Ok(()) => {
                self.counts.answers += 1;
                self.news = now;
            }
            Err(reason) => self.counts.reject(reason),
        }
        used.err()
    }

    fn mme(&mut self, mme: &Mme<'_>, interface: usize, now: Instant) -> Result<(), Reason> {
        if mme.source == LOCAL {
            // The one whose firmware does not run has no address of its own.
            return self.boot_loader(mme);
        }
        if !may_be_adapter(mme.source) {
            return Err(Reason::Source);
        }
        let found = self.devices.iter().position(|device| device.mac == mme.source);
        if mme.kind == ERROR {
            return self.refused(mme, found, now);
        }
        let device = found.and_then(|at| self.devices.get(at));
        let asked = self.asked | device.map_or(0, |device| device.asked);
        let question = question(mme, asked)?;
        let (answered, expected) = device.map_or((0, None), |device| (device.answered, device.waiting.0));
        match question {
            // Any number of links are asked for; the one that is awaited is told by its place.
            Question::Link(_) if !matches!(expected, Some(Question::Link(_))) => return Err(Reason::Unasked),
            Question::Link(_) => {}
            _ if answered & question.bit() != 0 => return Err(Reason::Duplicate),
            _ => {}
        }
        if found.is_none() && self.devices.len() >= self.rules.max_devices {
            return Err(Reason::Limit);
        }
        let (answer, problem) = answer::read(mme, question);
        let answer = answer.ok_or(Reason::Malformed)?;
        if answer == Answer::Side(Side::Remote) && self.rules.destination == LOCAL {
            return Err(Reason::Unasked);
        }
        let at = match found {
            Some(at) => at,
            None => self.add(mme.source, interface).ok_or(Reason::Limit)?,
        };
        if problem.is_some() {
            // What could be read is as good as any.
            self.counts.reject(Reason::Malformed);
        }
        self.answer(at, question, answer, now)
    }

    /// What an adapter has answered, and whom and what to ask next.
    fn answer(&mut self, at: usize, question: Question, answer: Answer, now: Instant) -> Result<(), Reason> {
        let Some(device) = self.devices.get_mut(at) else { return Err(Reason::Limit) };
        if let (Question::Link(_), Answer::Link(link)) = (question, &answer) {
            let (Some(Question::Link(peer)), _) = device.waiting else { return Err(Reason::Unasked) };
            let tei = device.networks.iter().flat_map(|network| &network.stations).find(|peers| peers.mac == peer);
            match link {
                // One that comes too late is about another peer.
                Some(link) if tei.and_then(|peers| peers.tei) != Some(link.tei) => return Err(Reason::Unasked),
                Some(link) => device.links.push((peer, *link)),
                None => device.was_silent(question),
            }
        }
        device.answered |= question.bit();
        if device.waiting.0.is_some_and(|waiting| waiting.bit() == question.bit()) {
            device.go_on(now);
        }
        let mut peers: Vec<Mac> = Vec::new();
        match answer {
            Answer::Networks(networks) => peers = self.networks(at, question, networks),
            Answer::Rates(rates) => peers = self.rates(at, &rates),
            Answer::Heard(heard) => {
                // One that is Qualcomm's tells its networks unasked; others are asked once that is clear.
                if device.answers_to.is_none() && device.waiting.0.is_none() {
                    device.ask(&[Question::StandardNetworks, Question::BroadcomNetworks]);
                    device.waiting.1 = now + PATIENCE;
                }
                peers.extend(heard.iter().filter(|heard| heard.is_same_network).map(|heard| heard.mac));
                device.heard = heard;
            }
            Answer::Side(_) => device.ask(&[Question::BroadcomNetworks]),
            Answer::Version(version) => device.version = version,
            Answer::Station(station) => device.station = Some(station),
            Answer::Link(_) => {}
        }
        self.fill_in(at);
        self.ask_peers(at, peers, now);
        Ok(())
    }

    /// Takes over the networks of an adapter, unless better ones are known; returns its peers.
    fn networks(&mut self, at: usize, question: Question, networks: Vec<Network>) -> Vec<Mac> {
        let extended = self.rules.extended;
        // Version 1 has the whole rates, and only Qualcomm's own messages have the stations.
        let Some(device) = self.devices.get_mut(at).filter(|device| device.wants(question)) else { return Vec::new() };
        device.answers_to = Some(question);
        device.todo.retain(|next| !LADDER.contains(next));
        self.stations -= device.stations();
        device.networks = networks;
        match question {
            // Who answers what everybody is asked has been asked for its version, too.
            Question::Networks1 | Question::Networks0 if extended && device.asked & question.bit() != 0 => {
                device.ask(&[Question::Version]);
            }
            Question::StandardNetworks => device.ask(&[Question::StandardRates2, Question::Stations]),
            Question::BroadcomNetworks => {
                let first = device.networks.first().map(|network| Question::BroadcomRates(network.nid));
                device.ask(first.as_slice());
                device.ask(&[Question::BroadcomStation]);
            }
            _ => {}
        }
        let peers = self.tidy(at);
        if let (Question::Networks1 | Question::Networks0, true, Some(device)) =
            (question, extended, self.devices.get_mut(at))
        {
            peers.iter().for_each(|peer| device.ask(&[Question::Link(*peer)]));
        }
        peers
    }

    /// Takes over rates that came apart from the networks, unless those have brought their own; returns the peers.
    fn rates(&mut self, at: usize, rates: &[Rates]) -> Vec<Mac> {
        let Some(device) = self.devices.get_mut(at) else { return Vec::new() };
        device.answered |= Question::StandardRates1.bit() | Question::StandardRates2.bit();
        if matches!(device.answers_to, Some(Question::Networks1 | Question::Networks0)) {
            return Vec::new();
        }
        self.stations -= device.stations();
        let stations = rates.iter().map(|rates| Station {
            mac: rates.mac,
            tei: None,
            bridged: None,
            tx: rates.tx,
            rx: rates.rx,
            coupling: None,
        });
        // They do not say of which network they are; an adapter passes data in one.
        if let Some(network) = device.networks.first_mut() {
            network.stations = stations.collect();
        }
        self.tidy(at)
    }

    /// Has those asked that an adapter has listed and that are not known yet.
    fn ask_peers(&mut self, at: usize, peers: Vec<Mac>, now: Instant) {
        let Some(interface) = self.devices.get(at).map(|device| device.interface) else { return };
        for peer in peers {
            if self.devices.iter().any(|device| device.mac == peer) {
                continue;
            }
            if self.add(peer, interface).is_none() {
                self.counts.reject(Reason::Limit);
            } else if let Some(device) = self.devices.last_mut() {
                device.ask(if self.rules.extended { &LADDER } else { QUALCOMM_LADDER });
                let everybody = self.rules.destination == BROADCAST;
                device.waiting.1 = if everybody { now.max(self.begun + GATHER) } else { now };
            }
        }
    }

    /// Adds an adapter and returns its place; none if there are too many.
    fn add(&mut self, mac: Mac, interface: usize) -> Option<usize> {
        let at = self.devices.len();
        if at >= self.rules.max_devices {
            return None;
        }
        self.devices.push(Device {
            mac,
            interface,
            networks: Vec::new(),
            version: None,
            station: None,
            links: Vec::new(),
            answers_to: None,
            heard: Vec::new(),
            asked: 0,
            answered: 0,
            todo: Vec::new(),
            waiting: (None, self.begun),
        });
        Some(at)
    }

    /// Takes out of the networks of an adapter what may not be there, so that no figure has two values: the adapter itself,
    /// a station or network that is listed twice, and what is beyond the bounds. Returns the peers that are left.
    fn tidy(&mut self, at: usize) -> Vec<Mac> {
        let Some(device) = self.devices.get_mut(at) else { return Vec::new() };
        let (own, counts) = (device.mac, &mut self.counts);
        let networks = std::mem::take(&mut device.networks);
        for mut network in networks {
            if device.networks.iter().any(|kept| kept.nid == network.nid) {
                counts.reject(Reason::Malformed);
                continue;
            }
            if device.networks.len() >= MAX_NETWORKS {
                counts.reject(Reason::Limit);
                continue;
            }
            let stations = std::mem::take(&mut network.stations);
            for station in stations {
                if station.mac == own || network.stations.iter().any(|kept| kept.mac == station.mac) {
                    counts.reject(Reason::Malformed);
                } else if self.stations >= MAX_STATIONS {
                    counts.reject(Reason::Limit);
                } else {
                    self.stations += 1;
                    network.stations.push(station);
                }
            }
            device.networks.push(network);
        }
        let mut peers: Vec<Mac> = device.networks.iter().flat_map(|network| &network.stations).map(|s| s.mac).collect();
        peers.dedup();
        peers
    }

    /// Fills in the identifiers that messages of the specification spread over several of them.
    fn fill_in(&mut self, at: usize) {
        let Some(device) = self.devices.get_mut(at) else { return };
        let (own, heard) = (device.mac, &device.heard);
        let tei_of = |mac: Mac| heard.iter().find(|heard| heard.mac == mac).map(|heard| heard.tei);
        for network in &mut device.networks {
            network.cco_tei = network.cco_tei.or_else(|| match network.cco == own {
                true => Some(network.tei),
                false => tei_of(network.cco),
            });
            for station in &mut network.stations {
                station.tei = station.tei.or_else(|| tei_of(station.mac));
            }
        }
    }

    fn boot_loader(&mut self, mme: &Mme<'_>) -> Result<(), Reason> {
        if question(mme, self.asked)? != Question::Version {
            return Err(Reason::Source);
        }
        if self.boot_loaders.len() >= self.rules.max_devices {
            return Err(Reason::Limit);
        }
        let version = version::read(mme).map_err(|_| Reason::Malformed)?;
        self.boot_loaders.extend(version);
        Ok(())
    }

    /// An adapter says that it does not know a message: nothing is to be waited for.
    fn refused(&mut self, mme: &Mme<'_>, found: Option<usize>, now: Instant) -> Result<(), Reason> {
        let device = found.and_then(|at| self.devices.get_mut(at));
        if let (Some(refusal), Some(device)) = (standard::refusal(mme), device)
            && let Some(waiting) = device.waiting.0
            && waiting.is(refusal.version, refusal.kind)
        {
            device.was_silent(waiting);
            device.go_on(now);
        }
        Err(Reason::Refused)
    }
}

/// Which of the questions that were asked a message answers.
fn question(mme: &Mme<'_>, asked: u16) -> Result<Question, Reason> {
    let mut reason = Reason::Unasked;
    for kind in Question::KINDS.into_iter().filter(|kind| asked & kind.bit() != 0) {
        match mme.fit(kind) {
            Fit::Answer => return Ok(kind),
            Fit::Oui => reason = Reason::Oui,
            Fit::Version => reason = Reason::Version,
            Fit::Other => {}
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests;
