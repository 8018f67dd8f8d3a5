//! The latest results of a target, and how many of them say how it does at present.
//!
//! At most 250 results are kept. If the share of answers is another since a certain one, only those count that are newer:
//! figures then follow a change at once instead of mixing both states. The rule: of all places with at least 25 results on
//! either side, the one where the shares before and after differ most, if by more than 12 points; of several, the newest.
//! Where 100 results or more are newer, the older ones are forgotten. Computed with every result, in whole numbers, so the
//! figures depend on the results only and not on who reads them when.

use std::time::Duration;

/// Most results that are kept.
pub const CAPACITY: usize = 250;

/// Longest round trip that is told from longer ones.
pub const MAX_RTT: Duration = Duration::from_nanos(((COARSE - 2) as u64) << COARSE_SHIFT);

/// Fewest results on either side of a change.
const SIDE: usize = 25;
/// With as many results since a change, what was before is forgotten.
const ENOUGH: usize = 100;
/// A change is a difference above this share.
const THRESHOLD: (u32, u32) = (12, 100);

/// A result in 4 bytes: nanoseconds below this, else this bit and units of 128 ns.
const COARSE: u32 = 1 << 31;
const COARSE_SHIFT: u32 = 7;
/// No answer.
const LOST: u32 = u32::MAX;

/// A time or none in 4 bytes: to the nanosecond below 2.1 s, in steps of 128 ns up to [`MAX_RTT`], and no longer than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed(u32);

impl Packed {
    /// No time.
    pub const NONE: Packed = Packed(LOST);

    /// The time.
    pub fn get(self) -> Option<Duration> {
        unpack(self.0).map(Duration::from_nanos)
    }
}

impl From<Duration> for Packed {
    fn from(time: Duration) -> Self {
        Packed(pack(time))
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Window {
    /// Packed results; `next` is where the next one goes, the newest stands before it.
    ring: [u32; CAPACITY],
    next: usize,
    /// How many results there are, and how many of them are answers.
    length: usize,
    answered: usize,
    /// Of the results that count: those newer than the last change.
    current: Sums,
}

/// Exact sums over the newest results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    results: usize,
    answered: usize,
    /// Nanoseconds, and their squares.
    rtt: u64,
    squares: u128,
}

/// What the results that count say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many they are.
    pub samples: usize,
    /// Share of probes without an answer; none without results.
    pub loss_ratio: Option<f64>,
    /// Mean round trip in seconds; none without answers.
    pub latency: Option<f64>,
    /// Standard deviation of the round trips (of the population, not estimated), in seconds; none without answers.
    pub deviation: Option<f64>,
}

impl Default for Window {
    fn default() -> Self {
        Window { ring: [LOST; CAPACITY], next: 0, length: 0, answered: 0, current: Sums::default() }
    }
}

impl Window {
    /// Takes the next result in: the round trip, or none if there was no answer.
    pub fn push(&mut self, rtt: Option<Duration>) {
        if self.length == CAPACITY {
            self.forget_oldest();
        }
        let result = rtt.map_or(LOST, pack);
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = result;
        }
        self.next = (self.next + 1) % CAPACITY;
        self.length += 1;
        self.answered += usize::from(result != LOST);
        self.current.add(result);
        match self.change() {
            None => self.count_newest(self.length),
            Some(newer) => {
                self.count_newest(newer);
                if newer >= ENOUGH {
                    self.length = newer;
                    self.answered = self.current.answered;
                }
            }
        }
    }

    /// What the results since the last change say.
    pub fn summary(&self) -> Summary {
        let Sums { results, answered, rtt, squares } = self.current;
        let lost = results - answered;
        let of_answers = |value: f64| (answered > 0).then(|| value / answered as f64 / 1e9);
        // Whole numbers, so it is never below zero, and zero if all are the same.
        let variance = answered as u128 * squares - u128::from(rtt) * u128::from(rtt);
        Summary {
            samples: results,
            loss_ratio: (results > 0).then(|| lost as f64 / results as f64),
            latency: of_answers(rtt as f64),
            deviation: of_answers((variance as f64).sqrt()),
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.result(self.length - 1);
        if self.current.results == self.length {
            self.current.remove(oldest);
        }
        self.length -= 1;
        self.answered -= usize::from(oldest != LOST);
    }

    /// The result of so many before the newest.
    fn result(&self, age: usize) -> u32 {
        self.ring.get((self.next + CAPACITY - 1 - age) % CAPACITY).copied().unwrap_or(LOST)
    }

    /// Has so many of the newest results count.
    fn count_newest(&mut self, results: usize) {
        while self.current.results > results {
            self.current.remove(self.result(self.current.results - 1));
        }
        while self.current.results < results {
            self.current.add(self.result(self.current.results));
        }
    }

    /// How many results are newer than the last change, if there is one.
    fn change(&self) -> Option<usize> {
        let (threshold, whole) = THRESHOLD;
        let rare = self.answered.min(self.length - self.answered);
        // So few make no such difference even if they stand together.
        if self.length < 2 * SIDE || rare * whole as usize <= threshold as usize * SIDE {
            return None;
        }
        let (wrapped, newest) = (self.ring.get(self.next..)?, self.ring.get(..self.next)?);
        let results = newest.iter().rev().chain(wrapped.iter().rev());
        let (length, answered) = (self.length as u32, self.answered as u32);
        let mut best = THRESHOLD;
        let mut found = None;
        let mut newer_answered = 0;
        for (newer, result) in (1..=length - SIDE as u32).zip(results) {
            newer_answered += u32::from(*result != LOST);
            let older = length - newer;
            // |a/n - b/m| = |am - bn| / nm, which stays below 2^17.
            let difference = (newer_answered * older).abs_diff((answered - newer_answered) * newer);
            let both = newer * older;
            if newer >= SIDE as u32 && difference * best.1 > best.0 * both {
                best = (difference, both);
                found = Some(newer as usize);
            }
        }
        found
    }
}

impl Sums {
    fn add(&mut self, result: u32) {
        self.results += 1;
        if let Some(rtt) = unpack(result) {
            self.answered += 1;
            self.rtt += rtt;
            self.squares += u128::from(rtt) * u128::from(rtt);
        }
    }

    fn remove(&mut self, result: u32) {
        self.results -= 1;
        if let Some(rtt) = unpack(result) {
            self.answered -= 1;
            self.rtt -= rtt;
            self.squares -= u128::from(rtt) * u128::from(rtt);
        }
    }
}

fn pack(rtt: Duration) -> u32 {
    let nanos = rtt.min(MAX_RTT).as_nanos() as u64;
    match u32::try_from(nanos) {
        Ok(nanos) if nanos < COARSE => nanos,
        _ => COARSE | (nanos >> COARSE_SHIFT) as u32,
    }
}

fn unpack(result: u32) -> Option<u64> {
    match result {
        LOST => None,
        fine if fine < COARSE => Some(fine.into()),
        coarse => Some(u64::from(coarse & !COARSE) << COARSE_SHIFT),
    }
}

#[cfg(test)]
mod tests;
