//! What gatemeter says of itself: how each collector is doing, requests served, and the process's own use.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use crate::metrics::{Desc, Kind, Page};
use crate::supervisor::Status;
use crate::sys::clock;

const COLLECTOR: &[&str] = &["collector"];

static BUILD_INFO: Desc = Desc {
    name: "gatemeter_build_info",
    kind: Kind::Info,
    labels: &["version", "revision", "target"],
    help: "What this gatemeter was built from and for.",
};
static UP: Desc = Desc {
    name: "gatemeter_collector_up",
    kind: Kind::Gauge,
    labels: COLLECTOR,
    help: "Whether a collector's last collection succeeded (1) or not (0).",
};
static DURATION: Desc = Desc {
    name: "gatemeter_collector_duration_seconds",
    kind: Kind::Gauge,
    labels: COLLECTOR,
    help: "Duration of a collector's last successful collection, in seconds.",
};
static ERRORS: Desc = Desc {
    name: "gatemeter_collector_errors_total",
    kind: Kind::Counter,
    labels: COLLECTOR,
    help: "Failed collections and failed starts of a collector.",
};
static LAST_SUCCESS: Desc = Desc {
    name: "gatemeter_collector_last_success_timestamp_seconds",
    kind: Kind::Gauge,
    labels: COLLECTOR,
    help: "Time of a collector's last successful collection, in seconds since 1970; 0 if there was none.",
};
static REQUESTS: Desc = Desc {
    name: "gatemeter_http_requests_total",
    kind: Kind::Counter,
    labels: &["path", "code"],
    help: "HTTP requests answered.",
};
static CPU: Desc = Desc {
    name: "process_cpu_seconds_total",
    kind: Kind::Counter,
    labels: &[],
    help: "User and system CPU time spent, in seconds.",
};
static MEMORY: Desc = Desc {
    name: "process_resident_memory_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Resident memory size, in bytes.",
};
static OPEN_FDS: Desc =
    Desc { name: "process_open_fds", kind: Kind::Gauge, labels: &[], help: "Number of open file descriptors." };
static START_TIME: Desc = Desc {
    name: "process_start_time_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Start time of the process, in seconds since 1970.",
};

/// All of them, in the order of output.
pub static ALL: &[&Desc] =
    &[&BUILD_INFO, &UP, &DURATION, &ERRORS, &LAST_SUCCESS, &REQUESTS, &CPU, &MEMORY, &OPEN_FDS, &START_TIME];

/// Clock ticks per second in /proc: `USER_HZ` is 100 on every architecture we build for.
const USER_HZ: f64 = 100.0;

/// What the process counts about itself.
#[derive(Debug, Default)]
pub struct Process {
    /// Requests answered, by path and status code. Both come from fixed sets, so the map stays small.
    requests: RefCell<BTreeMap<(&'static str, u16), u64>>,
    /// The start time last told, so that it does not jitter from scrape to scrape.
    started: Cell<f64>,
}

impl Process {
    /// Counts one answered request.
    pub fn count_request(&self, path: &'static str, code: u16) {
        *self.requests.borrow_mut().entry((path, code)).or_default() += 1;
    }

    /// Writes requests and the process's use, for the HTTP page only: in a text file they would clash with the same
    /// families of the program that reads it.
    pub fn write(&self, page: &mut Page) {
        page.family(&REQUESTS);
        for ((path, code), count) in self.requests.borrow().iter() {
            let labels = page.labels(&[path, code]);
            page.sample(labels, *count);
        }
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&stat) {
            page.single(&CPU, seconds);
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status)) {
            page.single(&MEMORY, bytes);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The directory that is being read is one of them.
            page.single(&OPEN_FDS, entries.count().saturating_sub(1) as u64);
        }
        if let Some(started) = start_time(&stat) {
            // Told anew only when NTP sets a clock that booted in the past.
            if (started - self.started.get()).abs() > 1.0 {
                self.started.set(started);
            }
            page.single(&START_TIME, self.started.get());
        }
    }
}

/// The build and the collectors.
pub fn write_collectors(page: &mut Page, statuses: &[Rc<Status>]) {
    let revision = option_env!("GATEMETER_REVISION").unwrap_or("unknown");
    let build = page.labels(&[&env!("CARGO_PKG_VERSION"), &revision, &env!("GATEMETER_TARGET")]);
    page.family(&BUILD_INFO);
    page.sample(build, 1u64);
    let statuses: Vec<_> = statuses.iter().filter(|status| status.tried.get()).collect();
    let labels: Vec<_> = statuses.iter().map(|status| page.labels(&[&status.name])).collect();
    page.family(&UP);
    labels.iter().zip(&statuses).for_each(|(labels, status)| page.sample(*labels, status.up.get()));
    page.family(&DURATION);
    labels.iter().zip(&statuses).for_each(|(labels, status)| page.sample(*labels, status.duration.get().as_secs_f64()));
    page.family(&ERRORS);
    labels.iter().zip(&statuses).for_each(|(labels, status)| page.sample(*labels, status.errors.get()));
    page.family(&LAST_SUCCESS);
    labels.iter().zip(&statuses).for_each(|(labels, status)| page.sample(*labels, status.last_success.get()));
}

/// Fields 14 and 15 of /proc/PID/stat, user and system time in ticks (proc_pid_stat(5)). The second field may hold
/// spaces and brackets, so counting starts behind its last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / USER_HZ)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The start in seconds since 1970, by how long ago it was.
fn start_time(stat: &str) -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    Some(clock::unix_now() - age(stat, &uptime)?)
}

/// Seconds since the start: field 22 of /proc/PID/stat is the start in ticks since boot, and the first one of
/// /proc/uptime the time since boot in seconds with two decimals. Whole numbers, because the standard library's reader
/// of decimal fractions takes 14 kB on MIPS.
fn age(stat: &str, uptime: &str) -> Option<f64> {
    let started: u64 = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let (seconds, hundredths) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
    let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
    Some(seconds as f64 + hundredths as f64 / 100.0 - started as f64 / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 2 0 12345 1000 200";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("garbage"), None);
    }

    #[test]
    fn the_age_is_the_time_since_boot_without_that_before_the_start() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 2 0 12350 1000 200";
        assert_eq!(age(stat, "130.25 500.00\n"), Some(6.75));
        assert_eq!(age(stat, "now 500.00\n"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("VmSize:\t  9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("VmRSS: many kB"), None);
    }

    #[test]
    fn the_real_process_has_all_four_families() {
        let mut page = Page::new();
        Process::default().write(&mut page);
        let names: Vec<_> = page.families().map(|family| family.desc.name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
}
