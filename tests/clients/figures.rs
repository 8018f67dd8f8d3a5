//! What the daemon shows for each client, and what it should show.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::harness::{Daemon, PATIENCE, Samples, Setup, exposition};
pub use crate::lab::dhcp::{static_lease, static_leases};
use crate::lab::traffic::{self, Sent, UdpPair};
pub use crate::lab::traffic::{StopOnDrop, let_it_flow};
use crate::lab::{End, Lab, Node, process};

/// The collector's state as the daemon sees it.
pub const UP: &str = "gatemeter_collector_up{collector=\"clients\"}";
const LAST_SUCCESS: &str = "gatemeter_collector_last_success_timestamp_seconds{collector=\"clients\"}";

/// Bytes of one client, with IP headers and without Ethernet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub tx: u64,
    pub rx: u64,
}

impl Tally {
    pub fn of(tx: Sent, rx: Sent) -> Self {
        Self { tx: tx.l3, rx: rx.l3 }
    }

    pub fn tx(sent: Sent) -> Self {
        Self::of(sent, Sent::default())
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.tx += more.tx;
        self.rx += more.rx;
    }
}

/// Tallies by client, each as `NAME ADDRESS`, without those that have moved nothing.
pub type Clients = BTreeMap<String, Tally>;

/// How a host of the lab, named after itself by [`setup`], is called under one of its addresses.
pub fn client(end: End) -> String {
    named(&end.node.name, end.ip)
}

/// A client by the name that is expected of it.
pub fn named(name: &str, ip: impl Into<IpAddr>) -> String {
    format!("{name} {}", ip.into())
}

/// The series of a family that belongs to one client, as the page writes it.
pub fn series(family: &str, name: &str, ip: impl Into<IpAddr>) -> String {
    format!("{family}{{ip=\"{}\",client=\"{name}\"}}", ip.into())
}

/// Bytes of all clients that have moved any.
pub fn clients(metrics: &Samples) -> Clients {
    let mut clients = Clients::new();
    for (key, direction, value) in by_direction(metrics, "client_traffic_bytes") {
        let tally = clients.entry(key).or_default();
        *(if direction == "tx" { &mut tally.tx } else { &mut tally.rx }) = value as u64;
    }
    clients.retain(|_, tally| *tally != Tally::default());
    clients
}

/// Client, direction and value of each series of a family with a direction.
pub fn by_direction(metrics: &Samples, family: &str) -> Vec<(String, String, f64)> {
    let of_family = metrics.iter().filter(|(series, _)| series.split('{').next() == Some(family));
    let row = |(series, value): (&String, &f64)| {
        let label = |name| exposition::label(series, name).unwrap();
        let direction = label("direction");
        assert!(["tx", "rx"].contains(&direction.as_str()), "{series}");
        (format!("{} {}", label("client"), label("ip")), direction, *value)
    };
    of_family.map(row).collect()
}

/// Client and value of each series of a family without a direction.
pub fn by_client(metrics: &Samples, family: &str) -> BTreeMap<String, f64> {
    let of_family = metrics.iter().filter(|(series, _)| series.split('{').next() == Some(family));
    let label = |series, name| exposition::label(series, name).unwrap();
    of_family.map(|(series, value)| (format!("{} {}", label(series, "client"), label(series, "ip")), *value)).collect()
}

/// A daemon that measures clients only, every second, serves HTTP, finds the LAN by itself, knows every host of the lab
/// by its own name, and looks for names nowhere else.
pub fn setup(lab: &Lab) -> Setup<'_> {
    let nowhere = lab.dir().join("no-names").display().to_string();
    let (leases, hosts) = (format!("clients.leases={nowhere}"), format!("clients.hosts={nowhere}"));
    let flags = ["-e", "--collectors", "clients", "-o", "clients.interval=1", "-o", &leases, "-o", &hosts];
    Setup::new(lab).uci("dhcp", &static_leases(lab)).flags(&flags)
}

/// The same without any place for names but `/etc/config/dhcp`'s, which is empty: for tests that name their own.
pub fn bare_setup(lab: &Lab) -> Setup<'_> {
    Setup::new(lab).uci("dhcp", "").flags(&["-e", "--collectors", "clients", "-o", "clients.interval=1"])
}

/// Waits until the daemon shows exactly these bytes, and no bytes of another client.
///
/// All of the traffic must have arrived. Where nothing should be counted, `want` has to hold something that was sent
/// after it, or figures from before would do.
pub fn expect(daemon: &Daemon, want: impl IntoIterator<Item = (String, Tally)>) {
    let wanted = sum(want);
    let mut last = Clients::new();
    let seen = process::poll(PATIENCE, || {
        last = clients(&daemon.metrics());
        (last == wanted).then_some(())
    });
    if seen.is_none() {
        panic!("the figures are\n{last:#?}\nand not\n{wanted:#?}");
    }
}

/// Metrics of a collection that began after this call.
pub fn fresh(daemon: &Daemon) -> Samples {
    daemon.fresh("clients")
}

/// When the figures of a page were collected, in seconds since 1970.
pub fn collected_at(metrics: &Samples) -> f64 {
    metrics[LAST_SUCCESS]
}

/// Datagrams up and down between a client and a peer, and what they must count.
pub fn exchange(from: End, to: End, up: (usize, usize), down: (usize, usize)) -> Tally {
    let mut pair = UdpPair::open(from, to);
    // Up first: NAT lets nothing in that was not asked for.
    let up = pair.up(up.0, up.1);
    Tally::of(up, pair.down(down.0, down.1))
}

/// A little traffic each way over IPv4: the sign that all that was sent before has been counted, or never will be.
pub fn mark(lab: &Lab, node: &Node) -> (String, Tally) {
    (client(node.on_v4()), exchange(node.on_v4(), lab.internet.on_v4(), (2, 10), (3, 20)))
}

/// Keeps every host of the main LAN talking to the internet over both families while `work` is done; returns what all
/// of it must count.
pub fn while_talking<T>(lab: &Lab, work: impl FnOnce() -> T) -> (Clients, T) {
    let (sent, done) = traffic::while_talking(lab, work);
    (sent.into_iter().map(|(end, [up, down])| (client(end), Tally::of(up, down))).collect(), done)
}

/// Adds up tallies of the same clients.
pub fn sum(all: impl IntoIterator<Item = (String, Tally)>) -> Clients {
    let mut clients = Clients::new();
    for (client, tally) in all {
        *clients.entry(client).or_default() += tally;
    }
    clients
}

/// Waits until the daemon's log holds all of these words in one line, and returns that line.
pub fn told(daemon: &Daemon, words: &[&str]) -> String {
    let line = process::poll(PATIENCE, || {
        let log = daemon.stderr();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().find(has_all).map(str::to_owned)
    });
    line.unwrap_or_else(|| panic!("{words:?} are not in one line of\n{}", daemon.stderr()))
}
