//! Runs each collector as a task of its own: opens it, collects when due, publishes, and contains its failures.
//!
//! A collector that fails, hangs past its deadline or panics is thrown away, built anew and opened again after a pause
//! that grows. One line is logged when it goes down, one for each further reason, and one when it comes back. Its page leaves the
//! snapshot after three intervals without success. No other collector notices any of it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::channel::Receiver;
use smol::future::FutureExt;

use crate::collectors::{Collector, Desk, Reload, Row};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Page;
use crate::metrics::store::Store;
use crate::sys::{alarm, clock};

/// Shortest time a collection or an opening may take before it counts as hung.
pub const SHORTEST_DEADLINE: Duration = Duration::from_secs(10);
/// First pause before a failed collector is tried again; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before a failed collector is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest time a collector that is stopped may take leave.
const FAREWELL: Duration = Duration::from_millis(400);
/// After so many intervals without success a collector's figures leave the snapshot.
const STALE_INTERVALS: u32 = 3;
/// Most reasons that are logged of a collector while it is down.
const MOST_REASONS: usize = 8;

/// How a collector is doing; read by the self metrics.
#[derive(Debug)]
pub struct Status {
    /// The collector's name.
    pub name: &'static str,
    /// Whether its last collection succeeded.
    pub up: Cell<bool>,
    /// Whether it was tried at least once.
    pub tried: Cell<bool>,
    /// Whether it is meant to run.
    pub enabled: Cell<bool>,
    /// How long its last collection took.
    pub duration: Cell<Duration>,
    /// Failed openings and collections since start.
    pub errors: Cell<u64>,
    /// When it last succeeded, in seconds since 1970; 0 for never.
    pub last_success: Cell<f64>,
    /// Likewise, by the clock that nobody sets.
    pub succeeded_at: Cell<Option<Instant>>,
    /// Why it is down, for people.
    pub trouble: RefCell<Option<String>>,
}

impl Status {
    /// The status of a collector that was not tried yet.
    pub fn new(name: &'static str) -> Rc<Self> {
        Rc::new(Status {
            name,
            up: Cell::new(false),
            tried: Cell::new(false),
            enabled: Cell::new(false),
            duration: Cell::new(Duration::ZERO),
            errors: Cell::new(0),
            last_success: Cell::new(0.0),
            succeeded_at: Cell::new(None),
            trouble: RefCell::new(None),
        })
    }
}

/// What the supervisor's tasks share.
pub struct Shared {
    /// Where pages go.
    pub store: Store,
    /// Told whenever the snapshot or a status changed.
    pub changed: Box<dyn Fn()>,
    /// Where somebody may ask to have somebody probed, while the collector for it is open.
    pub desk: RefCell<Option<Rc<Desk>>>,
}

/// Keeps a desk open for others; dropping it closes it.
struct OpenDesk<'a>(&'a Shared, bool);

impl<'a> OpenDesk<'a> {
    fn open(shared: &'a Shared, desk: Option<Rc<Desk>>) -> Self {
        let has_desk = desk.is_some();
        if has_desk {
            shared.desk.replace(desk);
        }
        OpenDesk(shared, has_desk)
    }
}

impl Drop for OpenDesk<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.desk.take();
        }
    }
}

/// Runs one collector until it is dropped, or until the other end of `reloads`, where new configurations come from, is:
/// then it is closed in order.
pub async fn run(
    row: &'static Row,
    mut config: Rc<Config>,
    reloads: Receiver<Rc<Config>>,
    status: Rc<Status>,
    shared: Rc<Shared>,
) {
    let interval = FIRST_PAUSE;
    let logged = Logged::default();
    let mut task = Task { row, status, shared, page: Page::new(), interval, published: false, logged };
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let end = task.live(&mut config, &reloads).await;
        if let End::Stopped = end {
            return;
        }
        if let End::Failed(error) = end {
            // One that ran for long was well; its next failures start with short pauses again.
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            task.failed(&error);
            if let Some(new) = task.rest(pause, &reloads).await {
                config = new;
            } else if reloads.is_closed() {
                return;
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// Why a collector must be built anew.
enum End {
    Failed(Error),
    Rebuild,
    Stopped,
}

/// What woke a waiting collector.
enum Wake {
    Due,
    Broken(Error),
    Reload(Rc<Config>),
    Stop,
}

struct Task {
    row: &'static Row,
    status: Rc<Status>,
    shared: Rc<Shared>,
    page: Page,
    interval: Duration,
    published: bool,
    logged: Logged,
}

/// What was logged since a collector went down, so that one that fails now for this and now for that reason does not
/// fill the log.
#[derive(Default)]
struct Logged(Vec<String>);

impl Logged {
    /// Whether a reason is to be logged; it counts as logged from then on.
    fn is_news(&mut self, reason: &str) -> bool {
        let news = self.0.len() < MOST_REASONS && !self.0.iter().any(|logged| logged == reason);
        if news {
            self.0.push(reason.to_owned());
        }
        news
    }
}

impl Task {
    /// Builds and opens the collector, then collects whenever due. A collection that fails is reported and the next
    /// one is tried when due; a hang, a panic, or a failure in between ends this life.
    async fn live(&mut self, config: &mut Rc<Config>, reloads: &Receiver<Rc<Config>>) -> End {
        let mut collector = match guard("start", SHORTEST_DEADLINE, || async { (self.row.build)(config) }).await {
            Ok(Ok(collector)) => collector,
            Ok(Err(error)) | Err(error) => return End::Failed(error),
        };
        self.interval = collector.interval();
        match guard("open", SHORTEST_DEADLINE, || collector.open()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => return End::Failed(error),
        }
        let shared = self.shared.clone();
        let _desk = OpenDesk::open(&shared, collector.desk());
        let mut due = Instant::now();
        loop {
            let begun = Instant::now();
            let deadline = self.interval.max(SHORTEST_DEADLINE);
            self.page.clear();
            let page = &mut self.page;
            match guard("collect", deadline, || collector.collect(page)).await {
                Ok(Ok(())) => self.succeeded(begun.elapsed()),
                Ok(Err(error)) => self.failed(&error),
                Err(error) => return End::Failed(error),
            }
            self.withdraw_if_stale();
            // Deadlines are absolute, so that work and delays do not add up; a missed one is not made up for.
            due += self.interval;
            let now = Instant::now();
            if due <= now {
                due = now + self.interval;
            }
            match self.wait(due, collector.as_mut(), reloads).await {
                Wake::Due => {}
                Wake::Broken(error) => return End::Failed(error),
                Wake::Stop => {
                    close(collector.as_mut()).await;
                    return End::Stopped;
                }
                Wake::Reload(new) => {
                    *config = new;
                    let taken = async { collector.reconfigure(config) };
                    match guard("take over new settings", SHORTEST_DEADLINE, || taken).await {
                        Ok(Ok(Reload::Done)) => {}
                        Ok(Ok(Reload::Rebuild)) => {
                            close(collector.as_mut()).await;
                            return End::Rebuild;
                        }
                        Ok(Err(error)) | Err(error) => return End::Failed(error),
                    }
                    self.interval = collector.interval();
                    due = Instant::now();
                }
            }
        }
    }

    async fn wait(&mut self, due: Instant, collector: &mut dyn Collector, reloads: &Receiver<Rc<Config>>) -> Wake {
        let timer = async {
            alarm::until(due).await;
            Wake::Due
        };
        let between = async {
            match AssertUnwindSafe(collector.between()).catch_unwind().await {
                Ok(error) => Wake::Broken(error),
                Err(panic) => Wake::Broken(panicked("work between collections", panic.as_ref())),
            }
        };
        let reload = async {
            match reloads.recv().await {
                Ok(config) => Wake::Reload(config),
                Err(_) => Wake::Stop,
            }
        };
        timer.or(reload).or(between).await
    }

    /// Waits until the next try, and withdraws the page when it has become stale; ends early with a new configuration.
    async fn rest(&mut self, pause: Duration, reloads: &Receiver<Rc<Config>>) -> Option<Rc<Config>> {
        let retry = Instant::now() + pause;
        loop {
            let stale = self.stale_at();
            let until = stale.map_or(retry, |stale| stale.min(retry));
            let timer = async {
                alarm::until(until).await;
                None
            };
            let reload = async { reloads.recv().await.ok() };
            if let Some(config) = timer.or(reload).await {
                return Some(config);
            }
            self.withdraw_if_stale();
            if retry <= Instant::now() || reloads.is_closed() {
                return None;
            }
        }
    }

    /// When the published figures become stale; nothing if none are published.
    fn stale_at(&self) -> Option<Instant> {
        self.status.succeeded_at.get().filter(|_| self.published).map(|at| at + self.interval * STALE_INTERVALS)
    }

    fn withdraw_if_stale(&mut self) {
        if self.stale_at().is_some_and(|stale| stale <= Instant::now()) {
            self.shared.store.withdraw(self.row.name);
            self.published = false;
            (self.shared.changed)();
        }
    }

    fn succeeded(&mut self, took: Duration) {
        self.shared.store.publish(self.row.name, &mut self.page);
        self.published = true;
        let status = &self.status;
        status.duration.set(took);
        status.last_success.set(clock::unix_now());
        status.succeeded_at.set(Some(Instant::now()));
        if !status.up.replace(true) {
            match status.tried.get() {
                true => log::warn!(target: self.row.name, "works again"),
                false => log::info!(target: self.row.name, "measuring every {} s", self.interval.as_secs_f64()),
            }
        }
        status.tried.set(true);
        self.logged = Logged::default();
        *status.trouble.borrow_mut() = None;
        (self.shared.changed)();
    }

    fn failed(&mut self, error: &Error) {
        let status = &self.status;
        status.errors.set(status.errors.get() + 1);
        let was_up = status.up.replace(false);
        let text = error.to_string();
        let is_news = self.logged.is_news(&text);
        if was_up || !status.tried.get() {
            log::error!(target: self.row.name, "{text}; trying again from time to time");
        } else if is_news {
            log::error!(target: self.row.name, "still down, for another reason: {text}");
        }
        status.tried.set(true);
        *status.trouble.borrow_mut() = Some(text);
        (self.shared.changed)();
    }
}

/// Runs a collector's work under a deadline. The outer error is a hang or a panic, the inner one the work's own.
pub async fn guard<F, T>(what: &str, deadline: Duration, start: impl FnOnce() -> F) -> Result<Result<T>>
where
    F: Future<Output = Result<T>>,
{
    let work = async {
        // The first part of the work may run when it is started, so starting it is guarded too.
        let caught = AssertUnwindSafe(async { start().await }).catch_unwind().await;
        caught.map_err(|panic| panicked(what, panic.as_ref()))
    };
    let timeout = async {
        alarm::until(Instant::now() + deadline).await;
        Err(Error::failed(what, format!("not done after {} s", deadline.as_secs())))
    };
    work.or(timeout).await
}

/// Lets a collector take leave, for as long as a stop may take.
pub async fn close(collector: &mut dyn Collector) {
    // There is nobody left to be told of a failure.
    let _ = guard("close", FAREWELL, || {
        let closed = collector.close();
        async move {
            closed.await;
            Ok(())
        }
    })
    .await;
}

fn panicked(what: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let why = format!("the program has a fault: {}", text.unwrap_or("panic without a message"));
    Error::failed(what, why).remedy("please report it")
}

#[cfg(test)]
mod tests;
