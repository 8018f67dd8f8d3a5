//! A listening TCP socket with options that must be set between `socket` and `bind`.
//!
//! `std::net::TcpListener::bind` leaves IPV6_V6ONLY to the sysctl net.ipv6.bindv6only and the buffers to the
//! kernel's autotuning, which may grow to megabytes for each connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use libc::c_int;

use super::socket::{bind, open, set, set_int};

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
    let socket = open(family, libc::SOCK_STREAM, 0)?;
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

/// Holds a TCP port without listening on it, for IPv4 and, where the kernel has it, IPv6: as long as the descriptor is
/// open no connection of this machine can come from it, and the kernel resets whatever arrives there.
///
/// # Errors
/// AddrInUse where the port is not free, or another refused system call.
pub fn reserve(port: u16) -> io::Result<OwnedFd> {
    let (family, any): (c_int, IpAddr) = (libc::AF_INET6, Ipv6Addr::UNSPECIFIED.into());
    let opened = open(family, libc::SOCK_STREAM, 0).and_then(|socket| {
        set_int(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
        bind(socket.as_fd(), SocketAddr::new(any, port)).map(|()| socket)
    });
    match opened {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            let socket = open(libc::AF_INET, libc::SOCK_STREAM, 0)?;
            bind(socket.as_fd(), SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).map(|()| socket)
        }
        done => done,
    }
}

/// Makes closing `stream` discard what is unsent and reset the connection (SO_LINGER with time 0, socket(7)).
///
/// # Errors
/// The refused system call.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    set(stream.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
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
