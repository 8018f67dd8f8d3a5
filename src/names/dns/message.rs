//! What the questions for names and for addresses have in common on the wire (RFC 1035, 4.1): header, question, names,
//! and records behind aliases.

#![deny(clippy::indexing_slicing)]

use std::ops::ControlFlow;

use crate::bytes::{be16, be32, slice, take};
use crate::error::Malformed;

/// Longest name on the wire, its final zero included.
const MAX_NAME: usize = 255;
/// How many aliases are followed.
const MAX_ALIASES: usize = 8;
/// Longest answer over UDP without extensions is 512 bytes; a server may say a little more.
pub const MAX_ANSWER: usize = 1232;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;

/// The type of records with an IPv4 address (RFC 1035, 3.4.1).
pub const TYPE_A: u16 = 1;
/// The type of records with the name that an alias stands for.
pub const TYPE_CNAME: u16 = 5;
/// The type of records with the name of an address.
pub const TYPE_PTR: u16 = 12;
/// The type of records with an IPv6 address (RFC 3596, 2.1).
pub const TYPE_AAAA: u16 = 28;

/// A question with this number for the records of this type that a name has.
pub fn question(id: u16, name: &Name, kind: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(96);
    message.extend(id.to_be_bytes());
    // A standard query, recursion desired; one question and nothing else.
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(&name.labels);
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// How a server takes the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It has answered it, perhaps by no record.
    Fine,
    /// There is no such name.
    NoSuchName,
    /// It could not or would not tell (RFC 1035, 4.1.1): 2 for a failure, 5 for a refusal.
    Failed(u8),
}

/// What came back for a question.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// How the server takes the question.
    pub code: Code,
    /// Whether there is more than fitted into the message.
    pub is_cut: bool,
    kind: u16,
    records: Records<'a>,
}

impl<'a> Reply<'a> {
    /// Reads the head of what came back; `None` if it does not answer the question with this number for the records of
    /// this type that the name has.
    pub fn read(message: &'a [u8], id: u16, wanted: &Name, kind: u16) -> Result<Option<Self>, Malformed> {
        let flags = be16(message, 2, "flags")?;
        let (is_response, opcode, is_cut) = (flags & 0x8000 != 0, flags >> 11 & 0xf, flags & 0x0200 != 0);
        if be16(message, 0, "id")? != id || !is_response || opcode != 0 || be16(message, 4, "questions")? != 1 {
            return Ok(None);
        }
        let (asked, end) = Name::read(message, HEADER)?;
        let question = (be16(message, end, "question type")?, be16(message, end + 2, "question class")?);
        if asked != *wanted || question != (kind, CLASS_IN) {
            return Ok(None);
        }
        let code = match flags.to_be_bytes()[1] & 0xf {
            0 => Code::Fine,
            3 => Code::NoSuchName,
            code => Code::Failed(code),
        };
        let records = Records { message, at: end + 4, left: be16(message, 6, "answers")? };
        Ok(Some(Reply { code, is_cut, kind, records }))
    }

    /// Gives the records of the type that was asked for to `take`, until that breaks off: those that the name has, or
    /// else those of the name that it is an alias of.
    pub fn follow(
        &self,
        mut wanted: Name,
        mut take: impl FnMut(&Record) -> Result<ControlFlow<()>, Malformed>,
    ) -> Result<(), Malformed> {
        // An alias holds no longer than any other on the way to it.
        let mut ttl = u32::MAX;
        for _ in 0..=MAX_ALIASES {
            let (mut alias, mut is_found) = (None, false);
            for record in self.records {
                let mut record = match record {
                    Ok(record) => record,
                    // A server that has no room may stop in the middle of a record.
                    Err(_) if self.is_cut => break,
                    Err(error) => return Err(error),
                };
                if record.owner != wanted {
                    continue;
                }
                record.ttl = record.ttl.min(ttl);
                if record.kind == self.kind {
                    is_found = true;
                    if take(&record)?.is_break() {
                        return Ok(());
                    }
                } else if record.kind == TYPE_CNAME {
                    alias = Some((Name::read(self.records.message, record.data)?.0, record.ttl));
                }
            }
            match alias {
                Some(alias) if !is_found => (wanted, ttl) = alias,
                _ => break,
            }
        }
        Ok(())
    }
}

/// A domain name: labels, each behind its length, without the final zero.
#[derive(Debug, Clone, Default)]
pub struct Name {
    labels: Vec<u8>,
}

impl Name {
    /// Adds a label of 1 to 63 bytes.
    pub fn push(&mut self, label: &[u8]) {
        if let Ok(len) = u8::try_from(label.len()) {
            self.labels.push(len);
            self.labels.extend(label);
        }
    }

    /// Reads the name at an offset; returns where what follows it begins.
    pub fn read(message: &[u8], start: usize) -> Result<(Name, usize), Malformed> {
        const WHAT: &str = "domain name";
        let mut name = Name::default();
        let (mut at, mut end) = (start, None);
        // Pointers must lead before this offset, and each one moves it towards the start.
        let mut limit = start;
        loop {
            let [len] = take::<1>(message, at, WHAT)?;
            match len {
                0 => return Ok((name, end.unwrap_or(at + 1))),
                1..=63 => {
                    name.push(slice(message, at + 1, len.into(), WHAT)?);
                    if name.labels.len() >= MAX_NAME {
                        return Err(Malformed::Value { what: WHAT, offset: start });
                    }
                    at += 1 + usize::from(len);
                }
                192.. => {
                    let target = usize::from(be16(message, at, WHAT)? & 0x3fff);
                    if target >= limit {
                        return Err(Malformed::Value { what: WHAT, offset: at });
                    }
                    end = end.or(Some(at + 2));
                    (at, limit) = (target, target);
                }
                64..=191 => return Err(Malformed::Value { what: WHAT, offset: at }),
            }
        }
    }

    /// Labels with dots between; a dot inside a label, and bytes that are not UTF-8, are replaced.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut rest = self.labels.as_slice();
        while let Some((len, behind)) = rest.split_first() {
            let (label, behind) = behind.split_at_checked((*len).into()).unwrap_or((behind, &[]));
            if !text.is_empty() {
                text.push('.');
            }
            let label = String::from_utf8_lossy(label);
            text.extend(label.chars().map(|c| if c == '.' { char::REPLACEMENT_CHARACTER } else { c }));
            rest = behind;
        }
        text
    }
}

impl PartialEq for Name {
    /// Letters compare without case; the lengths between them are below any letter.
    fn eq(&self, other: &Name) -> bool {
        self.labels.eq_ignore_ascii_case(&other.labels)
    }
}

/// The records behind the question.
#[derive(Debug, Clone, Copy)]
struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: u16,
}

/// One record.
#[derive(Debug)]
pub struct Record {
    owner: Name,
    /// The type if the class is the internet's, else 0, which is none.
    kind: u16,
    /// How long it holds, in seconds; at most as long as the aliases that lead to it.
    pub ttl: u32,
    /// Where the data begins.
    pub data: usize,
    /// How long the data is, in bytes.
    pub len: usize,
}

impl Records<'_> {
    fn read(&mut self) -> Result<Record, Malformed> {
        let (owner, at) = Name::read(self.message, self.at)?;
        let kind = be16(self.message, at, "record type")?;
        let class = be16(self.message, at + 2, "record class")?;
        let ttl = be32(self.message, at + 4, "record time to live")?;
        let len = be16(self.message, at + 8, "record length")?.into();
        let data = at + 10;
        slice(self.message, data, len, "record data")?;
        self.at = data + len;
        // With the first bit set it is to be taken for zero (RFC 2181, 8).
        let ttl = if ttl >> 31 == 0 { ttl } else { 0 };
        Ok(Record { owner, kind: if class == CLASS_IN { kind } else { 0 }, ttl, data, len })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}
