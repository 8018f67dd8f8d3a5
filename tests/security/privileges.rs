//! Every thread of the daemon may do what the table says of the collectors that run, and nothing else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use gatemeter::collectors::ALL;
use gatemeter::sys::caps::Capability;

use crate::harness::{Daemon, PATIENCE, Setup, http};
use crate::lab::{Lab, process};
use crate::table;

/// All capabilities that gatemeter has names for.
const KNOWN: [Capability; 7] = [
    Capability::NetBindService,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::SysAdmin,
    Capability::SysResource,
    Capability::Perfmon,
    Capability::Bpf,
];

/// The set that the table has for what its first cell says.
fn documented(who: &str) -> u64 {
    let row = table("capabilities").into_iter().find(|row| row[0] == who);
    let row = row.unwrap_or_else(|| panic!("the table has no row {who}"));
    row[1].split_whitespace().filter(|name| *name != "none").fold(0, |set, name| {
        let known = KNOWN.iter().find(|capability| capability.name() == name);
        set | 1 << *known.unwrap_or_else(|| panic!("{name} is no capability")) as u8
    })
}

/// A value of a `/proc/PID/status` line.
fn status_field(path: &Path, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().to_owned()
}

fn threads(daemon: &Daemon<'_>) -> Vec<PathBuf> {
    let dir = format!("/proc/{}/task", daemon.pid());
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().join("status")).collect()
}

/// Starts a daemon with these flags, which serves on this port, and compares all sets of all its threads.
#[track_caller]
fn has_exactly(lab: &Lab, flags: &[&str], port: u16, expected: u64) {
    let daemon = Setup::new(lab).flags(&["-e", "--textfile", "none"]).flags(flags).start_unready();
    // Served requests mean that every thread there will be is there.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let served = || http::get(&lab.router, address, "/metrics", &[("Accept-Encoding", "gzip")]).ok();
    process::poll(PATIENCE, served).unwrap_or_else(|| panic!("{}", daemon.stderr()));
    let threads = threads(&daemon);
    println!("{flags:?}: {} threads, capabilities {expected:#x}", threads.len());
    for thread in threads {
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let held = u64::from_str_radix(&status_field(&thread, set), 16).unwrap();
            assert_eq!(held, expected, "{flags:?}: {set} of {} is {held:#x}, not {expected:#x}", thread.display());
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(status_field(&thread, set), "0000000000000000", "{set} of {}", thread.display());
        }
        assert_eq!(status_field(&thread, "NoNewPrivs"), "1", "{}", thread.display());
    }
}

#[test]
fn every_thread_has_the_capabilities_of_the_collectors_that_run_and_no_other() {
    let lab = Lab::builder().hosts(1).build();
    let names: Vec<&str> = ALL.iter().map(|row| row.name).collect();
    has_exactly(&lab, &["--collectors", ""], 9999, 0);
    // Each alone, each pair, and all.
    for (at, first) in names.iter().enumerate() {
        for second in &names[at..] {
            let flags = ["--collectors", &format!("{first},{second}")];
            has_exactly(&lab, &flags, 9999, documented(first) | documented(second));
        }
    }
    let all = names.iter().fold(0, |set, name| set | documented(name));
    has_exactly(&lab, &["--collectors", &names.join(",")], 9999, all);
    let hardware = documented("probe with probe.hardware=1");
    has_exactly(&lab, &["--collectors", "probe", "-o", "probe.hardware=1"], 9999, hardware);
    let low_port = documented("freebox") | 1 << Capability::NetBindService as u8;
    has_exactly(&lab, &["--collectors", "freebox", "-p", "80"], 80, low_port);
}
