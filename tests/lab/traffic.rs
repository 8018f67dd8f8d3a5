//! Traffic with known counts. Every sender here waits until the far end has read all it sent, in bursts smaller than
//! any queue on the way, so what is reported as sent has arrived: packets and bytes are exact.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Lab;
use super::node::{End, Node};
pub use super::process::StopOnDrop;
use super::process::{self, LIMIT};

/// Longest UDP payload that fits one Ethernet frame of the lab over IPv4 and IPv6 alike.
pub const MAX_PAYLOAD: usize = 1500 - 40 - 8;

/// Packets and bytes that crossed the network in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// IP packets.
    pub packets: u64,
    /// UDP payload bytes.
    pub payload: u64,
    /// Bytes with the IP header, as nft and conntrack count.
    pub l3: u64,
    /// Bytes with the Ethernet header too, without the FCS, as interfaces and TC programs count.
    pub l2: u64,
}

impl Sent {
    /// What `count` unfragmented datagrams of `payload` bytes make over the address family of `ip`.
    pub fn datagrams(ip: IpAddr, count: usize, payload: usize) -> Self {
        assert!(payload <= MAX_PAYLOAD, "a payload of {payload} bytes would be fragmented");
        let (count, payload) = (count as u64, payload as u64);
        let l3 = payload + 8 + if ip.is_ipv4() { 20 } else { 40 };
        Self { packets: count, payload: count * payload, l3: count * l3, l2: count * (l3 + 14) }
    }
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, more: Sent) {
        self.packets += more.packets;
        self.payload += more.payload;
        self.l3 += more.l3;
        self.l2 += more.l2;
    }
}

/// Sends exactly `count` datagrams of `payload` bytes from one machine to another and returns when all have arrived.
pub fn send_udp(from: End, to: End, count: usize, payload: usize) -> Sent {
    UdpPair::open(from, to).up(count, payload)
}

/// Sends one datagram there and one back; false when either got lost. Four packets a second while it fails.
pub fn echo_once(from: End, to: End) -> bool {
    let mut pair = UdpPair::open(from, to);
    pair.patience(Duration::from_millis(250));
    pair.try_up(1, 1).is_ok() && pair.try_down(1, 1).is_ok()
}

/// Two UDP sockets that talk to each other across the lab.
#[derive(Debug)]
pub struct UdpPair {
    client: UdpSocket,
    server: UdpSocket,
    server_address: SocketAddr,
    /// The client as the server sees it, behind NAT if there is NAT.
    client_address: SocketAddr,
}

impl UdpPair {
    /// Opens a socket at each end; sends nothing.
    pub fn open(client: End, server: End) -> Self {
        Self::open_to(client, server, 0)
    }

    /// Like [`UdpPair::open`] with a port of one's choice at the server.
    pub fn open_to(client: End, server: End, port: u16) -> Self {
        let near = client.node.udp_socket(client.ip, 0);
        let far = server.node.udp_socket(server.ip, port);
        let (client_address, server_address) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let pair = Self { client: near, server: far, server_address, client_address };
        pair.patience(Duration::from_secs(10));
        pair
    }

    /// Client to server: exactly `count` datagrams of `payload` bytes.
    pub fn up(&mut self, count: usize, payload: usize) -> Sent {
        self.try_up(count, payload)
            .unwrap_or_else(|e| panic!("{} to {}: {e}", self.client_address, self.server_address))
    }

    /// Server to client, likewise. Behind NAT something has to go up first.
    pub fn down(&mut self, count: usize, payload: usize) -> Sent {
        self.try_down(count, payload)
            .unwrap_or_else(|e| panic!("{} to {}: {e}", self.server_address, self.client_address))
    }

    /// The client's address and port as the server sees them.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// The server's address and port.
    pub fn server_address(&self) -> SocketAddr {
        self.server_address
    }

    fn patience(&self, limit: Duration) {
        for socket in [&self.client, &self.server] {
            socket.set_read_timeout(Some(limit)).unwrap();
        }
    }

    fn try_up(&mut self, count: usize, payload: usize) -> Result<Sent, String> {
        let (sent, seen) = deliver(&self.client, self.server_address, &self.server, count, payload)?;
        self.client_address = seen.unwrap_or(self.client_address);
        Ok(sent)
    }

    fn try_down(&mut self, count: usize, payload: usize) -> Result<Sent, String> {
        deliver(&self.server, self.client_address, &self.client, count, payload).map(|(sent, _)| sent)
    }
}

/// Sends in bursts that fit every queue on the way and reads each burst before the next.
fn deliver(
    from: &UdpSocket,
    address: SocketAddr,
    to: &UdpSocket,
    count: usize,
    payload: usize,
) -> Result<(Sent, Option<SocketAddr>), String> {
    let sent = Sent::datagrams(address.ip(), count, payload);
    let datagram = vec![0x5a; payload];
    let mut buffer = [0; MAX_PAYLOAD + 1];
    let (mut left, mut source) = (count, None);
    while left > 0 {
        let burst = left.min(32);
        for _ in 0..burst {
            from.send_to(&datagram, address).map_err(|e| format!("cannot send: {e}"))?;
        }
        for _ in 0..burst {
            let (length, seen) = to.recv_from(&mut buffer).map_err(|e| format!("a datagram did not arrive: {e}"))?;
            if length != payload {
                return Err(format!("a datagram of {payload} bytes arrived with {length}"));
            }
            source = Some(seen);
        }
        left -= burst;
    }
    Ok((sent, source))
}

/// A TCP connection of which both ends are at hand.
#[derive(Debug)]
pub struct TcpPair {
    client: TcpStream,
    server: TcpStream,
}

impl TcpPair {
    /// Connects `client` to a free port of `server`.
    pub fn open(client: End, server: End) -> Self {
        let listener = server.node.tcp_listener(server.ip, 0);
        let address = listener.local_addr().unwrap();
        let near = client.node.tcp_connect(address);
        let near = near.unwrap_or_else(|e| panic!("{}: cannot connect to {address}: {e}", client.node.name));
        let (far, _) = listener.accept().unwrap();
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        Self { client: near, server: far }
    }

    /// Client to server: `bytes` of payload, read to the last before it returns.
    pub fn up(&mut self, bytes: usize) {
        transfer(&mut self.client, &mut self.server, bytes);
    }

    /// Server to client, likewise.
    pub fn down(&mut self, bytes: usize) {
        transfer(&mut self.server, &mut self.client, bytes);
    }
}

fn transfer(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    // One chunk fits the smallest send buffer, so one thread can write it and then read it.
    let mut chunk = vec![0xa5; bytes.min(16_384)];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len());
        from.write_all(&chunk[..now]).unwrap();
        to.read_exact(&mut chunk[..now]).unwrap();
        left -= now;
    }
}

/// Payload bytes as the two ends of an iperf3 run report them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iperf {
    /// Bytes the sender wrote.
    pub sent: u64,
    /// Bytes the receiver read.
    pub received: u64,
}

/// Bulk TCP by the real iperf3: `bytes` from `client` to `server`, or back when `reverse`. Logs go to `dir`.
pub fn iperf3(client: End, server: End, bytes: u64, reverse: bool, dir: &Path) -> Iperf {
    // Tables of sockets show this port in hexadecimal, 1451, and 0A for those that listen.
    let port = "5201";
    let ip = server.ip.to_string();
    let log = dir.join("iperf3-server.log");
    let daemon = server.node.start(&["iperf3", "-s", "-1", "-B", &ip, "-p", port], &log);
    let listening = || {
        let tables = ["tcp", "tcp6"].map(|table| server.node.read(&format!("/proc/thread-self/net/{table}")));
        let listens = |row: &str| row.contains(":1451 ") && row.contains(" 0A ");
        tables.iter().any(|table| table.lines().any(listens)).then_some(())
    };
    assert!(process::poll(LIMIT, listening).is_some(), "iperf3 does not listen, see {}", log.display());
    let (bytes, from) = (bytes.to_string(), client.ip.to_string());
    let mut words = vec!["iperf3", "-c", &ip, "-B", &from, "-p", port, "-n", &bytes, "-J"];
    if reverse {
        words.push("-R");
    }
    let report = client.node.must(&words);
    // The client has its report, so all was said; on a busy machine the server may wait for ever nevertheless.
    drop(daemon);
    Iperf { sent: iperf_bytes(&report, "sum_sent"), received: iperf_bytes(&report, "sum_received") }
}

/// The `bytes` member of one object of iperf3's report.
fn iperf_bytes(report: &str, object: &str) -> u64 {
    let member = || {
        let (_, object) = report.split_once(&format!("\"{object}\":"))?;
        let (_, value) = object.split_once("\"bytes\":")?;
        value.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    member().unwrap_or_else(|| panic!("no {object}.bytes in iperf3's report:\n{report}"))
}

/// Keeps every host of the main LAN talking to the internet over both families while `work` is done; returns what each
/// has sent up and got down.
pub fn while_talking<T>(lab: &Lab, work: impl FnOnce() -> T) -> (Vec<(End<'_>, [Sent; 2])>, T) {
    let both = |node| [(Node::on_v4(node), lab.internet.on_v4()), (Node::on_v6(node), lab.internet.on_v6())];
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let talk = |(from, to)| scope.spawn(move || (from, talk(from, to, stop)));
        let talkers: Vec<_> = lab.lan.iter().flat_map(both).map(talk).collect();
        let stopping = StopOnDrop(stop);
        let done = work();
        drop(stopping);
        (talkers.into_iter().map(|talker| talker.join().unwrap()).collect(), done)
    })
}

/// Exchanges a few datagrams each way again and again until told to stop; returns what went up and what came down.
fn talk(from: End, to: End, stop: &AtomicBool) -> [Sent; 2] {
    let mut pair = UdpPair::open(from, to);
    let mut sent = [Sent::default(); 2];
    while !stop.load(Ordering::Relaxed) {
        sent[0] += pair.up(3, 200);
        sent[1] += pair.down(2, 1000);
        thread::sleep(Duration::from_millis(2));
    }
    sent
}

/// Waits until every host of the main LAN has sent and received a good deal more, whatever the daemon does.
pub fn let_it_flow(lab: &Lab) {
    let moved = |node: &Node| {
        let counters = node.counters("eth0");
        counters.tx_packets.min(counters.rx_packets)
    };
    let before: Vec<u64> = lab.lan.iter().map(moved).collect();
    let flowed = || lab.lan.iter().zip(&before).all(|(node, before)| moved(node) > before + 40).then_some(());
    assert!(process::poll(LIMIT, flowed).is_some(), "the hosts have stopped talking");
}
