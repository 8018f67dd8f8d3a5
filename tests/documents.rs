//! What the documents say of options, metrics, flags and remedies is what the program has.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test crate")]
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "it asks the program for its usage, and mandoc")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatemeter::collectors::{ALL, SECTIONS};
use gatemeter::daemon::self_metrics;
use gatemeter::metrics::Kind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document for users, with its path from the root.
fn documents() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut paths: Vec<PathBuf> = pages.chain([root().join("README.md")]).collect();
    paths.sort();
    let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Words of a text that hold nothing but `allowed` and letters and digits.
fn words<'a>(text: &'a str, allowed: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(move |c: char| !(c.is_ascii_alphanumeric() || allowed.contains(c)))
        .map(|word| word.trim_matches('.'))
        .filter(|word| !word.is_empty())
}

#[test]
fn every_option_they_name_is_one() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for word in words(&text, "_.") {
            let Some((section, option)) = word.split_once('.') else { continue };
            let Some(known) = SECTIONS.iter().find(|known| known.name == section) else {
                continue;
            };
            // A file such as freebox.json, a domain such as freebox.fr.
            if ["8", "json", "fr", "init", "config", "service", "nix", "xz", "rs", "sh"].contains(&option)
                || option.contains('.')
            {
                continue;
            }
            if !known.options.iter().any(|one| one.name == option) {
                wrong.push(format!("{path}: there is no option {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_metric_they_name_is_one() {
    let known: BTreeSet<&str> =
        ALL.iter().flat_map(|row| row.metrics).chain(self_metrics::ALL).map(|desc| desc.name).collect();
    let histograms = ALL.iter().flat_map(|row| row.metrics).filter(|desc| matches!(desc.kind, Kind::Histogram));
    let parts: BTreeSet<String> =
        histograms.flat_map(|desc| ["bucket", "sum", "count"].map(|part| format!("{}_{part}", desc.name))).collect();
    let ours = ["node_nat_", "client_", "icmp_probe_", "tcp_probe_", "homeplug_", "freebox_", "gatemeter_"];
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        // What other programs call theirs stands in the left column there.
        let text = match path.as_str() {
            "docs/migrate.md" => {
                text.lines().filter_map(|line| line.split(" | ").nth(1)).collect::<Vec<_>>().join("\n")
            }
            _ => text,
        };
        for word in words(&text, "_*:.") {
            let is_name = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let looks = ours.iter().any(|prefix| word.starts_with(prefix));
            if is_name && looks && word != "homeplug_exporter" && !known.contains(word) && !parts.contains(word) {
                wrong.push(format!("{path}: there is no metric {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for (path, text) in documents().into_iter().chain([("ARCHITECTURE.md".into(), read("ARCHITECTURE.md"))]) {
        let dir = root().join(&path).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = if file.is_empty() { root().join(&path) } else { dir.join(file) };
            if !page.exists() {
                wrong.push(format!("{path}: there is no {target}"));
            } else if !anchor.is_empty() && !anchors(&fs::read_to_string(page).unwrap()).contains(anchor) {
                wrong.push(format!("{path}: no heading is #{anchor}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// What a heading is linked by: small letters, hyphens for spaces, nothing else but underscores.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(kept).collect()).collect()
}

/// String literals of the program that tell what to do: those of `remedy(...)`, up to the first value that is filled in.
fn remedies() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![root().join("src")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "rs") || path.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            for rest in code.split("remedy(").skip(1) {
                let rest = rest.trim_start().trim_start_matches("format!(").trim_start();
                let Some(rest) = rest.strip_prefix('"') else { continue };
                let literal = rest.split('"').next().unwrap().replace("\\\n", " ");
                let words: Vec<&str> = literal.split('{').next().unwrap().split_whitespace().collect();
                // Those that begin with a value are the value's.
                if !words.is_empty() {
                    found.insert(words.join(" "));
                }
            }
        }
    }
    assert!(found.len() > 30, "where have the remedies gone? {found:#?}");
    found
}

#[test]
fn troubleshooting_has_every_remedy() {
    // As it is printed: without marks of code, in any case, on one line.
    let plain = |text: &str| text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let page = plain(&read("docs/troubleshooting.md"));
    let missing: Vec<String> = remedies().into_iter().filter(|remedy| !page.contains(&plain(remedy))).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md lacks {missing:#?}");
}

/// What the program prints for `gatemeter WORDS... --help`.
fn help(words: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_gatemeter")).args(words).arg("--help").output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_manual_has_every_flag_and_command() {
    let manual = read("docs/gatemeter.8");
    let pages = [&[][..], &["once"], &["check"], &["clean"], &["ping"], &["homeplug"], &["freebox"]];
    let mut missing = Vec::new();
    for page in pages {
        let text = help(page);
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            for flag in words(line, "-").filter(|word| word.starts_with('-') && !word.trim_matches('-').is_empty()) {
                let flag = flag.trim_start_matches('-');
                if !manual.contains(&format!("Fl -{flag}")) && !manual.contains(&format!("Fl {flag}")) {
                    missing.push(flag.to_owned());
                }
            }
        }
        let commands = text.split("Commands:").nth(1).unwrap_or_default();
        for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let command = line.split_whitespace().next().unwrap();
            if !manual.contains(&format!("Cm {command}")) && !manual.contains(&format!("Cm freebox {command}")) {
                missing.push(command.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "docs/gatemeter.8 lacks {missing:#?}");
}

#[test]
fn the_manual_is_without_faults() {
    let out =
        Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(root().join("docs/gatemeter.8")).output();
    let out = out.expect("mandoc checks the manual page: apt-get install mandoc");
    assert!(out.status.success() && out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// What stands between two lines of Rust that begin with a brace: the body of a function and those it names in its file.
fn function<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = code.split_once(&format!("\nfn {name}("))?;
    rest.split("\n}\n").next()
}

#[test]
fn every_fault_has_a_test_that_reads_its_lines() {
    let page = read("docs/faults.md");
    let mut wrong = Vec::new();
    let mut held = BTreeSet::new();
    for section in page.split("\n#").skip(1) {
        let heading = section.lines().next().unwrap().trim_start_matches('#').trim();
        let quotes = section.lines().filter(|line| line.starts_with("    ")).count();
        let tests: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("Test: ")).collect();
        match (quotes, tests.as_slice()) {
            (0, []) => {}
            (0, _) | (_, [] | [_, _, ..]) => wrong.push(format!("{heading}: {quotes} lines and {} tests", tests.len())),
            (_, [test]) => {
                let (file, name) = test.split_once(' ').unwrap();
                let code = read(file);
                let asked = format!("\"{heading}\"");
                match function(&code, name.trim_matches('`')) {
                    Some(body) if body.contains(&asked) && code.contains("Documented::of(") => {
                        _ = held.insert(heading.to_owned())
                    }
                    Some(_) => wrong.push(format!("{heading}: {test} does not ask for {asked}")),
                    None => wrong.push(format!("{heading}: there is no test {test}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "docs/faults.md: {wrong:#?}");
    assert!(held.len() > 15, "{held:?}");
}
