//! Netlink sockets: open, bind, send, receive. What the bytes mean is decided in [`crate::netlink`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::socket;

/// Opens a non-blocking netlink socket of a protocol family (`libc::NETLINK_ROUTE` and the like), subscribed to the
/// multicast `groups` given as the legacy bit mask.
pub fn open(protocol: libc::c_int, groups: u32) -> io::Result<OwnedFd> {
    let fd = socket::open(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
    // SAFETY: sockaddr_nl is plain numbers, for which all zeroes is a valid value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: `fd` is open; `address` is a live sockaddr_nl and `length` its size.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// Turns on one of the socket options of netlink(7), as `libc::NETLINK_CAP_ACK`; a kernel that does not know it goes
/// on without.
pub fn set_flag(fd: &impl AsFd, option: libc::c_int) {
    let _ = socket::set_int(fd.as_fd(), libc::SOL_NETLINK, option, 1);
}

/// Sends one request to the kernel.
pub fn send(fd: &impl AsRawFd, message: &[u8]) -> io::Result<()> {
    // SAFETY: `fd` is borrowed, so it stays open during the call; `message` is a live slice of the length given.
    let sent = unsafe { libc::send(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one datagram into `buf` and returns its length; an error if it was longer than `buf`.
///
/// A datagram that the kernel did not send is dropped and reported as `Interrupted`, so that the caller reads on.
pub fn receive(fd: &impl AsRawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: sockaddr_nl is plain numbers, for which all zeroes is a valid value.
    let mut from: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: `fd` is borrowed, so it stays open during the call; the kernel writes at most `buf.len()` bytes into
    // `buf` and at most `length` bytes into `from`, both live.
    let got = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            libc::MSG_TRUNC,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    if from.nl_pid != 0 {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let got = got as usize;
    if got > buf.len() {
        return Err(io::Error::other(format!("a message of {got} bytes does not fit a buffer of {}", buf.len())));
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for an interface that cannot be: the answer is an error.
    fn ask(fd: &OwnedFd) {
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&0x7fff_ffffu32.to_ne_bytes());
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        send(fd, &crate::netlink::request(libc::RTM_GETLINK, flags, 1, &fixed)).unwrap();
    }

    #[test]
    fn a_request_is_answered_by_the_kernel() {
        let fd = open(libc::NETLINK_ROUTE, 0).unwrap();
        ask(&fd);
        let mut buf = [0; 4096];
        let got = receive(&fd, &mut buf).unwrap();
        assert_eq!(crate::bytes::ne16(&buf[..got], 4, "type"), Ok(libc::NLMSG_ERROR as u16));
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_an_error() {
        let fd = open(libc::NETLINK_ROUTE, 0).unwrap();
        ask(&fd);
        assert!(receive(&fd, &mut [0; 8]).unwrap_err().to_string().contains("does not fit"));
    }
}
