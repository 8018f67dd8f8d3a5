//! Raising the lab: namespaces, links, addresses, routes, NAT, and the silence before it is handed over.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use super::{
    GATEWAY4, GATEWAY6, GUEST4, LAN4, LOCK, Lab, Node, WAN4, WAN6, bridge_mac, leftovers, process, sys, traffic,
    wan_mac,
};

impl Lab {
    pub(super) fn raise(&mut self, nat: bool, living: bool) -> Result<(), String> {
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
        if living {
            self.let_them_meet()?;
        } else {
            self.introduce()?;
        }
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

    /// Neighbours ask for each other as machines do, only sooner: an entry is certain for about a second, then stale, and
    /// one that does not answer when it is needed has failed a second and a half later.
    fn let_them_meet(&self) -> Result<(), String> {
        let bridges = ["br-lan", "br-guest"].into_iter().take(if self.guests.is_empty() { 1 } else { 2 });
        for (node, ifname) in bridges
            .map(|bridge| (&self.router, bridge))
            .chain(self.lan.iter().chain(&self.guests).map(|host| (host, "eth0")))
        {
            for family in ["ipv4", "ipv6"] {
                for (key, value) in
                    [("base_reachable_time_ms", "1000"), ("retrans_time_ms", "100"), ("delay_first_probe_time", "0")]
                {
                    node.try_sysctl(&format!("{family}/neigh/{ifname}/{key}"), value)?;
                }
            }
        }
        Ok(())
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
            if process::poll(process::LIMIT, ready).is_none() {
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
        process::poll(process::LIMIT, silent).ok_or_else(|| "multicast reports do not end".to_owned())
    }

    /// Carrier, bridge port and route changes settle asynchronously: the network is up once every host's datagram
    /// crosses it both ways.
    fn wait_until_up(&self) -> Result<(), String> {
        for host in self.lan.iter().chain(&self.guests) {
            for (from, to) in [(host.on_v4(), self.internet.on_v4()), (host.on_v6(), self.internet.on_v6())] {
                if process::poll(process::LIMIT, || traffic::echo_once(from, to).then_some(())).is_none() {
                    return Err(format!("no datagram from {} {} reaches {}", host.name, from.ip, to.ip));
                }
            }
        }
        Ok(())
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

pub(super) fn entry(ip: impl Into<IpAddr>, mac: [u8; 6], ifname: &str) -> String {
    format!("neigh replace {} lladdr {} dev {ifname} nud reachable\n", ip.into(), colons(mac))
}

pub(super) fn colons(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
