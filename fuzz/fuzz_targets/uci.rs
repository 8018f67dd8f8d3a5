//! Any bytes as a UCI file: no panic, and what is read is read the same after it is written out plainly.

#![no_main]

use gatemeter::config::uci::{Package, Value, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(package) = parse("fuzz", text) else { return };
    let written = write(&package);
    let again = parse("fuzz", written.as_bytes()).unwrap_or_else(|error| panic!("{error} in {written:?}"));
    assert_eq!(without_lines(package), without_lines(again), "{written:?}");
});

/// The package with each section in one piece and everything quoted.
fn write(package: &Package) -> String {
    let mut text = String::new();
    for section in &package.sections {
        let name = if section.anonymous { String::new() } else { quoted(&section.name) };
        text += &format!("config {} {name}\n", quoted(&section.kind));
        for option in &section.options {
            match &option.value {
                Value::Text(value) => text += &format!("option {} {}\n", option.name, quoted(value)),
                Value::List(items) => {
                    for item in items {
                        text += &format!("list {} {}\n", option.name, quoted(item));
                    }
                }
            }
        }
    }
    text
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

fn without_lines(mut package: Package) -> Package {
    for section in &mut package.sections {
        section.line = None;
        for option in &mut section.options {
            option.line = None;
        }
    }
    package
}
