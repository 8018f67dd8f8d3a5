//! The daemon with no more privileges than its service managers leave it: the capabilities of the jail's file and of the unit,
//! in all sets, with no new ones to be had.

use std::collections::BTreeSet;
use std::process::Command;

use gatemeter::cli::Args;
use gatemeter::collectors::{ALL, SECTIONS};
use gatemeter::config::Config;

use crate::harness::Setup;
use crate::lab::Lab;
use crate::lab::process::{Background, poll};
use crate::text_of;

/// The capabilities that the jail's file lists in a set.
fn of_jail(set: &str) -> BTreeSet<String> {
    let file: serde_json::Value = serde_json::from_str(&text_of("openwrt/gatemeter/files/gatemeter.json")).unwrap();
    file[set].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn of_unit() -> BTreeSet<String> {
    let unit = text_of("packaging/systemd/gatemeter.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// What the collectors say they need, whatever is configured.
fn declared() -> BTreeSet<String> {
    let args = Args { option: vec!["probe.hardware=1".into()], ..Args::default() };
    let config = Config::load(&args, SECTIONS).unwrap();
    let all = ALL.iter().flat_map(|row| (row.capabilities)(&config));
    all.map(|capability| capability.name().to_owned()).collect()
}

#[test]
fn what_is_left_is_what_the_collectors_declare() {
    assert_eq!(of_unit(), declared());
    let mut expected = declared();
    // For those who have the page on port 80.
    expected.insert("CAP_NET_BIND_SERVICE".into());
    for set in ["bounding", "effective", "ambient", "permitted", "inheritable"] {
        assert_eq!(of_jail(set), expected, "{set}");
    }
}

/// Runs the daemon as its service manager does, until all collectors of the default configuration are up.
fn all_run(capabilities: &BTreeSet<String>) {
    let lab = Lab::new();
    let config = text_of("openwrt/gatemeter/files/gatemeter.config");
    let setup = Setup::new(&lab).uci("gatemeter", &config).flags(&["-t", "1", "--textfile-dir", "none"]);
    let daemon = setup.command();
    let short = |name: &String| name.trim_start_matches("CAP_").to_lowercase();
    let list =
        format!("-all,{}", capabilities.iter().map(|name| format!("+{}", short(name))).collect::<Vec<_>>().join(","));
    // Entering the router's namespace takes a privilege that is given up next.
    let setpriv = ["setpriv", "--no-new-privs", "--bounding-set", &list, "--inh-caps", &list, "--ambient-caps", &list];
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &lab.router.netns]).args(setpriv).arg(daemon.get_program()).args(daemon.get_args());
    command.current_dir(setup.dir());
    let log = setup.dir().join("stderr");
    let mut process = Background::start(command, &log).unwrap();
    let page = poll(crate::harness::PATIENCE, || {
        let page = std::fs::read_to_string(setup.textfile()).ok()?;
        let is_up = |name: &&str| page.contains(&format!("gatemeter_collector_up{{collector=\"{name}\"}} 1"));
        ["traffic", "clients", "probe"].iter().all(is_up).then_some(page)
    });
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(page.is_some(), "not all collectors are up\n{said}\n{:?}", std::fs::read_to_string(setup.textfile()));
    assert!(!said.contains("ERROR") && !said.contains("cannot give up"), "{said}");
    // It has given up what none of these collectors needs, and cannot win anything back.
    let status = poll(crate::harness::PATIENCE, || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
        status.contains("Name:\tgatemeter").then_some(status)
    });
    let status = status.unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let bits = |name: &str| u64::from_str_radix(&field(name), 16).unwrap();
    let (net_admin, net_raw, perfmon, bpf) = (1 << 12, 1 << 13, 1 << 38, 1 << 39);
    assert_eq!(bits("CapEff:"), net_admin | net_raw | perfmon | bpf, "{status}");
    assert_eq!((bits("CapPrm:"), bits("CapInh:"), bits("CapAmb:")), (bits("CapEff:"), 0, 0), "{status}");
    assert_eq!(field("NoNewPrivs:"), "1");
    process.signal(libc::SIGTERM);
    assert!(process.wait(crate::harness::PATIENCE).success(), "{said}");
}

#[test]
fn with_the_capabilities_of_the_jail_all_collectors_run() {
    all_run(&of_jail("bounding"));
}

#[test]
fn with_the_capabilities_of_the_unit_all_collectors_run() {
    all_run(&of_unit());
}
