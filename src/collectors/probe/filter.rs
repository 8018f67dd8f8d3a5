//! Classic BPF programs that keep from the raw sockets what is no answer to a probe (linux/filter.h).
//!
//! A raw socket is offered every packet of its protocol. The kernel runs these on what the socket would get: an IPv4
//! packet with its header, or what follows the IPv6 header; a load behind the end drops the packet. They are coarse: what
//! passes is read and matched again.

#![deny(clippy::indexing_slicing)]

use std::ops::RangeInclusive;

use super::codec::ip;
use crate::classic_bpf::{jump, step};

const BYTE: u32 = libc::BPF_LD | libc::BPF_B;
const HALF: u32 = libc::BPF_LD | libc::BPF_H;
/// Where a load is from: the start, or what X says.
const ABS: u32 = libc::BPF_ABS;
const IND: u32 = libc::BPF_IND;
/// Loads four times the lower half of a byte into X: the length of an IPv4 header.
const HEADER_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
/// Keeps A, or brings back what was kept.
const KEEP: u32 = libc::BPF_ST;
const KEPT: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_MEM;
const NUMBER_TO_X: u32 = libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const SHIFT_LEFT: u32 = libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K;
const ADD_X: u32 = libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X;
const TO_X: u32 = libc::BPF_MISC | libc::BPF_TAX;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Flags of TCP: RST, and those by which a SYN is acknowledged.
const RST: u32 = 0x04;
const SYN_AND_ACK: u32 = 0x12;

/// For a raw ICMP socket: echo replies with our identifier, and errors about echo requests with it or about TCP segments
/// from our ports.
pub fn icmp_v4(identifier: u16, ports: &RangeInclusive<u16>) -> [libc::sock_filter; 29] {
    const ERROR: u8 = 8;
    const PASS: u8 = 27;
    const DROP: u8 = 28;
    let identifier = identifier.into();
    [
        step(HEADER_LENGTH, 0),
        step(BYTE | IND, 0),
        jump(2, EQUAL, 0, 6, 3),
        jump(3, EQUAL, 3, ERROR, 4),
        jump(4, EQUAL, 11, ERROR, 5),
        jump(5, EQUAL, 12, ERROR, DROP),
        step(HALF | IND, 4),
        jump(7, EQUAL, identifier, PASS, DROP),
        // What is quoted begins 8 bytes behind; it must be a first fragment.
        step(HALF | IND, 8 + 6),
        jump(9, ANY_BIT, 0x1fff, DROP, 10),
        step(BYTE | IND, 8 + 9),
        step(KEEP, 0),
        // X moves on by the length of the quoted header.
        step(BYTE | IND, 8),
        step(AND, 0x0f),
        step(SHIFT_LEFT, 2),
        step(ADD_X, 0),
        step(TO_X, 0),
        step(KEPT, 0),
        jump(18, EQUAL, u32::from(ip::ICMP), 19, 23),
        step(BYTE | IND, 8),
        jump(20, EQUAL, 8, 21, DROP),
        step(HALF | IND, 8 + 4),
        jump(22, EQUAL, identifier, PASS, DROP),
        jump(23, EQUAL, u32::from(ip::TCP), 24, DROP),
        step(HALF | IND, 8),
        jump(25, AT_LEAST, u32::from(*ports.start()), 26, DROP),
        jump(26, ABOVE, u32::from(*ports.end()), DROP, PASS),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

/// For a raw ICMPv6 socket: the same. What is quoted with extension headers passes, whatever it is.
pub fn icmp_v6(identifier: u16, ports: &RangeInclusive<u16>) -> [libc::sock_filter; 22] {
    const PASS: u8 = 20;
    const DROP: u8 = 21;
    let identifier = identifier.into();
    [
        step(BYTE | ABS, 0),
        jump(1, EQUAL, 129, 2, 4),
        step(HALF | ABS, 4),
        jump(3, EQUAL, identifier, PASS, DROP),
        // Errors have the types from 1 to 4.
        jump(4, ABOVE, 4, DROP, 5),
        jump(5, EQUAL, 0, DROP, 6),
        step(BYTE | ABS, 8 + 6),
        jump(7, EQUAL, u32::from(ip::ICMPV6), 8, 12),
        step(BYTE | ABS, 48),
        jump(9, EQUAL, 128, 10, DROP),
        step(HALF | ABS, 48 + 4),
        jump(11, EQUAL, identifier, PASS, DROP),
        jump(12, EQUAL, u32::from(ip::TCP), 13, 16),
        step(HALF | ABS, 48),
        jump(14, AT_LEAST, u32::from(*ports.start()), 15, DROP),
        jump(15, ABOVE, u32::from(*ports.end()), DROP, PASS),
        jump(16, EQUAL, u32::from(ip::HOP_BY_HOP), PASS, 17),
        jump(17, EQUAL, u32::from(ip::ROUTING), PASS, 18),
        jump(18, EQUAL, u32::from(ip::FRAGMENT), PASS, 19),
        jump(19, EQUAL, u32::from(ip::DESTINATION), PASS, DROP),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

/// For a raw TCP socket over IPv4: what acknowledges or refuses a connection, to one of our ports.
pub fn tcp_v4(ports: &RangeInclusive<u16>) -> [libc::sock_filter; 10] {
    tcp(step(HEADER_LENGTH, 0), ports)
}

/// For a raw TCP socket over IPv6: the same.
pub fn tcp_v6(ports: &RangeInclusive<u16>) -> [libc::sock_filter; 10] {
    tcp(step(NUMBER_TO_X, 0), ports)
}

/// The segment begins where the first instruction has X point.
fn tcp(to_segment: libc::sock_filter, ports: &RangeInclusive<u16>) -> [libc::sock_filter; 10] {
    const PASS: u8 = 8;
    const DROP: u8 = 9;
    [
        to_segment,
        step(HALF | IND, 2),
        jump(2, AT_LEAST, u32::from(*ports.start()), 3, DROP),
        jump(3, ABOVE, u32::from(*ports.end()), DROP, 4),
        step(BYTE | IND, 13),
        jump(5, ANY_BIT, RST, PASS, 6),
        step(AND, SYN_AND_ACK),
        jump(7, EQUAL, SYN_AND_ACK, PASS, DROP),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;
