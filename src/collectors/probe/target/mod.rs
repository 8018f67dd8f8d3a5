//! What is known of one target: its probes under way, what became of the others, and the latest results.
//!
//! A probe is decided when its timeout is over, in the order of sending, so no figure is biased by probes under way, and
//! what the kernel tells of a probe may come in any order until then. After that it is remembered for twice as long, to
//! tell an answer that comes late from one to somebody else.

pub mod histogram;
mod totals;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use self::histogram::Histogram;
use self::totals::nanoseconds;
pub use self::totals::{Cause, Clock, Totals};
use super::codec::stamps::Stamps;
use super::window::{Packed, Window};

/// How long a probe is remembered, in timeouts.
const REMEMBERED: u32 = 3;
/// Most probes that are remembered; with a short interval and a long timeout that may be for a shorter time.
const MOST_REMEMBERED: usize = 4096;
/// A stamped round trip that is longer than the one by our own clock, but for this, shows a clock that was set.
const CLOCK_SLACK: Duration = Duration::from_millis(1);
/// A number by which a peer knows our SYN: the upper half is random, the lower the sequence.
const RANDOM_HALF: u64 = 0xffff_0000;

/// How a target is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// By ICMP echo: the payload brings a cookie of 64 bits back.
    Icmp,
    /// By TCP SYN: the acknowledged number brings back 32 bits, of which the lower 16 are the sequence.
    Tcp,
}

/// When probes are sent and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Time between two probes.
    pub interval: Duration,
    /// Time after which a probe without an answer is lost.
    pub timeout: Duration,
}

/// What a probe carries, and its answer brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its number; it wraps.
    pub sequence: u16,
    /// What tells its answer from others. For TCP this is the sequence number of the SYN.
    pub cookie: u64,
}

/// An answer as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When we read it.
    pub at: Instant,
    /// When the kernel or the card received it.
    pub stamps: Stamps,
    /// TTL or hop limit it had left.
    pub hop_limit: Option<u8>,
    /// Whether it refuses the connection.
    pub is_refusal: bool,
}

/// What an answer is to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The first to a probe that is not decided.
    Answer,
    /// The first to a probe that was given up.
    Late,
    /// Another one to a probe that has been answered.
    Duplicate,
    /// To none of the probes that are remembered.
    Unknown,
}

/// Where a packet of ours was when the kernel stamped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It entered the queue of the interface.
    Queued,
    /// It left.
    Sent,
}

/// See the module.
#[derive(Debug)]
pub struct Target {
    protocol: Protocol,
    timing: Timing,
    /// Since when it is known.
    since: Instant,
    accessed: Instant,
    /// Probes that are remembered, oldest first: one for each number, up to the one before `next`.
    slots: VecDeque<Slot>,
    next: u64,
    /// How many of the oldest are decided.
    decided: usize,
    /// Number of the latest probe among those answered, by the order of sending.
    highest_answered: Option<u64>,
    /// Round trip of the probe before, if it was answered.
    previous: Option<Duration>,
    /// Smoothed difference between successive round trips, in nanoseconds times 16 (RFC 3550, 6.4.1 and A.8).
    jitter: u64,
    hop_limit: Option<u8>,
    totals: Totals,
    window: Window,
    histogram: Option<Box<Histogram>>,
}

/// A probe that is remembered. There may be thousands, so nothing in it is wider than it must be.
#[derive(Debug)]
struct Slot {
    cookie: u64,
    /// When it was sent, in nanoseconds since the target is known.
    sent: u64,
    /// From sending to reading the first answer, by our own clock; none before that.
    waited: Packed,
    sent_stamps: Stamps,
    received_stamps: Stamps,
    /// Where the software stamp of sending comes from.
    stamped: Stamped,
    is_refusal: bool,
    cause: Cause,
}

/// Where a software stamp of sending comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamped {
    /// From our own reading of the clock, if there is any.
    ByUs,
    /// From the kernel, before the packet was queued.
    Queued,
    /// From the kernel, when it left.
    Sent,
}

impl Target {
    /// A target that nothing is known of.
    pub fn new(protocol: Protocol, timing: Timing, now: Instant) -> Self {
        let mut target = Target {
            protocol,
            timing,
            since: now,
            accessed: now,
            slots: VecDeque::new(),
            next: 0,
            decided: 0,
            highest_answered: None,
            previous: None,
            jitter: 0,
            hop_limit: None,
            totals: Totals::default(),
            window: Window::default(),
            histogram: None,
        };
        target.set_timing(timing);
        target
    }

    /// Takes another interval and timeout over, for probes under way as well.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
        let remembered = timing.timeout.saturating_mul(REMEMBERED).as_nanos();
        let probes = remembered.div_ceil(timing.interval.as_nanos().max(1));
        // One more at either end, as no wake-up is exact.
        let probes = usize::try_from(probes).unwrap_or(MOST_REMEMBERED).saturating_add(2).min(MOST_REMEMBERED);
        self.slots.reserve_exact(probes.saturating_sub(self.slots.len()));
    }

    /// Begins a probe, just before it is sent: remembers it and tells what it carries. `wall` is the time since 1970, for
    /// where the kernel stamps only what is received.
    pub fn begin(&mut self, now: Instant, wall: Option<Duration>, random: u64) -> Probe {
        if self.slots.len() >= self.slots.capacity().clamp(1, MOST_REMEMBERED) {
            self.forget_oldest();
        }
        let sequence = self.next as u16;
        let cookie = match self.protocol {
            Protocol::Icmp => random,
            Protocol::Tcp => random & RANDOM_HALF | u64::from(sequence),
        };
        let software = wall.and_then(|wall| NonZeroU64::new(u64::try_from(wall.as_nanos()).ok()?));
        self.slots.push_back(Slot {
            cookie,
            sent: nanoseconds(now.saturating_duration_since(self.since)),
            waited: Packed::NONE,
            sent_stamps: Stamps { software, hardware: None },
            received_stamps: Stamps::default(),
            stamped: Stamped::ByUs,
            is_refusal: false,
            cause: Cause::Timeout,
        });
        self.next += 1;
        Probe { sequence, cookie }
    }

    /// Takes over when the kernel or the card stamped a probe; returns whether it is of use.
    pub fn passed(&mut self, sequence: u16, passed: Passed, stamps: &Stamps) -> bool {
        let Some((at, _)) = self.find(sequence) else { return false };
        let is_decided = at < self.decided;
        let Some(slot) = self.slots.get_mut(at).filter(|_| !is_decided) else { return false };
        if passed == Passed::Queued {
            if slot.stamped == Stamped::ByUs && stamps.software.is_some() {
                slot.sent_stamps.software = stamps.software;
                slot.stamped = Stamped::Queued;
            }
            return true;
        }
        if let Some(software) = stamps.software {
            if let (Stamped::Queued, Some(queued)) = (slot.stamped, slot.sent_stamps.software)
                && let Some(waited) = between(queued, software).filter(|waited| *waited <= self.timing.timeout)
            {
                self.totals.queued = self.totals.queued.saturating_add(nanoseconds(waited));
                self.totals.queued_probes += 1;
            }
            slot.sent_stamps.software = Some(software);
            slot.stamped = Stamped::Sent;
        }
        slot.sent_stamps.hardware = stamps.hardware.or(slot.sent_stamps.hardware);
        true
    }

    /// Takes an answer in. What it is worth is decided with the probe.
    pub fn answer(&mut self, probe: Probe, arrival: &Arrival) -> Heard {
        let Some((at, number)) = self.find(probe.sequence) else { return Heard::Unknown };
        let is_decided = at < self.decided;
        let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.cookie == probe.cookie) else {
            return Heard::Unknown;
        };
        if slot.waited != Packed::NONE {
            self.totals.duplicates += 1;
            return Heard::Duplicate;
        }
        let sent = self.since + Duration::from_nanos(slot.sent);
        slot.waited = arrival.at.saturating_duration_since(sent).into();
        if is_decided {
            self.totals.late += 1;
            return Heard::Late;
        }
        slot.received_stamps = arrival.stamps;
        slot.is_refusal = arrival.is_refusal;
        if self.highest_answered.is_some_and(|highest| number < highest) {
            self.totals.reordered += 1;
        } else {
            self.highest_answered = Some(number);
        }
        if arrival.hop_limit.is_some() {
            self.totals.hop_limit_changes += u64::from(self.hop_limit.is_some() && self.hop_limit != arrival.hop_limit);
            self.hop_limit = arrival.hop_limit;
        }
        Heard::Answer
    }

    /// Takes in that a probe could not be sent, or that an error came back, with the cookie if it is quoted; returns whether
    /// it is about a probe under way. An answer that comes in time all the same is worth more.
    pub fn fail(&mut self, sequence: u16, cookie: Option<u64>, cause: Cause) -> bool {
        let Some((at, _)) = self.find(sequence) else { return false };
        let is_decided = at < self.decided;
        let is_ours = |slot: &&mut Slot| !is_decided && cookie.is_none_or(|cookie| cookie == slot.cookie);
        let Some(slot) = self.slots.get_mut(at).filter(is_ours) else { return false };
        slot.cause = cause;
        true
    }

    /// Decides the probes whose timeout is over. What has been received until `now` must have been taken in before.
    pub fn expire(&mut self, now: Instant) {
        let now = nanoseconds(now.saturating_duration_since(self.since));
        let is_over = |slot: Option<&Slot>, time| slot.is_some_and(|slot| now.saturating_sub(slot.sent) >= time);
        let timeout = nanoseconds(self.timing.timeout);
        while is_over(self.slots.get(self.decided), timeout) {
            self.decide_oldest();
        }
        let remembered = timeout.saturating_mul(REMEMBERED.into());
        while self.decided > 0 && is_over(self.slots.front(), remembered) {
            self.forget_oldest();
        }
    }

    /// When the next probe is to be decided, if any is under way.
    pub fn next_expiry(&self) -> Option<Instant> {
        let sent = Duration::from_nanos(self.slots.get(self.decided)?.sent);
        self.since.checked_add(sent)?.checked_add(self.timing.timeout)
    }

    /// The target has another address from now on: nothing will be heard of the probes under way, which count for nothing.
    pub fn moved(&mut self) {
        self.slots.clear();
        self.decided = 0;
        self.highest_answered = None;
        self.previous = None;
        self.hop_limit = None;
    }

    /// The round trip of a probe that has been answered, as far as it is known by now, and the clock it was measured by.
    pub fn round_trip(&self, sequence: u16) -> Option<(Duration, Clock)> {
        let slot = self.slots.get(self.find(sequence)?.0)?;
        let (rtt, clock, _) = measure(slot, slot.waited.get()?);
        Some((rtt, clock))
    }

    /// Whether what answered a probe refuses the connection.
    pub fn is_refused(&self, sequence: u16) -> bool {
        self.find(sequence).and_then(|(at, _)| self.slots.get(at)).is_some_and(|slot| slot.is_refusal)
    }

    /// How many probes have been begun.
    pub fn begun(&self) -> u64 {
        self.next
    }

    /// Whether the fate of a probe is not known yet: neither an answer nor an error has come, and it is not too late.
    pub fn is_waiting(&self) -> bool {
        self.slots.iter().skip(self.decided).any(|slot| slot.waited == Packed::NONE && slot.cause == Cause::Timeout)
    }

    /// Somebody asked for this target.
    pub fn touch(&mut self, now: Instant) {
        self.accessed = self.accessed.max(now);
    }

    /// When somebody last asked for this target.
    pub fn accessed(&self) -> Instant {
        self.accessed
    }

    /// What was counted.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Begins or ends a histogram of round trips.
    pub fn set_histogram(&mut self, is_wanted: bool) {
        match is_wanted {
            true => _ = self.histogram.get_or_insert_default(),
            false => self.histogram = None,
        }
    }

    /// The histogram of round trips, if there is one.
    pub fn histogram(&self) -> Option<&Histogram> {
        self.histogram.as_deref()
    }

    /// The latest results.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Smoothed difference between successive round trips (RFC 3550); none before there are two.
    pub fn jitter(&self) -> Option<Duration> {
        (self.totals.variations > 0).then(|| Duration::from_nanos(self.jitter >> 4))
    }

    /// TTL or hop limit of the latest answer.
    pub fn hop_limit(&self) -> Option<u8> {
        self.hop_limit
    }

    /// Where the probe with this sequence stands, and its number.
    fn find(&self, sequence: u16) -> Option<(usize, u64)> {
        let first = self.next - self.slots.len() as u64;
        let at = sequence.wrapping_sub(first as u16);
        (usize::from(at) < self.slots.len()).then(|| (usize::from(at), first + u64::from(at)))
    }

    /// Makes room for another probe.
    fn forget_oldest(&mut self) {
        if self.decided == 0 {
            self.decide_oldest();
        }
        if self.slots.pop_front().is_some() {
            self.decided -= 1;
        }
    }

    /// Decides the oldest probe that is not.
    fn decide_oldest(&mut self) {
        let Some(slot) = self.slots.get(self.decided) else { return };
        self.decided += 1;
        let totals = &mut self.totals;
        let measured = slot.waited.get().map(|waited| measure(slot, waited));
        if let Some((_, _, true)) = measured {
            totals.impossible_stamps += 1;
        }
        let Some((rtt, clock, _)) = measured.filter(|(rtt, ..)| *rtt <= self.timing.timeout) else {
            totals.late += u64::from(measured.is_some());
            totals.count_lost(slot.cause);
            self.previous = None;
            self.window.push(None);
            return;
        };
        totals.count_answer(rtt, clock);
        if let Some(histogram) = &mut self.histogram {
            histogram.add(rtt);
        }
        totals.refused += u64::from(slot.is_refusal);
        if let Some(previous) = self.previous.replace(rtt) {
            let difference = nanoseconds(rtt.abs_diff(previous));
            totals.variation = totals.variation.saturating_add(difference);
            totals.variations += 1;
            // J += (|D| - J) / 16, kept 16 times as large and rounded.
            let smoothed = self.jitter - ((self.jitter + 8) >> 4);
            self.jitter = smoothed.saturating_add(difference);
        }
        self.window.push(Some(rtt));
    }
}

/// The round trip of an answered probe by the best clock there is, and whether stamps were impossible.
fn measure(slot: &Slot, waited: Duration) -> (Duration, Clock, bool) {
    let (sent, received) = (slot.sent_stamps, slot.received_stamps);
    let (from, to, clock) = match (sent.hardware, received.hardware, sent.software, received.software) {
        (Some(from), Some(to), ..) => (from, to, Clock::Hardware),
        (_, _, Some(from), Some(to)) if slot.stamped == Stamped::Sent => (from, to, Clock::Kernel),
        (_, _, Some(from), Some(to)) => (from, to, Clock::Received),
        _ => return (waited, Clock::Own, false),
    };
    match between(from, to) {
        Some(rtt) if rtt <= waited.saturating_add(CLOCK_SLACK) => (rtt, clock, false),
        _ => (waited, Clock::Own, true),
    }
}

/// From one stamp to a later one of the same clock.
fn between(from: NonZeroU64, to: NonZeroU64) -> Option<Duration> {
    to.get().checked_sub(from.get()).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests;
