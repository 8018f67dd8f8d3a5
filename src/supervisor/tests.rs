//! The supervisor with collectors that misbehave on purpose.

use async_io::Timer;

use super::*;
use crate::cli::Args;
use crate::collectors::{Finding, LocalFuture};
use crate::config::schema::{MAIN, SectionSpec};
use crate::metrics::{Desc, Kind};

static SECTION: SectionSpec = SectionSpec { kind: "fake", name: "fake", many: false, options: &[] };
static TICKS: Desc = Desc { name: "ticks_total", kind: Kind::Counter, labels: &[], help: "Ticks." };

static SPECS: [&SectionSpec; 2] = [&MAIN, &SECTION];

const INTERVAL: Duration = Duration::from_millis(5);

/// What the fake does in its n-th collection, counted from 1 over all its lives.
type Behaviour = fn(u32) -> LocalFuture<'static, Result<()>>;

thread_local! {
    static BEHAVIOUR: Cell<Behaviour> = const { Cell::new(|_| Box::pin(async { Ok(()) })) };
    static COLLECTIONS: Cell<u32> = const { Cell::new(0) };
    static BUILDS: Cell<u32> = const { Cell::new(0) };
    static FAREWELLS: Cell<u32> = const { Cell::new(0) };
    static BREAKS_BY_SETTINGS: Cell<bool> = const { Cell::new(false) };
}

struct Fake;

impl Collector for Fake {
    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn open(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn collect<'a>(&'a mut self, page: &'a mut Page) -> LocalFuture<'a, Result<()>> {
        Box::pin(async {
            COLLECTIONS.set(COLLECTIONS.get() + 1);
            BEHAVIOUR.get()(COLLECTIONS.get()).await?;
            page.single(&TICKS, u64::from(COLLECTIONS.get()));
            Ok(())
        })
    }

    fn close(&mut self) -> LocalFuture<'_, ()> {
        FAREWELLS.set(FAREWELLS.get() + 1);
        // Nobody waits for one that cannot part.
        Box::pin(std::future::pending())
    }

    fn reconfigure(&mut self, _: &Config) -> Result<Reload> {
        assert!(!BREAKS_BY_SETTINGS.get(), "index out of range");
        Ok(Reload::Rebuild)
    }
}

static ROW: Row = Row {
    name: "fake",
    section: &SECTION,
    metrics: &[&TICKS],
    capabilities: |_| &[],
    prepare: |_| {},
    build: |_| {
        BUILDS.set(BUILDS.get() + 1);
        Ok(Box::new(Fake))
    },
    check: |_| Vec::<Finding>::new(),
    clean: |_| Ok(Vec::new()),
};

struct Outcome {
    status: Rc<Status>,
    shared: Rc<Shared>,
}

/// Runs the fake until `done` says so after a change; a minute is for a machine in deep trouble.
fn supervise(behaviour: Behaviour, done: impl Fn(&Outcome) -> bool) -> Outcome {
    BEHAVIOUR.set(behaviour);
    let (notify, changes) = smol::channel::bounded(1);
    let changed = Box::new(move || _ = notify.try_send(()));
    let shared = Rc::new(Shared { store: Store::new(["fake"]), changed, desk: RefCell::default() });
    let outcome = Outcome { status: Status::new("fake"), shared: shared.clone() };
    let config = Rc::new(Config::load(&Args::default(), &SPECS).unwrap());
    let (_reload, reloads) = smol::channel::bounded(1);
    let ticks = run(&ROW, config, reloads, outcome.status.clone(), shared);
    let watch = async {
        while !done(&outcome) {
            changes.recv().await.unwrap();
        }
    };
    let too_long = async {
        Timer::after(Duration::from_secs(60)).await;
        panic!("nothing happened for a minute");
    };
    alarm::block_on(ticks.or(watch).or(too_long));
    outcome
}

fn pages(outcome: &Outcome) -> u32 {
    let mut pages = 0;
    outcome.shared.store.each(|_, _| pages += 1);
    pages
}

#[test]
fn a_well_collector_publishes_and_is_up() {
    let outcome = supervise(|_| Box::pin(async { Ok(()) }), |_| COLLECTIONS.get() >= 3);
    assert!(outcome.status.up.get());
    assert_eq!(pages(&outcome), 1);
    assert_eq!((outcome.status.errors.get(), BUILDS.get()), (0, 1));
    assert!(outcome.status.last_success.get() > 0.0);
}

#[test]
fn a_failed_collection_is_tried_again_by_the_same_collector() {
    let behaviour: Behaviour =
        |n| Box::pin(async move { if n == 2 { Err(Error::failed("read the map", "it is gone")) } else { Ok(()) } });
    let outcome = supervise(behaviour, |outcome| outcome.status.errors.get() == 1 && outcome.status.up.get());
    assert_eq!(BUILDS.get(), 1);
    assert!(outcome.status.trouble.borrow().is_none());
}

#[test]
fn a_panic_is_contained_told_and_followed_by_a_new_collector() {
    let behaviour: Behaviour = |n| {
        Box::pin(async move {
            assert!(n != 1, "index out of range");
            Ok(())
        })
    };
    let outcome = supervise(behaviour, |outcome| outcome.status.errors.get() == 1);
    let trouble = outcome.status.trouble.borrow().clone().unwrap();
    assert_eq!(trouble, "cannot collect: the program has a fault: index out of range; please report it");
    COLLECTIONS.set(0);
    BUILDS.set(0);
    let outcome = supervise(behaviour, |outcome| outcome.status.up.get());
    assert_eq!((BUILDS.get(), outcome.status.errors.get()), (2, 1));
}

#[test]
fn a_panic_over_new_settings_is_contained_too() {
    BREAKS_BY_SETTINGS.set(true);
    let (notify, changes) = smol::channel::bounded(1);
    let changed = Box::new(move || _ = notify.try_send(()));
    let shared = Rc::new(Shared { store: Store::new(["fake"]), changed, desk: RefCell::default() });
    let (status, config) = (Status::new("fake"), Rc::new(Config::load(&Args::default(), &SPECS).unwrap()));
    let (reload, reloads) = smol::channel::bounded(1);
    let run = run(&ROW, config.clone(), reloads, status.clone(), shared);
    let watch = async {
        changes.recv().await.unwrap();
        reload.send(config).await.unwrap();
        while status.errors.get() == 0 {
            changes.recv().await.unwrap();
        }
    };
    alarm::block_on(run.or(watch));
    let trouble = status.trouble.borrow().clone().unwrap();
    assert!(trouble.starts_with("cannot take over new settings: the program has a fault: index out of"), "{trouble}");
}

#[test]
fn stale_figures_are_withdrawn_after_three_intervals_without_success() {
    let behaviour: Behaviour =
        |n| Box::pin(async move { if n > 1 { Err(Error::failed("ask", "no answer")) } else { Ok(()) } });
    let begun = Instant::now();
    let outcome = supervise(behaviour, |outcome| outcome.status.errors.get() > 0 && pages(outcome) == 0);
    assert!(!outcome.status.up.get());
    // However many collections a busy machine missed meanwhile.
    assert!(begun.elapsed() >= 3 * INTERVAL, "withdrawn after {:?}", begun.elapsed());
}

#[test]
fn a_hang_is_cut_off_by_the_deadline() {
    let hang = || async { std::future::pending::<Result<()>>().await };
    let error = alarm::block_on(guard("collect", INTERVAL, hang)).unwrap_err();
    assert_eq!(error.to_string(), "cannot collect: not done after 0 s");
}

/// Runs a task that is told to stop as soon as it has collected, or has failed to, and returns when it has ended.
fn stopped(behaviour: Behaviour) {
    BEHAVIOUR.set(behaviour);
    let (notify, changes) = smol::channel::bounded(1);
    let changed = Box::new(move || _ = notify.try_send(()));
    let shared = Rc::new(Shared { store: Store::new(["fake"]), changed, desk: RefCell::default() });
    let config = Rc::new(Config::load(&Args::default(), &SPECS).unwrap());
    let (reload, reloads) = smol::channel::bounded(1);
    let run = run(&ROW, config, reloads, Status::new("fake"), shared);
    let stop = async {
        changes.recv().await.unwrap();
        drop(reload);
        // Longer than any pause; the other one ends first.
        Timer::after(Duration::from_secs(3600)).await;
        panic!("it runs on");
    };
    alarm::block_on(run.or(stop));
}

#[test]
fn a_task_that_is_told_to_stop_lets_its_collector_part_and_ends() {
    stopped(|_| Box::pin(async { Ok(()) }));
    assert_eq!(FAREWELLS.get(), 1);
}

#[test]
fn one_that_rests_after_a_failure_ends_at_once() {
    stopped(|_| Box::pin(async { panic!("broken") }));
    assert_eq!(FAREWELLS.get(), 0);
}

#[test]
fn each_reason_is_told_once_and_not_without_end() {
    let mut logged = Logged::default();
    let news: Vec<bool> = ["off", "slow", "off", "slow", "off"].iter().map(|reason| logged.is_news(reason)).collect();
    assert_eq!(news, [true, true, false, false, false]);
    let more = (0..100).filter(|number| logged.is_news(&format!("answer {number}"))).count();
    assert_eq!(more, MOST_REASONS - 2);
}
