//! Which interfaces to account on, and by which rules: settings and the interface table enter, a [`Plan`] leaves.
//!
//! A packet must count once whichever hooks it crosses. So ingress adds only uploads and egress only downloads, an
//! interface accounts only its own subnets, a bridge port is left out when its bridge is accounted, and frames of a
//! VLAN are left to the VLAN's own interface when that is accounted.

use std::net::IpAddr;

use super::codec::Rules;
use super::settings::{Settings, Subnet6};
use crate::lan::Interfaces;
use crate::net::{Cidr, outermost};
use crate::netlink::route::Link;

/// What to attach where.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Interfaces to account on.
    pub attachments: Vec<Attachment>,
    /// Interfaces that were asked for and cannot be used, with the reason.
    pub problems: Vec<Problem>,
}

/// One interface to account on.
#[derive(Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub ifname: String,
    /// What counts on it.
    pub rules: Rules,
}

/// An interface that was asked for and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its name.
    pub ifname: String,
    /// What is the matter, for people.
    pub text: String,
}

impl Plan {
    /// Decides for the settings and the interfaces there are now.
    pub fn make(settings: &Settings, interfaces: &Interfaces) -> Plan {
        let mut plan = Plan::default();
        let chosen = choose(settings, interfaces, &mut plan.problems);
        let local = local(settings, interfaces, &chosen);
        let (local4, local6) = split(local.iter().copied());
        for (link, prefixes) in &chosen {
            let (lan4, lan6) = split(prefixes.iter().copied());
            let vlans_of = |(other, _): &(&Link, Vec<Cidr>)| (other.parent == Some(link.ifindex)).then_some(other.vlan);
            plan.attachments.push(Attachment {
                ifindex: link.ifindex,
                ifname: link.name.clone(),
                rules: Rules {
                    lan4,
                    lan6,
                    local4: local4.clone(),
                    local6: local6.clone(),
                    skip_vlans: chosen.iter().filter_map(vlans_of).flatten().collect(),
                    count: settings.count,
                },
            });
        }
        plan
    }
}

/// Prefixes that were asked for although the router has no address in them: nothing is wrong with that, but it is more
/// often a typo than meant. In words, each with the remedy.
pub fn doubts(settings: &Settings, interfaces: &Interfaces) -> Vec<String> {
    let mut doubts = Vec::new();
    for wanted in &settings.subnets4 {
        let Some(link) = interfaces.by_name(&wanted.ifname) else { continue };
        let of_link = || interfaces.addresses_of(link.ifindex).filter(|address| address.addr.is_ipv4());
        let Some(subnet) = wanted.subnet else { continue };
        if !of_link().any(|address| subnet.contains(address.addr)) {
            let has: Vec<_> = of_link().map(|address| format!("{}/{}", address.addr, address.prefix_len)).collect();
            let has = if has.is_empty() { "no IPv4 address at all".to_owned() } else { has.join(" ") };
            doubts.push(format!(
                "{}: has {has}, none in {}: if its hosts are not in that subnet, correct -4 or subnet4",
                wanted.ifname, subnet
            ));
        }
    }
    for wanted in &settings.subnets6 {
        let Subnet6::Prefix(wanted) = wanted else { continue };
        if !interfaces.addresses().any(|address| wanted.contains(address.addr)) {
            doubts.push(format!(
                "no interface has an address in {wanted}: if that prefix is not delegated to this LAN, correct -6 or subnet6"
            ));
        }
    }
    doubts
}

/// The interfaces to account on, each with its LAN prefixes.
fn choose<'a>(
    settings: &Settings,
    interfaces: &'a Interfaces,
    problems: &mut Vec<Problem>,
) -> Vec<(&'a Link, Vec<Cidr>)> {
    let mut chosen: Vec<(&Link, Vec<Cidr>)> = Vec::new();
    let prefixes6 = prefixes6(settings, interfaces);
    if settings.subnets4.is_empty() {
        chosen = interfaces.find_lan();
        if !prefixes6.is_empty() {
            for (_, prefixes) in &mut chosen {
                prefixes.retain(|found| found.addr().is_ipv4());
                prefixes.extend_from_slice(&prefixes6);
            }
        }
        return chosen;
    }
    let mut report = |ifname: &str, text: String| {
        let problem = Problem { ifname: ifname.into(), text };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    for wanted in &settings.subnets4 {
        let name = &wanted.ifname;
        let Some(link) = interfaces.by_name(name) else {
            report(name, format!("there is no interface {name} now; it is taken up when it appears"));
            continue;
        };
        if !link.ethernet {
            report(
                name,
                format!("{name} is left out: it carries no Ethernet frames, so its hosts have no MAC address"),
            );
            continue;
        }
        let subnets = match wanted.subnet {
            Some(subnet) => vec![subnet],
            None => all_of(link, interfaces, IpAddr::is_ipv4),
        };
        if subnets.is_empty() {
            report(name, format!("{name} has no IPv4 address now; its subnets are taken up when it has one"));
        }
        match chosen.iter_mut().find(|(known, _)| known.ifindex == link.ifindex) {
            Some((_, prefixes)) => prefixes.extend(subnets),
            None => chosen.push((link, subnets)),
        }
    }
    let indexes: Vec<u32> = chosen.iter().map(|(link, _)| link.ifindex).collect();
    chosen.retain(|(link, _)| {
        let inside = link.master.filter(|master| indexes.contains(master));
        if inside.is_some() {
            let text = format!("{0} is left out: it is a port of a bridge that is accounted itself", link.name);
            report(&link.name, text);
        }
        inside.is_none()
    });
    for (_, prefixes) in &mut chosen {
        prefixes.extend_from_slice(&prefixes6);
    }
    chosen
}

/// The IPv6 prefixes that are wanted, those of interfaces as they are now.
fn prefixes6(settings: &Settings, interfaces: &Interfaces) -> Vec<Cidr> {
    let each = |wanted: &Subnet6| match wanted {
        Subnet6::Prefix(prefix) => vec![*prefix],
        Subnet6::Of(name) => {
            interfaces.by_name(name).map(|link| all_of(link, interfaces, IpAddr::is_ipv6)).unwrap_or_default()
        }
    };
    settings.subnets6.iter().flat_map(each).collect()
}

/// All prefixes of an interface that are of one family.
fn all_of(link: &Link, interfaces: &Interfaces, is_wanted: fn(&IpAddr) -> bool) -> Vec<Cidr> {
    let mut prefixes = interfaces.prefixes_of(link.ifindex);
    prefixes.retain(|prefix| is_wanted(&prefix.addr()));
    prefixes
}

/// Everything that is not the internet beside the ranges the program knows by itself: all LAN prefixes, what else is
/// on LAN interfaces, and this machine's own addresses.
fn local(settings: &Settings, interfaces: &Interfaces, chosen: &[(&Link, Vec<Cidr>)]) -> Vec<Cidr> {
    let given = settings.subnets4.iter().filter_map(|wanted| wanted.subnet);
    let given = given.chain(prefixes6(settings, interfaces));
    let on_lan = chosen.iter().flat_map(|(link, prefixes)| {
        let all = interfaces.addresses_of(link.ifindex).filter_map(|a| Cidr::new(a.addr, a.prefix_len).ok());
        prefixes.iter().copied().chain(all)
    });
    let own = interfaces.addresses().filter_map(|address| {
        let bits = if address.addr.is_ipv4() { 32 } else { 128 };
        Cidr::new(address.addr, bits).ok()
    });
    outermost(given.chain(on_lan).chain(own))
}

type Prefixes<A> = Vec<(A, u8)>;

fn split(prefixes: impl Iterator<Item = Cidr>) -> (Prefixes<std::net::Ipv4Addr>, Prefixes<std::net::Ipv6Addr>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for prefix in prefixes {
        match prefix.addr() {
            IpAddr::V4(addr) => v4.push((addr, prefix.prefix_len())),
            IpAddr::V6(addr) => v6.push((addr, prefix.prefix_len())),
        }
    }
    (v4, v6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Args;
    use crate::collectors::SECTIONS;
    use crate::config::Config;
    use crate::netlink::route::{Address, DefaultRoute, Event, Hop};

    fn settings(flags: &[&str]) -> Settings {
        let option = flags.iter().map(|flag| format!("traffic.{flag}")).collect();
        let args = Args { option, ..Args::default() };
        Settings::read(&Config::load(&args, SECTIONS).unwrap()).unwrap()
    }

    fn link(ifindex: u32, name: &str) -> Link {
        let name = name.to_owned();
        Link { ifindex, name, up: true, loopback: false, ethernet: true, master: None, parent: None, vlan: None }
    }

    fn router(extra: Vec<Link>) -> Interfaces {
        let mut interfaces = Interfaces::default();
        interfaces.apply(Event::Link(link(2, "wan")));
        interfaces.apply(Event::Link(link(3, "br-lan")));
        for link in extra {
            interfaces.apply(Event::Link(link));
        }
        for (ifindex, addr, prefix_len) in
            [(2, "203.0.113.2", 24), (3, "192.168.1.1", 24), (3, "2001:db8:1::1", 64), (3, "fe80::1", 64)]
        {
            interfaces.apply(Event::Address(Address { ifindex, addr: addr.parse().unwrap(), prefix_len }));
        }
        interfaces.apply(Event::DefaultRoute(DefaultRoute {
            ipv6: false,
            metric: 0,
            hops: vec![Hop { ifindex: 2, gateway: None }],
        }));
        interfaces
    }

    fn shown(plan: &Plan) -> Vec<String> {
        let show = |a: &Attachment| {
            let v4 = a.rules.lan4.iter().map(|(addr, len)| format!("{addr}/{len}"));
            let v6 = a.rules.lan6.iter().map(|(addr, len)| format!("{addr}/{len}"));
            format!("{} {}", a.ifname, v4.chain(v6).collect::<Vec<_>>().join(" "))
        };
        plan.attachments.iter().map(show).collect()
    }

    #[test]
    fn without_settings_the_lan_is_found_and_the_wan_address_is_local() {
        let plan = Plan::make(&settings(&[]), &router(vec![]));
        assert_eq!(shown(&plan), ["br-lan 192.168.1.0/24 2001:db8:1::/64"]);
        let rules = &plan.attachments[0].rules;
        assert!(rules.local4.contains(&("203.0.113.2".parse().unwrap(), 32)));
        assert!(rules.local6.contains(&("2001:db8:1::".parse().unwrap(), 64)));
        assert!(!rules.local6.contains(&("2001:db8:1::1".parse().unwrap(), 128)), "covered by its prefix");
    }

    #[test]
    fn ipv6_prefixes_alone_leave_ipv4_to_be_found() {
        let plan = Plan::make(&settings(&["subnet6=2001:db8:1::/48"]), &router(vec![]));
        assert_eq!(shown(&plan), ["br-lan 192.168.1.0/24 2001:db8:1::/48"]);
    }

    #[test]
    fn an_interface_that_is_missing_is_a_problem_and_not_an_end() {
        let plan =
            Plan::make(&settings(&["subnet4=192.168.1.1/24/br-lan", "subnet4=10.0.0.1/24/br-foo"]), &router(vec![]));
        assert_eq!(shown(&plan), ["br-lan 192.168.1.0/24"]);
        assert_eq!(plan.problems[0].text, "there is no interface br-foo now; it is taken up when it appears");
        // What it will hold is LAN already.
        assert!(plan.attachments[0].rules.local4.contains(&("10.0.0.0".parse().unwrap(), 24)));
    }

    #[test]
    fn an_interface_without_a_subnet_stands_for_all_of_its_own() {
        let wanted = settings(&["subnet4=br-lan", "subnet4=br-foo", "subnet6=br-lan"]);
        let plan = Plan::make(&wanted, &router(vec![link(4, "br-foo")]));
        // The prefixes of IPv6 count on every interface, as they do when they are written out.
        assert_eq!(shown(&plan), ["br-lan 192.168.1.0/24 2001:db8:1::/64", "br-foo 2001:db8:1::/64"]);
        let told = "br-foo has no IPv4 address now; its subnets are taken up when it has one";
        assert_eq!(plan.problems[0].text, told);
        assert!(doubts(&wanted, &router(vec![])).is_empty());
    }

    #[test]
    fn a_prefix_in_which_the_router_has_no_address_is_doubted() {
        let right = ["subnet4=192.168.1.9/24/br-lan", "subnet6=2001:db8:1::/48"];
        assert!(doubts(&settings(&right), &router(vec![])).is_empty());
        let wrong = settings(&["subnet4=192.168.2.1/24/br-lan", "subnet6=2001:db8:2::/64"]);
        assert_eq!(
            doubts(&wrong, &router(vec![])),
            [
                "br-lan: has 192.168.1.1/24, none in 192.168.2.0/24: if its hosts are not in that subnet, correct -4 or \
                 subnet4",
                "no interface has an address in 2001:db8:2::/64: if that prefix is not delegated to this LAN, correct -6 \
                 or subnet6",
            ]
        );
    }

    #[test]
    fn a_port_of_an_accounted_bridge_is_left_out() {
        let interfaces = router(vec![Link { master: Some(3), ..link(4, "lan1") }]);
        let plan =
            Plan::make(&settings(&["subnet4=192.168.1.1/24/br-lan", "subnet4=192.168.1.1/24/lan1"]), &interfaces);
        assert_eq!(shown(&plan), ["br-lan 192.168.1.0/24"]);
        assert_eq!(plan.problems[0].ifname, "lan1");
    }

    #[test]
    fn frames_of_an_accounted_vlan_are_left_to_its_own_interface() {
        let interfaces = router(vec![Link { parent: Some(3), vlan: Some(10), ..link(4, "br-lan.10") }]);
        let plan =
            Plan::make(&settings(&["subnet4=192.168.1.1/24/br-lan", "subnet4=192.168.10.1/24/br-lan.10"]), &interfaces);
        assert_eq!(plan.attachments[0].rules.skip_vlans, [10]);
        assert!(plan.attachments[1].rules.skip_vlans.is_empty());
    }

    #[test]
    fn an_ipv6_prefix_counts_on_every_named_interface() {
        let interfaces = router(vec![link(4, "br-foo")]);
        let plan = Plan::make(
            &settings(&["subnet4=192.168.1.1/24/br-lan", "subnet4=10.0.0.1/24/br-foo", "subnet6=2001:db8:1::/48"]),
            &interfaces,
        );
        assert_eq!(shown(&plan), ["br-lan 192.168.1.0/24 2001:db8:1::/48", "br-foo 10.0.0.0/24 2001:db8:1::/48"]);
    }
}
