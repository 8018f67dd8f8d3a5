//! What a far end does with requests, and the counters and generators that decide it for each.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::heard::{Asked, What};
use super::log::{Fate, Kind};
use super::{ROUTER4, ROUTER6};

/// How long a machine waits before it sends a SYN-ACK again.
const SYN_ACK_AGAIN: Duration = Duration::from_secs(1);
/// How many addresses and ports can be told apart.
const MOST_COURSES: usize = 70_000;

/// How requests to an address are answered: at once and correctly, except for what is added here. `every` n-th means
/// the n-th, 2n-th and so on since the rule was set, of the echo requests or of the SYNs to one port; 0 is never.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    delay: Duration,
    jitter: Option<(Duration, u64)>,
    lose_every: u64,
    lose: Option<(f64, u64)>,
    late: (u64, Duration),
    duplicate_every: u64,
    reorder_every: u64,
    syn_ack_lost_every: u64,
    flaws: Vec<(u64, Flaw)>,
    errors: Vec<(u64, Error)>,
    ttl: Option<[u8; 2]>,
    ports: BTreeMap<u16, Port>,
    other_ports: Port,
}

/// What is wrong with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The checksum of ICMP or TCP. The kernel itself drops such packets of ICMPv6 and TCP for ordinary sockets, but
    /// hands raw ones those of IPv4.
    Checksum,
    /// Another identifier in an echo reply.
    Identifier,
    /// Other bytes at the start of an echo reply's payload.
    Cookie,
    /// Sent from a neighbour of the address that was asked.
    Source,
    /// Ends after so many bytes of ICMP or TCP, with lengths (and the checksum, if there is room for one) to match.
    Truncated(usize),
    /// From another port than the SYN went to.
    Port,
    /// Acknowledges another sequence number than the SYN's.
    Acknowledged,
}

/// An ICMP error in place of a reply, with the request quoted, as a router on the way sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    pub(super) v4: bool,
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) rest: [u8; 4],
    pub(super) from: IpAddr,
    pub(super) eight_bytes: bool,
    pub(super) options: bool,
}

/// How a TCP port answers a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// With a SYN-ACK.
    #[default]
    Open,
    /// With a reset.
    Closed,
    /// Not at all.
    Filtered,
}

impl Rule {
    /// Answers every request at once; every port is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers nothing.
    pub fn silent() -> Self {
        Self::new().lose_every(1)
    }

    /// Replies so long after the request was read.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds to each delay a value between -`spread` and +`spread`, uniformly (never below zero in sum). The same seed,
    /// address and request give the same value in every run.
    pub fn jitter(mut self, spread: Duration, seed: u64) -> Self {
        self.jitter = Some((spread, seed));
        self
    }

    /// Does not reply to every n-th request.
    pub fn lose_every(mut self, n: u64) -> Self {
        self.lose_every = n;
        self
    }

    /// Does not reply to a request with this probability, the same ones in every run.
    pub fn lose(mut self, probability: f64, seed: u64) -> Self {
        self.lose = Some((probability, seed));
        self
    }

    /// Replies to every n-th request after `delay` in place of the delay of the others: after the prober gave it up.
    pub fn late_every(mut self, n: u64, delay: Duration) -> Self {
        self.late = (n, delay);
        self
    }

    /// Sends the reply to every n-th request twice.
    pub fn duplicate_every(mut self, n: u64) -> Self {
        self.duplicate_every = n;
        self
    }

    /// Holds the reply to every n-th request until the next reply is sent. A new rule sets it free.
    pub fn reorder_every(mut self, n: u64) -> Self {
        self.reorder_every = n;
        self
    }

    /// Sends the SYN-ACK to every n-th SYN to an open port a second later, as when the first one was lost.
    pub fn syn_ack_lost_every(mut self, n: u64) -> Self {
        self.syn_ack_lost_every = n;
        self
    }

    /// Makes the checksum of every n-th reply wrong.
    pub fn corrupt_every(self, n: u64) -> Self {
        self.flawed_every(n, Flaw::Checksum)
    }

    /// Makes something of every n-th reply wrong. Several flaws may meet in one reply.
    pub fn flawed_every(mut self, n: u64, flaw: Flaw) -> Self {
        self.flaws.push((n, flaw));
        self
    }

    /// Makes something of every reply wrong.
    pub fn flawed(self, flaw: Flaw) -> Self {
        self.flawed_every(1, flaw)
    }

    /// TTL or hop limit of all replies; 64 without this.
    pub fn ttl(self, ttl: u8) -> Self {
        self.ttl_alternating(ttl, ttl)
    }

    /// TTL or hop limit of replies to the first, third, ... request, and to the second, fourth, ...
    pub fn ttl_alternating(mut self, odd: u8, even: u8) -> Self {
        self.ttl = Some([odd, even]);
        self
    }

    /// Sends an error in place of every reply of its family, also to UDP and to filtered ports.
    pub fn error(self, error: Error) -> Self {
        self.error_every(1, error)
    }

    /// Sends an error in place of every n-th reply of its family.
    pub fn error_every(mut self, n: u64, error: Error) -> Self {
        self.errors.push((n, error));
        self
    }

    /// How one port answers.
    pub fn port(mut self, port: u16, answer: Port) -> Self {
        self.ports.insert(port, answer);
        self
    }

    /// How ports answer that [`Rule::port`] does not name.
    pub fn other_ports(mut self, answer: Port) -> Self {
        self.other_ports = answer;
        self
    }
}

impl Error {
    /// An error of ICMP by type and code (RFC 792), from [`ROUTER4`].
    pub fn v4(kind: u8, code: u8) -> Self {
        Self { v4: true, kind, code, rest: [0; 4], from: ROUTER4.into(), eight_bytes: false, options: false }
    }

    /// An error of ICMPv6 by type and code (RFC 4443), from [`ROUTER6`].
    pub fn v6(kind: u8, code: u8) -> Self {
        Self { v4: false, from: ROUTER6.into(), ..Self::v4(kind, code) }
    }

    /// With the MTU of the next link, in bytes: for v4 type 3 code 4 and v6 type 2.
    pub fn mtu(mut self, mtu: u16) -> Self {
        let [high, low] = mtu.to_be_bytes();
        self.rest = [0, 0, high, low];
        self
    }

    /// Sent by this address, of the same family.
    pub fn from(mut self, router: impl Into<IpAddr>) -> Self {
        self.from = router.into();
        assert_eq!(self.from.is_ipv4(), self.v4, "{} cannot send it", self.from);
        self
    }

    /// Quotes no more than the first 8 bytes after the IP header, as RFC 792 has it.
    pub fn quoting_eight_bytes(mut self) -> Self {
        self.eight_bytes = true;
        self
    }

    /// Quotes the request with 8 bytes of IP options (in IPv6, destination options), as if it had had them.
    pub fn quoting_options(mut self) -> Self {
        self.options = true;
        self
    }
}

/// One reply that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Intended {
    pub after: Duration,
    pub kind: Kind,
    pub flaws: Vec<Flaw>,
    pub ttl: u8,
    pub error: Option<Error>,
    pub hold: bool,
    pub copies: u32,
    pub retransmitted: bool,
}

/// Requests that are counted together: those to one address, of echo or to one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Course {
    pub ip: IpAddr,
    protocol: u8,
    port: u16,
}

/// Every rule there is, and how far its counters and generators are.
#[derive(Debug, Default)]
pub(super) struct Table {
    default: Arc<Rule>,
    own: HashMap<IpAddr, Arc<Rule>>,
    progress: HashMap<Course, Progress>,
}

#[derive(Debug)]
struct Progress {
    requests: u64,
    jitter: Generator,
    loss: Generator,
}

impl Course {
    pub fn of(asked: &Asked) -> Self {
        let (protocol, port) = match asked.what {
            What::Echo { .. } => (1, 0),
            What::Syn { to, .. } => (6, to),
            What::Udp { to, .. } => (17, to),
        };
        Self { ip: asked.destination, protocol, port }
    }
}

impl Table {
    pub fn set(&mut self, ip: IpAddr, rule: Rule) {
        self.own.insert(ip, Arc::new(rule));
        self.progress.retain(|course, _| course.ip != ip);
    }

    pub fn set_default(&mut self, rule: Rule) {
        self.default = Arc::new(rule);
        self.progress.retain(|course, _| self.own.contains_key(&course.ip));
    }

    /// Whether the default does not matter for `ip`.
    pub fn has_own(&self, ip: IpAddr) -> bool {
        self.own.contains_key(&ip)
    }

    /// What becomes of a request; `None` when there are too many addresses and ports to tell apart.
    pub fn decide(&mut self, asked: &Asked) -> Option<(Fate, Option<Intended>)> {
        let course = Course::of(asked);
        let rule = self.own.get(&course.ip).unwrap_or(&self.default);
        if self.progress.len() >= MOST_COURSES && !self.progress.contains_key(&course) {
            return None;
        }
        let seeded = |seed: Option<u64>| Generator::new(seed.unwrap_or(0), course);
        let progress = self.progress.entry(course).or_insert_with(|| Progress {
            requests: 0,
            jitter: seeded(rule.jitter.map(|(_, seed)| seed)),
            loss: seeded(rule.lose.map(|(_, seed)| seed)),
        });
        Some(rule.decide(progress, asked))
    }
}

impl Rule {
    fn decide(&self, progress: &mut Progress, asked: &Asked) -> (Fate, Option<Intended>) {
        progress.requests += 1;
        let number = progress.requests;
        let hits = |every: u64| every != 0 && number.is_multiple_of(every);
        // Drawn for every request, so that what becomes of one does not depend on the others.
        let (swing, chance) = (progress.jitter.fraction(), progress.loss.fraction());
        if hits(self.lose_every) || self.lose.is_some_and(|(probability, _)| chance < probability) {
            return (Fate::Lost, None);
        }
        let v4 = asked.destination.is_ipv4();
        let error = self.errors.iter().find(|(every, error)| hits(*every) && error.v4 == v4).map(|(_, error)| *error);
        let kind = match (error, asked.what) {
            (Some(_), _) => Kind::Error,
            (None, What::Echo { .. }) => Kind::EchoReply,
            (None, What::Syn { to, .. }) => match self.ports.get(&to).unwrap_or(&self.other_ports) {
                Port::Open => Kind::SynAck,
                Port::Closed => Kind::Reset,
                Port::Filtered => return (Fate::Silent, None),
            },
            (None, What::Udp { .. }) => return (Fate::Silent, None),
        };
        let (late, late_by) = self.late;
        let mut after = if hits(late) { late_by } else { self.delayed(swing) };
        let retransmitted = kind == Kind::SynAck && hits(self.syn_ack_lost_every);
        if retransmitted {
            after += SYN_ACK_AGAIN;
        }
        let flaws = self.flaws.iter().filter(|(every, flaw)| hits(*every) && flaw.befalls(kind));
        let intended = Intended {
            after,
            kind,
            flaws: flaws.map(|(_, flaw)| *flaw).collect(),
            ttl: self.ttl.map_or(64, |[odd, even]| if number.is_multiple_of(2) { even } else { odd }),
            error,
            hold: hits(self.reorder_every),
            copies: if hits(self.duplicate_every) { 2 } else { 1 },
            retransmitted,
        };
        (Fate::Answered, Some(intended))
    }

    fn delayed(&self, swing: f64) -> Duration {
        let Some((spread, _)) = self.jitter else { return self.delay };
        let shift = spread.as_secs_f64() * (2.0 * swing - 1.0);
        Duration::from_secs_f64((self.delay.as_secs_f64() + shift).max(0.0))
    }
}

impl Flaw {
    fn befalls(self, kind: Kind) -> bool {
        match self {
            Self::Checksum | Self::Truncated(_) => true,
            Self::Source => kind != Kind::Error,
            Self::Identifier | Self::Cookie => kind == Kind::EchoReply,
            Self::Port | Self::Acknowledged => matches!(kind, Kind::SynAck | Kind::Reset),
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): good enough to be uniform, and the same everywhere.
#[derive(Debug)]
struct Generator(u64);

impl Generator {
    fn new(seed: u64, course: Course) -> Self {
        // A fixed hash: the same in every process.
        let mut hasher = DefaultHasher::new();
        course.hash(&mut hasher);
        Self(seed ^ hasher.finish())
    }

    /// Uniform in 0..1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}
