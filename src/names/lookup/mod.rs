//! The addresses of names, looked up in the background and never more than is good for a home router.
//!
//! [`Lookup::want`] puts a name on a list, [`Lookup::poll_work`] asks for those on it, a few at a time, and
//! [`Lookup::get`] tells what came out. The hosts file is believed before DNS; `localhost` and IPv4 addresses written as
//! names are answered without either. What a server says holds for its time to live, within [`MIN_HOLD`] and
//! [`MAX_HOLD`]; a failure for [`MIN_HOLD`]. Nothing is asked that nobody wants: what has become old is asked again when
//! it is next wanted, and meanwhile goes on being told. So do the addresses of a name that can no longer be looked up,
//! together with the trouble.
//!
//! Everything under way is kept here and not in a future, so a `Lookup` may live in a `RefCell` that is borrowed for each
//! call and never across an `await`.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;

use super::dns::forward::{self, Answer, Family};
use super::flight::{self, Flight, Outcome, Question};
use super::host_name::HostName;
use super::hosts::{self, Hosts};
use super::servers::Servers;
use super::watched::{self, Watched};
use crate::error::Malformed;
use crate::sorted::Sorted;

mod job;
pub mod known;

use job::{Job, Lack, Step};
pub use known::{Families, Known, Trouble};

/// Most names about which something is known or to become known.
pub const MAX_NAMES: usize = 256;
/// How long an answer holds at least, and how long a failure does.
pub const MIN_HOLD: Duration = Duration::from_secs(30);
/// How long an answer holds at most.
pub const MAX_HOLD: Duration = Duration::from_secs(300);
/// How long a name is kept at least that nobody wants any more, when another one needs its place.
const IDLE: Duration = MAX_HOLD;
/// Most names that are asked for at a time; there are two questions for each at most.
const MAX_JOBS: usize = 4;

/// Where addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// DNS servers; with none, those of `resolv_conf`.
    pub servers: Vec<SocketAddr>,
    /// The file with servers and search domains, as in resolv.conf(5).
    pub resolv_conf: PathBuf,
    /// The file with addresses and their names, as in hosts(5).
    pub hosts: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Sources { servers: Vec::new(), resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// What is known of names, and what is being asked.
#[derive(Debug)]
pub struct Lookup {
    servers: Servers,
    hosts: Watched<Hosts>,
    /// Which server is asked first: the one that answered last.
    first: usize,
    /// Those to be asked for; each has its entry, so there are no more than those.
    queue: VecDeque<Key>,
    jobs: Vec<Job>,
    flights: Vec<Flight<Asked>>,
    entries: Sorted<Key, Entry>,
    /// Something has changed since the last look.
    news: bool,
    /// Wakes the task that works.
    waker: Option<Waker>,
    timer: Option<(Instant, Timer)>,
}

/// A name that is wanted, and which addresses of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: HostName,
    families: Families,
}

#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    /// When it is to be asked for again.
    until: Instant,
    /// When it was wanted last.
    wanted: Instant,
}

/// A question for the addresses of one family that a name has, on the way to those of `key`.
#[derive(Debug)]
struct Asked {
    key: Key,
    name: HostName,
    family: Family,
}

impl Question for Asked {
    type Answer = Answer;

    fn query(&self, id: u16) -> Vec<u8> {
        forward::query(id, &self.name, self.family)
    }

    fn answer(&self, message: &[u8], id: u16) -> Result<Option<Answer>, Malformed> {
        let answer = forward::answer(message, id, &self.name, self.family)?;
        Ok(Some(answer).filter(|answer| *answer != Answer::Unasked))
    }

    fn wanted(&self) -> String {
        format!("the addresses of {}", self.name)
    }
}

impl Lookup {
    /// Asks nobody and opens nothing before [`Lookup::poll_work`].
    pub fn new(sources: Sources) -> Self {
        Lookup {
            servers: Servers::new(sources.servers, sources.resolv_conf),
            hosts: Watched::new(sources.hosts),
            first: 0,
            queue: VecDeque::new(),
            jobs: Vec::new(),
            flights: Vec::new(),
            entries: Sorted::default(),
            news: false,
            waker: None,
            timer: None,
        }
    }

    /// Has a name asked for unless what is known of it still holds, and wakes the task that works. Meant to be called
    /// whenever the addresses are used. False if there is no room: [`MAX_NAMES`] others were wanted in the last minutes.
    pub fn want(&mut self, name: &HostName, families: Families, now: Instant) -> bool {
        let key = Key { name: name.clone(), families };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted = now;
            if now < entry.until {
                return true;
            }
        } else if self.make_room(now) {
            self.entries.insert(key.clone(), Entry { known: None, until: now, wanted: now });
        } else {
            return false;
        }
        if !self.is_under_way(&key) {
            self.queue.push_back(key);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        true
    }

    /// What is known of a name by the same families as it was wanted with; `None` as long as nothing has come of asking,
    /// and if it was never wanted.
    pub fn get(&self, name: &HostName, families: Families) -> Option<&Known> {
        self.entries.get(&Key { name: name.clone(), families })?.known.as_ref()
    }

    /// Sends questions and takes answers in. Ready when something has become known or has changed, addresses or trouble;
    /// it is to be called again then. Otherwise the task is woken when there is more to do, by [`Lookup::want`], too. Only
    /// one task at a time is woken. `now` is the present: time-outs wake the task by the clock.
    pub fn poll_work(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        self.receive(now);
        self.send(now);
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
        if std::mem::take(&mut self.news) {
            return Poll::Ready(());
        }
        if self.poll_timer(cx) | flight::poll_any(&self.flights, cx) {
            // Looked at in its turn, with the time of then: a flood of datagrams does not hold the task up.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the time of a question is over; wakes the task when it is.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = flight::first_deadline(&self.flights);
        if self.timer.as_ref().map(|(at, _)| *at) != deadline {
            self.timer = deadline.map(|at| (at, Timer::at(at)));
        }
        let is_over = self.timer.as_mut().is_some_and(|(_, timer)| Pin::new(timer).poll(cx).is_ready());
        if is_over {
            self.timer = None;
        }
        is_over
    }

    /// Whether one more name fits in, perhaps in place of the one that was wanted longest ago.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.entries.len() < MAX_NAMES {
            return true;
        }
        let idle = |entry: &Entry| now.saturating_duration_since(entry.wanted) >= IDLE;
        let idle = self.entries.iter().filter(|(key, entry)| idle(entry) && !self.is_under_way(key));
        let oldest = idle.min_by_key(|(_, entry)| entry.wanted).map(|(key, _)| key.clone());
        oldest.is_some_and(|key| self.entries.remove(&key).is_some())
    }

    fn is_under_way(&self, key: &Key) -> bool {
        self.queue.contains(key) || self.jobs.iter().any(|job| job.key == *key)
    }

    /// Begins with the next names, as long as few are under way.
    fn send(&mut self, now: Instant) {
        if self.queue.is_empty() || self.jobs.len() >= MAX_JOBS {
            return;
        }
        if self.servers.refresh() {
            self.first = 0;
        }
        self.hosts.refresh(read_hosts);
        while self.jobs.len() < MAX_JOBS
            && let Some(key) = self.queue.pop_front()
        {
            let addrs = self.local(&key);
            if addrs.is_empty() {
                let candidates = key.name.candidates(&self.servers.conf().search);
                self.advance(Job::new(key, candidates), now);
            } else {
                self.learn(&key, Known::of(addrs, None), MIN_HOLD, now);
            }
        }
    }

    /// The addresses that are known without DNS.
    fn local(&self, key: &Key) -> Vec<IpAddr> {
        let is_wanted = |addr: &IpAddr| key.families.have(addr);
        if let Ok(addr) = key.name.bare().parse::<Ipv4Addr>() {
            return Some(IpAddr::from(addr)).filter(is_wanted).into_iter().collect();
        }
        if key.name.is_localhost() {
            let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return both.into_iter().filter(is_wanted).collect();
        }
        self.hosts.table.addrs(&key.name).filter(is_wanted).collect()
    }

    /// Takes a job as far as it goes without waiting.
    fn advance(&mut self, mut job: Job, now: Instant) {
        loop {
            match job.step() {
                Step::Wait => return self.jobs.push(job),
                Step::Done => return self.finish(job, now),
                Step::Ask(name) => {
                    for family in job.key.families.each() {
                        let asked = Asked { key: job.key.clone(), name: name.clone(), family };
                        match Flight::start(asked, &self.servers.conf().servers, self.first, now) {
                            Ok(flight) => self.flights.push(flight),
                            Err(_) => job.take(family, Err(Lack::Silence)),
                        }
                    }
                }
            }
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
            let server = flight.server;
            match outcome {
                Outcome::Answered(Answer::Failed(code)) if flight.is_last_try() => {
                    self.take(flight.question, Err(Lack::Failed(code)), now);
                }
                Outcome::Silence | Outcome::Answered(Answer::Failed(_) | Answer::Unasked) => {
                    // A question that takes the place of this one stands behind the others, and is looked at in its turn.
                    match flight.again(&self.servers.conf().servers, now) {
                        Ok(flight) => self.flights.push(flight),
                        Err(asked) => {
                            // There may be servers that were not tried yet.
                            self.first = server + 1;
                            self.take(asked, Err(Lack::Silence), now);
                        }
                    }
                }
                Outcome::Answered(answer) => {
                    self.first = server;
                    let found = match answer {
                        Answer::Addrs { addrs, ttl } => Ok((addrs, ttl)),
                        Answer::NoSuchName => Err(Lack::NoSuchName),
                        Answer::Cut => Err(Lack::Cut),
                        Answer::NoAddress | Answer::Failed(_) | Answer::Unasked => Err(Lack::NoAddress),
                    };
                    self.take(flight.question, found, now);
                }
            }
        }
    }

    /// Hands an answer to the job that waits for it.
    fn take(&mut self, asked: Asked, found: job::Found, now: Instant) {
        if let Some(index) = self.jobs.iter().position(|job| job.key == asked.key) {
            let mut job = self.jobs.swap_remove(index);
            job.take(asked.family, found);
            self.advance(job, now);
        }
    }

    fn finish(&mut self, job: Job, now: Instant) {
        let old = self.entries.get(&job.key).and_then(|entry| entry.known.as_ref());
        let (known, ttl) = job.result(old, || self.servers.list());
        // An answer with the lack of a name or address holds as short as a failure: it may be on its way to DNS.
        let hold = ttl.map_or(MIN_HOLD, |ttl| Duration::from_secs(ttl.into()).clamp(MIN_HOLD, MAX_HOLD));
        self.learn(&job.key, known, hold, now);
    }

    fn learn(&mut self, key: &Key, known: Known, hold: Duration, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.until = now + hold;
            self.news |= entry.known.as_ref() != Some(&known);
            entry.known = Some(known);
        }
    }
}

/// Reads the hosts file; one that is not there names nobody.
fn read_hosts(path: &Path) -> watched::Outcome<Hosts> {
    let (text, long) = super::read_text(path)?;
    let (table, unread) = Hosts::parse(&text);
    let full = || {
        format!(
            "{} has more than the {} names that are kept; the others are left out",
            path.display(),
            hosts::MAX_NAMES
        )
    };
    let trouble = table.is_full().then(full).or(long).or_else(|| unread.trouble(path));
    Ok((table, trouble))
}

#[cfg(test)]
mod tests;
