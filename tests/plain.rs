//! What works on any kernel, without eBPF, nf_tables and connection tracking: interfaces and neighbours over rtnetlink,
//! names, probes on raw sockets, timers, UCI, text files, HTTP, `once` and `check`. All but the neighbours also runs under
//! qemu's user-mode emulation (tests/qemu).

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

use std::fs;

use harness::{Confine, PATIENCE, Setup, exposition};
use lab::{GATEWAY4, Lab, process};

/// Two seconds between updates at most, and nothing that needs more than netlink's routes and raw sockets.
const CONFIG: &str = "
config gatemeter 'main'
	option interval '1'

config clients 'clients'
	option accounting 'off'
	option interval '1'

config probe 'probe'
	option unlocked '1'
	option interval '200'
	option timeout '1000'
";
const LAPTOP: &str = "config host\n\toption name 'laptop'\n\toption mac '02:1a:00:00:01:01'\n";
const PROBE: &str = "gatemeter_collector_up{collector=\"probe\"}";

fn setup<'a>(lab: &'a Lab, collectors: &str) -> Setup<'a> {
    let target = |host: &dyn std::fmt::Display| format!("\nconfig target\n\toption host '{host}'\n");
    // Not the gateway: it is probed through its own interface, whose number emulation hands on in the wrong byte order.
    let targets = format!("{CONFIG}{}{}", target(&lab.internet.v4), target(&lab.internet.v6));
    Setup::new(lab)
        .uci("gatemeter", &targets)
        .uci("dhcp", LAPTOP)
        .confined(Confine::without_bpf())
        .flags(&["--collectors", collectors])
}

#[test]
fn neighbours_and_names_are_followed_and_a_reload_is_taken_over() {
    let lab = Lab::builder().hosts(1).living_neighbours().build();
    assert!(lab.host(1).pings(GATEWAY4, 1));
    let online = |name: &str| format!("client_status{{ip=\"{}\",client=\"{name}\"}}", lab.host(1).v4);
    let setup = setup(&lab, "clients");
    let mut daemon = setup.start();
    daemon.wait_for(&online("laptop"), 1.0);
    setup.write_uci("dhcp", &LAPTOP.replace("laptop", "desk"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for(&online("desk"), 1.0);
    assert!(daemon.stop().success(), "{}", daemon.stderr());
}

#[test]
fn paths_are_probed_again_and_again_and_a_reload_is_taken_over() {
    let lab = Lab::builder().hosts(0).build();
    let setup = setup(&lab, "probe").flags(&["-e"]);
    let mut daemon = setup.start();
    let sent = |target: &str| format!("icmp_probe_packets_sent_total{{ip=\"{target}\"}}");
    let answered = |target: &str| format!("icmp_probe_packets_recv_total{{ip=\"{target}\"}}");
    let (v4, v6) = (lab.internet.v4.to_string(), lab.internet.v6.to_string());
    for target in [&v4, &v6] {
        let answered = answered(target);
        daemon.wait_until(&answered, |metrics| metrics.get(&answered).filter(|&&count| count >= 10.0).map(|_| ()));
    }
    setup.write_uci("gatemeter", &format!("{CONFIG}\nconfig target\n\toption host '{v6}'\n"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_until("the other target is gone", |metrics| (!metrics.contains_key(&sent(&v4))).then_some(()));
    daemon.wait_until("this one stays", |metrics| metrics.contains_key(&sent(&v6)).then_some(()));
    assert!(daemon.stop().success(), "{}", daemon.stderr());
}

#[test]
fn text_files_are_written_again_each_interval_and_go_with_the_daemon() {
    let lab = Lab::builder().hosts(1).build();
    let parts = lab.dir().join("parts");
    fs::create_dir(&parts).unwrap();
    let mut daemon = setup(&lab, "probe").flags(&["--textfile-dir", &parts.display().to_string()]).start();
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let complete = ["gatemeter_main.prom", "gatemeter_probe.prom"];
    assert!(process::poll(PATIENCE, || (names() == complete).then_some(())).is_some(), "{:?}", names());
    let last = "gatemeter_collector_last_success_timestamp_seconds{collector=\"probe\"}";
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(daemon.wait_until("a later page", |metrics| {
            metrics.get(last).copied().filter(|time| seen.last().is_none_or(|before| time > before))
        }));
    }
    assert!(daemon.stop().success(), "{}", daemon.stderr());
    assert!(names().is_empty(), "{:?}", names());
    assert!(!daemon.setup().textfile().exists());
}

#[test]
fn once_prints_each_form() {
    let lab = Lab::builder().hosts(0).build();
    for (form, line) in [
        ("prometheus", format!("{PROBE} 1\n")),
        ("openmetrics", "\n# EOF\n".to_owned()),
        ("influxdb", "gatemeter_collector_up,collector=probe value=1\n".to_owned()),
        ("graphite", "gatemeter_collector_up;collector=probe 1 ".to_owned()),
    ] {
        let output = setup(&lab, "probe").run(&["once", "-f", form]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.contains(&line), "{form}: {line} is not in\n{}", output.stdout);
        if form == "prometheus" {
            assert_eq!(exposition::parse(&output.stdout).unwrap()[PROBE], 1.0);
        }
    }
}

#[test]
fn http_serves_plain_and_compressed_pages_to_many_at_once() {
    let lab = Lab::builder().hosts(0).build();
    let daemon = setup(&lab, "probe").flags(&["-e"]).start();
    let plain = daemon.get("/metrics").unwrap();
    assert_eq!(plain.status, 200);
    assert!(plain.text().contains(PROBE));
    let small = daemon.get_with("/metrics", &[("Accept-Encoding", "gzip")]).unwrap();
    assert!(small.body.starts_with(&[0x1f, 0x8b]) && small.body.len() < plain.body.len());
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| daemon.get("/metrics").unwrap().status)).collect();
        assert!(asked.into_iter().all(|reply| reply.join().unwrap() == 200));
    });
    assert_eq!(daemon.get("/nowhere").unwrap().status, 404);
}

#[test]
fn check_reads_the_configuration_and_finds_the_lan() {
    let lab = Lab::builder().hosts(1).build();
    let output = setup(&lab, "clients").run(&["check"]);
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{}", output.stdout);
    for line in [
        "config    ok      ",
        "traffic   note    off\n",
        "clients   note    accounting is off: no bytes and no rates\n",
    ] {
        assert!(output.stdout.contains(line), "{line} is not in\n{}", output.stdout);
    }
    assert!(output.stdout.contains("br-lan in 192.168.1.0/24"), "{}", output.stdout);
}
