//! Netlink messages: framing and attributes, and below them one module for each subsystem.
//!
//! Everything here but [`transport`], [`rtnetlink`] and the requests of [`tc`] is bytes to values and back, with every length checked.
//! Headers are in the byte order of this machine, and so are the numbers of rtnetlink; those of nf_tables and conntrack
//! are in network order, as addresses are everywhere. Sources: netlink(7), rtnetlink(7), linux/netlink.h,
//! linux/rtnetlink.h, linux/netfilter/nfnetlink.h.

pub mod build;
pub mod conntrack;
pub mod neighbour;
pub mod nftables;
pub mod route;
pub mod rtnetlink;
pub mod tc;
pub mod transport;

use crate::bytes::{ne16, ne32, slice};
use crate::error::Malformed;

/// Length of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Length of `struct nlattr`.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Flags in an attribute's type: nested, and network byte order.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// Everything in a netlink datagram starts at a multiple of 4.
const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: that of the request it answers, 0 for an event.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Splits a datagram into messages; stops after the first malformed one.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (message, length) = match message(rest) {
            Ok(found) => found,
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        rest = rest.get(align(length)..).unwrap_or(&[]);
        Some(Ok(message))
    })
}

fn message(buf: &[u8]) -> Result<(Message<'_>, usize), Malformed> {
    let length = ne32(buf, 0, "netlink message length")? as usize;
    if length < HEADER_BYTES {
        return Err(Malformed::Value { what: "netlink message length", offset: 0 });
    }
    let message = Message {
        kind: ne16(buf, 4, "netlink message type")?,
        flags: ne16(buf, 6, "netlink message flags")?,
        sequence: ne32(buf, 8, "netlink sequence number")?,
        body: slice(buf, HEADER_BYTES, length - HEADER_BYTES, "netlink message body")?,
    };
    Ok((message, length))
}

/// One attribute: its type without flags, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// `nla_type` without the nested and byte-order flags.
    pub kind: u16,
    /// The value's bytes, padding left out.
    pub value: &'a [u8],
}

/// Splits a message's tail, or a nested attribute's value, into attributes; stops after the first malformed one.
pub fn attributes(buf: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Malformed>> {
    let mut rest = buf;
    std::iter::from_fn(move || {
        // Up to three bytes of padding may follow the last attribute.
        if rest.len() < ATTRIBUTE_HEADER_BYTES {
            return None;
        }
        let (attribute, length) = match attribute(rest) {
            Ok(found) => found,
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        rest = rest.get(align(length)..).unwrap_or(&[]);
        Some(Ok(attribute))
    })
}

fn attribute(buf: &[u8]) -> Result<(Attribute<'_>, usize), Malformed> {
    let length = usize::from(ne16(buf, 0, "netlink attribute length")?);
    if length < ATTRIBUTE_HEADER_BYTES {
        return Err(Malformed::Value { what: "netlink attribute length", offset: 0 });
    }
    let attribute = Attribute {
        kind: ne16(buf, 2, "netlink attribute type")? & ATTRIBUTE_TYPE_MASK,
        value: slice(buf, ATTRIBUTE_HEADER_BYTES, length - ATTRIBUTE_HEADER_BYTES, "netlink attribute")?,
    };
    Ok((attribute, length))
}

/// The attributes up to the first that cannot be read. Kernels add new ones at the end, and user-mode emulation leaves
/// an empty last one in the wrong byte order: neither shall cost us the ones we know.
fn known(buf: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    attributes(buf).map_while(Result::ok)
}

/// What follows the fixed part of a message's body: its attributes.
fn tail<'a>(body: &'a [u8], fixed: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
    slice(body, fixed, body.len().saturating_sub(fixed), what)
}

/// A name in an attribute, which ends at its first NUL.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// The error number of an `NLMSG_ERROR` or `NLMSG_DONE` body: 0 for an acknowledgement, else a positive errno.
pub fn error_number(body: &[u8]) -> Result<i32, Malformed> {
    let number = ne32(body, 0, "netlink error number")? as i32;
    number.checked_neg().ok_or(Malformed::Value { what: "netlink error number", offset: 0 })
}

/// A request without attributes, ready to be sent: a header and its own family's `fixed` part.
pub fn request(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Vec<u8> {
    let mut datagram = build::Datagram::new();
    datagram.message(kind, flags, sequence, fixed);
    datagram.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_as_the_message_it_is() {
        let bytes = request(18, 5, 7, &[1, 2, 3, 4]);
        assert_eq!(bytes.len(), 20);
        let got: Vec<_> = messages(&bytes).collect();
        assert_eq!(got, [Ok(Message { kind: 18, flags: 5, sequence: 7, body: &[1, 2, 3, 4] })]);
    }

    #[test]
    fn a_message_longer_than_the_datagram_is_malformed_and_ends_the_walk() {
        let mut bytes = request(18, 0, 1, &[]);
        bytes[..4].copy_from_slice(&4096u32.to_ne_bytes());
        let got: Vec<_> = messages(&bytes).collect();
        assert!(matches!(got[..], [Err(Malformed::Truncated { .. })]));
    }

    #[test]
    fn a_length_of_zero_does_not_loop_for_ever() {
        assert_eq!(messages(&[0; 64]).count(), 1);
        assert_eq!(attributes(&[0; 64]).count(), 1);
    }

    #[test]
    fn attributes_are_padded_to_four_bytes() {
        let mut buf = Vec::new();
        for (kind, value) in [(3u16, &b"br"[..]), (0x8012, &b"abcd"[..])] {
            buf.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            buf.extend_from_slice(&kind.to_ne_bytes());
            buf.extend_from_slice(value);
            buf.resize(align(buf.len()), 0);
        }
        let got: Vec<_> = attributes(&buf).map(|a| a.map(|a| (a.kind, a.value))).collect();
        assert_eq!(got, [Ok((3, &b"br"[..])), Ok((0x12, &b"abcd"[..]))]);
    }
}
