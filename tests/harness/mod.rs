//! Runs the real program on the lab's router, in a directory of its own and with nothing of this machine's
//! configuration. A test that fails prints the command, the configuration, both outputs and the directory.
//!
//! A crate that uses this declares `mod lab;` beside it.

#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "shared by tests that each use a part of it; a failed assumption must stop the test; it runs real programs"
)]

pub mod confine;
pub mod documented;
pub mod exposition;
pub mod http;
pub mod supervise;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gatemeter::collectors::{ALL, Row};

use crate::lab::process::{self, Background, Output};
use crate::lab::{Lab, Node};

pub use confine::Confine;
pub use documented::Documented;
pub use exposition::Samples;
pub use supervise::Supervisor;

/// How long to wait for what must happen; long, because only a broken program gets there.
pub const PATIENCE: Duration = process::LIMIT;

/// A directory with configuration and the flags to run the program with, as often as one likes.
#[derive(Clone)]
pub struct Setup<'a> {
    node: &'a Node,
    dir: PathBuf,
    flags: Vec<String>,
    pins: PathBuf,
    confine: Confine,
    supervisor: Option<Supervisor>,
    program: PathBuf,
    /// The configuration says where the text file goes, not a flag.
    textfile_by_config: bool,
}

/// The running daemon; killed on drop.
pub struct Daemon<'a> {
    setup: Box<Setup<'a>>,
    process: Background,
}

impl<'a> Setup<'a> {
    /// A fresh directory below the lab's, for a daemon on the router.
    pub fn new(lab: &'a Lab) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = lab.dir().join(format!("daemon{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        for sub in ["config", "state"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::write(dir.join("config/gatemeter"), "").unwrap();
        Self {
            node: &lab.router,
            dir,
            flags: Vec::new(),
            pins: lab.bpffs(),
            confine: Confine::default(),
            supervisor: None,
            program: binary(),
            textfile_by_config: false,
        }
    }

    /// Adds flags, such as `&["-e", "-t", "1"]`.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Writes a UCI package: `gatemeter` is what `-c` names, `dhcp` holds static leases. Also while a daemon runs.
    pub fn uci(self, package: &str, text: &str) -> Self {
        self.write_uci(package, text);
        self
    }

    /// Like [`Setup::uci`], for a set-up that is in use.
    pub fn write_uci(&self, package: &str, text: &str) {
        fs::write(self.dir.join("config").join(package), text).unwrap();
    }

    /// Takes something away from the program: system calls, capabilities, locked memory.
    pub fn confined(mut self, confine: Confine) -> Self {
        self.confine = confine;
        self
    }

    /// Has system calls of the daemon answered in the kernel's place.
    pub fn supervised(mut self, supervisor: Supervisor) -> Self {
        self.supervisor = Some(supervisor);
        self
    }

    /// Runs another build of the program.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Leaves it to the configuration where the text file goes, which without `main.textfile` is /tmp/prom_c.
    pub fn textfile_by_config(mut self) -> Self {
        self.textfile_by_config = true;
        self
    }

    /// The directory: `config/`, `state/`, `prom_c`, `stdout`, `stderr`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text file the daemon writes.
    pub fn textfile(&self) -> PathBuf {
        self.value_of("--textfile").map_or_else(|| self.dir.join("prom_c"), PathBuf::from)
    }

    /// Runs the program to its end with these words after the flags: `&["check"]`, `&["once", "traffic"]`.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = self.command();
        command.args(words);
        process::run(command, "", PATIENCE).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts the daemon and waits until every collector that the flags leave on has something to show, if only that it
    /// fails: in the text file, and over HTTP if `-e` is given.
    pub fn start(&self) -> Daemon<'a> {
        let mut daemon = self.start_unready();
        if let Err(e) = daemon.wait_until_ready() {
            panic!("the daemon {e}");
        }
        daemon
    }

    /// Starts the daemon without waiting for anything.
    pub fn start_unready(&self) -> Daemon<'a> {
        let mut command = self.command();
        let log = |name: &str| fs::File::options().create(true).append(true).open(self.dir.join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
        let what = process::shown(&command);
        let starting = self.supervisor.as_ref().map(|supervisor| supervisor.attend(&mut command));
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {what}: {e}"));
        if let Some(starting) = starting {
            starting.begin(&child);
        }
        Daemon { setup: Box::new(self.clone()), process: Background::adopt(child, what) }
    }

    /// The command as one would type it.
    pub fn shown(&self) -> String {
        process::shown(&self.command())
    }

    /// The text a failing test prints.
    pub fn report(&self) -> String {
        let mut report = format!("---- command\n{}\n", self.shown());
        for file in ["config/gatemeter", "config/dhcp", "stdout", "stderr"] {
            if let Ok(text) = fs::read_to_string(self.dir.join(file)) {
                report += &format!("---- {file}\n{text}\n");
            }
        }
        report += "---- directory\n";
        for path in files_below(&self.dir) {
            let size = fs::symlink_metadata(&path).map_or(0, |data| data.len());
            report += &format!("{size:>8} {}\n", path.strip_prefix(&self.dir).unwrap_or(&path).display());
        }
        report
    }

    /// The command that runs the program with these flags, to be started in another way.
    pub fn command(&self) -> Command {
        let mut command = self.node.command(&self.program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(&self.dir);
        command.arg("-c").arg(self.dir.join("config/gatemeter"));
        for (option, path) in [
            ("main.uci_dir", self.dir.join("config")),
            ("main.state_dir", self.dir.join("state")),
            ("traffic.pin_dir", self.pins.clone()),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        if self.value_of("--textfile").is_none() && !self.textfile_by_config {
            command.arg("--textfile").arg(self.textfile());
        }
        command.args(&self.flags);
        self.confine.apply(&mut command);
        command
    }

    /// The address of the daemon's HTTP server, if it has one.
    fn http(&self) -> Option<SocketAddr> {
        if !self.flags.iter().any(|flag| flag == "-e") {
            return None;
        }
        let port = self.value_of("-p").map_or(9999, |port| port.parse().unwrap());
        Some((Ipv4Addr::LOCALHOST, port).into())
    }

    /// A page counts as complete once every collector that is to run has said how it is.
    pub fn complete(&self, page: &str) -> Result<(), String> {
        let chosen = |row: &&Row| match self.value_of("--collectors") {
            Some(names) => names.split(',').any(|chosen| chosen.trim() == row.name),
            None => {
                let by_default = row.section.option("enabled").is_some_and(|(_, option)| option.default == "1");
                let other = format!("{}.enabled={}", row.name, u8::from(!by_default));
                by_default != self.flags.contains(&other)
            }
        };
        let silent = |name: &&str| !page.contains(&format!("gatemeter_collector_up{{collector=\"{name}\"}}"));
        match ALL.iter().filter(chosen).map(|row| row.name).find(silent) {
            Some(name) => Err(format!("{name} has not reported yet")),
            None => Ok(()),
        }
    }

    fn value_of(&self, flag: &str) -> Option<&str> {
        let at = self.flags.iter().position(|word| word == flag)?;
        self.flags.get(at + 1).map(String::as_str)
    }
}

impl<'a> Daemon<'a> {
    /// Starts the daemon on the router with `flags` and waits until it is ready.
    pub fn start(lab: &'a Lab, flags: &[&str]) -> Self {
        Setup::new(lab).flags(flags).start()
    }

    /// What it was started with; start it again from there.
    pub fn setup(&self) -> &Setup<'a> {
        &self.setup
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.setup.dir.join("stderr")).unwrap_or_default()
    }

    /// Sends it a signal, such as `libc::SIGHUP`.
    pub fn signal(&self, number: i32) {
        self.process.signal(number);
    }

    /// Asks it to stop and waits until it has; returns how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.process.wait(PATIENCE)
    }

    /// Kills it outright, as the out-of-memory killer would.
    pub fn kill9(&mut self) {
        self.signal(libc::SIGKILL);
        self.process.wait(PATIENCE);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Its answer to a GET request made on the router itself.
    pub fn get(&self, path: &str) -> Result<http::Response, String> {
        self.get_with(path, &[])
    }

    /// Likewise with request headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<http::Response, String> {
        let address = self.setup.http().unwrap_or_else(|| panic!("this daemon runs without -e"));
        http::get(self.setup.node, address, path, headers)
    }

    /// The text of its metrics: over HTTP if it serves, else from the text file.
    pub fn page(&self) -> Result<String, String> {
        if self.setup.http().is_none() {
            return self.textfile();
        }
        let response = self.get("/metrics")?;
        if response.status != 200 {
            return Err(format!("/metrics answers {}", response.status));
        }
        Ok(response.text())
    }

    /// The text file as it stands.
    pub fn textfile(&self) -> Result<String, String> {
        let path = self.setup.textfile();
        fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    }

    /// Its metrics by series, as written: `name{label="value"}`.
    pub fn metrics(&self) -> Samples {
        let page = self.page().unwrap_or_else(|e| panic!("{e}"));
        exposition::parse(&page).unwrap_or_else(|e| panic!("{e} in\n{page}"))
    }

    /// Its metrics with what `collector` found in a collection that began after this call: in the second one to end, as
    /// the first may be under way.
    pub fn fresh(&self, collector: &str) -> Samples {
        let series = format!("gatemeter_collector_last_success_timestamp_seconds{{collector=\"{collector}\"}}");
        let read_at = |metrics: &Samples| metrics.get(&series).copied().unwrap_or(0.0);
        let mut metrics = self.metrics();
        for _ in 0..2 {
            let before = read_at(&metrics);
            let later = |now: &Samples| (read_at(now) > before).then(|| now.clone());
            metrics = self.wait_until("another collection", later);
        }
        metrics
    }

    /// Waits until `series` has exactly `value`; fails with the last value seen and the series that resemble it.
    pub fn wait_for(&self, series: &str, value: f64) {
        let (found, last) = self.watch(|metrics| (metrics.get(series) == Some(&value)).then_some(()));
        if found.is_none() {
            let family = series.split('{').next().unwrap_or(series);
            let alike = last.map(|metrics| metrics.into_iter().filter(|(name, _)| name.starts_with(family)));
            panic!("{series} is not {value}; there is {:#?}", alike.map(Iterator::collect::<Samples>));
        }
    }

    /// Waits until `wanted` finds what it looks for in the metrics, and returns it; `what` names it in the failure.
    pub fn wait_until<T>(&self, what: &str, wanted: impl Fn(&Samples) -> Option<T>) -> T {
        let (found, last) = self.watch(wanted);
        found.unwrap_or_else(|| panic!("{what}: not seen; the last metrics were {last:#?}"))
    }

    /// Reads the metrics until `wanted` is content or patience ends; a page that cannot be had yet is tried again.
    fn watch<T>(&self, wanted: impl Fn(&Samples) -> Option<T>) -> (Option<T>, Result<Samples, String>) {
        let mut last = Err("nothing was read".to_owned());
        let found = process::poll(PATIENCE, || {
            last = self.page().and_then(|page| exposition::parse(&page));
            last.as_ref().ok().and_then(&wanted)
        });
        (found, last)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let mut why = String::new();
        let ready = process::poll(PATIENCE, || {
            if let Some(status) = self.process.ended() {
                return Some(Err(format!("ended at once: {status}")));
            }
            let file_wanted = self.setup.value_of("--textfile") != Some("none");
            let complete = |page: String| self.setup.complete(&page);
            let file = if file_wanted { self.textfile().and_then(complete) } else { Ok(()) };
            let http = if self.setup.http().is_some() { self.page().and_then(complete) } else { Ok(()) };
            match file.and(http) {
                Ok(()) => Some(Ok(())),
                Err(e) => {
                    why = e;
                    None
                }
            }
        });
        ready.unwrap_or_else(|| Err(format!("is not ready: {why}")))
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.setup.report());
        }
    }
}

/// The program under test: cargo names it to integration tests; the demo finds it beside its own directory. Another build of
/// it, such as one for MIPS in a script that starts qemu, can be named in GATEMETER_BINARY.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("GATEMETER_BINARY") {
        return PathBuf::from(path);
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_gatemeter") {
        return PathBuf::from(path);
    }
    let demo = std::env::current_exe().unwrap();
    let path = demo.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("gatemeter");
    assert!(path.exists(), "{} is not there; run `cargo build` first", path.display());
    path
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            found.push(entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
