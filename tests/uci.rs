//! Our UCI reader against written-down cases and against OpenWrt's real libuci.
//!
//! `tests/uci/cases.txt` holds what libuci makes of each input. The comparison with the library itself builds this
//! same file a second time with the feature `libuci`, where `source::load` asks the library.

#![allow(clippy::disallowed_methods)] // Compilers and cargo are run here; the daemon runs nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed assumption should stop a test.

use std::fs;
use std::path::{Path, PathBuf};

use gatemeter::config::source;
use gatemeter::config::uci::{self, Package, Value};

/// What an input gives: the lines of `cases.txt` behind `>`, or behind `!`.
#[derive(Debug, PartialEq)]
enum Outcome {
    Read(Vec<String>),
    Refused { line: u32, reason: String },
}

struct Case {
    title: String,
    text: Vec<u8>,
    outcome: Outcome,
}

#[test]
fn every_written_case_reads_as_libuci_reads_it() {
    let cases = cases();
    assert_eq!(cases.len(), 62);
    for case in cases {
        assert_eq!(parsed(&case.text), case.outcome, "{}", case.title);
    }
}

#[test]
fn every_written_case_loads_the_same_from_a_file() {
    let dir = Dir::new("cases");
    for case in cases() {
        assert_eq!(sorted(loaded(&dir.file(&case.text))), sorted(case.outcome), "{}", case.title);
    }
}

#[test]
#[cfg(not(feature = "libuci"))]
fn the_real_libuci_reads_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libuci");
    let built = std::process::Command::new(root.join("tests/uci/build-libuci.sh")).arg(&libraries).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let tests = std::process::Command::new(env!("CARGO"))
        .args(["test", "--features", "libuci", "--test", "uci"])
        .current_dir(root)
        .env("UCI_LIB_DIR", libraries.join("lib"))
        .env("LD_LIBRARY_PATH", libraries.join("lib"))
        .output()
        .unwrap();
    assert!(
        tests.status.success(),
        "with libuci:\n{}\n{}",
        String::from_utf8_lossy(&tests.stdout),
        String::from_utf8_lossy(&tests.stderr)
    );
}

#[test]
#[cfg(feature = "libuci")]
fn libuci_and_our_reader_agree_on_generated_files() {
    let dir = Dir::new("generated");
    let (mut read, mut refused) = (0, 0);
    for seed in 0..1500 {
        let text = generated(seed);
        let mut ours = sorted(parsed(&text));
        match &mut ours {
            Outcome::Read(_) => read += 1,
            // libuci counts newlines, so it gives an unfinished last line the number of the one before.
            Outcome::Refused { line, .. } => {
                refused += 1;
                let newlines = text.iter().filter(|&&byte| byte == b'\n').count() as u32;
                *line = newlines.clamp(1, *line);
            }
        }
        let theirs = sorted(loaded(&dir.file(&text)));
        assert_eq!(ours, theirs, "seed {seed}: {}", text.escape_ascii());
    }
    // The comparison is worth little if the generator makes only one kind.
    assert!(read > 300 && refused > 300, "{read} read, {refused} refused");
}

/// The outcome with the options of each section by name: libraries of 22.03 put an option that is set again
/// behind the others, later ones leave it in place, and no setting depends on the order of different options.
fn sorted(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Read(mut lines) => {
            for options in lines.split_mut(|line| line.starts_with("section ")) {
                options.sort();
            }
            Outcome::Read(lines)
        }
        refused => refused,
    }
}

/// Words, quotes and traps.
#[cfg(feature = "libuci")]
const PIECES: [&[u8]; 56] = [
    b"config",
    b"config ",
    b"c ",
    b"\nconfig t ",
    b"\nconfig t a\n",
    b"\nconfig u\n",
    b"\nconfig u 'cfg0100b5'\n",
    b"option ",
    b"o ",
    b"\noption a ",
    b"\n\toption a b\n",
    b"\n\toption b 'c d'\n",
    b"\nlist a x\n",
    b"list ",
    b"l ",
    b"\n\tlist b ''\n",
    b"package ",
    b"p ",
    b"\npackage x-y\n",
    b"a",
    b"b",
    b"t",
    b"9_",
    b"-",
    b".",
    b"'",
    b"'",
    b"\"",
    b"\"",
    b"'x'",
    b"\"y\"",
    b"''",
    b"\\",
    b"\\'",
    b"\\\"",
    b"\\\\",
    b"\\\n",
    b"\\\r\n",
    b"\r",
    b"\n",
    b"\n",
    b"\r\n",
    b" ",
    b" ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b";",
    b"; ",
    b" ; ",
    b"#",
    b" # ",
    b"\xff",
    b"\xc3\xa9",
    b"\x01",
    b"a_long_plain_word_beyond_the_first_buffer_of_libuci",
];
/// Lines that keep enough of the files good.
#[cfg(feature = "libuci")]
const LINES: [&[u8]; 16] = [
    b"config t\n",
    b"config u 'b'\n",
    b"\tconfig t \"a\"; o k v\n",
    b"option a 'v'\n",
    b"option a ''\n",
    b"list a w\n",
    b"list b 'w\n\n\\' # c\n",
    b"option c d;option e f\n",
    b"option 'c' d ;option e 'f'\n",
    b"o d \"\\$x\\\n\" \r\n",
    b"o d e\\\nf\n",
    b"l e 'f'\"g\"h\\ i#j\n",
    b"l e\n",
    b"package x\n",
    b" # \\\n",
    b"\x0b\xff\n",
];

/// A file of commands, quotes and traps, the same for the same seed.
#[cfg(feature = "libuci")]
fn generated(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % limit
    };
    let mut text = Vec::new();
    // Most files start with a section: without one nearly all would be refused at once.
    if below(8) > 0 {
        text.extend_from_slice(b"config t a\n");
    }
    for _ in 0..below(12) {
        let pieces: &[&[u8]] = if below(4) > 0 { &LINES } else { &PIECES };
        text.extend_from_slice(pieces[below(pieces.len())]);
    }
    text
}

fn parsed(text: &[u8]) -> Outcome {
    match uci::parse("case", text) {
        Ok(package) => Outcome::Read(lines(&package)),
        Err(error) => Outcome::Refused { line: error.line, reason: error.reason.to_string() },
    }
}

fn loaded(path: &Path) -> Outcome {
    match source::load(path) {
        Ok(package) => Outcome::Read(lines(&package.expect("the file exists"))),
        Err(error) => {
            let text = error.to_string();
            let text = text.strip_prefix(&format!("{}:", path.display())).expect("the place is path:line");
            let (line, reason) = text.split_once(": ").expect("the line comes before the reason");
            Outcome::Refused { line: line.parse().expect("a line number"), reason: reason.to_owned() }
        }
    }
}

/// A package in the form of `cases.txt`.
fn lines(package: &Package) -> Vec<String> {
    let mut lines = Vec::new();
    for section in &package.sections {
        let anonymous = if section.anonymous { " anonymous" } else { "" };
        lines.push(format!("section {} {}{anonymous}", section.kind, section.name));
        for option in &section.options {
            lines.push(match &option.value {
                Value::Text(text) => format!("option {} {text:?}", option.name),
                Value::List(items) => {
                    let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
                    format!("list {} {}", option.name, items.join(" "))
                }
            });
        }
    }
    lines
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in include_str!("uci/cases.txt").lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let ("==", title) = (mark, rest) {
            cases.push(Case { title: title.to_owned(), text: Vec::new(), outcome: Outcome::Read(Vec::new()) });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match (mark, &mut case.outcome) {
            ("<", _) => {
                case.text.extend(unescaped(rest));
                case.text.push(b'\n');
            }
            ("<!", _) => case.text.extend(unescaped(rest)),
            (">", Outcome::Read(lines)) => lines.push(rest.to_owned()),
            ("!", outcome) => {
                let (line, reason) = rest.split_once(' ').expect("a line number and a reason");
                *outcome = Outcome::Refused { line: line.parse().expect("a line number"), reason: reason.to_owned() };
            }
            ("", _) => {}
            _ => panic!("cases.txt, line {}: no such mark", number + 1),
        }
    }
    cases
}

fn unescaped(text: &str) -> Vec<u8> {
    let text = text.replace("\\u{feff}", "\u{feff}");
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b's') => b' ',
                Some(b'\\') => b'\\',
                other => panic!("no such escape: {other:?}"),
            },
            byte => byte,
        });
    }
    bytes
}

/// A directory of its own for one test, gone when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, text: &[u8]) -> PathBuf {
        let path = self.0.join("case");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
