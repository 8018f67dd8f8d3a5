//! Links, addresses and default routes, asked of the kernel: listed whole, and followed as they change. The messages are
//! [`route`]'s.

use super::route::{self, Event};
use super::transport::{Events, Requests};
use crate::error::{Error, Result};

pub use super::transport::Overrun;

/// Room for events that arrive while we are busy: a few hundred addresses and routes.
const EVENT_BUFFER_BYTES: libc::c_int = 256 * 1024;

/// Most datagrams that are taken in at once, so that a flood of changes does not keep a task for ever.
const BATCH: usize = 1024;

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
    events: Events,
}

impl RouteSocket {
    /// Subscribes to changes.
    pub fn open() -> Result<Self> {
        let events = Events::open(libc::NETLINK_ROUTE, route::GROUPS, EVENT_BUFFER_BYTES).map_err(|source| {
            Error::io("open a route netlink socket", source)
                .remedy("the kernel must have CONFIG_NET and AF_NETLINK allowed")
        })?;
        Ok(RouteSocket { events })
    }

    /// How many times changes were lost.
    pub fn overruns(&self) -> u64 {
        self.events.overruns()
    }

    /// Waits for changes and calls `each` for all that are there. Safe to be dropped while it waits.
    pub async fn wait(&mut self, mut each: impl FnMut(Event)) -> Result<(), Overrun> {
        self.events.readable().await.map_err(|_| Overrun)?;
        let each = |message: &super::Message<'_>| {
            route::decode(message)?.into_iter().for_each(&mut each);
            Ok(())
        };
        self.events.drain(BATCH, each).map(|_| ())
    }

    /// Throws away the changes that are there, for a list that is made after it has them all.
    pub fn discard(&mut self) {
        self.events.discard();
    }
}

/// Lists a subject completely, calling `each` for every entry; starts over if a change gets in between, so `each` may
/// see an entry twice.
pub async fn list(subject: Subject, mut each: impl FnMut(Event)) -> Result<()> {
    let failed = |source| Error::io(format!("list {subject:?} by netlink"), source);
    // Each fixed part is all zeroes (any family, any interface) and as long as its struct; see route.rs.
    let (kind, fixed): (u16, &[u8]) = match subject {
        Subject::Links => (libc::RTM_GETLINK, &[0; 16]),
        Subject::Addresses => (libc::RTM_GETADDR, &[0; 8]),
        Subject::Routes => (libc::RTM_GETROUTE, &[0; 12]),
    };
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let request = |sequence| super::request(kind, flags, sequence, fixed);
    let mut requests = Requests::open(libc::NETLINK_ROUTE).map_err(failed)?;
    let each = |message: &super::Message<'_>| {
        route::decode(message)?.into_iter().for_each(&mut each);
        Ok(())
    };
    requests.dump_whole(request, || {}, each).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_and_its_address_are_listed() {
        smol::block_on(async {
            let mut loopback = None;
            let each = |event| {
                if let Event::Link(link) = event
                    && link.loopback
                {
                    loopback = Some((link.ifindex, link.name));
                }
            };
            list(Subject::Links, each).await.unwrap();
            assert_eq!(loopback, Some((1, "lo".to_owned())));
            let mut found = false;
            let each = |event| {
                found |= matches!(event, Event::Address(a) if a.addr.is_loopback() && a.ifindex == 1);
            };
            list(Subject::Addresses, each).await.unwrap();
            assert!(found);
            list(Subject::Routes, |_| {}).await.unwrap();
        });
    }
}
