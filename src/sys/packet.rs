//! Packet sockets: whole Ethernet frames out of one interface, and in what a packet filter lets pass (packet(7)).
//!
//! They are bound to every EtherType and leave the choice to the filter: a bridge takes frames away from sockets that are
//! bound to one EtherType on its port. Nothing is made promiscuous.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, socklen_t};

use super::socket;

/// Room for frames that were not read yet, as the kernel counts them: some hundred answers.
const RECEIVE_BUFFER_BYTES: c_int = 512 * 1024;

/// A socket on one interface.
#[derive(Debug)]
pub struct Opened {
    /// The socket.
    pub socket: OwnedFd,
    /// The hardware address of the interface.
    pub mac: [u8; 6],
}

/// Opens a socket on the interface of an index, which hears nothing that came before its filter was in place.
///
/// # Errors
/// The refused system call: EPERM without CAP_NET_RAW, ENODEV if there is no such interface. `Unsupported` if frames of the
/// interface have no Ethernet header.
pub fn open(ifindex: u32, filter: &[libc::sock_filter]) -> io::Result<Opened> {
    // Without a protocol it receives nothing until it is bound.
    let owned = socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let fd = owned.as_fd();
    socket::attach_filter(&owned, filter)?;
    socket::set_receive_buffer(&owned, RECEIVE_BUFFER_BYTES);
    // Frames that leave are not looked at (Linux 4.20). Before, the filter drops them, at the price of a copy.
    let _ = socket::set_int(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
    bind(fd, ifindex)?;
    let address = address(fd)?;
    if address.sll_hatype != libc::ARPHRD_ETHER || address.sll_halen != 6 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let [a, b, c, d, e, f, ..] = address.sll_addr;
    Ok(Opened { socket: owned, mac: [a, b, c, d, e, f] })
}

fn bind(fd: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = c_int::try_from(ifindex).map_err(io::Error::other)?;
    let length = size_of::<libc::sockaddr_ll>() as socklen_t;
    // SAFETY: the descriptor is borrowed, so it stays open during the call; `address` is a live sockaddr_ll and `length`
    // its size.
    let done = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the kernel says of the interface a socket is bound to.
fn address(fd: BorrowedFd<'_>) -> io::Result<libc::sockaddr_ll> {
    // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as socklen_t;
    // SAFETY: `address` has room for the `length` bytes that the kernel may write, and both are live; the descriptor is
    // borrowed, so it stays open during the call.
    let done = unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(address) }
}

/// Sends one frame, Ethernet header first, without checksum.
pub fn send(fd: &impl AsRawFd, frame: &[u8]) -> io::Result<()> {
    // SAFETY: `fd` is borrowed, so it stays open during the call; `frame` is a live slice of the length given.
    let sent = unsafe { libc::send(fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one frame into `buf` and returns how much of it is there; what does not fit is cut off.
pub fn receive(fd: &impl AsRawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `fd` is borrowed, so it stays open during the call; the kernel writes at most `buf.len()` bytes into the live
    // buffer.
    let got = unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}

/// How many frames have passed the filter since this was last asked, those included that found no room.
pub fn passed(fd: &impl AsRawFd) -> io::Result<u32> {
    let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as socklen_t;
    // SAFETY: `counts` has room for the `length` bytes that the kernel may write, and both are live; the descriptor is
    // borrowed, so it stays open during the call.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut counts).cast(),
            &raw mut length,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(counts.tp_packets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [libc::sock_filter; 1] =
        [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX }];

    #[test]
    fn an_interface_that_is_not_there_or_has_no_ethernet_is_refused() {
        let gone = open(0x7fff_ffff, &ALL).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ENODEV), "{gone}; run the tests as root");
        // Loopback is Ethernet to nobody but the kernel: ARPHRD_LOOPBACK.
        assert_eq!(open(1, &ALL).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
