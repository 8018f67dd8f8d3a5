//! What one file says about names: looked up by MAC or IP address, bounded in entries and in the length of names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::leases::{self, Entry};
use super::mac::{self, Mac};
use super::unread::Unread;
use crate::config::uci::{Package, Section, Value};

/// Longest name that is kept, in bytes; what is longer is cut.
pub const MAX_NAME: usize = 255;

/// The names in one file. Where a file names an address twice, the first name holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    by_mac: BTreeMap<Mac, Arc<str>>,
    by_addr: BTreeMap<IpAddr, Named>,
    /// MAC addresses with `*` for some of their bytes.
    patterns: Vec<([Option<u8>; 6], Arc<str>)>,
    /// Whether names were left out because the table was full.
    full: bool,
}

/// The name of an address.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: Arc<str>,
    /// Who has the address, if the same line says so. Only for IPv4: the MAC address in a DUID may be that of another
    /// interface of the same host.
    pub mac: Option<Mac>,
}

impl Table {
    /// The names in a file of leases or hosts, `room` entries at most, and the lines that were left out.
    pub fn of_text(text: &str, room: usize) -> (Self, Unread) {
        let mut table = Table::default();
        let unread = leases::parse(text, |Entry { mac, addr, name }| {
            if let Some(name) = name.and_then(clean) {
                table.add(mac, addr, &name, room);
            }
        });
        (table, unread)
    }

    /// The names in OpenWrt's `dhcp` configuration, `room` entries at most: the sections of type `host` that have a
    /// `name`, by their `mac` (several are a list, or one string with spaces), `duid` and `ip`.
    pub fn of_dhcp(package: &Package, room: usize) -> Self {
        let mut table = Table::default();
        for host in package.sections.iter().filter(|section| section.kind == "host") {
            let Some(name) = host.get("name").and_then(|name| name.words().next()).and_then(clean) else { continue };
            for mac in words(host, "mac") {
                match mac.parse() {
                    Ok(mac) => table.add(Some(mac), None, &name, room),
                    Err(_) => table.add_pattern(mac, &name, room),
                }
            }
            // A DUID may carry the identity association it is for behind a percent sign.
            for duid in words(host, "duid").filter_map(|word| word.split('%').next()) {
                table.add(leases::duid_mac(duid), None, &name, room);
            }
            for addr in words(host, "ip") {
                table.add(None, addr.parse().ok(), &name, room);
            }
        }
        table
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.by_mac.len() + self.by_addr.len() + self.patterns.len()
    }

    /// Whether names were left out for want of room.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The name of a MAC address written out in full.
    pub fn by_mac(&self, mac: &Mac) -> Option<&str> {
        self.by_mac.get(mac).map(|name| &**name)
    }

    /// The name of a MAC address that fits one with `*` in it.
    pub fn by_pattern(&self, mac: &Mac) -> Option<&str> {
        let fits = |pattern: &[Option<u8>; 6]| pattern.iter().zip(mac.0).all(|(p, byte)| p.is_none_or(|p| p == byte));
        self.patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, name)| &**name)
    }

    /// The name of an IP address.
    pub fn by_addr(&self, addr: &IpAddr) -> Option<&Named> {
        self.by_addr.get(addr)
    }

    fn add(&mut self, mac: Option<Mac>, addr: Option<IpAddr>, name: &Arc<str>, room: usize) {
        if let Some(mac) = mac
            && !self.by_mac.contains_key(&mac)
            && self.has_room(room)
        {
            self.by_mac.insert(mac, Arc::clone(name));
        }
        if let Some(addr) = addr
            && !self.by_addr.contains_key(&addr)
            && self.has_room(room)
        {
            let mac = mac.filter(|_| addr.is_ipv4());
            self.by_addr.insert(addr, Named { name: Arc::clone(name), mac });
        }
    }

    fn add_pattern(&mut self, text: &str, name: &Arc<str>, room: usize) {
        let mut pattern = [None; 6];
        let mut groups = text.split(':');
        for byte in &mut pattern {
            *byte = match groups.next() {
                Some("*") => None,
                Some(group) if mac::is_hex(group, 1, 2) => match u8::from_str_radix(group, 16) {
                    Ok(byte) => Some(byte),
                    Err(_) => return,
                },
                _ => return,
            };
        }
        // Six wildcards would give the same name to everybody.
        let says_something = groups.next().is_none() && pattern.iter().any(Option::is_some);
        if says_something && self.has_room(room) {
            self.patterns.push((pattern, Arc::clone(name)));
        }
    }

    fn has_room(&mut self, room: usize) -> bool {
        let has_room = self.entries() < room;
        self.full |= !has_room;
        has_room
    }
}

/// The lease files that the `dhcp` configuration names, for dnsmasq and odhcpd alike.
pub fn lease_files(package: &Package) -> impl Iterator<Item = &str> {
    let servers = package.sections.iter().filter(|section| matches!(&*section.kind, "dnsmasq" | "odhcpd"));
    servers.filter_map(|server| server.get("leasefile").and_then(Value::text)).filter(|path| path.starts_with('/'))
}

fn words<'a>(section: &'a Section, option: &str) -> impl Iterator<Item = &'a str> {
    section.get(option).into_iter().flat_map(Value::words)
}

/// A name fit to be kept: hosts choose their own names, so control characters (terminal escapes in a log) are
/// replaced and the length is bounded. `*`, `-` and `#`, which the servers write for no name, are none.
pub fn clean(name: &str) -> Option<Arc<str>> {
    if matches!(name, "" | "*" | "-" | "#") {
        return None;
    }
    let mut cleaned = String::new();
    for c in name.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if cleaned.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        cleaned.push(c);
    }
    Some(cleaned.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::uci;

    fn dhcp(text: &str) -> Table {
        Table::of_dhcp(&uci::parse("dhcp", text.as_bytes()).unwrap(), 100)
    }

    fn of_text(text: &str, room: usize) -> Table {
        Table::of_text(text, room).0
    }

    fn mac(text: &str) -> Mac {
        text.parse().unwrap()
    }

    fn by_addr<'a>(table: &'a Table, addr: &str) -> Option<&'a str> {
        table.by_addr(&addr.parse().unwrap()).map(|named| &*named.name)
    }

    #[test]
    fn a_static_host_is_known_by_each_of_its_addresses() {
        let table = dhcp(
            "config host\n\toption name 'nas'\n\toption mac '3c:22:fb:10:20:30 3C-22-FB-10-20-31'\n\
                          \toption ip '192.168.1.20'\n\
                          config host\n\toption name 'tv'\n\tlist mac 'B8:27:EB:AA:BB:CC'\n\tlist mac 'b827ebaabbcd'\n\
                          \tlist duid '000100012c112233F4F26D010203%1'\n",
        );
        assert_eq!(table.by_mac(&mac("3c:22:fb:10:20:30")), Some("nas"));
        assert_eq!(table.by_mac(&mac("3c:22:fb:10:20:31")), Some("nas"));
        assert_eq!(by_addr(&table, "192.168.1.20"), Some("nas"));
        assert_eq!(table.by_mac(&mac("b8:27:eb:aa:bb:cc")), Some("tv"));
        assert_eq!(table.by_mac(&mac("b8:27:eb:aa:bb:cd")), Some("tv"));
        assert_eq!(table.by_mac(&mac("f4:f2:6d:01:02:03")), Some("tv"));
        assert_eq!(table.entries(), 6);
    }

    #[test]
    fn a_static_host_without_name_or_address_is_skipped() {
        let table = dhcp(
            "config host\n\toption mac '3c:22:fb:10:20:30'\nconfig host\n\toption name 'nobody'\n\
                          config host\n\toption name 'odd'\n\toption mac 'what'\n\toption ip 'ignore'\n\
                          config host\n\toption name '#'\n\toption mac '3c:22:fb:10:20:30'\nconfig dnsmasq\n\toption name x\n",
        );
        assert_eq!(table, Table::default());
    }

    #[test]
    fn a_star_in_a_hardware_address_fits_any_byte() {
        let table = dhcp(
            "config host\n\toption name 'camera'\n\toption mac '00:20:e0:3b:*:*'\n\
                          config host\n\toption name 'all'\n\toption mac '*:*:*:*:*:*'\n\
                          config host\n\toption name 'long'\n\toption mac '*:*:*:*:*:1:2'\n",
        );
        assert_eq!(table.by_pattern(&mac("00:20:e0:3b:12:34")), Some("camera"));
        assert_eq!(table.by_mac(&mac("00:20:e0:3b:12:34")), None);
        assert_eq!(table.by_pattern(&mac("00:20:e0:3c:12:34")), None);
        assert_eq!(table.entries(), 1);
    }

    #[test]
    fn the_first_of_two_names_holds() {
        let table = of_text("192.168.1.1 one\n192.168.1.1 two\n", 100);
        assert_eq!(by_addr(&table, "192.168.1.1"), Some("one"));
    }

    #[test]
    fn a_full_table_keeps_what_it_has_and_says_so() {
        let table = of_text("192.168.1.1 a\n192.168.1.2 b\n192.168.1.1 again\n192.168.1.3 c\n", 2);
        assert_eq!((table.entries(), table.is_full()), (2, true));
        assert!(!of_text("192.168.1.1 a\n192.168.1.1 again\n", 1).is_full());
    }

    #[test]
    fn a_hostile_name_is_cut_and_loses_its_control_characters() {
        let text = format!("192.168.1.1 \u{1b}[31m\"{{}}\\\u{7f}\n192.168.1.2 {}\n", "é".repeat(200));
        let table = of_text(&text, 100);
        assert_eq!(by_addr(&table, "192.168.1.1"), Some("\u{fffd}[31m\"{}\\\u{fffd}"));
        assert_eq!(by_addr(&table, "192.168.1.2"), Some("é".repeat(127).as_str()));
    }

    #[test]
    fn lease_files_come_from_both_servers() {
        let package = uci::parse(
            "dhcp",
            b"config dnsmasq\n\toption leasefile '/tmp/dhcp.leases'\nconfig odhcpd 'odhcpd'\n\toption leasefile '/tmp/odhcpd.leases'\n\
              config dnsmasq guest\nconfig dnsmasq odd\n\toption leasefile 'relative'\n",
        );
        assert_eq!(lease_files(&package.unwrap()).collect::<Vec<_>>(), ["/tmp/dhcp.leases", "/tmp/odhcpd.leases"]);
    }
}
