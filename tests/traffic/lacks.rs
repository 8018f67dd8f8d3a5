//! Systems that lack something: the daemon says what, once, and lives on.

use std::fs;

use crate::figures::{UP, expect, mark, setup, static_lease};
use crate::harness::confine::{CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN};
use crate::harness::{Confine, Setup};
use crate::lab::Lab;

/// linux/capability.h: pointer arithmetic in BPF programs since 5.8.
const CAP_PERFMON: u32 = 38;

/// The daemon stays up, says `reason` in one line and no other, and serves; `check` says `lack` and fails.
fn lives_without(setup: &Setup, reason: &[&str], lack: &[&str]) {
    let mut daemon = setup.start();
    daemon.wait_for(UP, 0.0);
    daemon.wait_until("two tries", |metrics| {
        (metrics["gatemeter_collector_errors_total{collector=\"traffic\"}"] >= 2.0).then_some(())
    });
    let said = daemon.stderr();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    for word in reason {
        assert!(lines[0].contains(word), "{word} not in {}", lines[0]);
    }
    let health = daemon.get("/healthz").unwrap();
    assert_eq!(health.status, 200);
    assert!(health.text().contains(reason[0]), "{}", health.text());
    let figures = daemon.metrics();
    assert!(!figures.keys().any(|name| name.starts_with("node_nat_traffic")), "{figures:?}");
    assert_eq!(daemon.stop().code(), Some(0));

    let check = setup.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    for word in lack {
        let told = check.stdout.lines().any(|line| line.contains("BROKEN") && line.contains(word));
        assert!(told, "{word} is not told to be broken:\n{}", check.stdout);
    }
    let once = setup.run(&["once", "traffic"]);
    assert_eq!(once.status.code(), Some(1), "{once:?}");
}

#[test]
fn a_kernel_without_bpf_is_told_with_what_it_must_be_built_with() {
    let lab = Lab::builder().hosts(0).build();
    let setup = setup(&lab).confined(Confine::without_bpf());
    lives_without(&setup, &["CONFIG_BPF_SYSCALL", "Function not implemented"], &["CONFIG_BPF_SYSCALL"]);
}

#[test]
fn a_daemon_that_may_not_load_programs_says_what_to_grant() {
    let lab = Lab::builder().hosts(0).build();
    let setup = setup(&lab).confined(Confine::default().capabilities(&[CAP_NET_ADMIN, CAP_NET_RAW]));
    lives_without(&setup, &["CAP_BPF is missing", "run as root or grant"], &["CAP_BPF"]);
}

#[test]
fn a_daemon_that_may_not_attach_programs_says_what_to_grant() {
    let lab = Lab::builder().hosts(1).build();
    let setup = setup(&lab).confined(Confine::default().capabilities(&[CAP_BPF, CAP_PERFMON]));
    lives_without(&setup, &["CAP_NET_ADMIN is missing", "run as root or grant"], &["CAP_NET_ADMIN"]);
}

#[test]
fn the_three_capabilities_that_are_asked_for_are_enough() {
    let lab = Lab::builder().hosts(1).build();
    let confine = Confine::default().capabilities(&[CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN]);
    for attach in ["tcx", "clsact"] {
        let setup = setup(&lab).flags(&["-o", &format!("traffic.attach={attach}")]).confined(confine.clone());
        let mut daemon = setup.start();
        daemon.wait_for(UP, 1.0);
        expect(&daemon, [mark(&lab, lab.host(1))]);
        assert_eq!(daemon.stop().code(), Some(0));
        let check = setup.run(&["check"]);
        assert_eq!(check.status.code(), Some(0), "{check:?}");
        assert_eq!(setup.run(&["clean"]).status.code(), Some(0));
    }
}

#[test]
fn capabilities_of_before_linux_5_8_are_enough() {
    let lab = Lab::builder().hosts(1).build();
    let confine = Confine::default().capabilities(&[CAP_SYS_ADMIN, CAP_NET_ADMIN]);
    let daemon = setup(&lab).confined(confine).start();
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn a_small_limit_of_locked_memory_is_lifted_as_far_as_that_is_allowed() {
    let lab = Lab::builder().hosts(1).build();
    let locked = |pid: u32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory")).unwrap().to_owned();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // Only the soft limit is lowered: raising it back to the hard one takes no privilege.
    let daemon = setup(&lab).confined(Confine::default().soft_memlock(4096)).start();
    let raised = locked(daemon.pid());
    assert_eq!(raised[0], raised[1], "soft and hard limit");
    expect(&daemon, [mark(&lab, lab.host(1))]);
}

#[test]
fn a_small_limit_of_locked_memory_that_cannot_be_lifted_is_told_or_is_no_obstacle() {
    let lab = Lab::builder().hosts(1).build();
    let confine = Confine::default().memlock(4096).capabilities(&[CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN]);
    let setup = setup(&lab).confined(confine);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    // Since Linux 5.11 the memory of programs and tables is charged to the control group.
    if version >= (5, 11) {
        let daemon = setup.start();
        expect(&daemon, [mark(&lab, lab.host(1))]);
    } else {
        lives_without(&setup, &["ulimit -l unlimited"], &[]);
    }
}

#[test]
fn check_names_interfaces_and_what_is_missing_and_changes_nothing() {
    let lab = Lab::builder().hosts(1).guest().build();
    let found = setup(&lab).run(&["check"]);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    assert!(found.stdout.contains("br-lan: will count 192.168.1.0/24 2001:db8:1:1::/64 fd00:1:1::/64"), "{found:?}");
    assert!(found.stdout.contains("br-guest: will count 192.168.2.0/24 2001:db8:1:2::/64"), "{found:?}");
    assert!(!found.stdout.contains("BROKEN"), "{found:?}");
    let missing = setup(&lab).flags(&["-4", "192.168.9.1/24/br-foo"]).run(&["check"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(missing.stdout.contains("BROKEN  there is no interface br-foo now"), "{missing:?}");
    assert!(!lab.bpffs().join("gatemeter").exists());
    crate::kernel::nothing_on(&lab.router, "br-lan");
}

#[test]
fn without_a_lan_the_daemon_says_how_to_name_one() {
    let lab = Lab::builder().hosts(0).build();
    lab.router.must(&["ip", "link", "set", "br-lan", "down"]);
    let setup = setup(&lab);
    lives_without(&setup, &["no LAN interface was found", "-4 192.168.1.1/24/br-lan"], &["no LAN interface was found"]);
}

#[test]
fn without_any_name_check_tells_that_no_host_would_be_shown() {
    let lab = Lab::builder().hosts(1).build();
    let named = setup(&lab).uci("dhcp", &static_lease("one", lab.host(1))).run(&["check"]);
    assert!(named.stdout.contains("1 host names are known"), "{named:?}");
    let unnamed = setup(&lab).uci("dhcp", "").run(&["check"]);
    assert!(unnamed.stdout.contains("no host names are known"), "{unnamed:?}");
    assert!(unnamed.stdout.contains("traffic.unknown_hosts=1"), "{unnamed:?}");
}
