//! What a lookup tells: addresses, and what stands in their way.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::names::dns::forward::{Family, MAX_ADDRS};

/// Which addresses of a name are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Families {
    /// IPv4 addresses only.
    V4,
    /// IPv6 addresses only.
    V6,
    /// All of them.
    Both,
}

impl Families {
    /// Whether an address is one of those.
    pub fn have(self, addr: &IpAddr) -> bool {
        match self {
            Families::V4 => addr.is_ipv4(),
            Families::V6 => addr.is_ipv6(),
            Families::Both => true,
        }
    }

    /// The families one by one, in the order in which addresses are told.
    pub(super) fn each(self) -> impl Iterator<Item = Family> {
        let (v4, v6) = (self != Families::V6, self != Families::V4);
        v4.then_some(Family::V4).into_iter().chain(v6.then_some(Family::V6))
    }
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its addresses, each one once, those of IPv4 first, in the order of the answers; [`MAX_ADDRS`] at most. They are as
    /// somebody wrote them: also the unspecified address and groups.
    pub addrs: Vec<IpAddr>,
    /// Why there are none, or why some of them are old or lacking.
    pub trouble: Option<Trouble>,
}

impl Known {
    /// Leaves out what is too much, without one family taking all the room.
    pub(super) fn of(mut addrs: Vec<IpAddr>, trouble: Option<Trouble>) -> Self {
        // Stable: the order within a family stays.
        addrs.sort_by_key(IpAddr::is_ipv6);
        let mut seen = Vec::with_capacity(addrs.len().min(2 * MAX_ADDRS));
        for addr in addrs {
            if seen.len() < 2 * MAX_ADDRS && !seen.contains(&addr) {
                seen.push(addr);
            }
        }
        let v6 = seen.iter().filter(|addr| addr.is_ipv6()).count();
        let first = MAX_ADDRS - v6.min(MAX_ADDRS / 2);
        let mut number = 0;
        seen.retain(|addr| {
            number += usize::from(addr.is_ipv4());
            addr.is_ipv6() || number <= first
        });
        seen.truncate(MAX_ADDRS);
        Known { addrs: seen, trouble }
    }

    /// Whether addresses are told although not all could be asked for when that was due: some may be old, some lacking.
    pub fn is_stale(&self) -> bool {
        self.trouble.is_some() && !self.addrs.is_empty()
    }
}

/// Why there are no addresses, or none that are fresh; reads on behind the name and a colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// DNS does not have the name.
    NoSuchName,
    /// It has it, but without an address of these families.
    NoAddress(Families),
    /// There are addresses, but none fitted into an answer.
    Cut,
    /// A server answered with this code (RFC 1035, 4.1.1).
    Failed(u8),
    /// None of these servers answered, or none could be asked.
    Unanswered(Arc<str>),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoSuchName => f.write_str("there is no such name"),
            Trouble::NoAddress(Families::V4) => f.write_str("it has no IPv4 address"),
            Trouble::NoAddress(Families::V6) => f.write_str("it has no IPv6 address"),
            Trouble::NoAddress(Families::Both) => f.write_str("it has no address"),
            Trouble::Cut => f.write_str("its addresses do not fit into an answer of the DNS server"),
            Trouble::Failed(2) => f.write_str("the DNS server failed to look it up (SERVFAIL)"),
            Trouble::Failed(5) => f.write_str("the DNS server refuses to look it up (REFUSED)"),
            Trouble::Failed(code) => write!(f, "the DNS server answers with error {code}"),
            Trouble::Unanswered(servers) => write!(f, "no DNS server answers (asked: {servers})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(v4: u8, v6: u16) -> Vec<IpAddr> {
        let v6 = (0..v6).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]));
        v6.chain((0..v4).map(|n| IpAddr::from([10, 0, 0, n]))).collect()
    }

    #[test]
    fn neither_family_takes_all_the_room() {
        let count = |v4, v6| {
            let known = Known::of(many(v4, v6), None);
            assert!(known.addrs.is_sorted());
            let v4 = known.addrs.iter().filter(|addr| addr.is_ipv4()).count();
            (v4, known.addrs.len() - v4)
        };
        assert_eq!(count(16, 16), (8, 8));
        assert_eq!(count(16, 2), (14, 2));
        assert_eq!(count(1, 16), (1, 15));
        assert_eq!(count(16, 0), (16, 0));
        assert_eq!(count(3, 2), (3, 2));
    }

    #[test]
    fn an_address_is_told_once() {
        assert_eq!(Known::of([many(2, 1), many(2, 1)].concat(), None), Known::of(many(2, 1), None));
    }

    #[test]
    fn troubles_read_on_behind_the_name() {
        let unanswered = Trouble::Unanswered("192.168.1.1:53, [::1]:53".into()).to_string();
        assert_eq!(unanswered, "no DNS server answers (asked: 192.168.1.1:53, [::1]:53)");
        assert_eq!(Trouble::NoAddress(Families::V6).to_string(), "it has no IPv6 address");
        assert_eq!(Trouble::Failed(4).to_string(), "the DNS server answers with error 4");
    }
}
