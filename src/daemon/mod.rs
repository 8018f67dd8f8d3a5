//! The daemon: starts collectors and outputs, answers signals, stops cleanly. The only place that knows both ends.
//!
//! Everything runs on one thread. What takes privileges that are not needed later happens first and synchronously;
//! then capabilities are reduced, before any other thread exists that would keep them; then collectors open what they
//! need with what is left, at the first try and at every later one alike.

#[cfg(feature = "page")]
mod live;
pub mod pages;
#[cfg(feature = "probe")]
mod probes;
pub mod self_metrics;
pub mod textfiles;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use async_io::Async;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::{LocalExecutor, Task};

use self::pages::Pages;
use self::textfiles::TextFiles;
use crate::cli::Args;
use crate::collectors::{ALL, Row, SECTIONS, selected};
use crate::config::Config;
use crate::config::daemon::Settings;
use crate::error::{Error, Result};
use crate::logger::{self, DAEMON};
use crate::metrics::store::Store;
use crate::outputs::http::{self, Server};
use crate::sorted::Sorted;
use crate::supervisor::{self, Shared, Status};
use crate::sys::alarm;
use crate::sys::caps::{self, Capability};
use crate::sys::memory;
use crate::sys::signals::{self, Signal};

/// How long replies under way may take after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// Ports below this one take CAP_NET_BIND_SERVICE.
const FIRST_FREE_PORT: u16 = 1024;

/// A configuration that was read and found usable as a whole.
pub struct Plan {
    /// All sections.
    pub config: Rc<Config>,
    /// The daemon's own section.
    pub settings: Settings,
    /// The collectors that are to run.
    pub rows: Vec<&'static Row>,
}

impl Plan {
    /// Reads everything that flags and file ask for. Collectors are those that `chosen` names and the place where it
    /// does, else those of `--collectors`, else those that are enabled.
    ///
    /// # Errors
    /// A value that cannot be used, of the daemon or of a collector that is to run.
    pub fn load(args: &Args, chosen: Option<(&[&str], &str)>) -> Result<Plan> {
        let config = Config::load(args, SECTIONS)?;
        let settings = Settings::read(&config)?;
        let flag = args.collector_names();
        let chosen = chosen.or(flag.as_deref().map(|names| (names, "--collectors")));
        let rows = selected(&config, chosen.map(|(names, _)| names), chosen.map_or("", |(_, place)| place))?;
        // Every section is read now, so that a bad value is an error at once and not when its collector starts.
        for row in &rows {
            (row.build)(&config)?;
        }
        Ok(Plan { config: Rc::new(config), settings, rows })
    }

    fn warn_if_idle(&self) {
        if self.rows.is_empty() {
            log::warn!(target: DAEMON, "no collector is enabled, so nothing is measured");
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        let mut all: Vec<Capability> =
            self.rows.iter().flat_map(|row| (row.capabilities)(&self.config)).copied().collect();
        if self.settings.listen.is_some_and(|listen| listen.port() < FIRST_FREE_PORT) {
            all.push(Capability::NetBindService);
        }
        all.into_iter().map(at_hand).collect()
    }
}

/// The capability that serves for the one wanted: before Linux 5.8, and where nothing finer was granted, CAP_SYS_ADMIN
/// is all that bpf() asks for.
fn at_hand(wanted: Capability) -> Capability {
    let bpf = matches!(wanted, Capability::Bpf | Capability::Perfmon);
    let older = bpf && !caps::has(wanted) && caps::has(Capability::SysAdmin);
    if older { Capability::SysAdmin } else { wanted }
}

/// Runs until a signal asks to stop.
pub fn run(args: &Args) -> Result<()> {
    memory::give_back_large_blocks();
    let plan = Plan::load(args, None)?;
    logger::install(plan.settings.log_format, plan.settings.log_level);
    for warning in plan.config.warnings.iter().chain(&plan.settings.awaited) {
        log::warn!(target: DAEMON, "{warning}");
    }
    if !plan.settings.enabled {
        log::info!(target: DAEMON, "main.enabled is 0: nothing to do");
        return Ok(());
    }
    plan.warn_if_idle();
    let signals = signals::open().map_err(|source| Error::io("receive signals", source))?;
    for row in &plan.rows {
        (row.prepare)(&plan.config);
    }
    caps::reduce(&plan.capabilities()).map_err(|source| Error::io("give up capabilities", source))?;
    // The event loop's helper thread starts with the first descriptor it watches, and must not have more than we.
    let server = bind(&plan.settings)?;
    let executor = LocalExecutor::new();
    let daemon = Daemon::new(&executor, args, plan);
    // Our own block_on and not async-io's: the latter keeps waking its helper thread for some milliseconds after every
    // event, and an idle daemon shall sleep; nor does it know of alarms.
    // The daemon itself is a task, too, of an executor around the other: else it would look for signals whenever any task
    // has something to do.
    let around = LocalExecutor::new();
    let daemon = around.spawn(daemon.run(signals, server));
    alarm::block_on(around.run(executor.run(daemon)))
}

fn bind(settings: &Settings) -> Result<Option<Server>> {
    let options = |listen| http::Options {
        listen,
        allow: settings.allow.clone(),
        hosts: settings.hosts.clone(),
        limits: http::Limits::default(),
    };
    settings.listen.map(|listen| Server::bind(&options(listen))).transpose()
}

/// A collector that runs.
struct Running {
    reload: Sender<Rc<Config>>,
    task: Task<()>,
}

struct Daemon<'a> {
    executor: &'a LocalExecutor<'static>,
    args: &'a Args,
    plan: Plan,
    shared: Rc<Shared>,
    pages: Rc<Pages>,
    changed: Receiver<()>,
    running: Sorted<&'static str, Running>,
    files: Rc<RefCell<TextFiles>>,
    writer: Option<Task<()>>,
    http: Option<Http>,
}

struct Http {
    stop: Sender<()>,
    task: Task<()>,
}

impl<'a> Daemon<'a> {
    fn new(executor: &'a LocalExecutor<'static>, args: &'a Args, plan: Plan) -> Self {
        let (tell, changed) = smol::channel::bounded(1);
        let changed_now = Box::new(move || {
            // A full channel means that the writer has been told already.
            let _ = tell.try_send(());
        });
        let store = Store::new(ALL.iter().map(|row| row.name));
        let shared = Rc::new(Shared { store, changed: changed_now, desk: RefCell::default() });
        let statuses = ALL.iter().map(|row| Status::new(row.name)).collect();
        let pages = Rc::new(Pages::new(shared.clone(), statuses));
        pages.live.set(plan.settings.page);
        let files = Rc::new(RefCell::new(TextFiles::new(pages.clone())));
        let running = Sorted::default();
        Daemon { executor, args, plan, shared, pages, changed, running, files, writer: None, http: None }
    }

    async fn run(mut self, signals: OwnedFd, server: Option<Server>) -> Result<()> {
        let signals = Async::new_nonblocking(signals).map_err(|source| Error::io("wait for signals", source))?;
        self.start_collectors();
        self.start_files()?;
        self.start_http(server);
        loop {
            match signals.read_with(signals::read).await {
                Ok(Signal::Reload) if self.reload().await => {}
                Ok(Signal::Reload) => break,
                Ok(Signal::Stop) => break,
                Err(source) => return Err(Error::io("wait for signals", source)),
            }
        }
        log::info!(target: DAEMON, "stopping");
        let collectors = self.running.drain();
        let stopped = stop_collectors(collectors);
        smol::future::zip(self.stop_http(), stopped).await;
        Ok(())
    }

    /// Stops what is not to run any more.
    async fn turn_off(&mut self) {
        let rows = self.plan.rows.clone();
        for row in ALL.iter().filter(|row| !rows.iter().any(|wanted| wanted.name == row.name)) {
            if let Some(status) = self.status(row.name) {
                status.enabled.set(false);
                status.tried.set(false);
                status.up.set(false);
                *status.trouble.borrow_mut() = None;
            }
            if let Some(running) = self.running.remove(&row.name) {
                stop_collectors(vec![running]).await;
                log::info!(target: row.name, "turned off");
                self.shared.store.withdraw(row.name);
                (self.shared.changed)();
            }
        }
    }

    fn start_collectors(&mut self) {
        for row in self.plan.rows.clone() {
            if self.running.contains_key(&row.name) {
                continue;
            }
            let Some(status) = self.status(row.name) else { continue };
            status.enabled.set(true);
            let (reload, reloads) = smol::channel::bounded(1);
            let run = supervisor::run(row, self.plan.config.clone(), reloads, status, self.shared.clone());
            self.running.insert(row.name, Running { reload, task: self.executor.spawn(run.boxed_local()) });
        }
    }

    fn status(&self, name: &str) -> Option<Rc<Status>> {
        self.pages.statuses.iter().find(|status| status.name == name).cloned()
    }

    fn start_files(&mut self) -> Result<()> {
        let Settings { textfile, textfile_dir, interval, .. } = &self.plan.settings;
        self.files.borrow_mut().place(textfile.as_deref(), textfile_dir.as_deref())?;
        // Started anew, the writer does not wait for the end of an interval that counts no more.
        let run = TextFiles::run(self.files.clone(), *interval, self.changed.clone());
        self.writer = Some(self.executor.spawn(run.boxed_local()));
        Ok(())
    }

    fn start_http(&mut self, server: Option<Server>) {
        let Some(server) = server else { return };
        log::info!(target: DAEMON, "serving http://{}/metrics", server.local_addr());
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let stopped = async move {
            // An error means that the sender is gone, which is as good a reason to stop.
            let _ = stopped.recv().await;
        };
        let task = self.executor.spawn(server.serve(self.pages.clone(), stopped, STOP_GRACE).boxed_local());
        self.http = Some(Http { stop, task });
    }

    async fn stop_http(&mut self) {
        if let Some(Http { stop, task }) = self.http.take() {
            let _ = stop.try_send(());
            // The server keeps its own grace; twice that is for a machine in trouble.
            let too_long = async {
                async_io::Timer::after(STOP_GRACE * 2).await;
            };
            task.or(too_long).await;
        }
    }

    /// Takes over a new configuration, or keeps the old one if the new one cannot be used. False if it says to stop.
    async fn reload(&mut self) -> bool {
        let plan = match Plan::load(self.args, None) {
            Ok(plan) => plan,
            Err(error) => {
                log::error!(target: DAEMON, "{error}; keeping the settings from before");
                return true;
            }
        };
        for warning in plan.config.warnings.iter().chain(&plan.settings.awaited) {
            log::warn!(target: DAEMON, "{warning}");
        }
        log::set_max_level(plan.settings.log_level);
        if plan.settings.log_format != self.plan.settings.log_format {
            log::warn!(target: DAEMON, "main.log_format is taken over at the next start only");
        }
        if !plan.settings.enabled {
            log::info!(target: DAEMON, "main.enabled is 0");
            return false;
        }
        plan.warn_if_idle();
        for capability in plan.capabilities().into_iter().filter(|capability| !caps::has(*capability)) {
            log::warn!(target: DAEMON, "the new settings need {}, which was given up at start: restart gatemeter", capability.name());
        }
        let old = std::mem::replace(&mut self.plan, plan).settings;
        self.turn_off().await;
        for running in self.running.values() {
            // A full channel holds an older configuration that was not taken yet: it makes way.
            let _ = running.reload.force_send(self.plan.config.clone());
        }
        self.start_collectors();
        let new = &self.plan.settings;
        self.pages.live.set(new.page);
        if (&old.textfile, &old.textfile_dir, old.interval) != (&new.textfile, &new.textfile_dir, new.interval) {
            match self.start_files() {
                Ok(()) => (self.shared.changed)(),
                Err(error) => log::error!(target: DAEMON, "{error}"),
            }
        }
        self.move_http(&old).await;
        log::info!(target: DAEMON, "configuration read again");
        true
    }

    /// Serves where the new settings say. Where that cannot be, it is served as before, and tried again at the next
    /// reload.
    async fn move_http(&mut self, old: &Settings) {
        let new = &self.plan.settings;
        let is_served = self.http.is_some() == new.listen.is_some();
        if is_served && (old.listen, &old.allow, &old.hosts) == (new.listen, &new.allow, &new.hosts) {
            return;
        }
        // The old server gives up its address first if the new one may need it.
        let clash = matches!((old.listen, new.listen), (Some(old), Some(new)) if old.port() == new.port());
        if clash {
            self.stop_http().await;
        }
        match bind(&self.plan.settings) {
            Ok(server) => {
                self.stop_http().await;
                self.start_http(server);
            }
            Err(error) => {
                self.plan.settings.listen = old.listen;
                self.plan.settings.allow.clone_from(&old.allow);
                if clash && let Ok(server) = bind(&self.plan.settings) {
                    self.start_http(server);
                }
                match self.http {
                    Some(_) => log::error!(target: DAEMON, "{error}; HTTP stays as it was"),
                    None => log::error!(target: DAEMON, "{error}; nothing is served until the next reload"),
                }
            }
        }
    }
}

/// Lets collectors take leave, those that wait for their next collection at once, and drops them all.
async fn stop_collectors(collectors: Vec<Running>) {
    let stopped = async {
        let tasks: Vec<_> = collectors.into_iter().map(|Running { reload: _, task }| task).collect();
        for task in tasks {
            task.await;
        }
    };
    let too_long = async {
        async_io::Timer::after(STOP_GRACE).await;
    };
    stopped.or(too_long).await;
}
