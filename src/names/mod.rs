//! The names of LAN hosts: addresses enter, the names that people and DHCP servers gave them leave.
//!
//! What people wrote is believed before what a client calls itself, and what is said of a MAC address before what is
//! said of an IP address, which may be somebody else's tomorrow. From the first believed to the last:
//!
//! | | name | [`Belief`] |
//! |---|---|---|
//! | 1 | `host` sections of OpenWrt's `dhcp` configuration, by `mac` and `duid` | `Configured` |
//! | 2 | files written by hand, such as /etc/ethers and dnsmasq's dhcp-hosts, by MAC address | `WrittenMac` |
//! | 3 | the same two, by IP address | `WrittenAddr` |
//! | 4 | leases, by MAC address | `LeaseMac` |
//! | 5 | leases, by IP address | `LeaseAddr` |
//! | 6 | `mac` with `*` in that configuration: they say less about a device than its own lease | `Pattern` |
//! | 7 | the [`cache`] of earlier names, by MAC address, by IP address only without one | `Remembered` |
//! | 8 | 3 and 5, when they are for another MAC address: a device behind a repeater, perhaps | `OtherMac` |
//! | 9 | reverse DNS | `Resolved` |
//!
//! [`Names`] is 1 to 6 and 8, [`Directory`] is all of them. [`Names::refresh`] asks the system for no more than each
//! file's state and reads a file only when that has changed, so it may be called at every interval. A file that cannot
//! be read keeps the names known from it; each trouble, lines in no known format included, is logged when it comes and
//! when it goes, not at each try.
//!
//! The other way round, [`Lookup`] finds the addresses of host names: by the hosts file and by DNS, in the background.
//!
//! A DHCP client chooses its own name: names are bounded in number and length and free of control characters. They
//! may hold quotes and backslashes, which the outputs escape.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::source;
use crate::files::{self, Lines};

pub mod cache;
pub mod directory;
pub mod dns;
pub mod find;
mod flight;
pub mod host_name;
pub mod hosts;
pub mod leases;
pub mod lookup;
pub mod mac;
pub mod resolv_conf;
pub mod resolver;
mod servers;
pub mod table;
pub mod unread;
mod watched;

pub use directory::Directory;
pub use host_name::HostName;
pub use lookup::Lookup;
pub use mac::Mac;
pub use resolver::ReverseDns;
use table::Table;
use watched::{Outcome, Watched};

/// How many entries are kept from all files together; a host has one for its MAC and one for each IP address.
pub const MAX_ENTRIES: usize = 4096;

/// Largest file that is read, in bytes; what lies behind is left out.
const MAX_SIZE: u64 = 1024 * 1024;

/// How many files are watched at most; the `dhcp` configuration may name any number.
const MAX_FILES: usize = 32;

/// Where dnsmasq and odhcpd keep their leases on OpenWrt, Debian and NixOS.
const USUAL_LEASES: [&str; 5] = [
    "/tmp/dhcp.leases",
    "/tmp/hosts/odhcpd",
    "/tmp/odhcpd.leases",
    "/var/lib/misc/dnsmasq.leases",
    "/var/lib/dnsmasq/dnsmasq.leases",
];

/// Which files are asked for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Directory of the UCI file `dhcp`.
    pub uci_dir: PathBuf,
    /// Files with leases, in any format that [`leases::parse`] knows. With none, the usual places of dnsmasq and
    /// odhcpd and those that `dhcp` names.
    pub leases: Vec<PathBuf>,
    /// Files with names given by hand, in any of the same formats.
    pub hosts: Vec<PathBuf>,
}

impl Default for Sources {
    fn default() -> Self {
        Sources {
            uci_dir: "/etc/config".into(),
            leases: Vec::new(),
            hosts: vec!["/var/lib/dnsmasq/dhcp-hosts".into(), "/etc/ethers".into()],
        }
    }
}

/// How a name became known; what comes first is believed first. See the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belief {
    /// From the `dhcp` configuration, by MAC address.
    Configured,
    /// From a file written by hand, by MAC address.
    WrittenMac,
    /// From a file written by hand or the configuration, by IP address.
    WrittenAddr,
    /// From a lease, by MAC address.
    LeaseMac,
    /// From a lease, by IP address.
    LeaseAddr,
    /// From the configuration, by a MAC address with `*` in it.
    Pattern,
    /// From no source that still gives it.
    Remembered,
    /// From a line that has the IP address, but another MAC address.
    OtherMac,
    /// From reverse DNS.
    Resolved,
}

/// A name and where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The name.
    pub name: &'a str,
    /// How much it is believed.
    pub belief: Belief,
}

/// The names of LAN hosts in files, as far as they are known.
#[derive(Debug)]
pub struct Names {
    sources: Sources,
    dhcp: Watched<Table>,
    leases: Vec<Watched<Table>>,
    hosts: Vec<Watched<Table>>,
}

impl Names {
    /// Knows no name before the first [`Names::refresh`].
    pub fn new(sources: Sources) -> Self {
        let dhcp = Watched::new(sources.uci_dir.join("dhcp"));
        let hosts = sources.hosts.iter().take(MAX_FILES).cloned().map(Watched::new).collect();
        let mut names = Names { sources, dhcp, leases: Vec::new(), hosts };
        names.watch_leases(&[]);
        names
    }

    /// Reads again what has changed since the last call; true if any name may have changed with it.
    pub fn refresh(&mut self) -> bool {
        let mut kept: usize = self.tables().map(Table::entries).sum();
        let mut changed = false;
        let mut lease_files = None;
        for (file, uci) in std::iter::once((&mut self.dhcp, true))
            .chain(self.hosts.iter_mut().chain(&mut self.leases).map(|file| (file, false)))
        {
            let others = kept - file.table.entries();
            let room = MAX_ENTRIES.saturating_sub(others);
            changed |=
                file.refresh(|path| if uci { read_dhcp(path, room, &mut lease_files) } else { read(path, room) });
            kept = others + file.table.entries();
        }
        if let Some(lease_files) = lease_files
            && self.watch_leases(&lease_files)
        {
            // The list of files has changed: those that are new are read now, the others cost a look each.
            changed |= self.refresh();
        }
        changed
    }

    /// The name of a client, by its MAC address, if that is known, and one of its IP addresses.
    pub fn of(&self, mac: Option<&Mac>, addr: &IpAddr) -> Option<&str> {
        self.find(mac, addr).map(|found| found.name)
    }

    /// The name of a client and how it is known. Without a MAC address, the one that a lease has for the address.
    pub fn find<'a>(&'a self, mac: Option<&Mac>, addr: &IpAddr) -> Option<Found<'a>> {
        let mac = mac.copied().or_else(|| self.mac_of(addr));
        let found = |belief| move |name| Found { name, belief };
        let by_mac = |table: &'a Table| table.by_mac(&mac?);
        let mut other = None;
        let mut by_addr = |table: &'a Table| {
            let named = table.by_addr(addr)?;
            if named.mac.is_none() || named.mac == mac {
                return Some(&*named.name);
            }
            other = other.or(Some(&*named.name));
            None
        };
        let dhcp = &self.dhcp.table;
        let hosts = || self.hosts.iter().map(|file| &file.table);
        let leases = || self.leases.iter().map(|file| &file.table);
        None.or_else(|| by_mac(dhcp).map(found(Belief::Configured)))
            .or_else(|| hosts().find_map(by_mac).map(found(Belief::WrittenMac)))
            .or_else(|| by_addr(dhcp).map(found(Belief::WrittenAddr)))
            .or_else(|| hosts().find_map(&mut by_addr).map(found(Belief::WrittenAddr)))
            .or_else(|| leases().find_map(by_mac).map(found(Belief::LeaseMac)))
            .or_else(|| leases().find_map(&mut by_addr).map(found(Belief::LeaseAddr)))
            .or_else(|| mac.and_then(|mac| dhcp.by_pattern(&mac)).map(found(Belief::Pattern)))
            .or_else(|| other.map(found(Belief::OtherMac)))
    }

    /// The MAC address that a lease or a file written by hand has for an IP address.
    pub fn mac_of(&self, addr: &IpAddr) -> Option<Mac> {
        self.tables().find_map(|table| table.by_addr(addr)?.mac)
    }

    /// How many names are known, patterns and addresses included.
    pub fn len(&self) -> usize {
        self.tables().map(Table::entries).sum()
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.dhcp).chain(&self.hosts).chain(&self.leases).map(|file| &file.table)
    }

    /// Watches the lease files of the settings, or else the usual ones and those of `dhcp`; true if that changes
    /// the list. Files that stay on it keep their names.
    fn watch_leases(&mut self, dhcp: &[PathBuf]) -> bool {
        let mut paths = self.sources.leases.clone();
        if paths.is_empty() {
            paths.extend(USUAL_LEASES.map(PathBuf::from));
            for path in dhcp {
                if !paths.contains(path) && paths.len() < MAX_FILES {
                    paths.push(path.clone());
                }
            }
        }
        paths.truncate(MAX_FILES);
        if self.leases.iter().map(|file| &file.path).eq(&paths) {
            return false;
        }
        let mut old = std::mem::take(&mut self.leases);
        let known = |path: PathBuf| match old.iter().position(|file| file.path == path) {
            Some(index) => old.swap_remove(index),
            None => Watched::new(path),
        };
        self.leases = paths.into_iter().map(known).collect();
        true
    }
}

/// Reads the `dhcp` configuration, whose lease files go to `lease_files`; a file that is not there names nobody.
fn read_dhcp(path: &Path, room: usize, lease_files: &mut Option<Vec<PathBuf>>) -> Outcome<Table> {
    let package = source::load(path).map_err(|error| error.to_string())?.unwrap_or_default();
    *lease_files = Some(table::lease_files(&package).map(PathBuf::from).collect());
    let table = Table::of_dhcp(&package, room);
    let trouble = too_many(path, &table);
    Ok((table, trouble))
}

/// Reads a file of leases or hosts; a file that is not there names nobody.
fn read(path: &Path, room: usize) -> Outcome<Table> {
    let (text, long) = read_text(path)?;
    let (table, unread) = Table::of_text(&text, room);
    let trouble = too_many(path, &table).or(long).or_else(|| unread.trouble(path));
    Ok((table, trouble))
}

/// The text of a file with names, and what to tell if it was too long; none if the file is not there.
fn read_text(path: &Path) -> Outcome<String> {
    let read = files::read_lines(path, MAX_SIZE).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let Lines { bytes, cut } = read.unwrap_or_default();
    let long = || format!("{} is larger than {MAX_SIZE} bytes; what lies behind is left out", path.display());
    Ok((String::from_utf8_lossy(&bytes).into_owned(), cut.then(long)))
}

fn too_many(path: &Path, table: &Table) -> Option<String> {
    table.is_full().then(|| {
        format!(
            "{} has more names than fit into {MAX_ENTRIES} entries for all files together; some are left out",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests;
