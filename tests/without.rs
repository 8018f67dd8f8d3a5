//! A program that was built with the collector `clients` alone: whoever asks for another one is told in one line.
//!
//! `make unit` builds it; a program that has all collectors has nothing to say here.

#![cfg(not(any(feature = "traffic", feature = "probe", feature = "homeplug", feature = "freebox")))]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use gatemeter::collectors::ALL;
use gatemeter::config::schema::LEFT_OUT;

/// A configuration file that is gone when the test is over.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatemeter-without-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        Config(path)
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatemeter"));
        command.arg("-c").arg(&self.0).args(["--textfile", "none"]).args(words).output().unwrap()
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_is_not_built_in_is_listed() {
    assert_eq!(ALL.iter().map(|row| row.name).collect::<Vec<_>>(), ["clients"]);
    assert_eq!(LEFT_OUT, ["traffic", "probe", "homeplug", "freebox"]);
}

#[test]
fn flags_and_commands_of_a_collector_that_is_not_built_in_end_with_2_and_one_line() {
    let config = Config::new("flags", "");
    for (words, place, collector) in [
        (&["-4", "192.168.1.1/24/br-lan"][..], "-4", "traffic"),
        (&["-6", "2001:db8::/64"], "-6", "traffic"),
        (&["-o", "traffic.max_hosts=10"], "-o", "traffic"),
        (&["-o", "target.address=192.0.2.1"], "-o", "probe"),
        (&["--collectors", "clients,freebox"], "--collectors", "freebox"),
        (&["once", "homeplug"], "once", "homeplug"),
        (&["ping", "192.0.2.1"], "ping", "probe"),
        (&["homeplug"], "homeplug", "homeplug"),
        (&["freebox", "status"], "freebox", "freebox"),
    ] {
        let output = config.run(words);
        let line = format!("gatemeter: {place}: this program was built without the collector '{collector}'\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line, "{words:?}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &[][..]), "{words:?}");
    }
}

#[test]
fn a_file_that_turns_one_on_is_told_once_for_each_collector_and_check_lists_them_all() {
    let config = Config::new(
        "file",
        "config traffic 'traffic'\n\toption enabled '0'\n\
         config probe 'probe'\n\toption enabled '1'\n\
         config target\n\toption address '192.0.2.1'\n\
         config target\n\toption address '192.0.2.2'\n",
    );
    let output = config.run(&["check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let about = |subject: &str| text.lines().filter(|line| line.starts_with(subject)).collect::<Vec<_>>().join("\n");
    let told = "this program was built without the collector";
    let place = config.0.display();
    assert!(about("config").contains(&format!("{place}:3: {told} 'probe'")), "{text}");
    assert_eq!(about("config").matches(told).count(), 1, "{text}");
    for collector in LEFT_OUT {
        assert_eq!(about(collector), format!("{collector:<9} note    {told} '{collector}'"), "{text}");
    }
}
