//! One fixed snapshot through both text formats, compared with files and read by the real Prometheus tools.
//! `BLESS=1` rewrites the files: look at the difference before it is committed.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

#[path = "support/golden.rs"]
mod golden;
mod lab;
#[path = "support/prometheus.rs"]
mod prometheus;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::Command;

use gatemeter::collectors::ALL;
use gatemeter::daemon::self_metrics;
use gatemeter::metrics::{Desc, Kind, Page};
use gatemeter::outputs::prometheus::{Dialect, encode, finish};
use golden::equals_golden;
use lab::{Lab, process};
use prometheus::Prometheus;

static BYTES: Desc = Desc {
    name: "golden_bytes_total",
    kind: Kind::Counter,
    labels: &["mac", "hostname"],
    help: "A counter with labels a DHCP client chose, in \"bytes\"\\octets.\nSecond line.",
};
static SEED: Desc =
    Desc { name: "golden_seed_count", kind: Kind::Gauge, labels: &[], help: "A gauge whose name is fixed." };
static COUNT: Desc = Desc {
    name: "golden_unsuffixed",
    kind: Kind::Counter,
    labels: &[],
    help: "A counter whose fixed name lacks its suffix.",
};
static RATIO: Desc = Desc {
    name: "golden_ratio",
    kind: Kind::Gauge,
    labels: &["case"],
    help: "Floats at the edges of what the formats can say.",
};
static EMPTY: Desc =
    Desc { name: "golden_empty", kind: Kind::Gauge, labels: &["never"], help: "A family without samples." };
static INFO: Desc = Desc {
    name: "golden_build_info",
    kind: Kind::Info,
    labels: &["version", "note"],
    help: "Labels that are the information.",
};
static NAKED: Desc = Desc { name: "golden_up", kind: Kind::Gauge, labels: &[], help: "A switch without labels." };

/// Samples on the page: what a scrape must find.
const SAMPLES: f64 = 24.0;

/// The snapshot: every kind of family, and label values that try to break out of their line.
fn page() -> Page {
    let mut page = Page::new();
    let mac = "02:1A:00:00:01:01";
    let hostile = [
        "plain",
        "",
        "quote\" 1",
        "back\\slash",
        "line\nforged_total 9",
        "brace\"} 7\n# EOF\n",
        "nul\0 escape\x1b[31m return\r",
        "caf\u{e9} \u{1f4fb}",
        "comma,=\"x\"",
        "\\",
        "\t tab ",
    ];
    let labels: Vec<_> = hostile.iter().map(|name| page.labels(&[&mac, name])).collect();
    page.family(&BYTES);
    for (index, labels) in labels.into_iter().enumerate() {
        page.sample(labels, if index == 0 { u64::MAX } else { index as u64 });
    }
    page.single(&SEED, 0u64);
    page.single(&COUNT, 1u64 << 53);
    let ratios = [
        ("nan", f64::NAN),
        ("infinite", f64::INFINITY),
        ("minus infinite", f64::NEG_INFINITY),
        ("smallest", f64::MIN_POSITIVE),
        ("largest", f64::MAX),
        ("minus zero", -0.0),
        ("third", 1.0 / 3.0),
        ("whole", 1e15),
    ];
    let labels = ratios.map(|(case, _)| page.labels(&[&case]));
    page.family(&RATIO);
    for (labels, (_, value)) in labels.into_iter().zip(ratios) {
        page.sample(labels, value);
    }
    page.family(&EMPTY);
    let long = page.labels(&[&"0.1.0", &"\u{e9}".repeat(300)]);
    page.family(&INFO);
    page.sample(long, 1u64);
    page.single(&NAKED, true);
    let cpu = self_metrics::ALL.iter().find(|desc| desc.name == "process_cpu_seconds_total").unwrap();
    page.single(cpu, 1.5);
    page
}

fn encoded(dialect: Dialect) -> String {
    let mut out = String::new();
    encode(&page(), dialect, &mut out);
    finish(dialect, &mut out);
    out
}

#[test]
fn the_text_format_is_as_it_was() {
    equals_golden("page.prom", &encoded(Dialect::Text));
}

#[test]
fn openmetrics_is_as_it_was() {
    equals_golden("page.om", &encoded(Dialect::OpenMetrics));
}

#[test]
fn prometheus_itself_scrapes_both_formats_with_every_sample() {
    let lab = Lab::builder().hosts(0).build();
    let serve = |port: u16, dialect: Dialect| {
        let listener = lab.router.tcp_listener(Ipv4Addr::LOCALHOST, port);
        let body = encoded(dialect);
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            dialect.content_type(),
            body.len()
        );
        // Ends with the test process; a scraper that goes away in the middle is no matter.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(reply.as_bytes());
            }
        });
    };
    serve(9201, Dialect::Text);
    serve(9202, Dialect::OpenMetrics);
    let jobs = [("text", "127.0.0.1:9201", "/metrics"), ("openmetrics", "127.0.0.1:9202", "/metrics")];
    let server = Prometheus::start(&lab.router, lab.dir(), &jobs);
    for job in ["text", "openmetrics"] {
        server.wait_for(&format!("up{{job=\"{job}\"}}"), |up| up == 1.0);
        server.wait_for(&format!("scrape_samples_scraped{{job=\"{job}\"}}"), |count| count == SAMPLES);
        server.wait_for(&format!("count(golden_bytes_total{{job=\"{job}\"}})"), |count| count == 11.0);
        server
            .wait_for(&format!("golden_bytes_total{{job=\"{job}\",hostname=\"brace\\\"}} 7\\n# EOF\\n\"}}"), |value| {
                value == 5.0
            });
        server.wait_for(&format!("golden_ratio{{job=\"{job}\",case=\"largest\"}}"), |value| value == f64::MAX);
        assert!(server.query(&format!("forged_total{{job=\"{job}\"}}")).is_empty());
    }
}

/// Complaints of promtool about names that the seeds fixed, and about the page's own edge cases.
const KNOWN_COMPLAINTS: [&str; 2] = [
    "golden_seed_count non-histogram and non-summary metrics should not have \"_count\" suffix",
    "golden_unsuffixed counter metrics should have \"_total\" suffix",
];

/// What promtool says of a page, a line each.
fn complaints(text: &str) -> BTreeSet<String> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let output = process::run(promtool, text, process::LIMIT).unwrap();
    // 3 means that there are complaints, 1 that the page cannot be read at all.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    output.stderr.lines().chain(output.stdout.lines()).map(str::to_owned).collect()
}

#[test]
fn promtool_complains_about_nothing_but_names_that_are_fixed() {
    let known: BTreeSet<String> = KNOWN_COMPLAINTS.iter().map(|&line| line.to_owned()).collect();
    assert_eq!(complaints(&encoded(Dialect::Text)), known);
}

/// Names that icmp-exporter fixed, of which promtool has this to say.
const FIXED: [&str; 2] = [
    "icmp_probe_samples_count non-histogram and non-summary metrics should not have \"_count\" suffix",
    "tcp_probe_samples_count non-histogram and non-summary metrics should not have \"_count\" suffix",
];

#[test]
fn promtool_has_no_complaint_about_any_family_of_ours_but_for_names_that_are_fixed() {
    for (name, metrics) in ALL.iter().map(|row| (row.name, row.metrics)).chain([("main", self_metrics::ALL)]) {
        let mut page = Page::new();
        for desc in metrics {
            let values: Vec<&dyn std::fmt::Display> = desc.labels.iter().map(|name| name as _).collect();
            let labels = page.labels(&values);
            page.family(desc);
            page.sample(labels, 1u64);
        }
        let mut text = String::new();
        encode(&page, Dialect::Text, &mut text);
        let mut complaints = complaints(&text);
        complaints.retain(|line| !FIXED.contains(&line.as_str()));
        assert_eq!(complaints, BTreeSet::new(), "{name}");
    }
}
