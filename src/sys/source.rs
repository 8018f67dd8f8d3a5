//! The address that the kernel would send from.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd as _;

use libc::c_int;

use super::socket::{connect, local_ip, open, set, set_int};

/// What to take into account besides the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Via {
    /// The interface that packets are to leave by; 0 leaves it to the routes.
    pub ifindex: u32,
    /// The mark that policy routing goes by (SO_MARK); 0 is none.
    pub mark: u32,
}

/// What the kernel says to a destination.
#[derive(Debug)]
pub enum Source {
    /// It would send from this address.
    Address(IpAddr),
    /// It has a route, but no address to send from.
    NoAddress,
    /// It would not send, for this reason: no route, a route that forbids, an interface that is gone.
    NoRoute(io::Error),
}

/// Asks which address of ours packets to `destination` would come from. Nothing is sent.
///
/// # Errors
/// What has nothing to do with routes: no descriptors left, a mark without the privilege.
pub fn source(destination: IpAddr, via: Via) -> io::Result<Source> {
    let family = if destination.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = match open(family, libc::SOCK_DGRAM, 0) {
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(Source::NoRoute(error)),
        opened => opened?,
    };
    let socket = socket.as_fd();
    if via.mark != 0 {
        set(socket, libc::SOL_SOCKET, libc::SO_MARK, &via.mark)?;
    }
    if via.ifindex != 0 {
        let ifindex = c_int::try_from(via.ifindex).map_err(io::Error::other)?;
        match set_int(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, ifindex) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(Source::NoRoute(error)),
            done => done?,
        }
    }
    // Connecting a UDP socket only looks up the route; the port, that of the discard service, decides nothing.
    let address = match destination {
        IpAddr::V4(ip) => SocketAddr::from((ip, 9)),
        // The scope is read for addresses that have one only.
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 9, 0, via.ifindex).into(),
    };
    if let Err(error) = connect(socket, address) {
        return Ok(Source::NoRoute(error));
    }
    Ok(local_ip(socket)?.filter(|ip| !ip.is_unspecified()).map_or(Source::NoAddress, Source::Address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_ourselves_comes_from_ourselves() {
        for text in ["127.0.0.1", "::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert!(matches!(source(ip, Via::default()).unwrap(), Source::Address(from) if from == ip));
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_no_route() {
        let via = Via { ifindex: 0x7fff_fff0, mark: 0 };
        let Source::NoRoute(error) = source("192.0.2.1".parse().unwrap(), via).unwrap() else { panic!("a route") };
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
