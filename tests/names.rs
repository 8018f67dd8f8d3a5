//! Names of hosts from a lease file that a real dnsmasq writes, and what the log says of a file that breaks.

#![allow(clippy::disallowed_methods)] // Namespaces, dnsmasq and a DHCP client are run here; the daemon runs nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed assumption should stop a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gatemeter::names::{Names, Sources};

#[test]
fn a_client_of_a_real_dnsmasq_is_known_by_the_name_it_gave() {
    let dir = Dir::new("dnsmasq");
    let net = Namespaces::new();
    let leases = dir.0.join("leases");
    let _server = Server(
        net.command(&net.router, "dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--no-ping", "--user=root", "--pid-file="])
            .args(["--interface=lan", "--bind-interfaces", "--dhcp-range=10.77.0.10,10.77.0.50,1h"])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stderr(fs::File::create(dir.0.join("dnsmasq.log")).unwrap())
            .spawn()
            .expect("dnsmasq runs; apt-get install dnsmasq-base"),
    );
    let client = net
        .command(&net.client, "udhcpc")
        .args(["-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1", "-s", "/bin/true", "-x", "hostname:tablet"])
        .output()
        .expect("udhcpc runs; apt-get install udhcpc");
    assert!(client.status.success(), "{}{}", said(&client.stderr), said(&fs::read(dir.0.join("dnsmasq.log")).unwrap()));

    let mut names = Names::new(Sources { uci_dir: dir.0.clone(), leases: vec![leases.clone()], hosts: Vec::new() });
    // dnsmasq answers first and writes the file right after.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !names.refresh() {
        assert!(Instant::now() < deadline, "no name in {:?}", fs::read_to_string(&leases));
        sleep(Duration::from_millis(20));
    }
    assert_eq!(names.by_mac(&"02:00:00:00:77:01".parse().unwrap()), Some("tablet"));
    let lease = fs::read_to_string(&leases).unwrap();
    let addr = lease.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(names.by_addr(&addr), Some("tablet"));
}

#[test]
fn a_file_that_breaks_is_logged_once_and_once_again_when_it_is_mended() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let dir = Dir::new("logged");
    let dhcp = dir.0.join("dhcp");
    let mut names = Names::new(Sources { uci_dir: dir.0.clone(), leases: vec![dir.0.join("none")], hosts: Vec::new() });
    names.refresh();
    for text in ["config host 'one\n", "config host 'two  \n", "config host\n", "config host 'one\n"] {
        fs::write(&dhcp, text).unwrap();
        names.refresh();
        names.refresh();
    }
    let broken = format!("WARN names: {}:1: EOF with unterminated '; names known from it are kept", dhcp.display());
    let mended = format!("INFO names: {} is in order again", dhcp.display());
    assert_eq!(*LINES.0.lock().unwrap(), [broken.clone(), mended, broken]);
}

/// Keeps what is logged.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("gatemeter::names")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) && record.level() <= log::Level::Info {
            let line = format!("{} {}", record.level(), record.args());
            // The other test may log too; its files lie in another directory.
            if line.contains("/logged-") {
                self.0.lock().unwrap().push(line);
            }
        }
    }

    fn flush(&self) {}
}

/// A router and a client, each in its own network namespace, on one cable; gone when the test ends.
struct Namespaces {
    router: String,
    client: String,
}

impl Namespaces {
    fn new() -> Self {
        let name = |role| format!("gatemeter-names-{}-{role}", std::process::id());
        let net = Namespaces { router: name("router"), client: name("client") };
        let (router, client) = (&*net.router, &*net.client);
        ip(&["netns", "add", router]);
        ip(&["netns", "add", client]);
        ip(&[
            "link",
            "add",
            "lan",
            "netns",
            router,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            client,
            "address",
            "02:00:00:00:77:01",
        ]);
        ip(&["-n", router, "address", "add", "10.77.0.1/24", "dev", "lan"]);
        ip(&["-n", router, "link", "set", "lan", "up"]);
        ip(&["-n", client, "link", "set", "eth0", "up"]);
        net
    }

    fn command(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        // The child replaces `ip`, so ending it by its id ends the program itself.
        command.args(["netns", "exec", namespace, program]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in [&self.router, &self.client] {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs; apt-get install iproute2");
    assert!(output.status.success(), "ip {}: {}run as root", arguments.join(" "), said(&output.stderr));
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of its own for one test, gone when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
