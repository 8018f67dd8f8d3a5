//! What stays, what goes, and what a second process finds: pins, links, filters.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use aya::programs::{SchedClassifier, TcAttachType};
use gatemeter::collectors::traffic::check::{ensure_bpffs, findings};
use gatemeter::collectors::traffic::codec::Rules;
use gatemeter::collectors::traffic::loader::{Attach, Hook, clean};

use crate::lab::*;
use crate::net;
use crate::wait::{LIMIT, StopOnDrop, poll};

/// All that is attached to the interface: TCX programs, filters, and the clsact qdisc.
fn attached(ifname: &str) -> Vec<String> {
    let mut found = Vec::new();
    let directions: &[TcAttachType] = if has_tcx() { &[TcAttachType::Ingress, TcAttachType::Egress] } else { &[] };
    for direction in directions {
        for program in SchedClassifier::query_tcx(ifname, *direction).unwrap().1 {
            found.push(format!("tcx {}", program.name_as_str().unwrap()));
        }
    }
    for direction in ["ingress", "egress"] {
        let filters = net::run(&format!("tc filter show dev {ifname} {direction}"));
        found.extend(filters.lines().filter(|line| line.contains("handle")).map(str::to_owned));
    }
    let qdiscs = net::run(&format!("tc qdisc show dev {ifname}"));
    found.extend(qdiscs.lines().filter(|line| line.contains("clsact")).map(str::to_owned));
    found
}

/// Fails unless nothing is attached to the interface, or soon no more: a command that another test starts holds copies
/// of our links until it executes.
#[track_caller]
fn assert_detached(ifname: &str) {
    poll(LIMIT, || attached(ifname).is_empty().then_some(()));
    assert_eq!(attached(ifname), [""; 0]);
}

fn programs_in(found: &[String]) -> usize {
    found.iter().filter(|line| line.contains("gatemeter_")).count()
}

/// Sends from the host until told to stop by the answer of `during`; returns the number of packets.
fn while_sending(ifindex: u32, during: impl FnOnce()) -> u64 {
    let stop = AtomicBool::new(false);
    let frame = from_host(LAN4, INTERNET4, 100);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sender = net::Sender::new(ifindex);
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                sender.send_all(std::iter::repeat_n(&frame[..], 64));
                sent += 64;
            }
            sent
        });
        let guard = StopOnDrop(&stop);
        during();
        drop(guard);
        sender.join().unwrap()
    })
}

fn takes_over_without_loss(attach: Attach) {
    net::enter_namespaces();
    let pins = net::pin_dir();
    let (lan, host0) = net::veth("lan0", "host0");
    let mut first = open(64, Some(&pins), attach);
    first.attach(lan, "lan0", &rules()).unwrap();
    drop(first);
    let sent = while_sending(host0, || {
        for _ in 0..20 {
            let mut next = open(64, Some(&pins), attach);
            next.attach(lan, "lan0", &rules()).unwrap();
            next.retain(&[lan]);
        }
    });
    assert_eq!(programs_in(&attached("lan0")), 2, "{:?}", attached("lan0"));
    let mut last = open(64, Some(&pins), attach);
    expect(&mut last, [(host(LAN4), up(sent, sent * 142))]);
}

#[test]
fn tcx_links_go_from_process_to_process_without_a_packet_lost() {
    if !has_tcx() {
        return assert_tcx_is_refused();
    }
    takes_over_without_loss(Attach::Tcx);
}

#[test]
fn clsact_filters_go_from_process_to_process_without_a_packet_lost() {
    takes_over_without_loss(Attach::Clsact);
}

/// Not a test by itself: what the tests below start as another process, and kill.
#[test]
fn a_process_that_accounts_until_it_is_killed() {
    let Ok(pins) = std::env::var("GATEMETER_TEST_PINS") else { return };
    let attach = if std::env::var("GATEMETER_TEST_CLSACT").is_ok() { Attach::Clsact } else { Attach::Auto };
    let mut accounting = open(64, (pins != "none").then_some(Path::new(&pins)), attach);
    let hook = accounting.attach(net::ifindex("lan0"), "lan0", &rules()).unwrap();
    println!("accounting by {hook:?}");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

/// Starts another process that accounts, waits until it does, calls `during`, and kills it with SIGKILL.
fn with_other_process(pins: &str, clsact: bool, during: impl FnOnce()) {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "takeover::a_process_that_accounts_until_it_is_killed", "--nocapture"]);
    command.env("GATEMETER_TEST_PINS", pins).stdout(Stdio::piped());
    if clsact {
        command.env("GATEMETER_TEST_CLSACT", "1");
    }
    let mut child = KillOnDrop(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("accounting by")), "the other process did not start");
    during();
}

/// A process that is killed and reaped however the test ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn counting_goes_on_after_the_process_was_killed() {
    net::enter_namespaces();
    let pins = net::pin_dir();
    let (lan, host0) = net::veth("lan0", "host0");
    let sender = net::Sender::new(host0);
    with_other_process(pins.to_str().unwrap(), false, || sender.send(&from_host(LAN4, INTERNET4, 100)));
    sender.send(&from_host(LAN4, INTERNET4, 100));
    let mut next = open(64, Some(&pins), Attach::Auto);
    next.attach(lan, "lan0", &rules()).unwrap();
    sender.send(&from_host(LAN4, INTERNET4, 100));
    expect(&mut next, [(host(LAN4), up(3, 3 * 142))]);
}

#[test]
fn a_second_process_is_refused_while_the_first_accounts() {
    net::enter_namespaces();
    let pins = net::pin_dir();
    net::veth("lan0", "host0");
    with_other_process(pins.to_str().unwrap(), false, || {
        let error = try_open(64, Some(&pins), Attach::Auto).unwrap_err().to_string();
        assert!(error.contains("another gatemeter is accounting"), "{error}");
        let error = try_open(64, None, Attach::Auto).unwrap_err().to_string();
        assert!(error.contains("another gatemeter is accounting"), "{error}");
        let error = clean(Some(&pins)).unwrap_err().to_string();
        assert!(error.contains("another gatemeter is accounting"), "{error}");
    });
    open(64, Some(&pins), Attach::Auto);
}

#[test]
fn the_pins_of_another_namespaces_process_are_refused_too() {
    net::enter_namespaces();
    let pins = net::pin_dir();
    let _first = open(64, Some(&pins), Attach::Auto);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            net::enter_namespaces();
            let error = try_open(64, Some(&pins), Attach::Auto).unwrap_err().to_string();
            assert!(error.contains("another gatemeter is accounting with them"), "{error}");
        });
    });
}

#[test]
fn without_pins_nothing_stays_behind() {
    for &attach in ways() {
        net::enter_namespaces();
        let (lan, _) = net::veth("lan0", "host0");
        let mut accounting = open(64, None, attach);
        accounting.attach(lan, "lan0", &rules()).unwrap();
        assert_eq!(programs_in(&attached("lan0")), 2);
        drop(accounting);
        assert_detached("lan0");
    }
}

#[test]
fn a_filter_left_by_a_killed_process_without_pins_is_taken_over_and_removed() {
    net::enter_namespaces();
    let (lan, host0) = net::veth("lan0", "host0");
    with_other_process("none", true, || {});
    assert_eq!(programs_in(&attached("lan0")), 2);
    let mut next = open(64, None, Attach::Auto);
    let hook = if has_tcx() { Hook::Tcx } else { Hook::Clsact };
    assert_eq!(next.attach(lan, "lan0", &rules()).unwrap(), hook);
    net::Sender::new(host0).send(&from_host(LAN4, INTERNET4, 100));
    expect(&mut next, [(host(LAN4), up(1, 142))]);
    assert_eq!(programs_in(&attached("lan0")), 2, "{:?}", attached("lan0"));
}

#[test]
fn a_change_between_clsact_and_tcx_leaves_only_one() {
    if !has_tcx() {
        return assert_tcx_is_refused();
    }
    net::enter_namespaces();
    let pins = net::pin_dir();
    let (lan, host0) = net::veth("lan0", "host0");
    let sender = net::Sender::new(host0);
    for (turn, attach) in [Attach::Clsact, Attach::Tcx, Attach::Clsact].into_iter().enumerate() {
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(lan, "lan0", &rules()).unwrap();
        let found = attached("lan0");
        assert_eq!(programs_in(&found), 2, "{found:?}");
        assert_eq!(found.iter().any(|line| line.contains("qdisc clsact")), attach == Attach::Clsact, "{found:?}");
        sender.send(&from_host(LAN4, INTERNET4, 100));
        let sent = turn as u64 + 1;
        expect(&mut accounting, [(host(LAN4), up(sent, sent * 142))]);
    }
}

#[test]
fn detach_ends_the_counting_of_one_interface_only() {
    for &attach in ways() {
        net::enter_namespaces();
        let pins = net::pin_dir();
        let (lan, host0) = net::veth("lan0", "host0");
        let (guest, host1) = net::veth("lan1", "host1");
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(lan, "lan0", &rules()).unwrap();
        accounting.attach(guest, "lan1", &rules()).unwrap();
        accounting.detach(lan).unwrap();
        accounting.detach(lan).unwrap();
        assert_detached("lan0");
        net::Sender::new(host0).send(&from_host(LAN4, INTERNET4, 100));
        net::Sender::new(host1).send(&from_host(LAN4, INTERNET4, 100));
        expect(&mut accounting, [(host(LAN4), up(1, 142))]);
    }
}

#[test]
fn interfaces_that_are_no_longer_wanted_are_released_by_the_next_process() {
    for &attach in ways() {
        net::enter_namespaces();
        let pins = net::pin_dir();
        let (lan, _) = net::veth("lan0", "host0");
        let (guest, _) = net::veth("lan1", "host1");
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(lan, "lan0", &rules()).unwrap();
        accounting.attach(guest, "lan1", &rules()).unwrap();
        drop(accounting);
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(lan, "lan0", &rules()).unwrap();
        accounting.retain(&[lan]);
        assert_detached("lan1");
        assert_eq!(programs_in(&attached("lan0")), 2);
    }
}

#[test]
fn an_interface_made_again_under_the_same_number_is_attached_anew() {
    for &attach in ways() {
        net::enter_namespaces();
        let pins = net::pin_dir();
        net::run("ip link add lan0 index 50 type veth peer name host0");
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(50, "lan0", &rules()).unwrap();
        drop(accounting);
        net::run("ip link del lan0");
        net::run("ip link add lan0 index 50 type veth peer name host0");
        net::run("ip link set lan0 up");
        net::run("ip link set host0 up");
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(50, "lan0", &rules()).unwrap();
        net::Sender::new(net::ifindex("host0")).send(&from_host(LAN4, INTERNET4, 100));
        expect(&mut accounting, [(host(LAN4), up(1, 142))]);
    }
}

#[test]
fn an_interface_made_again_while_the_process_lives_is_attached_anew() {
    for &attach in ways() {
        net::enter_namespaces();
        let pins = net::pin_dir();
        net::run("ip link add lan0 index 50 type veth peer name host0");
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(50, "lan0", &rules()).unwrap();
        net::run("ip link del lan0");
        accounting.detach(50).unwrap();
        net::run("ip link add lan0 index 50 type veth peer name host0");
        net::run("ip link set lan0 up");
        net::run("ip link set host0 up");
        accounting.attach(50, "lan0", &rules()).unwrap();
        net::Sender::new(net::ifindex("host0")).send(&from_host(LAN4, INTERNET4, 100));
        expect(&mut accounting, [(host(LAN4), up(1, 142))]);
    }
}

fn keeps_counters(from: u32, to: u32, attach: Attach) {
    net::enter_namespaces();
    let pins = net::pin_dir();
    let (lan, host0) = net::veth("lan0", "host0");
    let mut first = open(from, Some(&pins), attach);
    first.attach(lan, "lan0", &rules()).unwrap();
    net::Sender::new(lan).send(&to_host(INTERNET6, LAN6, 200));
    drop(first);
    let frame = from_host(LAN4, INTERNET4, 100);
    let mut sent = 64;
    net::Sender::new(host0).send_all(std::iter::repeat_n(&frame[..], 64));
    sent += while_sending(host0, || {
        let mut next = open(to, Some(&pins), attach);
        assert_eq!(next.capacity(), to);
        // Nobody may see counters go backwards before the old table is merged.
        let counted = poll(LIMIT, || Some(hosts(&mut next).get(&host(LAN4))?.upload_packets));
        let before = counted.unwrap();
        next.attach(lan, "lan0", &rules()).unwrap();
        let attached = hosts(&mut next)[&host(LAN4)].upload_packets;
        next.retain(&[lan]);
        let merged = hosts(&mut next)[&host(LAN4)].upload_packets;
        assert!(before > 0 && before <= attached && attached <= merged, "{before} {attached} {merged}");
    });
    let mut last = open(to, Some(&pins), attach);
    expect(&mut last, [(host(LAN4), up(sent, sent * 142)), (host(LAN6), down(1, 262))]);
    let files = std::fs::read_dir(pins.join("v1")).unwrap().count();
    assert!(files <= 5, "the old tables are still pinned: {files} pins");
}

#[test]
fn a_larger_table_keeps_the_counters() {
    keeps_counters(16, 512, Attach::Auto);
}

#[test]
fn a_smaller_table_keeps_the_counters() {
    keeps_counters(512, 16, Attach::Clsact);
}

#[test]
fn pins_of_another_layout_are_replaced() {
    net::enter_namespaces();
    let pins = net::pin_dir();
    let (lan, host0) = net::veth("lan0", "host0");
    let dir = pins.join("v1");
    std::fs::create_dir_all(&dir).unwrap();
    let at = dir.join("gm_hosts4");
    net::run(&format!("bpftool map create {} type hash key 4 value 40 entries 150 name x", at.display()));
    std::fs::create_dir_all(pins.join("v0")).unwrap();
    let older = pins.join("v0/hosts");
    net::run(&format!("bpftool map create {} type hash key 4 value 40 entries 150 name x", older.display()));
    let mut accounting = open(64, Some(&pins), Attach::Auto);
    accounting.attach(lan, "lan0", &rules()).unwrap();
    net::Sender::new(host0).send(&from_host(LAN4, INTERNET4, 100));
    expect(&mut accounting, [(host(LAN4), up(1, 142))]);
    assert!(!older.exists());
}

#[test]
fn clean_leaves_nothing() {
    for &attach in ways() {
        net::enter_namespaces();
        let pins = net::pin_dir();
        let (lan, _) = net::veth("lan0", "host0");
        let mut accounting = open(64, Some(&pins), attach);
        accounting.attach(lan, "lan0", &rules()).unwrap();
        drop(accounting);
        assert_eq!(programs_in(&attached("lan0")), 2);
        let removed = cleaned(&pins);
        assert!(removed.iter().any(|what| what.contains("gm_hosts4")), "{removed:?}");
        assert_detached("lan0");
        assert!(!pins.exists());
        assert_eq!(cleaned(&pins), [""; 0]);
    }
}

#[test]
fn clean_spares_the_filters_and_the_qdisc_of_others() {
    net::enter_namespaces();
    let pins = net::pin_dir();
    let (lan, _) = net::veth("lan0", "host0");
    let (guest, _) = net::veth("lan1", "host1");
    net::run("tc qdisc add dev lan0 clsact");
    let mut accounting = open(64, Some(&pins), Attach::Clsact);
    accounting.attach(lan, "lan0", &rules()).unwrap();
    accounting.attach(guest, "lan1", &rules()).unwrap();
    drop(accounting);
    let other = crate::bpf::always(-1);
    gatemeter::sys::bpf::pin(std::os::fd::AsFd::as_fd(&other), Path::new("/mnt/bpf/other")).unwrap();
    net::run("tc filter add dev lan1 egress prio 50 bpf direct-action object-pinned /mnt/bpf/other");
    cleaned(&pins);
    // The qdisc of lan0 was there before us; that of lan1 was ours, but has another's filter now.
    assert_eq!(attached("lan0").len(), 1, "{:?}", attached("lan0"));
    let kept = attached("lan1");
    assert!(kept.len() == 2 && kept[0].contains("pref 50"), "{kept:?}");
}

#[test]
fn a_directory_that_is_not_on_a_bpf_file_system_is_refused_with_a_remedy() {
    net::enter_namespaces();
    let dir = std::env::temp_dir().join(format!("gatemeter-{}", std::process::id()));
    let error = try_open(64, Some(&dir), Attach::Auto).unwrap_err().to_string();
    assert!(error.contains("not on a BPF file system; mount one"), "{error}");
    assert!(!dir.exists());
}

#[test]
fn too_many_prefixes_are_an_error_that_says_how_many_fit() {
    net::enter_namespaces();
    let (lan, _) = net::veth("lan0", "host0");
    let mut accounting = open(64, None, Attach::Auto);
    let lan4 = (0..17).map(|i| ([10, i, 0, 0].into(), 16)).collect();
    let error = accounting.attach(lan, "lan0", &Rules { lan4, ..Rules::default() }).unwrap_err().to_string();
    assert_eq!(error, "cannot account lan0: 17 IPv4 LAN prefixes, at most 16 fit");
    assert_detached("lan0");
}

#[test]
fn a_bpf_file_system_is_mounted_once_where_it_belongs() {
    net::enter_namespaces();
    // The fresh /sys of this namespace has none.
    let dir = Path::new("/sys/fs/bpf/gatemeter");
    let told =
        || findings(Some(dir), Attach::Auto).into_iter().map(|finding| finding.text).collect::<Vec<_>>().join("\n");
    assert!(told().contains("is mounted at start"), "{}", told());
    ensure_bpffs(dir).unwrap();
    ensure_bpffs(dir).unwrap();
    assert!(told().contains("counts are kept in /sys/fs/bpf/gatemeter"), "{}", told());
    let mut accounting = open(64, Some(dir), Attach::Auto);
    assert!(accounting.pinned());
    accounting.retain(&[]);
    let error = ensure_bpffs(Path::new("/mnt/gatemeter")).unwrap_err().to_string();
    assert!(error.contains("set traffic.pin_dir to none"), "{error}");
}
