//! Whole Ethernet frames made to order, for what sockets cannot send: VLAN tags, fragments, forged addresses.

use std::net::IpAddr;

use etherparse::PacketBuilder;

/// Identification of every IPv4 packet made here, so that fragments belong together.
const IDENTIFICATION: [u8; 2] = [0x4d, 0x21];

/// A UDP datagram from `source` to `destination` (both IPv4 or both IPv6) in an Ethernet frame with right checksums.
pub fn udp(macs: Macs, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(macs.source, macs.destination);
    let mut frame = Vec::new();
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            builder.ipv4(from.octets(), to.octets(), 64).udp(40_000, 9).write(&mut frame, payload).unwrap();
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            builder.ipv6(from.octets(), to.octets(), 64).udp(40_000, 9).write(&mut frame, payload).unwrap();
        }
        _ => panic!("{source} and {destination} are of different families"),
    }
    frame
}

/// Hardware addresses of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Macs {
    /// Sender.
    pub source: [u8; 6],
    /// Receiver.
    pub destination: [u8; 6],
}

/// The frame with 802.1Q or 802.1ad tags put in, outermost first: `&[(0x88a8, 7), (0x8100, 42)]`.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for (ethertype, id) in tags {
        tagged.extend(ethertype.to_be_bytes());
        tagged.extend(id.to_be_bytes());
    }
    tagged.extend(&frame[12..]);
    tagged
}

/// Cuts the IPv4 packet of `frame` into fragments with at most `size` bytes of payload each (a multiple of 8).
/// Only the first holds the UDP header.
pub fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    assert!(size > 0 && size.is_multiple_of(8), "fragments are cut at multiples of 8 bytes, not {size}");
    let (ethernet, packet) = frame.split_at(14);
    assert!(ethernet[12..] == [0x08, 0x00] && packet[0] == 0x45, "an untagged IPv4 frame without options is needed");
    let (header, payload) = packet.split_at(20);
    let pieces = payload.chunks(size).enumerate();
    let fragment = |(n, piece): (usize, &[u8])| {
        let last = n * size + piece.len() == payload.len();
        let offset = u16::try_from(n * size / 8).unwrap() | if last { 0 } else { 0x2000 };
        let mut header = header.to_vec();
        header[2..4].copy_from_slice(&u16::try_from(20 + piece.len()).unwrap().to_be_bytes());
        header[4..6].copy_from_slice(&IDENTIFICATION);
        header[6..8].copy_from_slice(&offset.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [ethernet, &header, piece].concat()
    };
    pieces.map(fragment).collect()
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) as u16 + (folded >> 16) as u16)
}
