//! The names of clients, wherever they are known from: files, the cache of earlier names, and reverse DNS.
//!
//! A client enters by its MAC address, if that is known, and one of its IP addresses; its name leaves. What a file
//! says now wins over what was known before, so a host that is renamed gets its new name at once; a name that no
//! source gives any more lives on in the cache, across restarts, too. All addresses of one MAC address share its best
//! believed name, but for an address that has an equally believed name of its own.

use std::future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use super::cache::Cache;
use super::cache::file::CacheFile;
use super::{Belief, Found, Mac, Names, Sources};

/// Where names come from, and where they are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Files with names.
    pub sources: Sources,
    /// The file of the name cache; `None` for names that end with the process.
    pub cache: Option<PathBuf>,
    /// Whether and whom to ask by reverse DNS.
    pub reverse_dns: Option<ReverseDns>,
}

/// Who is asked for the names of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseDns {
    /// DNS servers; with none, those of `resolv_conf`.
    pub servers: Vec<SocketAddr>,
    /// The file with servers and local domains, as in resolv.conf(5).
    pub resolv_conf: PathBuf,
}

/// The names of clients, as far as they are known. Dropping it writes the cache.
#[derive(Debug)]
pub struct Directory {
    names: Names,
    cache: Cache,
    file: Option<CacheFile>,
    loaded: bool,
}

impl Directory {
    /// Knows nothing before the first [`Directory::refresh`], and opens nothing before it.
    pub fn new(settings: Settings) -> Self {
        Directory {
            names: Names::new(settings.sources),
            cache: Cache::default(),
            file: settings.cache.map(CacheFile::new),
            loaded: false,
        }
    }

    /// Reads again what has changed on disk, and writes the cache when that is due; true if any name may have changed
    /// since the last call. Meant to be called before each collection.
    pub fn refresh(&mut self, now: Instant) -> bool {
        let mut changed = self.names.refresh();
        if !self.loaded {
            self.loaded = true;
            changed = true;
            if let Some(file) = &mut self.file {
                file.load(&mut self.cache);
            }
        }
        if changed {
            self.cache.renew(|mac, addr| self.names.find(mac, addr));
        }
        self.cache.begin();
        if let Some(file) = &mut self.file {
            file.keep(&mut self.cache, now);
        }
        changed
    }

    /// Takes notice of a client that is there now: its name goes into the cache together with its address, and one
    /// that has no name is asked for by reverse DNS. Meant to be called for every address at every collection.
    pub fn learned(&mut self, mac: Option<&Mac>, addr: &IpAddr, now: Instant) {
        let mac = self.owner(mac, addr);
        let found = self.names.find(mac.as_ref(), addr).filter(|found| found.belief != Belief::OtherMac);
        self.cache.saw(mac.as_ref(), addr, found, now);
    }

    /// The client's name.
    pub fn name(&self, mac: Option<&Mac>, addr: &IpAddr) -> Option<&str> {
        let mac = self.owner(mac, addr);
        let listed = self.names.find(mac.as_ref(), addr);
        let kept = self.cache.find(mac.as_ref(), addr);
        match (listed, kept) {
            (Some(listed), Some(kept)) if kept.belief < listed.belief => Some(kept.name),
            (Some(Found { name, .. }), _) | (None, Some(Found { name, .. })) => Some(name),
            (None, None) => None,
        }
    }

    /// The MAC address of whoever has an IP address: the one in its lease, or the one that it was last seen with, if
    /// that client has a name.
    pub fn mac_of(&self, addr: &IpAddr) -> Option<Mac> {
        self.names.mac_of(addr).or_else(|| self.cache.mac_of(addr))
    }

    /// Asks DNS servers in the background; returns whenever names have become known by it, and never when there is
    /// nothing to ask. Safe to be dropped and called again.
    pub async fn work(&mut self) {
        future::pending().await
    }

    /// Writes the cache now if it has changed. Dropping does the same.
    pub fn save(&mut self, now: Instant) {
        if let Some(file) = &mut self.file {
            file.save(&mut self.cache, now);
        }
    }

    /// Never writes the cache: for one look beside a daemon that keeps it.
    pub fn read_only(&mut self) {
        if let Some(file) = &mut self.file {
            file.read_only();
        }
    }

    /// The MAC address that was given, if it is one station's, or else the one known for the address.
    fn owner(&self, mac: Option<&Mac>, addr: &IpAddr) -> Option<Mac> {
        mac.copied().filter(|mac| !mac.is_multicast() && mac.0 != [0; 6]).or_else(|| self.mac_of(addr))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.save(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    /// A router's files in a directory of its own, gone when the test ends.
    struct Router(PathBuf);

    impl Router {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatemeter-directory-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Router(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }

        fn directory(&self) -> Directory {
            let mut directory = Directory::new(Settings {
                sources: Sources {
                    uci_dir: self.0.clone(),
                    leases: vec![self.0.join("leases")],
                    hosts: vec![self.0.join("hosts")],
                },
                cache: Some(self.0.join("names")),
                reverse_dns: None,
            });
            directory.refresh(Instant::now());
            directory
        }
    }

    impl Drop for Router {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const PHONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const LEASE: &str = "1 02:00:00:00:00:01 10.0.0.1 phone *\n";

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn learned(directory: &mut Directory, mac: Option<&Mac>, at: &[&str]) {
        let now = Instant::now();
        directory.refresh(now);
        at.iter().for_each(|at| directory.learned(mac, &addr(at), now));
    }

    #[test]
    fn a_name_outlives_its_lease_and_the_process() {
        let router = Router::new("outlives");
        router.write("leases", LEASE);
        let mut directory = router.directory();
        learned(&mut directory, Some(&PHONE), &["10.0.0.1", "fd00::1"]);
        router.write("leases", "");
        directory.refresh(Instant::now());
        assert_eq!(directory.name(Some(&PHONE), &addr("fd00::2")), Some("phone"));
        drop(directory);
        let directory = router.directory();
        assert_eq!(directory.name(Some(&PHONE), &addr("fd00::2")), Some("phone"));
        assert_eq!(directory.mac_of(&addr("fd00::1")), Some(PHONE));
        assert_eq!(directory.name(None, &addr("fd00::1")), Some("phone"));
        assert_eq!(directory.name(Some(&OTHER), &addr("fd00::1")), None);
    }

    #[test]
    fn a_renamed_host_is_renamed_at_once_and_for_good() {
        let router = Router::new("renamed");
        router.write("leases", LEASE);
        let mut directory = router.directory();
        learned(&mut directory, Some(&PHONE), &["10.0.0.1"]);
        router.write("dhcp", "config host\n\toption name desk\n\toption mac '02:00:00:00:00:01'\n");
        assert!(directory.refresh(Instant::now()));
        assert_eq!(directory.name(Some(&PHONE), &addr("10.0.0.1")), Some("desk"));
        router.write("dhcp", "");
        router.write("leases", "");
        drop(directory);
        assert_eq!(router.directory().name(Some(&PHONE), &addr("10.0.0.1")), Some("desk"));
    }

    #[test]
    fn all_addresses_share_the_best_believed_name() {
        let router = Router::new("share");
        router.write("leases", LEASE);
        router.write("hosts", "10.0.0.1 desk\n");
        let mut directory = router.directory();
        assert_eq!(directory.name(Some(&PHONE), &addr("fd00::1")), Some("phone"));
        learned(&mut directory, Some(&PHONE), &["10.0.0.1", "fd00::1"]);
        assert_eq!(directory.name(Some(&PHONE), &addr("fd00::1")), Some("desk"));
        router.write("leases", &format!("{LEASE}1 02:00:00:00:00:09 10.0.0.9 tv *\n"));
        assert!(directory.refresh(Instant::now()));
        assert_eq!(directory.name(Some(&PHONE), &addr("fd00::1")), Some("desk"), "before it is seen again, too");
    }

    #[test]
    fn devices_behind_a_repeater_keep_their_own_names() {
        let router = Router::new("repeater");
        router.write("leases", "1 02:00:00:00:00:08 10.0.0.8 tv *\n1 02:00:00:00:00:09 10.0.0.9 radio *\n");
        let mut directory = router.directory();
        learned(&mut directory, Some(&OTHER), &["10.0.0.8", "10.0.0.9", "10.0.0.10"]);
        assert_eq!(directory.name(Some(&OTHER), &addr("10.0.0.8")), Some("tv"));
        assert_eq!(directory.name(Some(&OTHER), &addr("10.0.0.9")), Some("radio"));
        assert_eq!(directory.name(Some(&OTHER), &addr("10.0.0.10")), None);
    }

    #[test]
    fn a_client_known_by_its_address_only_is_known_by_its_lease_and_by_what_was_seen() {
        let router = Router::new("address");
        router.write("leases", LEASE);
        let mut directory = router.directory();
        learned(&mut directory, None, &["10.0.0.1"]);
        assert_eq!(directory.mac_of(&addr("10.0.0.1")), Some(PHONE));
        router.write("leases", "");
        directory.refresh(Instant::now());
        assert_eq!(directory.mac_of(&addr("10.0.0.1")), Some(PHONE));
        assert_eq!(directory.name(Some(&Mac([0; 6])), &addr("10.0.0.1")), Some("phone"));
    }

    #[test]
    fn the_cache_is_written_in_time_and_at_the_end() {
        let router = Router::new("written");
        router.write("leases", LEASE);
        let mut directory = router.directory();
        let start = Instant::now();
        directory.learned(Some(&PHONE), &addr("10.0.0.1"), start);
        directory.refresh(start);
        let lines = || fs::read_to_string(router.0.join("names")).map_or(0, |text| text.lines().count());
        assert_eq!(lines(), 0);
        directory.refresh(start + Duration::from_secs(60));
        assert_eq!(lines(), 2);
        directory.learned(Some(&OTHER), &addr("10.0.0.2"), start);
        drop(directory);
        assert_eq!(lines(), 2, "a client without a name is not kept");
        let mut beside = router.directory();
        beside.read_only();
        router.write("leases", "1 02:00:00:00:00:02 10.0.0.2 tv *\n");
        learned(&mut beside, Some(&OTHER), &["10.0.0.2"]);
        drop(beside);
        assert_eq!(lines(), 2);
    }
}
