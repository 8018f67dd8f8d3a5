//! The command line and the configuration as a user meets them: exit codes, and the one line that says what is wrong.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use gatemeter::collectors::ALL;
use harness::{PATIENCE, Setup};
use lab::{Lab, process};

/// A router without hosts: enough for what ends before it measures anything.
fn empty_lab() -> Lab {
    Lab::builder().hosts(0).build()
}

/// Runs the program as it is, without the flags of a [`Setup`], in the lab's directory.
fn bare(lab: &Lab, words: &[&str]) -> process::Output {
    let mut command = lab.router.command(harness::binary());
    command.current_dir(lab.dir()).args(words);
    process::run(command, "", PATIENCE).unwrap()
}

/// Checks that a run ended with `code`, nothing on stdout and exactly one line on stderr.
#[track_caller]
fn answers(output: &process::Output, code: i32, line: &str) {
    assert_eq!(output.stderr, format!("gatemeter: {line}\n"));
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(code), ""));
}

#[test]
fn a_bad_value_ends_every_command_with_2_and_one_line_that_says_what_was_expected() {
    let lab = empty_lab();
    for (flags, line) in [
        (["-4", "192.168.1.1/24"], "-4: '192.168.1.1/24' is not ADDR/LEN/IFACE, as in 192.168.1.1/24/br-lan"),
        (["-4", "192.168.1.1"], "-4: '192.168.1.1' is not ADDR/LEN/IFACE, as in 192.168.1.1/24/br-lan"),
        (["-4", "192.168.1.1/24/"], "-4: '192.168.1.1/24/' is not ADDR/LEN/IFACE, as in 192.168.1.1/24/br-lan"),
        (["-4", "192.168.1.1/33/br-lan"], "-4: prefix length 33 is out of range, expected 0 to 32"),
        (
            ["-4", "192.168.1/24/br-lan"],
            "-4: `192.168.1` is not an IP address, expected ADDR/LEN such as 192.168.1.0/24",
        ),
        (
            ["-4", "2001:db8::/64/br-lan"],
            "-4: '2001:db8::/64' is an IPv6 prefix, expected IPv4; IPv6 goes into -6 or subnet6, without interface",
        ),
        (
            ["-4", "0.0.0.0/0/br-lan"],
            "-4: prefix length 0 of '0.0.0.0/0' would take the whole internet for the LAN, expected 1 or more",
        ),
        (["-4", "10.0.0.1/8/sixteen-letters-"], "-4: interface name 'sixteen-letters-' is longer than 15 characters"),
        (
            ["-6", "192.168.1.0/24"],
            "-6: '192.168.1.0/24' is an IPv4 subnet, expected IPv6; IPv4 goes into -4 or subnet4, with its interface",
        ),
        (["-6", "2001:db8::1"], "-6: '2001:db8::1' is not ADDR/LEN, as in 2001:db8:1::/64"),
        (["-6", "2001:db8::/129"], "-6: prefix length 129 is out of range, expected 0 to 128"),
        (["-6", "::/0"], "-6: prefix length 0 of '::/0' would take the whole internet for the LAN, expected 1 or more"),
        (["-p", "0"], "-p: '0' is not a port, expected 1 to 65535"),
        (["-p", "70000"], "-p: '70000' is not a port, expected 1 to 65535"),
        (["-p", "http"], "-p: 'http' is not a port, expected 1 to 65535"),
        (["-t", "0"], "-t: '0' is out of range, expected a whole number from 1 to 86400"),
        (["-t", "-1"], "-t: '-1' is out of range, expected a whole number from 1 to 86400"),
        (["-t", "soon"], "-t: 'soon' is not a whole number, expected one from 1 to 86400"),
        (["-t", "0.5"], "-t: '0.5' is not a whole number, expected one from 1 to 86400"),
        (["-t", "5\n6"], "-t: '5\\n6' is not a whole number, expected one from 1 to 86400"),
        (
            ["-l", "router.lan"],
            "-l: 'router.lan' is not an address to listen on, expected one like [::]:9999 or 192.168.1.1:9999",
        ),
        (
            ["-l", "[192.168.1.1"],
            "-l: '[192.168.1.1' is not an address to listen on, expected one like [::]:9999 or 192.168.1.1:9999",
        ),
        (["-l", "[::1]:0"], "-l: '0' is not a port, expected 1 to 65535"),
        (
            ["--log-level", "loud"],
            "--log-level: 'loud' is not one of its values, expected error, warn, info, debug or trace",
        ),
        (
            ["-o", "main.log_format=xml"],
            "-o main.log_format: 'xml' is not one of its values, expected text, logfmt, json or procd",
        ),
        (["-o", "main.enabled=perhaps"], "-o main.enabled: 'perhaps' is neither on nor off, expected 1 or 0"),
        (["-o", "main.allow=10.0.0.0/40"], "-o main.allow: prefix length 40 is out of range, expected 0 to 32"),
        (
            ["-o", "traffic.max_hosts=70000"],
            "-o traffic.max_hosts: '70000' is out of range, expected a whole number from 1 to 65536",
        ),
        (["-o", "traffic.count"], "-o: 'traffic.count' is not SECTION.OPTION=VALUE, as in traffic.max_hosts=2048"),
        (["-o", "count=l2"], "-o: 'count=l2' is not SECTION.OPTION=VALUE, as in traffic.max_hosts=2048"),
        (["-o", "trafic.count=l2"], "-o: there is no section 'trafic', did you mean 'traffic'?"),
        (["-o", "wireless.count=l2"], "-o: there is no section 'wireless'"),
        (["-o", "main.intervall=5"], "-o: section 'main' has no option 'intervall', did you mean 'interval'?"),
        (["-o", "main.colour=red"], "-o: section 'main' has no option 'colour'"),
        (["-o", "client.interval=5"], "-o: there is no section 'client', did you mean 'clients'?"),
        (
            ["-o", "clients.interval=0"],
            "-o clients.interval: '0' is out of range, expected a whole number from 1 to 86400",
        ),
        (["--collectors", "trafic"], "--collectors: there is no collector 'trafic', expected COLLECTORS"),
    ] {
        let setup = Setup::new(&lab).flags(&flags);
        for command in [&[][..], &["once"], &["check"]] {
            let output = setup.run(command);
            let line = line.replace("COLLECTORS", &collectors());
            assert_eq!(output.stderr, format!("gatemeter: {line}\n"), "{flags:?} {command:?}");
            assert_eq!((output.status.code(), output.stdout.as_str()), (Some(2), ""), "{flags:?} {command:?}");
        }
    }
}

/// The names of all collectors, as errors list them.
fn collectors() -> String {
    ALL.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_word_that_is_not_understood_ends_with_2_and_a_hint() {
    let lab = empty_lab();
    let hint = "; gatemeter --help lists the options";
    for (words, line) in [
        (&["--frobnicate"][..], "there is no option or command '--frobnicate'"),
        (&["--textfil", "x"], "there is no option or command '--textfil', did you mean '--textfile'?"),
        (&["-x"], "there is no option or command '-x'"),
        (&["chek"], "there is no option or command 'chek', did you mean 'check'?"),
        (&["status"], "there is no option or command 'status'"),
        (&["check", "now"], "there is no option or command 'now'"),
        (&["once", "--fast"], "there is no option or command '--fast'"),
        (&["check", "-e"], "-e: options of gatemeter stand before the command, as in gatemeter -e check"),
        (&["-p"], "No value provided for option '-p'"),
        (&["-e", "--collectors"], "No value provided for option '--collectors'"),
        (&["once", "-f"], "No value provided for option '-f'"),
    ] {
        answers(&bare(&lab, words), 2, &format!("{line}{hint}"));
    }
    for (words, line) in [
        (
            &["once", "-f", "xml"][..],
            "-f: 'xml' is not a format, expected prometheus, openmetrics, influxdb or graphite",
        ),
        (&["once", "wifi"], "once: there is no collector 'wifi', expected COLLECTORS"),
    ] {
        answers(&Setup::new(&lab).run(words), 2, &line.replace("COLLECTORS", &collectors()));
    }
    let mut command = lab.router.command(harness::binary());
    command.arg(OsStr::from_bytes(b"--textfile=\xff"));
    let output = process::run(command, "", PATIENCE).unwrap();
    answers(&output, 2, "'--textfile=\u{fffd}' is not UTF-8, expected plain text");
}

#[test]
fn help_and_version_are_printed_to_stdout_and_are_no_error() {
    let lab = empty_lab();
    for (words, expected) in [
        (&["--help"][..], "--textfile-dir"),
        (&["-h"], "Commands:"),
        (&["help"], "Commands:"),
        (&["once", "--help"], "openmetrics"),
        (&["help", "once"], "openmetrics"),
        (&["check", "-h"], "exit 1"),
        (&["clean", "--help"], "no trace"),
        (&["-V"], concat!("gatemeter ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["--version"], concat!("gatemeter ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let output = bare(&lab, words);
        assert!(output.stdout.contains(expected), "{words:?}: {}", output.stdout);
        assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let lab = Lab::builder().hosts(1).build();
    let once = Setup::new(&lab).shown() + " once";
    let program = harness::binary();
    for command in [once, format!("{} --help", program.display()), format!("{} -V", program.display())] {
        // `true` reads nothing, so the pipe is broken at the first write; bash tells both exit codes.
        let script = format!("{command} | true; echo ${{PIPESTATUS[0]}}");
        let output = lab.router.run(&["bash", "-c", &script]);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("0\n", ""), "{command}");
        let script = format!("{command} | head -c1 | wc -c; echo ${{PIPESTATUS[0]}}");
        let output = lab.router.run(&["bash", "-c", &script]);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("1\n0\n", ""), "{command}");
    }
}

#[test]
fn a_full_disk_below_stdout_is_an_error_with_its_reason() {
    let lab = empty_lab();
    let script = format!("{} --help >/dev/full", harness::binary().display());
    let output = lab.router.run(&["sh", "-c", &script]);
    answers(&output, 1, "cannot write to stdout: No space left on device (os error 28)");
}

#[test]
fn a_message_that_cannot_be_written_changes_nothing_but_itself() {
    let lab = empty_lab();
    let script = format!("{} -p 2>/dev/full; echo $?", harness::binary().display());
    assert_eq!(lab.router.run(&["sh", "-c", &script]).stdout, "2\n");
}
