//! What happens to routers: the daemon is killed at any moment, started twice, told to reload without end, its disk is
//! full, its interfaces come and go. No counted byte is lost, no half file is read, and it goes on by itself.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod harness;
mod lab;

#[path = "traffic/figures.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of traffic, which use all of it")]
mod figures;
#[path = "conntrack/inject.rs"]
#[allow(dead_code, reason = "shared with the tests of conntrack, which use all of it")]
mod inject;

#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/dns.rs"]
mod dns;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/floods.rs"]
mod floods;
#[path = "faults/interfaces.rs"]
mod interfaces;
#[path = "faults/lacks.rs"]
mod lacks;
#[path = "faults/overruns.rs"]
mod overruns;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use figures::{Hosts, Tally, UP, expect, let_it_flow, static_leases, sum, while_talking};
use harness::{Daemon, Documented, PATIENCE, Samples, Setup, exposition};
use lab::traffic::StopOnDrop;
use lab::{Lab, process};

const CLIENTS_UP: &str = "gatemeter_collector_up{collector=\"clients\"}";

/// A daemon with `traffic` and `clients`, every second, that knows every host of the lab by its own name.
fn setup(lab: &Lab) -> Setup<'_> {
    setup_of(lab, "traffic,clients")
}

/// The same with these collectors.
fn setup_of<'a>(lab: &'a Lab, collectors: &str) -> Setup<'a> {
    let nowhere = lab.dir().join("no-names").display().to_string();
    let pins = format!("traffic.pin_dir={}", lab.bpffs().join("gatemeter").display());
    let names = ["traffic.leases", "clients.leases", "clients.hosts"].map(|option| format!("{option}={nowhere}"));
    let flags = ["-e", "-t", "1", "--collectors", collectors, "-o", "clients.interval=1", "-o", &pins];
    let names: Vec<&str> = names.iter().flat_map(|name| ["-o", name.as_str()]).collect();
    Setup::new(lab).uci("dhcp", &static_leases(lab)).flags(&flags).flags(&names)
}

/// What `clients` shows, under the keys of `traffic`'s hosts without their MAC address.
fn clients(metrics: &Samples) -> Vec<(String, u64, u64)> {
    let mut shown = std::collections::BTreeMap::<String, (u64, u64)>::new();
    for (series, value) in metrics.iter().filter(|(series, _)| series.starts_with("client_traffic_bytes{")) {
        let label = |name| exposition::label(series, name).unwrap();
        let (tx, rx) = shown.entry(format!("{} {}", label("client"), label("ip"))).or_default();
        *(if label("direction") == "tx" { tx } else { rx }) += *value as u64;
    }
    shown.into_iter().map(|(key, (tx, rx))| (key, tx, rx)).filter(|(_, tx, rx)| tx + rx > 0).collect()
}

/// The same bytes without Ethernet's headers, which `clients` does not count.
fn without_ethernet(hosts: &Hosts) -> Vec<(String, u64, u64)> {
    let row = |(key, tally): (&String, &Tally)| {
        let mut words = key.split(' ');
        let (name, ip) = (words.next().unwrap().trim_end_matches("-v6"), words.next().unwrap());
        let bare = |bytes: u64, packets: u64| bytes - 14 * packets;
        (format!("{name} {ip}"), bare(tally.up_bytes, tally.up_packets), bare(tally.down_bytes, tally.down_packets))
    };
    let mut rows: Vec<_> = hosts.iter().map(row).collect();
    rows.sort();
    rows
}

/// Waits until both collectors show exactly what was sent.
#[track_caller]
fn expect_both(daemon: &Daemon, sent: Hosts) {
    expect(daemon, sent.clone());
    let wanted = without_ethernet(&sum(sent));
    let mut last = Vec::new();
    let seen = process::poll(PATIENCE, || {
        last = clients(&daemon.metrics());
        (last == wanted).then_some(())
    });
    assert!(seen.is_some(), "clients shows\n{last:#?}\nand not\n{wanted:#?}");
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Reads the file again and again until told to stop; returns how many whole pages and how many others were seen.
fn read_all_the_time(path: &Path, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut whole, mut halves) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        // Before the first page, and after a clean stop, there is none.
        let Ok(page) = fs::read_to_string(path) else { continue };
        match exposition::parse(&page) {
            Ok(_) if page.ends_with('\n') && page.contains("gatemeter_build_info") => whole += 1,
            _ => halves.push(page),
        }
        thread::sleep(Duration::from_millis(1));
    }
    (whole, halves)
}

/// Moments after a start that come without order and are the same in each run.
fn moments() -> impl Iterator<Item = Duration> {
    let mut state = 0x2545_f491_u32;
    std::iter::repeat_with(move || {
        // Marsaglia's xorshift: any spread will do.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        Duration::from_millis(u64::from(state % 300))
    })
}

#[test]
fn two_hundred_kills_at_any_moment_lose_no_byte_and_no_reader_sees_a_half_page() {
    let lab = Lab::builder().hosts(2).nat().build();
    let setup = setup(&lab);
    let textfile = setup.textfile();
    // Both count from here on: what comes before the first start is nobody's.
    let mut daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    let stop = AtomicBool::new(false);
    let (sent, daemon) = thread::scope(|scope| {
        let reader = scope.spawn(|| read_all_the_time(&textfile, &stop));
        let stopping = StopOnDrop(&stop);
        let done = while_talking(&lab, || {
            for moment in moments().take(200) {
                thread::sleep(moment);
                daemon.kill9();
                daemon = setup.start_unready();
            }
            let_it_flow(&lab);
            Documented::of("SIGKILL").by_daemon(&daemon);
            daemon
        });
        drop(stopping);
        let (whole, halves) = reader.join().unwrap();
        println!("{whole} pages read");
        assert!(whole > 100, "{whole} pages read");
        assert!(halves.is_empty(), "{} half pages, the first {:?}", halves.len(), halves[0]);
        done
    });
    assert!(sent.values().all(|tally| tally.up_packets > 200), "{sent:#?}");
    expect_both(&daemon, sent);
    let left = fs::read_dir(setup.dir()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("prom_c") && name != "prom_c"
    });
    assert_eq!(left.count(), 0, "temporary files were left behind: {}", setup.report());
}

#[test]
fn of_daemons_that_start_in_the_same_moment_one_counts_and_the_next_takes_over() {
    let lab = Lab::builder().hosts(1).build();
    let mut sent = Hosts::new();
    // They differ in their port and directory only.
    let setups: Vec<Setup<'_>> = (0..3).map(|n| setup(&lab).flags(&["-p", &format!("{}", 9990 + n)])).collect();
    let mut running: Vec<Daemon<'_>> = setups.iter().map(Setup::start_unready).collect();
    let counting = |running: &[Daemon<'_>]| {
        let is_up = |daemon: &Daemon<'_>, up| daemon.page().is_ok_and(|page| page.contains(&format!("{up} 1")));
        let counts = |up| (0..running.len()).filter(|n| is_up(&running[*n], up)).collect::<Vec<_>>();
        (counts(UP), counts(CLIENTS_UP))
    };
    while !running.is_empty() {
        let mut last = (Vec::new(), Vec::new());
        let settled = process::poll(PATIENCE, || {
            last = counting(&running);
            (last.0.len() == 1 && last.1.len() == 1).then_some(())
        });
        assert!(settled.is_some(), "up: traffic {:?}, clients {:?} of {}", last.0, last.1, running.len());
        let talked = while_talking(&lab, || let_it_flow(&lab)).0;
        sent = sum(sent.into_iter().chain(talked));
        let (traffic, clients_of) = counting(&running);
        assert_eq!((traffic.len(), clients_of.len()), (1, 1));
        expect(&running[traffic[0]], sent.clone());
        let shown = || clients(&running[clients_of[0]].metrics());
        let wanted = without_ethernet(&sent);
        assert!(process::poll(PATIENCE, || (shown() == wanted).then_some(())).is_some(), "{:#?}", shown());
        // The one that counts goes; it takes both with it if it has both.
        let mut first = running.remove(traffic[0]);
        first.kill9();
    }
}

#[test]
fn a_storm_of_reloads_loses_no_byte_and_leaves_nothing_open() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    let before = open_files(daemon.pid());
    let sent = while_talking(&lab, || {
        for burst in 0..40 {
            // What is configured changes with each burst, so that there is something to do.
            let size = 1024 + burst % 2;
            daemon.setup().write_uci("gatemeter", &format!("config traffic 'traffic'\n\toption max_hosts {size}\n"));
            for _ in 0..50 {
                daemon.signal(libc::SIGHUP);
            }
            let_it_flow(&lab);
        }
    });
    expect_both(&daemon, sent.0);
    let settled = || (open_files(daemon.pid()) <= before).then_some(());
    assert!(process::poll(PATIENCE, settled).is_some(), "{before} descriptors before, {}", open_files(daemon.pid()));
    assert!(!daemon.stderr().contains("ERROR"), "{}", daemon.stderr());
    Documented::of("A storm of reloads").by_daemon(&daemon);
}

#[test]
fn interfaces_that_flap_and_change_their_names_cost_no_byte_of_others_and_are_taken_up_again() {
    let lab = Lab::builder().hosts(1).guest().build();
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    let before = open_files(daemon.pid());
    let sent = while_talking(&lab, || {
        for turn in 0..30 {
            // The guests' bridge goes down and up, is called otherwise and as before; the main LAN talks on.
            for words in [
                ["ip", "link", "set", "br-guest", "down"].as_slice(),
                &["ip", "link", "set", "br-guest", "name", "br-other"],
                &["ip", "link", "set", "br-other", "up"],
                &["ip", "link", "set", "br-other", "down"],
                &["ip", "link", "set", "br-other", "name", "br-guest"],
                &["ip", "link", "set", "br-guest", "up"],
            ] {
                lab.router.must(words);
            }
            // A hundred others come and go meanwhile.
            for _ in 0..4 {
                let name = format!("gone{turn}");
                lab.router.must(&["ip", "link", "add", &name, "type", "bridge"]);
                lab.router.must(&["ip", "link", "del", &name]);
            }
        }
        let_it_flow(&lab);
    });
    // Two collections on, what is shown is how it is now that all is quiet.
    figures::fresh(&daemon);
    let attached = "gatemeter_traffic_interface_attached{interface=\"br-guest\",hook=\"tcx\"}";
    assert_eq!(figures::fresh(&daemon).get(attached), Some(&1.0), "{}", daemon.stderr());
    let guest = &lab.guests[0];
    // Down and up took the IPv6 addresses along, so the guest talks over IPv4.
    let more = figures::exchange(guest.on_v4(), lab.internet.on_v4(), (20, 300), (10, 900));
    let sent = sum(sent.0.into_iter().chain([(figures::host(guest.on_v4()), more)]));
    expect_both(&daemon, sent);
    let settled = || (open_files(daemon.pid()) <= before).then_some(());
    assert!(process::poll(PATIENCE, settled).is_some(), "{before} descriptors before, {}", open_files(daemon.pid()));
}
