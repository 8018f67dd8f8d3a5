//! Many connections.

use std::time::Duration;

use gatemeter::collectors::clients::flows::{Mode, Options};

use crate::inject::{self, Flow, Injector};
use crate::support::{Census, Follower, forget_all, tracking_lab};

const CLIENTS: u32 = 250;
/// `TCP_CONNTRACK_LAST_ACK`.
const LAST_ACK: u8 = 6;

#[test]
fn twenty_thousand_connections_are_counted_from_a_dump_and_followed() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut injector = Injector::open();
        injector.add((0..20_000).map(|n| Flow::nth(n, CLIENTS)));
        let mut follower = Follower::waiting(Options::default());
        follower.is_client = inject::is_client;
        assert_eq!(follower.agree(&lab.router).len(), CLIENTS as usize);
        for round in 0..5 {
            // Flows that are there end, and others begin, close, and end.
            let from = 20_000 + round * 100;
            injector.add((from..from + 100).map(|n| Flow::nth(n, CLIENTS)));
            follower.collect();
            let closing = |n| Flow { tcp: Some(LAST_ACK), answered: true, ..Flow::nth(n, CLIENTS) };
            injector.update((from + 1..from + 100).step_by(4).map(closing));
            injector.remove((from..from + 100).step_by(4).map(|n| Flow::nth(n, CLIENTS)));
            follower.agree(&lab.router);
        }
        assert_eq!(follower.connections.totals().mode, Mode::Events);
        assert_eq!((follower.connections.totals().dumps, follower.connections.totals().overruns), (1, 0));
    });
}

#[test]
fn fifty_thousand_connections_that_come_at_once_end_in_right_figures() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut follower = Follower::open(Options::default());
        follower.is_client = inject::is_client;
        let mut injector = Injector::open();
        injector.add((0..50_000).map(|n| Flow::nth(n, CLIENTS)));
        follower.ahead += Duration::from_secs(10);
        let seen = follower.agree(&lab.router);
        assert_eq!(seen.values().map(|(active, unreplied)| active + unreplied).sum::<u32>(), 50_000);
        assert_eq!(follower.connections.totals().overruns, 1);
        forget_all(&lab.router);
        follower.ahead += Duration::from_secs(10);
        follower.agree_on(&lab.router, Census::is_empty);
    });
}

#[test]
fn clients_beyond_the_limit_are_left_out_and_told() {
    let lab = tracking_lab();
    lab.router.enter(|| {
        let mut injector = Injector::open();
        injector.add((0..1000).map(|n| Flow::nth(n, 100)));
        let mut follower = Follower::waiting(Options { max_clients: 60, ..Options::default() });
        follower.is_client = inject::is_client;
        follower.collect();
        let totals = follower.connections.totals();
        assert_eq!((follower.census().len(), totals.flows, totals.untracked), (60, 600, 400));
    });
}
