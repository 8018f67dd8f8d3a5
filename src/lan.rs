//! What this router's interfaces, addresses and default routes are, kept up to date from rtnetlink events.
//!
//! [`Interfaces`] is a plain table: it opens no socket. Collectors ask it which interfaces are the LAN's.

use std::net::IpAddr;

use crate::net::Cidr;
use crate::netlink::route::{Address, DefaultRoute, Event, Hop, Link};
use crate::sorted::Sorted;

/// Interfaces beyond this number are not looked at; a router has tens.
const MAX_LINKS: usize = 4096;
/// Addresses beyond this number are not looked at.
const MAX_ADDRESSES: usize = 16384;
/// Default routes beyond this number are not looked at.
const MAX_ROUTES: usize = 1024;

/// The interfaces of this machine with their addresses, and where its default routes go.
#[derive(Debug, Default)]
pub struct Interfaces {
    links: Sorted<u32, Link>,
    addresses: Sorted<Address, ()>,
    default_routes: Vec<DefaultRoute>,
}

impl Interfaces {
    /// Takes in one event; true if it changed anything.
    pub fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Link(link) => {
                if self.links.get(&link.ifindex) == Some(&link)
                    || (self.links.len() >= MAX_LINKS && !self.links.contains_key(&link.ifindex))
                {
                    return false;
                }
                self.links.insert(link.ifindex, link);
                true
            }
            Event::LinkGone { ifindex } => {
                // The kernel announces the addresses and routes that go with a link, but a lost event must not leave
                // an address behind on an index that may be used again.
                self.addresses.retain(|address, ()| address.ifindex != ifindex);
                self.default_routes.retain(|route| !route.uses(ifindex));
                self.links.remove(&ifindex).is_some()
            }
            Event::Address(address) => {
                self.addresses.len() < MAX_ADDRESSES && self.addresses.insert(address, ()).is_none()
            }
            Event::AddressGone(address) => self.addresses.remove(&address).is_some(),
            Event::DefaultRoute(route) => {
                if self.default_routes.contains(&route) || self.default_routes.len() >= MAX_ROUTES {
                    return false;
                }
                self.default_routes.push(route);
                true
            }
            Event::DefaultRouteGone(route) => {
                let before = self.default_routes.len();
                self.default_routes.retain(|known| *known != route);
                self.default_routes.len() != before
            }
        }
    }

    /// The interface of this name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// The interface with this index.
    pub fn by_index(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// Every interface, by index.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Every address of this machine.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.keys()
    }

    /// The addresses of one interface.
    pub fn addresses_of(&self, ifindex: u32) -> impl Iterator<Item = &Address> {
        self.addresses.keys().filter(move |address| address.ifindex == ifindex)
    }

    /// Whether a default route leaves through this very interface; one through a VLAN or PPPoE on it does not count.
    pub fn carries_default_route(&self, ifindex: u32) -> bool {
        self.default_routes.iter().any(|route| route.uses(ifindex))
    }

    /// Where the default route of an IP version leads, of several the one with the least metric; through one interface
    /// only, if one is given.
    pub fn next_hop(&self, ipv6: bool, through: Option<u32>) -> Option<Hop> {
        let is_it = |hop: &&Hop| through.is_none_or(|ifindex| hop.ifindex == ifindex);
        let ways = self.default_routes.iter().filter(|route| route.ipv6 == ipv6);
        let ways = ways.filter_map(|route| Some((route.metric, route.hops.iter().find(is_it)?)));
        ways.min_by_key(|(metric, _)| *metric).map(|(_, hop)| *hop)
    }

    /// Takes over the default routes of a list that was made anew: the kernel does not tell of the end of every one, as when
    /// another takes its place or its interface goes down.
    pub fn take_routes(&mut self, listed: Interfaces) {
        self.default_routes = listed.default_routes;
    }

    /// The interfaces that look like a LAN's, with the prefixes on them: Ethernet, up, no port of a bridge, not where a
    /// default route goes, and with a private IPv4 or a global or unique local IPv6 prefix of more than one address.
    pub fn find_lan(&self) -> Vec<(&Link, Vec<Cidr>)> {
        let lan = |link: &&Link| {
            link.up
                && link.ethernet
                && !link.loopback
                && link.master.is_none()
                && !self.carries_default_route(link.ifindex)
        };
        let with_prefixes = |link| {
            let prefixes: Vec<Cidr> = self.lan_prefixes(link).collect();
            (!prefixes.is_empty()).then_some((link, prefixes))
        };
        self.links.values().filter(lan).filter_map(with_prefixes).collect()
    }

    /// Every prefix that an interface has neighbours in, whatever kind it is of; those of IPv6 that mean something on the
    /// link only are none.
    pub fn prefixes_of(&self, ifindex: u32) -> Vec<Cidr> {
        let all = self.addresses_of(ifindex).filter_map(|address| {
            let has_neighbours = match address.addr {
                IpAddr::V4(_) => (1..31).contains(&address.prefix_len),
                IpAddr::V6(addr) => (1..127).contains(&address.prefix_len) && !addr.is_unicast_link_local(),
            };
            has_neighbours.then(|| Cidr::new(address.addr, address.prefix_len).ok()).flatten()
        });
        all.collect()
    }

    fn lan_prefixes(&self, link: &Link) -> impl Iterator<Item = Cidr> {
        self.addresses_of(link.ifindex).filter_map(|address| {
            let fits = match address.addr {
                IpAddr::V4(addr) => addr.is_private() && address.prefix_len < 31,
                IpAddr::V6(addr) => {
                    let global = addr.segments()[0] & 0xe000 == 0x2000;
                    (global || addr.is_unique_local()) && address.prefix_len < 127
                }
            };
            fits.then(|| Cidr::new(address.addr, address.prefix_len).ok()).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            up: true,
            loopback: false,
            ethernet: true,
            master: None,
            parent: None,
            vlan: None,
        }
    }

    fn address(ifindex: u32, addr: &str, prefix_len: u8) -> Event {
        Event::Address(Address { ifindex, addr: addr.parse().unwrap(), prefix_len })
    }

    fn home() -> Interfaces {
        let mut interfaces = Interfaces::default();
        for event in [
            Event::Link(Link { loopback: true, ethernet: false, ..link(1, "lo") }),
            Event::Link(link(2, "wan")),
            Event::Link(link(3, "br-lan")),
            Event::Link(Link { master: Some(3), ..link(4, "lan1") }),
            Event::Link(Link { ethernet: false, ..link(5, "wg0") }),
            address(1, "127.0.0.1", 8),
            address(2, "192.168.0.2", 24),
            address(3, "192.168.1.1", 24),
            address(3, "fe80::1", 64),
            address(3, "fd00:1::1", 64),
            address(3, "2001:db8:1::1", 64),
            address(5, "10.9.0.1", 24),
            Event::DefaultRoute(DefaultRoute { ipv6: false, metric: 0, hops: vec![Hop { ifindex: 2, gateway: None }] }),
        ] {
            assert!(interfaces.apply(event));
        }
        interfaces
    }

    fn found(interfaces: &Interfaces) -> Vec<String> {
        let show = |(link, prefixes): (&Link, Vec<Cidr>)| {
            let mut prefixes: Vec<_> = prefixes.iter().map(Cidr::to_string).collect();
            prefixes.sort();
            format!("{} {}", link.name, prefixes.join(" "))
        };
        interfaces.find_lan().into_iter().map(show).collect()
    }

    #[test]
    fn the_lan_is_where_private_prefixes_are_and_the_default_route_is_not() {
        assert_eq!(found(&home()), ["br-lan 192.168.1.0/24 2001:db8:1::/64 fd00:1::/64"]);
    }

    #[test]
    fn an_interface_that_is_down_or_gone_is_no_lan() {
        let mut interfaces = home();
        assert!(interfaces.apply(Event::Link(Link { up: false, ..link(3, "br-lan") })));
        assert!(found(&interfaces).is_empty());
        let mut interfaces = home();
        assert!(interfaces.apply(Event::LinkGone { ifindex: 3 }));
        assert!(found(&interfaces).is_empty());
        assert_eq!(interfaces.addresses_of(3).count(), 0);
    }

    #[test]
    fn a_port_of_a_bridge_is_no_lan_even_if_it_has_an_address() {
        let mut interfaces = home();
        assert!(interfaces.apply(address(4, "192.168.9.1", 24)));
        assert_eq!(found(&interfaces).len(), 1);
        assert!(interfaces.apply(Event::Link(link(4, "lan1"))));
        assert_eq!(found(&interfaces), ["br-lan 192.168.1.0/24 2001:db8:1::/64 fd00:1::/64", "lan1 192.168.9.0/24"]);
    }

    #[test]
    fn the_same_event_twice_changes_nothing() {
        let mut interfaces = home();
        assert!(!interfaces.apply(address(3, "192.168.1.1", 24)));
        assert!(!interfaces.apply(Event::Link(link(3, "br-lan"))));
        let route = DefaultRoute { ipv6: false, metric: 0, hops: vec![Hop { ifindex: 2, gateway: None }] };
        assert!(!interfaces.apply(Event::DefaultRoute(route.clone())));
        assert!(interfaces.apply(Event::DefaultRouteGone(route)));
        assert_eq!(found(&interfaces).len(), 2);
    }

    #[test]
    fn a_renamed_interface_is_found_by_its_new_name() {
        let mut interfaces = home();
        interfaces.apply(Event::Link(link(3, "br-home")));
        assert!(interfaces.by_name("br-lan").is_none());
        assert_eq!(interfaces.by_name("br-home").map(|link| link.ifindex), Some(3));
    }
}
