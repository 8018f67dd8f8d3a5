//! The names of LAN hosts: addresses enter, the names that people and DHCP servers gave them leave.
//!
//! Sources in the order in which they are believed: the `host` sections of OpenWrt's `dhcp` configuration, leases,
//! addresses with `*` in that configuration (they say less about a device than its own lease), and files such as
//! /etc/ethers. [`Names::refresh`] asks the system for no more than each file's state and reads a file only when
//! that has changed, so it may be called at every interval. A file that cannot be read keeps the names known from
//! it; each trouble is logged when it comes and when it goes, not at each try.
//!
//! A DHCP client chooses its own name: names are bounded in number and length and free of control characters. They
//! may hold quotes and backslashes, which the outputs escape.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::source;
use crate::files::{self, Lines};

pub mod directory;
pub mod leases;
pub mod mac;
pub mod table;
mod watched;

pub use directory::Directory;
pub use mac::Mac;
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
    /// Files with names given by hand, believed last, in any of the same formats.
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

/// The names of LAN hosts, as far as they are known.
#[derive(Debug)]
pub struct Names {
    sources: Sources,
    dhcp: Watched,
    leases: Vec<Watched>,
    hosts: Vec<Watched>,
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
            .chain(self.leases.iter_mut().chain(&mut self.hosts).map(|file| (file, false)))
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

    /// The name of the host with this MAC address.
    pub fn by_mac<'a>(&'a self, mac: &Mac) -> Option<&'a str> {
        let listed = |files: &'a [Watched]| files.iter().find_map(|file| file.table.by_mac(mac));
        (self.dhcp.table.by_mac(mac))
            .or_else(|| listed(&self.leases))
            .or_else(|| self.dhcp.table.by_pattern(mac))
            .or_else(|| listed(&self.hosts))
    }

    /// The name of the host with this IP address. A host without an entry for the address may still have one for
    /// its MAC.
    pub fn by_addr(&self, addr: &IpAddr) -> Option<&str> {
        self.tables().find_map(|table| table.by_addr(addr))
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
        std::iter::once(&self.dhcp).chain(&self.leases).chain(&self.hosts).map(|file| &file.table)
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
fn read_dhcp(path: &Path, room: usize, lease_files: &mut Option<Vec<PathBuf>>) -> Outcome {
    let package = source::load(path).map_err(|error| error.to_string())?.unwrap_or_default();
    *lease_files = Some(table::lease_files(&package).map(PathBuf::from).collect());
    let table = Table::of_dhcp(&package, room);
    let trouble = too_many(path, &table);
    Ok((table, trouble))
}

/// Reads a file of leases or hosts; a file that is not there names nobody.
fn read(path: &Path, room: usize) -> Outcome {
    let read = files::read_lines(path, MAX_SIZE).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let Some(Lines { bytes, cut }) = read else { return Ok((Table::default(), None)) };
    let table = Table::of_text(&String::from_utf8_lossy(&bytes), room);
    let trouble = too_many(path, &table).or_else(|| {
        cut.then(|| format!("{} is larger than {MAX_SIZE} bytes; what lies behind is left out", path.display()))
    });
    Ok((table, trouble))
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
mod tests {
    use super::*;
    use std::fs;

    /// A router's files in a directory of its own, gone when the test ends.
    struct Router(PathBuf);

    impl Router {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatemeter-names-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Router(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }

        /// Names from `dhcp`, the file `leases` and the file `ethers`.
        fn names(&self) -> Names {
            Names::new(Sources {
                uci_dir: self.0.clone(),
                leases: vec![self.0.join("leases")],
                hosts: vec![self.0.join("ethers")],
            })
        }
    }

    impl Drop for Router {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mac(text: &str) -> Mac {
        text.parse().unwrap()
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const STATIC: &str = "config host\n\toption name 'nas'\n\toption mac '02:00:00:00:00:01'\n\
                          config host\n\toption name 'camera'\n\toption mac '02:00:00:00:00:*'\n";

    #[test]
    fn the_configuration_comes_before_leases_and_leases_before_ethers() {
        let router = Router::new("order");
        router.write("dhcp", STATIC);
        router.write("leases", "1 02:00:00:00:00:01 10.0.0.1 wrong *\n1 02:00:00:00:00:02 10.0.0.2 phone *\n");
        router.write("ethers", "02:00:00:00:00:02 wrong\n02:00:00:00:00:03 wrong\n02:00:00:00:01:04 printer\n");
        let mut names = router.names();
        assert!(names.refresh());
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:01")), Some("nas"));
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:02")), Some("phone"));
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:03")), Some("camera"));
        assert_eq!(names.by_mac(&mac("02:00:00:00:01:04")), Some("printer"));
        assert_eq!(names.by_mac(&mac("02:00:00:00:01:05")), None);
        assert_eq!(names.by_addr(&addr("10.0.0.2")), Some("phone"));
        assert_eq!(names.by_addr(&addr("10.0.0.3")), None);
    }

    #[test]
    fn a_new_static_lease_needs_no_restart() {
        let router = Router::new("refresh");
        let mut names = router.names();
        assert!(!names.refresh());
        router.write("dhcp", STATIC);
        assert!(names.refresh());
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:01")), Some("nas"));
        assert!(!names.refresh());
        router.write("dhcp", &STATIC.replace("nas", "backup"));
        assert!(names.refresh());
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:01")), Some("backup"));
    }

    #[test]
    fn a_lease_renewed_under_the_same_name_changes_nothing() {
        let router = Router::new("renewed");
        router.write("leases", "1 02:00:00:00:00:02 10.0.0.2 phone *\n");
        let mut names = router.names();
        assert!(names.refresh());
        router.write("leases", "1000 02:00:00:00:00:02 10.0.0.2 phone *\n");
        assert!(!names.refresh());
    }

    #[test]
    fn a_broken_configuration_keeps_the_names_known_before() {
        let router = Router::new("broken");
        router.write("dhcp", STATIC);
        let mut names = router.names();
        names.refresh();
        router.write("dhcp", "config host 'never closed\n");
        assert!(!names.refresh());
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:01")), Some("nas"));
    }

    #[test]
    fn a_directory_in_place_of_a_file_is_no_crash() {
        let router = Router::new("directory");
        for name in ["dhcp", "leases", "ethers"] {
            fs::create_dir(router.0.join(name)).unwrap();
        }
        assert!(!router.names().refresh());
    }

    #[test]
    fn a_file_that_is_gone_takes_its_names_along() {
        let router = Router::new("gone");
        router.write("leases", "1 02:00:00:00:00:02 10.0.0.2 phone *\n");
        let mut names = router.names();
        names.refresh();
        fs::remove_file(router.0.join("leases")).unwrap();
        assert!(names.refresh());
        assert_eq!(names.by_mac(&mac("02:00:00:00:00:02")), None);
    }

    #[test]
    fn lease_files_named_in_the_configuration_are_read() {
        let router = Router::new("leasefile");
        let dhcp = |file: &str| format!("config dnsmasq\n\toption leasefile '{}/{file}'\n", router.0.display());
        router.write("one", "1 02:00:00:00:00:01 10.0.0.1 one *\n");
        router.write("two", "1 02:00:00:00:00:02 10.0.0.2 two *\n");
        router.write("dhcp", &dhcp("one"));
        let mut names = Names::new(Sources { uci_dir: router.0.clone(), leases: Vec::new(), hosts: Vec::new() });
        assert!(names.refresh());
        assert_eq!(names.by_addr(&addr("10.0.0.1")), Some("one"));
        router.write("dhcp", &dhcp("./two"));
        assert!(names.refresh());
        assert_eq!(names.by_addr(&addr("10.0.0.1")), None);
        assert_eq!(names.by_addr(&addr("10.0.0.2")), Some("two"));
    }

    #[test]
    fn no_more_entries_are_kept_than_the_limit_for_all_files() {
        let router = Router::new("many");
        let line = |n: u32| format!("{} host{n}\n", std::net::Ipv4Addr::from(0x0a00_0000 + n));
        router.write("leases", &(0..3000).map(line).collect::<String>());
        router.write("ethers", &(2000..9000).map(line).collect::<String>());
        let mut names = router.names();
        assert!(names.refresh());
        assert_eq!(names.tables().map(Table::entries).sum::<usize>(), MAX_ENTRIES);
        assert_eq!(names.by_addr(&addr("10.0.11.183")), Some("host2999"));
    }

    #[test]
    fn a_file_past_the_size_limit_is_read_up_to_its_last_whole_line() {
        let router = Router::new("large");
        let mut text = String::from("10.0.0.1 first\n");
        text += &"#".repeat(MAX_SIZE as usize - text.len() - 20);
        text += "\n10.0.0.2 second\n10.0.0.3 cut\n";
        router.write("ethers", &text);
        let mut names = router.names();
        names.refresh();
        assert_eq!(names.by_addr(&addr("10.0.0.1")), Some("first"));
        assert_eq!(names.by_addr(&addr("10.0.0.2")), Some("second"));
        assert_eq!(names.by_addr(&addr("10.0.0.3")), None);
    }
}
