//! Address prefixes as people write them: `192.168.1.0/24`, `fd00::/8`, or a lone address.
//!
//! Text enters, [`Cidr`] leaves. Nothing here opens a socket or resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address prefix: all addresses that share its first `len` bits (RFC 4632, RFC 4291 section 2.3).
///
/// The host bits of `addr` are zero, so two spellings of one prefix are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    addr: IpAddr,
    len: u8,
}

impl Cidr {
    /// The prefix of `len` bits that `addr` lies in, or what is wrong with `len`.
    pub fn new(addr: IpAddr, len: u8) -> Result<Cidr, String> {
        let bits = width(addr);
        if len > bits {
            return Err(format!("prefix length {len} is out of range, expected 0 to {bits}"));
        }
        Ok(Cidr { addr: mask(addr, len), len })
    }

    /// The first address of the prefix.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The prefix length in bits, 0 to 32 or 0 to 128.
    pub fn prefix_len(&self) -> u8 {
        self.len
    }

    /// Whether `addr` lies in this prefix. An IPv4 address inside IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        width(addr) == width(self.addr) && mask(addr, self.len) == self.addr
    }

    /// Reads `ADDR/LEN` like [`FromStr`] and keeps the address as written, host bits and all: what an
    /// interface's own address needs.
    pub fn parse_host_bits(text: &str) -> Result<(IpAddr, Cidr), String> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr
            .parse()
            .map_err(|_| format!("`{addr}` is not an IP address, expected ADDR/LEN such as 192.168.1.0/24"))?;
        let len = match len {
            None => width(addr),
            // `u8::from_str` takes a sign, which no one writes in a prefix on purpose.
            Some(len) if len.is_empty() || !len.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(format!("prefix length `{len}` is not a number, expected 0 to {}", width(addr)));
            }
            Some(len) => len
                .parse()
                .map_err(|_| format!("prefix length {len} is out of range, expected 0 to {}", width(addr)))?,
        };
        Ok((addr, Cidr::new(addr, len)?))
    }
}

/// The prefixes that lie in no other one, each once: the shortest first, those of one length by address.
pub fn outermost(prefixes: impl IntoIterator<Item = Cidr>) -> Vec<Cidr> {
    let mut prefixes: Vec<Cidr> = prefixes.into_iter().collect();
    prefixes.sort_by_key(|prefix| (prefix.len, prefix.addr));
    let mut kept: Vec<Cidr> = Vec::new();
    for prefix in prefixes {
        if !kept.iter().any(|outer| outer.contains(prefix.addr)) {
            kept.push(prefix);
        }
    }
    kept
}

impl FromStr for Cidr {
    type Err = String;

    /// Reads `ADDR/LEN`; a lone address is a prefix of its full length. The error says what was expected.
    fn from_str(text: &str) -> Result<Cidr, String> {
        Cidr::parse_host_bits(text).map(|(_, cidr)| cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// How many bits an address of this family has.
fn width(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `addr` with all bits after the first `len` cleared.
fn mask(addr: IpAddr, len: u8) -> IpAddr {
    let len = u32::from(len);
    match addr {
        IpAddr::V4(addr) => {
            let keep = u32::MAX.checked_shl(32u32.saturating_sub(len)).unwrap_or(0);
            Ipv4Addr::from_bits(addr.to_bits() & keep).into()
        }
        IpAddr::V6(addr) => {
            let keep = u128::MAX.checked_shl(128u32.saturating_sub(len)).unwrap_or(0);
            Ipv6Addr::from_bits(addr.to_bits() & keep).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cleared_and_two_spellings_are_equal() {
        assert_eq!(cidr("192.168.1.77/24"), cidr("192.168.1.0/24"));
        assert_eq!(cidr("fd00:1:2:3::4/48").to_string(), "fd00:1:2::/48");
    }

    #[test]
    fn the_address_as_written_can_be_kept() {
        let (written, prefix) = Cidr::parse_host_bits("192.168.1.77/24").unwrap();
        assert_eq!((written, prefix), (addr("192.168.1.77"), cidr("192.168.1.0/24")));
    }

    #[test]
    fn a_lone_address_is_a_prefix_of_full_length() {
        assert_eq!(cidr("10.0.0.1").to_string(), "10.0.0.1/32");
        assert_eq!(cidr("::1").to_string(), "::1/128");
    }

    #[test]
    fn a_prefix_contains_its_first_and_last_address_and_no_neighbour() {
        let net = cidr("10.1.2.128/25");
        assert!(net.contains(addr("10.1.2.128")));
        assert!(net.contains(addr("10.1.2.255")));
        assert!(!net.contains(addr("10.1.2.127")));
        assert!(!net.contains(addr("10.1.3.0")));
    }

    #[test]
    fn length_zero_contains_all_of_its_family_only() {
        assert!(cidr("0.0.0.0/0").contains(addr("255.255.255.255")));
        assert!(!cidr("0.0.0.0/0").contains(addr("2001:db8::1")));
        assert!(cidr("::/0").contains(addr("2001:db8::1")));
        assert!(!cidr("::/0").contains(addr("10.0.0.1")));
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_counts_as_ipv4() {
        assert!(cidr("192.0.2.0/24").contains(addr("::ffff:192.0.2.9")));
        assert!(!cidr("::/0").contains(addr("::ffff:192.0.2.9")));
    }

    #[test]
    fn of_prefixes_inside_each_other_the_outer_one_is_kept() {
        let of =
            |all: &[&str]| outermost(all.iter().map(|text| cidr(text))).iter().map(Cidr::to_string).collect::<Vec<_>>();
        assert_eq!(of(&["10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "fd00::/64"]), ["10.0.0.0/8", "fd00::/64"]);
        assert_eq!(of(&["10.2.0.0/16", "10.1.0.0/16", "::/0"]), ["::/0", "10.1.0.0/16", "10.2.0.0/16"]);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = |text: &str| text.parse::<Cidr>().unwrap_err();
        assert_eq!(error("10.0.0.0/33"), "prefix length 33 is out of range, expected 0 to 32");
        assert_eq!(error("::/129"), "prefix length 129 is out of range, expected 0 to 128");
        assert_eq!(error("::/999"), "prefix length 999 is out of range, expected 0 to 128");
        assert_eq!(error("10.0.0.0/+8"), "prefix length `+8` is not a number, expected 0 to 32");
        assert_eq!(error("10.0.0.0/"), "prefix length `` is not a number, expected 0 to 32");
        assert_eq!(error("lan/24"), "`lan` is not an IP address, expected ADDR/LEN such as 192.168.1.0/24");
        assert_eq!(error(""), "`` is not an IP address, expected ADDR/LEN such as 192.168.1.0/24");
    }
}
