//! `gatemeter once` and `clean` in the lab: one collection to stdout, counts that persist, and no trace afterwards.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::fs;

use gatemeter::collectors::ALL;
use harness::{Confine, Samples, Setup, exposition};
use lab::traffic::send_udp;
use lab::{Lab, leftovers, process};

/// A host with a name, so that it is exported.
const LAPTOP: &str = "config host\n\toption name 'laptop'\n\toption mac '02:1a:00:00:01:01'\n";
/// What `lan1` has sent over IPv4.
const UPLOAD: &str = "node_nat_traffic_upload{mac=\"02:1A:00:00:01:01\",hostname=\"laptop\",ip=\"192.168.1.11\"}";
const UP: &str = "gatemeter_collector_up{collector=\"traffic\"}";
const CLIENTS_UP: &str = "gatemeter_collector_up{collector=\"clients\"}";

/// Pins in a directory of the BPF file system, as on a router, so that the directory itself can go.
fn with_pins_below(lab: &Lab) -> Setup<'_> {
    Setup::new(lab).flags(&["-o", &format!("traffic.pin_dir={}/gatemeter", lab.bpffs().display())])
}

/// The figures of a run that has ended well.
#[track_caller]
fn figures(output: &process::Output) -> Samples {
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{output:?}");
    exposition::parse(&output.stdout).unwrap()
}

#[test]
fn counts_persist_from_one_run_to_the_next_until_clean_removes_every_trace() {
    let lab = Lab::builder().hosts(1).build();
    let setup = with_pins_below(&lab).uci("dhcp", LAPTOP);
    let send = |count| send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), count, 200).l2 as f64;
    let first = figures(&setup.run(&["once"]));
    assert_eq!((first[UP], first.get(UPLOAD)), (1.0, None));
    assert_eq!(first["gatemeter_traffic_pinned"], 1.0);
    let mut sent = send(10);
    assert_eq!(figures(&setup.run(&["once"]))[UPLOAD], sent);
    sent += send(5);
    assert_eq!(figures(&setup.run(&["once", "traffic"]))[UPLOAD], sent);

    let cleaned = setup.run(&["clean"]);
    assert_eq!((cleaned.status.code(), cleaned.stderr.as_str()), (Some(0), ""), "{cleaned:?}");
    assert_ne!(cleaned.stdout, "nothing to remove\n");
    assert!(!lab.bpffs().join("gatemeter").exists());
    assert_eq!(setup.run(&["clean"]).stdout, "nothing to remove\n");
    // The kernel lets go of a link a moment after its last user is gone.
    let attached = || lab.router.must(&["bpftool", "net", "show"]);
    let gone = process::poll(harness::PATIENCE, || (!attached().contains("gatemeter")).then_some(()));
    assert!(gone.is_some(), "{}", attached());
    assert_eq!(figures(&setup.run(&["once"])).get(UPLOAD), None);
}

#[test]
fn clean_removes_the_text_files_that_a_killed_daemon_has_left() {
    let lab = Lab::builder().hosts(1).build();
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    fs::write(parts.join("other.prom"), "other 1\n").unwrap();
    let setup = with_pins_below(&lab).flags(&["-t", "1", "--textfile-dir", &parts.display().to_string()]);
    let mut daemon = setup.start();
    let written =
        ["gatemeter_traffic.prom", "gatemeter_clients.prom", "gatemeter_main.prom"].map(|name| parts.join(name));
    process::poll(harness::PATIENCE, || written.iter().all(|path| path.exists()).then_some(())).unwrap();
    daemon.kill9();
    assert!(setup.textfile().exists());
    let cleaned = setup.run(&["clean"]);
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    for path in written.iter().chain([&setup.textfile()]) {
        assert!(cleaned.stdout.contains(&format!("removed {}\n", path.display())), "{}", cleaned.stdout);
    }
    assert_eq!(
        fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(),
        ["other.prom"]
    );
    assert!(leftovers::mounted(&lab.bpffs()).is_some());
}

#[test]
fn openmetrics_ends_with_eof_and_holds_the_same_figures() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab).uci("dhcp", LAPTOP);
    setup.run(&["once"]);
    let sent = send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 3, 50).l2 as f64;
    let output = setup.run(&["once", "-f", "openmetrics"]);
    assert!(output.stdout.ends_with("\n# EOF\n") && output.stdout.matches("# EOF").count() == 1, "{}", output.stdout);
    assert!(output.stdout.contains("# TYPE gatemeter_build info\n"), "{}", output.stdout);
    assert_eq!(figures(&output)[UPLOAD], sent);
}

#[test]
fn a_failed_collection_ends_with_1_and_one_line_and_what_could_be_had_is_printed() {
    let lab = Lab::builder().hosts(1).build();
    // What `clients` does, it does without bpf().
    let output = Setup::new(&lab).confined(Confine::without_bpf()).run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.starts_with("ERROR [traffic] cannot "), "{}", output.stderr);
    let metrics = exposition::parse(&output.stdout).unwrap();
    assert_eq!((metrics[UP], metrics["gatemeter_collector_errors_total{collector=\"traffic\"}"]), (0.0, 1.0));
    assert_eq!((metrics[CLIENTS_UP], metrics["gatemeter_clients_limit"]), (1.0, 4096.0));
    assert!(output.stdout.contains("gatemeter_build_info{"), "{}", output.stdout);
}

#[test]
fn a_failed_collection_of_clients_leaves_the_figures_of_traffic() {
    let lab = Lab::builder().hosts(1).build();
    let flags = ["-4", "192.168.1.1/24/br-lan", "-o", "clients.subnet=10.9.9.0/24/nowhere"];
    let output = Setup::new(&lab).flags(&flags).run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.lines().last().unwrap().starts_with("ERROR [clients] cannot "), "{}", output.stderr);
    assert!(!output.stderr.contains("[traffic]"), "{}", output.stderr);
    let metrics = exposition::parse(&output.stdout).unwrap();
    assert_eq!((metrics[UP], metrics[CLIENTS_UP], metrics["gatemeter_traffic_pinned"]), (1.0, 0.0, 1.0));
}

#[test]
fn without_a_collector_the_page_is_about_the_program_alone() {
    let lab = Lab::builder().hosts(0).build();
    let off: Vec<String> = ALL.iter().map(|row| format!("{}.enabled=0", row.name)).collect();
    let off: Vec<&str> = off.iter().flat_map(|option| ["-o", option]).collect();
    for flags in [&["--collectors", ""][..], &off] {
        let metrics = figures(&Setup::new(&lab).flags(flags).run(&["once"]));
        assert!(metrics.keys().all(|series| series.starts_with("gatemeter_build_info{")), "{metrics:#?}");
    }
}

#[test]
fn beside_a_running_daemon_once_prints_its_counts_and_disturbs_nothing() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab).uci("dhcp", LAPTOP).flags(&["-t", "1"]);
    let daemon = setup.clone().flags(&["-e"]).start();
    let mut sent = send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 10, 200).l2 as f64;
    daemon.wait_for(UPLOAD, sent);
    let mut attached = lab.router.must(&["bpftool", "net", "show"]);
    for _ in 0..3 {
        let once = figures(&setup.run(&["once"]));
        assert_eq!((once[UPLOAD], once[UP]), (sent, 1.0));
        assert_eq!(once["gatemeter_traffic_pinned"], 1.0);
        // The daemon counts on, by the same programs, and has noticed nothing.
        sent += send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 5, 100).l2 as f64;
        daemon.wait_for(UPLOAD, sent);
        let now = lab.router.must(&["bpftool", "net", "show"]);
        assert_eq!(std::mem::replace(&mut attached, now.clone()), now);
    }
    assert_eq!(daemon.metrics()["gatemeter_collector_errors_total{collector=\"traffic\"}"], 0.0);
    assert!(!daemon.stderr().contains("WARN") && !daemon.stderr().contains("ERROR"), "{}", daemon.stderr());
}

#[test]
fn clean_beside_a_running_daemon_takes_nothing_from_it() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab).uci("dhcp", LAPTOP).flags(&["-t", "1"]);
    let daemon = setup.clone().flags(&["-e"]).start();
    let sent = send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 10, 200).l2 as f64;
    daemon.wait_for(UPLOAD, sent);
    let cleaned = setup.run(&["clean"]);
    assert_eq!(cleaned.status.code(), Some(1), "{cleaned:?}");
    assert!(cleaned.stderr.contains("another gatemeter is accounting in this network namespace"), "{}", cleaned.stderr);
    assert!(!cleaned.stdout.contains("removed"), "{}", cleaned.stdout);
    let sent = sent + send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 10, 200).l2 as f64;
    daemon.wait_for(UPLOAD, sent);
}
