//! systemd, NixOS and Docker: what each would run, as far as it can be seen without a machine of that kind.

use std::fs;
use std::process::Command;

use crate::harness::{Confine, PATIENCE, Setup};
use crate::lab::Lab;
use crate::lab::process::{Background, poll};
use crate::{Dir, program, run, source, text_of};

/// What systemd may say of a service at most, from 0 for one that can do nothing to 10.
const EXPOSURE: &str = "30";

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let unit = text_of("packaging/systemd/gatemeter.service");
    // The program is not installed here, and verify would say so.
    let dir = Dir::new();
    let path = dir.write("gatemeter.service", unit.replace("/usr/sbin/gatemeter", "/bin/true"));
    for words in [&["verify", "--man=no"][..], &["security", "--offline=true", "--threshold", EXPOSURE, "--no-pager"]] {
        let mut command = Command::new("systemd-analyze");
        command.args(words).arg(&path);
        let (code, stdout, stderr) = run(command);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(!stderr.contains("Unknown") && !stderr.contains("ignoring"), "{stderr}");
    }
}

#[test]
fn the_unit_leaves_every_collector_the_sockets_it_needs() {
    let unit = text_of("packaging/systemd/gatemeter.service");
    let names = unit.lines().find_map(|line| line.strip_prefix("RestrictAddressFamilies=")).unwrap();
    let families = names.split(' ').map(|name| match name {
        "AF_UNIX" => libc::AF_UNIX,
        "AF_INET" => libc::AF_INET,
        "AF_INET6" => libc::AF_INET6,
        "AF_NETLINK" => libc::AF_NETLINK,
        "AF_PACKET" => libc::AF_PACKET,
        other => panic!("{other} is not known here"),
    });
    let confine = Confine::default().families(&families.collect::<Vec<_>>());
    let lab = Lab::builder().hosts(1).build();
    let flags = ["-e", "-o", "homeplug.enabled=1", "-o", "homeplug.interface=br-lan", "-o", "target.host=gateway"];
    let daemon = Setup::new(&lab).flags(&flags).confined(confine).start();
    for collector in ["traffic", "clients", "probe", "homeplug"] {
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
    }
}

#[test]
fn the_configuration_for_systems_without_uci_is_one() {
    let mut command = Command::new(crate::harness::binary());
    command.arg("-c").arg(source("packaging/gatemeter.conf")).args(["--collectors", "probe", "check"]);
    let (code, stdout, stderr) = run(command);
    assert!(code != Some(2) && stdout.contains("is read") && !stdout.contains("is ignored"), "{stdout}{stderr}");
}

/// Evaluates the NixOS module with these options; the unit's command, and the configuration that it names.
fn nixos(options: &str) -> (serde_json::Value, String) {
    let dir = Dir::new();
    let expression = format!(
        "let result = import {} {{ module = {}; options = {{ {options} }}; }}; in result",
        source("tests/package/standin/nixos.nix").display(),
        source("packaging/nixos/module.nix").display()
    );
    let mut command = Command::new("nix-instantiate");
    // Nothing is built and nothing asked for, and the store is the test's own.
    command.args(["--eval", "--strict", "--json", "--readonly-mode", "--expr", &expression]);
    for (name, path) in
        [("NIX_STORE_DIR", "store"), ("NIX_STATE_DIR", "state"), ("NIX_LOG_DIR", "log"), ("HOME", "home")]
    {
        fs::create_dir_all(dir.join(path)).unwrap();
        command.env(name, dir.join(path));
    }
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, Some(0), "{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let text = result["file"].as_str().unwrap().to_owned();
    (result, text)
}

#[test]
fn the_nixos_module_has_the_options_of_the_one_it_replaces() {
    let (result, text) = nixos("");
    let names: Vec<&str> = result["options"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in [
        "enable",
        "port",
        "updateInterval",
        "openFirewall",
        "enableNftablesIntegration",
        "networkPrefix",
        "trafficInterface",
        "package",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert_eq!(result["firewall"], serde_json::json!([]));
    assert!(result["command"].as_str().unwrap().starts_with("/package/bin/gatemeter -c "), "{result}");
    for line in [
        "\toption http '1'\n",
        "\toption listen ':9101'\n",
        "\toption interval '2'\n",
        "\tlist subnet '192.168.10.0/24/br-lan'\n",
        "\toption accounting 'set'\n",
        "config target ''\n\toption host 'gateway'\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_the_nixos_module_writes_is_a_configuration() {
    let (result, text) = nixos(
        "port = 9200; openFirewall = true; enableNftablesIntegration = false; networkPrefix = \"10.1.2\"; \
         settings = { main.allow = [ \"10.1.2.0/24\" ]; homeplug = { enabled = false; interface = [ \"it's\" ]; }; }; \
         targets = [ { host = \"192.0.2.1\"; tcp_port = [ 80 443 ]; } ];",
    );
    assert_eq!(result["firewall"], serde_json::json!([9200]));
    assert!(text.contains("\toption accounting 'rules'\n") && text.contains("\tlist tcp_port '443'\n"), "{text}");
    assert!(text.contains("\tlist interface 'it'\\''s'\n") && text.contains("\toption enabled '0'\n"), "{text}");
    let dir = Dir::new();
    let mut command = Command::new(crate::harness::binary());
    command.arg("-c").arg(dir.write("gatemeter.conf", &text)).args(["--collectors", "freebox", "check"]);
    let (code, stdout, stderr) = run(command);
    assert!(code != Some(2) && !stdout.contains("is ignored"), "{stdout}{stderr}\n{text}");
    // The unit is hardened as that for other systems is.
    let unit = text_of("packaging/systemd/gatemeter.service");
    for (name, value) in result["service"].as_object().unwrap() {
        let words: Vec<String> = match value {
            serde_json::Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
            serde_json::Value::Bool(true) => vec!["yes".into()],
            serde_json::Value::Number(number) => vec![number.to_string()],
            other => vec![other.as_str().unwrap().to_owned()],
        };
        let line = format!("\n{name}={}\n", words.join(" "));
        assert!(name.starts_with("Exec") || unit.contains(&line), "{line}");
    }
}

/// The instructions of the Dockerfile with their arguments.
fn instructions() -> Vec<(String, String)> {
    let text = text_of("packaging/Dockerfile");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.to_owned())).unwrap()).collect()
}

#[test]
fn the_image_holds_the_program_only_and_that_runs() {
    let all = instructions();
    let copied: Vec<&str> =
        all.iter().filter(|(word, _)| word == "COPY").map(|(_, rest)| rest.split(' ').next().unwrap()).collect();
    let built = ["x86_64", "aarch64"].map(|target| format!("dist/gatemeter-{target}-unknown-linux-musl"));
    assert_eq!(copied, built);
    let words = |wanted: &str| -> Vec<String> {
        let (_, json) = all.iter().find(|(word, _)| word == wanted).unwrap();
        serde_json::from_str(json).unwrap()
    };

    // A root with nothing in it but what the image has, and the volume.
    let root = Dir::new();
    fs::copy(program("x86_64"), root.join("gatemeter")).unwrap();
    fs::create_dir(root.join("state")).unwrap();
    let lab = Lab::builder().hosts(0).build();
    let in_image = |words: &[String]| {
        let mut command = lab.router.command("/usr/sbin/chroot");
        command.arg(&root.0).args(words).env_clear();
        command
    };
    let version = in_image(&["/gatemeter".into(), "--version".into()]);
    assert_eq!(run(version).1, format!("gatemeter {}\n", env!("CARGO_PKG_VERSION")));
    let log = lab.dir().join("log");
    let mut process = Background::start(in_image(&[words("ENTRYPOINT"), words("CMD")].concat()), &log).unwrap();
    let page = poll(PATIENCE, || {
        let answer = lab.router.run(&["curl", "-s", "http://127.0.0.1:9999/metrics"]).stdout;
        let is_up = answer.contains("gatemeter_collector_up{collector=\"probe\"} 1");
        (is_up && answer.contains("icmp_probe_packets_recv_total{ip=\"203.0.113.1\"} ")).then_some(answer)
    });
    assert!(page.is_some(), "{}", fs::read_to_string(&log).unwrap_or_default());
    process.signal(libc::SIGTERM);
    assert!(process.wait(PATIENCE).success());
}
