//! Which interfaces and prefixes are the LAN's: settings and the interface table enter, [`Lans`] leaves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::settings::Subnet;
use crate::lan::Interfaces;
use crate::net::{Cidr, outermost};
use crate::netlink::route::{Address, Link};

/// One LAN: an interface with the prefixes of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lan {
    /// The interface's index.
    pub ifindex: u32,
    /// The interface's name.
    pub ifname: String,
    /// Its clients' prefixes, none inside another.
    pub prefixes: Vec<Cidr>,
}

/// All LANs, and which of their addresses are no clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lans {
    /// The LANs, each interface once.
    pub lans: Vec<Lan>,
    /// The router's own addresses, on any interface, in order.
    own: Vec<IpAddr>,
    /// What was asked for and cannot be, for people.
    pub problems: Vec<String>,
    /// What can be and is more often a mistake than meant, for people.
    pub doubts: Vec<String>,
}

impl Lans {
    /// Decides for the subnets that were asked for, none meaning those that look like a LAN.
    pub fn find(wanted: &[Subnet], interfaces: &Interfaces) -> Lans {
        let mut found = Lans { own: interfaces.addresses().map(|address| address.addr).collect(), ..Lans::default() };
        found.own.sort_unstable();
        found.own.dedup();
        if wanted.is_empty() {
            let lan = |(link, prefixes): (&Link, Vec<Cidr>)| Lan {
                ifindex: link.ifindex,
                ifname: link.name.clone(),
                prefixes: outermost(prefixes),
            };
            found.lans = interfaces.find_lan().into_iter().map(lan).collect();
            return found;
        }
        for subnet in wanted {
            found.add(subnet, interfaces);
        }
        found
    }

    /// Whether an address can be a client's: in one of the prefixes, and neither the router's own nor the first or last
    /// of an IPv4 prefix or the first of an IPv6 prefix, which stand for the network, all hosts, or any router.
    pub fn is_client(&self, addr: IpAddr) -> bool {
        let fits = |prefix: &Cidr| prefix.contains(addr) && !is_reserved(*prefix, addr);
        self.lans.iter().flat_map(|lan| &lan.prefixes).any(fits) && self.own.binary_search(&addr).is_err()
    }

    /// The name of the interface an address is behind: that where it was seen, else that whose prefix it is in.
    pub fn ifname_of(&self, addr: IpAddr, seen: Option<u32>) -> Option<&str> {
        let seen = seen.and_then(|ifindex| self.lans.iter().find(|lan| lan.ifindex == ifindex));
        let by_prefix = || self.lans.iter().find(|lan| lan.prefixes.iter().any(|prefix| prefix.contains(addr)));
        seen.or_else(by_prefix).map(|lan| lan.ifname.as_str())
    }

    fn add(&mut self, subnet: &Subnet, interfaces: &Interfaces) {
        let Some(prefix) = subnet.prefix else {
            subnet.ifname.iter().for_each(|name| self.add_all_of(name, interfaces));
            return;
        };
        let links: Vec<&Link> = match &subnet.ifname {
            Some(name) => {
                let link = interfaces.by_name(name);
                if link.is_none() {
                    let text = format!("{prefix}: there is no interface {name} now; it is taken up when it appears");
                    self.problems.push(text);
                }
                link.into_iter().collect()
            }
            None => {
                let meets = |address: &Address| {
                    let on_link = Cidr::new(address.addr, address.prefix_len);
                    prefix.contains(address.addr) || on_link.is_ok_and(|on_link| on_link.contains(prefix.addr()))
                };
                let on = |link: &&Link| !link.loopback && interfaces.addresses_of(link.ifindex).any(meets);
                let links: Vec<&Link> = interfaces.links().filter(on).collect();
                if links.is_empty() {
                    self.problems.push(format!(
                        "{prefix}: no interface has an address in it; it is taken up when one has, or name the interface: {prefix}/br-lan"
                    ));
                }
                links
            }
        };
        for link in links {
            self.add_to(link, prefix, interfaces);
        }
    }

    /// Adds every subnet of an interface.
    fn add_all_of(&mut self, name: &str, interfaces: &Interfaces) {
        let Some(link) = interfaces.by_name(name) else {
            self.problems.push(format!("there is no interface {name} now; it is taken up when it appears"));
            return;
        };
        let prefixes = interfaces.prefixes_of(link.ifindex);
        if prefixes.is_empty() {
            self.problems.push(format!("{name} has no address now; its subnets are taken up when it has one"));
        }
        prefixes.into_iter().for_each(|prefix| self.add_to(link, prefix, interfaces));
    }

    fn add_to(&mut self, link: &Link, prefix: Cidr, interfaces: &Interfaces) {
        let name = &link.name;
        if interfaces.carries_default_route(link.ifindex) {
            self.doubts.push(format!(
                "{prefix}: {name} carries the default route, so what is taken for clients may be the internet's side"
            ));
        }
        let elsewhere = self.lans.iter().filter(|lan| lan.ifindex != link.ifindex);
        for (other, lan) in elsewhere.flat_map(|lan| lan.prefixes.iter().map(move |other| (other, lan))) {
            if overlap(prefix, *other) {
                self.doubts.push(format!(
                    "{prefix} on {name} overlaps {other} on {}: one address is one client wherever it is",
                    lan.ifname
                ));
            }
        }
        let lan = match self.lans.iter_mut().position(|lan| lan.ifindex == link.ifindex) {
            Some(index) => self.lans.get_mut(index),
            None => {
                self.lans.push(Lan { ifindex: link.ifindex, ifname: name.clone(), prefixes: Vec::new() });
                self.lans.last_mut()
            }
        };
        let Some(lan) = lan else { return };
        if let Some(outer) = lan.prefixes.iter().find(|outer| overlap(prefix, **outer)) {
            self.doubts.push(format!("{prefix} on {name} overlaps {outer}; the wider one is used"));
        }
        lan.prefixes.push(prefix);
        lan.prefixes = outermost(std::mem::take(&mut lan.prefixes));
    }
}

impl fmt::Display for Lans {
    /// For people: who is a client where.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lans.is_empty() {
            return f.write_str("there is no LAN now");
        }
        for (index, lan) in self.lans.iter().enumerate() {
            let between = if index == 0 { "clients are on" } else { ", and on" };
            write!(f, "{between} {} in", lan.ifname)?;
            lan.prefixes.iter().try_for_each(|prefix| write!(f, " {prefix}"))?;
        }
        Ok(())
    }
}

fn overlap(a: Cidr, b: Cidr) -> bool {
    a.contains(b.addr()) || b.contains(a.addr())
}

fn is_reserved(prefix: Cidr, addr: IpAddr) -> bool {
    match (prefix.addr(), addr) {
        (IpAddr::V4(first), IpAddr::V4(addr)) if prefix.prefix_len() < 31 => {
            let last = first.to_bits() | u32::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0);
            addr == first || addr == Ipv4Addr::from_bits(last)
        }
        (IpAddr::V6(first), IpAddr::V6(addr)) if prefix.prefix_len() < 127 => addr == first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::route::{DefaultRoute, Event, Hop};

    fn home() -> Interfaces {
        let mut interfaces = Interfaces::default();
        for (ifindex, name) in [(2, "wan"), (3, "br-lan"), (4, "br-guest")] {
            interfaces.apply(Event::Link(Link {
                ifindex,
                name: name.into(),
                up: true,
                loopback: false,
                ethernet: true,
                master: None,
                parent: None,
                vlan: None,
            }));
        }
        for (ifindex, addr, prefix_len) in [
            (2, "192.168.0.2", 24),
            (3, "192.168.1.1", 24),
            (3, "2001:db8:1:1::1", 64),
            (4, "192.168.2.1", 24),
            (4, "2001:db8:1:2::1", 64),
        ] {
            interfaces.apply(Event::Address(Address { ifindex, addr: addr.parse().unwrap(), prefix_len }));
        }
        interfaces.apply(Event::DefaultRoute(DefaultRoute {
            ipv6: false,
            metric: 0,
            hops: vec![Hop { ifindex: 2, gateway: None }],
        }));
        interfaces
    }

    fn find(wanted: &[(&str, Option<&str>)]) -> Lans {
        let subnet = |(prefix, ifname): &(&str, Option<&str>)| Subnet {
            prefix: prefix.parse().ok(),
            ifname: ifname.map(str::to_owned),
        };
        Lans::find(&wanted.iter().map(subnet).collect::<Vec<_>>(), &home())
    }

    fn shown(lans: &Lans) -> Vec<String> {
        let show = |lan: &Lan| {
            let prefixes: Vec<_> = lan.prefixes.iter().map(Cidr::to_string).collect();
            format!("{} {}", lan.ifname, prefixes.join(" "))
        };
        lans.lans.iter().map(show).collect()
    }

    #[test]
    fn with_nothing_wanted_the_lans_are_found() {
        let lans = find(&[]);
        assert_eq!(
            shown(&lans),
            ["br-lan 192.168.1.0/24 2001:db8:1:1::/64", "br-guest 192.168.2.0/24 2001:db8:1:2::/64"]
        );
    }

    #[test]
    fn a_subnet_without_interface_is_where_an_address_is_in_it() {
        let lans = find(&[("192.168.1.0/24", None), ("2001:db8:1::/56", None)]);
        assert_eq!(shown(&lans), ["br-lan 192.168.1.0/24 2001:db8:1::/56", "br-guest 2001:db8:1::/56"]);
        let part = find(&[("192.168.2.128/25", None)]);
        assert_eq!(shown(&part), ["br-guest 192.168.2.128/25"]);
    }

    #[test]
    fn an_interface_without_a_subnet_stands_for_all_of_its_own() {
        let lans = find(&[("", Some("br-guest")), ("", Some("br-iot"))]);
        assert_eq!(shown(&lans), ["br-guest 192.168.2.0/24 2001:db8:1:2::/64"]);
        assert_eq!(lans.problems, ["there is no interface br-iot now; it is taken up when it appears"]);
    }

    #[test]
    fn a_subnet_that_is_nowhere_is_a_problem_and_the_rest_is_used() {
        let lans = find(&[("10.0.0.0/8", None), ("192.168.1.0/24", Some("br-lan")), ("10.1.0.0/16", Some("br-iot"))]);
        assert_eq!(shown(&lans), ["br-lan 192.168.1.0/24"]);
        assert_eq!(lans.problems.len(), 2);
        assert!(lans.problems[0].starts_with("10.0.0.0/8: no interface has an address in it"));
        assert!(lans.problems[1].starts_with("10.1.0.0/16: there is no interface br-iot now"));
    }

    #[test]
    fn subnets_that_overlap_count_once_and_are_told() {
        let lans = find(&[("192.168.1.0/25", Some("br-lan")), ("192.168.0.0/16", Some("br-lan"))]);
        assert_eq!(shown(&lans), ["br-lan 192.168.0.0/16"]);
        assert_eq!(lans.doubts, ["192.168.0.0/16 on br-lan overlaps 192.168.1.0/25; the wider one is used"]);
        let two = find(&[("192.168.0.0/16", Some("br-lan")), ("192.168.2.0/24", Some("br-guest"))]);
        assert!(two.doubts[0].starts_with("192.168.2.0/24 on br-guest overlaps 192.168.0.0/16 on br-lan"));
    }

    #[test]
    fn the_side_of_the_internet_taken_for_a_lan_is_doubted() {
        assert!(find(&[("192.168.0.0/24", None)]).doubts[0].contains("wan carries the default route"));
    }

    #[test]
    fn the_router_and_the_ends_of_a_subnet_are_no_clients() {
        let lans = find(&[]);
        let is_client = |addr: &str| lans.is_client(addr.parse().unwrap());
        for addr in ["192.168.1.2", "192.168.2.254", "2001:db8:1:1::2", "2001:db8:1:2:ffff:ffff:ffff:ffff"] {
            assert!(is_client(addr), "{addr}");
        }
        for addr in ["192.168.1.0", "192.168.1.1", "192.168.1.255", "2001:db8:1:1::", "2001:db8:1:1::1"] {
            assert!(!is_client(addr), "{addr}");
        }
        for addr in ["192.168.0.2", "192.168.0.7", "8.8.8.8", "fe80::1", "224.0.0.251", "255.255.255.255"] {
            assert!(!is_client(addr), "{addr}");
        }
    }
}
