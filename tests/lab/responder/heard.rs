//! Reading what the prober sends.

use std::net::IpAddr;

use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TcpSlice, TransportSlice};

/// What a request asks for, with what tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An echo request.
    Echo { identifier: u16, sequence: u16 },
    /// A SYN from a port to a port, with its sequence number.
    Syn { from: u16, to: u16, sequence: u32 },
    /// A UDP datagram from a port to a port.
    Udp { from: u16, to: u16 },
}

/// A request with all there is to know about it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub what: What,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    pub dont_fragment: bool,
    /// From the IP header on.
    pub packet: Vec<u8>,
    /// Where the ICMP, TCP or UDP header starts.
    pub transport: usize,
}

/// A packet of the prober's side.
#[derive(Debug)]
pub(super) enum Heard {
    Request(Asked),
    /// A reset of what a SYN-ACK offered.
    Reset {
        destination: IpAddr,
        port: u16,
    },
    /// The end of a connection, with the packet that ends it for both.
    Finish(Vec<u8>),
    /// A wrong checksum: a machine would not answer.
    Damaged,
    /// What nobody expects an answer to.
    Other,
}

pub(super) fn hear(packet: &[u8]) -> Heard {
    let Ok(sliced) = SlicedPacket::from_ip(packet) else { return Heard::Damaged };
    let (source, destination, ttl, tos, dont_fragment) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let (source, destination) = (header.source_addr().into(), header.destination_addr().into());
            let damaged = header.to_header().calc_header_checksum() != header.header_checksum();
            if damaged {
                return Heard::Damaged;
            }
            (source, destination, header.ttl(), packet[1], header.dont_fragment())
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (source, destination) = (header.source_addr().into(), header.destination_addr().into());
            (source, destination, header.hop_limit(), header.traffic_class(), true)
        }
        _ => return Heard::Other,
    };
    let destination: IpAddr = destination;
    if destination.is_multicast() {
        return Heard::Other;
    }
    let (what, length) = match &sliced.transport {
        Some(TransportSlice::Icmpv4(icmp)) => {
            if icmp.icmp_type().calc_checksum(icmp.payload()) != icmp.checksum() {
                return Heard::Damaged;
            }
            let Icmpv4Type::EchoRequest(echo) = icmp.icmp_type() else { return Heard::Other };
            (What::Echo { identifier: echo.id, sequence: echo.seq }, icmp.slice().len())
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let (IpAddr::V6(from), IpAddr::V6(to)) = (source, destination) else { return Heard::Other };
            if !icmp.is_checksum_valid(from.octets(), to.octets()) {
                return Heard::Damaged;
            }
            let Icmpv6Type::EchoRequest(echo) = icmp.icmp_type() else { return Heard::Other };
            (What::Echo { identifier: echo.id, sequence: echo.seq }, icmp.slice().len())
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let sum = match (source, destination) {
                (IpAddr::V4(from), IpAddr::V4(to)) => tcp.calc_checksum_ipv4(from.octets(), to.octets()),
                (IpAddr::V6(from), IpAddr::V6(to)) => tcp.calc_checksum_ipv6(from.octets(), to.octets()),
                _ => return Heard::Other,
            };
            if sum != Ok(tcp.checksum()) {
                return Heard::Damaged;
            }
            let (from, to) = (tcp.source_port(), tcp.destination_port());
            match (tcp.syn(), tcp.ack(), tcp.rst(), tcp.fin()) {
                (true, false, false, false) => {
                    (What::Syn { from, to, sequence: tcp.sequence_number() }, tcp.slice().len())
                }
                (_, _, true, _) => return Heard::Reset { destination, port: to },
                (_, _, _, true) => return Heard::Finish(end_of(tcp, source, destination)),
                _ => return Heard::Other,
            }
        }
        Some(TransportSlice::Udp(udp)) => {
            (What::Udp { from: udp.source_port(), to: udp.destination_port() }, udp.slice().len())
        }
        _ => return Heard::Other,
    };
    let packet = packet.to_vec();
    let transport = packet.len() - length;
    Heard::Request(Asked { source, destination, what, ttl, tos, dont_fragment, packet, transport })
}

/// Without it, the kernel on the other side would repeat its FIN for minutes.
fn end_of(tcp: &TcpSlice<'_>, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let builder = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => PacketBuilder::ipv4(destination.octets(), source.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(destination)) => PacketBuilder::ipv6(destination.octets(), source.octets(), 64),
        _ => return Vec::new(),
    };
    let mut packet = Vec::new();
    let builder = builder.tcp(tcp.destination_port(), tcp.source_port(), tcp.acknowledgment_number(), 0).rst();
    builder.write(&mut packet, &[]).unwrap();
    packet
}
