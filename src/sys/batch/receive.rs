//! Receiving many packets, or many messages of the error queue, in one system call (recvmmsg(2)).

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _};

use libc::c_int;

use super::super::socket::Address;
use super::{Control, MOST, headers};

/// Room for the control messages of one packet: stamps, interface, time to live and losses take up to 152 bytes, an
/// error with stamps and the address of who reports it up to 160.
const CONTROL_BYTES: usize = 256;
/// How many errors of earlier packets are passed over before giving up.
const STALE_ERRORS: u32 = 16;

/// Room for packets, and the packets that the last call received.
pub struct ReceiveBatch {
    packet_bytes: usize,
    /// `packet_bytes` for each packet, one after the other. As the next two, written by the kernel and only read here,
    /// so that the pointers of the headers stay good.
    bytes: Vec<u8>,
    addresses: Vec<Address>,
    control: Vec<Control<CONTROL_BYTES>>,
    headers: Vec<libc::mmsghdr>,
    /// Only the headers' pointers lead here.
    _vectors: Vec<libc::iovec>,
    received: usize,
}

/// A received packet or message of the error queue.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What was received, as far as there was room.
    pub data: &'a [u8],
    /// Its control messages, as the kernel writes them.
    pub control: &'a [u8],
    /// Who sent it; of the error queue, where the packet that failed was to go. `None` if the kernel does not say.
    pub source: Option<IpAddr>,
    /// `MSG_TRUNC` if the data was cut, `MSG_CTRUNC` if the control messages were.
    pub flags: c_int,
}

impl ReceiveBatch {
    /// Room for `packets`, at most 1024, of up to `packet_bytes` each.
    pub fn new(packets: usize, packet_bytes: usize) -> Self {
        let packets = packets.min(MOST);
        let (mut headers, mut vectors) = headers(packets);
        let mut bytes = vec![0; packets * packet_bytes];
        let mut addresses = vec![Address::default(); packets];
        let mut control = vec![Control([0; CONTROL_BYTES]); packets];
        // From the pointer of the whole each time: one that came from a reference to a part would end with the next.
        let (first_byte, first_address) = (bytes.as_mut_ptr(), addresses.as_mut_ptr());
        let (first_control, first_vector) = (control.as_mut_ptr(), vectors.as_mut_ptr());
        for index in 0..packets {
            let vector =
                libc::iovec { iov_base: first_byte.wrapping_add(index * packet_bytes).cast(), iov_len: packet_bytes };
            // SAFETY: there are as many vectors as packets, so the pointer is within them; nothing else refers to it.
            unsafe { first_vector.wrapping_add(index).write(vector) };
        }
        for (index, header) in headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            header.msg_name = first_address.wrapping_add(index).cast();
            header.msg_control = first_control.wrapping_add(index).cast();
            header.msg_iov = first_vector.wrapping_add(index);
            header.msg_iovlen = 1;
        }
        // All count as used, so that the first call sets the lengths.
        let received = packets;
        ReceiveBatch { packet_bytes, bytes, addresses, control, headers, _vectors: vectors, received }
    }

    /// Receives what has come, without waiting, in place of what was received before; returns how many packets, 0 when
    /// there are none. As many as there is room for means that there may be more.
    ///
    /// # Errors
    /// The refused system call. Errors that are about packets sent earlier are passed over: the error queue tells more.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.receive_with(socket, 0)
    }

    /// Likewise for the error queue: stamps of packets that were sent, and ICMP errors about them.
    ///
    /// # Errors
    /// As [`ReceiveBatch::receive`].
    pub fn receive_errors(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_ERRQUEUE)
    }

    /// What the last call received.
    pub fn packets(&self) -> impl Iterator<Item = Received<'_>> {
        let parts = self.control.iter().zip(&self.addresses);
        self.headers.iter().take(self.received).zip(parts).enumerate().map(|(index, (header, (control, address)))| {
            let (length, header) = (header.msg_len as usize, &header.msg_hdr);
            let at = index * self.packet_bytes;
            #[allow(clippy::unnecessary_cast, reason = "it is 32 bits wide in some C libraries")]
            let control_length = header.msg_controllen as usize;
            Received {
                data: self.bytes.get(at..at + length.min(self.packet_bytes)).unwrap_or_default(),
                control: control.0.get(..control_length).unwrap_or_default(),
                source: address.ip(header.msg_namelen),
                flags: header.msg_flags,
            }
        })
    }

    fn receive_with(&mut self, socket: &impl AsFd, flags: c_int) -> io::Result<usize> {
        // The kernel has put the lengths of what it wrote in place of those of the room.
        for header in self.headers.iter_mut().take(self.received) {
            header.msg_hdr.msg_namelen = Address::ROOM;
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            header.msg_hdr.msg_flags = 0;
        }
        self.received = 0;
        let socket = socket.as_fd().as_raw_fd();
        let flags = flags | libc::MSG_DONTWAIT;
        let mut stale = 0;
        loop {
            let (first, count) = (self.headers.as_mut_ptr(), self.headers.len() as libc::c_uint);
            // SAFETY: `first` points to `count` live headers. Each points to an address, a control buffer and a vector
            // of one piece in this batch's own storage, as long as the lengths that are set above or were never
            // touched. No reference to that storage is alive, since this batch is borrowed as mutable. The descriptor
            // is borrowed, so it stays open during the call. No time limit is given: that of the call does not work.
            let got = unsafe { libc::recvmmsg(socket, first, count, flags as _, std::ptr::null_mut()) };
            if let Ok(got) = usize::try_from(got) {
                self.received = got;
                return Ok(got);
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if stale == STALE_ERRORS => return Err(error),
                _ => stale += 1,
            }
        }
    }
}

impl fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiveBatch({} received, room for {})", self.received, self.headers.len())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn packets_are_received_up_to_the_room_there_is_and_in_order() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..5u8 {
            from.send_to(&[number; 8], to.local_addr().unwrap()).unwrap();
        }
        let mut batch = ReceiveBatch::new(3, 4);
        let mut first = Vec::new();
        for expected in [3, 2, 0, 0] {
            assert_eq!(batch.receive(&to).unwrap(), expected);
            for packet in batch.packets() {
                assert_eq!(packet.source, Some("127.0.0.1".parse().unwrap()));
                assert_eq!((packet.data.len(), packet.flags & libc::MSG_TRUNC), (4, libc::MSG_TRUNC));
                assert!(packet.control.is_empty());
                first.push(packet.data[0]);
            }
        }
        assert_eq!(first, [0, 1, 2, 3, 4]);
        assert_eq!(batch.receive_errors(&to).unwrap(), 0);
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = ReceiveBatch::new(1, 1).receive(&file).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    }
}
