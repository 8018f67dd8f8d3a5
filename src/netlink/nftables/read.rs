//! Answers and events read back. Nothing is copied: names are the kernel's bytes up to their NUL.

use super::batch::COMMENT;
use super::expression::{
    COUNTER_BYTES, COUNTER_PACKETS, DATA, DATA_VERDICT, IMMEDIATE_DATA, JUMP, NAME, REFERENCE_NAME, REFERENCE_TYPE,
    VERDICT_CHAIN, VERDICT_CODE,
};
use super::{
    Count, DATA_VALUE, Family, LIST_ENTRY, OBJECT_COUNTER, SUBSYSTEM, chain, element, flowtable, kind, object, rule,
    set, table,
};
use crate::bytes::{be32, take};
use crate::error::Malformed;
use crate::netlink::{Attribute, Message, known, tail};

/// Length of `struct nfgenmsg`.
const FIXED_BYTES: usize = 4;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    /// Its flags, as [`super::TABLE_OWNER`].
    pub flags: u32,
    /// The port of the socket that owns it.
    pub owner: Option<u32>,
    /// Its number, which no other table ever has.
    pub handle: u64,
    /// Chains, sets and the like in it.
    pub users: u32,
    /// Its comment.
    pub comment: Option<&'a [u8]>,
}

/// A chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Its number in its table.
    pub handle: u64,
    /// Rules in it, and rules and elements that lead to it.
    pub users: u32,
    /// Its comment.
    pub comment: Option<&'a [u8]>,
    /// Hook and priority of a base chain.
    pub hook: Option<(u32, i32)>,
}

/// A set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Its number in its table.
    pub handle: u64,
    /// Its flags, as [`super::SET_EVAL`].
    pub flags: u32,
    /// Bytes of a key.
    pub key_length: u32,
    /// Most elements, 0 for no limit.
    pub size: u32,
    /// Whether each element has a counter and nothing else.
    pub counts: bool,
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The family of its table.
    pub family: Option<Family>,
    /// Its table.
    pub table: &'a [u8],
    /// Its chain.
    pub chain: &'a [u8],
    /// Its number in its table.
    pub handle: u64,
    /// What is said about it: entries of a type, a length and a value.
    user_data: &'a [u8],
    expressions: &'a [u8],
}

/// Where a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting<'a> {
    /// In itself.
    Here(Count),
    /// In a named counter of its table.
    Named(&'a [u8]),
}

/// A named counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedCounter<'a> {
    /// The family of its table.
    pub family: Option<Family>,
    /// Its table.
    pub table: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// What it has counted.
    pub count: Count,
}

/// A flow table: packets of the connections in it pass no chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flowtable<'a> {
    /// The family of its table.
    pub family: Option<Family>,
    /// Its table.
    pub table: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// Whether the network card forwards by itself (`NFT_FLOWTABLE_HW_OFFLOAD`).
    pub hardware: bool,
}

/// One change of the ruleset, as events tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Something was made or removed in a table, or the table itself.
    In {
        /// The family of the table.
        family: Option<Family>,
        /// The table.
        table: &'a [u8],
        /// Whether it is elements that were removed.
        elements_removed: bool,
    },
    /// The end of a transaction.
    Generation,
}

/// Reads a table.
pub fn table<'a>(message: &Message<'a>) -> Result<Option<Table<'a>>, Malformed> {
    let Some((_, body)) = of_kind(message, kind::NEW_TABLE)? else { return Ok(None) };
    let mut found = Table { flags: 0, owner: None, handle: 0, users: 0, comment: None };
    for attribute in known(body) {
        match attribute.kind {
            table::FLAGS => found.flags = number(attribute, "table flags")?,
            table::OWNER => found.owner = Some(number(attribute, "table owner")?),
            table::HANDLE => found.handle = long(attribute, "table handle")?,
            table::USE => found.users = number(attribute, "table use")?,
            table::USERDATA => found.comment = entry(attribute.value, COMMENT).map(until_nul),
            _ => {}
        }
    }
    Ok(Some(found))
}

/// Reads a chain.
pub fn chain<'a>(message: &Message<'a>) -> Result<Option<Chain<'a>>, Malformed> {
    let Some((_, body)) = of_kind(message, kind::NEW_CHAIN)? else { return Ok(None) };
    let mut found = Chain { handle: 0, users: 0, comment: None, hook: None };
    for attribute in known(body) {
        match attribute.kind {
            chain::HANDLE => found.handle = long(attribute, "chain handle")?,
            chain::USE => found.users = number(attribute, "chain use")?,
            chain::USERDATA => found.comment = entry(attribute.value, COMMENT).map(until_nul),
            chain::HOOK => {
                let (mut hook, mut priority) = (0, 0);
                for attribute in known(attribute.value) {
                    match attribute.kind {
                        chain::HOOK_NUMBER => hook = number(attribute, "hook")?,
                        chain::HOOK_PRIORITY => priority = number(attribute, "hook priority")? as i32,
                        _ => {}
                    }
                }
                found.hook = Some((hook, priority));
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

/// Reads a set.
pub fn set(message: &Message<'_>) -> Result<Option<Set>, Malformed> {
    let Some((_, body)) = of_kind(message, kind::NEW_SET)? else { return Ok(None) };
    let mut found = Set { handle: 0, flags: 0, key_length: 0, size: 0, counts: false };
    for attribute in known(body) {
        match attribute.kind {
            set::HANDLE => found.handle = long(attribute, "set handle")?,
            set::FLAGS => found.flags = number(attribute, "set flags")?,
            set::KEY_LENGTH => found.key_length = number(attribute, "set key length")?,
            set::EXPRESSION => found.counts = name(attribute.value) == b"counter",
            set::DESCRIPTION => {
                for attribute in known(attribute.value).filter(|a| a.kind == set::DESCRIPTION_SIZE) {
                    found.size = number(attribute, "set size")?;
                }
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

/// Reads the elements of a part of a set and calls `each` for those with a counter. One part may be empty.
pub fn elements(message: &Message<'_>, each: impl FnMut(&[u8], Count)) -> Result<(), Malformed> {
    match of_kind(message, kind::NEW_ELEMENT)? {
        Some((_, body)) => element_list(body, each),
        None => Ok(()),
    }
}

/// Reads the event that elements of a set were removed and calls `each` for those with a counter, which says what it
/// had counted; returns the set.
pub fn removed_elements<'a>(
    message: &Message<'a>,
    each: impl FnMut(&[u8], Count),
) -> Result<Option<&'a [u8]>, Malformed> {
    let Some((_, body)) = of_kind(message, kind::DELETE_ELEMENT)? else { return Ok(None) };
    element_list(body, each)?;
    Ok(nested(body, element::LIST_SET).map(until_nul))
}

fn element_list(body: &[u8], mut each: impl FnMut(&[u8], Count)) -> Result<(), Malformed> {
    for list in known(body).filter(|attribute| attribute.kind == element::LIST_ELEMENTS) {
        for entry in known(list.value).filter(|attribute| attribute.kind == LIST_ENTRY) {
            let (mut key, mut count) = (None, None);
            for attribute in known(entry.value) {
                match attribute.kind {
                    element::KEY => key = nested(attribute.value, DATA_VALUE),
                    element::EXPRESSION => count = counter(attribute.value),
                    element::EXPRESSIONS => count = entries(attribute.value).find_map(counter),
                    _ => {}
                }
            }
            if let (Some(key), Some(count)) = (key, count) {
                each(key, count);
            }
        }
    }
    Ok(())
}

/// Reads a rule.
pub fn rule<'a>(message: &Message<'a>) -> Result<Option<Rule<'a>>, Malformed> {
    let Some((family, body)) = of_kind(message, kind::NEW_RULE)? else { return Ok(None) };
    let mut found = Rule { family, table: &[], chain: &[], handle: 0, user_data: &[], expressions: &[] };
    for attribute in known(body) {
        match attribute.kind {
            rule::TABLE => found.table = until_nul(attribute.value),
            rule::CHAIN => found.chain = until_nul(attribute.value),
            rule::HANDLE => found.handle = long(attribute, "rule handle")?,
            rule::EXPRESSIONS => found.expressions = attribute.value,
            rule::USERDATA => found.user_data = attribute.value,
            _ => {}
        }
    }
    Ok(Some(found))
}

impl<'a> Rule<'a> {
    /// Its comment.
    pub fn comment(&self) -> Option<&'a [u8]> {
        self.said(COMMENT).map(until_nul)
    }

    /// What is said about it under another type than that of comments.
    pub fn said(&self, kind: u8) -> Option<&'a [u8]> {
        entry(self.user_data, kind)
    }

    /// Its first counter.
    pub fn counting(&self) -> Option<Counting<'a>> {
        entries(self.expressions).find_map(|expression| match name(expression) {
            b"counter" => counter(expression).map(Counting::Here),
            b"objref" => {
                let data = nested(expression, DATA)?;
                let kind = known(data).find(|attribute| attribute.kind == REFERENCE_TYPE)?;
                let counts = number(kind, "object type") == Ok(OBJECT_COUNTER);
                nested(data, REFERENCE_NAME).filter(|_| counts).map(until_nul).map(Counting::Named)
            }
            _ => None,
        })
    }

    /// The chain that it jumps to.
    pub fn jumps_to(&self) -> Option<&'a [u8]> {
        entries(self.expressions).filter(|expression| name(expression) == b"immediate").find_map(|expression| {
            let verdict = nested(nested(nested(expression, DATA)?, IMMEDIATE_DATA)?, DATA_VERDICT)?;
            let code = known(verdict).find(|attribute| attribute.kind == VERDICT_CODE)?;
            let jumps = number(code, "verdict") == Ok(JUMP as u32);
            nested(verdict, VERDICT_CHAIN).filter(|_| jumps).map(until_nul)
        })
    }
}

/// Reads a named counter; other named objects are none.
pub fn named_counter<'a>(message: &Message<'a>) -> Result<Option<NamedCounter<'a>>, Malformed> {
    let Some((family, body)) = of_kind(message, kind::NEW_OBJECT)? else { return Ok(None) };
    let mut found = NamedCounter { family, table: &[], name: &[], count: Count::default() };
    let mut counts = false;
    for attribute in known(body) {
        match attribute.kind {
            object::TABLE => found.table = until_nul(attribute.value),
            object::NAME => found.name = until_nul(attribute.value),
            object::TYPE => counts = number(attribute, "object type")? == OBJECT_COUNTER,
            object::DATA => found.count = count(attribute.value).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(Some(found).filter(|_| counts))
}

/// Reads a flow table.
pub fn flowtable<'a>(message: &Message<'a>) -> Result<Option<Flowtable<'a>>, Malformed> {
    let Some((family, body)) = of_kind(message, kind::NEW_FLOWTABLE)? else { return Ok(None) };
    let mut found = Flowtable { family, table: &[], name: &[], hardware: false };
    for attribute in known(body) {
        match attribute.kind {
            flowtable::TABLE => found.table = until_nul(attribute.value),
            flowtable::NAME => found.name = until_nul(attribute.value),
            flowtable::FLAGS => found.hardware = number(attribute, "flow table flags")? & 1 != 0,
            _ => {}
        }
    }
    Ok(Some(found))
}

/// Reads an event; `None` if it is none of nf_tables.
pub fn change<'a>(message: &Message<'a>) -> Result<Option<Change<'a>>, Malformed> {
    let [kind, subsystem] = message.kind.to_le_bytes();
    if u16::from(subsystem) != SUBSYSTEM {
        return Ok(None);
    }
    if kind == kind::NEW_GENERATION {
        return Ok(Some(Change::Generation));
    }
    let (family, body) = split(message)?;
    // The first attribute of every kind is the name of the table.
    let table = nested(body, table::NAME).map(until_nul).unwrap_or_default();
    Ok(Some(Change::In { family, table, elements_removed: kind == kind::DELETE_ELEMENT }))
}

/// The family and the attributes of a message.
type Body<'a> = (Option<Family>, &'a [u8]);

/// The body of a message, if it is of this kind.
fn of_kind<'a>(message: &Message<'a>, kind: u8) -> Result<Option<Body<'a>>, Malformed> {
    if message.kind != super::message_type(kind) {
        return Ok(None);
    }
    split(message).map(Some)
}

fn split<'a>(message: &Message<'a>) -> Result<Body<'a>, Malformed> {
    let [family, ..] = take::<FIXED_BYTES>(message.body, 0, "nfnetlink header")?;
    Ok((Family::from_number(family), tail(message.body, FIXED_BYTES, "nfnetlink attributes")?))
}

fn number(attribute: Attribute<'_>, what: &'static str) -> Result<u32, Malformed> {
    be32(attribute.value, 0, what)
}

fn long(attribute: Attribute<'_>, what: &'static str) -> Result<u64, Malformed> {
    take(attribute.value, 0, what).map(u64::from_be_bytes)
}

/// The value of the first attribute of a kind.
fn nested(buf: &[u8], kind: u16) -> Option<&[u8]> {
    known(buf).find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
}

/// The entries of a list of expressions.
fn entries(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    known(list).filter(|attribute| attribute.kind == LIST_ENTRY).map(|attribute| attribute.value)
}

/// The name of an expression.
fn name(expression: &[u8]) -> &[u8] {
    nested(expression, NAME).map(until_nul).unwrap_or_default()
}

/// What an expression has counted, if it is a counter.
fn counter(expression: &[u8]) -> Option<Count> {
    nested(expression, DATA).filter(|_| name(expression) == b"counter").and_then(count)
}

fn count(data: &[u8]) -> Option<Count> {
    let field = |kind| Some(u64::from_be_bytes(nested(data, kind)?.try_into().ok()?));
    Some(Count { bytes: field(COUNTER_BYTES)?, packets: field(COUNTER_PACKETS)? })
}

/// The value of the first entry of a type in user data.
fn entry(mut data: &[u8], kind: u8) -> Option<&[u8]> {
    while let [found, length, rest @ ..] = data {
        let (value, next) = rest.split_at_checked(usize::from(*length))?;
        if *found == kind {
            return Some(value);
        }
        data = next;
    }
    None
}

fn until_nul(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}
