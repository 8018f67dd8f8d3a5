//! Sending many packets to many destinations in one system call (sendmmsg(2)).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use libc::c_int;

use super::super::socket::Address;
use super::{Control, MOST, headers};

/// Room for the three control messages of a packet: the longest has 20 bytes and the others 4, after headers of 16.
const CONTROL_BYTES: usize = 40 + 24 + 24;

/// A packet for a raw socket.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Where it goes.
    pub destination: IpAddr,
    /// The interface it leaves by; 0 leaves it to the routes.
    pub ifindex: u32,
    /// The address it comes from, of the same family as the destination; `None` leaves it to the kernel.
    pub source: Option<IpAddr>,
    /// Time to live or hop limit; `None` leaves it to the kernel.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: u8,
    /// What follows the IP header.
    pub bytes: &'a [u8],
}

/// How sending went. Whatever stops it before the end leaves in doubt how many numbers for stamps were used up: see
/// [`Timestamps::restart_numbers`](super::super::timestamps::Timestamps::restart_numbers).
#[derive(Debug)]
pub enum Sent {
    /// To the end of the batch.
    All,
    /// Not to the end: there are more than were to be sent, or the kernel stopped at a packet, and says why when it is
    /// tried again. To go on is to do so.
    Stopped,
    /// The kernel refused a packet; to go on is to go on behind it.
    Refused {
        /// Its place in the batch.
        index: usize,
        /// Why: EPERM is a firewall of our own, ENOBUFS a full queue of the interface or the
        /// socket, ENETUNREACH no route or a link that is down.
        error: io::Error,
    },
}

/// Packets to be sent.
pub struct SendBatch {
    packet_bytes: usize,
    /// `packet_bytes` for each packet, one after the other.
    bytes: Vec<u8>,
    addresses: Vec<Address>,
    control: Vec<Control<CONTROL_BYTES>>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    filled: usize,
    /// How many are sent or refused.
    done: usize,
}

impl SendBatch {
    /// Room for `packets`, at most 1024, of up to `packet_bytes` each.
    pub fn new(packets: usize, packet_bytes: usize) -> Self {
        let packets = packets.min(MOST);
        let (headers, vectors) = headers(packets);
        SendBatch {
            packet_bytes,
            bytes: vec![0; packets * packet_bytes],
            addresses: vec![Address::default(); packets],
            control: vec![Control([0; CONTROL_BYTES]); packets],
            headers,
            vectors,
            filled: 0,
            done: 0,
        }
    }

    /// Adds a packet. False, and it is not added, if the batch is full or the packet longer than its room.
    pub fn push(&mut self, packet: &Packet<'_>) -> bool {
        let at = self.filled;
        let room = self.bytes.get_mut(at * self.packet_bytes..).unwrap_or_default();
        let Some(bytes) = room.get_mut(..packet.bytes.len()).filter(|bytes| bytes.len() <= self.packet_bytes) else {
            return false;
        };
        let (Some(header), Some(vector)) = (self.headers.get_mut(at), self.vectors.get_mut(at)) else { return false };
        let (Some(address), Some(control)) = (self.addresses.get_mut(at), self.control.get_mut(at)) else {
            return false;
        };
        bytes.copy_from_slice(packet.bytes);
        vector.iov_len = bytes.len();
        // A port in the address of a raw IPv6 packet would have to be its protocol.
        *address = match packet.destination {
            IpAddr::V4(ip) => Address::new(SocketAddr::from((ip, 0))),
            // The kernel reads the scope for addresses that have one only.
            IpAddr::V6(ip) => Address::new(SocketAddrV6::new(ip, 0, 0, packet.ifindex).into()),
        };
        header.msg_hdr.msg_namelen = address.length();
        header.msg_hdr.msg_controllen = write_control(packet, &mut control.0) as _;
        self.filled += 1;
        true
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// How many of them have been sent or refused.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Forgets all packets, sent or not.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.done = 0;
    }

    /// Sends what is left, see [`Self::send_up_to`].
    pub fn send(&mut self, socket: &impl AsFd) -> Sent {
        self.send_up_to(self.filled, socket)
    }

    /// Sends `most` packets of what is left, or up to the first packet that the kernel does not take. It says why
    /// only of the first packet that it is given, so a refused packet is tried twice unless it is the first.
    ///
    /// An error that an earlier packet has brought about, such as an ICMP message that came back, never stops a later
    /// one: only sockets that write the IP header themselves, or receive, are told of those.
    pub fn send_up_to(&mut self, most: usize, socket: &impl AsFd) -> Sent {
        self.point();
        let left = self.filled - self.done;
        if left == 0 {
            return Sent::All;
        }
        match self.send_some(most, socket.as_fd()) {
            Ok(count) => {
                self.done += count;
                if count == left { Sent::All } else { Sent::Stopped }
            }
            Err(error) => {
                let index = self.done;
                self.done += 1;
                Sent::Refused { index, error }
            }
        }
    }

    /// Sets the pointers of the packets that are left; those of an earlier call are void once a packet was added.
    fn point(&mut self) {
        let left = self.done..self.filled;
        let pieces = self.bytes.chunks_exact_mut(self.packet_bytes.max(1)).skip(self.done);
        let vectors = self.vectors.get_mut(left.clone()).unwrap_or_default();
        for (vector, piece) in vectors.iter_mut().zip(pieces) {
            vector.iov_base = piece.as_mut_ptr().cast();
        }
        let headers = self.headers.get_mut(left).unwrap_or_default().iter_mut();
        let names = self.addresses.iter_mut().zip(&mut self.control).skip(self.done);
        for ((header, vector), (address, control)) in headers.zip(vectors).zip(names) {
            header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
    }

    /// One system call; returns how many packets went out, at least one.
    fn send_some(&mut self, most: usize, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let end = self.filled.min(self.done.saturating_add(most));
        let left = self.headers.get_mut(self.done..end).unwrap_or_default();
        // Not through the C library: that of 64-bit OpenWrt makes one system call of each packet, to clear the fields
        // that only it has, which are zero here.
        // SAFETY: `left` is as many live headers as are named. Each points to an address, a control buffer and a vector
        // of one piece, at least as long as their lengths say: `point` took the pointers from this batch's own storage
        // for all packets that are left, and nothing touched that storage since. The descriptor is borrowed, so it stays
        // open during the call. The kernel writes to the headers only.
        let sent =
            unsafe { libc::syscall(libc::SYS_sendmmsg, socket.as_raw_fd(), left.as_mut_ptr(), left.len(), FLAGS) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendBatch({} of {} done, room for {})", self.done, self.filled, self.headers.len())
    }
}

const FLAGS: c_int = libc::MSG_DONTWAIT;

/// Writes the control messages of a packet and returns their length.
fn write_control(packet: &Packet<'_>, control: &mut [u8; CONTROL_BYTES]) -> usize {
    let mut writer = Writer { control, length: 0 };
    let v4 = packet.destination.is_ipv4();
    let (level, info, ttl, tos) = if v4 {
        (libc::IPPROTO_IP, libc::IP_PKTINFO, libc::IP_TTL, libc::IP_TOS)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS)
    };
    if packet.ifindex != 0 || packet.source.is_some() {
        let ifindex = packet.ifindex.to_ne_bytes();
        if v4 {
            // struct in_pktinfo: interface, source, destination, which does not count here.
            let source = if let Some(IpAddr::V4(ip)) = packet.source { ip.octets() } else { [0; 4] };
            writer.message(level, info, &[&ifindex, &source, &[0; 4]]);
        } else {
            // struct in6_pktinfo: source, interface.
            let source = if let Some(IpAddr::V6(ip)) = packet.source { ip.octets() } else { [0; 16] };
            writer.message(level, info, &[&source, &ifindex]);
        }
    }
    if let Some(value) = packet.ttl {
        writer.message(level, ttl, &[&c_int::from(value).to_ne_bytes()]);
    }
    if packet.tos != 0 {
        writer.message(level, tos, &[&c_int::from(packet.tos).to_ne_bytes()]);
    }
    writer.length
}

struct Writer<'a> {
    control: &'a mut [u8; CONTROL_BYTES],
    length: usize,
}

impl Writer<'_> {
    /// Adds a message made of `parts`.
    fn message(&mut self, level: c_int, kind: c_int, parts: &[&[u8]]) {
        const HEADER: usize = size_of::<usize>() + 8;
        let length = HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
        self.put(&length.to_ne_bytes());
        self.put(&level.to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        parts.iter().for_each(|part| self.put(part));
        self.length = self.length.next_multiple_of(size_of::<usize>());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.control[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::super::socket::open;
    use super::super::ReceiveBatch;
    use super::*;

    fn packet(destination: &str) -> Packet<'static> {
        let destination = destination.parse().unwrap();
        Packet { destination, ifindex: 0, source: None, ttl: None, tos: 0, bytes: &[7; 8] }
    }

    #[test]
    fn the_control_messages_of_any_packet_fit_and_none_is_written_for_nothing() {
        let mut control = [0; CONTROL_BYTES];
        assert_eq!(write_control(&packet("192.0.2.1"), &mut control), 0);
        let word = size_of::<usize>();
        for (destination, source, info) in [("192.0.2.1", "192.0.2.2", 12), ("2001:db8::1", "2001:db8::2", 20usize)] {
            let source = Some(source.parse().unwrap());
            let full = Packet { ifindex: 3, source, ttl: Some(64), tos: 1, ..packet(destination) };
            let space = |bytes: usize| (word + 8 + bytes).next_multiple_of(word);
            assert_eq!(write_control(&full, &mut control), space(info) + 2 * space(4));
        }
    }

    #[test]
    fn a_batch_takes_no_more_than_it_has_room_for() {
        let mut batch = SendBatch::new(2, 8);
        assert!(!batch.push(&Packet { bytes: &[0; 9], ..packet("192.0.2.1") }));
        assert!(batch.push(&packet("192.0.2.1")));
        assert!(batch.push(&packet("2001:db8::1")));
        assert!(!batch.push(&packet("192.0.2.1")));
        assert_eq!(batch.len(), 2);
        batch.clear();
        assert!(batch.is_empty() && batch.push(&packet("192.0.2.1")));
    }

    #[test]
    fn packets_to_ourselves_come_back_with_what_their_headers_were_to_have() {
        let socket = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP).expect("run the tests as root");
        // An echo reply that nobody waits for, told from those of another run by what takes the place of the sequence.
        let [a, b, c, d] = std::process::id().to_be_bytes();
        let bytes = &[0, 0, 0, 0, a, b, c, d];
        let mut batch = SendBatch::new(4, 8);
        for ttl in 31..35 {
            let source = Some([127, 0, 0, 7].into());
            assert!(batch.push(&Packet { source, ttl: Some(ttl), tos: 0x20, bytes, ..packet("127.0.0.1") }));
        }
        assert!(matches!(batch.send(&socket), Sent::All));
        let mut back = ReceiveBatch::new(16, 64);
        let (mut found, end) = (Vec::new(), Instant::now() + Duration::from_secs(60));
        while found.len() < 4 {
            assert!(Instant::now() < end, "only {found:?} came back");
            back.receive(&socket).unwrap();
            let ours = back.packets().filter(|packet| packet.data.ends_with(bytes));
            found.extend(ours.map(|packet| (packet.source, packet.data[1], packet.data[8])));
        }
        assert_eq!(found, [31, 32, 33, 34].map(|ttl| (Some([127, 0, 0, 7].into()), 0x20, ttl)));
    }
}
