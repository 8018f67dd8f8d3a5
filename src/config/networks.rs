//! Logical networks, as OpenWrt's configuration has them (`lan`, `wan`): which device and addresses each one stands for now.
//!
//! Only netifd knows, so the service script asks it and leaves the answer in a file, one network a line, and tells the
//! daemon (SIGHUP) when it changes:
//!
//! ```text
//! NAME DEVICE PORT [ADDR/LEN]...      lan br-lan br-lan 192.168.1.1/24 fd00:1:2::1/60
//! ```
//! DEVICE is what IP packets cross, PORT the Ethernet device below it (`pppoe-wan` and `eth0.2`); `-` where there is none
//! at present. A network hides a device of the same name, as everywhere in OpenWrt's configuration.

#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use crate::files;
use crate::net::Cidr;

/// Longest interface name the kernel takes (IFNAMSIZ less its NUL).
const MAX_IFNAME: usize = 15;
/// Most bytes of the file that are read.
const MAX_BYTES: u64 = 64 * 1024;
/// Most networks; a router has a few.
const MAX_NETWORKS: usize = 256;
/// Most addresses of a network.
const MAX_ADDRESSES: usize = 64;
/// Stands behind the name of a network without a device. No device has such a name, for it has a space in it, and whoever
/// looks for one by this name says in passing what is the matter.
const DOWN: &str = " (down)";

/// The networks there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    all: Vec<Network>,
}

/// A logical network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The device that its IP packets cross, while it is up.
    pub device: Option<String>,
    /// The Ethernet device below that.
    port: Option<String>,
    /// The router's own addresses on it, each with the prefix it lies in.
    addresses: Vec<(IpAddr, Cidr)>,
}

impl Networks {
    /// Reads the file. Without one there are no networks; what cannot be read of it is told in words.
    pub fn load(path: &Path) -> (Networks, Vec<String>) {
        let (mut networks, mut problems) = (Networks::default(), Vec::new());
        let lines = match files::read_lines(path, MAX_BYTES) {
            Ok(Some(lines)) => lines,
            Ok(None) => return (networks, problems),
            Err(error) => {
                problems.push(format!("{}: {error}; no logical networks are known", path.display()));
                return (networks, problems);
            }
        };
        if lines.cut {
            problems.push(format!("{}: only the first {MAX_BYTES} bytes are read", path.display()));
        }
        networks.read(&String::from_utf8_lossy(&lines.bytes), |line, problem| {
            problems.push(format!("{}:{line}: {problem}", path.display()))
        });
        (networks, problems)
    }

    /// Takes in the lines of a file, and tells of those that cannot be read, which are left out.
    pub fn read(&mut self, text: &str, mut problem: impl FnMut(usize, String)) {
        for (line, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            match network(text) {
                _ if self.all.len() >= MAX_NETWORKS => {
                    problem(line + 1, format!("more than {MAX_NETWORKS} networks, the rest is left out"));
                    return;
                }
                Ok(network) if self.get(&network.name).is_none() => self.all.push(network),
                Ok(network) => problem(line + 1, format!("network {} stands there twice", network.name)),
                Err(why) => problem(line + 1, why),
            }
        }
    }

    /// The network of a name.
    pub fn get(&self, name: &str) -> Option<&Network> {
        self.all.iter().find(|network| network.name == name)
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The name of the device that a word of the configuration stands for: that of the network of this name, else the
    /// word itself. That of a network that is down is one which no device has, see [`is_down`].
    ///
    /// # Errors
    /// It cannot be either's name.
    pub fn device(&self, word: &str) -> Result<String, String> {
        self.resolve(word, |network| network.device.as_deref())
    }

    /// Likewise for those who need Ethernet frames: the device below, which a line by PPPoE has.
    ///
    /// # Errors
    /// It cannot be either's name.
    pub fn port(&self, word: &str) -> Result<String, String> {
        self.resolve(word, |network| network.port.as_deref())
    }

    fn resolve(&self, word: &str, of: impl Fn(&Network) -> Option<&str>) -> Result<String, String> {
        match self.get(word) {
            Some(network) => Ok(of(network).map_or_else(|| format!("{word}{DOWN}"), str::to_owned)),
            None if word.is_empty() => Err("it is empty, expected the name of an interface, as eth0".into()),
            None if word.len() > MAX_IFNAME => {
                Err(format!("interface name '{word}' is longer than {MAX_IFNAME} characters"))
            }
            None if word.contains(|c: char| c == '/' || c.is_whitespace()) => {
                Err(format!("'{word}' is not an interface name, expected one as wan"))
            }
            None => Ok(word.to_owned()),
        }
    }
}

impl Network {
    /// The address to be reached at by those on it: the first of IPv4, else of IPv6.
    pub fn address(&self) -> Option<IpAddr> {
        let first = |is_v4: bool| self.addresses.iter().map(|(addr, _)| *addr).find(|addr| addr.is_ipv4() == is_v4);
        first(true).or_else(|| first(false))
    }

    /// The prefixes of those on it.
    pub fn prefixes(&self) -> impl Iterator<Item = Cidr> {
        self.addresses.iter().map(|(_, prefix)| *prefix)
    }
}

impl fmt::Display for Networks {
    /// For people: what is what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.all.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} is {}", network.name, network.device.as_deref().unwrap_or("down"))?;
        }
        Ok(())
    }
}

/// Whether a word may be the name of a network, which has no dots, where an address or host name could stand, too.
pub fn may_be_network(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && word.bytes().any(|byte| !byte.is_ascii_digit())
}

/// Whether a word may be the name of a device or of a network where an address could stand, too.
pub fn may_be_interface(word: &str) -> bool {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    !is_number && !word.contains(['/', ':'])
}

/// Whether the name of a device is that of a network which has none at present.
pub fn is_down(device: &str) -> bool {
    device.ends_with(DOWN)
}

fn network(line: &str) -> Result<Network, String> {
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(device), Some(port)) = (words.next(), words.next(), words.next()) else {
        return Err("expected NAME DEVICE PORT and addresses, as in lan br-lan br-lan 192.168.1.1/24".into());
    };
    let (device, port) = (device_name(device)?, device_name(port)?);
    let mut addresses = Vec::new();
    for word in words.take(MAX_ADDRESSES) {
        let (addr, prefix) = Cidr::parse_host_bits(word)?;
        let is_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        if !is_local && prefix.prefix_len() > 0 {
            addresses.push((addr, prefix));
        }
    }
    Ok(Network { name: name.to_owned(), device, port, addresses })
}

fn device_name(word: &str) -> Result<Option<String>, String> {
    match word {
        "-" => Ok(None),
        _ if word.len() > MAX_IFNAME || word.contains('/') => Err(format!("'{word}' is not the name of a device")),
        _ => Ok(Some(word.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "lan br-lan br-lan 192.168.1.1/24 fe80::1/64 fd00:1:2::1/60\n\
        wan pppoe-wan eth0.2 203.0.113.2/32\nguest - -\n";

    fn read(text: &str) -> (Networks, Vec<String>) {
        let (mut networks, mut problems) = (Networks::default(), Vec::new());
        networks.read(text, |line, problem| problems.push(format!("{line}: {problem}")));
        (networks, problems)
    }

    #[test]
    fn a_network_stands_for_its_device_or_for_the_port_below() {
        let (home, problems) = read(HOME);
        assert_eq!((problems, home.to_string()), (vec![], "lan is br-lan, wan is pppoe-wan, guest is down".into()));
        assert_eq!((home.device("wan"), home.port("wan")), (Ok("pppoe-wan".into()), Ok("eth0.2".into())));
        // What is no network is a device.
        assert_eq!(home.device("eth1"), Ok("eth1".into()));
    }

    #[test]
    fn one_that_is_down_stands_for_a_device_that_cannot_be() {
        let (home, _) = read(HOME);
        let device = home.device("guest").unwrap();
        assert!(is_down(&device) && device == "guest (down)", "{device}");
        assert!(!is_down("guest"));
    }

    #[test]
    fn addresses_are_the_router_s_own_and_those_of_a_link_only_do_not_count() {
        let (home, _) = read(HOME);
        let lan = home.get("lan").unwrap();
        assert_eq!(lan.address(), Some("192.168.1.1".parse().unwrap()));
        assert_eq!(lan.prefixes().map(|p| p.to_string()).collect::<Vec<_>>(), ["192.168.1.0/24", "fd00:1:2::/60"]);
        assert_eq!(home.get("guest").unwrap().address(), None);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_and_costs_the_others_nothing() {
        let (networks, problems) = read("lan br-lan\nwan eth0 eth0 1.2.3.4/33\n\nlan br-lan br-lan\nlan x y\nw /x -\n");
        assert_eq!(networks.to_string(), "lan is br-lan");
        assert_eq!(
            problems,
            [
                "1: expected NAME DEVICE PORT and addresses, as in lan br-lan br-lan 192.168.1.1/24",
                "2: prefix length 33 is out of range, expected 0 to 32",
                "5: network lan stands there twice",
                "6: '/x' is not the name of a device",
            ]
        );
    }

    #[test]
    fn what_no_device_can_be_called_is_told() {
        let none = Networks::default();
        for (word, why) in [
            ("", "it is empty, expected the name of an interface, as eth0"),
            ("an-interface-too-long", "interface name 'an-interface-too-long' is longer than 15 characters"),
            ("a b", "'a b' is not an interface name, expected one as wan"),
        ] {
            assert_eq!(none.device(word), Err(why.into()));
        }
    }

    #[test]
    fn the_file_is_bounded_and_may_be_absent() {
        let text: String = (0..300).map(|n| format!("n{n} - -\n")).collect();
        let (networks, problems) = read(&text);
        assert_eq!((networks.all.len(), problems.len()), (MAX_NETWORKS, 1));
        assert_eq!(Networks::load(Path::new("/nonexistent/networks")), (Networks::default(), vec![]));
        let (_, problems) = Networks::load(Path::new("/dev/null"));
        assert!(problems.iter().any(|problem| problem.contains("not a regular file")), "{problems:?}");
    }
}
