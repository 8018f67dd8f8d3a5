//! Asynchronous rtnetlink: dumps that survive interruption, and events as they come.

use std::io;
use std::os::fd::OwnedFd;

use async_io::Async;

use super::route::{self, Event};
use crate::error::{Error, Malformed, Result};
use crate::sys::netlink as sys;

/// Room for one datagram; the kernel sends dumps in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// Room for events that arrive while we are busy: a few hundred addresses and routes.
const EVENT_BUFFER_BYTES: libc::c_int = 256 * 1024;
/// How often a dump is repeated that the kernel marks as interrupted by a change.
const DUMP_TRIES: u32 = 8;

/// What to list.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// All interfaces.
    Links,
    /// All addresses of this machine.
    Addresses,
    /// The routes, of which only default routes are decoded.
    Routes,
}

/// A subscription to changes of links, addresses and default routes, and a way to list them.
pub struct RouteSocket {
    events: Async<OwnedFd>,
    buf: Vec<u8>,
}

/// The subscription lost events: what is known must be listed again.
#[derive(Debug, PartialEq, Eq)]
pub struct Overrun;

impl RouteSocket {
    /// Subscribes to changes.
    pub fn open() -> Result<Self> {
        let failed = |source| {
            Error::io("open a route netlink socket", source)
                .remedy("the kernel must have CONFIG_NET and AF_NETLINK allowed")
        };
        let fd = sys::open(libc::NETLINK_ROUTE, route::GROUPS).map_err(failed)?;
        sys::set_receive_buffer(&fd, EVENT_BUFFER_BYTES);
        let events = Async::new_nonblocking(fd).map_err(failed)?;
        Ok(RouteSocket { events, buf: vec![0; DATAGRAM_BYTES] })
    }

    /// Lists a subject completely, calling `each` for every entry; starts over if a change gets in between, so `each`
    /// may see an entry twice.
    pub async fn list(&mut self, subject: Subject, mut each: impl FnMut(Event)) -> Result<()> {
        for _ in 0..DUMP_TRIES {
            if self.dump(subject, &mut each).await? {
                return Ok(());
            }
        }
        Err(Error::failed(format!("list {subject:?} by netlink"), "they change faster than they can be read"))
    }

    /// One dump on a socket of its own; false if it was interrupted by a change.
    async fn dump(&mut self, subject: Subject, each: &mut impl FnMut(Event)) -> Result<bool> {
        let failed = |source| Error::io(format!("list {subject:?} by netlink"), source);
        let broken = |source: Malformed| Error::codec(format!("read the list of {subject:?} by netlink"), source);
        let fd = sys::open(libc::NETLINK_ROUTE, 0).map_err(failed)?;
        let socket = Async::new_nonblocking(fd).map_err(failed)?;
        // Each fixed part is all zeroes (any family, any interface) and as long as its struct; see route.rs.
        let (kind, fixed): (u16, &[u8]) = match subject {
            Subject::Links => (libc::RTM_GETLINK, &[0; 16]),
            Subject::Addresses => (libc::RTM_GETADDR, &[0; 8]),
            Subject::Routes => (libc::RTM_GETROUTE, &[0; 12]),
        };
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        sys::send(socket.get_ref(), &super::request(kind, flags, 1, fixed)).map_err(failed)?;
        let mut whole = true;
        loop {
            let got = receive(&socket, &mut self.buf).await.map_err(failed)?;
            for message in super::messages(self.buf.get(..got).unwrap_or(&[])) {
                let message = message.map_err(broken)?;
                whole &= message.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(whole),
                    libc::NLMSG_ERROR => {
                        let number = super::error_number(message.body).map_err(broken)?;
                        return Err(failed(io::Error::from_raw_os_error(number)));
                    }
                    _ => {
                        if let Some(event) = route::decode(&message).map_err(broken)? {
                            each(event);
                        }
                    }
                }
            }
        }
    }

    /// Waits for changes and calls `each` for those of one datagram. Safe to be dropped while it waits.
    pub async fn wait(&mut self, mut each: impl FnMut(Event)) -> Result<(), Overrun> {
        let got = match receive(&self.events, &mut self.buf).await {
            Ok(got) => got,
            // ENOBUFS: the kernel had to drop events. Anything else is as good a reason to list again.
            Err(_) => return Err(Overrun),
        };
        for message in super::messages(self.buf.get(..got).unwrap_or(&[])) {
            let event = message.and_then(|message| route::decode(&message)).map_err(|_| Overrun)?;
            event.into_iter().for_each(&mut each);
        }
        Ok(())
    }
}

async fn receive(socket: &Async<OwnedFd>, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read_with(|fd| sys::receive(fd, buf)).await {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_and_its_address_are_listed() {
        smol::block_on(async {
            let mut socket = RouteSocket::open().unwrap();
            let mut loopback = None;
            let each = |event| {
                if let Event::Link(link) = event
                    && link.loopback
                {
                    loopback = Some((link.ifindex, link.name));
                }
            };
            socket.list(Subject::Links, each).await.unwrap();
            assert_eq!(loopback, Some((1, "lo".to_owned())));
            let mut found = false;
            let each = |event| {
                found |= matches!(event, Event::Address(a) if a.addr.is_loopback() && a.ifindex == 1);
            };
            socket.list(Subject::Addresses, each).await.unwrap();
            assert!(found);
            socket.list(Subject::Routes, |_| {}).await.unwrap();
        });
    }
}
