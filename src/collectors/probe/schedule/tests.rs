use std::collections::BTreeMap;

use super::*;

const MAX_RATE: u32 = 10_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A schedule, run over simulated time.
struct Run {
    schedule: Schedule,
    start: Instant,
    now: Instant,
    /// Who was sent to when, since the start.
    sent: Vec<(Duration, u32)>,
    wakeups: usize,
}

impl Run {
    fn new(max_rate: u32) -> Self {
        let start = Instant::now();
        Run { schedule: Schedule::new(start, max_rate), start, now: start, sent: Vec::new(), wakeups: 0 }
    }

    /// With so many targets of one interval.
    fn with(targets: u32, interval: Duration) -> Self {
        let mut run = Run::new(MAX_RATE);
        run.add(0..targets, interval);
        run
    }

    fn add(&mut self, ids: impl IntoIterator<Item = u32>, interval: Duration) {
        ids.into_iter().for_each(|id| self.schedule.add(id, interval, self.now));
    }

    /// Wakes up whenever it is due, `late` after that, for this time.
    fn go(&mut self, time: Duration, late: Duration) {
        let end = self.now + time;
        while let Some(due) = self.schedule.next_due() {
            let wakeup = due.max(self.now) + late;
            if wakeup > end {
                break;
            }
            self.wake(wakeup);
        }
        self.now = end;
    }

    fn wake(&mut self, at: Instant) {
        assert!(at >= self.now);
        self.now = at;
        self.wakeups += 1;
        let before = self.sent.len();
        while let Some(id) = self.schedule.pop(at) {
            self.sent.push((at - self.start, id));
        }
        assert!(self.sent.len() > before, "a wake-up without work");
    }

    /// Times between successive probes, shortest and longest.
    fn gaps(&self) -> (Duration, Duration) {
        let gaps = || self.sent.windows(2).map(|pair| pair[1].0 - pair[0].0);
        (gaps().min().unwrap(), gaps().max().unwrap())
    }

    /// When each target was sent to.
    fn turns(&self) -> BTreeMap<u32, Vec<Duration>> {
        let mut turns = BTreeMap::<_, Vec<_>>::new();
        self.sent.iter().for_each(|(at, id)| turns.entry(*id).or_default().push(*at));
        turns
    }

    /// Asserts that each target had its turn every `interval`, but for this much.
    #[track_caller]
    fn assert_even(&self, interval: Duration, slack: Duration) {
        for (id, turns) in self.turns() {
            for pair in turns.windows(2) {
                let found = pair[1] - pair[0];
                assert!(found.abs_diff(interval) <= slack, "{id}: {found:?}");
            }
        }
    }
}

#[test]
fn nothing_is_due_without_targets() {
    let mut run = Run::new(MAX_RATE);
    assert_eq!(run.schedule.next_due(), None);
    assert_eq!(run.schedule.pop(run.now + ms(10_000)), None);
}

#[test]
fn one_target_has_its_turn_at_every_interval() {
    let mut run = Run::with(1, ms(2000));
    run.go(ms(20_000), Duration::ZERO);
    assert_eq!(run.sent.len(), 11);
    assert_eq!(run.wakeups, 11);
    run.assert_even(ms(2000), Duration::ZERO);
}

#[test]
fn probes_are_spread_evenly_for_any_number_of_targets() {
    for targets in [2, 3, 5, 7, 16, 63, 64, 65, 100, 250] {
        let mut run = Run::with(targets, ms(2000));
        run.go(ms(20_000), Duration::ZERO);
        assert!(run.sent.len().abs_diff(10 * targets as usize) <= 1, "{targets}: {}", run.sent.len());
        let (shortest, longest) = run.gaps();
        let even = ms(2000) / targets;
        assert!(longest <= even * 2 + LONGEST_BATCH, "{targets}: {shortest:?} {longest:?}");
        let at_once = run.sent.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).max();
        assert!(at_once <= Some(5), "{targets}: {at_once:?} at once");
        // Several go with one wake-up, so a turn may be as late as that.
        run.assert_even(ms(2000), LONGEST_BATCH);
        assert_eq!(run.schedule.missed(), 0);
    }
}

#[test]
fn every_moment_is_as_busy_as_another() {
    let mut run = Run::with(1000, ms(2000));
    run.go(ms(9_999), Duration::ZERO);
    let mut busy = BTreeMap::<_, u32>::new();
    run.sent.iter().for_each(|(at, _)| *busy.entry(at.as_millis() / 50).or_default() += 1);
    assert!(busy.values().all(|probes| (21..=29).contains(probes)), "{busy:?}");
}

#[test]
fn who_comes_or_goes_shifts_nobody() {
    let mut run = Run::with(20, ms(1000));
    run.go(ms(3000), Duration::ZERO);
    run.add(100..113, ms(1000));
    run.go(ms(3000), Duration::ZERO);
    (0..20).step_by(3).for_each(|id| run.schedule.remove(id, run.now));
    run.go(ms(3000), Duration::ZERO);
    run.add(200..203, ms(300));
    run.go(ms(3000), Duration::ZERO);
    for (id, turns) in run.turns().into_iter().filter(|(id, _)| *id < 200) {
        for pair in turns.windows(2) {
            // Two circles may be due together, and then are set apart.
            assert!((pair[1] - pair[0]).abs_diff(ms(1000)) <= LONGEST_BATCH + MOST_APART, "{id}: {pair:?}");
        }
    }
    assert_eq!(run.turns()[&0].len(), 7);
    assert_eq!(run.turns()[&1].len(), 12);
    assert_eq!(run.schedule.missed(), 0);
}

#[test]
fn a_place_that_is_free_again_is_given_to_the_next() {
    let mut run = Run::with(8, ms(800));
    for turn in 0..50 {
        run.schedule.remove(turn, run.now);
        run.add([turn + 8], ms(800));
        run.go(ms(97), Duration::ZERO);
    }
    run.sent.clear();
    run.go(ms(8000), Duration::ZERO);
    assert_eq!(run.gaps(), (ms(100), ms(100)));
    assert_eq!(run.schedule.circles.len(), 1);
    assert_eq!(run.schedule.circles[0].given, 8);
}

#[test]
fn nothing_is_left_of_targets_that_are_gone() {
    let mut run = Run::with(8, ms(800));
    run.add(8..10, ms(10));
    (0..10).for_each(|id| run.schedule.remove(id, run.now));
    run.schedule.remove(77, run.now);
    assert!(run.schedule.turns.is_empty() && run.schedule.circles.is_empty());
    assert_eq!(run.schedule.next_due(), None);
}

#[test]
fn each_target_keeps_its_own_interval() {
    let mut run = Run::new(MAX_RATE);
    run.add(0..10, ms(1000));
    run.add(10..20, ms(2000));
    run.add(20..22, ms(333));
    run.add([22], ms(60_000));
    run.go(ms(60_000), Duration::ZERO);
    let turns = run.turns();
    for (ids, expected) in [(0..10, 60), (10..20, 30), (20..22, 180), (22..23, 1)] {
        for id in ids {
            assert!(turns[&id].len().abs_diff(expected) <= 1, "{id}: {}", turns[&id].len());
        }
    }
    assert_eq!(run.schedule.stretch(), 1.0);
}

#[test]
fn the_allowed_rate_holds_and_every_interval_stretches_alike() {
    let mut run = Run::new(100);
    run.add(0..100, ms(500));
    run.add(100..150, ms(250));
    // 200 and 200 in a second are wanted.
    assert!((run.schedule.stretch() - 4.0).abs() < 1e-9);
    run.go(ms(40_000), Duration::ZERO);
    let turns = run.turns();
    assert!(run.sent.len().abs_diff(4000) <= 10, "{}", run.sent.len());
    assert!((0..100).all(|id| turns[&id].len().abs_diff(20) <= 1));
    assert!((100..150).all(|id| turns[&id].len().abs_diff(40) <= 1));
    let most = run.sent.windows(101).map(|probes| probes[100].0 - probes[0].0).min().unwrap();
    assert!(most >= ms(995), "100 probes in {most:?}");
    assert_eq!(run.schedule.missed(), 0);
}

#[test]
fn intervals_are_as_asked_for_again_when_there_is_room() {
    let mut run = Run::new(100);
    run.add(0..200, ms(1000));
    run.go(ms(4000), Duration::ZERO);
    (50..200).for_each(|id| run.schedule.remove(id, run.now));
    assert_eq!(run.schedule.stretch(), 1.0);
    run.go(ms(2000), Duration::ZERO);
    run.sent.clear();
    run.go(ms(5000), Duration::ZERO);
    assert!(run.sent.len().abs_diff(250) <= 1);
    run.schedule.set_max_rate(25, run.now);
    assert_eq!(run.schedule.stretch(), 2.0);
    run.sent.clear();
    run.go(ms(10_000), Duration::ZERO);
    assert!(run.sent.len().abs_diff(250) <= 1);
}

#[test]
fn a_late_wake_up_makes_no_burst_and_loses_no_turn() {
    let mut run = Run::with(100, ms(1000));
    run.go(ms(2000), Duration::ZERO);
    let before = run.sent.len();
    // Nothing ran for a fifth of a second: 20 are due.
    run.now += ms(200);
    run.go(ms(800), Duration::ZERO);
    run.go(ms(2000), Duration::ZERO);
    assert!((run.sent.len() - before).abs_diff(300) <= 4, "{}", run.sent.len() - before);
    assert_eq!(run.schedule.missed(), 0);
    let late = &run.sent[before..];
    let most = late.windows(12).map(|probes| probes[11].0 - probes[0].0).min().unwrap();
    assert!(most >= ms(30), "12 probes in {most:?}");
    // Soon all is as before.
    run.sent.retain(|(at, _)| *at > ms(3000));
    run.assert_even(ms(1000), LONGEST_BATCH);
}

#[test]
fn turns_that_are_over_are_left_out() {
    let mut run = Run::with(10, ms(1000));
    run.go(ms(2000), Duration::ZERO);
    let before = run.sent.len();
    run.now += ms(3_600_000);
    run.go(ms(2000), Duration::ZERO);
    let sent = run.sent.len() - before;
    assert!((20..=31).contains(&sent), "{sent}");
    assert!(run.schedule.missed().abs_diff(36_000 - 10) <= 10, "{}", run.schedule.missed());
}

#[test]
fn the_rate_holds_though_every_wake_up_is_late() {
    for (targets, interval) in [(100, 1000), (100, 10), (1000, 1000), (10_000, 1000)] {
        let mut run = Run::with(targets, ms(interval));
        run.go(ms(5000), Duration::from_micros(300));
        let expected = targets as usize * 5000 / interval as usize;
        assert!(run.sent.len().abs_diff(expected) <= 4 + expected / 200, "{targets}: {} of {expected}", run.sent.len());
        assert_eq!(run.schedule.missed(), 0);
    }
}

#[test]
fn one_wake_up_serves_several_where_there_are_many() {
    let mut run = Run::with(10_000, ms(1000));
    run.go(ms(3000), Duration::ZERO);
    assert!(run.sent.len() > 29_900);
    assert!(run.wakeups <= 3001, "{}", run.wakeups);
    let most = run.sent.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).max();
    assert!(most <= Some(41), "{most:?} at once");
}

#[test]
fn no_room_is_taken_while_probing() {
    let mut run = Run::with(1000, ms(100));
    let room = run.schedule.turns.capacity();
    run.go(ms(2000), Duration::ZERO);
    assert_eq!((run.schedule.turns.capacity(), run.schedule.turns.len()), (room, 1000));
    assert!(size_of::<Turn>() <= 24);
}

#[test]
fn impossible_intervals_do_no_harm() {
    let mut run = Run::new(0);
    run.add([1], Duration::ZERO);
    run.add([2], Duration::MAX);
    run.go(ms(5000), Duration::ZERO);
    assert!(run.sent.len() <= 8, "{}", run.sent.len());
    let mut run = Run::new(u32::MAX);
    run.add([2], Duration::MAX);
    assert!(run.schedule.next_due().is_none_or(|due| due >= run.now));
}
