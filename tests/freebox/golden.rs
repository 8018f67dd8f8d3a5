//! What both boxes give in every format, compared with files. `BLESS=1` rewrites them: look at the difference.

use std::fs;
use std::path::PathBuf;

use crate::lab::freebox::{Fault, Model};
use crate::support::{Home, printed};

/// The figures about the box alone, without what differs from run to run.
fn figures(text: &str) -> String {
    let is_fixed = |line: &&str| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        name.starts_with("freebox") && !line.starts_with("freebox_scrape_duration_seconds")
    };
    let lines = text.lines().filter(is_fixed).map(|line| match line.split_once(" client_last_seen=") {
        Some((before, _)) => format!("{before} client_last_seen=NOW\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// Graphite lines without their time, which must be the same on all of them.
fn untimed(text: &str) -> String {
    let mut times: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().1).collect();
    times.dedup();
    assert_eq!(times.len(), 1, "{times:?}");
    assert!(times[0].parse::<u64>().unwrap() > 1_700_000_000);
    let now = format!(" {}", times[0]);
    let lines = text.lines().map(|line| line.rsplit_once(' ').unwrap().0);
    // Hosts of the switch were last seen when the answer came.
    lines
        .map(|line| {
            if line.contains("client_last_seen") {
                line.rsplit_once(' ').unwrap().0.to_owned() + " NOW\n"
            } else {
                format!("{line}\n")
            }
        })
        .collect::<String>()
        .replace(&now, " NOW")
}

#[track_caller]
fn equals_golden(name: &str, text: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let difference = expected.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(expected == text, "{name} differs at {difference:#?}; BLESS=1 rewrites it");
}

#[test]
fn both_boxes_in_every_format_are_as_they_were() {
    for (model, name) in [(Model::Fibre, "freebox-ftth"), (Model::Dsl, "freebox-xdsl")] {
        let home = Home::new(model);
        let setup = home.setup("all").flags(&["-o", "freebox.per_host=1"]);
        for (format, end) in
            [("prometheus", "prom"), ("openmetrics", "om"), ("influxdb", "influx"), ("graphite", "graphite")]
        {
            let output = setup.run(&["once", "-f", format]);
            let text = printed(&output);
            let text = if format == "graphite" { untimed(text) } else { text.to_owned() };
            equals_golden(&format!("{name}.{end}"), &figures(&text));
        }
    }
}

#[test]
fn the_old_answer_about_4g_has_the_lines_of_the_seed() {
    let home = Home::new(Model::Fibre);
    let setup = home.setup("lte").flags(&["-o", "freebox.api_version=9"]);
    let output = setup.run(&["once", "-f", "influxdb"]);
    let lte: String =
        figures(printed(&output)).lines().filter(|line| line.contains("lte")).map(|line| format!("{line}\n")).collect();
    equals_golden("freebox-lte-v9.influx", &lte);
}

#[test]
fn answers_with_gaps_lose_nothing_but_what_is_missing() {
    let mut text = String::new();
    for (model, path, edge) in [
        (Model::Fibre, "connection", "connection.down"),
        (Model::Fibre, "connection", "connection.going_up"),
        (Model::Fibre, "connection", "connection.ipv4_zero"),
        (Model::Fibre, "connection", "connection.ipv6_only"),
        (Model::Fibre, "connection", "connection.no_port_range"),
        (Model::Fibre, "connection", "connection.backup_4g"),
        (Model::Fibre, "connection/ftth", "connection_ftth.no_power_report"),
        (Model::Fibre, "connection/ftth", "connection_ftth.no_sfp"),
        (Model::Dsl, "connection/xdsl", "connection_xdsl.training"),
        (Model::Dsl, "connection/xdsl", "connection_xdsl.phyr_both"),
        (Model::Fibre, "system", "system.sensor_without_value"),
        (Model::Fibre, "system", "system.old_path_new_box"),
        (Model::Fibre, "switch/port/1/stats", "switch_port_1_stats.documented_fields_only"),
        (Model::Fibre, "switch/status", "switch_status.minimal"),
        (Model::Fibre, "storage/disk", "storage_disk.sparse"),
        (Model::Fibre, "wifi/ap", "wifi_ap.all_off"),
        (Model::Fibre, "wifi/ap/0/stations", "wifi_ap_0_stations.no_host"),
        (Model::Fibre, "dhcp/dynamic_lease", "dhcp_dynamic_lease.no_host"),
        (Model::Fibre, "lan/browser/pub", "lan_browser_pub.nodev"),
        (Model::Fibre, "call/log", "call_log.empty"),
    ] {
        let home = Home::new(model);
        home.freebox.fault(path, Fault::Edge(edge));
        let status = match path.split('/').next().unwrap() {
            "system" => "sys",
            "storage" => "disk",
            "connection" => "",
            other => other,
        };
        let setup = home.setup(status).flags(&["-o", "freebox.per_host=1"]);
        let output = setup.run(&["once"]);
        let prometheus = figures(printed(&output));
        let output = setup.run(&["once", "-f", "influxdb"]);
        let influx = figures(printed(&output));
        // What every answer has anyway says nothing about the gap.
        let of_group = |line: &&str| {
            !["freebox_permission", "freebox_up", "freebox_api", "config_", "# "].iter().any(|word| line.contains(word))
        };
        text += &format!("## {edge}\n");
        prometheus.lines().chain(influx.lines()).filter(of_group).for_each(|line| text += &format!("{line}\n"));
    }
    equals_golden("freebox-gaps", &text);
}
