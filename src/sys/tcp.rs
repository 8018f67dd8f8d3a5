//! A listening TCP socket with options that must be set between `socket` and `bind`.
//!
//! `std::net::TcpListener::bind` leaves IPV6_V6ONLY to the sysctl net.ipv6.bindv6only and the buffers to the
//! kernel's autotuning, which may grow to megabytes for each connection.

use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, socklen_t};

/// How the listener is set up; accepted connections inherit the buffer sizes.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions {
    /// SO_RCVBUF in bytes; the kernel doubles it for its own bookkeeping (socket(7)).
    pub receive_buffer: u32,
    /// SO_SNDBUF in bytes; doubled likewise.
    pub send_buffer: u32,
    /// How many finished handshakes may wait to be accepted.
    pub backlog: u16,
}

/// Opens a non-blocking listener on `addr` with SO_REUSEADDR; an IPv6 listener takes IPv4 connections, too, where
/// its address allows (`[::]`).
///
/// # Errors
/// The first refused system call; `AddrInUse`, `PermissionDenied` and EAFNOSUPPORT (a kernel without IPv6) are the
/// usual ones.
pub fn listen(addr: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
    let family = match addr {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // SAFETY: socket takes three integers and touches no memory of ours.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, so it is open and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, clamp(options.receive_buffer))?;
    set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, clamp(options.send_buffer))?;
    if addr.is_ipv6() {
        set_int(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    bind(socket.as_fd(), addr)?;
    // SAFETY: listen takes two integers; the descriptor is borrowed from `socket` and thus open.
    let done = unsafe { libc::listen(socket.as_raw_fd(), c_int::from(options.backlog)) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpListener::from(socket))
}

/// Makes closing `stream` discard what is unsent and reset the connection (SO_LINGER with time 0, socket(7)).
///
/// # Errors
/// The refused system call.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    set(stream.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

fn bind(socket: BorrowedFd<'_>, addr: SocketAddr) -> io::Result<()> {
    match addr {
        SocketAddr::V4(addr) => {
            // SAFETY: sockaddr_in is made of integers only, for which all bits zero is a value.
            let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = addr.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
            bind_raw(socket, &raw)
        }
        SocketAddr::V6(addr) => {
            // SAFETY: sockaddr_in6 is made of integers only, for which all bits zero is a value.
            let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = addr.port().to_be();
            raw.sin6_addr.s6_addr = addr.ip().octets();
            raw.sin6_scope_id = addr.scope_id();
            bind_raw(socket, &raw)
        }
    }
}

/// `T` is one of the two socket address structures that [`bind`] fills in.
fn bind_raw<T>(socket: BorrowedFd<'_>, raw: &T) -> io::Result<()> {
    // SAFETY: `raw` is a live reference, and the kernel reads at most the `size_of::<T>()` bytes named;
    // the descriptor is borrowed, so it stays open during the call.
    let done = unsafe {
        libc::bind(socket.as_raw_fd(), std::ptr::from_ref(raw).cast::<libc::sockaddr>(), size_of::<T>() as socklen_t)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_int(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// `T` is the plain C type that setsockopt expects for `name`.
fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a live reference, and the kernel reads at most the `size_of::<T>()` bytes named; the
    // descriptor is borrowed, so it stays open during the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast::<c_void>(),
            size_of::<T>() as socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn clamp(bytes: u32) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ListenOptions = ListenOptions { receive_buffer: 16 << 10, send_buffer: 64 << 10, backlog: 16 };

    #[test]
    fn the_wildcard_address_takes_ipv4_and_ipv6() {
        let listener = listen("[::]:0".parse().unwrap(), OPTIONS).unwrap();
        listener.set_nonblocking(false).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _four = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip().to_canonical().to_string(), "127.0.0.1");
        let _six = TcpStream::connect(("::1", port)).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip().to_string(), "::1");
    }

    #[test]
    fn the_port_and_address_keep_their_byte_order() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), OPTIONS).unwrap();
        let addr = listener.local_addr().unwrap();
        assert_eq!(addr.ip().to_string(), "127.0.0.1");
        let error = listen(addr, OPTIONS).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
