//! The package for OpenWrt as opkg, procd and the user meet it: what is in it, what installing it leaves, what the service
//! script tells procd, and whether the installed program runs. And its homes elsewhere: systemd, NixOS and Docker.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../lab/mod.rs"]
mod lab;

mod configuration;
mod elsewhere;
mod emulated;
mod installed;
mod ipk;
mod privileges;
mod service;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The source tree.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of the source tree.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(source(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program that `make cross` has built.
fn program(target: &str) -> PathBuf {
    let path = source(&format!("dist/gatemeter-{target}-unknown-linux-musl"));
    assert!(path.exists(), "{} is not there: run make cross, or .ci/cross {target}-unknown-linux-musl", path.display());
    path
}

/// Runs a program to its end: exit code, standard output, standard error.
fn run(command: Command) -> (Option<i32>, String, String) {
    let output = lab::process::run(command, "", lab::process::LIMIT).unwrap_or_else(|problem| panic!("{problem}"));
    (output.status.code(), output.stdout, output.stderr)
}

/// A directory that is gone when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gatemeter-package-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Writes a file, with the directories above it.
    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// What a file holds.
    fn read(&self, path: &str) -> String {
        let path = self.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
