//! A powerline segment: adapters of several makers and chips behind one interface, as one thread that takes the questions of
//! real programs and answers them in the adapters' own messages, byte for byte as they do.
//!
//! What we have no hardware for is simulated here, and only this: the frames cross a real link, and plc-utils and
//! prometheus-homeplug-exporter take the answers for those of adapters.

mod answers;
mod broadcom;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Node;
use super::sys::PacketSocket;
use super::{Lab, process};

/// An Ethernet address.
pub type Address = [u8; 6];

/// EtherType of HomePlug AV.
pub const HOMEPLUG: u16 = 0x88e1;
/// EtherType of Broadcom's messages.
pub const MEDIAXTREAM: u16 = 0x8912;
/// The address that Qualcomm adapters on the Ethernet side take.
pub const LOCAL: Address = [0x00, 0xb0, 0x52, 0, 0, 1];
const BROADCAST: Address = [0xff; 6];

/// The identifier of the first network of [`Model::home`].
pub const NID: [u8; 7] = [0x52, 0xde, 0xad, 0xbe, 0xef, 0x00, 0x01];

/// What an adapter is built of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chip {
    /// Up to 200 Mbit/s: 8-bit rates only.
    Int6400,
    /// Up to 500 Mbit/s.
    Qca7420,
    /// Up to 1200 Mbit/s.
    Qca7500,
    /// Broadcom: silent to Qualcomm's messages.
    Bcm60333,
    /// Another maker's, which answers the messages of the specification only.
    Other,
    /// A QCA7005 whose firmware does not run.
    BootLoader,
}

/// Changes an answer on its way out; it is told the request.
pub type Tamper = Arc<dyn Fn(&[u8], &mut Vec<u8>) + Send + Sync>;

/// One adapter.
#[derive(Clone)]
pub struct Adapter {
    pub mac: Address,
    pub tei: u8,
    pub chip: Chip,
    /// On the Ethernet side of this segment.
    pub local: bool,
    /// The first device behind it.
    pub bridged: Option<Address>,
    /// Does not answer at all.
    pub silent: bool,
    /// Does not answer these message types.
    pub deaf_to: Vec<u16>,
    /// Says so with CM_MME_ERROR when it does not know a message.
    pub complains: bool,
    /// Takes so long for an answer.
    pub delay: Duration,
    /// Answers so many times.
    pub times: usize,
    pub tamper: Option<Tamper>,
    /// Role in what it says of itself, instead of the true one.
    pub role: Option<u8>,
    /// Stations it lists besides its peers.
    pub phantoms: Vec<Address>,
}

/// A logical network. The first member coordinates it.
#[derive(Debug, Clone)]
pub struct Network {
    pub nid: [u8; 7],
    pub snid: u8,
    pub members: Vec<Address>,
}

/// A question as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub source: Address,
    pub destination: Address,
    pub ethertype: u16,
    pub version: u8,
    pub kind: u16,
    pub length: usize,
}

/// All there is on the segment, and what was seen.
#[derive(Clone, Default)]
pub struct Model {
    pub adapters: Vec<Adapter>,
    pub networks: Vec<Network>,
    /// Mbit/s from one adapter to another.
    pub rates: BTreeMap<(Address, Address), u16>,
    /// Every request, in order.
    pub requests: Vec<Request>,
    /// Requests that write, reset or clear something in an adapter: nobody who only measures sends them.
    pub harmful: Vec<Request>,
    /// Counters of links, by adapter and peer; they only grow.
    links: BTreeMap<(Address, Address), u64>,
}

/// The `n`th adapter's address, as its label says.
pub fn adapter_mac(n: u8) -> Address {
    [0x02, 0x00, 0x5e, 0xaa, 0x00, n]
}

/// An address as labels have it.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

impl Adapter {
    /// The `n`th adapter, in working order, behind the power line.
    pub fn new(n: u8, chip: Chip) -> Self {
        Adapter {
            mac: adapter_mac(n),
            tei: n,
            chip,
            local: false,
            bridged: None,
            silent: false,
            deaf_to: Vec::new(),
            complains: false,
            delay: Duration::ZERO,
            times: 1,
            tamper: None,
            role: None,
            phantoms: Vec::new(),
        }
    }

    /// The same on this side.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }
}

impl Model {
    /// One network of these adapters, numbered from 1; rates are set with [`Model::rate`].
    pub fn network(chips: &[Chip]) -> Self {
        let mut model = Model::default();
        for (n, chip) in (1..).zip(chips) {
            model.adapters.push(Adapter { local: n == 1, ..Adapter::new(n, *chip) });
        }
        let members = model.adapters.iter().map(|adapter| adapter.mac).collect();
        model.networks.push(Network { nid: NID, snid: 6, members });
        model
    }

    /// Three adapters: the near one coordinates, a device is known behind the second, and the third is fast.
    pub fn home() -> Self {
        let mut model = Model::network(&[Chip::Qca7420, Chip::Qca7420, Chip::Qca7500]);
        model.adapters[1].bridged = Some([0x02, 0x00, 0x5e, 0xbb, 0x00, 0x02]);
        for (from, to, rate) in [(1, 2, 142), (2, 1, 97), (1, 3, 301), (3, 1, 255), (2, 3, 77), (3, 2, 81)] {
            model.rate(from, to, rate);
        }
        model
    }

    /// Sets the rate from one adapter to another, in Mbit/s.
    pub fn rate(&mut self, from: u8, to: u8, rate: u16) {
        self.rates.insert((adapter_mac(from), adapter_mac(to)), rate);
    }

    /// The `n`th adapter.
    pub fn adapter(&mut self, n: u8) -> &mut Adapter {
        self.adapters.iter_mut().find(|adapter| adapter.mac == adapter_mac(n)).unwrap()
    }

    fn rate_between(&self, from: Address, to: Address) -> u16 {
        self.rates.get(&(from, to)).copied().unwrap_or(0)
    }

    fn by_mac(&self, mac: Address) -> Option<&Adapter> {
        self.adapters.iter().find(|adapter| adapter.mac == mac)
    }

    /// Peers of an adapter in a network, itself left out.
    fn peers<'a>(&'a self, adapter: &'a Adapter, network: &'a Network) -> impl Iterator<Item = &'a Adapter> {
        let others = network.members.iter().filter(|mac| **mac != adapter.mac);
        others.filter_map(|mac| self.by_mac(*mac)).filter(|peer| peer.chip != Chip::BootLoader)
    }

    fn networks_of(&self, adapter: &Adapter) -> impl Iterator<Item = &Network> {
        self.networks.iter().filter(|network| network.members.contains(&adapter.mac))
    }

    /// Answers to one request that are to be sent, each with its delay.
    fn take(&mut self, frame: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        let Some(request) = Request::read(frame) else { return Vec::new() };
        if self.by_mac(request.source).is_some() || request.kind & 3 != 0 {
            return Vec::new();
        }
        self.requests.push(request.clone());
        if request.is_harmful(frame) {
            self.harmful.push(request.clone());
        }
        let mut out = Vec::new();
        for adapter in self.adapters.clone() {
            let is_qualcomm = !matches!(adapter.chip, Chip::Bcm60333 | Chip::Other);
            let is_for = request.destination == adapter.mac
                || request.destination == BROADCAST
                || (request.destination == LOCAL && adapter.local && is_qualcomm);
            if !is_for || adapter.silent || adapter.deaf_to.contains(&request.kind) {
                continue;
            }
            let answer = match request.ethertype {
                HOMEPLUG => self.answer(&adapter, &request, frame),
                _ => self.answer_mediaxtream(&adapter, &request, frame),
            };
            let Some(mut answer) = answer.or_else(|| adapter.complains.then(|| answers::complaint(&adapter, &request)))
            else {
                continue;
            };
            if answer.len() < 60 {
                answer.resize(60, 0);
            }
            if let Some(tamper) = &adapter.tamper {
                tamper(frame, &mut answer);
            }
            out.extend(std::iter::repeat_n((adapter.delay, answer), adapter.times));
        }
        out
    }
}

impl Request {
    fn read(frame: &[u8]) -> Option<Self> {
        let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
        matches!(ethertype, HOMEPLUG | MEDIAXTREAM).then_some(())?;
        Some(Request {
            destination: frame[..6].try_into().unwrap(),
            source: frame[6..12].try_into().unwrap(),
            ethertype,
            version: *frame.get(14)?,
            kind: u16::from_le_bytes([*frame.get(15)?, *frame.get(16)?]),
            length: frame.len(),
        })
    }

    fn is_harmful(&self, frame: &[u8]) -> bool {
        match (self.ethertype, self.kind) {
            (HOMEPLUG, 0xa004 | 0xa00c | 0xa01c | 0xa020 | 0xa028 | 0xa050 | 0xa07c | 0xa100) => true,
            // Clears the counters.
            (HOMEPLUG, 0xa030) => frame.get(20) != Some(&0),
            (HOMEPLUG, 0xa0b0) => frame.get(24) != Some(&0),
            (MEDIAXTREAM, 0xa018 | 0xa020 | 0xa054 | 0xa058) => true,
            _ => false,
        }
    }
}

/// Adapters at work; they go away with it.
pub struct Segment {
    model: Arc<Mutex<Model>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Segment {
    /// Plugs the adapters into an interface of a machine.
    pub fn start(node: &Node, ifname: &str, model: Model) -> Self {
        let socket = node.packet_socket(ifname);
        let (model, stop) = (Arc::new(Mutex::new(model)), Arc::new(AtomicBool::new(false)));
        let (shared, ends) = (Arc::clone(&model), Arc::clone(&stop));
        let thread = thread::spawn(move || work(&socket, &shared, &ends));
        Segment { model, stop, thread: Some(thread) }
    }

    /// The adapters, to be looked at or changed.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// What was asked so far, and forgotten with this.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.model().requests)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(socket: &PacketSocket, model: &Mutex<Model>, stop: &AtomicBool) {
    let mut late: Vec<(Instant, Vec<u8>)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let (due, rest) = late.into_iter().partition(|(at, _)| *at <= now);
        late = rest;
        let due: Vec<(Instant, Vec<u8>)> = due;
        for (_, frame) in &due {
            // An interface that is down at the moment loses frames as a pulled cable does.
            let _ = socket.send(frame);
        }
        let patience = late.iter().map(|(at, _)| at.saturating_duration_since(now)).min();
        let patience = patience.unwrap_or(Duration::MAX).min(Duration::from_millis(20)).max(Duration::from_millis(1));
        match socket.receive(patience) {
            Ok(Some(frame)) => {
                let answers = model.lock().unwrap().take(&frame);
                late.extend(answers.into_iter().map(|(delay, frame)| (now + delay, frame)));
            }
            Ok(None) => {}
            // Down, or gone.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Lab {
    /// A cable between the router and a host for nothing but powerline, `ifname` at both ends.
    pub fn powerline_cable(&self, host: &Node, ifname: &str) {
        let router = &self.router;
        let plan = format!("link add {ifname} type veth peer name {ifname} netns {}\n", host.netns);
        router.ip_batch(&plan).unwrap();
        for node in [router, host] {
            // No router solicitation or group report on it.
            node.sysctl(&format!("ipv6/conf/{ifname}/disable_ipv6"), "1");
            node.must(&["ip", "link", "set", ifname, "up"]);
        }
        let carrier = || router.must(&["ip", "link", "show", "dev", ifname]).contains("LOWER_UP").then_some(());
        assert!(process::poll(process::LIMIT, carrier).is_some(), "{ifname} has no carrier");
    }

    /// Adapters on a cable of their own: `plc0` of the router, through the first host's namespace.
    pub fn powerline(&self, model: Model) -> Segment {
        self.powerline_cable(self.host(1), "plc0");
        Segment::start(self.host(1), "plc0", model)
    }
}
