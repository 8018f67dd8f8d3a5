//! What our table looks like: four sets of counters, and one chain whose rules say which packets are whose.
//!
//! The chain is on the forward hook behind the firewall's own filter, so what that drops is not counted. As nft shows
//! it, with one LAN:
//! ```text
//! table inet gatemeter {
//!     comment "gatemeter: bytes of LAN clients"
//!     set tx4 { type ipv4_addr; size 4096; flags dynamic; counter }
//!     ...
//!     chain acct {
//!         type filter hook forward priority filter + 10; policy accept;
//!         iifname "br-lan" ip saddr 192.168.1.0/24 update @tx4 { ip saddr }
//!         oifname "br-lan" ip daddr 192.168.1.0/24 update @rx4 { ip daddr }
//!         meta nfproto ipv4 return
//!         iifname "br-lan" ip6 saddr 2001:db8::/64 update @tx6 { ip6 saddr }
//!         oifname "br-lan" ip6 daddr 2001:db8::/64 update @rx6 { ip6 daddr }
//!     }
//! }
//! ```
//! A packet meets the rules of its family only, and of those one for each LAN prefix and direction; each ends at its
//! second comparison unless the interface is the right one. Only addresses of a LAN's own prefixes get into a set, so
//! neither forged nor passing ones fill it.

use std::net::IpAddr;

use super::super::transaction::Batches;
use super::super::{Direction, PRIORITY};
use crate::collectors::clients::subnets::Lan;
use crate::net::Cidr;
use crate::netlink::nftables::batch::{HOOK_FORWARD, NewSet, Place};
use crate::netlink::nftables::expression::{Meta, SECOND};
use crate::netlink::nftables::{Count, Expression, Family, SET_EVAL, read};

/// Our table's family and name.
pub const FAMILY: Family = Family::Inet;
pub const TABLE: &str = "gatemeter";
pub const CHAIN: &str = "acct";

/// One of the four sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub direction: Direction,
    /// As a packet has it.
    family: Family,
    /// What nft takes the keys for.
    key_type: u32,
    pub key_length: u32,
    /// Where the client's address is in the IP header.
    offset: u32,
}

/// How many sets there are.
pub const SETS: usize = 4;

pub static KINDS: [Kind; SETS] = [
    Kind { name: "tx4", direction: Direction::Tx, family: Family::Ip, key_type: 7, key_length: 4, offset: 12 },
    Kind { name: "rx4", direction: Direction::Rx, family: Family::Ip, key_type: 7, key_length: 4, offset: 16 },
    Kind { name: "tx6", direction: Direction::Tx, family: Family::Ip6, key_type: 8, key_length: 16, offset: 8 },
    Kind { name: "rx6", direction: Direction::Rx, family: Family::Ip6, key_type: 8, key_length: 16, offset: 24 },
];

impl Kind {
    /// Whether this address can be one of its keys.
    pub fn takes(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == (self.family == Family::Ip)
    }

    /// Whether a set of this name is as we make them.
    pub fn fits(&self, set: &read::Set, size: u32) -> bool {
        set.flags == SET_EVAL && set.key_length == self.key_length && set.counts && set.size == size
    }

    /// Whether the elements of a set can be taken over.
    pub fn has_our_elements(&self, set: &read::Set) -> bool {
        set.key_length == self.key_length && set.counts
    }
}

/// The address that is a key.
pub fn address(key: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(key).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(key).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// An address as a key.
pub fn key(addr: IpAddr) -> Vec<u8> {
    octets(addr)
}

/// The rules for these LANs, in order.
pub fn rules(lans: &[Lan]) -> Vec<Vec<Expression>> {
    let mut wanted: Vec<(&str, Cidr)> =
        lans.iter().flat_map(|lan| lan.prefixes.iter().map(|prefix| (lan.ifname.as_str(), *prefix))).collect();
    wanted.sort();
    wanted.dedup();
    // A prefix inside another would count its packets twice. Sorted by address and length, that other is before it.
    let all = wanted.clone();
    let inside = |(ifname, prefix): (&str, Cidr)| {
        let wider = |other: Cidr| other.prefix_len() < prefix.prefix_len() && other.contains(prefix.addr());
        all.iter().any(|(name, other)| *name == ifname && wider(*other))
    };
    wanted.retain(|pair| !inside(*pair));
    let of = |family: Family| {
        let wanted = &wanted;
        KINDS.iter().filter(move |kind| kind.family == family).flat_map(move |kind| {
            let own = wanted.iter().filter(move |(_, prefix)| kind.takes(prefix.addr()));
            own.map(move |(ifname, prefix)| rule(kind, ifname, *prefix))
        })
    };
    let mut rules: Vec<_> = of(Family::Ip).collect();
    rules.push(vec![Expression::Meta(Meta::Family), Expression::equals([Family::Ip as u8]), Expression::Return]);
    rules.extend(of(Family::Ip6));
    rules
}

fn rule(kind: &Kind, ifname: &str, prefix: Cidr) -> Vec<Expression> {
    let device = if kind.direction == Direction::Tx { Meta::InputName } else { Meta::OutputName };
    // The family first: it is one byte, and without it the bytes of the header would mean something else.
    let mut rule = vec![
        Expression::Meta(Meta::Family),
        Expression::equals([kind.family as u8]),
        Expression::Meta(device),
        Expression::ifname(ifname),
        Expression::Network { offset: kind.offset, length: kind.key_length },
    ];
    let whole = prefix.prefix_len() == mask_of_all(prefix).1;
    if whole {
        rule.push(Expression::equals(octets(prefix.addr())));
    } else if prefix.prefix_len() > 0 {
        // The address itself stays in the first register, for the set.
        rule.push(Expression::Mask(mask(prefix)));
        rule.push(Expression::Equals { register: SECOND, value: octets(prefix.addr()) });
    }
    rule.push(Expression::Update(kind.name));
    rule
}

/// An address of all ones of the prefix's family, and how many bits that has.
fn mask_of_all(prefix: Cidr) -> (IpAddr, u8) {
    match prefix.addr() {
        IpAddr::V4(_) => ([0xff; 4].into(), 32),
        IpAddr::V6(_) => ([0xff; 16].into(), 128),
    }
}

fn mask(prefix: Cidr) -> Vec<u8> {
    let (all, bits) = mask_of_all(prefix);
    Cidr::new(all, prefix.prefix_len().min(bits)).map_or_else(|_| octets(all), |mask| octets(mask.addr()))
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// Adds the sets to a transaction, for `size` elements each.
pub fn add_sets(batches: &mut Batches, size: u32) {
    for (kind, id) in KINDS.iter().zip(1..) {
        let set = NewSet { name: kind.name, id, key_type: kind.key_type, key_length: kind.key_length, size };
        batches.next().counting_set(FAMILY, TABLE, set);
    }
}

/// Adds elements with what they have counted.
pub fn add_elements(batches: &mut Batches, kind: &Kind, elements: &[(Vec<u8>, Count)]) {
    for part in elements.chunks(100) {
        batches.next().elements(FAMILY, TABLE, kind.name, part);
    }
}

/// Adds the chain, without rules.
pub fn add_chain(batches: &mut Batches) {
    batches.next().forward_chain(FAMILY, TABLE, CHAIN, PRIORITY, None);
}

/// Adds rules behind those of the chain.
pub fn add_rules(batches: &mut Batches, rules: &[Vec<Expression>]) {
    for rule in rules {
        // All in one transaction: with half of the rules, half of the clients would go uncounted.
        batches.same().rule(FAMILY, (TABLE, CHAIN), Place::Last, &[], rule);
    }
}

/// Whether a chain is the base chain that we make.
pub fn chain_fits(chain: &read::Chain) -> bool {
    chain.hook == Some((HOOK_FORWARD, PRIORITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lan(ifname: &str, prefixes: &[&str]) -> Lan {
        let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Lan { ifindex: 1, ifname: ifname.to_owned(), prefixes }
    }

    /// What each rule updates, or `return`.
    fn targets(lans: &[Lan]) -> Vec<&'static str> {
        let target = |rule: &Vec<Expression>| match rule.last() {
            Some(Expression::Update(set)) => *set,
            _ => "return",
        };
        rules(lans).iter().map(target).collect()
    }

    #[test]
    fn a_packet_meets_the_rules_of_its_family_only() {
        let lans = [lan("br-lan", &["192.168.1.0/24", "fd00::/64"])];
        assert_eq!(targets(&lans), ["tx4", "rx4", "return", "tx6", "rx6"]);
        assert_eq!(targets(&[]), ["return"]);
    }

    #[test]
    fn a_prefix_inside_another_of_the_same_interface_has_no_rule() {
        let lans = [lan("a", &["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"]), lan("b", &["10.1.0.0/16"])];
        assert_eq!(targets(&lans), ["tx4", "tx4", "rx4", "rx4", "return"]);
        assert_eq!(targets(&[lan("a", &["::/0", "fd00::/64"])]), ["return", "tx6", "rx6"]);
    }

    #[test]
    fn prefixes_become_masks_of_their_length() {
        let expressions = |prefix: &str| rule(&KINDS[0], "a", prefix.parse().unwrap());
        assert!(expressions("10.0.0.0/9").contains(&Expression::Mask(vec![255, 128, 0, 0])));
        let equal = Expression::Equals { register: SECOND, value: vec![10, 0, 0, 0] };
        assert!(expressions("10.0.0.0/9").contains(&equal));
        assert!(expressions("10.0.0.1/32").contains(&Expression::equals([10, 0, 0, 1])));
        assert_eq!(expressions("0.0.0.0/0").len(), 6);
    }

    #[test]
    fn a_key_reads_back_as_its_address() {
        for text in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            let addr: IpAddr = text.parse().unwrap();
            assert_eq!(address(&key(addr)), Some(addr));
        }
        assert_eq!(address(&[1, 2, 3]), None);
    }

    #[test]
    fn very_many_elements_take_several_transactions_of_bounded_size() {
        let mut batches = Batches::default();
        let elements: Vec<_> = (0..20_000u32).map(|n| (n.to_be_bytes().to_vec(), Count::default())).collect();
        add_elements(&mut batches, &KINDS[0], &elements);
        let sizes: Vec<usize> = batches.finish().iter().map(Vec::len).collect();
        assert!(sizes.len() > 20 && sizes.iter().all(|size| *size < 64 * 1024), "{sizes:?}");
    }
}
