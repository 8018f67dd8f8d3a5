//! One machine of the home network: a network namespace with its addresses, and what one does on a machine (run a
//! program, open a socket, read the interface counters). Sockets opened here stay in the namespace for good.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::process::{self, Background, LIMIT, Output};
use super::sys::{self, PacketSocket};

/// Where `ip netns` keeps its names.
pub const NETNS_DIR: &str = "/run/netns";

/// A machine of the lab.
#[derive(Debug, Clone)]
pub struct Node {
    /// Short name: `router`, `internet`, `lan1`, `guest1`.
    pub name: String,
    /// Name of its network namespace, as `ip netns` knows it.
    pub netns: String,
    /// Its interface: `eth0` on hosts and on the internet side, `br-lan` on the router.
    pub ifname: String,
    /// Hardware address of that interface.
    pub mac: [u8; 6],
    /// Its IPv4 address (on the router, the LAN side; on the internet, the server).
    pub v4: Ipv4Addr,
    /// Its global IPv6 address, likewise.
    pub v6: Ipv6Addr,
    /// Its unique local IPv6 address (fc00::/7), on the main LAN only.
    pub ula: Option<Ipv6Addr>,
}

/// A machine together with the address of it that a test means.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The machine.
    pub node: &'a Node,
    /// The address to use there.
    pub ip: IpAddr,
}

/// What an interface has sent and received since it was made. Bytes include the Ethernet header, not the FCS; a
/// GSO packet counts as one packet with one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets to send dropped.
    pub tx_dropped: u64,
}

impl std::ops::Sub for Counters {
    type Output = Counters;

    fn sub(self, before: Counters) -> Counters {
        Counters {
            rx_bytes: self.rx_bytes - before.rx_bytes,
            rx_packets: self.rx_packets - before.rx_packets,
            rx_dropped: self.rx_dropped - before.rx_dropped,
            tx_bytes: self.tx_bytes - before.tx_bytes,
            tx_packets: self.tx_packets - before.tx_packets,
            tx_dropped: self.tx_dropped - before.tx_dropped,
        }
    }
}

impl Node {
    /// This machine by its IPv4 address.
    pub fn on_v4(&self) -> End<'_> {
        End { node: self, ip: self.v4.into() }
    }

    /// This machine by its global IPv6 address.
    pub fn on_v6(&self) -> End<'_> {
        End { node: self, ip: self.v6.into() }
    }

    /// This machine by another of its addresses.
    pub fn on(&self, ip: impl Into<IpAddr>) -> End<'_> {
        End { node: self, ip: ip.into() }
    }

    /// The hardware address as metrics write it, upper-case with colons.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02X}")).join(":")
    }

    /// The file that holds the namespace, for `nsenter --net=`.
    pub fn netns_path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.netns)
    }

    /// Runs `work` on a thread of its own inside the namespace; mounts and files stay those of the machine.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = self.open();
        let inside = move || match sys::enter(&netns) {
            Ok(()) => work(),
            Err(e) => panic!("cannot enter the namespace {}: {e}", self.netns),
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|cause| panic::resume_unwind(cause))
    }

    /// A command that will run inside the namespace but with the machine's own mounts, which `ip netns exec` would
    /// replace. It dies with the thread that starts it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::start_in(&mut command, self.open());
        command
    }

    /// Runs a program to its end, whatever its exit status.
    pub fn run(&self, words: &[&str]) -> Output {
        process::run(self.words(words), "", LIMIT).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Runs a program that must succeed and returns its standard output.
    pub fn must(&self, words: &[&str]) -> String {
        process::must(self.words(words), "").unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Starts a program that runs until it is dropped; its outputs are appended to `log`.
    pub fn start(&self, words: &[&str], log: &Path) -> Background {
        Background::start(self.words(words), log).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// A UDP socket bound to `ip` and `port` (0: any free one).
    pub fn udp_socket(&self, ip: impl Into<IpAddr>, port: u16) -> UdpSocket {
        let address = SocketAddr::new(ip.into(), port);
        self.opened("bind a UDP socket to", address, self.enter(move || UdpSocket::bind(address)))
    }

    /// A listening TCP socket.
    pub fn tcp_listener(&self, ip: impl Into<IpAddr>, port: u16) -> TcpListener {
        let address = SocketAddr::new(ip.into(), port);
        self.opened("listen on", address, self.enter(move || TcpListener::bind(address)))
    }

    /// A TCP connection from this machine to `address`, or why there is none.
    pub fn tcp_connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.enter(move || TcpStream::connect_timeout(&address, Duration::from_secs(10)))
    }

    /// A socket that sends whole Ethernet frames out of `ifname` and sees all that pass it.
    pub fn packet_socket(&self, ifname: &str) -> PacketSocket {
        let opened = self.enter(|| PacketSocket::open(ifname));
        opened.unwrap_or_else(|e| panic!("{}: cannot open a packet socket on {ifname}: {e}", self.name))
    }

    /// Counters of one interface, from the kernel's own table for this namespace.
    pub fn counters(&self, ifname: &str) -> Counters {
        let table = self.read("/proc/thread-self/net/dev");
        let line = table.lines().find_map(|line| line.trim_start().strip_prefix(ifname)?.strip_prefix(':'));
        let Some(line) = line else { panic!("{}: no interface {ifname} in\n{table}", self.name) };
        let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        Counters {
            rx_bytes: fields[0],
            rx_packets: fields[1],
            rx_dropped: fields[3],
            tx_bytes: fields[8],
            tx_packets: fields[9],
            tx_dropped: fields[11],
        }
    }

    /// Reads a file as this machine sees it. Only `/proc/sys/net` and `/proc/thread-self/net` differ by namespace.
    pub fn read(&self, path: &str) -> String {
        let text = self.enter(|| fs::read_to_string(path));
        text.unwrap_or_else(|e| panic!("{}: cannot read {path}: {e}", self.name))
    }

    /// Sets a key of `/proc/sys/net` in this namespace, such as `ipv4/ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.try_sysctl(key, value).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    pub(super) fn try_sysctl(&self, key: &str, value: &str) -> Result<(), String> {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value)).map_err(|e| format!("cannot write {value} to {path}: {e}"))
    }

    /// Sends `count` echo requests with the system's `ping`; true when each was answered.
    pub fn pings(&self, target: impl Into<IpAddr>, count: u32) -> bool {
        let (target, count) = (target.into().to_string(), count.to_string());
        self.run(&["ping", "-n", "-q", "-i", "0.01", "-w", "10", "-c", &count, &target]).status.success()
    }

    /// Switches offloads of an interface: `&[("gro", false), ("tso", false)]`, in ethtool's short names.
    pub fn set_offloads(&self, ifname: &str, offloads: &[(&str, bool)]) {
        let mut words = vec!["ethtool", "-K", ifname];
        for (name, on) in offloads {
            words.extend([*name, if *on { "on" } else { "off" }]);
        }
        self.must(&words);
    }

    /// Which offloads of an interface are on, by ethtool's long names (`generic-receive-offload`).
    pub fn offloads(&self, ifname: &str) -> BTreeMap<String, bool> {
        let listing = self.must(&["ethtool", "-k", ifname]);
        let pairs = listing.lines().filter_map(|line| line.trim().split_once(": "));
        pairs.map(|(name, state)| (name.to_owned(), state.starts_with("on"))).collect()
    }

    /// Runs `ip -batch` on `lines` in this namespace.
    pub(super) fn ip_batch(&self, lines: &str) -> Result<(), String> {
        process::must(self.words(&["ip", "-batch", "-"]), lines).map(drop)
    }

    fn words(&self, words: &[&str]) -> Command {
        let mut command = self.command(words[0]);
        command.args(&words[1..]);
        command
    }

    fn open(&self) -> File {
        let path = self.netns_path();
        File::open(&path).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()))
    }

    fn opened<T>(&self, tried: &str, address: SocketAddr, result: io::Result<T>) -> T {
        result.unwrap_or_else(|e| panic!("{}: cannot {tried} {address}: {e}", self.name))
    }
}
