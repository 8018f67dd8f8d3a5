//! What the daemon shows for each host, and what it should show.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::harness::{Daemon, PATIENCE, Samples, Setup, exposition};
pub use crate::lab::dhcp::{static_lease, static_leases};
use crate::lab::sys::PacketSocket;
use crate::lab::traffic::{self, Sent, UdpPair};
pub use crate::lab::traffic::{StopOnDrop, let_it_flow};
use crate::lab::{End, Lab, Node, process};

/// The collector's state as the daemon sees it.
pub const UP: &str = "gatemeter_collector_up{collector=\"traffic\"}";
/// Packets that found no room in the table.
pub const TABLE_FULL: &str = "gatemeter_traffic_uncounted_packets_total{reason=\"table_full\"}";
/// Their bytes.
pub const TABLE_FULL_BYTES: &str = "gatemeter_traffic_uncounted_bytes_total{reason=\"table_full\"}";
/// Packets that end inside their IP header.
pub const TRUNCATED: &str = "gatemeter_traffic_uncounted_packets_total{reason=\"truncated\"}";
/// Their bytes.
pub const TRUNCATED_BYTES: &str = "gatemeter_traffic_uncounted_bytes_total{reason=\"truncated\"}";

/// What one address of one host exchanged with the internet, seen from the host.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub down_bytes: u64,
    pub down_packets: u64,
    pub up_bytes: u64,
    pub up_packets: u64,
}

impl Tally {
    /// Traffic with Ethernet headers, as the collector counts by default.
    pub fn of(up: Sent, down: Sent) -> Self {
        Self { down_bytes: down.l2, down_packets: down.packets, up_bytes: up.l2, up_packets: up.packets }
    }

    pub fn up(sent: Sent) -> Self {
        Self::of(sent, Sent::default())
    }

    /// Whole frames sent by the host.
    pub fn frames<'a>(sent: impl IntoIterator<Item = &'a Vec<u8>>) -> Self {
        let mut tally = Self::default();
        for frame in sent {
            tally.up_bytes += frame.len() as u64;
            tally.up_packets += 1;
        }
        tally
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.down_bytes += more.down_bytes;
        self.down_packets += more.down_packets;
        self.up_bytes += more.up_bytes;
        self.up_packets += more.up_packets;
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { down_bytes, down_packets, up_bytes, up_packets } = self;
        write!(f, "down {down_bytes} B {down_packets} pkt, up {up_bytes} B {up_packets} pkt")
    }
}

/// Tallies by host, each as `NAME ADDRESS MAC`.
pub type Hosts = BTreeMap<String, Tally>;

/// How a host of the lab, named after itself by [`setup`], is called under one of its addresses.
pub fn host(end: End) -> String {
    let suffix = if end.ip.is_ipv6() { "-v6" } else { "" };
    named(&format!("{}{suffix}", end.node.name), end)
}

/// A host by the name that is expected of it.
pub fn named(name: &str, end: End) -> String {
    format!("{name} {} {}", end.ip, end.node.mac_text())
}

/// All host series of the metrics.
pub fn hosts(metrics: &Samples) -> Hosts {
    let mut hosts = Hosts::new();
    for (series, value) in metrics {
        let Some((family, _)) = series.split_once('{') else { continue };
        let pick: fn(&mut Tally) -> &mut u64 = match family {
            "node_nat_traffic_download" => |tally| &mut tally.down_bytes,
            "node_nat_traffic_download_pkts" => |tally| &mut tally.down_packets,
            "node_nat_traffic_upload" => |tally| &mut tally.up_bytes,
            "node_nat_traffic_upload_pkts" => |tally| &mut tally.up_packets,
            _ => continue,
        };
        let label = |name| exposition::label(series, name).unwrap();
        let key = format!("{} {} {}", label("hostname"), label("ip"), label("mac"));
        *pick(hosts.entry(key).or_default()) = *value as u64;
    }
    hosts
}

/// A daemon that measures traffic only, every second, serves HTTP, finds the LAN by itself, and knows every host of
/// the lab by its own name.
pub fn setup(lab: &Lab) -> Setup<'_> {
    let leases = format!("traffic.leases={}", lab.dir().join("no-leases").display());
    let pins = format!("traffic.pin_dir={}", lab.bpffs().join("gatemeter").display());
    let flags = ["-e", "-t", "1", "--collectors", "traffic", "-o", &leases, "-o", &pins];
    Setup::new(lab).uci("dhcp", &static_leases(lab)).flags(&flags)
}

/// Waits until the daemon shows exactly these hosts with exactly these figures, and no other host.
///
/// All of the traffic must have arrived. Where nothing should be counted, `want` has to hold something that was sent
/// after it, or figures from before would do.
pub fn expect(daemon: &Daemon, want: impl IntoIterator<Item = (String, Tally)>) {
    let wanted = sum(want);
    let mut last = Hosts::new();
    let seen = process::poll(PATIENCE, || {
        last = hosts(&daemon.metrics());
        (last == wanted).then_some(())
    });
    if seen.is_none() {
        panic!("the figures are\n{last:#?}\nand not\n{wanted:#?}");
    }
}

/// Metrics of a collection that began after this call.
pub fn fresh(daemon: &Daemon) -> Samples {
    daemon.fresh("traffic")
}

/// Datagrams up and down between a host and a peer, and what they must count.
pub fn exchange(from: End, to: End, up: (usize, usize), down: (usize, usize)) -> Tally {
    let mut pair = UdpPair::open(from, to);
    // Up first: NAT lets nothing in that was not asked for.
    let up = pair.up(up.0, up.1);
    Tally::of(up, pair.down(down.0, down.1))
}

/// One datagram to the internet over IPv4: the sign that all that was sent before has been counted, or never will be.
pub fn mark(lab: &Lab, node: &Node) -> (String, Tally) {
    let sent = traffic::send_udp(node.on_v4(), lab.internet.on_v4(), 1, 1);
    (host(node.on_v4()), Tally::up(sent))
}

/// Keeps every host of the main LAN talking to the internet over both families while `work` is done; returns what all
/// of it must count.
pub fn while_talking<T>(lab: &Lab, work: impl FnOnce() -> T) -> (Hosts, T) {
    let (sent, done) = traffic::while_talking(lab, work);
    (sent.into_iter().map(|(end, [up, down])| (host(end), Tally::of(up, down))).collect(), done)
}

/// Adds up tallies of the same hosts.
pub fn sum(all: impl IntoIterator<Item = (String, Tally)>) -> Hosts {
    let mut hosts = Hosts::new();
    for (host, tally) in all {
        *hosts.entry(host).or_default() += tally;
    }
    hosts
}

/// Waits until `lab`'s router has received this many packets on `ifname` since `before`.
fn wait_received(router: &Node, ifname: &str, before: u64, count: u64) {
    let mut got = 0;
    let arrived = process::poll(PATIENCE, || {
        got = router.counters(ifname).rx_packets - before;
        (got >= count).then_some(())
    });
    assert!(arrived.is_some(), "{got} of {count} frames arrived on {ifname}");
}

/// Sends frames from a host into the LAN's bridge and returns when all have passed the router's hook.
pub fn inject(lab: &Lab, socket: &PacketSocket, frames: &[Vec<u8>]) {
    for burst in frames.chunks(64) {
        let before = lab.router.counters("br-lan").rx_packets;
        for frame in burst {
            socket.send(frame).unwrap();
        }
        wait_received(&lab.router, "br-lan", before, burst.len() as u64);
    }
}

/// An address of the internet where nobody answers.
pub fn nobody(ipv6: bool) -> IpAddr {
    if ipv6 { "2001:db8:beef::77".parse().unwrap() } else { IpAddr::from([198, 51, 100, 77]) }
}

/// Makes the internet swallow what is for an IPv6 address it does not have. It would answer with errors, which are
/// downloads; over IPv4 it keeps silent by itself.
pub fn silence(lab: &Lab) {
    lab.internet.must(&["ip", "-6", "route", "add", "blackhole", "default"]);
}
