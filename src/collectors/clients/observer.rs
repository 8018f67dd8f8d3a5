//! Follows what the kernel says of interfaces, addresses, default routes and neighbours: one subscription, two tables.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use async_io::Timer;

use super::ROW;
use super::neighbours::Neighbours;
use crate::collectors::interfaces;
use crate::error::{Error, Result};
use crate::lan::Interfaces;
use crate::netlink::rtnetlink::Subject;
use crate::netlink::transport::{Events, Requests};
use crate::netlink::{Message, neighbour, route};

/// Room for events that arrive while we are busy: some hundred neighbours.
const EVENT_BUFFER_BYTES: libc::c_int = 512 * 1024;
/// Events come in bursts; one look for all of a burst is enough, as nothing but a change of the LAN is urgent.
const PAUSE: Duration = Duration::from_millis(500);
/// Datagrams taken in at once before other tasks have their turn.
const BATCH: usize = 1024;

/// The tables and the subscription that keeps them true.
pub struct Observer {
    events: Events,
    requests: Requests,
    /// Interfaces, addresses and default routes.
    pub interfaces: Interfaces,
    /// The neighbours that are clients.
    pub neighbours: Neighbours,
    /// Whether the interface table changed since it was last asked.
    changed: bool,
    /// Whether events were lost: both tables must be listed again.
    lost: bool,
}

impl Observer {
    /// Subscribes, and lists what there is but for neighbours.
    pub async fn open() -> Result<Self> {
        let failed = |source| {
            Error::io("open a route netlink socket", source)
                .remedy("the kernel must have CONFIG_NET and AF_NETLINK allowed")
        };
        // The subscription comes first, so that no change falls between it and the lists.
        let groups = route::GROUPS | neighbour::GROUPS;
        let events = Events::open(libc::NETLINK_ROUTE, groups, EVENT_BUFFER_BYTES).map_err(failed)?;
        let requests = Requests::open(libc::NETLINK_ROUTE).map_err(failed)?;
        let interfaces = interfaces::now().await?;
        Ok(Observer { events, requests, interfaces, neighbours: Neighbours::default(), changed: true, lost: false })
    }

    /// How many times events were lost.
    pub fn overruns(&self) -> u64 {
        self.events.overruns()
    }

    /// Waits for events, lets more of them gather, and takes them in. Safe to be dropped.
    pub async fn follow(&mut self, is_client: &dyn Fn(IpAddr) -> bool) -> Result<()> {
        if !self.lost {
            let failed = |source| Error::io("wait for changes of the network", source);
            self.events.readable().await.map_err(failed)?;
            Timer::after(PAUSE).await;
        }
        self.catch_up(is_client).await
    }

    /// Takes in the events that are there.
    pub async fn catch_up(&mut self, is_client: &dyn Fn(IpAddr) -> bool) -> Result<()> {
        let now = Instant::now();
        let (interfaces, neighbours, changed) = (&mut self.interfaces, &mut self.neighbours, &mut self.changed);
        let each = |message: &Message<'_>| {
            if let Some(event) = route::decode(message)? {
                *changed |= interfaces.apply(event);
            } else if let Some(event) = neighbour::decode(message)? {
                neighbours.apply(event, now, is_client);
            }
            Ok(())
        };
        self.lost |= self.events.drain(BATCH, each).is_err();
        if self.lost {
            log::debug!(target: ROW.name, "events about the network were lost: all is listed again");
            self.interfaces = interfaces::now().await?;
            self.changed = true;
            self.list_neighbours(is_client).await?;
            self.lost = false;
        } else if self.changed {
            // The kernel does not tell of the end of every route.
            self.interfaces.take_routes(interfaces::of(&[Subject::Routes]).await?);
        }
        Ok(())
    }

    /// Lists the neighbours anew.
    pub async fn list_neighbours(&mut self, is_client: &dyn Fn(IpAddr) -> bool) -> Result<()> {
        let (neighbours, now) = (std::cell::RefCell::new(&mut self.neighbours), Instant::now());
        let begin = || neighbours.borrow_mut().begin();
        let each = |message: &Message<'_>| {
            if let Some(event) = neighbour::decode(message)? {
                neighbours.borrow_mut().apply(event, now, is_client);
            }
            Ok(())
        };
        let listed = self.requests.dump_whole(neighbour::list, begin, each).await;
        listed.map_err(|source| Error::io("list the neighbours by netlink", source))?;
        self.neighbours.end();
        Ok(())
    }

    /// Whether the interface table has changed since this was last asked.
    pub fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}
