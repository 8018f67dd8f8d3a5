//! What the log says about time, next to ping's clock and the kernel's stamps.

use std::net::IpAddr;
use std::time::Duration;

use gatemeter::sys::timestamps::Wanted;

use super::lab::responder::{Log, Responder, Rule, What};
use super::prober::Prober;
use super::{TARGETS, field, ip, lab, ms, ping};

#[test]
fn a_round_trip_of_ping_holds_the_delay_on_record() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().delay(ms(12))).build();
    for target in TARGETS {
        let printed = ping(&lab.router, target, 10);
        let log = far.log();
        let delays = log.to(ip(target)).delays();
        assert_eq!(delays.count(), 10, "{printed}");
        assert!(delays.min() >= Some(ms(12)) && delays.min() <= delays.mean() && delays.mean() <= delays.max());
        for line in printed.lines().filter(|line| line.contains("icmp_seq=")) {
            let sequence: usize = field(line, "icmp_seq=").parse().unwrap();
            let round_trip: f64 = field(line, "time=").parse().unwrap();
            // Three digits are printed.
            let rounded = round_trip * 1.01;
            let logged = delays.nanoseconds()[sequence - 1].unwrap() as f64 / 1e6;
            assert!(rounded >= logged, "{line}: {logged} ms on record");
        }
    }
}

#[test]
fn jitter_spreads_delays_around_their_middle_and_is_the_same_again() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let record = |seed| {
        far.forget();
        far.default_rule(Rule::new().delay(ms(20)).jitter(ms(15), seed));
        ping(&lab.router, TARGETS[0], 50);
        far.settled()
    };
    let nominal = |log: &Log| -> Vec<Duration> { log.requests.iter().map(|r| r.replies[0].nominal).collect() };
    let log = record(5);
    let wanted = nominal(&log);
    assert_eq!(wanted.len(), 50);
    assert!(wanted.iter().all(|delay| (ms(5)..=ms(35)).contains(delay)), "{wanted:?}");
    let below = wanted.iter().filter(|delay| **delay < ms(20)).count();
    assert!((12..38).contains(&below), "{wanted:?}");
    for (delay, wanted) in log.all().delays().nanoseconds().iter().zip(&wanted) {
        assert!(delay.map(Duration::from_nanos) >= Some(*wanted));
    }
    assert_eq!(wanted, nominal(&record(5)));
    assert_ne!(wanted, nominal(&record(6)));
}

#[test]
fn figures_of_the_log_are_those_of_its_requests_taken_one_by_one() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().delay(ms(6)).jitter(ms(4), 3).lose_every(5)).build();
    ping(&lab.router, TARGETS[1], 23);
    let log = far.settled();
    let (mut sum, mut squares, mut differences, mut pairs, mut last) = (0.0, 0.0, 0.0, 0.0, None);
    let (mut shortest, mut longest) = (f64::MAX, 0.0f64);
    for (n, request) in (1..).zip(&log.requests) {
        let delay = request.replies.first().map(|reply| (reply.written.monotonic - request.read.monotonic) as f64);
        assert_eq!(delay.is_none(), n % 5 == 0);
        if let Some(delay) = delay {
            (sum, squares) = (sum + delay, squares + delay * delay);
            (shortest, longest) = (shortest.min(delay), longest.max(delay));
        }
        if let (Some(delay), Some(last)) = (delay, last) {
            let difference: f64 = delay - last;
            (differences, pairs) = (differences + difference.abs(), pairs + 1.0);
        }
        last = delay;
    }
    let seen = log.to(ip(TARGETS[1]));
    let delays = seen.delays();
    assert_eq!((seen.count(), seen.lost(), delays.count(), pairs), (23, 4, 19, 14.0));
    let mean = sum / 19.0;
    for (figure, expected) in [
        (delays.mean(), mean),
        (delays.min(), shortest),
        (delays.max(), longest),
        (delays.deviation(), (squares / 19.0 - mean * mean).sqrt()),
        (delays.mean_difference(), differences / pairs),
    ] {
        let off = figure.unwrap().as_nanos() as f64 - expected;
        assert!(off.abs() < 10.0, "{figure:?} {expected}");
    }
    let median = delays.median().unwrap();
    let below = log.requests.iter().filter_map(|r| r.delay()).filter(|delay| u128::from(*delay) < median.as_nanos());
    assert_eq!(below.count(), 9);
}

/// Sends 200 requests and checks every stamp of the kernel against the log.
fn stamps_of_the_kernel_agree(target: &str, delay: Duration) {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let to: IpAddr = ip(target);
    lab.router.enter(|| {
        let mut prober = Prober::echo(to.is_ipv4(), Wanted::default());
        prober.warm_up(to);
        far.rule(to, Rule::new().delay(delay).lose_every(4));
        far.forget();
        for batch in 0..20 {
            prober.fill(to, batch * 10..(batch + 1) * 10);
            assert_eq!(prober.send(), []);
            prober.drain();
        }
        let all = "150 replies and 200 stamps";
        prober.drain_until(all, |prober| prober.replies.len() == 150 && prober.sent.len() == 200);
        let log: Log = far.settled();
        assert_eq!((log.all().count(), log.all().lost()), (200, 50));
        for (request, (_, sent)) in log.requests.iter().zip(&prober.sent) {
            let What::Echo { sequence, .. } = request.what else { panic!("{request:?}") };
            assert!(*sent <= request.read.realtime, "{sequence} was read before it was sent");
            let Some(received) = prober.replies.get(&sequence) else {
                assert!(request.replies.is_empty(), "{sequence} is lost and answered");
                continue;
            };
            let (received, reply) = (received.unwrap(), &request.replies[0]);
            assert!(
                (reply.written.realtime..=reply.done.realtime).contains(&received),
                "{sequence}: {received} is not within {reply:?}"
            );
            let logged = request.delay().unwrap();
            assert!(logged >= delay.as_nanos() as u64 && received - sent >= logged, "{sequence}: {logged} ns");
        }
    });
}

#[test]
fn the_kernel_stamps_requests_before_they_are_read_and_replies_while_they_are_written() {
    stamps_of_the_kernel_agree(TARGETS[0], Duration::ZERO);
    stamps_of_the_kernel_agree(TARGETS[1], Duration::ZERO);
}

#[test]
fn delays_are_within_the_stamped_round_trips() {
    stamps_of_the_kernel_agree(TARGETS[0], ms(3));
    stamps_of_the_kernel_agree(TARGETS[1], ms(3));
}
