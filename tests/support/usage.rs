//! What a process has used, by the kernel's own account.

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

/// How often all threads of a process gave up the processor by themselves: they slept, and were woken.
pub fn voluntary_switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let switches = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.map(switches).sum()
}

/// CPU time of the children of this process that have ended, in milliseconds (proc_pid_stat(5), fields 16 and 17).
pub fn children_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[13..15].iter().map(|ticks| ticks.parse::<f64>().unwrap() * 10.0).sum()
}

/// The most memory that one of the children that have ended had, in kB.
#[allow(unsafe_code, reason = "the standard library does not tell")]
pub fn largest_child_kb() -> libc::c_long {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is room for one rusage, which the kernel fills.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: zero is a value for all of its fields, and the kernel has filled them.
    unsafe { usage.assume_init() }.ru_maxrss
}

/// The median; sorts.
pub fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Median, lowest and highest; sorts.
pub fn spread(all: &mut [f64]) -> String {
    format!("{:.2} ({:.2} to {:.2})", median(all), all[0], all[all.len() - 1])
}
