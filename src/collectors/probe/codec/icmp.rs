//! ICMP and ICMPv6 (RFC 792, RFC 4443): echo requests to bytes; bytes to replies, and to errors that quote a probe.
//!
//! The kernel delivers ICMP to a raw socket before it looks at the checksum, so that is checked here; ICMPv6 it checks
//! and computes itself. Whether an answer is to one of our probes is for the caller to find out.

#![deny(clippy::indexing_slicing)]

use std::net::IpAddr;

use super::ip::{self, Checksum, V4, V6};
use crate::bytes::{be16, be32, slice, take};
use crate::error::Malformed;

/// Payload of an echo request unless told otherwise, in bytes, as ping has it.
pub const DEFAULT_SIZE: usize = 56;
/// Smallest payload, in bytes: the cookie.
pub const MIN_SIZE: usize = 8;
/// Largest payload, in bytes: what fits into an IPv4 packet.
pub const MAX_SIZE: usize = 65_507;

const HEADER: usize = 8;
const CHECKSUM_AT: usize = 2;
const IDENTIFIER_AT: usize = 4;
const SEQUENCE_AT: usize = 6;
const COOKIE_AT: usize = 8;

const V4_REPLY: u8 = 0;
const V4_UNREACHABLE: u8 = 3;
const V4_REQUEST: u8 = 8;
const V4_TIME_EXCEEDED: u8 = 11;
const V4_PARAMETER: u8 = 12;

const V6_UNREACHABLE: u8 = 1;
const V6_TOO_BIG: u8 = 2;
const V6_TIME_EXCEEDED: u8 = 3;
const V6_PARAMETER: u8 = 4;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;

/// What an echo request carries and its reply brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Whose request it is, among those of this machine.
    pub identifier: u16,
    /// Number of the request; it wraps.
    pub sequence: u16,
    /// The first bytes of the payload: what tells our replies from those to others with our identifier.
    pub cookie: u64,
}

/// What an ICMP message says to a prober.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// An echo reply.
    Reply(Echo),
    /// An error about something that may be a probe.
    Error(Report),
    /// Something else.
    Other,
}

/// An ICMP error that quotes an echo request or a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What went wrong.
    pub problem: Problem,
    /// Where the quoted packet was sent.
    pub destination: IpAddr,
    /// The quoted packet.
    pub probe: Quoted,
}

/// Why a packet did not arrive, as ICMP and ICMPv6 have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// No route to the network.
    NetworkUnreachable,
    /// The host does not answer to its neighbours.
    HostUnreachable,
    /// Nobody listens there.
    PortUnreachable,
    /// Any other reason for which a destination is unreachable; the code is the message's.
    Unreachable(u8),
    /// A firewall refuses it.
    Prohibited,
    /// Larger than the next link can take, which is this many bytes, or 0 from a router that does not tell.
    TooBig(u32),
    /// It went through more routers than it was allowed to.
    TimeExceeded,
    /// Something in its header is not understood.
    Parameter,
}

/// What an error quotes: at least the 8 bytes behind the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoted {
    /// An echo request.
    Echo {
        /// See [`Echo`].
        identifier: u16,
        /// See [`Echo`].
        sequence: u16,
        /// See [`Echo`]; none if the quote ends before it.
        cookie: Option<u64>,
    },
    /// A TCP segment.
    Tcp {
        /// Where it came from.
        source_port: u16,
        /// Where it was sent.
        destination_port: u16,
        /// Its sequence number.
        sequence: u32,
    },
}

/// Writes an ICMP echo request with a payload of `size` bytes in place of what is in the buffer.
pub fn write_v4(buf: &mut Vec<u8>, echo: &Echo, size: usize) {
    write(buf, V4_REQUEST, echo, size);
    let mut sum = Checksum::default();
    sum.add(buf);
    if let Some(field) = buf.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2) {
        field.copy_from_slice(&sum.field().to_be_bytes());
    }
}

/// Writes an ICMPv6 echo request with a payload of `size` bytes in place of what is in the buffer. Its checksum is left to
/// the kernel, which knows the source address.
pub fn write_v6(buf: &mut Vec<u8>, echo: &Echo, size: usize) {
    write(buf, V6_REQUEST, echo, size);
}

fn write(buf: &mut Vec<u8>, kind: u8, echo: &Echo, size: usize) {
    let size = size.clamp(MIN_SIZE, MAX_SIZE);
    buf.clear();
    buf.extend([kind, 0, 0, 0]);
    buf.extend(echo.identifier.to_be_bytes());
    buf.extend(echo.sequence.to_be_bytes());
    buf.extend(echo.cookie.to_be_bytes());
    // Bytes that differ, so that a link does not compress them away.
    buf.extend((MIN_SIZE..size).map(|at| at as u8));
}

/// Reads an IPv4 packet with an ICMP message inside, as a raw socket delivers it.
pub fn read_v4(packet: &[u8]) -> Result<(V4<'_>, Received), Malformed> {
    let outer = V4::read(packet)?;
    if outer.protocol != ip::ICMP {
        return Ok((outer, Received::Other));
    }
    Ok((outer, read_v4_message(outer.payload)?))
}

/// Reads an ICMP message without the packet around it, as a ping socket delivers it.
pub fn read_v4_message(message: &[u8]) -> Result<Received, Malformed> {
    let mut sum = Checksum::default();
    sum.add(message);
    if !sum.holds() {
        return Err(Malformed::Value { what: "ICMP checksum", offset: CHECKSUM_AT });
    }
    let [kind, code] = take(message, 0, "ICMP type")?;
    let problem = match (kind, code) {
        (V4_REPLY, 0) => return Ok(Received::Reply(echo(message)?)),
        (V4_UNREACHABLE, 0 | 6) => Problem::NetworkUnreachable,
        (V4_UNREACHABLE, 1 | 7) => Problem::HostUnreachable,
        (V4_UNREACHABLE, 3) => Problem::PortUnreachable,
        (V4_UNREACHABLE, 4) => Problem::TooBig(be16(message, 6, "MTU")?.into()),
        (V4_UNREACHABLE, 9 | 10 | 13) => Problem::Prohibited,
        (V4_UNREACHABLE, code) => Problem::Unreachable(code),
        (V4_TIME_EXCEEDED, _) => Problem::TimeExceeded,
        (V4_PARAMETER, _) => Problem::Parameter,
        _ => return Ok(Received::Other),
    };
    // The length of the quote, in words of 4 bytes, where extensions follow it (RFC 4884).
    let [length] = take(message, 5, "length of the quote")?;
    let inner = V4::quoted(quote(message, usize::from(length) * 4)?)?;
    let probe = probe(inner.protocol, inner.payload)?;
    Ok(report(problem, inner.destination.into(), probe))
}

/// Reads an ICMPv6 message, as a raw or ping socket delivers it.
pub fn read_v6(message: &[u8]) -> Result<Received, Malformed> {
    let [kind, code] = take(message, 0, "ICMPv6 type")?;
    let problem = match (kind, code) {
        (V6_REPLY, 0) => return Ok(Received::Reply(echo(message)?)),
        (V6_UNREACHABLE, 0) => Problem::NetworkUnreachable,
        (V6_UNREACHABLE, 1 | 5 | 6) => Problem::Prohibited,
        (V6_UNREACHABLE, 3) => Problem::HostUnreachable,
        (V6_UNREACHABLE, 4) => Problem::PortUnreachable,
        (V6_UNREACHABLE, code) => Problem::Unreachable(code),
        (V6_TOO_BIG, _) => Problem::TooBig(be32(message, 4, "MTU")?),
        (V6_TIME_EXCEEDED, _) => Problem::TimeExceeded,
        (V6_PARAMETER, _) => Problem::Parameter,
        _ => return Ok(Received::Other),
    };
    // The length of the quote, in words of 8 bytes, where extensions follow it (RFC 4884): these two types may have any.
    let [length] = match kind {
        V6_UNREACHABLE | V6_TIME_EXCEEDED => take(message, 4, "length of the quote")?,
        _ => [0],
    };
    let inner = V6::quoted(quote(message, usize::from(length) * 8)?)?;
    let probe = probe(inner.protocol, inner.payload)?;
    Ok(report(problem, inner.destination.into(), probe))
}

fn echo(message: &[u8]) -> Result<Echo, Malformed> {
    Ok(Echo {
        identifier: be16(message, IDENTIFIER_AT, "identifier")?,
        sequence: be16(message, SEQUENCE_AT, "sequence")?,
        cookie: take(message, COOKIE_AT, "cookie").map(u64::from_be_bytes)?,
    })
}

/// The packet that an error quotes; a length of 0 means up to the end.
fn quote(message: &[u8], length: usize) -> Result<&[u8], Malformed> {
    let length = match length {
        0 => message.len().saturating_sub(HEADER),
        length => length,
    };
    slice(message, HEADER, length, "quoted packet")
}

/// The probe in a quoted packet, if it may be one.
fn probe(protocol: u8, payload: &[u8]) -> Result<Option<Quoted>, Malformed> {
    match protocol {
        ip::ICMP | ip::ICMPV6 => {
            let request = if protocol == ip::ICMP { V4_REQUEST } else { V6_REQUEST };
            if take(payload, 0, "quoted type")? != [request, 0] {
                return Ok(None);
            }
            Ok(Some(Quoted::Echo {
                identifier: be16(payload, IDENTIFIER_AT, "quoted identifier")?,
                sequence: be16(payload, SEQUENCE_AT, "quoted sequence")?,
                cookie: take(payload, COOKIE_AT, "quoted cookie").map(u64::from_be_bytes).ok(),
            }))
        }
        ip::TCP => Ok(Some(Quoted::Tcp {
            source_port: be16(payload, 0, "quoted source port")?,
            destination_port: be16(payload, 2, "quoted destination port")?,
            sequence: be32(payload, 4, "quoted sequence number")?,
        })),
        _ => Ok(None),
    }
}

fn report(problem: Problem, destination: IpAddr, probe: Option<Quoted>) -> Received {
    match probe {
        Some(probe) => Received::Error(Report { problem, destination, probe }),
        None => Received::Other,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;
