//! How targets are reached: interface and source address, as the routes say or by a named interface, followed as they
//! change. Network cards that are to stamp packets are told so here, and told back when that ends.

use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::ROW;
use super::gateway::Gateways;
use super::settings::{Settings, Via};
use super::target::Cause;
use crate::collectors::interfaces;
use crate::error::{Error, Result};
use crate::lan::Interfaces;
use crate::netlink::Message;
use crate::netlink::route::{self, Path};
use crate::netlink::rtnetlink::Subject;
use crate::netlink::transport::{Events, Requests};
use crate::sys::hardware_stamps::HardwareStamps;

/// Room for events that arrive while we are busy.
const EVENT_BUFFER_BYTES: libc::c_int = 256 * 1024;
/// Changes come in bursts: after one, so long is waited for the others.
const SETTLE: Duration = Duration::from_millis(200);
/// Datagrams taken in at a time.
const BATCH: usize = 256;
/// Most interfaces whose cards are told to stamp.
const MOST_CARDS: usize = 8;

/// See the module.
pub struct Paths {
    events: Events,
    requests: Requests,
    interfaces: Interfaces,
    /// When the changes that were seen are to be acted upon.
    settles: Option<Instant>,
    /// Whether events were lost, so that the table must be read anew.
    lost: bool,
    /// Cards that stamp, or that cannot; by interface, as far as probes leave by it.
    cards: Vec<(u32, Option<HardwareStamps>)>,
}

impl Paths {
    /// Subscribes, and reads what there is.
    pub async fn open() -> Result<Self> {
        let failed = |source| {
            Error::io("open a route netlink socket", source)
                .remedy("the kernel must have CONFIG_NET and AF_NETLINK allowed")
        };
        let events = Events::open(libc::NETLINK_ROUTE, route::GROUPS, EVENT_BUFFER_BYTES).map_err(failed)?;
        let requests = Requests::open(libc::NETLINK_ROUTE).map_err(failed)?;
        let interfaces = interfaces::now().await?;
        Ok(Paths { events, requests, interfaces, settles: None, lost: false, cards: Vec::new() })
    }

    /// How many times events were lost.
    pub fn overruns(&self) -> u64 {
        self.events.overruns()
    }

    /// Has the task woken when something changes; [`Paths::look`] tells what it is.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.settles {
            // Events gather in the socket until then.
            Some(_) => Poll::Pending,
            None => self.events.poll_readable(cx).map(|_| ()),
        }
    }

    /// Takes in what has changed. If anything did, it is to be acted upon a little later.
    pub fn look(&mut self, now: Instant) {
        if self.settles.is_none() && self.take_in() {
            self.settles = Some(now + SETTLE);
        }
    }

    /// Takes in events; true if there were any, or if any were lost.
    fn take_in(&mut self) -> bool {
        let interfaces = &mut self.interfaces;
        let each = |message: &Message<'_>| {
            route::decode(message)?.into_iter().for_each(|event| _ = interfaces.apply(event));
            Ok(())
        };
        match self.events.drain(BATCH, each) {
            Ok(count) => count > 0,
            Err(_) => {
                self.lost = true;
                true
            }
        }
    }

    /// When to settle, if anything has changed.
    pub fn settles_at(&self) -> Option<Instant> {
        self.settles
    }

    /// Takes over what has changed, after which all paths are to be looked up anew: not only default routes lead to
    /// targets, and the table has no others, so whatever changed may matter.
    pub async fn settle(&mut self) -> Result<()> {
        self.take_in();
        if self.lost {
            log::debug!(target: ROW.name, "events about the network were lost: all is listed again");
            self.interfaces = interfaces::now().await?;
            self.lost = false;
        } else {
            // Put in their place at once: this future may be dropped while they are listed.
            let listed = interfaces::of(&[Subject::Routes]).await?;
            self.interfaces.take_routes(listed);
        }
        // A card that could not is asked again only if it is another one.
        self.cards.retain(|(ifindex, _)| self.interfaces.by_index(*ifindex).is_some());
        // Last of all: what is cut short is begun anew.
        self.settles = None;
        Ok(())
    }

    /// The routers that the default routes lead to.
    pub fn gateways(&self, settings: &Settings) -> Gateways {
        Gateways::find(&self.interfaces, settings)
    }

    /// How an address is reached, or how through the interface that it is known to be `behind`.
    ///
    /// # Errors
    /// Why it cannot be reached now.
    pub fn find(&mut self, ip: IpAddr, via: &Via, behind: Option<u32>) -> Result<Path, Cause> {
        let ifindex = match via {
            _ if behind.is_some() => behind.unwrap_or_default(),
            Via::Routes => 0,
            Via::Interface(name) => self.interfaces.by_name(name).ok_or(Cause::InterfaceDown)?.ifindex,
            Via::Nowhere => return Err(Cause::InterfaceDown),
        };
        let mut found = None;
        let each = |message: &Message<'_>| {
            found = route::path(message)?.or(found);
            Ok(())
        };
        let sequence = self.requests.next_sequence();
        match self.requests.get(&route::path_request(sequence, ip, ifindex), each) {
            Ok(()) => found.ok_or(Cause::NoRoute),
            Err(error) => Err(error.raw_os_error().map_or(Cause::NoRoute, Cause::of_error)),
        }
    }

    /// The name of an interface; empty if it is gone.
    pub fn ifname(&self, ifindex: u32) -> &str {
        self.interfaces.by_index(ifindex).map_or("", |link| &link.name)
    }

    /// Whether there is an interface of this name now.
    pub fn has(&self, name: &str) -> bool {
        self.interfaces.by_name(name).is_some()
    }

    /// Puts back what network cards were told.
    pub fn release_cards(&mut self) {
        self.cards.clear();
    }

    /// Has the card of an interface stamp packets, if it can; tells once if it cannot.
    pub fn stamp_by_card(&mut self, ifindex: u32) {
        if self.cards.len() >= MOST_CARDS || self.cards.iter().any(|(known, _)| *known == ifindex) {
            return;
        }
        let Some(link) = self.interfaces.by_index(ifindex) else { return };
        let card = HardwareStamps::enable(&link.name);
        match &card {
            Ok(_) => log::info!(target: ROW.name, "the network card of {} stamps packets", link.name),
            Err(error) => log::warn!(
                target: ROW.name,
                "the network card of {} does not stamp every packet ({error}): the kernel's stamps are used; \
                 probe.hardware=0 does without",
                link.name
            ),
        }
        self.cards.push((ifindex, card.ok()));
    }
}
