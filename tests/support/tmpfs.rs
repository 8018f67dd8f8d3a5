//! A small file system of its own for one test, in a mount namespace of its own.

#![allow(clippy::disallowed_methods, reason = "tests run this program again inside a mount namespace")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells the copy of the test program from the original.
const ENVIRONMENT: &str = "GATEMETER_TEST_TMPFS";

/// Runs the test of this name again where `/mnt` is an empty tmpfs of 64 kB, after `prepare` in a shell.
/// Returns the directory in the copy, which is to do the work, and nothing in the original.
pub fn on_small_tmpfs(name: &str, prepare: &str) -> Option<PathBuf> {
    if std::env::var_os(ENVIRONMENT).is_some() {
        return Some(Path::new("/mnt").to_path_buf());
    }
    let script = format!("mount -t tmpfs -o size=64k,mode=1777 none /mnt && {prepare} && exec \"$0\" \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ENVIRONMENT, "1")
        .output()
        .expect("unshare, from the package util-linux");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "needs root for a mount namespace:\n{}", String::from_utf8_lossy(&text));
    None
}
