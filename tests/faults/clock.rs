//! A wall clock that is set by years, forwards and back, as routers without a clock chip have it when NTP answers: no count, no
//! client, no round trip, no walk through the powerline and no session with a box notices, and what tells the time tells the new
//! one.
//!
//! The daemon's questions for the time are answered by the test, so this machine's clock stays as it is. The kernel's stamps of
//! packets are those of the real clock, years from what the daemon thinks it is: that is as in the moment of a step, for as
//! long as the test likes. Stamps that step, too, are in `tests/system/guest/flawed.sh`, where the machine is the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Daemon, Hosts, Lab, Samples, expect_both, figures, setup_of, sum};
use crate::harness::{Documented, Supervisor};
use crate::lab::freebox::{self, Freebox};
use crate::lab::powerline::{Model, adapter_mac, text};

/// All collectors there are.
const COLLECTORS: [&str; 5] = ["traffic", "clients", "probe", "homeplug", "freebox"];
/// Seconds between two readings of the box's disks, at least.
const DISK_PACE: u64 = 300;

/// What has been answered and lost of the probes to an address.
fn probes(metrics: &Samples, ip: &str) -> (f64, f64) {
    let lost = |series: &&String| series.starts_with(&format!("icmp_probe_packets_lost_total{{ip=\"{ip}\""));
    let received = metrics.get(&format!("icmp_probe_packets_recv_total{{ip=\"{ip}\"}}")).copied();
    (received.unwrap_or(0.0), metrics.keys().filter(lost).map(|series| metrics[series]).sum())
}

/// All is as it should be at a time of the clock from `from` on.
fn goes_on(daemon: &Daemon, lab: &Lab, sent: &mut Hosts, from: i64) {
    let told = |value: f64| (value - from as f64).abs() < 3600.0;
    // The first collection after the step.
    daemon.wait_until("the new time", |metrics| {
        let stamp = |collector| {
            metrics[&format!("gatemeter_collector_last_success_timestamp_seconds{{collector=\"{collector}\"}}")]
        };
        COLLECTORS.iter().all(|collector| told(stamp(collector))).then_some(())
    });
    let (host, target) = (lab.host(1), lab.internet.v4.to_string());
    let more = figures::exchange(host.on_v4(), lab.internet.on_v4(), (20, 300), (10, 900));
    *sent = sum(sent.clone().into_iter().chain([(figures::host(host.on_v4()), more)]));
    expect_both(daemon, sent.clone());
    let (before, _) = probes(&daemon.metrics(), &target);
    let metrics = daemon.wait_until("answers to probes", |metrics| {
        (probes(metrics, &target).0 >= before + 20.0).then(|| metrics.clone())
    });
    assert_eq!(probes(&metrics, &target).1, 0.0, "probes that are lost");
    let latency = metrics[&format!("icmp_probe_latency_seconds{{ip=\"{target}\"}}")];
    assert!(latency > 0.0 && latency < 1.0, "{latency}");
    let of_client = |family: &str| metrics[&format!("{family}{{ip=\"{}\",client=\"lan1\"}}", host.v4)];
    assert_eq!(of_client("client_status"), 1.0);
    assert!(
        told(of_client("client_last_seen_timestamp_seconds")),
        "{}",
        of_client("client_last_seen_timestamp_seconds")
    );
    for (series, value) in metrics.iter().filter(|(series, _)| series.starts_with("client_traffic_rate_bps")) {
        assert!(*value >= 0.0 && *value < 1e9, "{series} {value}");
    }
    assert_eq!(metrics["gatemeter_clients_forgotten_total"], 0.0);
    assert!(told(metrics["process_start_time_seconds"]), "{}", metrics["process_start_time_seconds"]);
    let date = daemon.get("/healthz").unwrap().header("date").unwrap().to_owned();
    // 1970-01-01 and 2040-01-01, both with this many days a year.
    let year = (1970.0 + from as f64 / 86_400.0 / 365.2425) as u32;
    assert!(date.contains(&year.to_string()), "{date} is not in {year}");
}

/// Adapters are walked through and the box is read, at their pace, at a time of the clock from `from` on.
fn keeps_pace(daemon: &Daemon, freebox: &Freebox, begun: Instant, from: i64) {
    let (walked, read) = (daemon.metrics()["homeplug_requests_total"], freebox.count("connection"));
    let metrics = daemon.wait_until("a walk that everybody answers", |metrics| {
        let is_up = |n| {
            let adapter = text(&adapter_mac(n));
            let seen = format!("homeplug_device_last_seen_timestamp_seconds{{device_addr=\"{adapter}\"}}");
            let is_now = (metrics.get(&seen)? - from as f64).abs() < 3600.0;
            (is_now && metrics[&format!("homeplug_device_up{{device_addr=\"{adapter}\"}}")] == 1.0).then_some(())
        };
        (1..=3).try_for_each(is_up)?;
        (metrics["homeplug_requests_total"] > walked && freebox.count("connection") >= read + 3)
            .then(|| metrics.clone())
    });
    for section in ["connection", "sys", "switch", "disk"] {
        assert_eq!(metrics[&format!("freebox_up{{section=\"{section}\"}}")], 1.0, "{section}");
    }
    assert_eq!(metrics["freebox_logins_total"], 1.0);
    // Years are no reason to ask before it is time.
    let disks = freebox.count("storage/disk");
    let due = 1 + begun.elapsed().as_secs() / DISK_PACE;
    assert!((1..=due).contains(&(disks as u64)), "{disks} readings of the disks, where {due} were due");
}

#[test]
fn a_clock_that_is_set_by_years_either_way_changes_the_time_and_nothing_else() {
    let lab = Lab::builder().hosts(1).nat().build();
    let _powerline = lab.powerline(Model::home());
    let freebox = Freebox::start(&lab.internet, freebox::Model::Fibre);
    let step = Arc::new(AtomicI64::new(0));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let set = |to: i64| step.store(to - now(), Ordering::SeqCst);
    // An hour after 1970, as a router starts that has no clock chip.
    set(3600);
    let target = format!("target.host={}", lab.internet.v4);
    let endpoint = format!("freebox.endpoint={}", lab.internet.v4);
    let mut setup = setup_of(&lab, &COLLECTORS.join(","));
    for option in [
        "probe.unlocked=1",
        "probe.interval=50",
        &target,
        "homeplug.interface=plc0",
        "homeplug.interval=1",
        &endpoint,
        "freebox.interval=1",
        "freebox.status=sys switch disk",
        "freebox.tls=off",
    ] {
        setup = setup.flags(&["-o", option]);
    }
    let credentials = setup.dir().join("state/freebox.json");
    fs::write(&credentials, freebox.credentials()).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    let begun = Instant::now();
    let daemon = setup.supervised(Supervisor::wall_clock(&step)).start();
    for collector in COLLECTORS {
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
    }
    let mut sent = Hosts::new();
    goes_on(&daemon, &lab, &mut sent, 3600);
    keeps_pace(&daemon, &freebox, begun, 3600);
    // NTP answers; it is wrong and set back by years; what 32 bits cannot hold; and right again.
    for to in [1_790_000_000, 1_500_000_000, 2_208_988_800 + 86_400, 1_790_000_000] {
        set(to);
        goes_on(&daemon, &lab, &mut sent, to);
        keeps_pace(&daemon, &freebox, begun, to);
    }
    Documented::of("A clock that is set by years").by_metrics(&daemon);
    let said = daemon.stderr();
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
    let metrics = daemon.metrics();
    for collector in COLLECTORS {
        assert_eq!(metrics[&format!("gatemeter_collector_errors_total{{collector=\"{collector}\"}}")], 0.0);
    }
}
