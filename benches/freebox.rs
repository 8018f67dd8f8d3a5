//! What the `freebox` collector costs against a simulated box: a run of `once` with every group, as telegraf would start
//! it, and the daemon that keeps its session; beside them, on the same box, a script that works as freebox-monitoring does
//! (`freebox/standin.py`, our own). `make bench` runs it; it takes root. With `--features tls` the box is spoken to over
//! HTTPS, with OpenSSL (socat) in front of it, and the script is left out.
//!
//! CPU time of a run is that of all ended children (/proc/self/stat, 10 ms steps over all runs together), of the daemon
//! the kernel's own account of its threads (/proc/PID/task/TID/schedstat).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed assumption must stop the benchmark, and it runs real programs"
)]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/report.rs"]
mod report;
#[path = "../tests/support/usage.rs"]
mod usage;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use harness::{PATIENCE, Setup};
use lab::freebox::{Freebox, Model};
use lab::{Lab, process};
use report::{Budget, Peer, Rounds, Summary, shown};
use usage::{children_ms, cpu_nanoseconds, largest_child_kb, status_kb};

const ROUNDS: usize = 5;
/// Runs of `once` in a round.
const RUNS: u32 = 100;
/// Runs of the script in a round.
const SCRIPT_RUNS: u32 = 5;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/freebox/standin.py");
/// Seconds of a round with the daemon, which collects once in each.
const SECONDS: u64 = 10;

fn main() {
    let summary = Summary::new("freebox");
    println!("freebox: {ROUNDS} rounds of {RUNS} runs, or {SECONDS} s");
    report::head(&["program", "CPU, ms", "requests", "resident, kB", "at most, kB"]);
    // The last figures are what freebox_monitor.py itself took.
    for (model, name, quoted) in [(Model::Fibre, "fibre", 226.0), (Model::Dsl, "DSL", 117.0)] {
        let lab = Lab::builder().hosts(0).build();
        let freebox = Freebox::start(&lab.internet, model);
        let endpoint = format!("freebox.endpoint={}", lab.internet.v4);
        let _front = cfg!(feature = "tls").then(|| front(&lab));
        let setup = Setup::new(&lab)
            .uci("gatemeter", "config freebox 'freebox'\n\toption status 'all'\n\toption interval '1'\n")
            .flags(&["-e", "--collectors", "freebox", "--textfile", "none", "-o", &endpoint, "-o", TLS]);
        let path = setup.dir().join("state/freebox.json");
        fs::write(&path, freebox.credentials()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let once = per_run(RUNS, || assert_eq!(setup.run(&["once", "-f", "influxdb"]).status.code(), Some(0)));
        let requests = |work: &dyn Fn()| {
            let before = freebox.requests().len();
            work();
            (freebox.requests().len() - before).to_string()
        };
        let asked = requests(&|| drop(setup.run(&["once"])));
        report::line(&[&format!("gatemeter once, all groups, {name}"), &once.text(), &asked, "", ""]);
        let mut peers = Vec::new();
        if !cfg!(feature = "tls") {
            let url = format!("http://{}", lab.internet.v4);
            let script = || {
                let output = lab.router.must(&["/usr/bin/python3", SCRIPT, &url, &path.display().to_string()]);
                assert!(output.lines().count() > 50, "{output}");
            };
            let theirs = per_run(SCRIPT_RUNS, script);
            // Of all children it is the largest by far.
            let most = shown(largest_child_kb() as f64);
            report::line(&[&format!("the script, all groups, {name}"), &theirs.text(), &requests(&script), "", &most]);
            peers.push(Peer::new("a script in its way", theirs.median()));
        }
        peers.push(Peer::quoted("freebox_monitor.py", quoted));
        let what = format!("freebox: CPU of a run, all groups, {name}");
        summary.row(&what, Budget::AtMost(8.0), "ms", &once, &peers);
        // The script leaves its sessions open.
        let sessions = freebox.sessions().len();
        let daemon = setup.start();
        daemon.wait_until("everything was read", |metrics| metrics.get("freebox_up{section=\"vpnclient\"}").map(drop));
        let rounds = (0..ROUNDS).map(|_| {
            let (before, count) = (cpu_nanoseconds(daemon.pid()), freebox.count("connection"));
            thread::sleep(Duration::from_secs(SECONDS));
            (cpu_nanoseconds(daemon.pid()) - before) as f64 / 1e6 / (freebox.count("connection") - count) as f64
        });
        let rounds: Rounds = rounds.collect();
        let memory = ["VmRSS:", "VmHWM:"].map(|name| shown(status_kb(daemon.pid(), name) as f64));
        let program = format!("gatemeter daemon, each collection, {name}");
        report::line(&[&program, &rounds.text(), "", &memory[0], &memory[1]]);
        assert!(process::poll(PATIENCE, || (freebox.sessions().len() == sessions + 1).then_some(())).is_some());
    }
    println!();
}

/// Milliseconds of CPU that a run takes, of all rounds.
fn per_run(runs: u32, run: impl Fn()) -> Rounds {
    let round = |_| {
        let before = children_ms();
        (0..runs).for_each(|_| run());
        (children_ms() - before) / f64::from(runs)
    };
    (0..ROUNDS).map(round).collect()
}

/// With TLS there is no sense in checking a certificate that was made for the occasion.
const TLS: &str = if cfg!(feature = "tls") { "freebox.tls_verify=0" } else { "freebox.tls=off" };

/// What speaks TLS in front of the box, with a key as boxes have them.
fn front(lab: &Lab) -> process::Background {
    let dir = lab.dir().display();
    let key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -days 1 -subj /CN=box";
    lab.internet.must(&["sh", "-c", &format!("cd {dir} && openssl {key} -keyout key.pem -out cert.pem")]);
    let listen =
        format!("OPENSSL-LISTEN:443,bind=198.51.100.10,fork,reuseaddr,verify=0,cert={dir}/cert.pem,key={dir}/key.pem");
    let front = lab.internet.start(&["socat", &listen, "TCP:198.51.100.10:80"], &lab.dir().join("socat.log"));
    let listens = || lab.internet.must(&["ss", "-Hltn", "sport = :443"]).contains("LISTEN").then_some(());
    process::poll(PATIENCE, listens).expect("socat does not start");
    front
}
