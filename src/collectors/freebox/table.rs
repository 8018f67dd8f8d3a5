//! How what the box answers becomes figures: tables of expressions, and the walk over them.
//!
//! The API has some two hundred fields, and each stands twice in what gatemeter writes: as a sample of a Prometheus
//! family, and as a point under the name that freebox-monitoring gave it. Both are rows of a table with an expression
//! that says where in an answer the value is and what is done to it, so a field costs a few bytes and no code.
//!
//! An expression has alternatives with `|` between, of which the first that is there, and is not empty, counts:
//!
//! | alternative | stands for |
//! |---|---|
//! | `a.b.0` | the value at this path of the record's node |
//! | `^a.b` | likewise of its parent |
//! | `@0` `@1` `@2` | a word the record brings along |
//! | `#0` `#1` ... | a number the record brings along |
//! | `=text` | the text itself |
//!
//! A path may end in `/10` or `*125`, by which the number is divided or multiplied.

use std::borrow::Cow;
use std::fmt::Display;
use std::hash::Hasher as _;

use super::fold;
use super::json::{self, Node};
use crate::metrics::{Desc, Page, Value};

/// Most labels of a family.
pub const MAX_LABELS: usize = 8;
/// Most tags of a form.
pub const MAX_TAGS: usize = 12;
/// First part of every measurement's name.
const ROOT: &str = "freebox";

/// What a record is; each kind has its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the thing of this name in the box's API; the groups say how it is made")]
pub enum Kind {
    Config,
    Connection,
    WanUp,
    WanDown,
    Ftth,
    Xdsl,
    Lte,
    LteBand,
    LteSim,
    LteTunnel,
    System,
    SystemOld,
    FlatFan,
    FlatSensor,
    Fan,
    FanCount,
    Sensor,
    SensorCount,
    Port,
    PortHost,
    PortCount,
    Disk,
    Partition,
    Ap,
    Station,
    Dhcp,
    Lease,
    LeaseCount,
    Interface,
    Host,
    HostFamily,
    Account,
    Call,
    CallType,
    VmHost,
    Vm,
    VpnServer,
    VpnConnection,
    VpnProfile,
    VpnClient,
    VpnClientOff,
}

/// One thing that is measured, with all that expressions may refer to.
#[derive(Clone)]
pub struct Record<'a> {
    /// What it is.
    pub kind: Kind,
    /// The answer about it.
    pub node: Option<Node<'a>>,
    /// What it belongs to, or another answer about it.
    pub parent: Option<Node<'a>>,
    /// Words of its own.
    pub words: [Cow<'a, str>; 3],
    /// Numbers that were worked out.
    pub numbers: [Option<Value>; 4],
}

impl<'a> Record<'a> {
    /// A record of nothing but its kind.
    pub fn new(kind: Kind) -> Self {
        Record { kind, node: None, parent: None, words: Default::default(), numbers: [None; 4] }
    }

    /// A record of an answer.
    pub fn of(kind: Kind, node: Node<'a>) -> Self {
        Record { node: Some(node), ..Record::new(kind) }
    }

    /// With what it belongs to.
    pub fn in_parent(mut self, parent: Option<Node<'a>>) -> Self {
        self.parent = parent;
        self
    }

    /// With its first word.
    pub fn word(mut self, word: impl Into<Cow<'a, str>>) -> Self {
        self.words[0] = word.into();
        self
    }

    /// With its first numbers.
    pub fn counted(mut self, numbers: &[u64]) -> Self {
        for (place, number) in self.numbers.iter_mut().zip(numbers) {
            *place = Some(Value::Unsigned(*number));
        }
        self
    }

    fn find(&self, expression: &'static str) -> Option<Found<'_>> {
        expression.split('|').find_map(|alternative| self.alternative(alternative))
    }

    fn alternative(&self, text: &'static str) -> Option<Found<'_>> {
        let index = |rest: &str| rest.parse::<usize>().unwrap_or(usize::MAX);
        if let Some(text) = text.strip_prefix('=') {
            return Some(Found::Text(text.into()));
        }
        if let Some(rest) = text.strip_prefix('@') {
            return self
                .words
                .get(index(rest))
                .filter(|word| !word.is_empty())
                .map(|word| Found::Text(word[..].into()));
        }
        if let Some(rest) = text.strip_prefix('#') {
            return self.numbers.get(index(rest)).copied().flatten().map(Found::Number);
        }
        let (text, node) = match text.strip_prefix('^') {
            Some(rest) => (rest, self.parent),
            None => (text, self.node),
        };
        let (path, factor) = match text.split_once(['/', '*']) {
            Some((path, factor)) => (path, factor),
            None => (text, ""),
        };
        let node = node?.at(path)?;
        if !factor.is_empty() {
            let divided = text.get(path.len()..).is_some_and(|rest| rest.starts_with('/'));
            return Some(Found::Number(scaled(node.number()?, index(factor) as u64, divided)));
        }
        (node.text().as_deref() != Some("")).then_some(Found::Node(node))
    }
}

/// What an expression leads to.
enum Found<'a> {
    Node(Node<'a>),
    Text(Cow<'a, str>),
    Number(Value),
}

impl<'a> Found<'a> {
    fn number(&self) -> Option<Value> {
        match self {
            Found::Node(node) => node.number(),
            Found::Text(text) => json::number(text),
            Found::Number(value) => Some(*value),
        }
    }

    fn text(&self) -> Cow<'a, str> {
        match self {
            Found::Node(node) => node.text().unwrap_or_default(),
            Found::Text(text) => text.clone(),
            Found::Number(Value::Unsigned(value)) => value.to_string().into(),
            Found::Number(Value::Float(value)) => value.to_string().into(),
        }
    }
}

/// Whole numbers stay whole as long as they fit.
fn scaled(value: Value, factor: u64, divided: bool) -> Value {
    match value {
        Value::Unsigned(value) if !divided && value.checked_mul(factor).is_some() => Value::Unsigned(value * factor),
        Value::Unsigned(value) if divided && value.is_multiple_of(factor) => Value::Unsigned(value / factor),
        Value::Unsigned(value) if divided => Value::Float(value as f64 / factor as f64),
        Value::Unsigned(value) => Value::Float(value as f64 * factor as f64),
        Value::Float(value) if divided => Value::Float(value / factor as f64),
        Value::Float(value) => Value::Float(value * factor as f64),
    }
}

/// What is made of what an expression leads to.
#[derive(Debug, Clone, Copy)]
pub enum Make {
    /// The number.
    Number,
    /// The number, unless it is negative, by which the box says that it does not know.
    Known,
    /// 1 for yes and 0 for no.
    Flag,
    /// 1 if it is this word, else 0.
    Is(&'static str),
    /// The code of a word, and the code of words that are not listed.
    Code(&'static [(&'static str, i16)], i16),
    /// How many items a list has; nothing has none.
    Count,
    /// 1, if it is there.
    One,
    /// The text.
    Text,
    /// The text in lower case.
    Lower,
    /// The text as freebox-monitoring folds it, cut to so many characters.
    Fold(usize),
    /// The text that is given in base64; this one if there is none.
    Base64(&'static str),
    /// The items of a list that are not blank, with commas between.
    Join,
}

enum Made<'a> {
    Number(Value),
    Text(Cow<'a, str>),
}

fn make<'a>(record: &'a Record<'_>, expression: &'static str, how: Make) -> Option<Made<'a>> {
    let found = record.find(expression);
    let number = |number: u64| Some(Made::Number(Value::Unsigned(number)));
    let text = |text: Cow<'a, str>| Some(Made::Text(text));
    match how {
        Make::Number => found?.number().map(Made::Number),
        Make::Known => {
            found?.number().filter(|value| !matches!(value, Value::Float(value) if *value < 0.0)).map(Made::Number)
        }
        Make::Flag => match found? {
            Found::Node(node) => number(node.truth()?.into()),
            other => number((other.number()? != Value::Unsigned(0)).into()),
        },
        Make::Is(word) => number((found?.text() == word).into()),
        Make::Code(words, other) => {
            let found = found?.text();
            let code = words.iter().find(|(word, _)| *word == found).map_or(other, |(_, code)| *code);
            Some(Made::Number(match u64::try_from(code) {
                Ok(code) => Value::Unsigned(code),
                Err(_) => Value::Float(code.into()),
            }))
        }
        Make::Count => match found {
            Some(Found::Node(node)) => number(node.items().count() as u64),
            Some(found) => found.number().map(Made::Number),
            None => number(0),
        },
        Make::One => found.and_then(|_| number(1)),
        Make::Text => text(found?.text()),
        Make::Lower => text(found?.text().to_ascii_lowercase().into()),
        Make::Fold(length) => text(fold::fold(&found?.text(), length).into()),
        Make::Base64(or) => text(found.and_then(|found| fold::base64(&found.text())).map_or(or.into(), Cow::from)),
        Make::Join => match found? {
            Found::Node(node) => {
                let items: Vec<_> =
                    node.items().filter_map(Node::text).filter(|item| !item.trim().is_empty()).collect();
                text(items.join(",").into())
            }
            other => text(other.text()),
        },
    }
}

/// A Prometheus family and where its samples come from.
#[derive(Debug)]
pub struct Family {
    /// Its description.
    pub desc: Desc,
    /// Whether it has a series for each host, station or user, which is wanted only if `per_host` is set.
    pub per_host: bool,
    /// Its samples.
    pub figures: &'static [Figure],
}

/// Samples of a family, one for each record of a kind that has the value.
#[derive(Debug)]
pub struct Figure {
    /// Of which records.
    pub of: Kind,
    /// The value.
    pub value: &'static str,
    /// What is made of it; texts make no sample.
    pub make: Make,
    /// The label values, in the order of the family's names.
    pub labels: &'static [&'static str],
}

/// Points of a record under the names of freebox-monitoring, all with the same tags.
#[derive(Debug)]
pub struct Form {
    /// Of which records.
    pub of: Kind,
    /// What stands in the measurement's name behind `freebox`.
    pub measure: &'static str,
    /// Tags that have a value, in order.
    pub tags: &'static [Row],
    /// Fields, in order.
    pub rows: &'static [Row],
}

/// A tag or field: name, expression, and what is made of it. An asterisk in the name stands for the record's first word.
pub type Row = (&'static str, &'static str, Make);

/// Writes the families that records have figures for. Of samples with the same labels only the first is written, for a
/// page with two of them is refused as a whole.
pub fn write_families(page: &mut Page, families: &'static [Family], records: &[Record<'_>], per_host: bool) {
    let mut seen: Vec<u64> = Vec::new();
    for family in families.iter().filter(|family| per_host || !family.per_host) {
        seen.clear();
        for figure in family.figures {
            for record in records.iter().filter(|record| record.kind == figure.of) {
                let Some(Made::Number(value)) = make(record, figure.value, figure.make) else { continue };
                let mut texts: [Cow<'_, str>; MAX_LABELS] = Default::default();
                for (text, expression) in texts.iter_mut().zip(figure.labels) {
                    *text = record.find(expression).map_or(Cow::Borrowed(""), |found| found.text());
                }
                let texts = texts.get(..figure.labels.len()).unwrap_or_default();
                let labels = page.labels(&displays::<MAX_LABELS>(texts)[..texts.len()]);
                // Of the values as they are stored: two that differ behind what is kept of them are the same label.
                let hash = hash(page.values(labels));
                if seen.contains(&hash) {
                    continue;
                }
                if seen.is_empty() {
                    page.family(&family.desc);
                }
                seen.push(hash);
                page.sample(labels, value);
            }
        }
    }
}

/// Writes the points of all records, in their order.
pub fn write_points(page: &mut Page, forms: &'static [Form], records: &[Record<'_>]) {
    for record in records {
        for form in forms.iter().filter(|form| form.of == record.kind) {
            let mut words: [Cow<'_, str>; 2 * MAX_TAGS] = Default::default();
            let mut used = 0;
            for (name, expression, how) in form.tags {
                let Some(made) = make(record, expression, *how) else { continue };
                if let Some([key, value]) = words.get_mut(used..used + 2) {
                    *key = named(name, record);
                    *value = match made {
                        Made::Number(value) => Found::Number(value).text(),
                        Made::Text(text) => text,
                    };
                    used += 2;
                }
            }
            let tags = page.labels(&displays::<{ 2 * MAX_TAGS }>(words.get(..used).unwrap_or_default())[..used]);
            for (name, expression, how) in form.rows {
                let name = named(name, record);
                match make(record, expression, *how) {
                    Some(Made::Number(value)) => page.point(ROOT, form.measure, tags, &name, value),
                    Some(Made::Text(text)) => page.text_point(ROOT, form.measure, tags, &name, &text),
                    None => {}
                }
            }
        }
    }
}

fn named<'a>(name: &'static str, record: &'a Record<'_>) -> Cow<'a, str> {
    if name.contains('*') { name.replace('*', &record.words[0]).into() } else { name.into() }
}

fn displays<'a, const N: usize>(texts: &'a [Cow<'a, str>]) -> [&'a dyn Display; N] {
    std::array::from_fn(|index| texts.get(index).map_or(&"" as &dyn Display, |text| text as _))
}

/// FNV-1a, with the texts kept apart.
fn hash<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    for text in texts {
        hasher.write(text.as_bytes());
        hasher.write(&[0xff]);
    }
    hasher.finish()
}

struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
