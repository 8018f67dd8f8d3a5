//! The configuration file, `check`, and what the daemon does where the system will not have what was asked for.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use harness::{Daemon, PATIENCE, Setup, exposition};
use lab::{Lab, process};

/// A router without hosts: enough for what ends before it measures anything.
fn empty_lab() -> Lab {
    Lab::builder().hosts(0).build()
}

/// Checks that a run ended with `code`, nothing on stdout and exactly one line on stderr.
#[track_caller]
fn answers(output: &process::Output, code: i32, line: &str) {
    assert_eq!(output.stderr, format!("gatemeter: {line}\n"));
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(code), ""));
}

/// Runs `once` or the like with `-c path` and nothing else.
fn with_file(lab: &Lab, path: &Path, words: &[&str]) -> process::Output {
    let mut command = lab.router.command(harness::binary());
    command.arg("-c").arg(path).args(words);
    process::run(command, "", PATIENCE).unwrap()
}

/// Waits until standard error holds `text`, and fails with all of it when it never does.
#[track_caller]
fn wait_for_line(daemon: &Daemon<'_>, text: &str) {
    let seen = process::poll(PATIENCE, || daemon.stderr().contains(text).then_some(()));
    assert!(seen.is_some(), "{text} is not in\n{}", daemon.stderr());
}

/// How many lines of standard error hold `text`.
fn count(daemon: &Daemon<'_>, text: &str) -> usize {
    daemon.stderr().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_line_or_the_way_out() {
    let lab = empty_lab();
    let (missing, dir) = (lab.dir().join("missing"), lab.dir().join("directory"));
    fs::create_dir(&dir).unwrap();
    let line = format!("-c: {} does not exist, expected a file in UCI syntax", missing.display());
    answers(&with_file(&lab, &missing, &["check"]), 2, &line);
    let line =
        format!("cannot read {}: it is a directory; name a UCI file such as /etc/config/gatemeter", dir.display());
    answers(&with_file(&lab, &dir, &["check"]), 1, &line);

    let file = lab.dir().join("gatemeter");
    fs::write(&file, "config gatemeter 'main'\n\toption interval '5\n").unwrap();
    answers(&with_file(&lab, &file, &[]), 2, &format!("{}:2: EOF with unterminated '", file.display()));

    fs::write(&file, "config gatemeter 'main'\n\toption interval 'never'\n").unwrap();
    let place = if cfg!(feature = "libuci") { file.display().to_string() } else { format!("{}:2", file.display()) };
    let line = format!("{place}: option main.interval: 'never' is not a whole number, expected one from 1 to 86400");
    answers(&with_file(&lab, &file, &[]), 2, &line);

    fs::write(&file, "#".repeat((1 << 20) + 1)).unwrap();
    let line = format!(
        "cannot read {}: it is larger than 1048576 bytes; check that it is a UCI configuration file",
        file.display()
    );
    answers(&with_file(&lab, &file, &[]), 1, &line);
}

#[test]
fn a_file_that_this_user_may_not_read_is_an_error_and_not_the_defaults() {
    let lab = empty_lab();
    let file = lab.dir().join("secret");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // The program is copied because nobody may not enter every directory on the way to it.
    let program = lab.dir().join("gatemeter");
    fs::copy(harness::binary(), &program).unwrap();
    let (program, file) = (program.display().to_string(), file.display().to_string());
    let output =
        lab.router.run(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &program, "-c", &file]);
    let line = format!("cannot read {file}: Permission denied (os error 13); run as root or let this user read it");
    answers(&output, 1, &line);
}

#[test]
fn misspelt_sections_and_options_of_the_file_are_warned_about_and_stop_nothing() {
    let lab = Lab::builder().hosts(1).build();
    let text = "config trafic 'traffic'\n\nconfig traffic\n\toption max_host 7\n\toption max_hosts 77\n";
    let setup = Setup::new(&lab).uci("gatemeter", text);
    let file = setup.dir().join("config/gatemeter");
    let place = |line: u32| match cfg!(feature = "libuci") {
        true => file.display().to_string(),
        false => format!("{}:{line}", file.display()),
    };
    let warnings = [
        format!("{}: there is no section type 'trafic', it is ignored, did you mean 'traffic'?", place(1)),
        format!("{}: section 'traffic' has no option 'max_host', it is ignored, did you mean 'max_hosts'?", place(4)),
    ];
    let check = setup.run(&["check"]);
    let daemon = setup.start();
    for warning in &warnings {
        assert!(check.stdout.contains(&format!("config    note    {warning}\n")), "{}", check.stdout);
        assert!(daemon.stderr().contains(&format!("WARN  [gatemeter] {warning}\n")), "{}", daemon.stderr());
    }
    daemon.wait_for("gatemeter_traffic_hosts_limit", 77.0);
}

#[test]
fn a_flag_beats_the_file_which_beats_the_default() {
    let lab = Lab::builder().hosts(1).build();
    let limit = |setup: &Setup<'_>| {
        let output = setup.run(&["once"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        exposition::parse(&output.stdout).unwrap()["gatemeter_traffic_hosts_limit"]
    };
    let setup = Setup::new(&lab);
    assert_eq!(limit(&setup), 1024.0);
    setup.write_uci("gatemeter", "config traffic\n\toption max_hosts 2048\n");
    assert_eq!(limit(&setup), 2048.0);
    assert_eq!(limit(&setup.clone().flags(&["-o", "traffic.max_hosts=4096"])), 4096.0);

    // The flag made for one purpose wins over the general one, wherever they stand.
    let setup = setup.flags(&["-t", "7", "-o", "main.interval=0"]);
    assert_eq!(setup.run(&["check"]).status.code(), Some(0));
}

#[test]
fn main_enabled_0_ends_the_daemon_at_once_with_0() {
    let lab = empty_lab();
    let setup = Setup::new(&lab).uci("gatemeter", "config gatemeter 'main'\n\toption enabled 0\n");
    let output = setup.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, "INFO  [gatemeter] main.enabled is 0: nothing to do\n");
    assert!(setup.run(&["check"]).stdout.contains("note    main.enabled is 0: the daemon would end at once\n"));
}

#[test]
fn check_tells_what_would_run_and_ends_with_0() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab).flags(&["-e"]);
    let output = setup.run(&["check"]);
    let file = setup.dir().join("config/gatemeter");
    for line in [
        format!("config    ok      {} is read", file.display()),
        format!("output    ok      {} can be written", setup.textfile().display()),
        "output    ok      http://[::]:9999/metrics can be served".to_owned(),
        "traffic   ok      br-lan: will count 192.168.1.0/24 2001:db8:1:1::/64 fd00:1:1::/64".to_owned(),
    ] {
        assert!(output.stdout.contains(&format!("{line}\n")), "{line} is not in\n{}", output.stdout);
    }
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{}", output.stdout);
    assert!(!setup.textfile().exists());
}

#[test]
fn check_ends_with_1_when_something_is_broken_and_says_what_helps() {
    let lab = empty_lab();
    let _taken = lab.router.tcp_listener(Ipv6Addr::UNSPECIFIED, 9999);
    let folder = lab.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    let folder = folder.display().to_string();
    for (flags, lines) in [
        (
            &["-4", "192.168.1.1/24/br-foo"][..],
            &["traffic   BROKEN  there is no interface br-foo now; it is taken up when it appears"][..],
        ),
        (
            &["-e"],
            &["output    BROKEN  cannot listen on [::]:9999: Address already in use (os error 98); \
               another program has this port: stop it or choose another with -p"],
        ),
        (
            &["-e", "-l", "192.0.2.99"],
            &["output    BROKEN  cannot listen on 192.0.2.99:9999: Cannot assign requested address (os error 99); \
               no interface has this address: give one of ours with -l, or [::] for all"],
        ),
        (
            &["--textfile", "/nonexistent/prom_c"],
            &["output    BROKEN  cannot write to /nonexistent: No such file or directory (os error 2); \
               create it, or choose another place with --textfile or --textfile-dir"],
        ),
        (
            &["--textfile", &folder],
            &[&format!("output    BROKEN  {folder} is a directory, expected a file name for --textfile")],
        ),
        (
            &["--collectors", ""],
            &[
                "config    BROKEN  no collector is enabled, so nothing would be measured",
                "traffic   note    off",
                "clients   note    off",
            ],
        ),
    ] {
        let output = Setup::new(&lab).flags(flags).run(&["check"]);
        for line in lines {
            assert!(output.stdout.contains(&format!("{line}\n")), "{flags:?}: {line} is not in\n{}", output.stdout);
        }
        assert_eq!((output.status.code(), output.stderr.as_str()), (Some(1), ""), "{flags:?}");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_ends_the_daemon_with_1() {
    let lab = empty_lab();
    let _taken = lab.router.tcp_listener(Ipv4Addr::LOCALHOST, 9100);
    let line = "cannot listen on 127.0.0.1:9100: Address already in use (os error 98); \
                another program has this port: stop it or choose another with -p";
    answers(&Setup::new(&lab).flags(&["-e", "-l", "127.0.0.1", "-p", "9100"]).run(&[]), 1, line);
    let line = "cannot listen on [2001:db8:5::1]:9999: Cannot assign requested address (os error 99); \
                no interface has this address: give one of ours with -l, or [::] for all";
    answers(&Setup::new(&lab).flags(&["-e", "-l", "2001:db8:5::1"]).run(&[]), 1, line);
}

#[test]
fn the_daemon_waits_for_an_interface_that_is_not_there_and_says_so_once() {
    let lab = Lab::builder().hosts(1).build();
    let flags = ["-e", "-t", "1", "-4", "192.168.9.1/24/br-new"];
    let daemon = Daemon::start(&lab, &flags);
    let errors = "gatemeter_collector_errors_total{collector=\"traffic\"}";
    daemon.wait_until("three failures", |metrics| metrics.get(errors).filter(|count| **count >= 3.0).copied());
    assert_eq!(daemon.metrics()["gatemeter_collector_up{collector=\"traffic\"}"], 0.0);
    assert_eq!(count(&daemon, "ERROR [traffic]"), 1, "{}", daemon.stderr());
    assert!(
        daemon.stderr().contains(
            "ERROR [traffic] cannot count traffic: there is no interface br-new now; it is taken up when it appears; \
             trying again from time to time\n"
        ),
        "{}",
        daemon.stderr()
    );
    lab.router.must(&["ip", "link", "add", "br-new", "type", "bridge"]);
    lab.router.must(&["ip", "link", "set", "br-new", "up"]);
    // Both collectors count what -4 says.
    for collector in ["traffic", "clients"] {
        daemon.wait_for(&format!("gatemeter_collector_up{{collector=\"{collector}\"}}"), 1.0);
        assert_eq!(count(&daemon, &format!("WARN  [{collector}] works again")), 1, "{}", daemon.stderr());
        assert_eq!(count(&daemon, &format!("ERROR [{collector}]")), 1, "{}", daemon.stderr());
    }
    assert_eq!(count(&daemon, "ERROR"), 2, "{}", daemon.stderr());
}

#[test]
fn a_text_file_that_cannot_be_written_is_told_once_and_stops_nothing() {
    let lab = Lab::builder().hosts(1).build();
    let dir = lab.dir().join("later");
    let textfile = dir.join("prom_c").display().to_string();
    let daemon = Setup::new(&lab).flags(&["-e", "-t", "1", "--textfile", &textfile]).start_unready();
    let line = format!(
        "ERROR [gatemeter] cannot write the page {textfile}: No such file or directory (os error 2); \
         make the directory {} first\n",
        dir.display()
    );
    wait_for_line(&daemon, &line);
    let series = "gatemeter_collector_last_success_timestamp_seconds{collector=\"traffic\"}";
    let first = daemon.metrics()[series];
    daemon.wait_until("three intervals", |metrics| (metrics[series] > first + 3.0).then_some(()));
    assert_eq!(count(&daemon, "ERROR"), 1, "{}", daemon.stderr());

    fs::create_dir(&dir).unwrap();
    wait_for_line(&daemon, "WARN  [gatemeter] text files are written again\n");
    exposition::parse(&fs::read_to_string(&textfile).unwrap()).unwrap();
}

#[test]
fn a_directory_in_the_text_files_place_is_told_and_stays() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab).flags(&["-e", "-t", "1"]);
    fs::create_dir(setup.textfile()).unwrap();
    let mut daemon = setup.start_unready();
    let path = setup.textfile().display().to_string();
    let line = format!("cannot write the page {path}: it is a directory; give the path of a plain file\n");
    wait_for_line(&daemon, &line);
    assert_eq!(daemon.get("/metrics").unwrap().status, 200);
    assert!(daemon.stop().success());
    assert!(setup.textfile().is_dir());
}
