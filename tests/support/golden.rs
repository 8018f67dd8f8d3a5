//! Files in tests/golden that hold what a page was; `BLESS=1` rewrites them: look at the difference before it is committed.

use std::fs;
use std::path::PathBuf;

/// Compares with the file of this name, or rewrites it if so asked.
#[track_caller]
pub fn equals_golden(name: &str, text: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let difference = expected.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(expected == text, "{name} differs at {difference:#?}; BLESS=1 rewrites it");
}
