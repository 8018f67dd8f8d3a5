//! Names of hosts from a lease file that a real dnsmasq writes, and what the log says of a file that breaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption must stop the test")]

mod lab;

#[path = "support/tmpfs.rs"]
mod tmpfs;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gatemeter::names::directory::Settings;
use gatemeter::names::{Directory, Mac, Names, Sources};
use lab::dhcp::DhcpServer;
use lab::{Lab, process};
use tmpfs::on_small_tmpfs;

#[test]
fn a_client_of_a_real_dnsmasq_is_known_by_the_name_it_gave() {
    let lab = Lab::builder().hosts(1).build();
    let server = DhcpServer::start(&lab);
    let host = lab.host(1);
    let addr = server.lease(host, "tablet");

    let leases = vec![server.leases().to_owned()];
    let mut names = Names::new(Sources { uci_dir: lab.dir().to_owned(), leases, hosts: Vec::new() });
    // dnsmasq answers first and writes the file right after.
    let read = process::poll(process::LIMIT, || names.refresh().then_some(()));
    assert!(read.is_some(), "no name in {:?}", fs::read_to_string(server.leases()));
    assert_eq!(names.of(Some(&Mac(host.mac)), &IpAddr::V6(host.v6)), Some("tablet"));
    assert_eq!(names.of(None, &IpAddr::V4(addr)), Some("tablet"));
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
    let leases = dir.0.join("none");
    for text in ["1 02:00:00:00:00:01 10.0.0.1 tv *\n? \n1 02:00:00:00:00:02\n", "10.0.0.1 tv\n"] {
        fs::write(&leases, text).unwrap();
        names.refresh();
        names.refresh();
    }
    let broken = format!("WARN names: {}:1: EOF with unterminated '; names known from it are kept", dhcp.display());
    let mended = format!("INFO names: {} is in order again", dhcp.display());
    let leases = leases.display();
    let malformed = format!("WARN names: {leases}:2: this line and another one are in no known format and left out");
    let well = format!("INFO names: {leases} is in order again");
    assert_eq!(*LINES.0.lock().unwrap(), [broken.clone(), mended, broken, malformed, well]);
}

/// Twenty clients with names as long as names may be, from leases in `files`, and the cache below `dir`.
fn twenty_clients(files: &Dir, dir: &Path) -> Directory {
    let lease = |n: u8| format!("1 02:00:00:00:00:{n:02x} 10.0.0.{n} {} *\n", "x".repeat(255));
    let leases = files.0.join("leases");
    fs::write(&leases, (1..=20).map(lease).collect::<String>()).unwrap();
    let sources = Sources { uci_dir: "/nonexistent".into(), leases: vec![leases], hosts: Vec::new() };
    let mut directory = Directory::new(Settings { sources, cache: Some(dir.join("names")), reverse_dns: None });
    let now = Instant::now();
    directory.refresh(now);
    (1..=20).for_each(|n| directory.learned(Some(&Mac([2, 0, 0, 0, 0, n])), &[10, 0, 0, n].into(), now));
    directory
}

#[test]
fn a_full_disk_keeps_the_old_cache_and_all_names() {
    let name = "a_full_disk_keeps_the_old_cache_and_all_names";
    let old = "# gatemeter names 1\n- old 10.9.0.1\n";
    let prepare = "printf '# gatemeter names 1\\n- old 10.9.0.1\\n' >/mnt/names && \
                   cat /dev/zero 2>&1 >/mnt/filler | grep -q 'No space left'";
    let Some(dir) = on_small_tmpfs(name, prepare) else { return };
    let files = Dir::new(name);
    let mut directory = twenty_clients(&files, &dir);
    directory.save(Instant::now());
    assert_eq!(fs::read_to_string(dir.join("names")).unwrap(), old);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    assert!(directory.name(None, &IpAddr::from([10, 0, 0, 20])).is_some());
    fs::remove_file(dir.join("filler")).unwrap();
    directory.refresh(Instant::now());
    directory.refresh(Instant::now() + Duration::from_secs(3600));
    let written = fs::read_to_string(dir.join("names")).unwrap();
    assert!(written.lines().count() == 22 && written.contains("- old 10.9.0.1\n"), "{written}");
}

#[test]
fn a_read_only_disk_costs_the_cache_and_nothing_else() {
    let name = "a_read_only_disk_costs_the_cache_and_nothing_else";
    let Some(dir) = on_small_tmpfs(name, "mount -o remount,ro /mnt") else { return };
    let files = Dir::new(name);
    let mut directory = twenty_clients(&files, &dir.join("state"));
    directory.save(Instant::now());
    directory.refresh(Instant::now() + Duration::from_secs(3600));
    assert!(directory.name(None, &IpAddr::from([10, 0, 0, 20])).is_some());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
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
