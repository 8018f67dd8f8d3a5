//! Rates: bits per second between two readings, whatever happens to the counters.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::figures::{
    StopOnDrop, UP, by_direction, client, clients, collected_at, exchange, expect, fresh, let_it_flow, setup,
    while_talking,
};
use crate::harness::{Daemon, Samples};
use crate::lab::Lab;
use crate::witness;

const RATE: &str = "client_traffic_rate_bps";
/// More than any client of any test could move: what a counter that wrapped would show lies far above.
const ABSURD: f64 = 1e12;

fn rates(metrics: &Samples) -> Vec<f64> {
    by_direction(metrics, RATE).into_iter().map(|(_, _, rate)| rate).collect()
}

/// Asserts of every page that is seen while `work` is done that its rates are possible ones.
fn while_rates_are_possible<T>(daemon: &Mutex<Daemon>, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut pages = 0;
            while !stop.load(Ordering::Relaxed) {
                let Ok(page) = daemon.lock().unwrap().page() else { continue };
                let metrics = crate::harness::exposition::parse(&page).unwrap();
                for (client, direction, rate) in by_direction(&metrics, RATE) {
                    assert!((0.0..ABSURD).contains(&rate), "{client} {direction}: {rate}");
                }
                pages += 1;
                thread::sleep(std::time::Duration::from_millis(20));
            }
            pages
        });
        let stopping = StopOnDrop(&stop);
        let done = work();
        drop(stopping);
        assert!(watcher.join().unwrap() > 0);
        done
    })
}

#[test]
fn a_rate_is_the_bits_between_the_daemons_own_two_readings() {
    let lab = Lab::builder().hosts(1).nat().build();
    let daemon = setup(&lab).start();
    let key = client(lab.host(1).on_v4());
    while_talking(&lab, || {
        // A busy machine may let a reading slip by unseen, or be slow between reading and noting the time: two
        // readings that agree within a tenth have to come, not each pair.
        daemon.wait_until("a rate that fits the bytes", |earlier| {
            let later = daemon.wait_until("another collection", |next| {
                (collected_at(next) > collected_at(earlier)).then(|| next.clone())
            });
            let bytes = |metrics: &Samples| clients(metrics).get(&key).copied();
            let (old, new) = (bytes(earlier)?, bytes(&later)?);
            let seconds = collected_at(&later) - collected_at(earlier);
            let fits = |direction: &str, moved: u64| {
                let rate = by_direction(&later, RATE).into_iter().find(|row| row.0 == key && row.1 == direction);
                let (bits, expected) = (rate.map_or(0.0, |row| row.2) * seconds, moved as f64 * 8.0);
                moved > 0 && (bits - expected).abs() < expected / 10.0
            };
            (fits("tx", new.tx - old.tx) && fits("rx", new.rx - old.rx)).then_some(())
        });
    });
}

#[test]
fn a_client_that_falls_silent_has_no_rate_and_keeps_its_bytes() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).start();
    let (sent, _) = while_talking(&lab, || {
        daemon.wait_until("rates", |metrics| rates(metrics).iter().any(|rate| *rate > 0.0).then_some(()));
    });
    expect(&daemon, sent.clone());
    daemon.wait_until("silence", |metrics| rates(metrics).iter().all(|rate| *rate == 0.0).then_some(()));
    for _ in 0..2 {
        let metrics = fresh(&daemon);
        assert!(rates(&metrics).iter().all(|rate| *rate == 0.0), "{metrics:#?}");
        assert_eq!(clients(&metrics), sent);
    }
}

#[test]
fn counters_that_begin_again_make_no_rate_that_cannot_be() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = Mutex::new(setup(&lab).start());
    while_talking(&lab, || {
        let_it_flow(&lab);
        while_rates_are_possible(&daemon, || {
            for _ in 0..3 {
                lab.router.run(&["nft", "delete", "table", witness::TABLE[0], witness::TABLE[1]]);
                let before = daemon.lock().unwrap().metrics();
                let whole = || witness::table_is_whole(&lab.router).then_some(());
                assert!(crate::lab::process::poll(crate::harness::PATIENCE, whole).is_some(), "no table again");
                let at = collected_at(&before);
                let later = || (collected_at(&daemon.lock().unwrap().metrics()) > at).then_some(());
                assert!(crate::lab::process::poll(crate::harness::PATIENCE, later).is_some());
                let_it_flow(&lab);
            }
        });
    });
}

#[test]
fn what_was_counted_before_the_daemon_came_is_no_rate() {
    let lab = Lab::builder().hosts(1).nat().build();
    let setup = setup(&lab);
    let mut daemon = setup.start();
    let host = lab.host(1).on_v4();
    let sent = exchange(host, lab.internet.on_v4(), (2000, 1000), (2000, 1000));
    expect(&daemon, [(client(host), sent)]);
    daemon.kill9();
    let daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    // Nobody sends any more, so no page may show a rate: not the first, not the second.
    for _ in 0..3 {
        let metrics = fresh(&daemon);
        assert!(rates(&metrics).iter().all(|rate| *rate == 0.0), "{metrics:#?}");
        assert_eq!(clients(&metrics)[&client(host)], sent);
    }
}
