//! What a daemon keeps in the kernel, seen with the system's own tools.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::{Daemon, PATIENCE};
use crate::lab::{Node, process};

/// Programs and links that a daemon holds open, by the kernel's numbers.
#[derive(Debug)]
pub struct Objects {
    programs: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Objects {
    /// Those of a running daemon.
    pub fn of(daemon: &Daemon) -> Self {
        let mut objects = Self { programs: BTreeSet::new(), links: BTreeSet::new() };
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid())).unwrap().flatten() {
            // A descriptor may be closed meanwhile.
            let info = fs::read_to_string(entry.path()).unwrap_or_default();
            let number = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u32>().ok());
            objects.programs.extend(number("prog_id:"));
            objects.links.extend(number("link_id:"));
        }
        assert!(objects.programs.len() >= 2, "a daemon that counts holds two programs: {objects:?}");
        objects
    }

    /// Waits until the kernel knows none of them any more; it frees them a moment after the last user is gone.
    pub fn wait_until_gone(&self) {
        let mut left = Vec::new();
        let gone = process::poll(PATIENCE, || {
            let known =
                |kind: &str, id: &u32| bpftool(&[kind, "show", "id", &id.to_string()]).then(|| format!("{kind} {id}"));
            left = self.programs.iter().filter_map(|id| known("prog", id)).collect();
            left.extend(self.links.iter().filter_map(|id| known("link", id)));
            left.is_empty().then_some(())
        });
        assert!(gone.is_some(), "still in the kernel: {left:?}");
    }
}

fn bpftool(words: &[&str]) -> bool {
    let mut bpftool = std::process::Command::new("bpftool");
    bpftool.args(words);
    process::run(bpftool, "", process::LIMIT).unwrap().status.success()
}

/// The filters of an interface in one direction, as `tc` lists them.
pub fn filters(router: &Node, ifname: &str, direction: &str) -> String {
    router.must(&["tc", "filter", "show", "dev", ifname, direction])
}

/// Whether an interface has a clsact qdisc.
pub fn has_clsact(router: &Node, ifname: &str) -> bool {
    router.must(&["tc", "qdisc", "show", "dev", ifname]).contains("clsact")
}

/// Fails if there is any filter or clsact qdisc on an interface.
pub fn nothing_on(router: &Node, ifname: &str) {
    for direction in ["ingress", "egress"] {
        assert_eq!(filters(router, ifname, direction), "", "{ifname} {direction}");
    }
    assert!(!has_clsact(router, ifname), "{ifname} has a clsact qdisc");
}
