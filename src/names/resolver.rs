//! Asks DNS servers for the names of addresses, in the background and never more than is good for a home router.
//!
//! [`Resolver::want`] puts an address on a short list, [`Resolver::work`] asks for those on it, a few at a time, and
//! [`Resolver::name`] tells what came out. Everything under way is kept here and not in the future that drives it, so
//! that may be dropped at any time. Each question has a number and a port of its own that nobody can foresee, and its
//! socket is connected: an answer of anyone but the server that was asked never arrives. What is known is asked again
//! after an hour, what has no name after ten minutes; while no server answers at all, once a minute.

use std::collections::{BTreeMap, VecDeque};
use std::future::{self, Future};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};

use super::dns::{self, Answer};
use super::resolv_conf::ResolvConf;
use super::table;
use super::watched::State;
use crate::files;
use crate::sys::interfaces::interfaces;

/// Most addresses that wait to be asked for; those beyond come back with the next collection.
const MAX_QUEUE: usize = 256;
/// Most questions at a time.
const MAX_FLIGHTS: usize = 4;
/// Most addresses about which something is known.
const MAX_KNOWN: usize = 1024;
/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many servers are asked for one address, or how often the only one is.
const MAX_TRIES: usize = 2;
/// How long a name holds.
const NAMED: Duration = Duration::from_secs(3600);
/// How long the lack of a name holds.
const NAMELESS: Duration = Duration::from_secs(600);
/// How long nobody is asked when no server answers.
const REST: Duration = Duration::from_secs(60);
/// Most datagrams that are looked at for one question at a time.
const MAX_DATAGRAMS: usize = 8;
/// Most of resolv.conf that is read, in bytes.
const MAX_CONF: u64 = 64 * 1024;

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
    whom: ReverseDns,
    /// What resolv.conf said in this state, with our own servers if there are any.
    conf: ResolvConf,
    state: Option<State>,
    /// Which server answered last; it is asked first.
    first: usize,
    queue: VecDeque<IpAddr>,
    flights: Vec<Flight>,
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

/// A question under way.
#[derive(Debug)]
struct Flight {
    addr: IpAddr,
    id: u16,
    server: usize,
    tries: usize,
    deadline: Instant,
    socket: Async<UdpSocket>,
}

impl Resolver {
    /// Asks nobody and opens nothing before [`Resolver::work`].
    pub fn new(whom: ReverseDns) -> Self {
        Resolver {
            whom,
            conf: ResolvConf::parse("", |_| None),
            state: None,
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
        if !self.queue.contains(&addr) && !self.flights.iter().any(|flight| flight.addr == addr) {
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
        let Some(deadline) = self.flights.iter().map(|flight| flight.deadline).min() else {
            return future::pending().await;
        };
        let mut timer = Timer::at(deadline);
        future::poll_fn(|cx| {
            let mut is_ready = Pin::new(&mut timer).poll(cx).is_ready();
            // Each one is polled, for each is to wake us.
            for flight in &self.flights {
                is_ready |= flight.socket.poll_readable(cx).is_ready();
            }
            if is_ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Asks for the next addresses, as long as few are under way.
    fn send(&mut self, now: Instant) {
        if self.queue.is_empty() {
            return;
        }
        self.read_conf();
        while self.flights.len() < MAX_FLIGHTS
            && let Some(addr) = self.queue.pop_front()
        {
            self.ask(addr, self.first, 0, now);
        }
    }

    /// Asks one server, or the next one if that cannot even be sent to.
    fn ask(&mut self, addr: IpAddr, server: usize, tries: usize, now: Instant) {
        for (server, tries) in (server..).zip(tries..MAX_TRIES) {
            let server = server % self.conf.servers.len().max(1);
            let Some(to) = self.conf.servers.get(server) else { break };
            let id = random();
            match open(*to, &dns::query(id, &addr)) {
                Ok(socket) => {
                    self.flights.push(Flight { addr, id, server, tries, deadline: now + PATIENCE, socket });
                    return;
                }
                Err(error) => log::debug!("names: cannot ask {to} for the name of {addr}: {error}"),
            }
        }
        self.nobody_answers(addr, now);
    }

    /// Takes in what has arrived, then ends what has taken too long.
    fn receive(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(flight) = self.flights.get(index) {
            let outcome = flight.receive();
            if matches!(outcome, Outcome::Waiting) && now < flight.deadline {
                index += 1;
                continue;
            }
            let Flight { addr, server, tries, .. } = self.flights.swap_remove(index);
            if let Outcome::Told(_) = outcome {
                self.answers_come(now);
            }
            match outcome {
                Outcome::Told(Answer::Name(name)) => {
                    let name = dns::client_name(&name, &addr, &self.conf.domains).and_then(table::clean);
                    self.told(addr, server, name, now);
                }
                Outcome::Told(Answer::Failed(_)) if tries + 1 >= MAX_TRIES => self.told(addr, server, None, now),
                Outcome::Told(Answer::Nobody) => self.told(addr, server, None, now),
                // A question that takes the place of this one stands behind the others, and is looked at in its turn.
                _ => self.ask(addr, server + 1, tries + 1, now),
            }
        }
    }

    fn told(&mut self, addr: IpAddr, server: usize, name: Option<Arc<str>>, now: Instant) {
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
            let servers: Vec<_> = self.conf.servers.iter().map(SocketAddr::to_string).collect();
            log::warn!("names: no answer to reverse DNS from {}; it is tried from time to time", servers.join(", "));
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

    /// Reads resolv.conf if it has changed.
    fn read_conf(&mut self) {
        let path = &self.whom.resolv_conf;
        let state = Some(State::of(path));
        if state == self.state {
            return;
        }
        self.state = state;
        let text = files::read_lines(path, MAX_CONF).unwrap_or_else(|error| {
            log::warn!("names: cannot read {}: {error}", path.display());
            None
        });
        let text = text.unwrap_or_default().bytes;
        self.conf = ResolvConf::parse(&String::from_utf8_lossy(&text), ifindex);
        if !self.whom.servers.is_empty() {
            self.conf.servers.clone_from(&self.whom.servers);
        }
        self.first = 0;
    }
}

/// What became of a question.
enum Outcome {
    Told(Answer),
    /// There is no answer yet.
    Waiting,
    /// There will be none: the server's machine says that nobody listens.
    Refused,
}

impl Flight {
    /// Looks at what has arrived; what is no answer to the question, such as one that somebody forged, is ignored.
    fn receive(&self) -> Outcome {
        let mut buf = [0; dns::MAX_ANSWER];
        for _ in 0..MAX_DATAGRAMS {
            match self.socket.get_ref().recv(&mut buf) {
                Ok(len) => match dns::answer(buf.get(..len).unwrap_or(&[]), self.id, &self.addr) {
                    Ok(Answer::Unasked) | Err(_) => {}
                    Ok(answer) => return Outcome::Told(answer),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Waiting,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Outcome::Refused,
            }
        }
        Outcome::Waiting
    }
}

/// A socket that takes nothing but what this server sends, with the query on its way.
pub(super) fn open(server: SocketAddr, query: &[u8]) -> io::Result<Async<UdpSocket>> {
    let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0))?;
    // From here on the kernel keeps to itself what comes from anywhere else.
    socket.connect(server)?;
    let socket = Async::new(socket)?;
    socket.get_ref().send(query)?;
    Ok(socket)
}

/// The number of an interface.
pub(super) fn ifindex(name: &str) -> Option<u32> {
    interfaces().ok()?.into_iter().find(|(_, known)| known == name).map(|(index, _)| index)
}

/// Bits nobody can foresee: the keys of the standard library's hash maps come from the system's random source.
pub(super) fn random() -> u16 {
    let [.., a, b] = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([a, b])
}

#[cfg(test)]
mod tests;
