//! What the kernel tells beside a packet or on the error queue (cmsg(3), linux/errqueue.h, linux/net_tstamp.h): stamps, to
//! which packet of ours they belong, hops, interface and address, packets it had no room for.
//!
//! Numbers are in the machine's byte order and headers of the machine's word size: [`Abi`] says which. Stamps of the old
//! and the new kind are read, whatever was asked for.

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

use crate::bytes::{slice, take};
use crate::error::Malformed;

/// Room for every control message that one packet may bring, in bytes.
pub const ROOM: usize = 256;

/// `SO_TIMESTAMPING_OLD` and `SO_TIMESTAMPING_NEW` (asm-generic/socket.h; MIPS has the same).
const TIMESTAMPING_OLD: i32 = 37;
const TIMESTAMPING_NEW: i32 = 65;

/// `enum` of origins in linux/errqueue.h.
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;
const ORIGIN_TIMESTAMPING: u8 = 4;

/// `SCM_TSTAMP_*` of linux/errqueue.h.
const TSTAMP_SND: u32 = 0;
const TSTAMP_SCHED: u32 = 1;

/// `struct sock_extended_err`.
const EXTENDED_ERROR: usize = 16;
/// IPv6 addresses in `struct sockaddr_in6` and IPv4 ones in `struct sockaddr_in`.
const ADDRESS_V4: usize = 4;
const ADDRESS_V6: usize = 8;

const NANOS: u64 = 1_000_000_000;

/// How the kernel lays control messages out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi {
    /// Bytes of a `long`: 4 or 8.
    pub word: usize,
    /// Whether numbers are big-endian.
    pub is_big: bool,
    /// The level of the socket's own messages, which is another on MIPS.
    pub sol_socket: i32,
}

impl Abi {
    /// The one of this machine.
    pub const NATIVE: Abi =
        Abi { word: size_of::<libc::c_long>(), is_big: cfg!(target_endian = "big"), sol_socket: libc::SOL_SOCKET };

    fn u16(&self, buf: &[u8], offset: usize, what: &'static str) -> Result<u16, Malformed> {
        take(buf, offset, what).map(if self.is_big { u16::from_be_bytes } else { u16::from_le_bytes })
    }

    fn u32(&self, buf: &[u8], offset: usize, what: &'static str) -> Result<u32, Malformed> {
        take(buf, offset, what).map(if self.is_big { u32::from_be_bytes } else { u32::from_le_bytes })
    }

    fn i32(&self, buf: &[u8], offset: usize, what: &'static str) -> Result<i32, Malformed> {
        self.u32(buf, offset, what).map(u32::cast_signed)
    }

    fn u64(&self, buf: &[u8], offset: usize, what: &'static str) -> Result<u64, Malformed> {
        take(buf, offset, what).map(if self.is_big { u64::from_be_bytes } else { u64::from_le_bytes })
    }

    fn long(&self, buf: &[u8], offset: usize, what: &'static str) -> Result<u64, Malformed> {
        if self.word == 8 { self.u64(buf, offset, what) } else { self.u32(buf, offset, what).map(u64::from) }
    }

    /// The next place where a header may begin.
    fn align(&self, length: usize) -> usize {
        length.next_multiple_of(self.word.max(1))
    }
}

/// When a packet passed, by two clocks that must not be mixed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// By the kernel, in nanoseconds since 1970.
    pub software: Option<NonZeroU64>,
    /// By the network card, in nanoseconds of its own clock.
    pub hardware: Option<NonZeroU64>,
}

/// What a message on the error queue is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The stamps are those of this packet, counted from 0 since stamps were asked for, when it left.
    Sent(u32),
    /// The same, when it entered the queue of the interface.
    Queued(u32),
    /// A packet could not be delivered.
    Failed {
        /// The error number that sending it would have returned.
        number: u32,
        /// The ICMP message that tells so, unless it is this machine.
        icmp: Option<Icmp>,
        /// For a packet that is too big, how many bytes would fit; else 0.
        mtu: u32,
    },
}

/// Where the news came from that a packet could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Type of the message.
    pub kind: u8,
    /// Code of the message.
    pub code: u8,
    /// Who sent it, where the kernel knows.
    pub reporter: Option<IpAddr>,
}

/// All that the control messages of one packet say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// When the packet was received, or left.
    pub stamps: Stamps,
    /// What is told on the error queue.
    pub notice: Option<Notice>,
    /// TTL or hop limit it came with.
    pub hop_limit: Option<u8>,
    /// Interface it came in on.
    pub ifindex: Option<u32>,
    /// To whom it was sent.
    pub destination: Option<IpAddr>,
    /// Packets that the socket had no room for since it was opened; it wraps.
    pub overflows: Option<u32>,
}

impl Control {
    /// Reads the control messages of one packet, in any order. What is not known is passed over; what is cut off is an
    /// error, as after MSG_CTRUNC.
    pub fn read(buf: &[u8], abi: &Abi) -> Result<Control, Malformed> {
        let mut control = Control::default();
        let header = abi.word + 8;
        let mut at = 0;
        while at < buf.len() {
            let length = usize::try_from(abi.long(buf, at, "control message length")?).unwrap_or(usize::MAX);
            let level = abi.i32(buf, at + abi.word, "control message level")?;
            let kind = abi.i32(buf, at + abi.word + 4, "control message type")?;
            if length < header {
                return Err(Malformed::Value { what: "control message length", offset: at });
            }
            let message = slice(buf, at, length, "control message")?;
            let data = message.get(header..).unwrap_or_default();
            control.add(level, kind, data, abi)?;
            at = at.saturating_add(abi.align(length));
        }
        Ok(control)
    }

    fn add(&mut self, level: i32, kind: i32, data: &[u8], abi: &Abi) -> Result<(), Malformed> {
        match (level, kind) {
            (level, TIMESTAMPING_OLD) if level == abi.sol_socket => {
                self.stamps = stamps(data, abi.word, abi)?;
            }
            (level, TIMESTAMPING_NEW) if level == abi.sol_socket => {
                self.stamps = stamps(data, 8, abi)?;
            }
            (level, libc::SO_RXQ_OVFL) if level == abi.sol_socket => {
                self.overflows = Some(abi.u32(data, 0, "SO_RXQ_OVFL")?);
            }
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                self.notice = notice(data, abi)?;
            }
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                self.hop_limit = u8::try_from(abi.u32(data, 0, "hop limit")?).ok();
            }
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                self.ifindex = Some(abi.u32(data, 0, "ifindex")?);
                self.destination = Some(Ipv4Addr::from(take::<4>(data, 8, "destination")?).into());
            }
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                self.destination = Some(Ipv6Addr::from(take::<16>(data, 0, "destination")?).into());
                self.ifindex = Some(abi.u32(data, 16, "ifindex")?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads the three stamps of `SCM_TIMESTAMPING`, of which the second is never used; zeros stand for none.
fn stamps(data: &[u8], word: usize, abi: &Abi) -> Result<Stamps, Malformed> {
    let stamp = |number: usize| {
        let at = number * 2 * word;
        let (seconds, nanos) = match word {
            8 => (abi.u64(data, at, "stamp")?, abi.u64(data, at + 8, "stamp")?),
            // Negative after 2038 if it were signed; differences are right either way.
            _ => (abi.u32(data, at, "stamp")?.into(), abi.u32(data, at + 4, "stamp")?.into()),
        };
        let total = seconds.checked_mul(NANOS).and_then(|seconds| seconds.checked_add(nanos));
        match total {
            Some(total) if nanos < NANOS => Ok(NonZeroU64::new(total)),
            _ => Err(Malformed::Value { what: "stamp", offset: at }),
        }
    };
    Ok(Stamps { software: stamp(0)?, hardware: stamp(2)? })
}

/// Reads `struct sock_extended_err` and the address behind it.
fn notice(data: &[u8], abi: &Abi) -> Result<Option<Notice>, Malformed> {
    let number = abi.u32(data, 0, "error number")?;
    let [origin, kind, code, _] = take(data, 4, "error origin")?;
    let info = abi.u32(data, 8, "error info")?;
    let id = abi.u32(data, 12, "error data")?;
    Ok(match origin {
        ORIGIN_TIMESTAMPING => match info {
            TSTAMP_SND => Some(Notice::Sent(id)),
            TSTAMP_SCHED => Some(Notice::Queued(id)),
            _ => None,
        },
        ORIGIN_ICMP | ORIGIN_ICMP6 => {
            let icmp = Icmp { kind, code, reporter: reporter(data, abi) };
            Some(Notice::Failed { number, icmp: Some(icmp), mtu: info })
        }
        _ => Some(Notice::Failed { number, icmp: None, mtu: info }),
    })
}

/// The socket address behind an extended error, where there is one.
fn reporter(data: &[u8], abi: &Abi) -> Option<IpAddr> {
    let address = data.get(EXTENDED_ERROR..)?;
    match i32::from(abi.u16(address, 0, "address family").ok()?) {
        libc::AF_INET => Some(Ipv4Addr::from(take::<4>(address, ADDRESS_V4, "address").ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(take::<16>(address, ADDRESS_V6, "address").ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;
