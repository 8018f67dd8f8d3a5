//! The bytes of probes and of what comes back, as far as these tests need them, and packet filters to go with them.

#![allow(dead_code, reason = "each user needs a part of it")]

use std::net::{IpAddr, Ipv4Addr};

use gatemeter::sys::batch::Received;
use gatemeter::sys::raw::Kind;

/// The identifier of every echo request here.
pub const IDENTIFIER: u16 = 0x6d67;
/// The port that every SYN here comes from.
pub const PORT: u16 = 61_234;

/// An echo request of 64 bytes.
pub fn echo(v4: bool, sequence: u16) -> [u8; 64] {
    let mut packet = [0x5a; 64];
    packet[..4].copy_from_slice(&[if v4 { 8 } else { 128 }, 0, 0, 0]);
    packet[4..6].copy_from_slice(&IDENTIFIER.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    if v4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// A SYN; its checksum is filled in where `v4` has the addresses for it.
pub fn syn(to: u16, sequence: u32, v4: Option<(Ipv4Addr, Ipv4Addr)>) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(PORT.to_be_bytes());
    tcp.extend(to.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend([6 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend([2, 4, 1400u16.to_be_bytes()[0], 1400u16.to_be_bytes()[1]]);
    if let Some((source, destination)) = v4 {
        let mut all = [source.octets(), destination.octets()].concat();
        all.extend([0, 6, 0, tcp.len() as u8]);
        all.extend(&tcp);
        tcp[16..18].copy_from_slice(&checksum(&all));
    }
    tcp
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    (!((sum >> 16) + sum) as u16).to_be_bytes()
}

/// Lets replies to our echo requests pass, or SYN-ACK and RST to our port.
pub fn filter(kind: Kind) -> Vec<libc::sock_filter> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let (byte, half, equal, any) = (0x50, 0x48, 0x15, 0x45);
    let header = match kind {
        Kind::Icmp4 | Kind::Tcp4 => step(0xb1, 0, 0, 0),
        Kind::Icmp6 | Kind::Tcp6 => step(0x01, 0, 0, 0),
    };
    let (pass, drop) = (step(0x06, 0, 0, 0xffff), step(0x06, 0, 0, 0));
    match kind {
        Kind::Icmp4 | Kind::Icmp6 => {
            let reply = if kind == Kind::Icmp4 { 0 } else { 129 };
            vec![
                header,
                step(byte, 0, 0, 0),
                step(equal, 0, 3, reply),
                step(half, 0, 0, 4),
                step(equal, 0, 1, u32::from(IDENTIFIER)),
                pass,
                drop,
            ]
        }
        Kind::Tcp4 | Kind::Tcp6 => vec![
            header,
            step(half, 0, 0, 2),
            step(equal, 0, 5, u32::from(PORT)),
            step(byte, 0, 0, 13),
            step(any, 2, 0, 0x04),
            step(0x54, 0, 0, 0x12),
            step(equal, 0, 1, 0x12),
            pass,
            drop,
        ],
    }
}

/// What a raw socket of IPv4 puts before the packet taken off.
pub fn payload<'a>(packet: &Received<'a>) -> &'a [u8] {
    let data = packet.data;
    match packet.source {
        Some(IpAddr::V4(_)) if data.first().is_some_and(|first| first >> 4 == 4) => {
            &data[usize::from(data[0] & 15) * 4..]
        }
        _ => data,
    }
}

/// Sequence number of an echo reply.
pub fn sequence(packet: &Received<'_>) -> u16 {
    let echo = payload(packet);
    u16::from_be_bytes([echo[6], echo[7]])
}

/// Level, type and bytes of each control message.
pub fn messages(control: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    const WORD: usize = size_of::<usize>();
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = control.get(at..at + WORD + 8)?;
        let length = usize::from_ne_bytes(header[..WORD].try_into().unwrap());
        let level = i32::from_ne_bytes(header[WORD..WORD + 4].try_into().unwrap());
        let kind = i32::from_ne_bytes(header[WORD + 4..].try_into().unwrap());
        let data = &control[at + WORD + 8..at + length];
        at += length.next_multiple_of(WORD);
        Some((level, kind, data))
    })
}

/// The software stamp among control messages, in nanoseconds.
pub fn stamp(control: &[u8]) -> Option<u64> {
    let (.., data) = messages(control).find(|(level, kind, _)| (*level, *kind) == (libc::SOL_SOCKET, 65))?;
    assert_eq!(data.len(), 48);
    let number = |at: usize| i64::from_ne_bytes(data[at..at + 8].try_into().unwrap());
    let time = u64::try_from(number(0) * 1_000_000_000 + number(8)).unwrap();
    (time != 0).then_some(time)
}

/// An extended error: origin, type, info and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    pub origin: u8,
    pub kind: u8,
    pub info: u32,
    pub data: u32,
}

pub fn extended(control: &[u8]) -> Option<Extended> {
    let wanted = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
    let (.., data) = messages(control).find(|(level, kind, _)| wanted.contains(&(*level, *kind)))?;
    let number = |at: usize| u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
    Some(Extended { origin: data[4], kind: data[5], info: number(8), data: number(12) })
}
