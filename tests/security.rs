//! What gatemeter may do, what it leaves on disk, and what it tells whom: the tables of docs/security.md, held against a real
//! daemon.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod harness;
mod lab;

#[path = "page/home.rs"]
#[allow(dead_code, reason = "shared with the tests of the page")]
mod home;

#[path = "security/browsers.rs"]
mod browsers;
#[path = "security/files.rs"]
mod files;
#[path = "security/memory.rs"]
mod memory;
#[path = "security/privileges.rs"]
mod privileges;

/// The rows of a table of docs/security.md between its markers, cells without back-ticks.
fn table(marker: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md")).unwrap();
    let part = text.split(&format!("<!-- {marker}:begin -->")).nth(1).unwrap();
    let part = part.split(&format!("<!-- {marker}:end -->")).next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}
