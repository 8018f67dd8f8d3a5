//! Reverse DNS on the wire (RFC 1035): the question for the name of an address, and what an answer says. The other
//! way round, names to addresses, is [`forward`]'s; what both questions share is in `message`.
//!
//! Bytes enter and leave; who is asked, how often and for how long is the resolver's. An answer counts only if it has
//! the number and the question of what was asked. The name may stand behind aliases, as where a provider delegates a
//! part of a /24 (RFC 2317). Pointers may only lead towards the start of a message, so following them ends.

#![deny(clippy::indexing_slicing)]

use std::net::IpAddr;
use std::ops::ControlFlow;

use crate::error::Malformed;

pub mod forward;
mod message;

pub use message::MAX_ANSWER;
use message::{Code, Name, Reply, TYPE_PTR};

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
    message::question(id, &reverse(addr), TYPE_PTR)
}

/// Reads what came back for the question with this number for the name of this address.
pub fn answer(message: &[u8], id: u16, addr: &IpAddr) -> Result<Answer, Malformed> {
    let wanted = reverse(addr);
    let Some(reply) = Reply::read(message, id, &wanted, TYPE_PTR)? else { return Ok(Answer::Unasked) };
    match reply.code {
        Code::Fine => {}
        Code::NoSuchName => return Ok(Answer::Nobody),
        Code::Failed(code) => return Ok(Answer::Failed(code)),
    }
    let mut name = String::new();
    reply.follow(wanted, |record| {
        name = Name::read(message, record.data)?.0.text();
        Ok(ControlFlow::Break(()))
    })?;
    Ok(if name.is_empty() { Answer::Nobody } else { Answer::Name(name) })
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

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;
