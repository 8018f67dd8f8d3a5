//! A real DHCP server (dnsmasq) on the router's LAN side and real clients (busybox udhcpc) on the hosts; and the
//! configuration that names hosts without one.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::process::{self, Background, LIMIT};
use super::{Lab, Node};

/// dnsmasq on `br-lan`, handing out 192.168.1.100 to .199; stopped on drop.
pub struct DhcpServer {
    daemon: Background,
    leases: PathBuf,
}

impl DhcpServer {
    /// Starts the server; it answers once this returns.
    pub fn start(lab: &Lab) -> Self {
        let leases = lab.dir().join("dhcp.leases");
        let log = lab.dir().join("dnsmasq.log");
        let lease_option = format!("--dhcp-leasefile={}", leases.display());
        let words = [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--log-facility=-",
            "--pid-file",
            "--user=root",
            "--port=0",
            "--no-ping",
            "--interface=br-lan",
            "--bind-interfaces",
            "--dhcp-authoritative",
            "--dhcp-range=192.168.1.100,192.168.1.199,1h",
            &lease_option,
        ];
        let daemon = lab.router.start(&words, &log);
        let server = Self { daemon, leases };
        // Port 67 in the kernel's table of UDP sockets.
        let bound = || lab.router.read("/proc/thread-self/net/udp").contains(":0043 ").then_some(());
        if process::poll(LIMIT, bound).is_none() {
            panic!("dnsmasq does not start:\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        server
    }

    /// The lease file, in dnsmasq's own format.
    pub fn leases(&self) -> &Path {
        &self.leases
    }

    /// Asks for an address for `host` under `name`, as its DHCP client would, and adds the address to its interface.
    pub fn lease(&self, host: &Node, name: &str) -> Ipv4Addr {
        self.lease_raw(host, name.as_bytes())
    }

    /// Like [`DhcpServer::lease`], with a name of any bytes, 255 at most.
    pub fn lease_raw(&self, host: &Node, name: &[u8]) -> Ipv4Addr {
        let option = host_name(name);
        host.must(&["busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-x", &option, "-s", "/bin/true"]);
        // The server answers first and writes its file right after.
        let found = process::poll(LIMIT, || self.leased(host));
        let Some(ip) = found else { panic!("no lease for {} in {}", host.name, self.leases.display()) };
        host.must(&["ip", "addr", "replace", &format!("{ip}/24"), "dev", "eth0"]);
        ip
    }

    /// Gives the address of `host` back, after which the server knows nothing of it; its interface keeps the address.
    pub fn release(&self, host: &Node, log: &Path) {
        // Asks for the same address again, and releases it when told to end.
        let words = ["busybox", "udhcpc", "-i", "eth0", "-f", "-R", "-s", "/bin/true"];
        let mut client = host.start(&words, log);
        let told = || fs::read_to_string(log).unwrap_or_default().contains("obtained").then_some(());
        assert!(process::poll(LIMIT, told).is_some(), "{} gets no address, see {}", host.name, log.display());
        client.signal(libc::SIGTERM);
        client.wait(LIMIT);
        let gone = || self.leased(host).is_none().then_some(());
        assert!(process::poll(LIMIT, gone).is_some(), "the lease of {} is still there", host.name);
    }

    /// The address leased to `host` as the lease file tells.
    pub fn leased(&self, host: &Node) -> Option<Ipv4Addr> {
        let mac = host.mac_text().to_lowercase();
        let leases = fs::read_to_string(&self.leases).unwrap_or_default();
        // Only whole lines count: the server writes the file in place.
        let lines = leases.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let mut fields = lines.map(|line| line.split(' ').collect::<Vec<_>>());
        fields.find(|lease| lease.get(1) == Some(&mac.as_str()))?.get(2)?.parse().ok()
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}

/// OpenWrt's /etc/config/dhcp with every host of the lab under its own name.
pub fn static_leases(lab: &Lab) -> String {
    lab.lan.iter().chain(&lab.guests).map(|node| static_lease(&node.name, node)).collect()
}

/// The section that names one host.
pub fn static_lease(name: &str, node: &Node) -> String {
    format!("config host\n\toption name '{name}'\n\toption mac '{}'\n\n", node.mac_text())
}

/// DHCP option 12 as udhcpc takes it, in hexadecimal digits.
fn host_name(name: &[u8]) -> String {
    let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x0c:{digits}")
}
