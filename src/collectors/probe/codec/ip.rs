//! The headers around a probe (RFC 791, RFC 8200) and the checksum of everything inside them (RFC 1071).

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::{be16, slice, take};
use crate::error::Malformed;

/// Protocol numbers of IANA.
pub const ICMP: u8 = 1;
/// See [`ICMP`].
pub const TCP: u8 = 6;
/// See [`ICMP`].
pub const ICMPV6: u8 = 58;

/// Extension headers of IPv6.
pub const HOP_BY_HOP: u8 = 0;
/// See [`HOP_BY_HOP`].
pub const ROUTING: u8 = 43;
/// See [`HOP_BY_HOP`].
pub const FRAGMENT: u8 = 44;
/// See [`HOP_BY_HOP`].
pub const AUTHENTICATION: u8 = 51;
/// See [`HOP_BY_HOP`].
pub const DESTINATION: u8 = 60;

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
/// Offset of a fragment, in the half-word that holds the flags as well.
const V4_FRAGMENT_OFFSET: u16 = 0x1fff;
const V6_FRAGMENT_OFFSET: u16 = 0xfff8;
/// More headers than this between the IPv6 header and a probe are not of our making.
const MOST_EXTENSIONS: usize = 8;

/// An IPv4 packet as a raw socket delivers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V4<'a> {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// To whom it was sent.
    pub destination: Ipv4Addr,
    /// Hops it had left.
    pub ttl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Where the payload starts, in bytes.
    pub header: usize,
    /// What follows the header, without what may stand behind the packet.
    pub payload: &'a [u8],
}

impl<'a> V4<'a> {
    /// Reads a whole packet: what is shorter than it says of itself is an error.
    pub fn read(packet: &'a [u8]) -> Result<Self, Malformed> {
        let total = be16(packet, 2, "IPv4 total length")?;
        let packet = slice(packet, 0, usize::from(total), "IPv4 packet")?;
        Self::quoted(packet)
    }

    /// Reads as much of a packet as an ICMP error quotes. Its checksum, TTL and type of service are what the network made
    /// of them.
    pub fn quoted(packet: &'a [u8]) -> Result<Self, Malformed> {
        let [first, tos] = take(packet, 0, "IPv4 version")?;
        if first >> 4 != 4 {
            return Err(Malformed::Value { what: "IPv4 version", offset: 0 });
        }
        let header = usize::from(first & 0xf) * 4;
        if header < V4_HEADER {
            return Err(Malformed::Value { what: "IPv4 header length", offset: 0 });
        }
        // An error may be padded behind what it quotes, but not every router leaves the length as it was.
        let total = usize::from(be16(packet, 2, "IPv4 total length")?);
        let end = if total < header { packet.len() } else { total.min(packet.len()) };
        if be16(packet, 6, "IPv4 fragment offset")? & V4_FRAGMENT_OFFSET != 0 {
            return Err(Malformed::Value { what: "IPv4 fragment offset", offset: 6 });
        }
        let [ttl, protocol] = take(packet, 8, "IPv4 protocol")?;
        let source = Ipv4Addr::from(take::<4>(packet, 12, "IPv4 source")?);
        let destination = Ipv4Addr::from(take::<4>(packet, 16, "IPv4 destination")?);
        slice(packet, 0, header, "IPv4 header")?;
        let payload = packet.get(header..end).unwrap_or_default();
        Ok(V4 { source, destination, ttl, tos, protocol, header, payload })
    }
}

/// An IPv6 packet inside an ICMPv6 error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V6<'a> {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// To whom it was sent.
    pub destination: Ipv6Addr,
    /// Protocol of the payload, behind all extension headers.
    pub protocol: u8,
    /// What follows the headers, as far as it is quoted.
    pub payload: &'a [u8],
}

impl<'a> V6<'a> {
    /// Reads as much of a packet as an ICMPv6 error quotes.
    pub fn quoted(packet: &'a [u8]) -> Result<Self, Malformed> {
        let [first] = take(packet, 0, "IPv6 version")?;
        if first >> 4 != 6 {
            return Err(Malformed::Value { what: "IPv6 version", offset: 0 });
        }
        let length = usize::from(be16(packet, 4, "IPv6 payload length")?);
        let [mut protocol] = take(packet, 6, "IPv6 next header")?;
        let source = Ipv6Addr::from(take::<16>(packet, 8, "IPv6 source")?);
        let destination = Ipv6Addr::from(take::<16>(packet, 24, "IPv6 destination")?);
        // An error may be padded behind what it quotes.
        let packet = packet.get(..V6_HEADER + length).unwrap_or(packet);
        let mut at = V6_HEADER;
        for _ in 0..MOST_EXTENSIONS {
            let unit = match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION => 8,
                AUTHENTICATION => 4,
                FRAGMENT => 0,
                _ => {
                    let payload = packet.get(at..).unwrap_or_default();
                    return Ok(V6 { source, destination, protocol, payload });
                }
            };
            let [next, length] = take(packet, at, "IPv6 extension header")?;
            if protocol == FRAGMENT && be16(packet, at + 2, "IPv6 fragment offset")? & V6_FRAGMENT_OFFSET != 0 {
                return Err(Malformed::Value { what: "IPv6 fragment offset", offset: at + 2 });
            }
            // Lengths do not count the first 8 bytes, which a fragment header has no more than.
            at += 8 + usize::from(length) * unit;
            protocol = next;
        }
        Err(Malformed::Value { what: "IPv6 extension headers", offset: at })
    }
}

/// A checksum while bytes are added to it: the sum of 16-bit words in one's complement.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checksum(u32);

impl Checksum {
    /// Starts with the pseudo header of a packet between two addresses of one family.
    pub fn pseudo(source: &IpAddr, destination: &IpAddr, protocol: u8, length: usize) -> Self {
        let mut sum = Checksum::default();
        for addr in [source, destination] {
            match addr {
                IpAddr::V4(addr) => sum.add(&addr.octets()),
                IpAddr::V6(addr) => sum.add(&addr.octets()),
            }
        }
        // No probe comes near the 64 kB of an IPv6 packet, so the upper half of its length is zero.
        sum.add(&(length as u16).to_be_bytes());
        sum.add(&[0, protocol]);
        sum
    }

    /// Adds bytes, of which only the last call may bring an odd number.
    pub fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<2>();
        // 65,535 words and more fit before the sum could wrap: it is folded whenever something is added.
        let words: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        let rest = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
        self.0 = fold(fold(words) + rest + self.0);
    }

    /// The field that makes it come out right.
    pub fn field(self) -> u16 {
        !(self.0 as u16)
    }

    /// Whether the bytes, with their field, come out right.
    pub fn holds(self) -> bool {
        self.0 == 0xffff
    }

    /// What has been added so far, as the kernel leaves it in the field of a packet whose checksum the card is to finish.
    pub fn unfinished(self) -> u16 {
        self.0 as u16
    }
}

/// Brings a sum to 16 bits; what overflows is added at the bottom.
fn fold(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}
