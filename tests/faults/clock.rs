//! A wall clock that is set by years, forwards and back, as routers without a clock chip have it when NTP answers: no count,
//! no client and no round trip notices, and what tells the time tells the new one.
//!
//! The daemon's questions for the time are answered by the test, so this machine's clock stays as it is. The kernel's stamps of
//! packets are those of the real clock, years from what the daemon thinks it is: that is as in the moment of a step, for as
//! long as the test likes. Stamps that step, too, are in `tests/system/guest/flawed.sh`, where the machine is the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{CLIENTS_UP, Daemon, Hosts, Lab, Samples, UP, expect_both, figures, setup_of, sum};
use crate::harness::{Documented, Supervisor};

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
        ["traffic", "clients", "probe"].iter().all(|collector| told(stamp(collector))).then_some(())
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

#[test]
fn a_clock_that_is_set_by_years_either_way_changes_the_time_and_nothing_else() {
    let lab = Lab::builder().hosts(1).nat().build();
    let step = Arc::new(AtomicI64::new(0));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let set = |to: i64| step.store(to - now(), Ordering::SeqCst);
    // An hour after 1970, as a router starts that has no clock chip.
    set(3600);
    let target = format!("target.host={}", lab.internet.v4);
    let flags = ["-o", "probe.unlocked=1", "-o", "probe.interval=50", "-o", &target];
    let daemon =
        setup_of(&lab, "traffic,clients,probe").flags(&flags).supervised(Supervisor::wall_clock(&step)).start();
    for up in [UP, CLIENTS_UP, "gatemeter_collector_up{collector=\"probe\"}"] {
        daemon.wait_for(up, 1.0);
    }
    let mut sent = Hosts::new();
    goes_on(&daemon, &lab, &mut sent, 3600);
    // NTP answers; it is wrong and set back by years; what 32 bits cannot hold; and right again.
    for to in [1_790_000_000, 1_500_000_000, 2_208_988_800 + 86_400, 1_790_000_000] {
        set(to);
        goes_on(&daemon, &lab, &mut sent, to);
    }
    Documented::of("A clock that is set by years").by_metrics(&daemon);
    let said = daemon.stderr();
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
    let metrics = daemon.metrics();
    for collector in ["traffic", "clients", "probe"] {
        assert_eq!(metrics[&format!("gatemeter_collector_errors_total{{collector=\"{collector}\"}}")], 0.0);
    }
}
