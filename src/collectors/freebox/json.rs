//! JSON text (RFC 8259) as an index over its bytes: one entry for each value, nothing copied.
//!
//! The box's answers are read field by field, and any field may be missing, null or of another type than the last
//! firmware had it; so a [`Node`] answers "not there" instead of failing. Numbers stay text until they are asked for,
//! so a 64-bit counter never passes through a float. Depth, number of values and length are bounded, since the answer
//! may come from anything that took the box's address. More is taken than the RFC allows where that harms nobody (raw
//! control characters in strings, bytes that are not UTF-8, surrogates without a partner), and each is replaced.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use crate::error::Malformed;
use crate::metrics::Value;

/// Deepest nesting of lists and objects.
const MAX_DEPTH: usize = 32;
/// Most values and keys in one text.
const MAX_TOKENS: usize = 1 << 17;
/// Powers of ten up to here are exact in a double.
const EXACT_POWERS: i32 = 22;

/// A text that was found to be JSON.
#[derive(Debug)]
pub struct Doc {
    text: String,
    tokens: Vec<Token>,
}

/// Where a value or a key stands. The keys and values of an object, and the items of a list, follow it in order.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: u32,
    end: u32,
    /// The token behind this value and everything in it.
    next: u32,
}

impl Doc {
    /// Reads a whole text, which may have nothing but space behind its value.
    ///
    /// # Errors
    /// The offset at which it is not JSON, or exceeds a bound.
    pub fn parse(bytes: Vec<u8>) -> Result<Doc, Malformed> {
        let text =
            String::from_utf8(bytes).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned());
        let mut reader = Reader { bytes: text.as_bytes(), at: 0, tokens: Vec::new() };
        reader.value(0)?;
        reader.space();
        if reader.at < reader.bytes.len() {
            return Err(reader.wrong("end of the JSON text"));
        }
        let tokens = reader.tokens;
        Ok(Doc { text, tokens })
    }

    /// The outermost value.
    pub fn root(&self) -> Node<'_> {
        Node { doc: self, token: 0 }
    }
}

/// One value of a text.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    doc: &'a Doc,
    token: u32,
}

impl<'a> Node<'a> {
    /// The value at a path of keys and list indexes with dots between; the value itself for an empty path. Null counts
    /// as not there.
    pub fn at(self, path: &str) -> Option<Node<'a>> {
        let mut node = self;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            node = match node.first() {
                b'{' => node.members().find(|(key, _)| key == step)?.1,
                b'[' => node.items().nth(step.parse().ok()?)?,
                _ => return None,
            };
        }
        (node.first() != b'n').then_some(node)
    }

    /// The items of a list; none if it is anything else, since the box answers `{}` or null for an empty list.
    pub fn items(self) -> impl Iterator<Item = Node<'a>> {
        let at = if self.first() == b'[' { self.token + 1 } else { u32::MAX };
        Children { doc: self.doc, at, end: self.behind() }
    }

    /// Keys and values of an object; none if it is anything else.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Node<'a>)> {
        let at = if self.first() == b'{' { self.token + 1 } else { u32::MAX };
        let mut children = Children { doc: self.doc, at, end: self.behind() };
        std::iter::from_fn(move || {
            let key = children.next()?;
            Some((key.string(), children.next()?))
        })
    }

    /// A string, or a number or truth value as it is written; nothing for lists and objects.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.first() {
            b'"' => Some(self.string()),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(self.raw())),
        }
    }

    /// A number, also one that stands in a string; a truth value is 0 or 1. A whole number that fits is exact.
    pub fn number(self) -> Option<Value> {
        match self.first() {
            b't' => Some(Value::Unsigned(1)),
            b'f' => Some(Value::Unsigned(0)),
            b'"' => number(self.string().trim()),
            _ => number(self.raw()),
        }
    }

    /// Whether it says yes: a truth value, a number other than 0, or one of them in a string.
    pub fn truth(self) -> Option<bool> {
        match (self.first(), self.text()?.trim()) {
            (b'"', "true") => Some(true),
            (b'"', "false") => Some(false),
            _ => self.number().map(|value| !matches!(value, Value::Unsigned(0) | Value::Float(0.0))),
        }
    }

    fn token(self) -> Token {
        self.doc.tokens.get(self.token as usize).copied().unwrap_or(Token { start: 0, end: 0, next: 0 })
    }

    fn behind(self) -> u32 {
        self.token().next
    }

    fn raw(self) -> &'a str {
        let token = self.token();
        self.doc.text.get(token.start as usize..token.end as usize).unwrap_or("")
    }

    /// The byte that tells what it is.
    fn first(self) -> u8 {
        self.doc.text.as_bytes().get(self.token().start as usize).copied().unwrap_or(b'n')
    }

    fn string(self) -> Cow<'a, str> {
        let inner = self.raw().get(1..).and_then(|rest| rest.strip_suffix('"')).unwrap_or("");
        if inner.contains('\\') { Cow::Owned(unescaped(inner)) } else { Cow::Borrowed(inner) }
    }
}

struct Children<'a> {
    doc: &'a Doc,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if self.at >= self.end {
            return None;
        }
        let node = Node { doc: self.doc, token: self.at };
        self.at = node.behind();
        Some(node)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        self.space();
        let index = self.open()?;
        match self.peek() {
            Some(b'{') => self.list(b'}', depth)?,
            Some(b'[') => self.list(b']', depth)?,
            Some(b'"') => self.string()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => self.number()?,
        }
        self.close(index);
        Ok(())
    }

    /// A list, or an object if it ends in a curly bracket.
    fn list(&mut self, end: u8, depth: usize) -> Result<(), Malformed> {
        if depth >= MAX_DEPTH {
            return Err(self.wrong("JSON of allowed depth"));
        }
        self.at += 1;
        self.space();
        if self.take(end) {
            return Ok(());
        }
        loop {
            if end == b'}' {
                self.space();
                let key = self.open()?;
                if self.peek() != Some(b'"') {
                    return Err(self.wrong("JSON key"));
                }
                self.string()?;
                self.close(key);
                self.space();
                if !self.take(b':') {
                    return Err(self.wrong("colon"));
                }
            }
            self.value(depth + 1)?;
            self.space();
            if self.take(end) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wrong("comma or closing bracket"));
            }
        }
    }

    fn string(&mut self) -> Result<(), Malformed> {
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                        Some(b'u') if self.digits16(self.at + 1) => {}
                        _ => return Err(self.wrong("JSON escape")),
                    }
                }
                Some(_) => {}
                None => return Err(self.wrong("end of the JSON string")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn digits16(&self, at: usize) -> bool {
        self.bytes.get(at..at + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.take(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.wrong("JSON value"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.wrong("digit"));
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(self.wrong("digit"));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.wrong("JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn open(&mut self) -> Result<usize, Malformed> {
        let index = self.tokens.len();
        if index >= MAX_TOKENS {
            return Err(self.wrong("JSON of allowed size"));
        }
        self.tokens.push(Token { start: self.at as u32, end: 0, next: 0 });
        Ok(index)
    }

    fn close(&mut self, index: usize) {
        let next = self.tokens.len() as u32;
        if let Some(token) = self.tokens.get_mut(index) {
            (token.end, token.next) = (self.at as u32, next);
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed::Value { what, offset: self.at }
    }
}

/// The text of a string whose escapes were checked.
fn unescaped(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((clean, escape)) = rest.split_once('\\') {
        text.push_str(clean);
        let mut characters = escape.chars();
        match characters.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (character, behind) = from_utf16(escape);
                text.push(character);
                rest = behind;
                continue;
            }
            Some(other) => text.push(other),
            None => {}
        }
        rest = characters.as_str();
    }
    text.push_str(rest);
    text
}

/// The character of `uXXXX`, or of two of them that are a pair of surrogates, and what stands behind.
fn from_utf16(escape: &str) -> (char, &str) {
    let unit = |text: &str| u32::from_str_radix(text.get(1..5)?, 16).ok();
    let behind = escape.get(5..).unwrap_or("");
    let first = unit(escape).unwrap_or(0);
    if let (0xd800..=0xdbff, Some(pair)) = (first, behind.strip_prefix('\\').filter(|pair| pair.starts_with('u')))
        && let Some(second @ 0xdc00..=0xdfff) = unit(pair)
    {
        let character = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        return (character.unwrap_or(char::REPLACEMENT_CHARACTER), pair.get(5..).unwrap_or(""));
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), behind)
}

/// Reads a decimal number. Whole ones up to 64 bits are exact; others are as near as a double of at most 15 digits and
/// 22 powers of ten is, which is exact for all that a box measures, and near enough beyond.
pub fn number(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse() {
        return Some(Value::Unsigned(whole));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mut mantissa, mut power, mut seen, mut behind_point) = (0u64, 0i32, false, false);
    let mut bytes = digits.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                match mantissa.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(byte - b'0'))) {
                    Some(more) => {
                        mantissa = more;
                        power = power.saturating_sub(behind_point.into());
                    }
                    // Digits that no double could tell apart any more.
                    None => power = power.saturating_add((!behind_point).into()),
                }
            }
            b'.' if !behind_point => behind_point = true,
            b'e' | b'E' if seen => {
                let exponent = digits.get(digits.len() - bytes.len()..)?;
                let exponent: i32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().unwrap_or(
                    // More digits than an i32 has: nothing, or infinitely much.
                    if exponent.starts_with('-') { -9999 } else { 9999 },
                );
                power = power.saturating_add(exponent.clamp(-9999, 9999));
                break;
            }
            _ => return None,
        }
    }
    let mut value = mantissa as f64;
    while power != 0 && value != 0.0 && value.is_finite() {
        let step = power.clamp(-EXACT_POWERS, EXACT_POWERS);
        let factor = 10f64.powi(step.abs());
        value = if step < 0 { value / factor } else { value * factor };
        power -= step;
    }
    (seen && value.is_finite()).then_some(Value::Float(if negative { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(text: &str) -> Doc {
        Doc::parse(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let doc = doc(r#" {"a": {"b": [10, {"c": "x"}]}, "n": null, "t": true} "#);
        let root = doc.root();
        assert_eq!(root.at("a.b.0").unwrap().number(), Some(Value::Unsigned(10)));
        assert_eq!(root.at("a.b.1.c").unwrap().text().unwrap(), "x");
        assert_eq!(root.at("t").unwrap().truth(), Some(true));
        for path in ["n", "n.x", "a.b.2", "a.x", "t.x", "a.b.c"] {
            assert!(root.at(path).is_none(), "{path}");
        }
        let keys: Vec<_> = root.members().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "n", "t"]);
    }

    #[test]
    fn what_is_no_list_has_no_items() {
        let doc = doc(r#"{"o": {}, "e": [], "s": "x", "l": [1, [2, 3], 4]}"#);
        let count = |path| doc.root().at(path).unwrap().items().count();
        assert_eq!([count("o"), count("e"), count("s"), count("l"), count("l.1")], [0, 0, 0, 3, 2]);
        assert_eq!(doc.root().at("l").unwrap().members().count(), 0);
    }

    #[test]
    fn numbers_are_exact_whatever_their_type() {
        let doc = doc(r#"[18446744073709551615, "1000", -97, " 20 ", 45.5, true, 1e3, -1838e-2, "x", {}, 0.1]"#);
        let got: Vec<_> = doc.root().items().map(Node::number).collect();
        let want = [
            Some(Value::Unsigned(u64::MAX)),
            Some(Value::Unsigned(1000)),
            Some(Value::Float(-97.0)),
            Some(Value::Unsigned(20)),
            Some(Value::Float(45.5)),
            Some(Value::Unsigned(1)),
            Some(Value::Float(1000.0)),
            Some(Value::Float(-18.38)),
            None,
            None,
            Some(Value::Float(0.1)),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_number_nobody_can_hold_is_none() {
        assert_eq!(number("1e999999999999"), None);
        assert_eq!(number("1e-999999999999"), Some(Value::Float(0.0)));
        assert_eq!(number("36893488147419103232"), Some(Value::Float(36893488147419103232.0)));
        for text in ["", "-", ".", "e5", "1.2.3", "0x10", "--1", "NaN", "inf"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn strings_lose_their_escapes() {
        let doc = doc(r#"["a\"\\\/\b\f\n\r\t", "\u00e9\ud83d\udcfb", "\ud800 \udc00", "Zo\u00e9", "\u0022"]"#);
        let got: Vec<_> = doc.root().items().map(|node| node.text().unwrap().into_owned()).collect();
        assert_eq!(got, ["a\"\\/\u{8}\u{c}\n\r\t", "é📻", "\u{fffd} \u{fffd}", "Zoé", "\""]);
    }

    #[test]
    fn bytes_that_are_not_utf8_lose_nothing_else() {
        let doc = Doc::parse(b"{\"a\": \"x\xffy\", \"b\": 1}".to_vec()).unwrap();
        assert_eq!(doc.root().at("a").unwrap().text().unwrap(), "x\u{fffd}y");
        assert_eq!(doc.root().at("b").unwrap().number(), Some(Value::Unsigned(1)));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, offset) in [
            ("", 0),
            ("{", 1),
            ("[1,]", 3),
            ("{\"a\" 1}", 5),
            ("{1:2}", 1),
            ("tru", 0),
            ("[01]", 3),
            ("[1.]", 3),
            ("[1e]", 3),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 2),
            ("[1] 2", 4),
            ("<html>", 0),
        ] {
            match Doc::parse(text.as_bytes().to_vec()) {
                Err(Malformed::Value { offset: got, .. }) => assert_eq!(got, offset, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Doc::parse(nested(MAX_DEPTH).into_bytes()).is_ok());
        assert!(Doc::parse(nested(MAX_DEPTH + 1).into_bytes()).is_err());
        assert!(Doc::parse(format!("[{}0]", "0,".repeat(MAX_TOKENS)).into_bytes()).is_err());
    }
}
