//! TCP as a prober needs it (RFC 9293): a SYN to bytes, and bytes to the answers that a SYN gets.
//!
//! The kernel knows nothing of these SYNs, so it resets what answers them, which frees the other side's half-open
//! connection.

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};

use super::ip::{self, Checksum, V4};
use crate::bytes::{be16, be32, slice, take};
use crate::error::Malformed;

const HEADER: usize = 20;
/// Length of a SYN: the header and the one option.
const SYN_BYTES: usize = HEADER + 4;
const CHECKSUM_AT: usize = 16;

const FLAG_SYN: u8 = 0x02;
const FLAG_RST: u8 = 0x04;
const FLAG_ACK: u8 = 0x10;

const OPTION_MSS: u8 = 2;
/// Largest segment on Ethernet behind the headers of either family.
const MSS_V4: u16 = 1460;
const MSS_V6: u16 = 1440;

/// Both ends of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// From here to there.
    V4(SocketAddrV4, SocketAddrV4),
    /// From here to there.
    V6(SocketAddrV6, SocketAddrV6),
}

/// What answers a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The port that was probed.
    pub source_port: u16,
    /// The port it was probed from.
    pub destination_port: u16,
    /// Sequence number of the SYN that it answers.
    pub sequence: u32,
    /// Whether the port is closed (RST) instead of open (SYN and ACK).
    pub is_refusal: bool,
}

/// Writes a SYN in place of what is in the buffer.
pub fn write_syn(buf: &mut Vec<u8>, ends: &Ends, sequence: u32) {
    let (source, destination, ports, mss): (IpAddr, IpAddr, _, _) = match ends {
        Ends::V4(from, to) => ((*from.ip()).into(), (*to.ip()).into(), [from.port(), to.port()], MSS_V4),
        Ends::V6(from, to) => ((*from.ip()).into(), (*to.ip()).into(), [from.port(), to.port()], MSS_V6),
    };
    buf.clear();
    buf.extend(ports.into_iter().flat_map(u16::to_be_bytes));
    buf.extend(sequence.to_be_bytes());
    // Nothing is acknowledged. Length in words of 4 bytes, then flags and the largest window.
    buf.extend([0, 0, 0, 0, (SYN_BYTES as u8 / 4) << 4, FLAG_SYN, 0xff, 0xff]);
    // Checksum, to be computed, and no urgent data.
    buf.extend([0; 4]);
    // A SYN without it, or with options that few know, may be dropped on its way.
    buf.extend([OPTION_MSS, 4]);
    buf.extend(mss.to_be_bytes());
    let mut sum = Checksum::pseudo(&source, &destination, ip::TCP, SYN_BYTES);
    sum.add(buf);
    if let Some(field) = buf.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2) {
        field.copy_from_slice(&sum.field().to_be_bytes());
    }
}

/// Reads an IPv4 packet with a TCP segment inside, as a raw socket delivers it: the answer to a SYN, or none if it is
/// something else.
pub fn read_v4(packet: &[u8]) -> Result<(V4<'_>, Option<Answer>), Malformed> {
    let outer = V4::read(packet)?;
    if outer.protocol != ip::TCP {
        return Ok((outer, None));
    }
    let segment = outer.payload;
    let pseudo = Checksum::pseudo(&outer.source.into(), &outer.destination.into(), ip::TCP, segment.len());
    let mut sum = pseudo;
    sum.add(segment);
    // On a virtual link the card's work is left undone: the field then has the sum of the pseudo header alone.
    if !sum.holds() && be16(segment, CHECKSUM_AT, "TCP checksum")? != pseudo.unfinished() {
        return Err(Malformed::Value { what: "TCP checksum", offset: outer.header + CHECKSUM_AT });
    }
    Ok((outer, read_v6(segment)?))
}

/// Reads a TCP segment, as a raw IPv6 socket delivers it: the answer to a SYN, or none if it is something else. The kernel
/// has checked the checksum.
pub fn read_v6(segment: &[u8]) -> Result<Option<Answer>, Malformed> {
    let [offset, flags] = take(segment, 12, "TCP flags")?;
    let header = usize::from(offset >> 4) * 4;
    if header < HEADER {
        return Err(Malformed::Value { what: "TCP data offset", offset: 12 });
    }
    slice(segment, 0, header, "TCP header")?;
    let is_refusal = match flags & (FLAG_SYN | FLAG_ACK | FLAG_RST) {
        both if both == FLAG_SYN | FLAG_ACK => false,
        // Without ACK it tells nothing of what it refuses.
        reset if reset & (FLAG_RST | FLAG_ACK) == FLAG_RST | FLAG_ACK => true,
        _ => return Ok(None),
    };
    Ok(Some(Answer {
        source_port: be16(segment, 0, "TCP source port")?,
        destination_port: be16(segment, 2, "TCP destination port")?,
        // A SYN takes one number.
        sequence: be32(segment, 8, "TCP acknowledgement")?.wrapping_sub(1),
        is_refusal,
    }))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;
