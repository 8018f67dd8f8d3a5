//! Hundreds of clients for the price of one: many addresses on one host's interface, each a neighbour of its own to
//! the router, with a hardware address of its own.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::process;
use super::raise::{colons, entry};
use super::{Lab, Node, sys};

/// The subnet of a crowd; the router has .0.1.
pub const CROWD4: &str = "10.77.0.0/16";
/// How long a datagram of a crowd may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Held by whoever has a crowd: the kernel keeps 1,024 neighbours for all namespaces together, unless told otherwise.
const LOCK: &str = "/run/gatemeter-crowd.lock";

/// Clients that live on one host of the main LAN. There is one crowd on a machine at a time.
#[derive(Debug)]
pub struct Crowd<'a> {
    lab: &'a Lab,
    host: &'a Node,
    _lock: File,
    /// Their addresses.
    pub members: Vec<Ipv4Addr>,
}

/// Flows between each member of a crowd and the internet, which can be used again and again.
#[derive(Debug)]
pub struct Flows {
    near: Vec<UdpSocket>,
    far: Vec<UdpSocket>,
}

impl Lab {
    /// Adds `count` clients, at most 500, on `host`. The router takes a second address on its bridge for them.
    pub fn crowd<'a>(&'a self, host: &'a Node, count: u16) -> Crowd<'a> {
        let members: Vec<Ipv4Addr> = (0..count.min(500)).map(member).collect();
        let lock = sys::exclusive(LOCK).unwrap_or_else(|e| panic!("cannot lock {LOCK}: {e}"));
        // Entries that nobody uses for a minute are removed once there are more than 128.
        self.router.sysctl("ipv4/neigh/br-lan/gc_stale_time", "7200");
        let entries: String = (0..).zip(&members).map(|(n, &ip)| entry(ip, mac(n), "br-lan")).collect();
        self.router.ip_batch(&format!("addr add 10.77.0.1/16 dev br-lan\n{entries}")).unwrap();
        let mut plan: String = members.iter().map(|ip| format!("addr add {ip}/16 dev eth0\n")).collect();
        plan += &entry(Ipv4Addr::new(10, 77, 0, 1), self.router_mac(host), "eth0");
        host.ip_batch(&plan).unwrap();
        // What the router sends to their hardware addresses is taken for the host's own.
        let mine = "table netdev crowd {\nchain everything {\n\
                    type filter hook ingress device eth0 priority 0; policy accept;\n\
                    ether daddr & ff:ff:00:00:00:00 == 02:cc:00:00:00:00 meta pkttype set host\n\
                    }\n}\n";
        let mut nft = host.command("nft");
        nft.args(["-f", "-"]);
        process::must(nft, mine).unwrap();
        self.internet.run(&["ip", "route", "replace", CROWD4, "via", &super::WAN4.to_string()]);
        Crowd { lab: self, host, members, _lock: lock }
    }
}

impl Crowd<'_> {
    /// The hardware address of the `n`th member, in lower case.
    pub fn mac_text(n: u16) -> String {
        colons(mac(n))
    }

    /// What a DHCP server that has given them their addresses would write: `device-0` and so on.
    pub fn leases(&self) -> String {
        let lease = |(n, ip): (u16, &Ipv4Addr)| format!("1900000000 {} {ip} device-{n} *\n", Self::mac_text(n));
        (0..).zip(&self.members).map(lease).collect()
    }

    /// Opens `each` flows per member: datagrams up and down have crossed the router in every one when this returns.
    pub fn flows(&self, each: usize) -> Flows {
        let near: Vec<_> = self.members.iter().map(|&ip| self.host.udp_socket(ip, 0)).collect();
        let far: Vec<_> = (0..each).map(|_| self.lab.internet.udp_socket(self.lab.internet.v4, 0)).collect();
        for socket in near.iter().chain(&far) {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let flows = Flows { near, far };
        for member in 0..flows.near.len() {
            flows.exchange(member, 0..each, 20, 20);
        }
        flows
    }
}

impl Flows {
    /// One datagram up and one down in each of these flows of one member, with so many bytes of payload.
    pub fn exchange(&self, member: usize, flows: std::ops::Range<usize>, up: usize, down: usize) {
        self.try_exchange(member, flows, up, down).unwrap_or_else(|e| panic!("member {member} of the crowd: {e}"));
    }

    /// How many flows there are.
    pub fn count(&self) -> usize {
        self.near.len() * self.far.len()
    }

    /// Flows of one member.
    pub fn each(&self) -> usize {
        self.far.len()
    }

    fn try_exchange(&self, member: usize, flows: std::ops::Range<usize>, up: usize, down: usize) -> io::Result<()> {
        let near = &self.near[member];
        let mut buffer = [0; 2048];
        // A burst fits the queues on the way.
        for far in self.far[flows].chunks(32) {
            for socket in far {
                near.send_to(&buffer[..up], socket.local_addr()?)?;
            }
            for socket in far {
                let (_, seen) = socket.recv_from(&mut buffer)?;
                socket.send_to(&buffer[..down], seen)?;
            }
            for _ in far {
                near.recv_from(&mut buffer)?;
            }
        }
        Ok(())
    }
}

fn member(n: u16) -> Ipv4Addr {
    let [_, low] = (n % 200).to_be_bytes();
    Ipv4Addr::new(10, 77, (n / 200) as u8, low + 10)
}

fn mac(n: u16) -> [u8; 6] {
    let [high, low] = n.to_be_bytes();
    [2, 0xcc, 0, 0, high, low]
}
