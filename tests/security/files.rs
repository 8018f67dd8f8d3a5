//! What a run with all collectors leaves on disk, with which mode, whoever has started it with what mask.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{PATIENCE, Setup};
use crate::home::{self, Home};
use crate::lab::Lab;
use crate::lab::process::{Background, poll};
use crate::table;

/// Adds what there is below a directory, and the directory itself, under names that begin with `name`.
fn walk(path: &Path, name: &str, found: &mut BTreeMap<String, PathBuf>) {
    found.insert(name.to_owned(), path.to_owned());
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), &inner, found),
            false => drop(found.insert(inner, entry.path())),
        }
    }
}

/// The daemon with all collectors behind a shell that sets its mask.
fn command(lab: &Lab, setup: &Setup<'_>, mask: &str) -> Command {
    let plain = setup.command();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &lab.router.netns, "sh", "-c", "umask $0; exec \"$@\"", mask]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(setup.dir());
    command
}

#[test]
fn all_that_a_run_leaves_is_in_the_table_and_as_it_says() {
    let rows = table("files");
    let mut seen = vec![false; rows.len()];
    let lab = Lab::builder().hosts(7).build();
    let _home = Home::new(&lab);
    // 777 would leave us no directory that we may enter ourselves.
    for mask in ["000", "022", "777"] {
        let setup = Home::setup(&lab);
        let (state, files, pins) = (setup.dir().join("state"), setup.dir().join("files"), lab.bpffs().join(mask));
        // The state directory is made by whoever needs it first.
        fs::remove_file(state.join("freebox.json")).unwrap();
        fs::remove_dir_all(&state).unwrap();
        fs::create_dir(&files).unwrap();
        let pin_dir = format!("traffic.pin_dir={}", pins.display());
        let setup = setup.flags(&["--textfile-dir", files.to_str().unwrap(), "-o", &pin_dir]);
        let mut register = command(&lab, &setup, mask);
        register.args(["freebox", "register"]);
        let registered = crate::lab::process::run(register, "", PATIENCE).unwrap();
        assert!(registered.status.success(), "{registered:?}");
        let log = setup.dir().join("stderr");
        let mut daemon = Background::start(command(&lab, &setup, mask), &log).unwrap();
        assert!(lab.host(1).pings(lab.internet.v4, 1));
        let page = || fs::read_to_string(setup.textfile()).unwrap_or_default();
        let names = ["traffic", "clients", "probe", "homeplug", "freebox"];
        let is_up = |name: &&str| page().contains(&format!("gatemeter_collector_up{{collector=\"{name}\"}} 1"));
        let ready = poll(PATIENCE, || (names.iter().all(is_up) && page().contains("client_status{")).then_some(()));
        assert!(ready.is_some(), "{}\n{}", fs::read_to_string(&log).unwrap(), page());
        let mut found = BTreeMap::new();
        let look = |found: &mut BTreeMap<String, PathBuf>| {
            for (path, name) in [(&state, "state_dir"), (&files, "textfile_dir"), (&pins, "pin_dir")] {
                walk(path, name, found);
            }
            // What is beside the text file is the tests' own, but for its name.
            found.insert("textfile".into(), setup.textfile());
        };
        look(&mut found);
        check(&rows, &mut seen, &found, mask);
        daemon.signal(libc::SIGTERM);
        assert!(daemon.wait(PATIENCE).success());
        // The name cache is written now, and text files are gone.
        let mut left = BTreeMap::new();
        look(&mut left);
        left.remove("textfile");
        assert!(!setup.textfile().exists() && !left.keys().any(|name| name.ends_with(".prom")), "{left:?}");
        check(&rows, &mut seen, &left, mask);
        let cleaned = setup.run(&["clean"]);
        assert!(cleaned.status.success() && !pins.exists(), "{cleaned:?}");
    }
    let unseen: Vec<_> = rows.iter().zip(&seen).filter(|(_, seen)| !**seen).collect();
    assert!(unseen.is_empty(), "the table has what no run leaves: {unseen:?}");
}

/// Compares what was found with the rows that name it; a `*` at the end of a name stands for anything.
#[track_caller]
fn check(rows: &[Vec<String>], seen: &mut [bool], found: &BTreeMap<String, PathBuf>, mask: &str) {
    for (name, path) in found {
        let is_it = |row: &&Vec<String>| match row[0].split_once('*') {
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
            None => row[0] == *name,
        };
        let at = rows.iter().position(|row| is_it(&row)).unwrap_or_else(|| panic!("{name} is not in the table"));
        let there = fs::symlink_metadata(path).unwrap();
        // That directory is made by the test.
        if name != "textfile_dir" {
            // What the mask denies others stays denied of a directory.
            let denied = if there.is_dir() { u32::from_str_radix(mask, 8).unwrap() & 0o077 } else { 0 };
            let wanted = u32::from_str_radix(&rows[at][1], 8).unwrap() & !denied;
            let mode = there.permissions().mode() & 0o7777;
            let found = (format!("{mode:04o}"), there.uid(), there.gid());
            assert_eq!(found, (format!("{wanted:04o}"), 0, 0), "{name} under umask {mask}");
        }
        seen[at] = true;
    }
}

#[test]
fn a_state_directory_of_another_user_is_left_alone_and_told_of() {
    let lab = Lab::builder().hosts(1).build();
    let setup = home::basic(&lab).flags(&["--collectors", "clients"]).uci("dhcp", &home::lease("laptop", lab.host(1)));
    let state = setup.dir().join("state");
    std::os::unix::fs::chown(&state, Some(65534), Some(65534)).unwrap();
    let mut daemon = setup.start();
    assert!(lab.host(1).pings(lab.internet.v4, 1));
    daemon.wait_until("the client", |metrics| {
        metrics.keys().any(|series| series.contains("client=\"laptop\"")).then_some(())
    });
    assert!(daemon.stop().success());
    let said = daemon.stderr();
    assert!(said.contains("Permission denied") && said.contains("let our user write to"), "{said}");
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
}

#[test]
fn a_token_of_another_user_is_not_used() {
    let lab = Lab::builder().hosts(0).build();
    let setup = Setup::new(&lab).flags(&["--collectors", "freebox", "-o", "freebox.endpoint=198.51.100.10"]);
    let path = setup.dir().join("state/freebox.json");
    fs::write(&path, "{\"app_token\": \"aaaaaaaaaaaaaaaaaaaaaaaa\", \"track_id\": \"1\"}").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let status = setup.run(&["freebox", "status"]);
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    let said = format!("{}{}", status.stdout, status.stderr);
    assert!(said.contains("it belongs to another user (number 65534)"), "{said}");
}
