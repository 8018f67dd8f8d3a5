//! What really happened: each request with its replies, and the figures that follow from them.

use std::net::IpAddr;
use std::time::Duration;

use super::heard::What;
use super::rule::Flaw;
use super::sys;

/// How many requests the log holds.
pub(super) const MOST_REQUESTS: usize = 200_000;

/// A moment on both clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// CLOCK_MONOTONIC, which all differences here are of.
    pub monotonic: u64,
    /// CLOCK_REALTIME, which the kernel's stamps are of.
    pub realtime: u64,
}

/// What the rule had for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A reply or an error, which may still be under way.
    Answered,
    /// No reply, as the rule loses it.
    Lost,
    /// No reply, as nobody replies: UDP and filtered ports.
    Silent,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The address that was asked.
    pub destination: IpAddr,
    /// Who asked.
    pub source: IpAddr,
    /// What for.
    pub what: What,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// Whether IPv4 routers may not cut it up; always so with IPv6.
    pub dont_fragment: bool,
    /// Bytes of the packet, with its IP header.
    pub length: usize,
    /// When it was taken from the device, at some time after it was sent.
    pub read: Time,
    /// What the rule had for it.
    pub fate: Fate,
    /// What was sent back so far, in order.
    pub replies: Vec<Reply>,
}

/// What kind of packet a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of ICMP.
    EchoReply,
    /// Of an open port.
    SynAck,
    /// Of a closed port.
    Reset,
    /// An ICMP error.
    Error,
}

/// A packet that was sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How long after the request the rule wanted it sent, holding it for a successor apart.
    pub nominal: Duration,
    /// Right before it was put into the device.
    pub written: Time,
    /// Right after. The kernel's stamp of its arrival is between the two.
    pub done: Time,
    /// What kind of packet it is.
    pub kind: Kind,
    /// What is wrong with it.
    pub flaws: Vec<Flaw>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// A SYN-ACK that counts as sent again.
    pub retransmitted: bool,
}

/// Everything a responder saw and did.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// In the order they were read.
    pub requests: Vec<Request>,
    /// Address and port of each reset that came back for a SYN-ACK, at most as many as requests.
    pub resets: Vec<(IpAddr, u16)>,
    /// Packets with a wrong checksum or length, which no machine would answer.
    pub damaged: u64,
    /// Packets that ask for nothing: acknowledgements, reports of multicast groups, ...
    pub others: u64,
    /// Replies that the device did not take, as when it is down.
    pub refused: u64,
    /// Why the thread ended before it was told to, as when the device was removed.
    pub ended: Option<String>,
    pub(super) incomplete: Option<&'static str>,
    /// Counts how often the log was emptied.
    pub(super) volume: u64,
}

/// Requests to one address, or some of them.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// In the order they were read.
    pub requests: Vec<&'a Request>,
    resets: Vec<u16>,
}

/// Actual delays, in the order of the requests; nothing for a request that had no reply in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delays(Vec<Option<u64>>);

impl Time {
    pub(super) fn now() -> Self {
        Self { monotonic: sys::clock_ns(libc::CLOCK_MONOTONIC), realtime: sys::clock_ns(libc::CLOCK_REALTIME) }
    }
}

impl Log {
    /// What happened to requests to `ip`.
    pub fn to(&self, ip: impl Into<IpAddr>) -> Seen<'_> {
        let ip = ip.into();
        let resets = self.resets.iter().filter(|(from, _)| *from == ip).map(|(_, port)| *port);
        Seen {
            requests: self.requests.iter().filter(|request| request.destination == ip).collect(),
            resets: resets.collect(),
        }
    }

    /// What happened to all requests.
    pub fn all(&self) -> Seen<'_> {
        Seen { requests: self.requests.iter().collect(), resets: self.resets.iter().map(|(_, port)| *port).collect() }
    }

    pub(super) fn forget(&mut self) {
        *self = Self { volume: self.volume + 1, ended: self.ended.take(), ..Self::default() };
    }
}

impl<'a> Seen<'a> {
    /// Echo requests only.
    pub fn echoes(&self) -> Self {
        let echoes = self.requests.iter().filter(|request| matches!(request.what, What::Echo { .. }));
        Self { requests: echoes.copied().collect(), resets: Vec::new() }
    }

    /// SYNs to `port`, and the resets that came back to it.
    pub fn syns(&self, port: u16) -> Self {
        let is_syn = |request: &&&Request| matches!(request.what, What::Syn { to, .. } if to == port);
        Self {
            requests: self.requests.iter().filter(is_syn).copied().collect(),
            resets: self.resets.iter().filter(|to| **to == port).copied().collect(),
        }
    }

    /// How many requests there are.
    pub fn count(&self) -> usize {
        self.requests.len()
    }

    /// Requests that the rule did not answer.
    pub fn lost(&self) -> usize {
        self.requests.iter().filter(|request| request.fate == Fate::Lost).count()
    }

    /// Requests whose reply is still held or not due.
    pub fn waiting(&self) -> usize {
        self.requests.iter().filter(|request| request.fate == Fate::Answered && request.replies.is_empty()).count()
    }

    /// Requests with a sound reply no longer than `timeout` after they were read.
    pub fn answered_within(&self, timeout: Duration) -> usize {
        self.delays_within(timeout).count()
    }

    /// Requests whose first sound reply came after `timeout`.
    pub fn late_for(&self, timeout: Duration) -> usize {
        let answered = self.requests.iter().filter(|request| request.delay().is_some()).count();
        answered - self.answered_within(timeout)
    }

    /// Sound replies after the first to the same request.
    pub fn duplicates(&self) -> usize {
        self.requests.iter().map(|request| request.sound().count().saturating_sub(1)).sum()
    }

    /// Replies with something wrong.
    pub fn flawed(&self) -> usize {
        self.replies().filter(|(_, reply)| !reply.flaws.is_empty()).count()
    }

    /// ICMP errors sent.
    pub fn errors(&self) -> usize {
        self.replies().filter(|(_, reply)| reply.kind == Kind::Error).count()
    }

    /// Replies of one kind, sound or not.
    pub fn sent(&self, kind: Kind) -> usize {
        self.replies().filter(|(_, reply)| reply.kind == kind).count()
    }

    /// Resets that came back for SYN-ACKs.
    pub fn resets(&self) -> usize {
        self.resets.len()
    }

    /// First sound replies to requests that are older than one with a reply already (RFC 4737); for requests of one kind
    /// to one address.
    pub fn inversions(&self) -> usize {
        let first = |(n, request): (usize, &&'a Request)| Some((request.sound().next()?.written.monotonic, n));
        let mut order: Vec<(u64, usize)> = self.requests.iter().enumerate().filter_map(first).collect();
        order.sort_unstable();
        let mut newest = 0;
        let overtaken = order.into_iter().filter(|(_, n)| {
            let older = *n < newest;
            newest = newest.max(*n);
            older
        });
        overtaken.count()
    }

    /// From the reading of a request to its first sound reply, for replies within `timeout`.
    pub fn delays_within(&self, timeout: Duration) -> Delays {
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Delays(self.requests.iter().map(|request| request.delay().filter(|delay| *delay <= timeout)).collect())
    }

    /// From the reading of a request to its first sound reply, however late.
    pub fn delays(&self) -> Delays {
        self.delays_within(Duration::MAX)
    }

    /// TTLs or hop limits of all replies in the order of the requests.
    pub fn ttls(&self) -> Vec<u8> {
        self.replies().map(|(_, reply)| reply.ttl).collect()
    }

    fn replies(&self) -> impl Iterator<Item = (&'a Request, &'a Reply)> {
        self.requests.iter().flat_map(|request| request.replies.iter().map(move |reply| (*request, reply)))
    }
}

impl Request {
    /// Replies with nothing wrong; an error is none.
    pub fn sound(&self) -> impl Iterator<Item = &Reply> {
        self.replies.iter().filter(|reply| reply.flaws.is_empty() && reply.kind != Kind::Error)
    }

    /// Nanoseconds from its reading to the first sound reply.
    pub fn delay(&self) -> Option<u64> {
        self.sound().next().map(|reply| reply.written.monotonic - self.read.monotonic)
    }
}

impl Delays {
    /// Nanoseconds, in the order of the requests.
    pub fn nanoseconds(&self) -> &[Option<u64>] {
        &self.0
    }

    /// How many requests had a reply.
    pub fn count(&self) -> usize {
        self.known().count()
    }

    /// The shortest; none without replies.
    pub fn min(&self) -> Option<Duration> {
        self.known().min().map(Duration::from_nanos)
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        self.known().max().map(Duration::from_nanos)
    }

    /// The one in the middle, the upper of two.
    pub fn median(&self) -> Option<Duration> {
        let mut sorted: Vec<u64> = self.known().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().map(Duration::from_nanos)
    }

    /// The mean, to a nanosecond.
    pub fn mean(&self) -> Option<Duration> {
        mean(self.known())
    }

    /// The standard deviation over all of them (not that of a sample).
    pub fn deviation(&self) -> Option<Duration> {
        let mean = self.mean()?.as_secs_f64();
        let squares: f64 = self.known().map(|delay| (delay as f64 / 1e9 - mean).powi(2)).sum();
        Some(Duration::from_secs_f64((squares / self.count() as f64).sqrt()))
    }

    /// The mean |difference| of successive delays; a request without a reply separates its neighbours.
    pub fn mean_difference(&self) -> Option<Duration> {
        let pairs = self.0.windows(2).filter_map(|pair| Some(pair[0]?.abs_diff(pair[1]?)));
        mean(pairs)
    }

    fn known(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flatten().copied()
    }
}

fn mean(values: impl Iterator<Item = u64>) -> Option<Duration> {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| Duration::from_nanos(sum / count))
}
