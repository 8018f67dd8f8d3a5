//! The configuration that the package brings: it names every option, and a stock router has something of it at once.

use std::fs;
use std::process::Command;

use gatemeter::collectors::SECTIONS;
use gatemeter::config::uci::{self, Value};

use crate::harness::{Setup, exposition};
use crate::lab::Lab;
use crate::{Dir, run, text_of};

const FILE: &str = "openwrt/gatemeter/files/gatemeter.config";

/// Options that are not left at their defaults, or have an example.
const OWN: [(&str, &str); 20] = [
    ("gatemeter.textfile_dir", "/var/prometheus"),
    ("gatemeter.log_format", "procd"),
    ("gatemeter.allow", "lan"),
    ("gatemeter.host", "metrics.example.org"),
    ("gatemeter.port", "9999"),
    ("traffic.subnet4", "lan"),
    ("traffic.subnet6", "lan"),
    ("traffic.leases", "/tmp/dhcp.leases"),
    ("clients.subnet", "lan"),
    ("clients.leases", "/tmp/dhcp.leases"),
    ("clients.name_cache", "/etc/gatemeter/names"),
    ("clients.dns_server", "192.168.1.1"),
    ("probe.allow_target", "192.0.2.0/24"),
    ("probe.dns_server", "192.168.1.1"),
    ("homeplug.interface", "lan"),
    ("freebox.credentials", "/etc/gatemeter/freebox.json"),
    ("freebox.status", "sys wifi"),
    ("freebox.tls_name", "mafreebox.freebox.fr"),
    ("freebox.ca_bundle", "/etc/ssl/cert.pem"),
    ("freebox.api_version", "8"),
];

/// The file with every option turned on that stands there behind a #.
fn uncommented() -> String {
    text_of(FILE)
        .lines()
        .map(|line| line.strip_prefix("#\t").map_or(format!("{line}\n"), |line| format!("\t{line}\n")))
        .collect()
}

#[test]
fn every_option_stands_in_it_with_its_default_or_an_example() {
    let package = uci::parse("gatemeter", uncommented().as_bytes()).unwrap();
    for spec in SECTIONS {
        let section = package.sections.iter().find(|section| section.kind == spec.kind);
        let section = section.unwrap_or_else(|| panic!("no section {}", spec.kind));
        if !spec.many {
            assert_eq!(section.name, spec.name);
        }
        for option in spec.options {
            let name = format!("{}.{}", spec.kind, option.name);
            let found = section.options.iter().find(|found| found.name == option.name);
            let found = found.unwrap_or_else(|| panic!("{name} is not in {FILE}"));
            let value = match &found.value {
                Value::Text(text) => text.clone(),
                Value::List(items) => items.join(" "),
            };
            assert_eq!(matches!(found.value, Value::List(_)), option.list, "{name}");
            let own = OWN.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
            if spec.many {
                continue;
            }
            assert_eq!(value, own.unwrap_or(option.default), "{name}");
        }
        let known = |name: &str| spec.options.iter().any(|option| option.name == name);
        assert!(section.options.iter().all(|option| known(&option.name)), "{}", spec.kind);
    }
}

#[test]
fn with_every_line_in_force_it_is_still_a_configuration() {
    let dir = Dir::new();
    let file = dir.write("gatemeter", uncommented());
    let mut command = Command::new(crate::harness::binary());
    // What it finds on this machine is not the point; that it takes every value is.
    command.arg("-c").arg(file).args(["--collectors", "freebox", "check"]);
    let (code, stdout, stderr) = run(command);
    assert!(code != Some(2) && !stdout.contains("is ignored"), "{stdout}{stderr}");
}

#[test]
fn a_stock_router_is_measured_at_once() {
    let lab = Lab::builder().nat().build();
    let files = lab.dir().join("prometheus");
    fs::create_dir(&files).unwrap();
    let dir = files.display().to_string();
    // Where the file says /var/prometheus; the harness has the other paths in a directory of its own, too.
    let setup = Setup::new(&lab).uci("gatemeter", &text_of(FILE)).flags(&["-t", "1", "--textfile-dir", &dir]);
    let daemon = setup.start();
    let collected = daemon.wait_until("figures of traffic, clients and the gateway", |metrics| {
        let up = ["traffic", "clients", "probe"]
            .iter()
            .all(|name| metrics.get(&format!("gatemeter_collector_up{{collector=\"{name}\"}}")) == Some(&1.0));
        let gateway = "icmp_probe_packets_recv_total{ip=\"203.0.113.1\"}";
        (up && metrics.get(gateway).is_some_and(|count| *count >= 1.0)).then(|| metrics.clone())
    });
    assert!(!collected.contains_key("gatemeter_collector_up{collector=\"homeplug\"}"), "{collected:?}");
    // Nobody listens, as nobody has asked for it.
    assert!(!daemon.stderr().contains("serving"), "{}", daemon.stderr());

    // The Lua exporter prints its own family, then each file as it is with two line ends, and a sample of its family.
    let mut page = String::from("# TYPE node_textfile_mtime_seconds gauge\n");
    let mut names: Vec<_> = fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "prom"));
    names.sort();
    for path in &names {
        page += &format!("{}\n\n", fs::read_to_string(path).unwrap());
        page += &format!("node_textfile_mtime_seconds{{file=\"{}\"}} 1.7e9\n", path.display());
    }
    let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    for name in ["clients", "probe", "traffic"] {
        assert!(names.contains(&format!("gatemeter_{name}.prom")), "{names:?}");
    }
    let samples = exposition::parse(&page).unwrap_or_else(|problem| panic!("{problem} in\n{page}"));
    assert!(samples.contains_key("icmp_probe_packets_recv_total{ip=\"203.0.113.1\"}"), "{page}");
    // Each family is described once in all of the files together.
    let mut types: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let all = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), all, "{page}");
}
