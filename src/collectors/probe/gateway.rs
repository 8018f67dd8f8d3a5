//! The target that is called `gateway`: whichever router the default route leads to, for each IP version. Pure.
//!
//! It changes with the route. A host of that name in DNS can be probed, too: as `gateway.` or with its domain.

use std::fmt;
use std::net::IpAddr;

use super::settings::{Settings, Via};
use crate::lan::Interfaces;
use crate::names::host_name::HostName;
use crate::names::lookup::Families;

/// What it is called in place of a host.
const WORD: &str = "gateway";

/// Whether a host name stands for the gateway.
pub fn is_meant(host: &HostName) -> bool {
    host.as_str() == WORD
}

/// A router that a default route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Its address, which for IPv6 is mostly one that means something on that interface only.
    pub ip: IpAddr,
    /// The interface it is behind.
    pub ifindex: u32,
}

/// The gateways there are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gateways {
    v4: Option<Gateway>,
    v6: Option<Gateway>,
}

impl Gateways {
    /// Those of the families that are probed, each by the interface that its probes are to leave by.
    pub fn find(interfaces: &Interfaces, settings: &Settings) -> Gateways {
        let of = |via: &Via, ipv6| {
            let through = match via {
                Via::Nowhere => return None,
                Via::Routes => None,
                Via::Interface(name) => Some(interfaces.by_name(name)?.ifindex),
            };
            let hop = interfaces.next_hop(ipv6, through)?;
            hop.gateway.filter(is_a_router).map(|ip| Gateway { ip, ifindex: hop.ifindex })
        };
        Gateways { v4: of(&settings.via4, false), v6: of(&settings.via6, true) }
    }

    /// Every one of these families.
    pub fn of(&self, families: Families) -> impl Iterator<Item = Gateway> {
        let (v4, v6) = match families {
            Families::V4 => (self.v4, None),
            Families::V6 => (None, self.v6),
            Families::Both => (self.v4, self.v6),
        };
        v4.into_iter().chain(v6)
    }

    /// Their addresses.
    pub fn addresses(&self, families: Families) -> Vec<IpAddr> {
        self.of(families).map(|gateway| gateway.ip).collect()
    }

    /// The interface that an address is behind, if it is a gateway's.
    pub fn ifindex_of(&self, ip: IpAddr) -> Option<u32> {
        self.of(Families::Both).find(|gateway| gateway.ip == ip).map(|gateway| gateway.ifindex)
    }
}

impl fmt::Display for Gateways {
    /// For people: who it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v4, self.v6) {
            (None, None) => f.write_str("no default route leads to a router now"),
            (Some(one), None) | (None, Some(one)) => write!(f, "the gateway is {}", one.ip),
            (Some(v4), Some(v6)) => write!(f, "the gateways are {} and {}", v4.ip, v6.ip),
        }
    }
}

fn is_a_router(ip: &IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;
    use crate::collectors::SECTIONS;
    use crate::config::Config;
    use crate::netlink::route::{DefaultRoute, Event, Hop, Link};

    fn settings(options: &[&str]) -> Settings {
        let args = Args { option: options.iter().map(|text| (*text).to_owned()).collect(), ..Args::default() };
        Settings::read(&Config::load(&args, SECTIONS).unwrap()).unwrap()
    }

    fn router(routes: &[(u32, u32, &str)]) -> Interfaces {
        let mut interfaces = Interfaces::default();
        for (ifindex, name) in [(2, "wan"), (3, "lte")] {
            let name = name.to_owned();
            let (up, loopback, ethernet) = (true, false, true);
            interfaces.apply(Event::Link(Link {
                ifindex,
                name,
                up,
                loopback,
                ethernet,
                master: None,
                parent: None,
                vlan: None,
            }));
        }
        for (metric, ifindex, gateway) in routes {
            let gateway = gateway.parse::<IpAddr>().ok();
            let ipv6 = gateway.is_some_and(|ip| ip.is_ipv6());
            let hops = vec![Hop { ifindex: *ifindex, gateway }];
            interfaces.apply(Event::DefaultRoute(DefaultRoute { ipv6, metric: *metric, hops }));
        }
        interfaces
    }

    fn found(options: &[&str], routes: &[(u32, u32, &str)]) -> Vec<String> {
        let gateways = Gateways::find(&router(routes), &settings(options));
        gateways.of(Families::Both).map(|gateway| format!("{}%{}", gateway.ip, gateway.ifindex)).collect()
    }

    #[test]
    fn the_route_that_is_preferred_leads_to_the_gateway() {
        let routes = [(20, 3, "10.64.0.1"), (10, 2, "192.0.2.1"), (1024, 3, "fe80::3"), (512, 2, "fe80::1")];
        assert_eq!(found(&[], &routes), ["192.0.2.1%2", "fe80::1%2"]);
        assert_eq!(found(&[], &routes[..1]), ["10.64.0.1%3"]);
        assert_eq!(found(&[], &[]), [""; 0]);
    }

    #[test]
    fn a_named_interface_has_its_own_gateway() {
        let routes = [(20, 3, "10.64.0.1"), (10, 2, "192.0.2.1"), (512, 2, "fe80::1")];
        assert_eq!(found(&["probe.interface4=lte", "probe.interface6=none"], &routes), ["10.64.0.1%3"]);
        assert_eq!(found(&["probe.interface4=gone"], &routes), ["fe80::1%2"]);
    }

    #[test]
    fn a_line_without_a_router_has_no_gateway_although_another_line_has_one() {
        assert_eq!(found(&[], &[(10, 2, ""), (20, 3, "10.64.0.1")]), [""; 0]);
        assert_eq!(found(&[], &[(10, 2, "0.0.0.0")]), [""; 0]);
    }

    #[test]
    fn a_host_of_that_name_is_meant_with_a_dot() {
        let is_meant = |text| is_meant(&HostName::parse(text).unwrap());
        assert!(is_meant("gateway") && is_meant("Gateway"));
        assert!(!is_meant("gateway.") && !is_meant("gateway.lan"));
    }
}
