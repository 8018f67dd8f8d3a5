//! Raw sockets for probes: ICMP and TCP packets out, what a packet filter lets pass in (raw(7), ip(7), ipv6(7)).
//!
//! They are bound to no interface, which each packet names for itself: a bound socket is dead once its interface was
//! removed and made again, and never hears what the kernel has to say about packets that went nowhere.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use libc::c_int;

use super::socket::{self, set_int};

/// What a raw socket sends and receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ICMP. Packets come with their IPv4 header, their checksum is not verified, and we make that of ours.
    Icmp4,
    /// ICMPv6. Packets come without a header; the kernel makes and verifies the checksum.
    Icmp6,
    /// TCP. Packets come with their IPv4 header; we make the checksum of ours.
    Tcp4,
    /// TCP over IPv6. Packets come without a header; the kernel makes and verifies the checksum.
    Tcp6,
}

/// Where the checksum lies in a TCP header.
const TCP_CHECKSUM: c_int = 16;
/// A packet filter that lets nothing pass.
const NOTHING: libc::sock_filter = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };

/// Opens a raw socket that receives what `filter` lets pass, and nothing that came before the filter was there.
///
/// With each packet come the time to live (`IP_TTL`, `IPV6_HOPLIMIT`), the interface and own address (`IP_PKTINFO`,
/// `IPV6_PKTINFO`) and, once any were dropped for want of room, how many (`SO_RXQ_OVFL`, a native u32). The error queue
/// holds ICMP errors about packets of ours. [`socket::attach_filter`] puts another filter in place later.
///
/// # Errors
/// The refused system call; EPERM without CAP_NET_RAW, EAFNOSUPPORT from a kernel without IPv6.
pub fn open(kind: Kind, filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let (family, protocol) = match kind {
        Kind::Icmp4 => (libc::AF_INET, libc::IPPROTO_ICMP),
        Kind::Icmp6 => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        Kind::Tcp4 => (libc::AF_INET, libc::IPPROTO_TCP),
        Kind::Tcp6 => (libc::AF_INET6, libc::IPPROTO_TCP),
    };
    let owned = socket::open(family, libc::SOCK_RAW, protocol)?;
    // With nothing coming in, draining ends, however busy the machine is.
    socket::attach_filter(&owned, &[NOTHING])?;
    let fd = owned.as_fd();
    drain(fd);
    // It only counts; where it is not to be had, as under user-mode emulation, nothing depends on it.
    let _ = set_int(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    // Without RECVERR the kernel hides that a full queue of the interface dropped a packet of ours.
    if family == libc::AF_INET {
        for option in [libc::IP_RECVTTL, libc::IP_PKTINFO, libc::IP_RECVERR] {
            set_int(fd, libc::IPPROTO_IP, option, 1)?;
        }
    } else {
        for option in [libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVPKTINFO, libc::IPV6_RECVERR] {
            set_int(fd, libc::IPPROTO_IPV6, option, 1)?;
        }
    }
    if kind == Kind::Tcp6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_CHECKSUM, TCP_CHECKSUM)?;
    }
    socket::attach_filter(&owned, filter)?;
    Ok(owned)
}

/// Throws away all that was received.
fn drain(socket: BorrowedFd<'_>) {
    let mut byte = 0u8;
    loop {
        // SAFETY: `byte` is one live byte, which is the room named; the descriptor is borrowed, so it stays open during
        // the call.
        let got = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) };
        if got < 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: libc::sock_filter = libc::sock_filter { k: u32::MAX, ..NOTHING };

    #[test]
    fn each_kind_opens_and_receives_nothing_of_the_past() {
        for kind in [Kind::Icmp4, Kind::Icmp6, Kind::Tcp4, Kind::Tcp6] {
            let socket = open(kind, &[NOTHING]).unwrap_or_else(|e| panic!("{kind:?}: {e}; run the tests as root"));
            socket::attach_filter(&socket, &[ALL]).unwrap();
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert_eq!(open(Kind::Icmp4, &[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
