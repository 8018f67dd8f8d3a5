//! A real DHCP server (dnsmasq) on the router's LAN side and real clients (busybox udhcpc) on the hosts.

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
        let option = format!("hostname:{name}");
        host.must(&["busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-x", &option, "-s", "/bin/true"]);
        let mac = host.mac_text().to_lowercase();
        let leases = fs::read_to_string(&self.leases).unwrap_or_default();
        let lease = leases.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|lease| lease[1] == mac);
        let Some(lease) = lease else { panic!("no lease for {mac} in {}:\n{leases}", self.leases.display()) };
        let ip: Ipv4Addr = lease[2].parse().unwrap();
        host.must(&["ip", "addr", "add", &format!("{ip}/24"), "dev", "eth0"]);
        ip
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}
