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
//! complete from the start and stay so for an hour. What a test sends is all there is, but for the group reports each
//! IPv6 interface makes in its first instants, before [`Builder::build`] returns.

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

pub mod dhcp;
pub mod frames;
pub mod leftovers;
pub mod node;
pub mod process;
pub mod sys;
pub mod traffic;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

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
}

impl Lab {
    /// Two LAN hosts, no guest network, no NAT.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A network to be described further.
    pub fn builder() -> Builder {
        Builder { hosts: 2, guests: 0, nat: false }
    }

    /// The `n`th LAN host, counted from 1 as in its name.
    pub fn host(&self, n: usize) -> &Node {
        &self.lan[n - 1]
    }

    /// A directory on /tmp that goes away with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A bpffs of this lab's own, for `-o traffic.pin_dir=`.
    pub fn bpffs(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    fn all(&self) -> impl Iterator<Item = &Node> {
        [&self.router, &self.internet].into_iter().chain(&self.lan).chain(&self.guests)
    }

    fn raise(&mut self, nat: bool) -> Result<(), String> {
        let lock = sys::exclusive(LOCK).map_err(|e| format!("cannot lock {LOCK}: {e}; the lab needs root"))?;
        leftovers::sweep();
        let names: String = self.all().map(|node| format!("netns add {}\n", node.netns)).collect();
        let mut ip = Command::new("ip");
        ip.args(["-batch", "-"]);
        process::must(ip, &names)?;
        drop(lock);

        let bpffs = self.bpffs();
        fs::create_dir_all(&bpffs).map_err(|e| format!("cannot create {}: {e}", bpffs.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "bpf", &self.id]).arg(&bpffs);
        process::must(mount, "")?;
        self.mounted = true;

        for node in self.all() {
            calm(node)?;
        }
        self.link_router()?;
        for node in self.lan.iter().chain(&self.guests) {
            node.ip_batch(&host_plan(node))?;
        }
        self.internet.ip_batch(&self.internet_plan(nat))?;
        self.introduce()?;
        if nat {
            self.masquerade()?;
        }
        self.wait_until_up()?;
        self.wait_until_silent()
    }

    /// Bridges, links and addresses of the router; the far ends of the links land in their namespaces.
    fn link_router(&self) -> Result<(), String> {
        let router = &self.router;
        router.try_sysctl("ipv4/ip_forward", "1")?;
        router.try_sysctl("ipv6/conf/all/forwarding", "1")?;
        let mut plan = bridge_plan("br-lan", router, &self.lan);
        if !self.guests.is_empty() {
            plan += &bridge_plan("br-guest", router, &self.guests);
        }
        router.ip_batch(&plan)?;
        // A bridge port has no addresses of its own, as on OpenWrt.
        let ports = || self.lan.iter().chain(&self.guests).map(|host| &host.name);
        for port in ports() {
            router.try_sysctl(&format!("ipv6/conf/{port}/disable_ipv6"), "1")?;
        }
        let mut plan: String = ports().map(|port| format!("link set {port} up\n")).collect();
        plan += "link set br-lan up\n\
                 addr add 192.168.1.1/24 dev br-lan\n\
                 addr add 2001:db8:1:1::1/64 dev br-lan nodad\n\
                 addr add fd00:1:1::1/64 dev br-lan nodad\n";
        if !self.guests.is_empty() {
            plan += "link set br-guest up\n\
                     addr add 192.168.2.1/24 dev br-guest\n\
                     addr add 2001:db8:1:2::1/64 dev br-guest nodad\n";
        }
        plan += &format!(
            "link add wan address {} type veth peer name eth0 address {} netns {}\n\
             link set wan up\n\
             addr add {WAN4}/24 dev wan\n\
             addr add {WAN6}/64 dev wan nodad\n",
            colons(wan_mac()),
            colons(self.internet.mac),
            self.internet.netns,
        );
        plan += &format!("route add default via {GATEWAY4}\nroute add default via {GATEWAY6} dev wan\n");
        router.ip_batch(&plan)
    }

    /// The internet knows the way to every global prefix of the home, and behind NAT to nothing private.
    fn internet_plan(&self, nat: bool) -> String {
        let mut plan = format!(
            "link set lo up\n\
             link set eth0 up\n\
             addr add {}/32 dev lo\n\
             addr add {}/128 dev lo nodad\n\
             addr add {GATEWAY4}/24 dev eth0\n\
             addr add {GATEWAY6}/64 dev eth0 nodad\n\
             route add 2001:db8:1::/48 via {WAN6} dev eth0\n",
            self.internet.v4, self.internet.v6,
        );
        if !nat {
            plan += &format!("route add {LAN4} via {WAN4}\nroute add {GUEST4} via {WAN4}\n");
        }
        plan
    }

    /// Neighbours know each other from the start and for an hour, so that no ARP or ND packet mixes with the traffic.
    fn introduce(&self) -> Result<(), String> {
        let mut plan = entry(GATEWAY4, self.internet.mac, "wan") + &entry(GATEWAY6, self.internet.mac, "wan");
        for (host, bridge) in self.lan.iter().map(|h| (h, "br-lan")).chain(self.guests.iter().map(|h| (h, "br-guest")))
        {
            for ip in host.addresses() {
                plan += &entry(ip, host.mac, bridge);
            }
        }
        for bridge in ["br-lan", "br-guest"].into_iter().take(if self.guests.is_empty() { 1 } else { 2 }) {
            keep_neighbours(&self.router, bridge)?;
        }
        keep_neighbours(&self.router, "wan")?;
        self.router.ip_batch(&plan)?;
        keep_neighbours(&self.internet, "eth0")?;
        self.internet.ip_batch(&(entry(WAN4, wan_mac(), "eth0") + &entry(WAN6, wan_mac(), "eth0")))?;
        for host in self.lan.iter().chain(&self.guests) {
            keep_neighbours(host, "eth0")?;
            let plan: String = host.gateways().map(|ip| entry(ip, self.router_mac(host), "eth0")).collect();
            host.ip_batch(&plan)?;
        }
        Ok(())
    }

    /// Hardware address of the bridge that `host` is plugged into.
    pub fn router_mac(&self, host: &Node) -> [u8; 6] {
        let guest = self.guests.iter().any(|g| g.name == host.name);
        bridge_mac(if guest { "br-guest" } else { "br-lan" })
    }

    /// Masquerades IPv4 on the way out, as every home router does; IPv6 is routed.
    fn masquerade(&self) -> Result<(), String> {
        let mut nft = self.router.command("nft");
        nft.args(["-f", "-"]);
        let rules = "table ip lab_nat {\n\
                     chain postrouting {\n\
                     type nat hook postrouting priority srcnat; policy accept;\n\
                     oifname \"wan\" masquerade\n\
                     }\n\
                     }\n";
        process::must(nft, rules).map(drop)
    }

    /// An IPv6 interface reports its multicast groups a few times within milliseconds of having a link-local address,
    /// which it has once its carrier is known, up to a second after the link went up. Waits for the end of that.
    fn wait_until_silent(&self) -> Result<(), String> {
        // A bridge without ports has no carrier, so no link-local address either.
        let mut links: Vec<(&Node, &str)> = vec![(&self.router, "wan")];
        links.extend((!self.lan.is_empty()).then_some((&self.router, "br-lan")));
        links.extend((!self.guests.is_empty()).then_some((&self.router, "br-guest")));
        links.extend(self.all().skip(1).map(|node| (node, "eth0")));
        for (node, ifname) in links {
            let ready = || has_link_local(&node.read("/proc/thread-self/net/if_inet6"), ifname).then_some(());
            if process::poll(Duration::from_secs(20), ready).is_none() {
                return Err(format!("{} of {} has no usable link-local address", ifname, node.name));
            }
        }
        let reports = || self.all().map(mld_reports).sum::<u64>();
        let (mut last, mut quiet) = (reports(), 0);
        let silent = || {
            let now = reports();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
            (quiet > 5).then_some(())
        };
        process::poll(Duration::from_secs(20), silent).ok_or_else(|| "multicast reports do not end".to_owned())
    }

    /// Carrier, bridge port and route changes settle asynchronously: the network is up once every host's datagram
    /// crosses it both ways.
    fn wait_until_up(&self) -> Result<(), String> {
        for host in self.lan.iter().chain(&self.guests) {
            for (from, to) in [(host.on_v4(), self.internet.on_v4()), (host.on_v6(), self.internet.on_v6())] {
                if process::poll(Duration::from_secs(20), || traffic::echo_once(from, to).then_some(())).is_none() {
                    return Err(format!("no datagram from {} {} reaches {}", host.name, from.ip, to.ip));
                }
            }
        }
        Ok(())
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
        lab.raise(self.nat)?;
        Ok(lab)
    }
}

impl Node {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [IpAddr::V4(self.v4), IpAddr::V6(self.v6)].into_iter().chain(self.ula.map(IpAddr::V6))
    }

    /// The router's addresses on this host's network, in the order of [`Node::addresses`].
    fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses().map(|ip| match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::from([a, b, c, 1])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 1])
            }
        })
    }
}

/// Switches off, before there is any interface, everything that would send packets by itself.
fn calm(node: &Node) -> Result<(), String> {
    for scope in ["all", "default"] {
        for (key, value) in [
            ("accept_dad", "0"),
            ("dad_transmits", "0"),
            ("accept_ra", "0"),
            ("autoconf", "0"),
            ("router_solicitations", "0"),
            ("mldv1_unsolicited_report_interval", "1"),
            ("mldv2_unsolicited_report_interval", "1"),
        ] {
            node.try_sysctl(&format!("ipv6/conf/{scope}/{key}"), value)?;
        }
        for (key, value) in [("rp_filter", "0"), ("send_redirects", "0")] {
            node.try_sysctl(&format!("ipv4/conf/{scope}/{key}"), value)?;
        }
    }
    Ok(())
}

/// Keeps neighbour entries of one interface reachable, without probes, for longer than any test runs.
fn keep_neighbours(node: &Node, ifname: &str) -> Result<(), String> {
    for family in ["ipv4", "ipv6"] {
        node.try_sysctl(&format!("{family}/neigh/{ifname}/base_reachable_time_ms"), "7200000")?;
    }
    Ok(())
}

/// Whether `ifname` has a link-local address in a listing like /proc/net/if_inet6: address, ifindex, prefix length,
/// scope (20: link), flags (40: tentative), name.
fn has_link_local(table: &str, ifname: &str) -> bool {
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
        let tentative = u32::from_str_radix(fields[4], 16).unwrap() & 0x40 != 0;
        fields[5] == ifname && fields[3] == "20" && !tentative
    })
}

fn mld_reports(node: &Node) -> u64 {
    let table = node.read("/proc/thread-self/net/snmp6");
    let count = |line: &str| line.strip_prefix("Icmp6OutMLDv2Reports")?.trim().parse::<u64>().ok();
    table.lines().find_map(count).unwrap_or(0)
}

fn bridge_plan(bridge: &str, router: &Node, hosts: &[Node]) -> String {
    let prefix = if bridge == "br-lan" { "lan" } else { "guest" };
    let mut plan = format!(
        "link set lo up\n\
         link add {bridge} address {} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n",
        colons(if bridge == "br-lan" { router.mac } else { bridge_mac(bridge) }),
    );
    for (n, host) in hosts.iter().enumerate() {
        let port = format!("{prefix}{}", n + 1);
        plan += &format!(
            "link add {port} type veth peer name eth0 address {} netns {}\n\
             link set {port} master {bridge}\n",
            colons(host.mac),
            host.netns,
        );
    }
    plan
}

fn host_plan(host: &Node) -> String {
    let mut plan = "link set lo up\nlink set eth0 up\n".to_owned();
    for ip in host.addresses() {
        plan += &match ip {
            IpAddr::V4(v4) => format!("addr add {v4}/24 dev eth0\n"),
            IpAddr::V6(v6) => format!("addr add {v6}/64 dev eth0 nodad\n"),
        };
    }
    for gateway in host.gateways().take(2) {
        plan += &format!("route add default via {gateway} dev eth0\n");
    }
    plan
}

fn entry(ip: impl Into<IpAddr>, mac: [u8; 6], ifname: &str) -> String {
    format!("neigh replace {} lladdr {} dev {ifname} nud reachable\n", ip.into(), colons(mac))
}

fn bridge_mac(bridge: &str) -> [u8; 6] {
    [2, 0x1a, 0, 0, if bridge == "br-lan" { 1 } else { 2 }, 0xfe]
}

fn wan_mac() -> [u8; 6] {
    [2, 0x1a, 0, 0, 0xff, 0xfe]
}

fn colons(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
