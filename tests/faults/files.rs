//! Places for files that are full or cannot be written: counting goes on, what was written stays whole, it is told once, and
//! it is made up for when there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Lab, PATIENCE, Samples, Setup, process, setup, setup_of};
use crate::exposition;
use crate::harness::{Documented, http};

/// A daemon that sees a file system of its own on `disk`, so that nothing stays mounted whatever happens to the test.
struct Apart<'a> {
    setup: Setup<'a>,
    lab: &'a Lab,
    disk: PathBuf,
    daemon: process::Background,
}

impl<'a> Apart<'a> {
    /// Starts it behind `prepare`, a shell command to which `$0` is the directory; `disk` is where it will be.
    fn start(lab: &'a Lab, setup: Setup<'a>, disk: &Path, prepare: &str) -> Self {
        let plain = setup.command();
        let script = format!("mount -t tmpfs -o size=64k tmpfs \"$0\" && {prepare} && exec \"$@\"");
        let mut command = lab.router.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &script]).arg(disk);
        command.arg(plain.get_program()).args(plain.get_args()).current_dir(setup.dir());
        let log = fs::File::options().create(true).append(true).open(setup.dir().join("stderr")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = process::Background::adopt(command.spawn().unwrap(), setup.shown());
        Apart { setup, lab, disk: disk.to_owned(), daemon }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.setup.dir().join("stderr")).unwrap()
    }

    /// The directory as the daemon sees it.
    fn inside(&self) -> PathBuf {
        let root = Path::new("/proc").join(self.daemon.pid().to_string()).join("root");
        root.join(self.disk.strip_prefix("/").unwrap())
    }

    /// Runs a program that sees what the daemon sees.
    fn run(&self, program: impl AsRef<Path>, words: &[&str]) -> process::Output {
        let mut command = self.lab.router.command("nsenter");
        command.args(["--mount", "--target", &self.daemon.pid().to_string()]).arg(program.as_ref()).args(words);
        process::run(command, "", PATIENCE).unwrap()
    }

    fn check(&self) -> process::Output {
        let plain = self.setup.command();
        let mut words: Vec<&str> = plain.get_args().map(|word| word.to_str().unwrap()).collect();
        words.push("check");
        self.run(Path::new(plain.get_program()), &words)
    }

    /// The metrics, none before it serves.
    fn metrics(&self) -> Samples {
        let address = (std::net::Ipv4Addr::LOCALHOST, 9999).into();
        let page = http::get(&self.lab.router, address, "/metrics", &[]).map(|page| page.text());
        page.and_then(|page| exposition::parse(&page)).unwrap_or_default()
    }
}

#[test]
fn a_full_disk_leaves_the_last_whole_page_is_told_once_and_recovered_from() {
    let told = Documented::of("Full /tmp");
    let lab = Lab::builder().hosts(1).build();
    let disk = lab.dir().join("disk");
    fs::create_dir(&disk).unwrap();
    let setup = setup(&lab).flags(&["--textfile", &disk.join("prom_c").display().to_string()]);
    let daemon = Apart::start(&lab, setup, &disk, ":");
    let stderr = || daemon.stderr();
    let last_success =
        || daemon.metrics().get("gatemeter_collector_last_success_timestamp_seconds{collector=\"traffic\"}").copied();
    let page = || fs::read_to_string(daemon.inside().join("prom_c")).ok();
    assert!(process::poll(PATIENCE, page).is_some(), "{}", stderr());

    // Everything that is left on the disk goes to another file.
    let filler = daemon.inside().join("filler");
    let fill = || {
        let mut file = fs::File::options().create(true).append(true).open(&filler).unwrap();
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok() {}
    };
    fill();
    let full_told = || stderr().contains("No space left on device").then_some(());
    assert!(process::poll(PATIENCE, full_told).is_some(), "{}", stderr());
    let (full, at) = (page().unwrap(), last_success().unwrap());
    exposition::parse(&full).unwrap();
    // What the daemon could write before it ran out of room is free again.
    let check = || {
        fill();
        Some(daemon.check()).filter(|check| check.status.code() == Some(1))
    };
    told.by_check(&process::poll(PATIENCE, check).expect("check finds nothing wrong"));
    let later = || last_success().filter(|now| *now > at + 3.0);
    assert!(process::poll(PATIENCE, later).is_some(), "collections go on: {}", stderr());
    told.by_samples(|| daemon.metrics());
    assert_eq!(page().unwrap(), full, "the last whole page stays");
    assert_eq!(stderr().matches("ERROR").count(), 1, "{}", stderr());
    let names: Vec<_> = fs::read_dir(daemon.inside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    fs::remove_file(&filler).unwrap();
    told.by_log(stderr);
    assert!(process::poll(PATIENCE, || (page()? != full).then_some(())).is_some(), "{}", stderr());
}

#[test]
fn a_state_directory_that_cannot_be_written_costs_names_at_a_restart_and_nothing_else() {
    let told = Documented::of("Read-only state directory");
    let lab = Lab::builder().hosts(1).nat().build();
    let disk = lab.dir().join("disk");
    fs::create_dir(&disk).unwrap();
    let leases = lab.dir().join("leases");
    fs::write(&leases, format!("4000000000 {} {} laptop *\n", lab.host(1).mac_text(), lab.host(1).v4)).unwrap();
    let [state, leases] = [("main.state_dir", &disk), ("clients.leases", &leases)]
        .map(|(name, path)| format!("{name}={}", path.display()));
    let setup = setup_of(&lab, "traffic,clients").uci("dhcp", "").flags(&["-o", &state, "-o", &leases]);
    let daemon = Apart::start(&lab, setup.clone(), &disk, "mount -o remount,ro \"$0\"");
    told.by_samples(|| daemon.metrics());
    let check = daemon.check();
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    told.by_check(&check);
    // Names are written when it ends, at the latest.
    let mut daemon = daemon;
    daemon.daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.daemon.wait(PATIENCE).code(), Some(0));
    told.by_log(|| daemon.stderr());
    assert_eq!(daemon.stderr().matches("Read-only file system").count(), 1, "{}", daemon.stderr());
}
