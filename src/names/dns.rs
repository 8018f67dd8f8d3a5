//! DNS on the wire (RFC 1035): the question for the name of an address or for the addresses of a name, and what an
//! answer says.
//!
//! Bytes enter and leave; who is asked, how often and for how long is the resolver's. An answer counts only if it has
//! the number and the question of what was asked. The name may stand behind aliases, as where a provider delegates a
//! part of a /24 (RFC 2317). Pointers may only lead towards the start of a message, so following them ends.

#![deny(clippy::indexing_slicing)]

use std::net::IpAddr;

use crate::bytes::{be16, slice, take};
use crate::error::Malformed;

/// Longest name on the wire, its final zero included.
const MAX_NAME: usize = 255;
/// How many aliases are followed.
const MAX_ALIASES: usize = 8;
/// Longest answer over UDP without extensions is 512 bytes; a server may say a little more.
pub const MAX_ANSWER: usize = 1232;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
/// Most addresses taken from one answer.
const MAX_ADDRESSES: usize = 8;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The address has a name: labels with dots between, of any length and with any characters.
    Name(String),
    /// It has none, or what there is did not fit into the answer.
    Nobody,
    /// The server could not or would not tell; the code is 2 for a failure, 5 for a refusal.
    Failed(u8),
    /// It is not an answer to what was asked.
    Unasked,
}

/// A question with this number for the name of an address.
pub fn query(id: u16, addr: &IpAddr) -> Vec<u8> {
    question(id, reverse(addr), TYPE_PTR)
}

/// Which addresses of a name are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 addresses.
    V4,
    /// IPv6 addresses.
    V6,
}

/// What a server says about the addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// These, at least one.
    Found(Vec<IpAddr>),
    /// There are none.
    Nobody,
    /// The server could not or would not tell; the code is 2 for a failure, 5 for a refusal.
    Failed(u8),
    /// It is not an answer to what was asked.
    Unasked,
}

/// A question with this number for the addresses of a host; nothing if that is no name of a host.
pub fn forward_query(id: u16, host: &str, family: Family) -> Option<Vec<u8>> {
    Some(question(id, Name::of_host(host)?, family.kind()))
}

/// Reads what came back for the question with this number for the addresses of a host.
pub fn addresses(message: &[u8], id: u16, host: &str, family: Family) -> Result<Addresses, Malformed> {
    let kind = family.kind();
    let Some(mut wanted) = Name::of_host(host) else { return Ok(Addresses::Unasked) };
    let (records, is_cut) = match records(message, id, &wanted, kind)? {
        Said::Records(records, is_cut) => (records, is_cut),
        Said::Nobody => return Ok(Addresses::Nobody),
        Said::Failed(code) => return Ok(Addresses::Failed(code)),
        Said::Unasked => return Ok(Addresses::Unasked),
    };
    for _ in 0..=MAX_ALIASES {
        let (mut alias, mut found) = (None, Vec::new());
        for record in records {
            let record = match record {
                Ok(record) => record,
                // A server that has no room may stop in the middle of a record.
                Err(_) if is_cut => break,
                Err(error) => return Err(error),
            };
            match record.kind {
                TYPE_CNAME if record.owner == wanted => alias = Some(Name::read(message, record.data)?.0),
                of if of == kind && record.owner == wanted && found.len() < MAX_ADDRESSES => {
                    found.push(match family {
                        Family::V4 => IpAddr::from(take::<4>(message, record.data, "IPv4 address")?),
                        Family::V6 => IpAddr::from(take::<16>(message, record.data, "IPv6 address")?),
                    });
                }
                _ => {}
            }
        }
        match alias {
            _ if !found.is_empty() => return Ok(Addresses::Found(found)),
            Some(alias) => wanted = alias,
            None => break,
        }
    }
    Ok(Addresses::Nobody)
}

impl Family {
    fn kind(self) -> u16 {
        match self {
            Family::V4 => TYPE_A,
            Family::V6 => TYPE_AAAA,
        }
    }
}

fn question(id: u16, name: Name, kind: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(96);
    message.extend(id.to_be_bytes());
    // A standard query, recursion desired; one question and nothing else.
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(name.wire());
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// What the head of an answer says.
enum Said<'a> {
    /// These records, of which some may be missing.
    Records(Records<'a>, bool),
    Nobody,
    Failed(u8),
    Unasked,
}

/// Reads the head and the question of an answer.
fn records<'a>(message: &'a [u8], id: u16, wanted: &Name, kind: u16) -> Result<Said<'a>, Malformed> {
    let flags = be16(message, 2, "flags")?;
    let (is_response, opcode, is_cut, code) =
        (flags & 0x8000 != 0, flags >> 11 & 0xf, flags & 0x0200 != 0, flags.to_be_bytes()[1] & 0xf);
    if be16(message, 0, "id")? != id || !is_response || opcode != 0 || be16(message, 4, "questions")? != 1 {
        return Ok(Said::Unasked);
    }
    let (asked, end) = Name::read(message, HEADER)?;
    let (of, class) = (be16(message, end, "question type")?, be16(message, end + 2, "question class")?);
    if asked != *wanted || (of, class) != (kind, CLASS_IN) {
        return Ok(Said::Unasked);
    }
    Ok(match code {
        0 => Said::Records(Records { message, at: end + 4, left: be16(message, 6, "answers")? }, is_cut),
        // There is no such name.
        3 => Said::Nobody,
        code => Said::Failed(code),
    })
}

/// Reads what came back for the question with this number for the name of this address.
pub fn answer(message: &[u8], id: u16, addr: &IpAddr) -> Result<Answer, Malformed> {
    let mut wanted = reverse(addr);
    let (records, is_cut) = match records(message, id, &wanted, TYPE_PTR)? {
        Said::Records(records, is_cut) => (records, is_cut),
        Said::Nobody => return Ok(Answer::Nobody),
        Said::Failed(code) => return Ok(Answer::Failed(code)),
        Said::Unasked => return Ok(Answer::Unasked),
    };
    for _ in 0..=MAX_ALIASES {
        let mut alias = None;
        for record in records {
            let record = match record {
                Ok(record) => record,
                // A server that has no room may stop in the middle of a record.
                Err(_) if is_cut => break,
                Err(error) => return Err(error),
            };
            match record.kind {
                TYPE_PTR if record.owner == wanted => {
                    let name = Name::read(message, record.data)?.0.text();
                    return Ok(if name.is_empty() { Answer::Nobody } else { Answer::Name(name) });
                }
                TYPE_CNAME if record.owner == wanted => alias = Some(Name::read(message, record.data)?.0),
                _ => {}
            }
        }
        match alias {
            Some(alias) => wanted = alias,
            None => break,
        }
    }
    Ok(Answer::Nobody)
}

/// The name in a DNS answer as the name of a client: without the local domain behind it, and none if it only repeats
/// the address, as providers and some routers make them up.
pub fn client_name<'a>(name: &'a str, addr: &IpAddr, domains: &[String]) -> Option<&'a str> {
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    let is_lookup = [".in-addr.arpa", ".ip6.arpa"].iter().any(|end| lower.ends_with(end));
    if lower.is_empty() || is_lookup || repeats(&lower, addr) {
        return None;
    }
    let bare = |domain: &str| lower.strip_suffix(domain)?.strip_suffix('.').filter(|host| !host.is_empty());
    let cut = domains.iter().filter_map(|domain| bare(domain)).map(str::len).min();
    name.get(..cut.unwrap_or(lower.len()))
}

/// Whether a name in lower case has the address in it, forwards or backwards, with any separators or digits only.
fn repeats(name: &str, addr: &IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => {
            let dotted: String = name.chars().map(|c| if matches!(c, '-' | '_') { '.' } else { c }).collect();
            let [a, b, c, d] = addr.octets();
            let is_in = |needle: &str| dotted.contains(needle);
            is_in(&format!("{a}.{b}.{c}.{d}")) || is_in(&format!("{d}.{c}.{b}.{a}"))
        }
        IpAddr::V6(addr) => {
            let digits = format!("{:032x}", addr.to_bits());
            let bare: String = name.chars().filter(char::is_ascii_hexdigit).collect();
            name.contains(&addr.to_string().replace(':', "-"))
                || bare.contains(&digits)
                || bare.contains(&digits.chars().rev().collect::<String>())
        }
    }
}

/// The name under which an address is looked up: `4.3.2.1.in-addr.arpa` (RFC 1035, 3.5), or the 32 digits of an IPv6
/// address likewise in ip6.arpa (RFC 3596, 2.5).
fn reverse(addr: &IpAddr) -> Name {
    let mut name = Name::default();
    match addr {
        IpAddr::V4(addr) => {
            addr.octets().iter().rev().for_each(|octet| name.push(octet.to_string().as_bytes()));
            name.push(b"in-addr");
        }
        IpAddr::V6(addr) => {
            let digit = |value: u8| [char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8)];
            for octet in addr.octets().iter().rev() {
                name.push(&digit(octet & 0xf));
                name.push(&digit(octet >> 4));
            }
            name.push(b"ip6");
        }
    }
    name.push(b"arpa");
    name
}

/// A domain name: labels, each behind its length, without the final zero.
#[derive(Debug, Clone, Default)]
struct Name {
    labels: Vec<u8>,
}

impl Name {
    /// The name of a host as it is written, with or without the dot at its end.
    fn of_host(host: &str) -> Option<Name> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut name = Name::default();
        for label in host.split('.') {
            (1..=63).contains(&label.len()).then(|| name.push(label.as_bytes()))?;
        }
        (name.labels.len() < MAX_NAME).then_some(name)
    }

    fn push(&mut self, label: &[u8]) {
        if let Ok(len) = u8::try_from(label.len()) {
            self.labels.push(len);
            self.labels.extend(label);
        }
    }

    fn wire(self) -> Vec<u8> {
        let mut wire = self.labels;
        wire.push(0);
        wire
    }

    /// Reads the name at an offset; returns where what follows it begins.
    fn read(message: &[u8], start: usize) -> Result<(Name, usize), Malformed> {
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
    fn text(&self) -> String {
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
#[derive(Clone, Copy)]
struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: u16,
}

struct Record {
    owner: Name,
    /// The type if the class is the internet's, else 0, which is none.
    kind: u16,
    /// Where the data begins.
    data: usize,
}

impl Records<'_> {
    fn read(&mut self) -> Result<Record, Malformed> {
        let (owner, at) = Name::read(self.message, self.at)?;
        let kind = be16(self.message, at, "record type")?;
        let class = be16(self.message, at + 2, "record class")?;
        let len = be16(self.message, at + 8, "record length")?;
        let data = at + 10;
        slice(self.message, data, len.into(), "record data")?;
        self.at = data + usize::from(len);
        Ok(Record { owner, kind: if class == CLASS_IN { kind } else { 0 }, data })
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

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;
