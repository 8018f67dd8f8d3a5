//! Figures as their readers have them: Prometheus with the scrape configuration of the program whose endpoint it is,
//! promtool, text files.

use std::fs;

use super::figures::{TARGETS, Who, ask, asked, asked_until, lab, section, setup, target};
use crate::harness::{PATIENCE, exposition};
use crate::lab::process::{poll, run};
use crate::lab::responder::{Port, Responder, Rule};
use crate::prometheus::Prometheus;

/// From its manual, but for the name of the job, the port and the targets.
fn scrape_config(job: &str, params: &str, targets: &[&str]) -> String {
    let targets: String = targets.iter().map(|target| format!("        - '{target}'\n")).collect();
    format!(
        "  - job_name: '{job}'\n    metrics_path: /probe\n{params}    relabel_configs:\n      \
         - target_label: __param_target\n        source_labels: [__address__]\n      \
         - target_label: instance\n        source_labels: [__address__]\n      \
         - target_label: __address__\n        replacement: 127.0.0.1:9999\n    \
         static_configs:\n      - targets:\n{targets}"
    )
}

#[test]
fn prometheus_scrapes_targets_by_relabelling_and_its_queries_work() {
    let lab = lab();
    let far = Responder::builder(&lab.router).rule(Rule::new().lose_every(4).port(443, Port::Closed)).build();
    let daemon = setup(&lab, &section(&[])).start();
    let jobs = scrape_config("icmp", "", &["198.18.0.1", "198.18.0.2"])
        + &scrape_config("tcp", "    params:\n      tcp_port: ['80', '443']\n", &["198.18.0.1"]);
    let server = Prometheus::start_with(&lab.router, lab.dir(), &jobs);
    for instance in ["198.18.0.1", "198.18.0.2"] {
        let labels = format!("instance=\"{instance}\",ip=\"{instance}\"");
        server.wait_for(&format!("icmp_probe_packets_sent_total{{{labels}}}"), |sent| sent > 30.0);
        // Every fourth is lost, and at most two more than that share.
        server.wait_for(&format!("icmp_probe_loss_ratio{{{labels}}}"), |loss| (0.2..=0.3).contains(&loss));
        let over_time = format!(
            "1 - increase(icmp_probe_packets_recv_total{{{labels}}}[1m]) / increase(icmp_probe_packets_sent_total{{{labels}}}[1m])"
        );
        server.wait_for(&over_time, |loss| (0.2..=0.3).contains(&loss));
        let mean = format!(
            "increase(icmp_probe_latency_seconds_total{{{labels}}}[1m]) / increase(icmp_probe_packets_recv_total{{{labels}}}[1m])"
        );
        server.wait_for(&mean, |mean| mean > 0.0);
    }
    for port in ["80", "443"] {
        server
            .wait_for(&format!("tcp_probe_packets_recv_total{{ip=\"198.18.0.1\",tcp_port=\"{port}\"}}"), |n| n > 10.0);
    }
    server.wait_for("tcp_probe_packets_refused_total{tcp_port=\"443\"}", |refused| refused > 10.0);
    server.wait_for("up{job=\"tcp\"}", |up| up == 1.0);
    assert!(far.log().to(super::figures::ip("198.18.0.2")).count() > 30);
    assert_eq!(daemon.metrics()["icmp_active_probes"], 2.0);
}

#[test]
fn promtool_finds_nothing_wrong_with_the_pages() {
    let lab = lab();
    let _far = Responder::builder(&lab.router).rule(Rule::new().lose_every(3)).build();
    let config = section(&[("histogram", "1")])
        + &target(TARGETS[0], &[("name", "Line \"one\"")])
        + &target(TARGETS[1], &[("tcp_port", "80"), ("tcp_port", "443")]);
    let daemon = setup(&lab, &config).start();
    daemon.wait_until("answers", |metrics| (metrics["icmp_packets_recv_total"] >= 5.0).then_some(()));
    let page = daemon.page().unwrap();
    let pages = [
        page,
        ask(&daemon, "target=198.18.0.1", &[]).text(),
        ask(&daemon, "target=fd00:18::1&tcp_port=80", &[]).text(),
    ];
    for page in pages {
        assert!(page.contains("_rtt_seconds_bucket{"), "{page}");
        let mut promtool = lab.router.command("promtool");
        promtool.args(["check", "metrics"]);
        let output = run(promtool, &page, PATIENCE).unwrap();
        // It has its own taste in names; these are those of the program that dashboards are made for.
        let known = ["_samples_count", "non-histogram and non-summary metrics should not have \"_count\" suffix"];
        let others: Vec<&str> =
            output.stderr.lines().filter(|line| !known.iter().any(|known| line.contains(known))).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}

#[test]
fn text_files_have_the_targets_of_the_configuration_and_no_others() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    let config = section(&[("histogram", "1")])
        + &target("198.18.0.1", &[("name", "Provider")])
        + &target("198.18.0.1", &[("tcp_port", "22")])
        + &target("fd00:18::1", &[]);
    let daemon = setup(&lab, &config).flags(&["--textfile-dir", &parts.display().to_string()]).start();
    asked(&daemon, "target=198.18.0.77");
    let read = |path: &std::path::Path| exposition::parse(&fs::read_to_string(path).ok()?).ok();
    for path in [daemon.setup().textfile(), parts.join("gatemeter_probe.prom")] {
        let whole = || {
            let page = read(&path)?;
            let all = [Who::icmp("198.18.0.1"), Who::icmp("fd00:18::1"), Who::tcp("198.18.0.1", 22)];
            let answered = |who: &Who| page.get(&who.series("packets_recv_total", "")) >= Some(&3.0);
            (all.iter().all(answered) && page["icmp_active_probes"] == 3.0).then_some(page)
        };
        let page = poll(PATIENCE, whole).unwrap_or_else(|| panic!("{:#?}", read(&path)));
        assert!(!page.keys().any(|series| series.contains("198.18.0.77")), "{page:#?}");
        assert_eq!(page["icmp_probe_target_info{ip=\"198.18.0.1\",target=\"198.18.0.1\",name=\"Provider\"}"], 1.0);
        assert!(page.contains_key("icmp_probe_rtt_seconds_bucket{ip=\"198.18.0.1\",le=\"+Inf\"}"));
    }
    // Whoever asks for them has their other figures from /probe.
    let who = Who::icmp("198.18.0.77");
    let name = who.series("packets_recv_total", "");
    asked_until(&daemon, &who.query(), "answers", |page| page[&name] >= 3.0);
}
