//! A real InfluxDB 1.x takes every line, and returns every value under its measurement, tags and field.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::{PATIENCE, Setup};
use crate::lab::freebox::Model;
use crate::lab::process::{self, Background};
use crate::lab::{Lab, Node};
use crate::support::{Home, credentials, printed, write_credentials};

/// Measurement, tags and field with their value.
type Points = BTreeMap<(String, BTreeMap<String, String>, String), Value>;

/// The database on a machine of the lab; stopped on drop.
struct Influx<'a> {
    node: &'a Node,
    _process: Background,
}

impl<'a> Influx<'a> {
    fn start(lab: &'a Lab) -> Self {
        let dir = lab.dir().join("influx");
        fs::create_dir(&dir).unwrap();
        let at = |sub: &str| dir.join(sub).display().to_string();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:8088\"\n[meta]\ndir = \"{}\"\n[data]\ndir = \"{}\"\n\
             wal-dir = \"{}\"\n[http]\nbind-address = \"127.0.0.1:8086\"\n[monitor]\nstore-enabled = false\n",
            at("meta"),
            at("data"),
            at("wal")
        );
        let file = dir.join("influxdb.conf");
        fs::write(&file, config).unwrap();
        let node = &lab.router;
        node.must(&[
            "sh",
            "-c",
            "command -v influxd >/dev/null || { echo 'influxd is missing: apt-get install influxdb' >&2; exit 1; }",
        ]);
        let process = node.start(&["influxd", "run", "-config", &file.display().to_string()], &dir.join("log"));
        let this = Self { node, _process: process };
        let ready = || this.curl(&["http://127.0.0.1:8086/ping"]).map(drop);
        assert!(process::poll(PATIENCE, ready).is_some(), "influxd does not start, see {}", dir.join("log").display());
        this.query("CREATE DATABASE home", "POST");
        this
    }

    fn curl(&self, words: &[&str]) -> Option<String> {
        let output = self.node.run(&[&["curl", "-sS", "--fail", "--max-time", "20"], words].concat());
        output.status.success().then_some(output.stdout)
    }

    fn query(&self, query: &str, method: &str) -> Value {
        let query = format!("q={query}");
        let words = ["-G", "-X", method, "--data-urlencode", &query, "http://127.0.0.1:8086/query?db=home&epoch=s"];
        serde_json::from_str(&self.curl(&words).unwrap()).unwrap()
    }

    /// Writes lines as telegraf would; the database refuses them as a whole if one is wrong.
    fn write(&self, lines: &str, dir: &std::path::Path) {
        let file = dir.join("lines");
        fs::write(&file, lines).unwrap();
        let body = format!("@{}", file.display());
        let output = self.node.run(&[
            "curl",
            "-sS",
            "-i",
            "--max-time",
            "20",
            "--data-binary",
            &body,
            "http://127.0.0.1:8086/write?db=home",
        ]);
        assert!(output.stdout.starts_with("HTTP/1.1 204"), "{output:?}");
    }

    /// Everything that is stored.
    fn stored(&self) -> Points {
        let mut points = Points::new();
        let answer = self.query("SELECT * FROM /.*/ GROUP BY *", "GET");
        for series in answer["results"][0]["series"].as_array().unwrap() {
            let name = series["name"].as_str().unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let tags = series["tags"].as_object().into_iter().flatten().filter(|(_, value)| *value != "");
            let tags: BTreeMap<_, _> = tags.map(|(key, value)| (key.clone(), text(value))).collect();
            let columns: Vec<String> = series["columns"].as_array().unwrap().iter().map(text).collect();
            for row in series["values"].as_array().unwrap() {
                let cells = columns.iter().zip(row.as_array().unwrap()).skip(1).filter(|(_, value)| !value.is_null());
                for (column, value) in cells {
                    points.insert((name.to_owned(), tags.clone(), column.clone()), value.clone());
                }
            }
        }
        points
    }
}

/// Splits at the first of these characters that no backslash stands before.
fn split<'a>(text: &'a str, at: &[char]) -> (&'a str, Option<char>, &'a str) {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if !escaped && at.contains(&character) {
            return (&text[..index], Some(character), &text[index + character.len_utf8()..]);
        }
        escaped = character == '\\' && !escaped;
    }
    (text, None, "")
}

/// A line as the published grammar has it: `measurement[,tag=value...] field=value`.
fn parse(line: &str) -> ((String, BTreeMap<String, String>, String), Value) {
    let plain = |text: &str| text.replace("\\ ", " ").replace("\\,", ",").replace("\\=", "=");
    let (measurement, mut end, mut rest) = split(line, &[',', ' ']);
    let mut tags = BTreeMap::new();
    while end == Some(',') {
        let (key, equals, behind) = split(rest, &['=', ',', ' ']);
        assert_eq!(equals, Some('='), "{line}");
        let (value, next, behind) = split(behind, &[',', ' ', '=']);
        assert!(!key.is_empty() && !value.is_empty() && next != Some('='), "{line}");
        assert_eq!(tags.insert(plain(key), plain(value)), None, "{line}");
        (end, rest) = (next, behind);
    }
    let (field, equals, value) = split(rest, &['=', ',', ' ']);
    assert!(!measurement.is_empty() && equals == Some('=') && !field.is_empty(), "{line}");
    let value = match value.strip_prefix('"') {
        Some(text) => {
            let text = text.strip_suffix('"').unwrap();
            Value::from(text.replace("\\\"", "\"").replace("\\\\", "\\"))
        }
        // Numbers without a suffix are floats.
        None => Value::from(value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"))),
    };
    ((plain(measurement), tags, plain(field)), value)
}

/// What the board of freebox-monitoring (its file for Grafana 11) asks InfluxDB for: measurement, fields, and the tags that
/// name the lines or columns. It takes the hardware's tags from `firmware_version`, the API's from `sys_uptime`. Boxes
/// have no `call_line_id` since API 16.
const BOARD: [(&str, &[&str], &[&str]); 9] = [
    ("freebox", &["sys_uptime", "firmware_version"], &["api_version", "hw_model", "hw_mac"]),
    ("freebox", &["rate_down", "rate_up", "bandwidth_down", "bandwidth_up", "wan_ipv4", "wan_ipv6"], &[]),
    ("freebox", &["wan_ipv4_port_range_min", "wan_ipv4_port_range_max"], &[]),
    ("freebox", &["sfp_has_signal", "sfp_has_power_report", "sfp_alim_ok", "sfp_pwr_rx", "sfp_pwr_tx"], &[]),
    ("freebox", &["sys_temp"], &["sensor", "sensor_name"]),
    ("freebox", &["sys_fan_rpm"], &["fan", "fan_name"]),
    ("freebox_lan", &["lanhost_count"], &["lan_iface"]),
    ("freebox_call", &["call_datetime", "call_duration"], &["call", "call_name", "call_number", "call_type"]),
    (
        "freebox_switch",
        &[
            "switch_link",
            "switch_duplex",
            "switch_speed",
            "switch_rx_bytes_rate",
            "switch_tx_bytes_rate",
            "switch_collisions",
            "switch_err_packets",
        ],
        &["switch_port"],
    ),
];

/// The columns of its table of hosts.
const BOARD_HOSTS: (&[&str], &[&str]) = (
    &["lanhost_reachable", "lanhost_first_activity", "lanhost_last_activity", "lanhost_last_time_reachable"],
    &["lan_primary_name", "lan_mac_address", "lan_iface"],
);

#[test]
fn the_board_of_freebox_monitoring_finds_all_it_asks_for() {
    let home = Home::new(Model::Fibre);
    let influx = Influx::start(&home.lab);
    let lines = home.setup("sys switch lan call").run(&["once", "freebox", "-f", "influxdb"]);
    // Telegraf adds the tag by which the board chooses a box.
    let tagged = printed(&lines).lines().map(|line| {
        let (name, _, rest) = split(line, &[',', ' ']);
        format!("{name},host=box{}{rest}\n", &line[name.len()..=name.len()])
    });
    influx.write(&tagged.collect::<String>(), home.lab.dir());
    let (fields, tags) = BOARD_HOSTS;
    for (measurement, fields, tags) in BOARD.into_iter().chain([("freebox_lan", fields, tags)]) {
        for field in fields {
            let group: String = tags.iter().map(|tag| format!(", \"{tag}\"")).collect();
            let query = format!(
                "SELECT last(\"{field}\") FROM \"{measurement}\" WHERE \"host\" =~ /^box$/ GROUP BY time(1h){group} fill(none)"
            );
            let answer = influx.query(&query, "GET");
            let series = answer["results"][0]["series"].as_array().unwrap_or_else(|| panic!("{query}: {answer}"));
            assert!(!series.is_empty(), "{query}: {answer}");
            for tag in tags {
                let is_told =
                    series.iter().any(|series| series["tags"][tag].as_str().is_some_and(|value| !value.is_empty()));
                assert!(is_told, "{query}: no {tag} in {answer}");
            }
        }
    }
}

/// Compares all points; the database writes long fractions with a digit less.
#[track_caller]
fn same(sent: &Points, stored: &Points) {
    for (key, value) in sent {
        let found = stored.get(key).unwrap_or_else(|| panic!("{key:?} is not stored"));
        match (value.as_f64(), found.as_f64()) {
            (Some(sent), Some(stored)) => {
                assert!((sent - stored).abs() <= sent.abs() * 1e-14, "{key:?}: {sent} {stored}")
            }
            _ => assert_eq!(value, found, "{key:?}"),
        }
    }
    assert_eq!(stored.len(), sent.len());
}

#[test]
fn influxdb_takes_every_line_and_returns_every_value() {
    for model in [Model::Fibre, Model::Dsl] {
        let home = Home::new(model);
        let influx = Influx::start(&home.lab);
        let output = home.setup("all").run(&["once", "-f", "influxdb"]);
        let lines = printed(&output);
        let mut sent = Points::new();
        for line in lines.lines() {
            let (key, value) = parse(line);
            assert_eq!(sent.insert(key, value), None, "twice: {line}");
        }
        assert!(sent.len() > 100, "{lines}");
        influx.write(lines, home.lab.dir());
        same(&sent, &influx.stored());
    }
}

#[test]
fn every_collector_has_lines_that_influxdb_takes() {
    let lab = Lab::builder().hosts(1).build();
    let freebox = crate::lab::freebox::Freebox::start(&lab.internet, Model::Fibre);
    let influx = Influx::start(&lab);
    let endpoint = format!("freebox.endpoint={}", lab.internet.v4);
    let setup = Setup::new(&lab).uci("dhcp", "").flags(&[
        "-o",
        &endpoint,
        "-o",
        "traffic.unknown_hosts=1",
        "-o",
        "freebox.tls=off",
    ]);
    write_credentials(&credentials(&setup), &freebox.credentials());
    crate::lab::traffic::send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 3, 100);
    let collectors = ["traffic", "clients", "freebox"];
    let output = setup.run(&[&["once"], &collectors[..], &["-f", "influxdb"]].concat());
    let lines = printed(&output);
    let sent: Points = lines.lines().map(parse).collect();
    influx.write(lines, lab.dir());
    let stored = influx.stored();
    same(&sent, &stored);
    for collector in collectors {
        let tags = BTreeMap::from([("collector".to_owned(), collector.to_owned())]);
        let up = ("gatemeter_collector_up".to_owned(), tags, "value".to_owned());
        assert_eq!(stored.get(&up), Some(&Value::from(1)), "{collector}");
    }
    assert!(sent.keys().any(|(name, ..)| name == "gatemeter_clients_limit"));
    let output = setup.run(&[&["once"], &collectors[..], &["-f", "graphite"]].concat());
    for line in printed(&output).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [path, value, time] = words[..] else { panic!("{line}") };
        assert!(time.parse::<u64>().is_ok() && !value.is_empty(), "{line}");
        for tag in path.split(';').skip(1) {
            let (name, value) = tag.split_once('=').unwrap();
            assert!(!name.is_empty() && !value.is_empty() && !value.starts_with('~'), "{line}");
        }
    }
}
