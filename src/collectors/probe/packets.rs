//! Packets for the tests, made by etherparse: what the other side and the routers between send.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;

/// Us and whom we probe.
pub const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
pub const HERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const THERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);

pub const IDENTIFIER: u16 = 0x1234;
pub const SEQUENCE: u16 = 0xfffe;
pub const COOKIE: u64 = 0x0102_0304_0506_0708;

/// Length of an IPv6 header, which a raw socket leaves out.
const V6_HEADER: usize = 40;

/// A payload that begins with the cookie.
pub fn payload() -> Vec<u8> {
    let mut payload = COOKIE.to_be_bytes().to_vec();
    payload.extend([0; 48]);
    payload
}

pub fn reply_v4(identifier: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(THERE.octets(), HERE.octets(), 57).icmpv4_echo_reply(identifier, SEQUENCE);
    builder.write(&mut packet, &payload()).unwrap();
    packet
}

pub fn request_v4(identifier: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(HERE.octets(), THERE.octets(), 1).icmpv4_echo_request(identifier, SEQUENCE);
    builder.write(&mut packet, &payload()).unwrap();
    packet
}

pub fn error_v4(kind: u8, code: u8, rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(ROUTER.octets(), HERE.octets(), 64).icmpv4_raw(kind, code, rest);
    builder.write(&mut packet, quoted).unwrap();
    packet
}

pub fn reply_v6(identifier: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(THERE6.octets(), HERE6.octets(), 57).icmpv6_echo_reply(identifier, SEQUENCE);
    builder.write(&mut packet, &payload()).unwrap();
    packet.split_off(V6_HEADER)
}

/// With its IP header, to be quoted.
pub fn request_v6(identifier: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(HERE6.octets(), THERE6.octets(), 1).icmpv6_echo_request(identifier, SEQUENCE);
    builder.write(&mut packet, &payload()).unwrap();
    packet
}

pub fn error_v6(kind: u8, code: u8, rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(THERE6.octets(), HERE6.octets(), 64).icmpv6_raw(kind, code, rest);
    builder.write(&mut packet, quoted).unwrap();
    packet.split_off(V6_HEADER)
}

/// Flags of an answer to a SYN.
#[derive(Clone, Copy)]
pub enum Flags {
    SynAck,
    RstAck,
    Rst,
    Ack,
}

pub fn answer_v4(flags: Flags, to_port: u16, acknowledged: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(THERE.octets(), HERE.octets(), 57).tcp(443, to_port, 77, 1000);
    let builder = match flags {
        Flags::SynAck => builder.syn().ack(acknowledged).options_raw(&[2, 4, 5, 0xb4, 1, 1, 4, 2]).unwrap(),
        Flags::RstAck => builder.rst().ack(acknowledged),
        Flags::Rst => builder.rst(),
        Flags::Ack => builder.ack(acknowledged),
    };
    builder.write(&mut packet, &[]).unwrap();
    packet
}

pub fn answer_v6(flags: Flags, to_port: u16, acknowledged: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(THERE6.octets(), HERE6.octets(), 57).tcp(443, to_port, 77, 1000);
    let builder = match flags {
        Flags::SynAck => builder.syn().ack(acknowledged),
        Flags::RstAck => builder.rst().ack(acknowledged),
        Flags::Rst => builder.rst(),
        Flags::Ack => builder.ack(acknowledged),
    };
    builder.write(&mut packet, &[]).unwrap();
    packet.split_off(V6_HEADER)
}

/// A SYN of ours, with its IP header, to be quoted.
pub fn syn_v4(from_port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(HERE.octets(), THERE.octets(), 1).tcp(from_port, 443, 0xcafe_f00d, 1000).syn();
    builder.write(&mut packet, &[]).unwrap();
    packet
}

/// A SYN of ours, with its IP header, to be quoted.
pub fn syn_v6(from_port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(HERE6.octets(), THERE6.octets(), 1).tcp(from_port, 443, 0xcafe_f00d, 1000).syn();
    builder.write(&mut packet, &[]).unwrap();
    packet
}

/// The packet with 8 bytes of options in its IPv4 header; the header's own checksum is of no interest here.
pub fn with_options(packet: &[u8]) -> Vec<u8> {
    let mut longer = packet[..20].to_vec();
    longer[0] = 0x47;
    let total = u16::try_from(packet.len()).unwrap() + 8;
    longer[2..4].copy_from_slice(&total.to_be_bytes());
    // Record route with room for one address, then the end.
    longer.extend([7, 7, 4, 0, 0, 0, 0, 0]);
    longer.extend(&packet[20..]);
    longer
}
