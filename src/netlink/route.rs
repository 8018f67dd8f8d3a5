//! rtnetlink: links, addresses and default routes, from a dump or as they change (rtnetlink(7), linux/if_link.h).

use std::net::IpAddr;

use super::build::Datagram;
use super::{Message, attributes, known, tail, text};
use crate::bytes::{ne16, ne32, take};
use crate::error::Malformed;

/// Multicast groups that tell of every change this module decodes.
pub const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// `struct ifinfomsg`: family 1, pad 1, type 2, index 4, flags 4, change 4.
const IFINFO_BYTES: usize = 16;
/// `struct ifaddrmsg`: family 1, prefixlen 1, flags 1, scope 1, index 4.
const IFADDR_BYTES: usize = 8;
/// `struct rtmsg`: family, dst_len, src_len, tos, table, protocol, scope, type (1 each), flags 4.
const RTMSG_BYTES: usize = 12;
/// `struct rtnexthop`: len 2, flags 1, hops 1, ifindex 4.
const NEXTHOP_BYTES: usize = 8;

/// `IFLA_INFO_KIND`, `IFLA_INFO_DATA` inside `IFLA_LINKINFO`, and `IFLA_VLAN_ID` inside the data of kind "vlan".
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;

/// Something the kernel's network configuration has, gained or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An interface that is new, changed or listed.
    Link(Link),
    /// An interface that is gone.
    LinkGone {
        /// Its index.
        ifindex: u32,
    },
    /// An address that is new, changed or listed.
    Address(Address),
    /// An address that is gone.
    AddressGone(Address),
    /// A default route that is new, changed or listed.
    DefaultRoute(DefaultRoute),
    /// A default route that is gone.
    DefaultRouteGone(DefaultRoute),
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name, such as `br-lan`.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Whether its frames have Ethernet headers (`ARPHRD_ETHER`).
    pub ethernet: bool,
    /// The bridge or bond it is a port of.
    pub master: Option<u32>,
    /// The interface it is stacked on, as a VLAN on its parent.
    pub parent: Option<u32>,
    /// Its VLAN identifier, if it is a VLAN interface.
    pub vlan: Option<u16>,
}

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The interface it is on.
    pub ifindex: u32,
    /// The address itself.
    pub addr: IpAddr,
    /// Length of the prefix the interface reaches directly, in bits.
    pub prefix_len: u8,
}

/// A default route: where what is not local goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Whether it is one for IPv6.
    pub ipv6: bool,
    /// Its metric: several default routes may stand beside each other.
    pub metric: u32,
    /// Where it leads; more than one if it is multipath.
    pub hops: Vec<Hop>,
}

/// One way that a route goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hop {
    /// The interface packets leave by.
    pub ifindex: u32,
    /// The router they go to; none where the far end of the line is all there is, and where it is of the other IP version.
    pub gateway: Option<IpAddr>,
}

impl DefaultRoute {
    /// Whether it goes through this interface.
    pub fn uses(&self, ifindex: u32) -> bool {
        self.hops.iter().any(|hop| hop.ifindex == ifindex)
    }
}

/// How this machine would send to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Path {
    /// The interface packets leave by.
    pub ifindex: u32,
    /// The address of ours they come from, if there is any.
    pub source: Option<IpAddr>,
    /// The router they go to, if the destination is behind one.
    pub gateway: Option<IpAddr>,
}

/// Asks how this machine would send to a destination, through one interface or, with 0, through whichever the routes
/// say. The kernel refuses where there is no route.
pub fn path_request(sequence: u32, destination: IpAddr, ifindex: u32) -> Vec<u8> {
    let (family, bits, address) = match &destination {
        IpAddr::V4(ip) => (libc::AF_INET, 32, &ip.octets()[..]),
        IpAddr::V6(ip) => (libc::AF_INET6, 128, &ip.octets()[..]),
    };
    let mut fixed = [0; RTMSG_BYTES];
    (fixed[0], fixed[1]) = (family as u8, bits);
    let mut datagram = Datagram::new();
    datagram.message(libc::RTM_GETROUTE, libc::NLM_F_REQUEST as u16, sequence, &fixed);
    datagram.attribute(libc::RTA_DST, address);
    if ifindex != 0 {
        datagram.ne32(libc::RTA_OIF, ifindex);
    }
    datagram.finish()
}

/// Decodes the answer to [`path_request`]; nothing for a route that forbids, and for other messages.
pub fn path(message: &Message<'_>) -> Result<Option<Path>, Malformed> {
    if message.kind != libc::RTM_NEWROUTE {
        return Ok(None);
    }
    let [family, _, _, _, _, _, _, kind] = take(message.body, 0, "route header")?;
    if matches!(kind, libc::RTN_UNREACHABLE | libc::RTN_BLACKHOLE | libc::RTN_PROHIBIT | libc::RTN_THROW) {
        return Ok(None);
    }
    let mut path = Path::default();
    for attribute in known(tail(message.body, RTMSG_BYTES, "route attributes")?) {
        match attribute.kind {
            libc::RTA_OIF => path.ifindex = ne32(attribute.value, 0, "RTA_OIF")?,
            libc::RTA_PREFSRC => path.source = ip(family, attribute.value)?,
            libc::RTA_GATEWAY => path.gateway = ip(family, attribute.value)?,
            _ => {}
        }
    }
    Ok(Some(path))
}

/// Decodes one message; nothing for a message that is none of our subjects, such as a route to somewhere.
pub fn decode(message: &Message<'_>) -> Result<Option<Event>, Malformed> {
    match message.kind {
        libc::RTM_NEWLINK => link(message.body).map(|link| link.map(Event::Link)),
        libc::RTM_DELLINK => {
            // A bridge port that leaves its bridge is announced as RTM_DELLINK of family AF_BRIDGE; the link stays.
            let [family] = take(message.body, 0, "link family")?;
            let ifindex = ne32(message.body, 4, "link index")?;
            Ok((i32::from(family) == libc::AF_UNSPEC).then_some(Event::LinkGone { ifindex }))
        }
        libc::RTM_NEWADDR => address(message.body).map(|address| address.map(Event::Address)),
        libc::RTM_DELADDR => address(message.body).map(|address| address.map(Event::AddressGone)),
        libc::RTM_NEWROUTE => default_route(message.body).map(|route| route.map(Event::DefaultRoute)),
        libc::RTM_DELROUTE => default_route(message.body).map(|route| route.map(Event::DefaultRouteGone)),
        _ => Ok(None),
    }
}

fn link(body: &[u8]) -> Result<Option<Link>, Malformed> {
    let [family] = take(body, 0, "link family")?;
    if i32::from(family) != libc::AF_UNSPEC {
        return Ok(None);
    }
    let kind = ne16(body, 2, "link type")?;
    let flags = ne32(body, 8, "link flags")?;
    let mut link = Link {
        ifindex: ne32(body, 4, "link index")?,
        name: String::new(),
        up: flags & libc::IFF_UP as u32 != 0,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        ethernet: kind == libc::ARPHRD_ETHER,
        master: None,
        parent: None,
        vlan: None,
    };
    for attribute in known(tail(body, IFINFO_BYTES, "link attributes")?) {
        match attribute.kind {
            libc::IFLA_IFNAME => link.name = text(attribute.value),
            libc::IFLA_MASTER => link.master = Some(ne32(attribute.value, 0, "IFLA_MASTER")?),
            libc::IFLA_LINK => link.parent = Some(ne32(attribute.value, 0, "IFLA_LINK")?),
            libc::IFLA_LINKINFO => link.vlan = vlan(attribute.value)?,
            _ => {}
        }
    }
    // The far end of a veth in another namespace is announced as IFLA_LINK too; only a VLAN stands on its parent.
    if link.vlan.is_none() {
        link.parent = None;
    }
    Ok(Some(link))
}

fn vlan(linkinfo: &[u8]) -> Result<Option<u16>, Malformed> {
    let (mut is_vlan, mut data) = (false, &[][..]);
    for attribute in attributes(linkinfo) {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_INFO_KIND => is_vlan = text(attribute.value) == "vlan",
            IFLA_INFO_DATA => data = attribute.value,
            _ => {}
        }
    }
    if !is_vlan {
        return Ok(None);
    }
    for attribute in attributes(data) {
        let attribute = attribute?;
        if attribute.kind == IFLA_VLAN_ID {
            return ne16(attribute.value, 0, "IFLA_VLAN_ID").map(Some);
        }
    }
    Ok(None)
}

fn address(body: &[u8]) -> Result<Option<Address>, Malformed> {
    let [family, prefix_len] = take(body, 0, "address family")?;
    let ifindex = ne32(body, 4, "address interface")?;
    let (mut local, mut other) = (None, None);
    for attribute in known(tail(body, IFADDR_BYTES, "address attributes")?) {
        match attribute.kind {
            libc::IFA_LOCAL => local = ip(family, attribute.value)?,
            libc::IFA_ADDRESS => other = ip(family, attribute.value)?,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the far end, and IFA_LOCAL is ours; elsewhere they are the same, or only
    // IFA_ADDRESS is there.
    Ok(local.or(other).map(|addr| Address { ifindex, addr, prefix_len }))
}

fn default_route(body: &[u8]) -> Result<Option<DefaultRoute>, Malformed> {
    let [family, dst_len, _, _, table, _, _, kind] = take(body, 0, "route header")?;
    let mut route = DefaultRoute { ipv6: i32::from(family) == libc::AF_INET6, metric: 0, hops: Vec::new() };
    let is_ip = route.ipv6 || i32::from(family) == libc::AF_INET;
    if !is_ip || dst_len != 0 || table != libc::RT_TABLE_MAIN || kind != libc::RTN_UNICAST {
        return Ok(None);
    }
    let mut single = Hop::default();
    for attribute in known(tail(body, RTMSG_BYTES, "route attributes")?) {
        match attribute.kind {
            libc::RTA_OIF => single.ifindex = ne32(attribute.value, 0, "RTA_OIF")?,
            libc::RTA_GATEWAY => single.gateway = ip(family, attribute.value)?,
            libc::RTA_PRIORITY => route.metric = ne32(attribute.value, 0, "RTA_PRIORITY")?,
            libc::RTA_MULTIPATH => next_hops(family, attribute.value, &mut route.hops)?,
            _ => {}
        }
    }
    if single.ifindex != 0 {
        route.hops.push(single);
    }
    Ok(Some(route))
}

fn next_hops(family: u8, mut buf: &[u8], hops: &mut Vec<Hop>) -> Result<(), Malformed> {
    while buf.len() >= NEXTHOP_BYTES {
        let length = usize::from(ne16(buf, 0, "next hop length")?);
        if length < NEXTHOP_BYTES {
            return Err(Malformed::Value { what: "next hop length", offset: 0 });
        }
        let mut hop = Hop { ifindex: ne32(buf, 4, "next hop interface")?, gateway: None };
        let attributes = buf.get(NEXTHOP_BYTES..length.min(buf.len())).unwrap_or_default();
        for attribute in known(attributes) {
            if attribute.kind == libc::RTA_GATEWAY {
                hop.gateway = ip(family, attribute.value)?;
            }
        }
        hops.push(hop);
        buf = buf.get(super::align(length)..).unwrap_or(&[]);
    }
    Ok(())
}

/// The address in an attribute; nothing for a family without IP addresses.
pub(super) fn ip(family: u8, value: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    match i32::from(family) {
        libc::AF_INET => take::<4>(value, 0, "IPv4 address").map(|bytes| Some(IpAddr::from(bytes))),
        libc::AF_INET6 => take::<16>(value, 0, "IPv6 address").map(|bytes| Some(IpAddr::from(bytes))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(mut body: Vec<u8>, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        for (kind, value) in attributes {
            body.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body
    }

    fn ifinfo(ifindex: u32, flags: u32) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend_from_slice(&libc::ARPHRD_ETHER.to_ne_bytes());
        body.extend_from_slice(&ifindex.to_ne_bytes());
        body.extend_from_slice(&flags.to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        body
    }

    fn decoded(kind: u16, body: &[u8]) -> Result<Option<Event>, Malformed> {
        decode(&Message { kind, flags: 0, sequence: 0, body })
    }

    #[test]
    fn a_vlan_interface_tells_its_parent_and_identifier() {
        let data = with(Vec::new(), &[(IFLA_VLAN_ID, &10u16.to_ne_bytes())]);
        let info = with(Vec::new(), &[(IFLA_INFO_KIND, b"vlan\0"), (IFLA_INFO_DATA, &data)]);
        let body = with(
            ifinfo(7, libc::IFF_UP as u32),
            &[
                (libc::IFLA_IFNAME, b"br-lan.10\0"),
                (libc::IFLA_LINK, &3u32.to_ne_bytes()),
                (libc::IFLA_LINKINFO, &info),
            ],
        );
        let Ok(Some(Event::Link(link))) = decoded(libc::RTM_NEWLINK, &body) else { panic!("not a link") };
        assert_eq!((link.ifindex, link.name.as_str(), link.up), (7, "br-lan.10", true));
        assert_eq!((link.parent, link.vlan, link.ethernet), (Some(3), Some(10), true));
    }

    #[test]
    fn a_path_to_somewhere_tells_interface_source_and_router() {
        let header = vec![libc::AF_INET as u8, 32, 0, 0, 254, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
        let body = with(
            header.clone(),
            &[
                (libc::RTA_DST, &[198, 51, 100, 10]),
                (libc::RTA_OIF, &7u32.to_ne_bytes()),
                (libc::RTA_PREFSRC, &[203, 0, 113, 2]),
                (libc::RTA_GATEWAY, &[203, 0, 113, 1]),
            ],
        );
        let decoded = |body: &[u8]| path(&Message { kind: libc::RTM_NEWROUTE, flags: 0, sequence: 1, body });
        let addr = |text: &str| Some(text.parse().unwrap());
        let expected = Path { ifindex: 7, source: addr("203.0.113.2"), gateway: addr("203.0.113.1") };
        assert_eq!(decoded(&body), Ok(Some(expected)));
        let mut forbidden = header;
        forbidden[7] = libc::RTN_PROHIBIT;
        assert_eq!(decoded(&forbidden), Ok(None));
        assert!(decoded(&[0; 4]).is_err());
    }

    #[test]
    fn the_kernel_tells_the_path_to_ourselves_and_refuses_one_through_nowhere() {
        let mut requests = super::super::transport::Requests::open(libc::NETLINK_ROUTE).unwrap();
        for text in ["127.0.0.1", "::1"] {
            let (destination, mut found) = (text.parse().unwrap(), None);
            let each = |message: &Message<'_>| {
                found = path(message)?.or(found);
                Ok(())
            };
            requests.get(&path_request(1, destination, 0), each).unwrap();
            assert_eq!(found.map(|path| (path.source, path.gateway)), Some((Some(destination), None)), "{text}");
        }
        assert!(requests.get(&path_request(2, [192, 0, 2, 1].into(), 0x7fff_fff0), |_| Ok(())).is_err());
    }

    #[test]
    fn the_far_end_of_a_veth_is_not_a_parent() {
        let body = with(ifinfo(7, 0), &[(libc::IFLA_IFNAME, b"lan1\0"), (libc::IFLA_LINK, &3u32.to_ne_bytes())]);
        let Ok(Some(Event::Link(link))) = decoded(libc::RTM_NEWLINK, &body) else { panic!("not a link") };
        assert_eq!((link.parent, link.up), (None, false));
    }

    #[test]
    fn our_address_on_a_point_to_point_link_is_the_local_one() {
        let body = with(
            vec![libc::AF_INET as u8, 32, 0, 0, 9, 0, 0, 0],
            &[(libc::IFA_ADDRESS, &[198, 51, 100, 1]), (libc::IFA_LOCAL, &[203, 0, 113, 9])],
        );
        let mut body = body;
        body[4..8].copy_from_slice(&9u32.to_ne_bytes());
        let want = Address { ifindex: 9, addr: IpAddr::from([203, 0, 113, 9]), prefix_len: 32 };
        assert_eq!(decoded(libc::RTM_NEWADDR, &body), Ok(Some(Event::Address(want))));
    }

    #[test]
    fn a_multipath_default_route_names_all_its_interfaces() {
        let hop = |ifindex: u32, attributes: &[(u16, &[u8])]| {
            let attributes = with(Vec::new(), attributes);
            let mut hop = (8 + attributes.len() as u16).to_ne_bytes().to_vec();
            hop.extend_from_slice(&[0, 0]);
            hop.extend_from_slice(&ifindex.to_ne_bytes());
            hop.extend_from_slice(&attributes);
            hop
        };
        let hops = [hop(4, &[(libc::RTA_GATEWAY, &[192, 0, 2, 1])]), hop(5, &[])].concat();
        let fixed = vec![libc::AF_INET as u8, 0, 0, 0, libc::RT_TABLE_MAIN, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
        let body = with(fixed, &[(libc::RTA_MULTIPATH, &hops), (libc::RTA_PRIORITY, &100u32.to_ne_bytes())]);
        let want = DefaultRoute {
            ipv6: false,
            metric: 100,
            hops: vec![Hop { ifindex: 4, gateway: Some([192, 0, 2, 1].into()) }, Hop { ifindex: 5, gateway: None }],
        };
        assert_eq!(decoded(libc::RTM_NEWROUTE, &body), Ok(Some(Event::DefaultRoute(want))));
    }

    #[test]
    fn a_route_to_somewhere_is_none_of_our_subjects() {
        let fixed = [libc::AF_INET as u8, 24, 0, 0, libc::RT_TABLE_MAIN, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
        assert_eq!(decoded(libc::RTM_NEWROUTE, &fixed), Ok(None));
    }

    #[test]
    fn an_attribute_that_cannot_be_read_does_not_cost_those_before_it() {
        let mut body = with(ifinfo(7, 0), &[(libc::IFLA_IFNAME, b"br-lan\0")]);
        body.extend_from_slice(&[0x10, 0x27, 0, 0]);
        let Ok(Some(Event::Link(link))) = decoded(libc::RTM_NEWLINK, &body) else { panic!("not a link") };
        assert_eq!(link.name, "br-lan");
    }

    #[test]
    fn every_cut_of_a_message_is_an_error_or_a_value_never_a_panic() {
        let info = with(Vec::new(), &[(IFLA_INFO_KIND, b"vlan\0"), (IFLA_INFO_DATA, &[6, 0, 1, 0, 10])]);
        let body = with(ifinfo(7, 1), &[(libc::IFLA_IFNAME, b"x\0"), (libc::IFLA_LINKINFO, &info)]);
        for kind in [libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_NEWADDR, libc::RTM_NEWROUTE] {
            for end in 0..body.len() {
                let _ = decoded(kind, &body[..end]);
            }
        }
    }
}
