//! Whose turn it is: targets with intervals of their own, evenly spread over time.
//!
//! Targets with the same interval share a circle of phases. Each new one gets a phase that halves one of the largest gaps
//! the others leave, and keeps it: whoever comes or goes shifts nobody. If all of them want more than the allowed rate, the
//! clock that the phases are measured by goes slower, so every interval stretches alike. After a late wake-up what is due
//! follows at twice the usual rate instead of at once, and a turn after which the next is due as well is left out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

const SECOND: f64 = 1e9;
/// Least time between two wake-ups, so that one serves several targets where there are many: as long as this many probes
/// are apart, within bounds. Together they are shorter than one full packet of others.
const TOGETHER: f64 = 4.0;
const SHORTEST_BATCH: Duration = Duration::from_millis(1);
const LONGEST_BATCH: Duration = Duration::from_millis(40);
/// Nor is it longer than this part of the shortest interval, by which its turns are late at most.
const PART_OF_INTERVAL: u64 = 8;
/// How far ahead of their spacing probes may be sent besides, for wake-ups that are not exact.
const TOLERANCE: Duration = Duration::from_millis(4);
/// Probes that are due together need not be further apart than this.
const MOST_APART: Duration = Duration::from_millis(5);
/// Longest interval, in nanoseconds: far from where sums would overflow.
const LONGEST: u64 = u64::MAX >> 8;
/// Part of its interval by which each new circle is turned against the one before: the golden ratio, as it has the fewest
/// places in common with simple fractions; of 2^32.
const TURNED: u32 = 0x9e37_79b9;

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    /// The next turn of every target, earliest first.
    turns: BinaryHeap<Reverse<Turn>>,
    circles: Vec<Circle>,
    /// How many circles there have been.
    begun: u32,
    /// Most probes in a second.
    max_rate: f64,
    clock: Clock,
    /// Time between two probes that are due together.
    spacing: Duration,
    /// Time between two wake-ups.
    batch: Duration,
    /// The next probe may not be sent before this.
    not_before: Instant,
    /// The next wake-up is not needed before this.
    asleep_until: Instant,
    missed: u64,
}

/// The next turn of a target, in nanoseconds of the schedule's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    due: u64,
    id: u32,
    /// Which of the phases of its circle it has.
    place: u32,
    interval: u64,
}

/// The phases of targets with one interval.
#[derive(Debug)]
struct Circle {
    interval: u64,
    targets: u32,
    /// Where it begins, in parts of 2^32.
    start: u32,
    /// Places below this have been given; those that are free again stand in the heap.
    given: u32,
    free: BinaryHeap<Reverse<u32>>,
}

/// Real time, slowed down where the targets want more than is allowed.
#[derive(Debug)]
struct Clock {
    /// A time, and what the clock showed then.
    since: Instant,
    shown: u64,
    /// Up to 1.
    speed: f64,
}

impl Schedule {
    /// A schedule without targets, for up to so many probes in a second.
    pub fn new(now: Instant, max_rate: u32) -> Self {
        Schedule {
            turns: BinaryHeap::new(),
            circles: Vec::new(),
            begun: 0,
            max_rate: max_rate.max(1).into(),
            clock: Clock { since: now, shown: 0, speed: 1.0 },
            spacing: MOST_APART,
            batch: SHORTEST_BATCH,
            not_before: now,
            asleep_until: now,
            missed: 0,
        }
    }

    /// Allows so many probes in a second.
    pub fn set_max_rate(&mut self, max_rate: u32, now: Instant) {
        self.max_rate = max_rate.max(1).into();
        self.set_pace(now);
    }

    /// Adds a target, which must not be in yet; its first turn comes within the interval.
    pub fn add(&mut self, id: u32, interval: Duration, now: Instant) {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(LONGEST).clamp(1, LONGEST);
        let at = self.circles.iter().position(|circle| circle.interval == interval);
        let at = at.unwrap_or_else(|| {
            let start = self.begun.wrapping_mul(TURNED);
            self.begun = self.begun.wrapping_add(1);
            self.circles.push(Circle { interval, targets: 0, start, given: 0, free: BinaryHeap::new() });
            self.circles.len() - 1
        });
        let Some(circle) = self.circles.get_mut(at) else { return };
        let place = circle.take();
        let phase = circle.phase(place);
        self.set_pace(now);
        let shown = self.clock.shown(now);
        let due = shown - shown % interval + phase;
        let due = if due < shown { due + interval } else { due };
        self.turns.push(Reverse(Turn { due, id, place, interval }));
    }

    /// Removes a target, if it is in.
    pub fn remove(&mut self, id: u32, now: Instant) {
        let Some(Reverse(turn)) = self.turns.iter().find(|turn| turn.0.id == id).copied() else { return };
        self.turns.retain(|turn| turn.0.id != id);
        for circle in self.circles.iter_mut().filter(|circle| circle.interval == turn.interval) {
            circle.targets -= 1;
            circle.free.push(Reverse(turn.place));
        }
        self.circles.retain(|circle| circle.targets > 0);
        self.set_pace(now);
    }

    /// When to call [`Self::pop`] again; none without targets.
    pub fn next_due(&self) -> Option<Instant> {
        let Reverse(turn) = self.turns.peek()?;
        Some(self.clock.when(turn.due)?.max(self.not_before).max(self.asleep_until))
    }

    /// The target whose turn it is, if it is anybody's. To be called again until it is nobody's.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        let shown = self.clock.shown(now);
        let mut first = self.turns.peek_mut()?;
        let Reverse(Turn { due, id, interval, .. }) = *first;
        if due > shown {
            return None;
        }
        if self.not_before > now {
            // What has been due for long follows as soon as its spacing allows.
            if u128::from(shown - due) > self.batch.as_nanos() {
                self.asleep_until = now;
            }
            return None;
        }
        let over = (shown - due) / interval;
        first.0.due = due + (over + 1) * interval;
        self.missed += over;
        let earliest = now.checked_sub(self.batch / 2 + TOLERANCE).unwrap_or(now);
        self.not_before = self.not_before.max(earliest) + self.spacing;
        self.asleep_until = now + self.batch;
        Some(id)
    }

    /// Turns that were left out because the next was due as well.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many times longer than asked for every interval is, because of the allowed rate.
    pub fn stretch(&self) -> f64 {
        1.0 / self.clock.speed
    }

    /// Sets clock and spacing by what the targets want.
    fn set_pace(&mut self, now: Instant) {
        let rate = |circle: &Circle| f64::from(circle.targets) * SECOND / circle.interval as f64;
        let wanted: f64 = self.circles.iter().map(rate).sum();
        self.clock.set_speed(if wanted > self.max_rate { self.max_rate / wanted } else { 1.0 }, now);
        // As far apart as twice the rate makes it, but the allowed rate holds always.
        let apart = (1.0 / (2.0 * wanted)).min(MOST_APART.as_secs_f64()).max(1.0 / self.max_rate);
        self.spacing = Duration::from_secs_f64(apart);
        let batch = Duration::try_from_secs_f64(TOGETHER / wanted).unwrap_or(LONGEST_BATCH);
        let shortest = self.circles.iter().map(|circle| circle.interval).min().unwrap_or(LONGEST);
        let most = Duration::from_nanos(shortest / PART_OF_INTERVAL).min(LONGEST_BATCH);
        self.batch = batch.min(most).max(SHORTEST_BATCH);
    }
}

impl Circle {
    /// Takes the lowest free place.
    fn take(&mut self) -> u32 {
        self.targets += 1;
        self.free.pop().map_or_else(
            || {
                self.given += 1;
                self.given - 1
            },
            |Reverse(place)| place,
        )
    }

    /// The phase of a place, in nanoseconds: with its bits reversed, each place halves a gap between those before it.
    fn phase(&self, place: u32) -> u64 {
        let part = place.reverse_bits().wrapping_add(self.start);
        ((u128::from(part) * u128::from(self.interval)) >> 32) as u64
    }
}

impl Clock {
    fn shown(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since).as_nanos() as u64;
        self.shown + if self.speed < 1.0 { (passed as f64 * self.speed) as u64 } else { passed }
    }

    /// The time when it shows this, or a little later.
    fn when(&self, shown: u64) -> Option<Instant> {
        let left = shown.saturating_sub(self.shown);
        let left = if self.speed < 1.0 { (left as f64 / self.speed).ceil() as u64 + 1 } else { left };
        self.since.checked_add(Duration::from_nanos(left))
    }

    fn set_speed(&mut self, speed: f64, now: Instant) {
        if speed != self.speed {
            (self.shown, self.since) = (self.shown(now), self.since.max(now));
            self.speed = speed;
        }
    }
}

#[cfg(test)]
mod tests;
