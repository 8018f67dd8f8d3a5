//! A question to DNS servers under way: sent to one server after the other until one answers or all have had their time.
//!
//! Each question has a number and a port of its own that nobody can foresee, and its socket is connected: an answer of
//! anyone but the server that was asked never arrives. What does arrive and is no answer is ignored.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::task::Context;
use std::time::{Duration, Instant};

use async_io::Async;

use super::dns::MAX_ANSWER;
use crate::error::Malformed;

/// How long a server may take.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How many servers are asked one question, or how often the only one is.
const MAX_TRIES: usize = 2;
/// Most datagrams that are looked at for one question at a time.
const MAX_DATAGRAMS: usize = 8;

/// Something that DNS servers can be asked.
pub trait Question {
    /// What a server says to it.
    type Answer;

    /// Its bytes, with this number.
    fn query(&self, id: u16) -> Vec<u8>;

    /// Reads what came back for the question with this number; `None` if it is no answer to it.
    fn answer(&self, message: &[u8], id: u16) -> Result<Option<Self::Answer>, Malformed>;

    /// What is asked for, in words for a log, as they read after "for".
    fn wanted(&self) -> String;
}

/// A question under way.
#[derive(Debug)]
pub struct Flight<Q> {
    /// What was asked.
    pub question: Q,
    /// Which server was asked last.
    pub server: usize,
    /// When that one's time is over.
    pub deadline: Instant,
    tries: usize,
    id: u16,
    socket: Async<UdpSocket>,
}

/// What became of a question to one server.
#[derive(Debug)]
pub enum Outcome<A> {
    /// The server has answered.
    Answered(A),
    /// There will be no answer: its time is over, or its machine says that nobody listens.
    Silence,
}

impl<Q: Question> Flight<Q> {
    /// Asks a server, counted from 0, or those behind it if that cannot even be sent to.
    ///
    /// # Errors
    /// The question, if there is nobody to ask it.
    pub fn start(question: Q, servers: &[SocketAddr], first: usize, now: Instant) -> Result<Self, Q> {
        Self::ask(question, servers, first, 0, now)
    }

    /// Asks the next server.
    ///
    /// # Errors
    /// The question, if it was asked often enough.
    pub fn again(self, servers: &[SocketAddr], now: Instant) -> Result<Self, Q> {
        Self::ask(self.question, servers, self.server + 1, self.tries + 1, now)
    }

    fn ask(question: Q, servers: &[SocketAddr], server: usize, tries: usize, now: Instant) -> Result<Self, Q> {
        for (server, tries) in (server..).zip(tries..MAX_TRIES) {
            let server = server % servers.len().max(1);
            let Some(to) = servers.get(server) else { break };
            let id = random();
            match open(*to, &question.query(id)) {
                Ok(socket) => return Ok(Flight { question, server, deadline: now + PATIENCE, tries, id, socket }),
                Err(error) => log::debug!("names: cannot ask {to} for {}: {error}", question.wanted()),
            }
        }
        Err(question)
    }

    /// Whether no other server is asked after this one.
    pub fn is_last_try(&self) -> bool {
        self.tries + 1 >= MAX_TRIES
    }

    /// What has become of it, if anything has.
    pub fn outcome(&self, now: Instant) -> Option<Outcome<Q::Answer>> {
        self.receive().or_else(|| (now >= self.deadline).then_some(Outcome::Silence))
    }

    fn receive(&self) -> Option<Outcome<Q::Answer>> {
        let mut buf = [0; MAX_ANSWER];
        for _ in 0..MAX_DATAGRAMS {
            match self.socket.get_ref().recv(&mut buf) {
                Ok(len) => {
                    if let Ok(Some(answer)) = self.question.answer(buf.get(..len).unwrap_or(&[]), self.id) {
                        return Some(Outcome::Answered(answer));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Some(Outcome::Silence),
            }
        }
        None
    }
}

/// Whether anything has arrived for any of them; each one wakes the task when something does. Whoever is woken looks whether
/// there is an outcome, whatever this says then: see [`alarm::woken`](crate::sys::alarm::woken).
pub fn poll_any<Q>(flights: &[Flight<Q>], cx: &mut Context<'_>) -> bool {
    // Each one is polled, for each is to wake us.
    flights.iter().fold(false, |is_ready, flight| flight.socket.poll_readable(cx).is_ready() | is_ready)
}

/// When the first of them has waited long enough.
pub fn first_deadline<Q>(flights: &[Flight<Q>]) -> Option<Instant> {
    flights.iter().map(|flight| flight.deadline).min()
}

fn open(server: SocketAddr, query: &[u8]) -> io::Result<Async<UdpSocket>> {
    let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0))?;
    // From here on the kernel keeps to itself what comes from anywhere else.
    socket.connect(server)?;
    let socket = Async::new(socket)?;
    socket.get_ref().send(query)?;
    Ok(socket)
}

/// Bits nobody can foresee: the keys of the standard library's hash maps come from the system's random source.
fn random() -> u16 {
    let [.., a, b] = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([a, b])
}

#[cfg(test)]
pub(super) mod tests;
