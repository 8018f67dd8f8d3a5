//! What a process has used, by the kernel's own account, and how measured figures are printed.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by benchmarks that each use a part of it")]

use std::fs;
use std::path::Path;

/// CPU time of all threads of a process, work in the kernel on their behalf included.
pub fn cpu_nanoseconds(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.filter_map(Result::ok).map(|task| task_nanoseconds(&task.path())).sum()
}

/// The same of one thread, by its directory in /proc; 0 if it is gone.
pub fn task_nanoseconds(path: &Path) -> u64 {
    let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
}

/// A figure of /proc/PID/status in kB, such as `VmRSS:`.
pub fn status_kb(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The median; sorts.
pub fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Median, lowest and highest; sorts.
pub fn spread(all: &mut [f64]) -> String {
    format!("{:.2} [{:.2}, {:.2}]", median(all), all[0], all[all.len() - 1])
}
