//! When to read all flows and when to follow events: what happened enters, what to do next leaves.
//!
//! Whatever the network does, reading all flows takes at most a twentieth of the time: on a router with so many flows
//! that this is longer than the interval, the figures are as old as that. Events that come faster than they can be taken
//! in, as in a flood, cost a reading of all flows each time some are lost; if that goes on, the subscription is given up
//! for a while, which also saves the kernel from making the events.

use std::time::{Duration, Instant};

/// What a reading of all flows takes at most, as a part of the time: one in so many.
const SHARE: u32 = 20;
/// How often flows are read that may end without an event.
const SILENT_INTERVAL: Duration = Duration::from_secs(60);
/// How often all flows are read in spite of events, so that a mistake does not last.
const SURE_INTERVAL: Duration = Duration::from_secs(600);
/// Events are lost too often if so many times, each within [`CALM`] of the last.
const STRIKES: u32 = 3;
/// Time without lost events after which the past is forgotten.
const CALM: Duration = Duration::from_secs(60);
/// How long the subscription is given up first; twice as long each time after that.
const FIRST_REST: Duration = Duration::from_secs(30);
/// How long it is given up at most.
const LONGEST_REST: Duration = Duration::from_secs(480);

/// The state of following.
#[derive(Debug)]
pub struct Pace {
    /// Shortest time between two readings of all flows.
    interval: Duration,
    /// All flows are read each time, events or not.
    always: bool,
    following: bool,
    /// What is known does not hold.
    wanted: bool,
    /// When all flows were last read, and how long it took.
    read: Option<(Instant, Duration)>,
    /// When events were last lost, and how many times since it was calm.
    lost: Option<(Instant, u32)>,
    /// Until when the subscription is given up, and for how long.
    rest: Option<(Instant, Duration)>,
}

impl Pace {
    /// Nothing is known yet; `interval` is the shortest time between two readings of all flows, which are done each time
    /// if they are to be done `always`.
    pub fn new(interval: Duration, always: bool) -> Self {
        Pace { interval, always, following: false, wanted: true, read: None, lost: None, rest: None }
    }

    /// Whether there is a subscription.
    pub fn following(&self) -> bool {
        self.following
    }

    /// The subscription has begun or ended.
    pub fn follow(&mut self, following: bool) {
        self.wanted |= following && !self.following;
        self.following = following;
    }

    /// What is known does not hold any more.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether the subscription is given up because events are lost again and again.
    pub fn rests(&self) -> bool {
        self.rest.is_some() && !self.following
    }

    /// Events were lost; true if the subscription is to be given up.
    pub fn lost(&mut self, now: Instant) -> bool {
        let strikes = match self.lost {
            Some((at, strikes)) if now.saturating_duration_since(at) < CALM => strikes + 1,
            _ => 1,
        };
        self.wanted = true;
        self.lost = Some((now, strikes));
        if strikes < STRIKES {
            return false;
        }
        let length = match self.rest {
            Some((end, length)) if now.saturating_duration_since(end) < CALM => (length * 2).min(LONGEST_REST),
            _ => FIRST_REST,
        };
        self.rest = Some((now + length, length));
        self.lost = None;
        true
    }

    /// Whether it is time to subscribe again.
    pub fn rested(&self, now: Instant) -> bool {
        !self.following && self.rest.is_some_and(|(end, _)| now >= end)
    }

    /// Whether all flows are to be read now, `silent` if some of those known may end without an event.
    pub fn due(&self, now: Instant, silent: bool) -> bool {
        let Some((at, took)) = self.read else { return true };
        let since = now.saturating_duration_since(at);
        let enough = since >= self.interval && since >= took * (SHARE - 1);
        let wait = if silent { SILENT_INTERVAL } else { SURE_INTERVAL };
        enough && (self.always || self.wanted || !self.following || since >= wait)
    }

    /// All flows have been read, beginning at `now`.
    pub fn done(&mut self, now: Instant, took: Duration) {
        self.wanted = false;
        self.read = Some((now, took));
    }

    /// When all flows were last read.
    pub fn read_at(&self) -> Option<Instant> {
        self.read.map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);

    /// One that follows events and has read all flows just now.
    fn settled(now: Instant) -> Pace {
        let mut pace = Pace::new(Duration::ZERO, false);
        pace.follow(true);
        pace.done(now, 50 * MS);
        pace
    }

    #[test]
    fn all_flows_are_read_at_first_and_then_rarely() {
        let now = Instant::now();
        assert!(Pace::new(Duration::ZERO, false).due(now, false));
        let pace = settled(now);
        assert!(!pace.due(now + 59 * S, true));
        assert!(pace.due(now + 60 * S, true));
        assert!(!pace.due(now + 599 * S, false));
        assert!(pace.due(now + 600 * S, false));
    }

    #[test]
    fn without_events_all_flows_are_read_each_time_but_not_more_than_a_twentieth_of_the_time() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::ZERO, false);
        pace.done(now, 50 * MS);
        assert!(pace.due(now + 2 * S, false));
        pace.done(now, 200 * MS);
        assert!(!pace.due(now + 2 * S, false));
        assert!(pace.due(now + 4 * S, false));
        let mut pace = Pace::new(10 * S, true);
        pace.follow(true);
        pace.done(now, MS);
        assert!(!pace.due(now + 9 * S, false));
        assert!(pace.due(now + 10 * S, false));
    }

    #[test]
    fn lost_events_and_changes_of_the_lan_lead_to_a_reading_soon() {
        let now = Instant::now();
        let mut pace = settled(now);
        assert!(!pace.lost(now + S));
        assert!(!pace.due(now + 900 * MS, false));
        assert!(pace.due(now + 2 * S, false));
        let mut pace = settled(now);
        pace.want();
        assert!(pace.due(now + 2 * S, false));
    }

    #[test]
    fn events_lost_again_and_again_are_given_up_for_longer_each_time() {
        let mut now = Instant::now();
        let mut pace = settled(now);
        for rest in [30, 60, 120, 240, 480, 480] {
            assert!(!pace.lost(now));
            assert!(!pace.lost(now + S));
            assert!(pace.lost(now + 2 * S));
            pace.follow(false);
            now += 2 * S;
            assert!(pace.rests() && !pace.rested(now + (rest - 1) * S));
            now += rest * S;
            assert!(pace.rested(now));
            pace.follow(true);
            assert!(!pace.rests() && pace.due(now, false));
            pace.done(now, MS);
        }
    }

    #[test]
    fn a_loss_now_and_then_is_borne() {
        let now = Instant::now();
        let mut pace = settled(now);
        assert!((0..100).all(|n| !pace.lost(now + n * 60 * S)));
    }
}
