//! A home network made of network namespaces, for tests and for the demo.
//!
//! ```text
//! lan1 ... lanN ── br-lan ┐
//!                         ├ router ── wan ── internet (198.51.100.10, 2001:db8:beef::10)
//! guest1 ... ──── br-guest┘
//! ```
//! Everything is named `gm<pid>-<n>`: namespaces in /run/netns, one directory in /tmp with a bpffs of its own. Dropping
//! the lab removes all of it, also when a test panics; what a killed process left behind is removed by the next lab.
//! The network is silent: no router advertisements, no duplicate address detection, and neighbour entries that are
//! complete from the start and stay so for an hour, unless [`Builder::living_neighbours`] asks for the opposite. What a
//! test sends is all there is, but for the group reports each IPv6 interface makes in its first instants, before
//! [`Builder::build`] returns.

#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "shared by tests that each use a part of it; a failed assumption must stop the test; it runs real programs"
)]

pub mod crowd;
pub mod dhcp;
pub mod dns;
pub mod firewall;
pub mod frames;
pub mod freebox;
pub mod leftovers;
pub mod node;
pub mod powerline;
pub mod process;
mod raise;
pub mod relay;
pub mod responder;
pub mod sys;
pub mod traffic;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub use node::{Counters, End, Node};

/// The main LAN's IPv4 subnet; the router has .1, `lanN` has .10+N.
pub const LAN4: &str = "192.168.1.0/24";
/// The main LAN's global IPv6 prefix; the router has ::1.
pub const LAN6: &str = "2001:db8:1:1::/64";
/// The main LAN's unique local IPv6 prefix.
pub const LAN_ULA: &str = "fd00:1:1::/64";
/// The guest LAN's IPv4 subnet; the router has .1, `guestN` has .10+N.
pub const GUEST4: &str = "192.168.2.0/24";
/// The guest LAN's global IPv6 prefix.
pub const GUEST6: &str = "2001:db8:1:2::/64";
/// The router's own IPv4 address on the WAN side.
pub const WAN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The router's own IPv6 address on the WAN side.
pub const WAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
/// The provider's IPv4 gateway, the internet's end of the WAN link.
pub const GATEWAY4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The provider's IPv6 gateway.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// Serialises making and removing namespaces between processes, which `ip netns` does not bear well.
const LOCK: &str = "/run/gatemeter-lab.lock";

/// The network; dropping it removes everything it made.
#[derive(Debug)]
pub struct Lab {
    /// `gm<pid>-<n>`.
    pub id: String,
    /// The home router.
    pub router: Node,
    /// A server far away.
    pub internet: Node,
    /// Hosts of the main LAN, `lan1` first.
    pub lan: Vec<Node>,
    /// Hosts of the guest LAN.
    pub guests: Vec<Node>,
    dir: PathBuf,
    mounted: bool,
}

/// What network to build.
#[derive(Debug, Clone, Copy)]
pub struct Builder {
    hosts: u8,
    guests: u8,
    nat: bool,
    living: bool,
}

impl Lab {
    /// Two LAN hosts, no guest network, no NAT.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A network to be described further.
    pub fn builder() -> Builder {
        Builder { hosts: 2, guests: 0, nat: false, living: false }
    }

    /// The `n`th LAN host, counted from 1 as in its name.
    pub fn host(&self, n: usize) -> &Node {
        &self.lan[n - 1]
    }

    /// Has the router's IPv4 default route lead through `via` on an interface. The kernel announces it, and not the end of the
    /// route whose place it takes.
    pub fn replace_default_route(&self, via: &str, ifname: &str) {
        self.router.must(&["ip", "route", "replace", "default", "via", via, "dev", ifname]);
    }

    /// Keeps the router's bridges from showing what they only pass from port to port to the IP firewall, as OpenWrt does.
    pub fn plain_bridge(&self) {
        for family in ["iptables", "ip6tables"] {
            let key = format!("bridge/bridge-nf-call-{family}");
            // Kernels without br_netfilter have no such switch and no need for it.
            if Path::new("/proc/sys/net").join(&key).exists() {
                self.router.sysctl(&key, "0");
            }
        }
    }

    /// A directory on /tmp that goes away with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A bpffs of this lab's own, for `-o traffic.pin_dir=`.
    pub fn bpffs(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    /// Hardware address of the bridge that `host` is plugged into.
    pub fn router_mac(&self, host: &Node) -> [u8; 6] {
        let guest = self.guests.iter().any(|g| g.name == host.name);
        bridge_mac(if guest { "br-guest" } else { "br-lan" })
    }

    /// Pulls the host's cable.
    pub fn unplug(&self, host: &Node) {
        self.router.must(&["ip", "link", "set", &host.name, "down"]);
    }

    /// Puts the cable in again and waits for the carrier.
    pub fn plug(&self, host: &Node) {
        self.router.must(&["ip", "link", "set", &host.name, "up"]);
        let carrier = || host.must(&["ip", "link", "show", "dev", "eth0"]).contains("LOWER_UP").then_some(());
        assert!(process::poll(process::LIMIT, carrier).is_some(), "{} has no carrier", host.name);
    }

    fn all(&self) -> impl Iterator<Item = &Node> {
        [&self.router, &self.internet].into_iter().chain(&self.lan).chain(&self.guests)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let lock = sys::exclusive(LOCK);
        let namespaces: Vec<&str> = self.all().map(|node| node.netns.as_str()).collect();
        let problems = leftovers::remove(&namespaces, self.mounted.then(|| self.bpffs()).as_deref(), &self.dir);
        drop(lock);
        for problem in problems {
            eprintln!("lab {}: {problem}", self.id);
        }
    }
}

impl Builder {
    /// How many hosts the main LAN has, at most 200.
    pub fn hosts(mut self, count: u8) -> Self {
        self.hosts = count.min(200);
        self
    }

    /// Adds a guest LAN with one host.
    pub fn guest(self) -> Self {
        self.guests(1)
    }

    /// Adds a guest LAN with `count` hosts, at most 200.
    pub fn guests(mut self, count: u8) -> Self {
        self.guests = count.min(200);
        self
    }

    /// Masquerades IPv4 behind the router's WAN address.
    pub fn nat(mut self) -> Self {
        self.nat = true;
        self
    }

    /// Lets neighbours find each other by ARP and neighbour discovery, and forget each other within seconds.
    pub fn living_neighbours(mut self) -> Self {
        self.living = true;
        self
    }

    /// Builds the network; panics with the reason when it cannot be built.
    pub fn build(self) -> Lab {
        self.try_build().unwrap_or_else(|e| panic!("cannot build the lab: {e}"))
    }

    /// Builds the network, or says why it cannot be built.
    pub fn try_build(self) -> Result<Lab, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("gm{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let node = |name: &str, ifname: &str, mac, v4: Ipv4Addr, v6: &str, ula: Option<String>| Node {
            name: name.to_owned(),
            netns: format!("{id}-{name}"),
            ifname: ifname.to_owned(),
            mac,
            v4,
            v6: v6.parse().unwrap(),
            ula: ula.map(|text| text.parse().unwrap()),
        };
        let host = |kind: &str, subnet: u8, n: u8| {
            let v6 = format!("2001:db8:1:{subnet}::{}", 10 + n);
            let ula = (subnet == 1).then(|| format!("fd00:1:1::{}", 10 + n));
            let (mac, v4) = ([2, 0x1a, 0, 0, subnet, n], Ipv4Addr::new(192, 168, subnet, 10 + n));
            node(&format!("{kind}{n}"), "eth0", mac, v4, &v6, ula)
        };
        let router_v4 = Ipv4Addr::new(192, 168, 1, 1);
        let ula = Some("fd00:1:1::1".to_owned());
        let server = Ipv4Addr::new(198, 51, 100, 10);
        let mut lab = Lab {
            router: node("router", "br-lan", bridge_mac("br-lan"), router_v4, "2001:db8:1:1::1", ula),
            internet: node("internet", "eth0", [2, 0x1a, 0, 0, 0xff, 1], server, "2001:db8:beef::10", None),
            lan: (1..=self.hosts).map(|n| host("lan", 1, n)).collect(),
            guests: (1..=self.guests).map(|n| host("guest", 2, n)).collect(),
            dir: PathBuf::from(format!("/tmp/{id}")),
            mounted: false,
            id,
        };
        lab.raise(self.nat, self.living)?;
        Ok(lab)
    }
}

fn bridge_mac(bridge: &str) -> [u8; 6] {
    [2, 0x1a, 0, 0, if bridge == "br-lan" { 1 } else { 2 }, 0xfe]
}

fn wan_mac() -> [u8; 6] {
    [2, 0x1a, 0, 0, 0xff, 0xfe]
}
