//! What the `freebox` collector costs against a simulated box: a run of `once` with every group, as telegraf would start
//! it, and the daemon that keeps its session; and what the program weighs. `make bench` runs it; it takes root. With
//! `--features tls` the fibre box is spoken to over HTTPS, with OpenSSL (socat) in front of it.
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

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use harness::{PATIENCE, Setup};
use lab::freebox::{Freebox, Model};
use lab::{Lab, process};

const ROUNDS: usize = 5;
/// Runs of `once` in a round.
const RUNS: u32 = 100;
/// Seconds of a round with the daemon, which collects once in each.
const SECONDS: u64 = 20;

fn main() {
    println!("freebox: CPU, {ROUNDS} rounds, median [lowest, highest]\n");
    println!("{:<44} {:>26} {:>12} {:>12}", "program", "ms", "resident kB", "at most kB");
    for (model, name) in [(Model::Fibre, "fibre"), (Model::Dsl, "DSL")] {
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
        let once = (0..ROUNDS).map(|_| {
            let before = children_ms();
            for _ in 0..RUNS {
                assert_eq!(setup.run(&["once", "-f", "influxdb"]).status.code(), Some(0));
            }
            (children_ms() - before) / f64::from(RUNS)
        });
        print(&format!("gatemeter once, all groups, {name}"), once.collect(), None);
        let asked = freebox.requests().len();
        setup.run(&["once"]);
        println!("  {} requests", freebox.requests().len() - asked);
        let daemon = setup.start();
        daemon.wait_until("everything was read", |metrics| metrics.get("freebox_up{section=\"vpnclient\"}").map(drop));
        let rounds = (0..ROUNDS).map(|_| {
            let (before, count) = (cpu_ms(daemon.pid()), freebox.count("connection"));
            thread::sleep(Duration::from_secs(SECONDS));
            (cpu_ms(daemon.pid()) - before) / (freebox.count("connection") - count) as f64
        });
        let rounds = rounds.collect();
        print(&format!("gatemeter daemon, each collection, {name}"), rounds, Some(daemon.pid()));
        assert!(process::poll(PATIENCE, || (freebox.sessions().len() == 1).then_some(())).is_some());
    }
    let binary = harness::binary();
    println!("\n{}: {} bytes", binary.display(), fs::metadata(&binary).unwrap().len());
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

fn print(what: &str, mut rounds: Vec<f64>, pid: Option<u32>) {
    rounds.sort_by(f64::total_cmp);
    let ms = format!("{:.2} [{:.2}, {:.2}]", rounds[rounds.len() / 2], rounds[0], rounds[rounds.len() - 1]);
    let memory = |name| pid.map(|pid| status(pid, name)).unwrap_or_default();
    println!("{what:<44} {ms:>26} {:>12} {:>12}", memory("VmRSS:"), memory("VmHWM:"));
}

fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().to_owned()
}

/// CPU time of the threads of a process, in milliseconds.
fn cpu_ms(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ns = |task: fs::DirEntry| -> f64 {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    tasks.map(|task| ns(task.unwrap())).sum::<f64>() / 1e6
}

/// CPU time of all children that have ended, in milliseconds (proc_pid_stat(5), fields 16 and 17).
fn children_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    [14, 15].iter().map(|field| fields[*field].parse::<f64>().unwrap() * 10.0).sum()
}
