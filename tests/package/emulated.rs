//! The very programs that are shipped, installed from their packages and run by qemu on a lab's router. User-mode emulation has
//! the real kernel below it but for bpf(), netfilter's netlink and lists of neighbours, so `traffic` and `clients` have to say
//! that they cannot.

use std::process::Command;

use crate::ipk::Package;
use crate::lab::process::{LIMIT, run};
use crate::lab::{GATEWAY4, Lab};
use crate::{Dir, program, source, text_of};

/// Installs the package of an architecture into an empty root, and returns it with the emulator.
fn installed(arch: &str, target: &str) -> (Dir, String) {
    let (into, root) = (Dir::new(), Dir::new());
    program(target);
    let mut command = Command::new(source("openwrt/package"));
    command.arg("--into").arg(&into.0).arg(arch);
    let (code, stdout, stderr) = crate::run(command);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let path = into.join(&format!("gatemeter_{}-r1_{arch}.ipk", env!("CARGO_PKG_VERSION")));
    Package::read(&path).unwrap().install(&root.0, arch).unwrap();
    (root, format!("qemu-{target}-static"))
}

fn runs(arch: &str, target: &str) {
    let (root, emulator) = installed(arch, target);
    let lab = Lab::builder().hosts(1).build();
    let call = |words: &[&str]| {
        let mut command = lab.router.command(&emulator);
        command.arg(root.join("usr/sbin/gatemeter")).args(words);
        let output = run(command, "", LIMIT).unwrap_or_else(|problem| panic!("{problem}"));
        (output.status.code(), output.stdout, output.stderr)
    };
    let version = format!("gatemeter {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(call(&["--version"]), (Some(0), version, String::new()));

    // The configuration that came along, with the files it names below the root.
    let config = root.join("etc/config/gatemeter").display().to_string();
    let state = format!("main.state_dir={}", root.join("etc/gatemeter").display());
    let textfile = root.join("prom_c").display().to_string();
    let flags = ["-c", &config, "--textfile", &textfile, "--textfile-dir", "none", "-o", &state];
    let with = |words: &[&str]| call(&[&flags[..], words].concat());
    let (code, check, stderr) = with(&["check"]);
    assert!(code == Some(1) && stderr.is_empty(), "{check}{stderr}");
    let lines = |subject: &str, verdict: &str| {
        check.lines().any(|line| line.starts_with(subject) && line.split_whitespace().nth(1) == Some(verdict))
    };
    assert!(lines("traffic", "BROKEN") && lines("traffic", "ok") && !lines("probe", "BROKEN"), "{check}");
    assert!(lines("clients", "ok") && check.contains("cannot use nf_tables: "), "{check}");
    assert!(check.contains("target gateway: the gateways are "), "{check}");

    let server = lab.internet.v4.to_string();
    let (code, page, stderr) = with(&["-o", &format!("target.host={server}"), "once", "probe"]);
    assert_eq!(code, Some(0), "{stderr}");
    let answered = |ip: &str| {
        let series = format!("icmp_probe_packets_recv_total{{ip=\"{ip}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&series)).is_some_and(|count| count != "0")
    };
    assert!(answered(&server), "{page}");
    // Probes to the gateway name their interface in a control message, whose bytes this emulator leaves in the order of
    // the other machine.
    let is_swapped = target == "mips";
    assert!(is_swapped || answered(&GATEWAY4.to_string()), "{page}");
    assert!(page.contains(&format!("icmp_probe_target_info{{ip=\"{GATEWAY4}\",target=\"gateway\"")), "{page}");
    // A wrong option is told in one line, as everywhere.
    let (code, _, stderr) = with(&["-o", "probe.interval=x", "check"]);
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert_eq!(root.read("etc/config/gatemeter"), text_of("openwrt/gatemeter/files/gatemeter.config"));
}

#[test]
fn the_program_for_big_endian_mips_runs() {
    runs("mips_24kc", "mips");
}

#[test]
fn the_program_for_little_endian_mips_runs() {
    runs("mipsel_24kc", "mipsel");
}

#[test]
fn the_program_for_aarch64_runs() {
    runs("aarch64_cortex-a53", "aarch64");
}
