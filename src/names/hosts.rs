//! The text of hosts(5): which addresses a name has by hand.

#![deny(clippy::indexing_slicing)]

use std::net::IpAddr;

use super::host_name::HostName;
use super::unread::Unread;

/// Most names that are kept; lists of names to block have more, which no one here asks for.
pub const MAX_NAMES: usize = 4096;

/// The names of a hosts file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// In the order of the names, and of the lines for each name.
    entries: Vec<(Box<str>, IpAddr)>,
    is_full: bool,
}

impl Hosts {
    /// Reads lines of an address and its names. A line without a valid address is left out and counted, a name that is
    /// none is left out.
    pub fn parse(text: &str) -> (Self, Unread) {
        let (mut hosts, mut unread) = (Hosts::default(), Unread::default());
        for (line, number) in text.lines().zip(1..) {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(word) = words.next() else { continue };
            let Ok(addr) = word.parse::<IpAddr>() else {
                // An address of one link, such as fe80::1%lo0, is known there only.
                if !word.contains('%') {
                    unread.add(number);
                }
                continue;
            };
            for name in words.filter_map(|word| HostName::parse(word).ok()) {
                hosts.is_full |= hosts.entries.len() >= MAX_NAMES;
                if !hosts.is_full {
                    hosts.entries.push((name.bare().into(), addr));
                }
            }
        }
        // The order of the lines stays within each name.
        hosts.entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        hosts.entries.shrink_to_fit();
        (hosts, unread)
    }

    /// The addresses of a name in the order of their lines, perhaps one more than once.
    pub fn addrs(&self, name: &HostName) -> impl Iterator<Item = IpAddr> {
        let start = self.entries.partition_point(|(known, _)| **known < *name.bare());
        let rest = self.entries.iter().skip(start);
        rest.take_while(move |(known, _)| **known == *name.bare()).map(|(_, addr)| *addr)
    }

    /// Whether names were left out because there are too many.
    pub fn is_full(&self) -> bool {
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(hosts: &Hosts, name: &str) -> Vec<String> {
        hosts.addrs(&HostName::parse(name).unwrap()).map(|addr| addr.to_string()).collect()
    }

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let text = "# by hand\n127.0.0.1 localhost\n192.168.1.9\tNAS.lan nas # the box\n\n10.0.0.2 tv\nfd00::9 nas\n";
        let (hosts, unread) = Hosts::parse(text);
        assert_eq!(addrs(&hosts, "nas"), ["192.168.1.9", "fd00::9"]);
        assert_eq!(addrs(&hosts, "Nas.Lan."), ["192.168.1.9"]);
        assert_eq!(addrs(&hosts, "na"), [""; 0]);
        assert_eq!(addrs(&hosts, "nasx"), [""; 0]);
        assert_eq!(unread, Unread::default());
    }

    #[test]
    fn what_is_no_line_of_hosts_is_left_out_and_counted() {
        let (hosts, unread) = Hosts::parse("1.2.3 a\nfe80::1%lo0 localhost\n1.2.3.4 b? c\n5.6.7.8\n");
        assert_eq!((unread.lines, unread.first), (1, 1));
        assert_eq!(addrs(&hosts, "c"), ["1.2.3.4"]);
        assert_eq!(hosts.entries.len(), 1);
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let text: String = (0..=MAX_NAMES).map(|n| format!("10.0.0.1 host{n}\n")).collect();
        let (hosts, _) = Hosts::parse(&text);
        assert_eq!((hosts.entries.len(), hosts.is_full()), (MAX_NAMES, true));
    }
}
