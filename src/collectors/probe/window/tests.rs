use super::*;

/// A small generator of repeatable random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The rule word for word, over a list that is newest first.
#[derive(Default)]
struct Rule {
    results: Vec<Option<u64>>,
    limit: usize,
    samples: usize,
}

impl Rule {
    fn push(&mut self, result: Option<u64>) {
        self.results.insert(0, result);
        self.results.truncate(250);
        self.limit = (self.limit + 1).min(250);
        let length = self.results.len().min(self.limit);
        let share = |part: &[Option<u64>]| (part.iter().flatten().count() as i64, part.len() as i64);
        let (mut best, mut chosen) = ((12, 100), length);
        for newer in 0..length {
            if newer < 25 || length - newer < 25 {
                continue;
            }
            let ((a, n), (b, m)) = (share(&self.results[..newer]), share(&self.results[newer..length]));
            let score = ((a * m - b * n).abs(), n * m);
            if score.0 * best.1 > best.0 * score.1 {
                (best, chosen) = (score, newer);
            }
        }
        if chosen < length && chosen >= 100 {
            self.limit = chosen;
        }
        self.samples = chosen;
    }

    /// Samples, loss, mean and deviation, the simple way.
    fn summary(&self) -> Summary {
        let part = &self.results[..self.samples];
        let answers: Vec<f64> = part.iter().flatten().map(|nanos| *nanos as f64 / 1e9).collect();
        let count = answers.len() as f64;
        let mean = answers.iter().sum::<f64>() / count;
        let variance = answers.iter().map(|rtt| (rtt - mean).powi(2)).sum::<f64>() / count;
        let if_answered = |value| (!answers.is_empty()).then_some(value);
        Summary {
            samples: part.len(),
            loss_ratio: (!part.is_empty()).then(|| 1.0 - count / part.len() as f64),
            latency: if_answered(mean),
            deviation: if_answered(variance.sqrt()),
        }
    }
}

fn nanos(nanos: u64) -> Option<Duration> {
    Some(Duration::from_nanos(nanos))
}

/// A window after so many results, where `rtt` tells each by its number.
fn window(results: usize, rtt: impl Fn(usize) -> Option<Duration>) -> Window {
    let mut window = Window::default();
    (0..results).for_each(|number| window.push(rtt(number)));
    window
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: Option<f64>, context: &str) {
    match (found, expected) {
        (Some(found), Some(expected)) => {
            assert!((found - expected).abs() <= 1e-12 + expected.abs() * 1e-9, "{context}: {found} for {expected}");
        }
        _ => assert_eq!(found, expected, "{context}"),
    }
}

#[test]
fn a_result_takes_four_bytes_and_a_window_little_more() {
    assert!(size_of::<Window>() <= 1000 + 96, "{}", size_of::<Window>());
}

#[test]
fn nothing_is_said_without_results() {
    let expected = Summary { samples: 0, loss_ratio: None, latency: None, deviation: None };
    assert_eq!(Window::default().summary(), expected);
}

#[test]
fn all_lost_is_all_lost_and_no_round_trip() {
    for count in [1, 49, 50, 250, 600] {
        let summary = window(count, |_| None).summary();
        let samples = count.min(250);
        assert_eq!(summary, Summary { samples, loss_ratio: Some(1.0), latency: None, deviation: None });
    }
}

#[test]
fn none_lost_and_all_the_same_has_no_deviation() {
    for rtt in [0, 1, 3, 10_000_000, 123_456_789, 2_147_483_647, 2_147_483_648, 60_000_000_000] {
        for count in [1, 2, 25, 250, 777] {
            let summary = window(count, |_| nanos(rtt)).summary();
            assert_eq!(summary.loss_ratio, Some(0.0));
            assert_eq!(summary.deviation, Some(0.0), "{count} of {rtt}");
            assert_close(summary.latency, Some(rtt as f64 / 1e9), "mean");
        }
    }
}

#[test]
fn lost_probes_add_nothing_to_the_deviation() {
    let summary = window(200, |number| (number % 5 != 0).then_some(Duration::from_millis(10))).summary();
    assert_eq!(summary, Summary { samples: 200, loss_ratio: Some(0.2), latency: Some(0.01), deviation: Some(0.0) });
}

#[test]
fn a_round_trip_is_kept_to_the_nanosecond_up_to_two_seconds_and_nearly_so_beyond() {
    for rtt in [0, 1, 999, 2_000_000_001, 2_147_483_647] {
        assert_eq!(unpack(pack(Duration::from_nanos(rtt))), Some(rtt));
    }
    for rtt in [2_147_483_648, 3_000_000_077, 60_000_000_001, 274_000_000_000] {
        let kept = unpack(pack(Duration::from_nanos(rtt))).unwrap();
        assert!(kept <= rtt && rtt - kept < 128, "{kept} for {rtt}");
    }
    for longer in [MAX_RTT, MAX_RTT + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(unpack(pack(longer)).map(Duration::from_nanos), Some(MAX_RTT));
    }
    assert!(MAX_RTT > Duration::from_secs(274));
}

#[test]
fn no_change_is_seen_in_forty_nine_results_and_one_is_in_fifty() {
    let results = |count: usize| window(count, |number| if number < 25 { nanos(1000) } else { None });
    assert_eq!(results(49).summary().samples, 49);
    let summary = results(50).summary();
    assert_eq!((summary.samples, summary.loss_ratio), (25, Some(1.0)));
}

#[test]
fn at_least_twenty_five_results_count() {
    let results = |lost: usize| window(200 + lost, |number| if number < 200 { nanos(1000) } else { None });
    for (lost, samples) in [(3, 203), (4, 25), (24, 25), (25, 25), (26, 26), (40, 40)] {
        assert_eq!(results(lost).summary().samples, samples, "{lost} lost");
    }
}

#[test]
fn a_step_of_twelve_points_is_no_change_and_a_larger_one_is() {
    let lost = |results: usize, lost: &[usize]| {
        window(results, |number| (!lost.contains(&number)).then_some(Duration::from_micros(1))).summary().samples
    };
    // 3 of 25 and 6 of 50 are 12 points, 4 of 33 are 12.1; at other places the difference is smaller.
    assert_eq!(lost(50, &[25, 37, 49]), 50);
    assert_eq!(lost(75, &[25, 35, 45, 55, 65, 74]), 75);
    assert_eq!(lost(58, &[25, 35, 45, 55]), 33);
}

#[test]
fn the_round_trip_after_a_change_is_that_of_the_results_since() {
    // Constant 10 ms after 25 lost: neither too high by a result more, nor a deviation of anything but zero.
    let summary = window(50, |number| if number < 25 { None } else { Some(Duration::from_millis(10)) }).summary();
    assert_eq!(summary, Summary { samples: 25, loss_ratio: Some(0.0), latency: Some(0.01), deviation: Some(0.0) });
    let summary = window(90, |number| nanos(if number < 45 { 1 } else { 1_000_000 })).summary();
    assert_eq!(summary.samples, 90, "latency alone makes no change");
}

#[test]
fn what_is_older_than_a_change_is_forgotten_with_the_hundredth_result_since() {
    let results = |since: usize| window(120 + since, |number| if number < 120 { None } else { nanos(1000) });
    assert_eq!((results(99).length, results(99).summary().samples), (219, 99));
    assert_eq!((results(100).length, results(100).summary().samples), (100, 100));
    assert_eq!((results(101).length, results(101).summary().samples), (101, 101));
    assert_eq!(results(400).summary().samples, 250);
}

#[test]
fn the_window_is_what_the_rule_says_after_every_result() {
    let mut random = Random(1);
    let mut changes = 0;
    for sequence in 0..20 {
        let mut window = Window::default();
        let mut rule = Rule::default();
        let mut loss = random.below(101);
        for result in 0..520 {
            // A path whose loss changes now and then, or with every result.
            if random.below(if sequence % 2 == 0 { 120 } else { 9 }) == 0 {
                loss = [0, 0, 3, 10, 12, 13, 25, 50, 90, 100][random.below(10) as usize];
            }
            let rtt = (random.below(100) >= loss).then(|| {
                let rtt = random.below(4_000_000_000);
                unpack(pack(Duration::from_nanos(rtt))).unwrap()
            });
            window.push(rtt.map(Duration::from_nanos));
            rule.push(rtt);
            let (found, expected) = (window.summary(), rule.summary());
            let context = format!("sequence {sequence} result {result}");
            assert_eq!(found.samples, expected.samples, "{context}");
            assert_close(found.loss_ratio, expected.loss_ratio, &context);
            assert_close(found.latency, expected.latency, &context);
            assert_close(found.deviation, expected.deviation, &context);
            assert!(found.deviation.is_none_or(|deviation| deviation >= 0.0));
            changes += usize::from(found.samples < 250.min(result + 1));
        }
    }
    assert!(changes > 1000, "the sequences have changes in them: {changes}");
}

#[test]
fn the_largest_round_trips_do_not_overflow() {
    let summary = window(600, |number| if number % 2 == 0 { Some(MAX_RTT) } else { nanos(0) }).summary();
    let half = MAX_RTT.as_secs_f64() / 2.0;
    assert_close(summary.latency, Some(half), "mean");
    assert_close(summary.deviation, Some(half), "deviation");
}
