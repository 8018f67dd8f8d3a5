//! What every kind of socket needs: opening, options, buffers, packet filters, addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{c_int, sa_family_t, socklen_t};

/// Opens a non-blocking socket that programs we start do not inherit.
pub(super) fn open(family: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes three integers and touches no memory of ours.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, so it is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option whose value is an integer.
pub(super) fn set_int(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// Sets an option; `T` is the plain C type that setsockopt expects for `name`.
pub(super) fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as socklen_t;
    // SAFETY: `value` is a live reference, and the kernel reads at most the `size` bytes that it spans; the descriptor
    // is borrowed, so it stays open during the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks for room for `bytes` of what was not read yet, as the kernel counts them (several times their length); beyond
/// the system's limit where we may.
pub fn set_receive_buffer(socket: &impl AsFd, bytes: c_int) {
    set_buffer(socket.as_fd(), [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF], bytes);
}

/// Likewise for what was not sent yet.
pub fn set_send_buffer(socket: &impl AsFd, bytes: c_int) {
    set_buffer(socket.as_fd(), [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF], bytes);
}

fn set_buffer(socket: BorrowedFd<'_>, options: [c_int; 2], bytes: c_int) {
    // The second cuts `bytes` down to the limit and does not fail.
    let _ = options.iter().any(|option| set_int(socket, libc::SOL_SOCKET, *option, bytes).is_ok());
}

/// Has the kernel drop what `filter` does not let pass before it takes room in the socket (SO_ATTACH_FILTER). It takes
/// the place of the filter that was there, with nothing in between unfiltered.
pub fn attach_filter(socket: &impl AsFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    // The kernel copies the instructions during the call and only reads them.
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// `struct sockaddr_in` or `struct sockaddr_in6`, whose fields lie at the same places on every machine: family 2
/// (native order), port 2 (network order), then address 4, or flow 4, address 16, scope 4 (native order).
#[repr(C, align(4))]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Address {
    bytes: [u8; Address::ROOM as usize],
}

impl Address {
    /// Bytes there are for any address.
    pub(super) const ROOM: socklen_t = 28;
    const V4_BYTES: socklen_t = 16;

    pub(super) fn new(address: SocketAddr) -> Self {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let mut new = Address::default();
        new.put(0, (family as sa_family_t).to_ne_bytes());
        new.put(2, address.port().to_be_bytes());
        match address {
            SocketAddr::V4(address) => new.put(4, address.ip().octets()),
            SocketAddr::V6(address) => {
                new.put(8, address.ip().octets());
                new.put(24, address.scope_id().to_ne_bytes());
            }
        }
        new
    }

    /// How many of the bytes the kernel is to read.
    pub(super) fn length(&self) -> socklen_t {
        if self.family() == libc::AF_INET { Self::V4_BYTES } else { Self::ROOM }
    }

    /// The address, if the kernel has filled in `length` bytes that hold one.
    pub(super) fn ip(&self, length: socklen_t) -> Option<IpAddr> {
        match self.family() {
            libc::AF_INET if length >= Self::V4_BYTES => Some(Ipv4Addr::from(self.take::<4>(4)).into()),
            // The scope, which old programs do without, may be missing.
            libc::AF_INET6 if length >= Self::ROOM - 4 => Some(Ipv6Addr::from(self.take::<16>(8)).into()),
            _ => None,
        }
    }

    fn family(&self) -> c_int {
        c_int::from(sa_family_t::from_ne_bytes(self.take(0)))
    }

    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[at..at + N]);
        taken
    }

    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&bytes);
    }
}

pub(super) fn bind(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let address = Address::new(address);
    // SAFETY: `address` is live and holds at least the bytes that its length says, which the kernel reads; the
    // descriptor is borrowed, so it stays open during the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), address.length()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn an_address_is_the_same_after_the_kernel_had_it() {
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
            let socket = open(family, libc::SOCK_DGRAM, 0).unwrap();
            bind(socket.as_fd(), address).unwrap();
            assert_eq!(UdpSocket::from(socket).local_addr().unwrap().ip(), address.ip());
        }
    }

    #[test]
    fn an_address_that_is_cut_or_of_another_family_is_none() {
        assert_eq!(Address::default().ip(Address::ROOM), None);
        assert_eq!(Address::new("192.0.2.1:1".parse().unwrap()).ip(8), None);
        assert_eq!(Address::new("[2001:db8::1]:1".parse().unwrap()).ip(16), None);
    }

    #[test]
    fn a_buffer_beyond_the_limit_is_given_as_far_as_we_may() {
        let socket = open(libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap();
        set_receive_buffer(&socket, 1 << 20);
        set_send_buffer(&socket, 1 << 20);
        for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
            let mut value: c_int = 0;
            let mut length = size_of::<c_int>() as socklen_t;
            // SAFETY: `value` is a live integer and `length` its size.
            let done = unsafe {
                let fd = socket.as_raw_fd();
                libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut length)
            };
            assert_eq!((done, value), (0, 2 << 20));
        }
    }
}
