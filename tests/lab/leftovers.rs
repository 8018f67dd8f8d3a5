//! Removing what a lab made: at its end, or later, when the process that made it was killed.
//!
//! Only names of the form `gm<pid>-...` are touched, and by [`sweep`] only those whose process no longer exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::NETNS_DIR;
use super::process;

/// Where labs keep their directories.
const TMP: &str = "/tmp";

/// Removes namespaces, mounts and directories of labs whose process is gone. The caller holds the lab's lock.
pub fn sweep() {
    let namespaces: Vec<String> = names(NETNS_DIR).into_iter().filter(|name| owner_is_gone(name)).collect();
    let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let orphans = names(TMP).into_iter().filter(|name| owner_is_gone(name));
    let mut problems = remove(&namespaces, None, Path::new(""));
    for dir in orphans.map(|name| Path::new(TMP).join(name)) {
        let bpffs = mounted(&dir.join("bpf"));
        problems.extend(remove(&[], bpffs.as_deref(), &dir));
    }
    for problem in problems {
        eprintln!("lab: cannot sweep leftovers: {problem}");
    }
}

/// Removes namespaces, a bpffs and a directory (none if empty); goes on after a failure and returns what failed.
pub fn remove(namespaces: &[&str], bpffs: Option<&Path>, dir: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let plan: String = namespaces
        .iter()
        .filter(|name| Path::new(NETNS_DIR).join(name).exists())
        .map(|name| format!("netns delete {name}\n"))
        .collect();
    if !plan.is_empty() {
        let mut ip = Command::new("ip");
        ip.args(["-force", "-batch", "-"]);
        problems.extend(process::must(ip, &plan).err());
    }
    if let Some(bpffs) = bpffs {
        let mut umount = Command::new("umount");
        umount.arg(bpffs);
        problems.extend(process::must(umount, "").err());
    }
    if !dir.as_os_str().is_empty() && dir.exists() {
        problems.extend(fs::remove_dir_all(dir).err().map(|e| format!("cannot remove {}: {e}", dir.display())));
    }
    problems
}

/// `path` if something is mounted there.
pub fn mounted(path: &Path) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == path));
    found.then(|| path.to_owned())
}

/// Entries of a directory that a lab may have made; none if there is no such directory.
pub fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| owner(name).is_some()).collect()
}

/// The pid in `gm<pid>-...`.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("gm")?.split_once('-')?.0.parse().ok()
}

fn owner_is_gone(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}
