//! Asks DNS servers for the names of addresses, in the background and never more than is good for a home router.
//!
//! [`Resolver::want`] puts an address on a short list, [`Resolver::work`] asks for those on it, a few at a time, and
//! [`Resolver::name`] tells what came out. Everything under way is kept here and not in the future that drives it, so
//! that may be dropped at any time. What is known is asked again after an hour, what has no name after ten minutes; while
//! no server answers at all, once a minute.

use std::collections::{BTreeMap, VecDeque};
use std::future::{self, Future};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::Timer;

use super::dns::{self, Answer};
use super::flight::{self, Flight, Outcome, Question};
use super::servers::Servers;
use super::table;
use crate::error::Malformed;
use crate::sys::alarm;

/// Most addresses that wait to be asked for; those beyond come back with the next collection.
const MAX_QUEUE: usize = 256;
/// Most questions at a time.
const MAX_FLIGHTS: usize = 4;
/// Most addresses about which something is known.
const MAX_KNOWN: usize = 1024;
/// How long a name holds.
const NAMED: Duration = Duration::from_secs(3600);
/// How long the lack of a name holds.
const NAMELESS: Duration = Duration::from_secs(600);
/// How long nobody is asked when no server answers.
const REST: Duration = Duration::from_secs(60);

/// Who is asked for the names of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseDns {
    /// DNS servers; with none, those of `resolv_conf`.
    pub servers: Vec<SocketAddr>,
    /// The file with servers and local domains, as in resolv.conf(5).
    pub resolv_conf: PathBuf,
}

/// What reverse DNS says, and what is being asked.
#[derive(Debug)]
pub struct Resolver {
    servers: Servers,
    /// Which server answered last; it is asked first.
    first: usize,
    queue: VecDeque<IpAddr>,
    flights: Vec<Flight<IpAddr>>,
    known: BTreeMap<IpAddr, Known>,
    /// Something has become known since the last look.
    news: bool,
    /// How many questions in a row nobody answered.
    unanswered: usize,
    /// Nobody is asked before this time.
    rest: Option<Instant>,
}

/// What is known about an address.
#[derive(Debug)]
struct Known {
    name: Option<Arc<str>>,
    until: Instant,
    /// Whether a server said so, and not just none said anything.
    is_answer: bool,
}

impl Question for IpAddr {
    type Answer = Answer;

    fn query(&self, id: u16) -> Vec<u8> {
        dns::query(id, self)
    }

    fn answer(&self, message: &[u8], id: u16) -> Result<Option<Answer>, Malformed> {
        Ok(Some(dns::answer(message, id, self)?).filter(|answer| *answer != Answer::Unasked))
    }

    fn wanted(&self) -> String {
        format!("the name of {self}")
    }
}

impl Resolver {
    /// Asks nobody and opens nothing before [`Resolver::work`].
    pub fn new(whom: ReverseDns) -> Self {
        Resolver {
            servers: Servers::new(whom.servers, whom.resolv_conf),
            first: 0,
            queue: VecDeque::new(),
            flights: Vec::new(),
            known: BTreeMap::new(),
            news: false,
            unanswered: 0,
            rest: None,
        }
    }

    /// Has an address asked for, unless that was done lately.
    pub fn want(&mut self, addr: IpAddr, now: Instant) {
        let is_known = |known: &Known| known.until > now;
        let is_full = || self.known.len() >= MAX_KNOWN && self.known.values().all(is_known);
        let is_needless = match self.known.get(&addr) {
            Some(known) => is_known(known),
            None => is_full(),
        };
        let is_resting = self.rest.is_some_and(|rest| now < rest);
        if is_needless || is_resting || self.queue.len() >= MAX_QUEUE {
            return;
        }
        if !self.queue.contains(&addr) && !self.flights.iter().any(|flight| flight.question == addr) {
            self.queue.push_back(addr);
        }
    }

    /// The name of an address, as far as it is known.
    pub fn name(&self, addr: &IpAddr) -> Option<&str> {
        self.known.get(addr)?.name.as_deref()
    }

    /// Sends questions and takes answers in; returns when a name has become known. Without a question under way it
    /// waits for ever, since only [`Resolver::want`] brings the next one. Safe to be dropped and called again.
    pub async fn work(&mut self) {
        loop {
            self.receive(Instant::now());
            self.send(Instant::now());
            if std::mem::take(&mut self.news) {
                return;
            }
            self.wait().await;
        }
    }

    /// Waits for an answer, or for the first deadline.
    async fn wait(&self) {
        let Some(deadline) = flight::first_deadline(&self.flights) else { return future::pending().await };
        let mut timer = Timer::at(deadline);
        alarm::woken(|cx| Pin::new(&mut timer).poll(cx).is_ready() | flight::poll_any(&self.flights, cx)).await;
    }

    /// Asks for the next addresses, as long as few are under way.
    fn send(&mut self, now: Instant) {
        if self.queue.is_empty() {
            return;
        }
        if self.servers.refresh() {
            self.first = 0;
        }
        while self.flights.len() < MAX_FLIGHTS
            && let Some(addr) = self.queue.pop_front()
        {
            let flight = Flight::start(addr, &self.servers.conf().servers, self.first, now);
            self.await_or_give_up(flight, now);
        }
    }

    fn await_or_give_up(&mut self, flight: Result<Flight<IpAddr>, IpAddr>, now: Instant) {
        match flight {
            Ok(flight) => self.flights.push(flight),
            Err(addr) => self.nobody_answers(addr, now),
        }
    }

    /// Takes in what has arrived, then ends what has taken too long.
    fn receive(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(flight) = self.flights.get(index) {
            let Some(outcome) = flight.outcome(now) else {
                index += 1;
                continue;
            };
            let flight = self.flights.swap_remove(index);
            let (addr, server) = (flight.question, flight.server);
            if let Outcome::Answered(_) = outcome {
                self.answers_come(now);
            }
            match outcome {
                Outcome::Answered(Answer::Name(name)) => {
                    let name = dns::client_name(&name, &addr, &self.servers.conf().domains).and_then(table::clean);
                    self.record(addr, server, name, now);
                }
                Outcome::Answered(Answer::Failed(_)) if flight.is_last_try() => self.record(addr, server, None, now),
                Outcome::Answered(Answer::Nobody) => self.record(addr, server, None, now),
                // A question that takes the place of this one stands behind the others, and is looked at in its turn.
                _ => {
                    let flight = flight.again(&self.servers.conf().servers, now);
                    self.await_or_give_up(flight, now);
                }
            }
        }
    }

    /// A question is answered, or can be answered no better: with a name, or with there being none.
    fn record(&mut self, addr: IpAddr, server: usize, name: Option<Arc<str>>, now: Instant) {
        self.first = server;
        self.news |= name.is_some() && name.as_deref() != self.name(&addr);
        let until = now + if name.is_some() { NAMED } else { NAMELESS };
        self.learn(addr, Known { name, until, is_answer: true }, now);
    }

    /// A server says something. If there was none before, what went unanswered may be asked again.
    fn answers_come(&mut self, now: Instant) {
        if self.unanswered >= MAX_FLIGHTS {
            log::info!("names: reverse DNS is answered again");
            self.known.values_mut().filter(|known| !known.is_answer).for_each(|known| known.until = now);
        }
        (self.unanswered, self.rest) = (0, None);
    }

    /// An address keeps its name when no server answers. When none does for several addresses, all wait.
    fn nobody_answers(&mut self, addr: IpAddr, now: Instant) {
        let name = self.known.remove(&addr).and_then(|known| known.name);
        self.learn(addr, Known { name, until: now + NAMELESS, is_answer: false }, now);
        self.unanswered += 1;
        if self.unanswered >= MAX_FLIGHTS {
            self.rest = Some(now + REST);
            self.queue.clear();
        }
        if self.unanswered == MAX_FLIGHTS {
            let servers = self.servers.list();
            log::warn!("names: no answer to reverse DNS from {servers}; it is tried from time to time");
        }
    }

    fn learn(&mut self, addr: IpAddr, known: Known, now: Instant) {
        if self.known.len() >= MAX_KNOWN {
            self.known.retain(|_, known| known.until > now);
        }
        if self.known.len() < MAX_KNOWN || self.known.contains_key(&addr) {
            self.known.insert(addr, known);
        }
    }
}

#[cfg(test)]
mod tests;
