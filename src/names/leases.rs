//! The files in which DHCP servers and administrators write down who is who, as text to entries.
//!
//! The text of a file enters, one [`Entry`] for each pair of host and address leaves; nothing here opens a file or
//! knows the time, so an expired lease still gives a name. Each line tells its format by itself, and a line in no
//! known format is skipped and counted:
//!
//! - dnsmasq's leases: `expiry MAC IPv4 name client-id`, and for DHCPv6 `expiry IAID IPv6 name DUID`, with `T` before
//!   the IAID of a temporary address, behind one line `duid DUID` with the server's own;
//! - odhcpd's state: `# interface DUID IAID name valid-until id length address/length...`, and for DHCPv4
//!   `# interface MAC ipv4 name valid-until id 32 address/32`, with lines as in /etc/hosts between them;
//! - /etc/ethers: `MAC name` or `MAC IPv4`;
//! - /etc/hosts and dnsmasq's addn-hosts: `address name alias...`;
//! - dnsmasq's dhcp-hostsfile: `MAC,address,name,...` in any order.
//!
//! Names are as their owners wrote them; whoever keeps them bounds and cleans them.

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv6Addr};

use super::mac::Mac;
use super::unread::Unread;

/// What one line says about one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The host's hardware address, if the line has it or a DUID that is made from it.
    pub mac: Option<Mac>,
    /// The host's address.
    pub addr: Option<IpAddr>,
    /// The host's name; `None` if the line says that there is none.
    pub name: Option<&'a str>,
}

/// Calls `each` for every entry in the text of a file; returns which lines are in no known format.
pub fn parse<'a>(text: &'a str, mut each: impl FnMut(Entry<'a>)) -> Unread {
    let mut unread = Unread::default();
    for (number, line) in text.lines().enumerate() {
        // Tried in this order, each form refuses the lines of those that follow.
        let understood = odhcpd(line, &mut each)
            .or_else(|| nobody(line))
            .or_else(|| dnsmasq(line, &mut each))
            .or_else(|| dhcp_host(line, &mut each))
            .or_else(|| hosts_or_ethers(line, &mut each));
        if understood.is_none() {
            unread.add(number + 1);
        }
    }
    unread
}

/// The MAC address in a DUID of type 1 (with time) or 3 (without) for Ethernet, RFC 8415 section 11: hexadecimal
/// digits with or without colons. Most clients put the address of the very interface there, but none has to.
pub fn duid_mac(duid: &str) -> Option<Mac> {
    let mut bytes = [0u8; 14];
    let mut digits = 0;
    for c in duid.chars().filter(|c| !matches!(c, ':' | '-')) {
        let digit = u8::try_from(c.to_digit(16)?).ok()?;
        let byte = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    match (digits, bytes) {
        (28, [0, 1, 0, 1, _, _, _, _, a, b, c, d, e, f]) | (20, [0, 3, 0, 1, a, b, c, d, e, f, ..]) => {
            Some(Mac([a, b, c, d, e, f]))
        }
        _ => None,
    }
}

fn odhcpd<'a>(line: &'a str, each: &mut impl FnMut(Entry<'a>)) -> Option<()> {
    let mut fields = line.strip_prefix("# ")?.split(' ');
    let (_interface, id, iaid, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
        return None;
    }
    let mac = if iaid == "ipv4" { id.parse().ok() } else { duid_mac(id) };
    if name.starts_with("broken\\x20") {
        // A name that is not fit for DNS is written as it came: with spaces in it the fields behind are anyone's.
        return Some(());
    }
    let _valid_until: i64 = fields.next()?.parse().ok()?;
    let (_id, _length) = (fields.next()?, fields.next()?.parse::<u8>().ok()?);
    let entry = Entry { mac, addr: None, name: (name != "-").then_some(name) };
    let mut addresses = 0;
    for field in fields {
        let Some((addr, length)) = field.split_once('/') else { continue };
        // Anything shorter is a prefix handed to a router behind, not an address of the host.
        if let (Ok(addr), true) = (addr.parse(), matches!(length, "32" | "128")) {
            addresses += 1;
            each(Entry { addr: Some(addr), ..entry });
        }
    }
    if addresses == 0 {
        each(entry);
    }
    Some(())
}

/// Lines that are about no host: empty ones, comments, and dnsmasq's own DUID.
fn nobody(line: &str) -> Option<()> {
    let line = line.trim_start();
    (line.is_empty() || line.starts_with('#') || line.starts_with("duid ")).then_some(())
}

fn dnsmasq<'a>(line: &'a str, each: &mut impl FnMut(Entry<'a>)) -> Option<()> {
    let mut fields = line.split_ascii_whitespace();
    let _expiry: u64 = fields.next()?.parse().ok()?;
    let (hardware, addr, name) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
    let mac = match addr {
        IpAddr::V4(_) => hardware.parse().ok(),
        IpAddr::V6(_) => fields.next().and_then(duid_mac),
    };
    each(Entry { mac, addr: Some(addr), name: (name != "*").then_some(name) });
    Some(())
}

/// `dhcp-host` as in dnsmasq's configuration: hardware addresses, `id:`, `set:` and `tag:` words, addresses (IPv6 in
/// brackets), a name, a lease time and `ignore`, with commas between.
fn dhcp_host<'a>(line: &'a str, each: &mut impl FnMut(Entry<'a>)) -> Option<()> {
    let line = without_comment(line)?;
    // White space inside a word is no dhcp-host, but some other line with a comma in it.
    if !line.contains(',') || line.split(',').any(|word| word.trim().contains(char::is_whitespace)) {
        return None;
    }
    let mut name = None;
    let mut addr: Option<IpAddr> = None;
    for word in line.split(',').map(str::trim) {
        let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
        if let Ok(parsed) = bare.parse() {
            addr = addr.or(Some(parsed));
        } else if !(word.is_empty() || word.contains([':', '*']) || is_lease_time(word) || word.parse::<Mac>().is_ok())
        {
            name = name.or(Some(word));
        }
    }
    let mut macs = line.split(',').filter_map(|word| word.trim().parse().ok()).peekable();
    if macs.peek().is_none() {
        each(Entry { mac: None, addr, name });
    }
    for mac in macs {
        each(Entry { mac: Some(mac), addr, name });
    }
    Some(())
}

/// Seconds, or a number with a unit; and the two words that stand in the same place.
fn is_lease_time(word: &str) -> bool {
    let number = word.strip_suffix(['m', 'h', 'd', 'w']).unwrap_or(word);
    matches!(word, "infinite" | "ignore") || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn hosts_or_ethers<'a>(line: &'a str, each: &mut impl FnMut(Entry<'a>)) -> Option<()> {
    let mut fields = without_comment(line)?.split_ascii_whitespace();
    let (first, second) = (fields.next()?, fields.next()?);
    if let Ok(addr) = first.parse() {
        each(Entry { mac: None, addr: Some(addr), name: Some(second) });
    } else if let Some((addr, _zone)) = first.split_once('%') {
        // An address of one link only, which other links have as well, tells nobody apart.
        let _: Ipv6Addr = addr.parse().ok()?;
    } else {
        let addr = second.parse().ok();
        let name = if addr.is_none() { Some(second) } else { None };
        each(Entry { mac: Some(first.parse().ok()?), addr, name });
    }
    Some(())
}

fn without_comment(line: &str) -> Option<&str> {
    line.split('#').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, String, String)> {
        let mut entries = Vec::new();
        parse(text, |entry| {
            entries.push((
                entry.mac.map_or("-".into(), |mac| mac.to_string()),
                entry.addr.map_or("-".into(), |addr| addr.to_string()),
                entry.name.unwrap_or("-").to_owned(),
            ));
        });
        entries
    }

    /// Numbers of the lines that are in no known format: how many, and the first.
    fn unread(text: &str) -> (usize, usize) {
        let unread = parse(text, |_| {});
        (unread.lines, unread.first)
    }

    fn row(mac: &str, addr: &str, name: &str) -> (String, String, String) {
        (mac.into(), addr.into(), name.into())
    }

    #[test]
    fn dnsmasq_leases_name_both_families() {
        let text = "1767225600 3c:22:fb:10:20:30 192.168.1.101 laptop 01:3c:22:fb:10:20:30\n\
                    0 b8:27:eb:aa:bb:cc 192.168.1.102 * *\n\
                    1767225600 20-00:01 192.168.1.103 odd *\n\
                    duid 00:01:00:01:2d:4e:5f:60:f4:f2:6d:01:02:03\n\
                    1767225600 1234567 fd12:3456::65 laptop 00:01:00:01:2c:11:22:33:3c:22:fb:10:20:30\n\
                    1767225600 T99 fd12:3456::66 * 00:03:00:01:b8:27:eb:aa:bb:cc\n";
        assert_eq!(
            entries(text),
            [
                row("3C:22:FB:10:20:30", "192.168.1.101", "laptop"),
                row("B8:27:EB:AA:BB:CC", "192.168.1.102", "-"),
                row("-", "192.168.1.103", "odd"),
                row("3C:22:FB:10:20:30", "fd12:3456::65", "laptop"),
                row("B8:27:EB:AA:BB:CC", "fd12:3456::66", "-"),
            ]
        );
    }

    #[test]
    fn a_lease_as_dnsmasq_2_90_wrote_it_for_dhclient_names_its_client() {
        // From `dnsmasq --dhcp-range=fd77::10,fd77::50,64,1h` and `dhclient -6 -D LL` on a veth pair.
        let text = "duid 00:01:00:01:32:93:b6:df:ee:6b:a6:01:97:4c\n\
                    1795229810 30466 fd77::2c tablet6 00:03:00:01:02:00:00:00:77:02\n";
        assert_eq!(entries(text), [row("02:00:00:00:77:02", "fd77::2c", "tablet6")]);
    }

    #[test]
    fn odhcpd_state_gives_the_hardware_address_from_the_duid() {
        let text = "# br-lan 000100012c1122333c22fb102030 1a2b3c4d laptop 1767225600 65 128 fd12:3456::65/128 2001:db8::65/128\n\
                    fd12:3456::65\tlaptop.lan\tlaptop\n\
                    # br-lan b827ebaabbcc ipv4 pi -1 c0a80166 32 192.168.1.102/32\n\
                    192.168.1.102\tpi.lan\tpi\n\
                    # br-lan b8:27:eb:aa:bb:cd ipv4 - 1767225600 c0a80167 32 192.168.1.103/32\n\
                    # br-lan 00030001f4f26d010203 1 router 1767225600 100 60 fd12:3456:0:10::/60\n";
        assert_eq!(
            entries(text),
            [
                row("3C:22:FB:10:20:30", "fd12:3456::65", "laptop"),
                row("3C:22:FB:10:20:30", "2001:db8::65", "laptop"),
                row("-", "fd12:3456::65", "laptop.lan"),
                row("B8:27:EB:AA:BB:CC", "192.168.1.102", "pi"),
                row("-", "192.168.1.102", "pi.lan"),
                row("B8:27:EB:AA:BB:CD", "192.168.1.103", "-"),
                row("F4:F2:6D:01:02:03", "-", "router"),
            ]
        );
    }

    #[test]
    fn a_name_odhcpd_calls_broken_is_not_used() {
        assert_eq!(
            entries("# br-lan b827ebaabbcc ipv4 broken\\x20my 192.168.1.1/32 pi -1 c0a80166 32 192.168.1.9/32\n"),
            []
        );
    }

    #[test]
    fn ethers_pairs_a_hardware_address_with_a_name_or_an_address() {
        let text = "# printers\n0:1:2:a:b:c printer # hall\n00:01:02:0a:0b:0d 192.168.1.9\n001122334455 all-digits\n";
        assert_eq!(
            entries(text),
            [
                row("00:01:02:0A:0B:0C", "-", "printer"),
                row("00:01:02:0A:0B:0D", "192.168.1.9", "-"),
                row("00:11:22:33:44:55", "-", "all-digits"),
            ]
        );
    }

    #[test]
    fn hosts_give_the_first_name_of_an_address() {
        assert_eq!(
            entries("192.168.1.20 nas nas.lan\nfd00::20\tnas\n# 192.168.1.21 old\n192.168.1.22\n"),
            [row("-", "192.168.1.20", "nas"), row("-", "fd00::20", "nas")]
        );
    }

    #[test]
    fn a_dhcp_hostsfile_line_names_all_its_hardware_addresses() {
        assert_eq!(
            entries(
                "b8:27:eb:aa:bb:cc,b8:27:eb:aa:bb:cd,set:pi,192.168.1.102,[fd12::66],pi,12h\n\
                 id:00:01,laptop,192.168.1.7\n3c:22:fb:10:20:30,ignore\n"
            ),
            [
                row("B8:27:EB:AA:BB:CC", "192.168.1.102", "pi"),
                row("B8:27:EB:AA:BB:CD", "192.168.1.102", "pi"),
                row("-", "192.168.1.7", "laptop"),
                row("3C:22:FB:10:20:30", "-", "-"),
            ]
        );
    }

    #[test]
    fn a_duid_without_an_ethernet_address_gives_none() {
        assert_eq!(duid_mac("0004aabbccddeeff00112233445566778899"), None);
        assert_eq!(duid_mac("000200007ed93c22fb102030"), None);
        assert_eq!(duid_mac("00030006b827ebaabbcc"), None);
        assert_eq!(duid_mac("00030001b827ebaabbccdd"), None);
        assert_eq!(duid_mac("00030001b827ebaabbc"), None);
        assert_eq!(duid_mac("0x"), None);
        assert_eq!(duid_mac(""), None);
    }

    #[test]
    fn lines_in_no_known_format_are_skipped_and_counted() {
        let malformed = "1767225600\n1 2 3 4\nlocalhost 127.0.0.1\n1 02:00:00:00:00:01 10.0.0.1\n10.0.0.1\n\
                         3c:22:fb:10:20 tv\nx%lo0 y\na b, c\n";
        assert_eq!(entries(malformed), []);
        assert_eq!(unread(malformed), (8, 1));
        let between = "10.0.0.1 a\n10.0.0.2\n10.0.0.3 c\n";
        assert_eq!(entries(between), [row("-", "10.0.0.1", "a"), row("-", "10.0.0.3", "c")]);
        assert_eq!(unread(between), (1, 2));
    }

    #[test]
    fn lines_about_nobody_are_not_called_malformed() {
        let text = "\n \n\t\r\n#\n# \n# a b c d\n  # indented\nduid 00:01:00:01:2d:4e:5f:60:f4:f2:6d:01:02:03\n\
                    fe80::1%lo0 localhost\n";
        assert_eq!((entries(text), unread(text)), (vec![], (0, 0)));
    }

    /// What each program writes, from its own files: no line of it may be called malformed.
    #[test]
    fn real_files_are_understood_to_the_last_line() {
        for (text, hosts) in [
            // Debian's /etc/hosts and the end of its /etc/ethers.
            (
                "127.0.0.1\tlocalhost\n127.0.1.1\tbox.example.org\tbox\n\n# IPv6\n::1     localhost ip6-localhost\n\
                 ff02::1 ip6-allnodes\n# Ethernet addresses\n#3c:22:fb:10:20:30 host\n",
                4,
            ),
            // dnsmasq with a client that has no Ethernet (RFC 2390), one that sent no name, and temporary addresses.
            (
                "0 06-aa:bb:cc:dd:ee:ff 192.168.1.7 * *\n1795229810 3c:22:fb:10:20:30 192.168.1.8 * 01:3c:22:fb:10:20:30\n\
                 duid 00:01:00:01:32:93:b6:df:ee:6b:a6:01:97:4c\n1795229810 T30466 fd77::2d * 00:04:11:22\n\
                 1795229810 30466 fd77::2c tablet 00:03:00:01:02:00:00:00:77:02\n",
                4,
            ),
            // odhcpd: an infinite lease, a prefix, a client without a name, and one whose name is not fit for DNS.
            (
                "# br-lan 00030001f4f26d010203 1 - -1 100 60 fd12:3456:0:10::/60\n\
                 # br-lan 000100012c1122333c22fb102030 1a2b3c4d broken\\x20my phone 1767225600 65 128 fd12::65/128\n\
                 # br-lan 3c:22:fb:10:20:30 ipv4 laptop 1767225600 c0a80166 32 192.168.1.102/32\n\
                 192.168.1.102\tlaptop.lan\tlaptop\n# br-lan 0004aabb 7 guest 1767225600 0 128\n",
                4,
            ),
        ] {
            assert_eq!(unread(text), (0, 0), "{text}");
            assert_eq!(entries(text).len(), hosts, "{text}");
        }
    }
}
