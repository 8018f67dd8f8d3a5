//! The bytes of replies, sound and flawed.

use std::net::IpAddr;

use etherparse::{IpHeaders, IpNumber, Ipv4Header, PacketBuilder, PacketBuilderStep, TcpHeader};

use super::heard::{Asked, What};
use super::log::Kind;
use super::rule::{Error, Flaw, Intended};

/// Length of an IPv6 header.
const V6_HEADER: usize = 40;
/// How much of a request an error quotes at most, with its IP header: the error itself is no longer than 576 bytes
/// (RFC 1812, 4.3.2.3), and with IPv6 no longer than 1280 (RFC 4443, 2.4).
const MOST_QUOTED: [usize; 2] = [576 - 28, 1280 - 48];

/// A reply, from its IP header on.
pub(super) fn answer(asked: &Asked, intended: &Intended) -> Vec<u8> {
    let has = |flaw| intended.flaws.contains(&flaw);
    let cut = intended.flaws.iter().find_map(|flaw| match flaw {
        Flaw::Truncated(length) => Some(*length),
        _ => None,
    });
    let from = match intended.error {
        Some(error) => error.from,
        None if has(Flaw::Source) => neighbour(asked.destination),
        None => asked.destination,
    };
    let ip = || ip(from, asked.source, intended.ttl);
    let mut packet = Vec::new();
    let number = match (intended.kind, asked.what) {
        (Kind::Error, _) => error(ip(), intended.error.unwrap(), asked, cut, &mut packet),
        (_, What::Echo { identifier, sequence }) => {
            let mut payload = asked.packet[asked.transport + 8..].to_vec();
            if has(Flaw::Cookie) {
                payload.iter_mut().take(8).for_each(|byte| *byte = !*byte);
            }
            payload.truncate(cut.unwrap_or(usize::MAX).saturating_sub(8));
            let identifier = if has(Flaw::Identifier) { !identifier } else { identifier };
            if from.is_ipv4() {
                ip().icmpv4_echo_reply(identifier, sequence).write(&mut packet, &payload).unwrap();
                IpNumber::ICMP
            } else {
                ip().icmpv6_echo_reply(identifier, sequence).write(&mut packet, &payload).unwrap();
                IpNumber::IPV6_ICMP
            }
        }
        (kind, What::Syn { from: prober, to, sequence }) => {
            let port = if has(Flaw::Port) { to ^ 1 } else { to };
            let acknowledged = sequence.wrapping_add(if has(Flaw::Acknowledged) { 1000 } else { 1 });
            ip().tcp_header(segment(kind, port, prober, acknowledged)).write(&mut packet, &[]).unwrap();
            IpNumber::TCP
        }
        (kind, What::Udp { .. }) => panic!("no {kind:?} answers a datagram"),
    };
    let transport = if from.is_ipv4() { Ipv4Header::MIN_LEN } else { V6_HEADER };
    if let Some(length) = cut
        && length < packet.len() - transport
    {
        let rest = packet[transport..transport + length].to_vec();
        packet.clear();
        ip().write(&mut packet, number, &rest).unwrap();
    }
    let checksum = transport + if number == IpNumber::TCP { 16 } else { 2 };
    if has(Flaw::Checksum)
        && let Some(byte) = packet.get_mut(checksum)
    {
        *byte ^= 0x55;
    }
    packet
}

fn ip(from: IpAddr, to: IpAddr, ttl: u8) -> PacketBuilderStep<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), ttl),
        _ => panic!("{from} and {to} are of different families"),
    }
}

/// A SYN-ACK like Linux's, with its MSS, or the reset of a closed port.
fn segment(kind: Kind, from: u16, to: u16, acknowledged: u32) -> TcpHeader {
    let mut tcp = TcpHeader::new(from, to, 0, 0);
    tcp.ack = true;
    tcp.acknowledgment_number = acknowledged;
    if kind == Kind::SynAck {
        tcp.syn = true;
        tcp.sequence_number = acknowledged.rotate_left(16);
        tcp.window_size = 64_240;
        tcp.set_options_raw(&[2, 4, 0x05, 0xb4]).unwrap();
    } else {
        tcp.rst = true;
    }
    tcp
}

fn error(
    ip: PacketBuilderStep<IpHeaders>,
    error: Error,
    asked: &Asked,
    cut: Option<usize>,
    packet: &mut Vec<u8>,
) -> IpNumber {
    let mut quoted = if error.options { with_options(asked) } else { asked.packet.clone() };
    let most = if error.eight_bytes {
        asked.transport + if error.options { 8 } else { 0 } + 8
    } else {
        MOST_QUOTED[usize::from(!error.v4)]
    };
    quoted.truncate(most);
    quoted.truncate(cut.unwrap_or(usize::MAX).saturating_sub(8));
    if error.v4 {
        ip.icmpv4_raw(error.kind, error.code, error.rest).write(packet, &quoted).unwrap();
        IpNumber::ICMP
    } else {
        ip.icmpv6_raw(error.kind, error.code, error.rest).write(packet, &quoted).unwrap();
        IpNumber::IPV6_ICMP
    }
}

/// The request as it would look with 8 bytes of options after its IP header.
fn with_options(asked: &Asked) -> Vec<u8> {
    let (head, rest) = asked.packet.split_at(asked.transport);
    let head = if asked.destination.is_ipv4() {
        let (mut header, _) = Ipv4Header::from_slice(head).unwrap();
        // Record route (RFC 791) with room for one address, then the end of the list.
        header.options = [7, 7, 4, 0, 0, 0, 0, 0].into();
        header.set_payload_len(rest.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().to_vec()
    } else {
        let mut header = head.to_vec();
        let length = u16::from_be_bytes([head[4], head[5]]) + 8;
        header[4..6].copy_from_slice(&length.to_be_bytes());
        let next = header[6];
        header[6] = IpNumber::IPV6_DESTINATION_OPTIONS.0;
        // Destination options (RFC 8200, 4.6): 8 bytes in all, filled by one PadN.
        header.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        header
    };
    [&head, rest].concat()
}

/// An address that differs in its last bit but one.
fn neighbour(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4) ^ 2).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) ^ 2).to_be_bytes()),
    }
}
