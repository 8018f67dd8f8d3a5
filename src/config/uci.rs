//! UCI text to sections: OpenWrt's configuration format, read exactly as libuci reads it.
//!
//! The bytes of one file enter, a [`Package`] or the first error leaves; nothing here opens a file. The grammar is
//! what libuci's parser does in its strict mode, traps included: `#` ends a line even inside a word, `;` right
//! behind a plain word drops the rest of the line, an empty option sets nothing. `tests/uci.rs` holds this reader
//! against the real library. Time and memory grow linearly with the input, whose size the caller bounds.
//!
//! Two deliberate differences: a NUL byte is an error (what libuci makes of it depends on its buffer sizes), and
//! a last line without a newline has a number of its own in errors (libuci gives the number of the line before).

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// One configuration file: its sections in the order in which they first appear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// The sections.
    pub sections: Vec<Section>,
}

/// One `config TYPE NAME` with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The section's type, printable ASCII without spaces.
    pub kind: String,
    /// The section's name; for an anonymous section the one libuci makes up (`cfg0156ab`).
    pub name: String,
    /// Whether the name is made up.
    pub anonymous: bool,
    /// Line where the section is first opened, counted from 1; `None` where the reader does not tell.
    pub line: Option<u32>,
    /// The options in the order in which they are first set; no name occurs twice.
    pub options: Vec<Opt>,
}

/// One option of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// The option's name: ASCII letters, digits and underscores.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// Line of the command that gave the value its present form, counted from 1; `None` where the reader does not tell.
    pub line: Option<u32>,
}

/// The value of an option; bytes that are not UTF-8 are replaced by U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Written with `option`; never empty.
    Text(String),
    /// Written with `list`; has at least one item, and items may be empty.
    List(Vec<String>),
}

/// Why a file could not be read, in libuci's words, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// The last line that was read, counted from 1: for an unterminated quote the last line of the file. 0 stands
    /// for the file as a whole.
    pub line: u32,
    /// What is wrong there.
    pub reason: Reason,
}

/// The reasons libuci gives for refusing a file, and two of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A line that starts with none of `package`, `config`, `option`, `list` and their first letters.
    InvalidCommand,
    /// A command without its first argument, or with an empty one.
    InsufficientArguments,
    /// A third argument where two are the most.
    TooManyArguments,
    /// A section or option name with something other than letters, digits and underscores.
    InvalidName,
    /// A section type with a space, a control byte or a byte outside ASCII.
    InvalidType,
    /// `option` or `list` with no section open.
    OutsideSection,
    /// A section opened again under another type.
    TypeChanged,
    /// The file ends inside `'` or `"`.
    UnterminatedQuote(char),
    /// The file ends right after this keyword.
    NothingAfter(&'static str),
    /// A NUL byte, which no text file has.
    NulByte,
    /// A file name that is not printable ASCII without spaces; libuci calls it an invalid argument.
    FileName,
}

impl Section {
    /// The value of an option, if it is set.
    pub fn get(&self, option: &str) -> Option<&Value> {
        self.options.iter().find(|o| o.name == option).map(|o| &o.value)
    }
}

impl Value {
    /// The single value, where there is one: an `option`, or a `list` with one item.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::List(items) => match items.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// The values of a setting that takes many, written as a `list` or as one string with white space in between:
    /// both split on white space, as OpenWrt's own scripts see them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        match self {
            Value::Text(text) => std::slice::from_ref(text),
            Value::List(items) => items.as_slice(),
        }
        .iter()
        .flat_map(|item| item.split_ascii_whitespace())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => self.reason.fmt(f),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::InvalidCommand => "invalid command",
            Reason::InsufficientArguments => "insufficient arguments",
            Reason::TooManyArguments => "too many arguments",
            Reason::InvalidName => "invalid character in name field",
            Reason::InvalidType => "invalid character in type field",
            Reason::OutsideSection => "option/list command found before the first section",
            Reason::TypeChanged => "section of different type overwrites prior section with same name",
            Reason::UnterminatedQuote(quote) => return write!(f, "EOF with unterminated {quote}"),
            Reason::NothingAfter(keyword) => return write!(f, "{keyword} without name"),
            Reason::NulByte => "NUL byte",
            Reason::FileName => "invalid character in the file's name",
        })
    }
}

/// Reads the text of the configuration file `name` (without its directory). The first bad line fails the whole
/// file, as in libuci.
pub fn parse(name: &str, text: &[u8]) -> Result<Package, ParseError> {
    check(name, text)?;
    let mut lexer = Lexer { text, pos: 0, end: 0, line: 0 };
    let mut builder = Builder::default();
    while lexer.next_line() {
        // What a command returns names no line: it is always the last one read.
        line(&mut lexer, &mut builder).map_err(|reason| ParseError { line: lexer.line, reason })?;
    }
    Ok(builder.package)
}

/// Refuses what libuci's grammar never gets to see: a bad file name and a NUL byte.
pub(super) fn check(name: &str, text: &[u8]) -> Result<(), ParseError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ParseError { line: 0, reason: Reason::FileName });
    }
    match text.iter().position(|&byte| byte == 0) {
        None => Ok(()),
        Some(nul) => {
            let before = text.iter().take(nul).filter(|&&byte| byte == b'\n').count();
            Err(ParseError { line: u32::try_from(before + 1).unwrap_or(u32::MAX), reason: Reason::NulByte })
        }
    }
}

/// Runs the commands of the line that was just read; more lines are read where an argument goes on in them.
fn line(lexer: &mut Lexer<'_>, builder: &mut Builder) -> Result<(), Reason> {
    lexer.skip_white_space();
    while let Some(keyword) = lexer.keyword()? {
        let line = lexer.line;
        if matches!(keyword, Keyword::Option | Keyword::List) && builder.open.is_none() {
            return Err(Reason::OutsideSection);
        }
        lexer.skip_separator().ok_or(Reason::NothingAfter(keyword.word()))?;
        match keyword {
            Keyword::Package => {
                // A file has its name from where it lies; the name given here is only checked.
                let name = lexer.first_argument()?;
                if !name.iter().all(|&byte| is_name_byte(byte) || byte == b'-') {
                    return Err(Reason::InvalidName);
                }
                lexer.no_more_arguments()?;
            }
            Keyword::Config => {
                let kind = lexer.first_argument()?;
                let kind = printable(kind).ok_or(Reason::InvalidType)?;
                let section = match lexer.argument()? {
                    bytes if bytes.is_empty() => None,
                    bytes => Some(name(bytes)?),
                };
                lexer.no_more_arguments()?;
                builder.section(kind, section, line)?;
            }
            Keyword::Option | Keyword::List => {
                let option = name(lexer.first_argument()?)?;
                let value = lossy(lexer.argument()?);
                lexer.no_more_arguments()?;
                if keyword == Keyword::List {
                    builder.set(option, line, |old| appended(old, value));
                } else if !value.is_empty() {
                    // An empty option is no option: what was set before stays.
                    builder.set(option, line, |_| Value::Text(value));
                }
            }
        }
    }
    Ok(())
}

fn appended(old: Option<Value>, item: String) -> Value {
    match old {
        None => Value::List(vec![item]),
        Some(Value::Text(first)) => Value::List(vec![first, item]),
        Some(Value::List(mut items)) => {
            items.push(item);
            Value::List(items)
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn name(bytes: Vec<u8>) -> Result<String, Reason> {
    if bytes.iter().all(|&byte| is_name_byte(byte)) { Ok(lossy(bytes)) } else { Err(Reason::InvalidName) }
}

fn printable(bytes: Vec<u8>) -> Option<String> {
    bytes.iter().all(u8::is_ascii_graphic).then(|| lossy(bytes))
}

/// Text from bytes; what is not UTF-8 becomes U+FFFD.
pub(super) fn lossy(bytes: Vec<u8>) -> String {
    match String::from_utf8_lossy(&bytes) {
        Cow::Owned(replaced) => replaced,
        // Valid as it is, so the conversion takes the buffer over instead of copying it.
        Cow::Borrowed(_) => String::from_utf8(bytes).unwrap_or_default(),
    }
}

/// The name libuci gives to an anonymous section: how many sections there are with it, then 16 bits of a hash
/// (Bernstein's, seed 5381, factor 33) of its type.
fn anonymous_name(kind: &str, count: usize) -> String {
    let hash = kind.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
    format!("cfg{count:02x}{:04x}", hash & 0xffff)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Package,
    Config,
    Option,
    List,
}

impl Keyword {
    /// The word libuci's errors use; it says "option" for `list` too.
    fn word(self) -> &'static str {
        match self {
            Keyword::Package => "package",
            Keyword::Config => "config",
            Keyword::Option | Keyword::List => "option",
        }
    }
}

/// The package as far as it is read, with indices that keep look-ups by name constant in time.
#[derive(Default)]
struct Builder {
    package: Package,
    /// Section that options go to.
    open: Option<usize>,
    sections: HashMap<String, usize>,
    options: HashMap<(usize, String), usize>,
}

impl Builder {
    fn section(&mut self, kind: String, name: Option<String>, line: u32) -> Result<(), Reason> {
        let index = self.package.sections.len();
        let anonymous = name.is_none();
        let name = name.unwrap_or_else(|| anonymous_name(&kind, index + 1));
        match self.sections.entry(name.clone()) {
            // An anonymous section is always a new one, even if a named one took its name; that one keeps it.
            Entry::Occupied(known) if !anonymous => {
                let known = *known.get();
                if self.package.sections.get(known).is_some_and(|section| section.kind != kind) {
                    return Err(Reason::TypeChanged);
                }
                self.open = Some(known);
                return Ok(());
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                free.insert(index);
            }
        }
        self.package.sections.push(Section { kind, name, anonymous, line: Some(line), options: Vec::new() });
        self.open = Some(index);
        Ok(())
    }

    /// Sets an option of the open section to what `change` makes of its present value.
    fn set(&mut self, name: String, line: u32, change: impl FnOnce(Option<Value>) -> Value) {
        let Some(open) = self.open else { return };
        let Some(section) = self.package.sections.get_mut(open) else { return };
        match self.options.entry((open, name)) {
            Entry::Occupied(known) => {
                if let Some(opt) = section.options.get_mut(*known.get()) {
                    let old = std::mem::replace(&mut opt.value, Value::Text(String::new()));
                    (opt.value, opt.line) = (change(Some(old)), Some(line));
                }
            }
            Entry::Vacant(free) => {
                let name = free.key().1.clone();
                free.insert(section.options.len());
                section.options.push(Opt { name, value: change(None), line: Some(line) });
            }
        }
    }
}

/// A cursor over the text that sees one line at a time: only quotes and backslashes bring in the next one.
struct Lexer<'a> {
    text: &'a [u8],
    /// Next byte to look at.
    pos: usize,
    /// End of the lines read so far, behind their newline.
    end: usize,
    /// How many lines are read, which is the number of the last one.
    line: u32,
}

impl Lexer<'_> {
    /// Drops what is left of the line and reads the next one; false at the end of the file.
    fn next_line(&mut self) -> bool {
        self.pos = self.end;
        let rest = self.text.get(self.end..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        self.end += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        self.line += 1;
        true
    }

    fn peek(&self) -> Option<u8> {
        if self.pos < self.end { self.text.get(self.pos).copied() } else { None }
    }

    /// Skips what C's `isspace` takes for white space; Rust's ASCII set lacks the vertical tab.
    fn skip_white_space(&mut self) {
        while self.peek().is_some_and(is_white_space) {
            self.pos += 1;
        }
    }

    /// The next command of the line, unquoted and ended by a space or tab only; `None` when the line has no more.
    fn keyword(&mut self) -> Result<Option<Keyword>, Reason> {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.pos += 1;
        }
        let rest = self.text.get(self.pos..self.end).unwrap_or_default();
        let word = rest.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        self.pos += word.len();
        match word {
            [] | [b'#', ..] => Ok(None),
            b"p" | b"package" => Ok(Some(Keyword::Package)),
            b"c" | b"config" => Ok(Some(Keyword::Config)),
            b"o" | b"option" => Ok(Some(Keyword::Option)),
            b"l" | b"list" => Ok(Some(Keyword::List)),
            _ => Err(Reason::InvalidCommand),
        }
    }

    /// Steps over the space or tab that ends a keyword; `None` if the file ends there instead.
    fn skip_separator(&mut self) -> Option<()> {
        self.peek()?;
        self.pos += 1;
        Some(())
    }

    /// The argument no command goes without.
    fn first_argument(&mut self) -> Result<Vec<u8>, Reason> {
        let argument = self.argument()?;
        if argument.is_empty() { Err(Reason::InsufficientArguments) } else { Ok(argument) }
    }

    fn no_more_arguments(&mut self) -> Result<(), Reason> {
        if self.argument()?.is_empty() { Ok(()) } else { Err(Reason::TooManyArguments) }
    }

    /// The next argument, a chain of plain and quoted parts without white space between them; empty if there is none.
    fn argument(&mut self) -> Result<Vec<u8>, Reason> {
        self.skip_white_space();
        let mut value = Vec::new();
        if self.peek() == Some(b';') {
            self.pos += 1;
            return Ok(value);
        }
        let mut plain = true;
        while let Some(byte) = self.peek() {
            match byte {
                b'\'' | b'"' => {
                    plain = false;
                    self.quoted(byte, &mut value)?;
                }
                b'#' => {
                    self.pos = self.end;
                    return Ok(value);
                }
                b';' => {
                    // libuci ends a plain word by overwriting the byte behind it, here the separator itself:
                    // the commands that follow on this line are lost.
                    if plain {
                        self.pos = self.end;
                    }
                    return Ok(value);
                }
                b'\\' => {
                    plain = false;
                    self.escaped(&mut value);
                }
                byte => {
                    value.push(byte);
                    self.pos += 1;
                }
            }
            if self.peek().is_some_and(is_white_space) {
                self.pos += 1;
                return Ok(value);
            }
        }
        Ok(value)
    }

    /// Appends what stands between two quotes, over as many lines as it takes.
    fn quoted(&mut self, quote: u8, value: &mut Vec<u8>) -> Result<(), Reason> {
        self.pos += 1;
        loop {
            match self.peek() {
                Some(byte) if byte == quote => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') if quote == b'"' => self.escaped(value),
                Some(byte) => {
                    value.push(byte);
                    self.pos += 1;
                }
                None if self.next_line() => {}
                None => return Err(Reason::UnterminatedQuote(char::from(quote))),
            }
        }
    }

    /// Appends the byte behind a backslash; the end of a line vanishes instead, and the next line goes on here.
    fn escaped(&mut self, value: &mut Vec<u8>) {
        self.pos += 1;
        match self.text.get(self.pos..self.end) {
            Some([] | b"\n" | b"\r\n") | None => {
                self.next_line();
            }
            Some([byte, ..]) => {
                value.push(*byte);
                self.pos += 1;
            }
        }
    }
}

fn is_white_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)] // An index out of range fails the test, as it should.
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Section> {
        parse("test", text.as_bytes()).unwrap().sections
    }

    fn refusal(text: &[u8]) -> String {
        parse("test", text).unwrap_err().to_string()
    }

    #[test]
    fn sections_and_options_know_their_lines() {
        let sections = read("\nconfig lan\n\n\toption a 'x\ny'\n\toption a z\nconfig lan two\n");
        assert_eq!(sections[0].line, Some(2));
        assert_eq!(sections[0].options[0].line, Some(6));
        assert_eq!(sections[1].line, Some(7));
    }

    #[test]
    fn an_anonymous_section_is_named_by_its_place_and_a_hash_of_its_type() {
        let sections = read("config probe p1\nconfig lan\n");
        assert_eq!((sections[1].name.as_str(), sections[1].anonymous), ("cfg028b40", true));
    }

    #[test]
    fn an_anonymous_section_is_reopened_by_its_made_up_name() {
        let sections = read("config probe p1\nconfig lan\nconfig lan cfg028b40\n\toption a b\n");
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[1].get("a").and_then(Value::text), Some("b"));
    }

    #[test]
    fn a_setting_with_many_values_is_a_list_or_one_string() {
        let sections = read("config t\n\tlist a 'x y'\n\tlist a z\n\toption b ' x\ty '\n");
        assert_eq!(sections[0].get("a").unwrap().words().collect::<Vec<_>>(), ["x", "y", "z"]);
        assert_eq!(sections[0].get("b").unwrap().words().collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn values_that_are_not_utf8_are_replaced_and_kept() {
        let package = parse("test", b"config t\n\toption a b\xff\xc3\xa9\n").unwrap();
        assert_eq!(package.sections[0].get("a").and_then(Value::text), Some("b\u{fffd}é"));
    }

    #[test]
    fn a_nul_byte_is_refused_with_its_line() {
        assert_eq!(refusal(b"config t\n\toption a b\0c\n"), "line 2: NUL byte");
    }

    #[test]
    fn the_last_line_counts_without_a_newline() {
        assert_eq!(refusal(b"config t\noption"), "line 2: option without name");
    }

    #[test]
    fn a_file_name_libuci_refuses_is_refused() {
        assert_eq!(parse("two words", b"").unwrap_err().to_string(), "invalid character in the file's name");
    }

    #[test]
    fn many_options_of_one_section_and_many_sections_are_all_kept() {
        let mut text = String::from("config t big\n");
        for n in 0..20_000 {
            text += &format!("option o{n} {n}\n");
        }
        for n in 0..20_000 {
            text += &format!("config t s{n}\nconfig t big\noption o{n} new\n");
        }
        let sections = read(&text);
        assert_eq!(sections.len(), 20_001);
        assert_eq!(sections[0].options.len(), 20_000);
        assert_eq!(sections[0].options[19_999].value, Value::Text("new".into()));
    }
}
