//! What came in, taken to the target it is about, or counted as ignored.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Instant;

use super::codec::icmp::{self, Echo, Quoted, Received, Report};
use super::codec::stamps::{Control, Stamps};
use super::codec::tcp::{self, Answer};
use super::ledger::{Ignored, Ledger};
use super::ports::Ports;
use super::table::{Entry, Key, Port, Table};
use super::target::{Arrival, Cause, Heard, Probe};
use crate::sys::raw::Kind;

/// What is heard of a probe when it is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// An answer.
    Heard(Heard),
    /// Why there will be none.
    Failed(Cause),
}

/// Is told the target, the sequence of the probe and the news.
pub type OnNews = Box<dyn FnMut(&Entry, u16, News)>;

/// When a packet was read, and its TTL as far as its header was.
type Seen = (Instant, Option<u8>);

/// One look into a socket.
pub struct Intake<'a> {
    /// What the socket receives.
    pub kind: Kind,
    /// Ours.
    pub identifier: u16,
    /// Where our SYNs come from.
    pub ports: &'a Ports,
    /// Whom we probe.
    pub table: &'a mut Table,
    /// Where it is counted.
    pub ledger: &'a mut Ledger,
    /// Set if an answer came without the kernel's stamp.
    pub unstamped: &'a mut bool,
    /// Who wants to know at once.
    pub on_news: &'a mut Option<OnNews>,
}

impl Intake<'_> {
    /// Takes a packet in that was read at this time, and not before it came.
    pub fn take(&mut self, source: IpAddr, data: &[u8], control: &Control, at: Instant) {
        let taken = match self.kind {
            Kind::Icmp4 => icmp::read_v4(data).map(|(outer, received)| {
                self.icmp(source, &received, control, (at, Some(outer.ttl)));
            }),
            Kind::Icmp6 => icmp::read_v6(data).map(|received| self.icmp(source, &received, control, (at, None))),
            Kind::Tcp4 => tcp::read_v4(data).map(|(outer, answer)| {
                self.tcp(source, answer.as_ref(), control, (at, Some(outer.ttl)));
            }),
            Kind::Tcp6 => tcp::read_v6(data).map(|answer| self.tcp(source, answer.as_ref(), control, (at, None))),
        };
        if taken.is_err() {
            self.ledger.ignore(Ignored::Malformed);
        }
    }

    fn icmp(&mut self, source: IpAddr, received: &Received, control: &Control, seen: Seen) {
        match received {
            Received::Reply(Echo { identifier, sequence, cookie }) if *identifier == self.identifier => {
                let arrival = arrival(control, seen, false);
                self.answer(source, None, Probe { sequence: *sequence, cookie: *cookie }, &arrival);
            }
            Received::Reply(_) => self.ledger.ignore(Ignored::Foreign),
            Received::Error(report) => self.error(source, report),
            Received::Other => {}
        }
    }

    fn tcp(&mut self, source: IpAddr, answer: Option<&Answer>, control: &Control, seen: Seen) {
        let Some(answer) = answer else { return };
        let probe = probe_of(answer.sequence);
        if answer.destination_port != self.ports.of(probe.sequence) {
            self.ledger.ignore(Ignored::Foreign);
            return;
        }
        let arrival = arrival(control, seen, answer.is_refusal);
        self.answer(source, NonZeroU16::new(answer.source_port), probe, &arrival);
    }

    fn answer(&mut self, source: IpAddr, port: Port, probe: Probe, arrival: &Arrival) {
        let entry = self.table.find(&Key { ip: source, port }).and_then(|id| self.table.get_mut(id));
        let Some(entry) = entry else {
            self.ledger.ignore(Ignored::Foreign);
            return;
        };
        let heard = entry.target.answer(probe, arrival);
        match heard {
            Heard::Answer => {
                self.ledger.of(port.is_some()).received += 1;
                *self.unstamped = arrival.stamps == Stamps::default();
            }
            Heard::Unknown => self.ledger.ignore(Ignored::Foreign),
            Heard::Late | Heard::Duplicate => {}
        }
        if let Some(on_news) = self.on_news {
            on_news(entry, probe.sequence, News::Heard(heard));
        }
    }

    fn error(&mut self, reporter: IpAddr, report: &Report) {
        let (port, sequence, cookie) = match report.probe {
            Quoted::Echo { identifier, sequence, cookie } if identifier == self.identifier => (None, sequence, cookie),
            Quoted::Echo { .. } => {
                self.ledger.ignore(Ignored::Foreign);
                return;
            }
            Quoted::Tcp { source_port, destination_port, sequence } => {
                let probe = probe_of(sequence);
                if source_port != self.ports.of(probe.sequence) {
                    self.ledger.ignore(Ignored::Foreign);
                    return;
                }
                (NonZeroU16::new(destination_port), probe.sequence, Some(probe.cookie))
            }
        };
        let key = Key { ip: report.destination, port };
        let Some(entry) = self.table.find(&key).and_then(|id| self.table.get_mut(id)) else {
            self.ledger.ignore(Ignored::Foreign);
            return;
        };
        let cause = Cause::from(report.problem);
        if !entry.target.fail(sequence, cookie, cause) {
            self.ledger.ignore(Ignored::Stale);
            return;
        }
        entry.reporter = Some(reporter);
        if let Some(on_news) = self.on_news {
            on_news(entry, sequence, News::Failed(cause));
        }
    }
}

/// What a SYN of ours with this sequence number carried.
fn probe_of(sequence: u32) -> Probe {
    Probe { sequence: sequence as u16, cookie: sequence.into() }
}

fn arrival(control: &Control, (at, ttl): Seen, is_refusal: bool) -> Arrival {
    let Control { stamps, hop_limit, .. } = *control;
    Arrival { at, stamps, hop_limit: ttl.or(hop_limit), is_refusal }
}
