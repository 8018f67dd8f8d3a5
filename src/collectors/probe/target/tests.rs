use super::*;
use crate::collectors::probe::codec::icmp::Problem;

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
const TIMING: Timing = Timing { interval: INTERVAL, timeout: TIMEOUT };
/// What the clock on the wall shows when a test begins.
const WALL: Duration = Duration::from_secs(1_790_000_000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A target and the time, which both clocks show unless one is set.
struct Setup {
    target: Target,
    start: Instant,
    now: Duration,
}

impl Setup {
    fn new(protocol: Protocol, timing: Timing) -> Self {
        let start = Instant::now();
        Setup { target: Target::new(protocol, timing, start), start, now: Duration::ZERO }
    }

    fn icmp() -> Self {
        Setup::new(Protocol::Icmp, TIMING)
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    /// Sends a probe now.
    fn send(&mut self) -> Probe {
        let random = 0x1111_2222_3333_4444 ^ self.target.next;
        self.target.begin(self.at(), None, random)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Has an answer without stamps arrive now.
    fn answer(&mut self, probe: Probe) -> Heard {
        self.answer_with(probe, Stamps::default())
    }

    fn answer_with(&mut self, probe: Probe, stamps: Stamps) -> Heard {
        let arrival = Arrival { at: self.at(), stamps, hop_limit: Some(60), is_refusal: false };
        self.target.answer(probe, &arrival)
    }

    fn sent_at(&mut self, probe: Probe, wall: Duration) -> bool {
        self.target.passed(probe.sequence, Passed::Sent, &software(wall))
    }

    /// A probe that is sent now and answered after this time; time goes on to the next one.
    fn round_trip(&mut self, rtt: Option<Duration>) {
        let probe = self.send();
        if let Some(rtt) = rtt {
            self.now += rtt;
            assert_eq!(self.answer(probe), Heard::Answer);
            self.now -= rtt;
        }
        self.wait(INTERVAL);
    }

    /// Lets the timeouts of all probes pass.
    fn settle(&mut self) -> &Totals {
        self.wait(TIMEOUT);
        self.target.expire(self.at());
        self.target.totals()
    }
}

fn software(wall: Duration) -> Stamps {
    Stamps { software: NonZeroU64::new(wall.as_nanos() as u64), hardware: None }
}

fn hardware(clock: Duration) -> Stamps {
    Stamps { software: None, hardware: NonZeroU64::new(clock.as_nanos() as u64) }
}

#[test]
fn a_target_takes_two_kilobytes_at_most() {
    let target = Setup::icmp().target;
    let slots = target.slots.capacity() * size_of::<Slot>();
    assert_eq!(target.slots.capacity(), 8);
    assert!(size_of::<Target>() + slots <= 2048 + 256, "{} and {slots}", size_of::<Target>());
    let with_defaults = Target::new(Protocol::Icmp, Timing { interval: TIMEOUT, timeout: TIMEOUT }, Instant::now());
    let slots = with_defaults.slots.capacity() * size_of::<Slot>();
    assert!(size_of::<Target>() + slots <= 2048, "{} and {slots}", size_of::<Target>());
}

#[test]
fn a_probe_counts_when_its_timeout_is_over_and_not_before() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    setup.wait(ms(10));
    assert_eq!(setup.answer(probe), Heard::Answer);
    setup.wait(ms(1989));
    setup.target.expire(setup.at());
    assert_eq!((setup.target.totals().sent, setup.target.window().summary().samples), (0, 0));
    assert_eq!(setup.target.next_expiry(), Some(setup.start + TIMEOUT));
    setup.wait(ms(1));
    setup.target.expire(setup.at());
    let totals = setup.target.totals();
    assert_eq!((totals.sent, totals.answered, totals.rtt), (1, 1, 10_000_000));
    assert_eq!(totals.rtt_squares, 100_000_000_000_000);
    assert_eq!(setup.target.window().summary().samples, 1);
    assert_eq!(setup.target.next_expiry(), None);
}

#[test]
fn a_probe_without_an_answer_is_lost() {
    let mut setup = Setup::icmp();
    setup.round_trip(None);
    setup.round_trip(Some(ms(5)));
    let totals = setup.settle();
    assert_eq!((totals.sent, totals.answered, totals.lost(Cause::Timeout)), (2, 1, 1));
    assert_eq!(setup.target.window().summary().loss_ratio, Some(0.5));
}

#[test]
fn an_answer_after_the_timeout_is_late_and_no_round_trip() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    setup.settle();
    setup.wait(ms(3999));
    assert_eq!(setup.answer(probe), Heard::Late);
    assert_eq!(setup.answer(probe), Heard::Duplicate);
    let totals = setup.settle();
    assert_eq!((totals.sent, totals.answered, totals.late, totals.duplicates), (1, 0, 1, 1));
    assert_eq!(totals.lost(Cause::Timeout), 1);
}

#[test]
fn an_answer_after_three_timeouts_is_to_nobody() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    setup.settle();
    setup.wait(TIMEOUT);
    setup.settle();
    assert_eq!(setup.answer(probe), Heard::Unknown);
    assert_eq!((setup.target.totals().late, setup.target.slots.len()), (0, 0));
}

#[test]
fn an_answer_that_is_read_late_but_was_stamped_in_time_is_in_time() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    setup.sent_at(probe, WALL);
    // Something kept us from running.
    setup.wait(ms(3000));
    assert_eq!(setup.answer_with(probe, software(WALL + ms(7))), Heard::Answer);
    let totals = setup.settle();
    assert_eq!((totals.answered, totals.rtt, totals.late), (1, 7_000_000, 0));
}

#[test]
fn an_answer_that_is_read_and_was_received_late_is_late() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    setup.wait(ms(2001));
    assert_eq!(setup.answer(probe), Heard::Answer);
    let totals = setup.settle();
    assert_eq!((totals.sent, totals.answered, totals.late, totals.lost(Cause::Timeout)), (1, 0, 1, 1));
}

#[test]
fn the_first_answer_counts_and_others_are_duplicates() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    setup.wait(ms(3));
    setup.answer(probe);
    setup.wait(ms(3));
    assert_eq!(setup.answer(probe), Heard::Duplicate);
    setup.settle();
    assert_eq!(setup.answer(probe), Heard::Duplicate);
    let totals = setup.target.totals();
    assert_eq!((totals.answered, totals.rtt, totals.duplicates), (1, 3_000_000, 2));
}

#[test]
fn an_answer_with_another_cookie_or_number_is_to_nobody() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    assert_eq!(setup.answer(Probe { cookie: probe.cookie ^ 1, ..probe }), Heard::Unknown);
    assert_eq!(setup.answer(Probe { sequence: probe.sequence + 1, ..probe }), Heard::Unknown);
    assert_eq!(setup.answer(Probe { sequence: probe.sequence.wrapping_sub(1), ..probe }), Heard::Unknown);
    assert_eq!(setup.answer(probe), Heard::Answer);
}

#[test]
fn numbers_wrap_and_an_answer_of_the_last_turn_is_told_by_its_cookie() {
    let mut setup = Setup::icmp();
    let mut first = None;
    for _ in 0..65_540 {
        let probe = setup.send();
        first.get_or_insert(probe);
        setup.answer(probe);
        setup.wait(INTERVAL);
        setup.target.expire(setup.at());
    }
    let probe = setup.send();
    assert_eq!(probe.sequence, 4);
    assert_eq!(setup.answer(Probe { sequence: 4, ..first.unwrap() }), Heard::Unknown);
    assert_eq!(setup.answer(probe), Heard::Answer);
    assert_eq!(setup.settle().answered, 65_541);
}

#[test]
fn a_syn_has_its_number_in_what_is_acknowledged() {
    let mut setup = Setup::new(Protocol::Tcp, TIMING);
    setup.send();
    let probe = setup.send();
    assert_eq!(probe, Probe { sequence: 1, cookie: 0x3333_0001 });
}

#[test]
fn a_refusal_is_an_answer_and_told_apart() {
    let mut setup = Setup::new(Protocol::Tcp, TIMING);
    let probe = setup.send();
    setup.wait(ms(4));
    let stamps = Stamps::default();
    let arrival = Arrival { at: setup.at(), stamps, hop_limit: None, is_refusal: true };
    assert_eq!(setup.target.answer(probe, &arrival), Heard::Answer);
    let totals = setup.settle();
    assert_eq!((totals.answered, totals.refused, totals.rtt), (1, 1, 4_000_000));
}

#[test]
fn the_kernels_stamps_measure_whichever_comes_first() {
    for answer_first in [false, true] {
        let mut setup = Setup::icmp();
        let probe = setup.send();
        setup.wait(ms(9));
        let (left, arrived) = (WALL + ms(1), WALL + ms(1) + Duration::from_nanos(4_321_987));
        if answer_first {
            setup.answer_with(probe, software(arrived));
            assert!(setup.sent_at(probe, left));
        } else {
            assert!(setup.sent_at(probe, left));
            setup.answer_with(probe, software(arrived));
        }
        let totals = setup.settle();
        assert_eq!((totals.rtt, totals.measured_by(Clock::Kernel)), (4_321_987, 1));
    }
}

#[test]
fn each_rung_of_the_ladder_is_told() {
    let both = |wall: Duration, clock: Duration| Stamps { hardware: hardware(clock).hardware, ..software(wall) };
    let measured = |sent: &[(Passed, Stamps)], wall: Option<Duration>, received: Stamps| {
        let mut setup = Setup::icmp();
        let probe = setup.target.begin(setup.at(), wall, 1);
        for (passed, stamps) in sent {
            setup.target.passed(probe.sequence, *passed, stamps);
        }
        setup.wait(ms(20));
        setup.answer_with(probe, received);
        let totals = setup.settle();
        let clocks = [Clock::Hardware, Clock::Kernel, Clock::Received, Clock::Own];
        let clock = clocks.into_iter().find(|clock| totals.measured_by(*clock) == 1).unwrap();
        (clock, totals.rtt)
    };
    let received = both(WALL + ms(15), ms(77));
    let (by_card, by_kernel) = ((Passed::Sent, hardware(ms(70))), (Passed::Sent, software(WALL + ms(3))));
    assert_eq!(measured(&[by_card, by_kernel], Some(WALL), received), (Clock::Hardware, 7_000_000));
    assert_eq!(measured(&[by_kernel, by_card], Some(WALL), received), (Clock::Hardware, 7_000_000));
    assert_eq!(measured(&[by_kernel], Some(WALL), received), (Clock::Kernel, 12_000_000));
    assert_eq!(measured(&[by_card], Some(WALL), software(WALL + ms(15))), (Clock::Received, 15_000_000));
    assert_eq!(measured(&[], Some(WALL), received), (Clock::Received, 15_000_000));
    assert_eq!(measured(&[by_card], None, software(WALL)), (Clock::Own, 20_000_000));
    assert_eq!(measured(&[], None, received), (Clock::Own, 20_000_000));
    assert_eq!(measured(&[by_kernel], Some(WALL), Stamps::default()), (Clock::Own, 20_000_000));
}

#[test]
fn a_clock_that_is_set_while_a_probe_is_under_way_does_not_show() {
    let measured = |arrived: Duration| {
        let mut setup = Setup::icmp();
        let probe = setup.send();
        setup.sent_at(probe, WALL);
        setup.wait(ms(20));
        setup.answer_with(probe, software(arrived));
        let totals = setup.settle();
        (totals.rtt / 1000, totals.impossible_stamps)
    };
    assert_eq!(measured(WALL + ms(18)), (18_000, 0));
    assert_eq!(measured(WALL), (0, 0));
    assert_eq!(measured(WALL + ms(21)), (21_000, 0));
    assert_eq!(measured(WALL + ms(21) + Duration::from_nanos(1)), (20_000, 1));
    assert_eq!(measured(WALL + ms(10_018)), (20_000, 1));
    assert_eq!(measured(WALL - ms(9_982)), (20_000, 1));
    assert_eq!(measured(WALL - Duration::from_nanos(1)), (20_000, 1));
    assert_eq!(measured(ms(1)), (20_000, 1), "a router without a clock learns the time");
}

#[test]
fn the_time_in_the_queue_is_told() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    assert!(setup.target.passed(probe.sequence, Passed::Queued, &software(WALL + ms(1))));
    assert!(setup.target.passed(probe.sequence, Passed::Sent, &software(WALL + ms(6))));
    let other = setup.send();
    setup.target.passed(other.sequence, Passed::Queued, &software(WALL + ms(6)));
    setup.target.passed(other.sequence, Passed::Sent, &software(WALL + ms(60_000)));
    let totals = setup.settle();
    assert_eq!((totals.queued, totals.queued_probes), (5_000_000, 1));
}

#[test]
fn stamps_of_probes_that_are_decided_or_unknown_are_of_no_use() {
    let mut setup = Setup::icmp();
    let probe = setup.send();
    assert!(!setup.sent_at(Probe { sequence: 7, ..probe }, WALL));
    setup.settle();
    assert!(!setup.sent_at(probe, WALL));
}

#[test]
fn a_loss_has_the_cause_that_was_told_and_an_answer_has_none() {
    let mut setup = Setup::icmp();
    let (refused, reported, foreign, answered) = (setup.send(), setup.send(), setup.send(), setup.send());
    assert!(setup.target.fail(refused.sequence, None, Cause::of_error(libc::EPERM)));
    let cause = Problem::TooBig(1400).into();
    assert!(setup.target.fail(reported.sequence, Some(reported.cookie), cause));
    assert!(!setup.target.fail(foreign.sequence, Some(foreign.cookie ^ 1), cause));
    assert!(setup.target.fail(answered.sequence, None, Cause::HostUnreachable));
    setup.answer(answered);
    assert!(!setup.target.fail(answered.sequence + 1, None, cause));
    let totals = setup.settle();
    assert_eq!((totals.sent, totals.answered), (4, 1));
    let lost = |cause| totals.lost(cause);
    assert_eq!((lost(Cause::NotPermitted), lost(Cause::TooBig), lost(Cause::Timeout)), (1, 1, 1));
    assert_eq!(lost(Cause::HostUnreachable), 0);
    let sum: u64 = Cause::ALL.iter().map(|(cause, _)| lost(*cause)).sum();
    assert_eq!(sum, totals.sent - totals.answered);
    assert!(!setup.target.fail(refused.sequence, None, cause), "decided");
}

#[test]
fn every_cause_has_its_own_place_and_name() {
    for (at, (cause, name)) in Cause::ALL.iter().enumerate() {
        assert_eq!(*cause as usize, at);
        assert!(Cause::ALL.iter().filter(|(_, other)| other == name).count() == 1);
    }
    for (number, cause) in [
        (libc::ENETUNREACH, Cause::NoRoute),
        (libc::EACCES, Cause::NotPermitted),
        (libc::ENOBUFS, Cause::NoBuffer),
        (libc::ENODEV, Cause::InterfaceDown),
        (libc::EADDRNOTAVAIL, Cause::NoAddress),
        (libc::EMSGSIZE, Cause::TooLong),
        (libc::EINVAL, Cause::NotSent),
    ] {
        assert_eq!(Cause::of_error(number), cause);
    }
}

#[test]
fn an_answer_that_is_overtaken_is_reordered() {
    let mut setup = Setup::icmp();
    let probes = [setup.send(), setup.send(), setup.send(), setup.send()];
    // 1 and then 0, 3 and then 2: two came behind a later one; a duplicate is none.
    for at in [1, 0, 0, 3, 2] {
        setup.answer(probes[at]);
    }
    let totals = setup.settle();
    assert_eq!((totals.reordered, totals.duplicates, totals.answered), (2, 1, 4));
    assert_eq!(totals.lost(Cause::Timeout), 0);
}

#[test]
fn jitter_smooths_the_differences_of_successive_round_trips() {
    let mut setup = Setup::icmp();
    assert_eq!(setup.target.jitter(), None);
    for rtt in [10, 26, 10] {
        setup.round_trip(Some(ms(rtt)));
    }
    setup.settle();
    // 16 / 16 = 1, then 1 + (16 - 1) / 16.
    let jitter = setup.target.jitter().unwrap().as_nanos();
    assert!(jitter.abs_diff(1_937_500) < 2, "{jitter}");
    let totals = setup.target.totals();
    assert_eq!((totals.variation, totals.variations), (32_000_000, 2));
}

#[test]
fn a_lost_probe_parts_those_around_it() {
    let mut setup = Setup::icmp();
    for rtt in [Some(10), None, Some(500), Some(501)] {
        setup.round_trip(rtt.map(ms));
    }
    let totals = setup.settle();
    assert_eq!((totals.variation, totals.variations), (1_000_000, 1));
}

#[test]
fn a_change_of_the_hop_limit_is_counted() {
    let mut setup = Setup::icmp();
    for hop_limit in [Some(60), Some(60), None, Some(58), Some(60)] {
        let probe = setup.send();
        let arrival = Arrival { at: setup.at(), stamps: Stamps::default(), hop_limit, is_refusal: false };
        setup.target.answer(probe, &arrival);
    }
    assert_eq!((setup.target.hop_limit(), setup.target.totals().hop_limit_changes), (Some(60), 2));
}

#[test]
fn several_probes_are_under_way_where_the_timeout_is_longer_than_the_interval() {
    let timing = Timing { interval: ms(10), timeout: TIMEOUT };
    let mut setup = Setup::new(Protocol::Icmp, timing);
    let room = setup.target.slots.capacity();
    let mut under_way = VecDeque::new();
    for number in 0..2000 {
        under_way.push_back(setup.send());
        if number >= 150 {
            let probe = under_way.pop_front().unwrap();
            assert_eq!(setup.answer(probe), Heard::Answer, "{number}");
        }
        setup.wait(ms(10));
        setup.target.expire(setup.at());
        assert!(setup.target.slots.len() <= 601);
    }
    let totals = setup.target.totals();
    assert_eq!((totals.sent, totals.answered), (1801, 1801));
    assert_eq!(totals.rtt, 1801 * 1_500_000_000);
    assert_eq!(setup.target.slots.capacity(), room, "no room is taken while probing");
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut setup = Setup::new(Protocol::Icmp, Timing { interval: ms(1), timeout: Duration::from_secs(3600) });
    for _ in 0..5000 {
        setup.send();
    }
    assert_eq!(setup.target.slots.len(), 4096);
    let totals = setup.target.totals();
    assert_eq!((totals.sent, totals.lost(Cause::Timeout)), (904, 904));
    assert_eq!((setup.target.decided, setup.target.next), (0, 5000));
}

#[test]
fn impossible_timings_do_no_harm() {
    for (interval, timeout) in [(Duration::ZERO, Duration::ZERO), (Duration::MAX, Duration::MAX)] {
        let mut setup = Setup::new(Protocol::Icmp, Timing { interval, timeout });
        for _ in 0..10 {
            setup.send();
            setup.wait(ms(1));
            setup.target.expire(setup.at());
            let _ = setup.target.next_expiry();
        }
    }
}

#[test]
fn another_timeout_holds_for_probes_under_way() {
    let mut setup = Setup::icmp();
    setup.send();
    setup.target.set_timing(Timing { interval: ms(10), timeout: ms(500) });
    assert_eq!(setup.target.next_expiry(), Some(setup.start + ms(500)));
    setup.wait(ms(500));
    setup.target.expire(setup.at());
    assert_eq!(setup.target.totals().sent, 1);
}

#[test]
fn access_is_remembered() {
    let mut setup = Setup::icmp();
    assert_eq!(setup.target.accessed(), setup.start);
    setup.wait(ms(5));
    setup.target.touch(setup.at());
    setup.target.touch(setup.start);
    assert_eq!(setup.target.accessed(), setup.start + ms(5));
}

#[test]
fn sums_do_not_end_with_the_largest_round_trips() {
    let mut totals = Totals::default();
    totals.count_answer(Duration::MAX, Clock::Own);
    totals.count_answer(Duration::MAX, Clock::Own);
    assert_eq!(totals.answered, 2);
    assert!(totals.rtt_squares > u128::MAX / 4);
}
