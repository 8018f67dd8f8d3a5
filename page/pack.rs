//! Builds the live page: style and script are put into the document, which is compressed; the policy that goes with it
//! names both by digest, so a browser runs these and nothing else. Part of the build script.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// The parts of the script, in this order.
const SCRIPTS: [&str; 6] = ["words.js", "memory.js", "draw.js", "model.js", "parts.js", "live.js"];

/// Writes `page.html.gz` to the build's directory and tells the compiler the policy and the length.
pub fn pack() {
    let dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("page");
    println!("cargo::rerun-if-changed={}", dir.display());
    // Between the words of a style sheet these blanks say nothing.
    let style = [(" {", "{"), ("{ ", "{"), (": ", ":"), ("; ", ";"), (", ", ","), (";}", "}"), ("}\n", "}")]
        .iter()
        .fold(lean(&read(&dir, "page.css")), |style, (old, new)| style.replace(old, new));
    let script = squeezed(&SCRIPTS.map(|name| lean(&read(&dir, name))).concat());
    let page = lean(&read(&dir, "page.html")).replace("/*style*/", &style).replace("/*script*/", &script);
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(&script),
        digest(&style),
    );
    println!("cargo::rustc-env=GATEMETER_PAGE_POLICY={policy}");
    println!("cargo::rustc-env=GATEMETER_PAGE_LENGTH={}", page.len());
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("page.html.gz");
    let written =
        packed.write_all(page.as_bytes()).and_then(|()| packed.finish()).and_then(|gzip| fs::write(&out, gzip));
    if let Err(error) = written {
        fail(&format!("cannot write {}: {error}", out.display()));
    }
}

fn read(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| fail(&format!("cannot read {}: {error}", path.display())))
}

/// Without indentation, empty lines and lines that are a comment, of which flash is spared.
fn lean(text: &str) -> String {
    let is_wanted = |line: &&str| {
        let comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/") && line.contains(' '));
        !line.is_empty() && !comment
    };
    text.lines().map(str::trim).filter(is_wanted).map(|line| format!("{line}\n")).collect()
}

/// A script without the blanks that say nothing: those beside a sign, outside of texts. Texts in backquotes must not hold
/// others, and there must be no regular expression.
fn squeezed(script: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || "_$\"`".contains(letter);
    let (mut out, mut quote, mut is_escaped) = (String::new(), None, false);
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        if let Some(end) = quote {
            if letter == end && !is_escaped {
                quote = None;
            }
            is_escaped = letter == '\\' && !is_escaped;
        } else if letter == '"' || letter == '`' {
            quote = Some(letter);
        } else if letter == ' ' {
            let (before, after) = (out.chars().next_back().unwrap_or(' '), *letters.peek().unwrap_or(&' '));
            let is_sign = !is_word(before) || !is_word(after);
            if is_sign && !(before == after && "+-".contains(before)) {
                continue;
            }
        }
        out.push(letter);
    }
    out
}

/// SHA-256 in base64, as a Content-Security-Policy has it.
fn digest(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in Sha256::digest(text).chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = |place| char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]);
        out.extend((0..=three.len()).map(letter));
        out.extend((three.len()..3).map(|_| '='));
    }
    out
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1);
}
