//! The token in the daemon's memory: in no core file, for no other process of its user, and in nothing that the kernel shows.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use crate::harness::{PATIENCE, Setup};
use crate::lab::freebox::{Freebox, Model};
use crate::lab::process::{self, Background};
use crate::lab::{Lab, Node};

/// A command in a node's namespace that leaves core files of any size.
fn with_core(node: &Node, words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &node.netns, "prlimit", "--core=unlimited:unlimited"]).args(words);
    command
}

/// Waits until it runs by this name and not as a program that only prepares for it.
fn wait_for_name(process: &Background, name: &str) {
    let is_there = || {
        let comm = fs::read_to_string(format!("/proc/{}/comm", process.pid())).ok()?;
        (comm.trim() == name).then_some(())
    };
    assert!(process::poll(PATIENCE, is_there).is_some(), "{name} does not run");
}

#[test]
fn an_abort_leaves_no_core_and_nobody_of_our_user_can_look_inside() {
    let lab = Lab::builder().hosts(0).build();
    let freebox = Freebox::start(&lab.internet, Model::Dsl);
    let endpoint = format!("freebox.endpoint={}", lab.internet.v4);
    let flags = ["--collectors", "freebox", "-o", &endpoint, "-o", "freebox.tls=off", "-o", "freebox.interval=1"];
    let setup = Setup::new(&lab).flags(&flags);
    let registered = setup.run(&["freebox", "register"]);
    assert!(registered.status.success(), "{registered:?}");
    let token = freebox.token();

    // Machines that leave no core of anything prove nothing.
    let dir = setup.dir();
    let mut other =
        with_core(&lab.router, &["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "sleep", "1000"]);
    other.current_dir(dir);
    let mut other = Background::start(other, &dir.join("other")).unwrap();
    wait_for_name(&other, "sleep");
    let look = |process: &Background| {
        // Root without any privilege: what a daemon of root's that was broken into still is.
        let environ = format!("/proc/{}/environ", process.pid());
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-all", "--inh-caps", "-all", "cat", &environ]);
        process::run(command, "", PATIENCE).unwrap()
    };
    assert!(look(&other).status.success(), "{:?}", look(&other));
    other.signal(libc::SIGABRT);
    assert!(other.wait(PATIENCE).core_dumped(), "this machine leaves no core files: see core(5)");

    let plain = setup.command();
    let mut words = vec![plain.get_program().to_str().unwrap()];
    words.extend(plain.get_args().map(|word| word.to_str().unwrap()));
    let mut command = with_core(&lab.router, &words);
    command.current_dir(dir);
    let mut daemon = Background::start(command, &dir.join("stderr")).unwrap();
    let up = "gatemeter_collector_up{collector=\"freebox\"} 1";
    let is_up = || fs::read_to_string(setup.textfile()).ok()?.contains(up).then_some(());
    assert!(process::poll(PATIENCE, is_up).is_some(), "{:?}", fs::read_to_string(dir.join("stderr")));
    for name in ["cmdline", "environ"] {
        let shown = fs::read(format!("/proc/{}/{name}", daemon.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&shown).contains(&token[..8]), "{name}");
    }
    let looked = look(&daemon);
    assert!(!looked.status.success() && looked.stderr.contains("Permission denied"), "{looked:?}");
    daemon.signal(libc::SIGABRT);
    let ended = daemon.wait(PATIENCE);
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(libc::SIGABRT), false));
}
