//! The daemon's own life: signals, new configurations, log lines, and what it costs to have it running.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use gatemeter::collectors::ALL;
use harness::{Daemon, PATIENCE, Setup, exposition, http};
use lab::traffic::send_udp;
use lab::{Lab, process};

/// A host with a name, so that it is exported.
const LAPTOP: &str = "config host\n\toption name 'laptop'\n\toption mac '02:1a:00:00:01:01'\n";
/// What `lan1` has sent over IPv4.
const UPLOAD: &str = "node_nat_traffic_upload{mac=\"02:1A:00:00:01:01\",hostname=\"laptop\",ip=\"192.168.1.11\"}";
const UP: &str = "gatemeter_collector_up{collector=\"traffic\"}";
const CLIENTS_UP: &str = "gatemeter_collector_up{collector=\"clients\"}";

/// Waits until standard error holds `text` at least `times`, and fails with all of it when it never does.
#[track_caller]
fn wait_for_lines(daemon: &Daemon<'_>, text: &str, times: usize) {
    let seen = process::poll(PATIENCE, || (daemon.stderr().matches(text).count() >= times).then_some(()));
    assert!(seen.is_some(), "{text:?} is not {times} times in\n{}", daemon.stderr());
}

#[track_caller]
fn wait_until_there(path: &Path) {
    assert!(process::poll(PATIENCE, || path.exists().then_some(())).is_some(), "{} is not there", path.display());
}

#[track_caller]
fn wait_until_gone(path: &Path) {
    assert!(process::poll(PATIENCE, || (!path.exists()).then_some(())).is_some(), "{} is still there", path.display());
}

/// A value of a `/proc/PID/status` line such as `VmRSS`, without its unit.
fn status_field(path: &Path, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").to_owned()
}

fn threads(daemon: &Daemon<'_>) -> Vec<std::path::PathBuf> {
    let dir = format!("/proc/{}/task", daemon.pid());
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().join("status")).collect()
}

fn open_files(daemon: &Daemon<'_>) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly_and_leave_the_counters() {
    let lab = Lab::new();
    let setup = Setup::new(&lab).uci("dhcp", LAPTOP);
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    let setup = setup.flags(&["-e", "-t", "1", "--textfile-dir", &parts.display().to_string()]);
    let mut expected = 0;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut daemon = setup.start();
        expected += send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 10, 100).l2;
        daemon.wait_for(UPLOAD, expected as f64);
        for part in ["gatemeter_traffic.prom", "gatemeter_clients.prom", "gatemeter_main.prom"] {
            wait_until_there(&parts.join(part));
        }
        daemon.signal(signal);
        let status = process::poll(PATIENCE, || daemon.ended()).unwrap();
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
        assert!(!setup.textfile().exists());
        assert_eq!(fs::read_dir(&parts).unwrap().count(), 0);
        assert!(daemon.stderr().ends_with("INFO  [gatemeter] stopping\n"), "{}", daemon.stderr());
        // Nobody runs now, and the kernel counts on.
        expected += send_udp(lab.host(1).on_v4(), lab.internet.on_v4(), 7, 300).l2;
    }
    setup.start().wait_for(UPLOAD, expected as f64);
}

#[test]
fn a_reload_tells_what_it_cannot_take_over() {
    let lab = Lab::builder().hosts(0).build();
    let setup = Setup::new(&lab).flags(&["--collectors", "freebox"]);
    let daemon = setup.start();
    setup.write_uci("gatemeter", "config gatemeter 'main'\n\toption log_format json\n");
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "WARN  [gatemeter] main.log_format is taken over at the next start only", 1);
}

#[test]
fn http_that_was_lost_in_a_reload_comes_back_with_the_next() {
    let lab = Lab::builder().hosts(0).build();
    let address = |change: &str| lab.router.must(&["ip", "address", change, "192.0.2.77/32", "dev", "lo"]);
    let status = || {
        let at = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 77), 9999));
        http::get(&lab.router, at, "/healthz", &[]).map(|response| response.status)
    };
    let listen = |addr: &str| format!("config gatemeter 'main'\n\toption http 1\n\toption listen '{addr}:9999'\n");
    address("add");
    let setup = Setup::new(&lab).uci("gatemeter", &listen("192.0.2.77")).flags(&["--collectors", "freebox"]);
    let daemon = setup.start_unready();
    assert!(process::poll(PATIENCE, || (status() == Ok(200)).then_some(())).is_some(), "{}", daemon.stderr());
    // Neither where it shall be served nor where it was.
    address("del");
    setup.write_uci("gatemeter", &listen("192.0.2.78"));
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "configuration read again", 1);
    address("add");
    setup.write_uci("gatemeter", &listen("192.0.2.77"));
    daemon.signal(libc::SIGHUP);
    assert!(process::poll(PATIENCE, || (status() == Ok(200)).then_some(())).is_some(), "{}", daemon.stderr());
}

#[test]
fn a_check_beside_the_daemon_finds_its_port_in_good_hands() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = Setup::new(&lab).flags(&["-e"]).start();
    let check = daemon.setup().run(&["check"]);
    let line = "output    ok      http://[::]:9999/metrics is served by a gatemeter that runs now\n";
    assert!(check.stdout.contains(line) && !check.stdout.contains("BROKEN"), "{check:?}");
    drop(daemon);
    let _other = lab.router.tcp_listener(Ipv4Addr::LOCALHOST, 9999);
    let check = Setup::new(&lab).flags(&["-e"]).run(&["check"]);
    assert!(check.stdout.contains("another program has this port"), "{check:?}");
}

#[test]
fn a_reload_moves_text_files_listener_and_log_level() {
    let lab = Lab::builder().hosts(1).build();
    let (old, new, parts) = (lab.dir().join("old"), lab.dir().join("new"), lab.dir().join("parts"));
    fs::create_dir(&parts).unwrap();
    let text = |textfile: &Path, rest: &str| {
        format!(
            "config gatemeter 'main'\n\toption interval 1\n\toption http 1\n\toption textfile '{}'\n{rest}",
            textfile.display()
        )
    };
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let status = |port: u16| http::get(&lab.router, at(port), "/metrics", &[]).map(|response| response.status);

    let setup = Setup::new(&lab).uci("gatemeter", &text(&old, "")).textfile_by_config();
    let daemon = setup.start_unready();
    wait_for_lines(&daemon, "serving http://[::]:9999/metrics", 1);
    wait_until_there(&old);
    assert_eq!(status(9999), Ok(200));

    let dir = format!("\toption textfile_dir '{}'\n", parts.display());
    let moved = text(&new, &format!("\toption listen '127.0.0.1:9100'\n\toption log_level warn\n{dir}"));
    setup.write_uci("gatemeter", &moved);
    daemon.signal(libc::SIGHUP);
    assert!(process::poll(PATIENCE, || (status(9100) == Ok(200)).then_some(())).is_some(), "{}", daemon.stderr());
    assert!(process::poll(PATIENCE, || status(9999).is_err().then_some(())).is_some(), "{}", daemon.stderr());
    wait_until_gone(&old);
    wait_until_there(&new);
    for part in ["gatemeter_traffic.prom", "gatemeter_clients.prom", "gatemeter_main.prom"] {
        wait_until_there(&parts.join(part));
    }
    assert!(!daemon.stderr().contains("configuration read again"), "{}", daemon.stderr());

    // Back again: what one reload did another undoes.
    setup.write_uci("gatemeter", &text(&old, ""));
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "configuration read again", 1);
    wait_until_gone(&new);
    assert!(process::poll(PATIENCE, || (status(9999) == Ok(200)).then_some(())).is_some());
    assert!(process::poll(PATIENCE, || fs::read_dir(&parts).unwrap().next().is_none().then_some(())).is_some());
}

#[test]
fn a_reload_that_cannot_be_done_changes_nothing() {
    let lab = Lab::builder().hosts(1).build();
    let _taken = lab.router.tcp_listener(Ipv4Addr::LOCALHOST, 9100);
    let setup = Setup::new(&lab).flags(&["-e", "-t", "1"]);
    let daemon = setup.start();
    setup.write_uci("gatemeter", "config gatemeter 'main'\n\toption interval '5\n");
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "config/gatemeter:2: EOF with unterminated '; keeping the settings from before\n", 1);
    setup.write_uci("gatemeter", "config traffic\n\toption max_hosts none\n");
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "; keeping the settings from before\n", 2);
    daemon.wait_for("gatemeter_traffic_hosts_limit", 1024.0);

    // Another program has the new address: the old one stays until it can be had.
    setup.write_uci("gatemeter", "config gatemeter 'main'\n\toption listen '127.0.0.1:9100'\n");
    for times in 1..=2 {
        daemon.signal(libc::SIGHUP);
        wait_for_lines(&daemon, "cannot listen on 127.0.0.1:9100: Address already in use", times);
        assert_eq!(daemon.get("/metrics").unwrap().status, 200);
    }
    drop(_taken);
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "serving http://127.0.0.1:9100/metrics", 1);
    assert!(process::poll(PATIENCE, || daemon.get("/metrics").is_err().then_some(())).is_some());
}

#[test]
fn a_reload_that_turns_a_collector_off_takes_its_figures_away_and_no_others() {
    let lab = Lab::builder().hosts(1).build();
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    let setup = Setup::new(&lab).flags(&["-e", "-t", "1", "--textfile-dir", &parts.display().to_string()]);
    let daemon = setup.start();
    let part = |name: &str| parts.join(format!("gatemeter_{name}.prom"));
    let health = |traffic: &str, clients: &str| {
        let expected = format!("gatemeter is running\ntraffic: {traffic}\nclients: {clients}\n");
        let told = || daemon.get("/healthz").unwrap().text().starts_with(&expected).then_some(());
        assert!(process::poll(PATIENCE, told).is_some(), "{:?} is not {expected:?}", daemon.get("/healthz"));
    };
    wait_until_there(&part("traffic"));
    wait_until_there(&part("clients"));

    let off = |name: &str| format!("config {name}\n\toption enabled 0\n");
    for (name, figures, up, other, other_figures, other_up) in [
        ("traffic", "gatemeter_traffic_", UP, "clients", "gatemeter_clients_limit ", CLIENTS_UP),
        ("clients", "gatemeter_clients_", CLIENTS_UP, "traffic", "gatemeter_traffic_hosts_limit ", UP),
    ] {
        setup.write_uci("gatemeter", &off(name));
        daemon.signal(libc::SIGHUP);
        wait_for_lines(&daemon, &format!("INFO  [{name}] turned off\n"), 1);
        let gone = || daemon.textfile().is_ok_and(|page| !page.contains(figures)).then_some(());
        assert!(process::poll(PATIENCE, gone).is_some(), "{:?}", daemon.textfile());
        assert!(daemon.textfile().unwrap().contains(other_figures), "{:?}", daemon.textfile());
        wait_until_gone(&part(name));
        assert!(part(other).exists());
        let metrics = daemon.metrics();
        assert_eq!((metrics.get(up), metrics.get(other_up)), (None, Some(&1.0)));
        match name {
            "traffic" => health("off", "up"),
            _ => health("up", "off"),
        }
        setup.write_uci("gatemeter", "");
        daemon.signal(libc::SIGHUP);
        daemon.wait_for(up, 1.0);
        wait_until_there(&part(name));
    }

    setup.write_uci("gatemeter", &ALL.iter().map(|row| off(row.name)).collect::<String>());
    daemon.signal(libc::SIGHUP);
    wait_for_lines(&daemon, "WARN  [gatemeter] no collector is enabled, so nothing is measured\n", 1);
    wait_until_gone(&part("traffic"));
    wait_until_gone(&part("clients"));
    assert!(!daemon.metrics().keys().any(|series| series.starts_with("gatemeter_collector_")));
    health("off", "off");
    setup.write_uci("gatemeter", "");
    daemon.signal(libc::SIGHUP);
    health("up", "up");
    wait_until_there(&part("traffic"));
    wait_until_there(&part("clients"));
    // Neither has noticed that the other was turned off and on: each was started three times, at first and twice since.
    for name in ["traffic", "clients"] {
        assert_eq!(daemon.stderr().matches(&format!("[{name}] turned off\n")).count(), 2, "{}", daemon.stderr());
        assert_eq!(daemon.stderr().matches(&format!("[{name}] measuring every")).count(), 3, "{}", daemon.stderr());
    }
}

#[test]
fn a_collector_that_fails_takes_nothing_from_the_other() {
    let lab = Lab::new();
    for (flags, down, up) in [
        // A subnet of its own, as what -4 says is for both.
        (["-4", "10.9.9.1/24/nowhere", "-o", "clients.subnet=192.168.1.0/24/br-lan"], "traffic", "clients"),
        (["-4", "192.168.1.1/24/br-lan", "-o", "clients.subnet=10.9.9.0/24/nowhere"], "clients", "traffic"),
    ] {
        let daemon = Setup::new(&lab).flags(&["-e", "-t", "1"]).flags(&flags).start();
        let of = |family: &str, name: &str| format!("gatemeter_collector_{family}{{collector=\"{name}\"}}");
        let (errors, success) = (of("errors_total", down), of("last_success_timestamp_seconds", up));
        daemon.wait_until("three failures", |metrics| (metrics[&errors] >= 3.0).then_some(()));
        let before = daemon.metrics()[&success];
        daemon.wait_until("a later success", |metrics| (metrics[&success] > before).then_some(()));
        let metrics = daemon.metrics();
        let states = [of("up", down), of("up", up), of("errors_total", up)].map(|series| metrics[&series]);
        assert_eq!(states, [0.0, 1.0, 0.0], "{}", daemon.stderr());
        // The one that fails says so once.
        assert_eq!(daemon.stderr().matches("ERROR").count(), 1, "{}", daemon.stderr());
    }
}

#[test]
fn a_reload_that_disables_the_daemon_stops_it() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab);
    let mut daemon = setup.start();
    setup.write_uci("gatemeter", "config gatemeter 'main'\n\toption enabled 0\n");
    daemon.signal(libc::SIGHUP);
    let status = process::poll(PATIENCE, || daemon.ended()).unwrap();
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    assert!(!setup.textfile().exists());
}

#[test]
fn a_daemon_without_any_collector_says_so_and_tells_of_itself() {
    let lab = Lab::builder().hosts(0).build();
    let options: Vec<String> = ALL.iter().map(|row| format!("{}.enabled=0", row.name)).collect();
    let off: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    for flags in
        [&["-e", "--textfile", "none", "--collectors", ""][..], &[&["-e", "--textfile", "none"][..], &off].concat()]
    {
        let mut daemon = Setup::new(&lab).flags(flags).start_unready();
        wait_for_lines(&daemon, "WARN  [gatemeter] no collector is enabled, so nothing is measured\n", 1);
        let page = process::poll(PATIENCE, || daemon.page().ok()).unwrap();
        assert!(page.contains("gatemeter_build_info{"), "{page}");
        let of_collectors = ["gatemeter_traffic", "gatemeter_clients", "gatemeter_probe", "gatemeter_collector_up{"];
        assert!(!of_collectors.iter().any(|family| page.contains(family)), "{page}");
        assert!(daemon.stop().success());
    }
}

#[test]
fn collectors_chooses_who_runs_whatever_is_enabled() {
    let lab = Lab::builder().hosts(1).build();
    for (chosen, disabled, up, silent) in
        [(" traffic ,", "traffic", UP, CLIENTS_UP), ("clients", "clients", CLIENTS_UP, UP)]
    {
        let disabled = format!("config {disabled}\n\toption enabled 0\n");
        let daemon =
            Setup::new(&lab).uci("gatemeter", &disabled).flags(&["-e", "-t", "1", "--collectors", chosen]).start();
        daemon.wait_for(up, 1.0);
        assert!(!daemon.metrics().contains_key(silent));
        assert!(!daemon.textfile().unwrap().contains(silent));
    }
}

#[test]
fn log_lines_are_read_by_machines_in_each_format() {
    let lab = Lab::builder().hosts(1).build();
    for (format, start, end) in [
        ("text", "INFO  [NAME] measuring every ", ""),
        ("logfmt", "level=info collector=NAME msg=\"measuring every ", "\""),
        ("json", "{\"level\":\"info\",\"collector\":\"NAME\",\"msg\":\"measuring every ", "\"}"),
    ] {
        let option = format!("main.log_format={format}");
        let setup = Setup::new(&lab).flags(&["-t", "1", "-o", &option, "--log-level", "trace"]);
        let mut daemon = setup.start();
        assert!(daemon.stop().success());
        let text = daemon.stderr();
        let start = |name: &str| start.replace("NAME", name);
        assert!(text.contains(&format!("{}1 s{end}\n", start("traffic"))), "{text}");
        assert!(text.contains(&format!("{}2 s{end}\n", start("clients"))), "{text}");
        for line in text.lines() {
            let (level, collector) = match format {
                "text" => {
                    line.split_once(" [").map(|(level, rest)| (level.trim_end(), rest.split_once("] ").unwrap().0))
                }
                "logfmt" => line.strip_prefix("level=").and_then(|rest| rest.split_once(" collector=")),
                _ => line.strip_prefix("{\"level\":\"").and_then(|rest| rest.split_once("\",\"collector\":\"")),
            }
            .unwrap_or_else(|| panic!("{format}: {line}"));
            let collector = collector.split(['"', ' ']).next().unwrap();
            let level = level.to_ascii_lowercase();
            assert!(["error", "warn", "info", "debug", "trace"].contains(&level.as_str()), "{line}");
            assert!(collector == "gatemeter" || ALL.iter().any(|row| row.name == collector), "{line}");
            assert!(line.ends_with(end), "{line}");
        }
    }
}

#[test]
fn log_lines_that_cannot_be_written_do_not_end_the_daemon() {
    let lab = Lab::builder().hosts(1).build();
    let setup = Setup::new(&lab).flags(&["-e", "-t", "1"]);
    let mut command = setup.command();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full);
    let mut daemon = process::Background::adopt(command.spawn().unwrap(), setup.shown());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9999));
    let up = || {
        let page = http::get(&lab.router, address, "/metrics", &[]).ok()?.text();
        [UP, CLIENTS_UP].iter().all(|up| page.contains(&format!("{up} 1"))).then_some(())
    };
    assert!(process::poll(PATIENCE, up).is_some(), "{:?}", daemon.ended());
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait(PATIENCE).code(), Some(0));
}

#[test]
fn it_tells_the_truth_about_itself() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = Daemon::start(&lab, &["-e", "-t", "1"]);
    let requests = "gatemeter_http_requests_total{path=\"/metrics\",code=\"200\"}";
    let metrics = daemon.metrics();
    let next = daemon.metrics();
    assert_eq!(next[requests], metrics[requests] + 1.0);
    assert_eq!(daemon.get("/nowhere").unwrap().status, 404);
    assert_eq!(daemon.get("/metrics?collect[]=nobody").unwrap().status, 400);
    let metrics = daemon.metrics();
    assert_eq!(metrics["gatemeter_http_requests_total{path=\"/metrics\",code=\"400\"}"], 1.0, "{metrics:#?}");
    assert!(metrics.iter().any(|(series, value)| series.contains("code=\"404\"") && *value == 1.0), "{metrics:#?}");

    let build = metrics.keys().find(|series| series.starts_with("gatemeter_build_info{")).unwrap();
    assert_eq!(exposition::label(build, "version").unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(exposition::label(build, "target").unwrap().contains("linux"), "{build}");
    assert_eq!((metrics[UP], metrics[CLIENTS_UP]), (1.0, 1.0));
    for collector in ["traffic", "clients"] {
        let of = |family: &str| metrics[&format!("gatemeter_collector_{family}{{collector=\"{collector}\"}}")];
        assert_eq!(of("errors_total"), 0.0, "{collector}");
        let duration = of("duration_seconds");
        assert!(duration > 0.0 && duration < 10.0, "{collector}: {duration}");
    }
    let boot: f64 = fs::read_to_string("/proc/stat")
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("btime "))
        .unwrap()
        .parse()
        .unwrap();
    let started = metrics["process_start_time_seconds"];
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let ticks: f64 = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().nth(19).unwrap().parse().unwrap();
    assert!((started - (boot + ticks / 100.0)).abs() < 5.0, "{started} is not {boot} + {ticks} / 100");
    for collector in ["traffic", "clients"] {
        let success =
            metrics[&format!("gatemeter_collector_last_success_timestamp_seconds{{collector=\"{collector}\"}}")];
        assert!(success >= started, "{collector}: {success} before {started}");
    }
    assert!(metrics["process_cpu_seconds_total"] >= 0.0);

    // The connection that asks is one of them; a collection under way may have more open.
    let mut last = (0.0, 0);
    let agreed = process::poll(PATIENCE, || {
        last = (daemon.metrics()["process_open_fds"], open_files(&daemon));
        (last.0 == last.1 as f64 + 1.0).then_some(())
    });
    assert!(agreed.is_some(), "told and open: {last:?}");
    let status = format!("/proc/{}/status", daemon.pid());
    let resident = status_field(Path::new(&status), "VmRSS").parse::<f64>().unwrap() * 1024.0;
    let told = metrics["process_resident_memory_bytes"];
    assert!((told - resident).abs() < 1e6, "{told} is not {resident}");
    let again = daemon.metrics();
    assert_eq!(again["process_start_time_seconds"], started);
}

#[test]
fn an_idle_daemon_sleeps() {
    let lab = Lab::new();
    let daemon = Daemon::start(&lab, &["-e"]);
    let switches = || -> u64 {
        threads(&daemon).iter().map(|path| status_field(path, "voluntary_ctxt_switches").parse::<u64>().unwrap()).sum()
    };
    let (before, begun) = (switches(), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let count = switches() - before;
    println!("{count} wake-ups in {:.1} s at intervals of 5 and 2 s", begun.elapsed().as_secs_f64());
    assert!(count < 200, "{count} wake-ups");
}

#[test]
fn the_first_complete_page_comes_soon_after_the_start() {
    let lab = Lab::new();
    let setup = Setup::new(&lab).flags(&["-e"]).uci("dhcp", LAPTOP);
    let begun = Instant::now();
    let daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    println!("{:.0} ms from start to the first page", begun.elapsed().as_secs_f64() * 1e3);
}

#[test]
fn scrapes_and_reloads_leak_neither_descriptors_nor_memory() {
    let lab = Lab::new();
    let setup = Setup::new(&lab).uci("dhcp", LAPTOP).flags(&["-e"]);
    let daemon = setup.start();
    let memory =
        || -> u64 { status_field(Path::new(&format!("/proc/{}/status", daemon.pid())), "VmRSS").parse().unwrap() };
    let curl = ["curl", "-sS", "--fail", "--compressed", "-o", "/dev/null", "http://127.0.0.1:9999/metrics"];
    let reload = |times: usize| {
        daemon.signal(libc::SIGHUP);
        wait_for_lines(&daemon, "configuration read again", times);
    };
    // What is needed once for ever, such as buffers, is there after the first of each, and after collections that have
    // opened again what the reload closed.
    lab.router.must(&curl);
    reload(1);
    for collector in ["traffic", "clients"] {
        daemon.fresh(collector);
    }
    let before = open_files(&daemon);
    let started = memory();
    for _ in 0..200 {
        lab.router.must(&curl);
    }
    for times in 2..=51 {
        reload(times);
    }
    println!("resident: {started} kB, after 200 scrapes and 50 reloads {} kB", memory());
    let settled = || (open_files(&daemon) <= before).then_some(());
    assert!(process::poll(PATIENCE, settled).is_some(), "{before} descriptors before, {} after", open_files(&daemon));
    assert!(memory() < started + 2048, "{started} kB before, {} kB after", memory());
    daemon.wait_for(UP, 1.0);
}
