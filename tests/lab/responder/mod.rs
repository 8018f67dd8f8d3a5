//! The far end of a path with faults: every address of some prefixes answers, each by a rule of its own, and what was
//! really done is on record.
//!
//! ```text
//! prober ── (routes of the node) ── path0 (tun) ── responder: rule per address, heap of replies, log
//! ```
//! It answers echo requests and SYNs of both families from a thread of its own until it is dropped, which takes the
//! device and its routes away. A test compares with the [`Log`], never with nominal delays: on a busy machine those are
//! missed, and the log tells by how much. Between the kernel's stamp of a request and [`Request::read`], and between
//! [`Reply::written`] and the kernel's stamp of the reply, there is only the kernel: a stamped round trip is never
//! shorter than the logged delay, and longer by what it took to wake the responder.

mod answer;
mod engine;
mod heard;
mod log;
mod rule;

use std::io::{PipeWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use heard::What;
pub use log::{Delays, Fate, Kind, Log, Reply, Request, Seen, Time};
pub use rule::{Error, Flaw, Port, Rule};

use super::node::Node;
use super::{process, sys};
use rule::Table;

/// What is behind the device if a test does not say otherwise.
pub const PREFIX4: &str = "198.18.0.0/16";
/// Likewise for IPv6.
pub const PREFIX6: &str = "fd00:18::/64";
/// Who sends the ICMP errors of IPv4, if a rule does not say otherwise.
pub const ROUTER4: Ipv4Addr = Ipv4Addr::new(198, 19, 254, 1);
/// Who sends the ICMP errors of IPv6, if a rule does not say otherwise.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x19, 0, 0, 0, 0, 0x254, 1);

/// Packets on their way to the responder that the device holds, beyond which it drops.
const QUEUE: u32 = 4096;

/// The far end of a path; dropping it ends its thread and removes its device.
#[derive(Debug)]
pub struct Responder {
    node: Node,
    ifname: String,
    source4: Ipv4Addr,
    source6: Ipv6Addr,
    shared: Arc<Shared>,
    wake: PipeWriter,
    thread: Option<JoinHandle<()>>,
}

/// Which far end to make.
#[derive(Debug)]
pub struct Builder<'a> {
    node: &'a Node,
    prefixes: Vec<String>,
    rule: Rule,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Counts how often a test wanted all to be read that was sent before.
    wanted: AtomicU32,
    /// The last such wish that has come true.
    seen: AtomicU32,
    /// Whether there were replies not yet due when it came true, other than those held for their successors.
    under_way: AtomicBool,
    state: Mutex<State>,
}

/// What the test and the thread both touch.
#[derive(Debug, Default)]
struct State {
    table: Table,
    log: Log,
    /// Addresses whose rule has changed, all of them for `None`; what is held for them goes out.
    changed: Vec<Option<IpAddr>>,
}

impl Responder {
    /// Answers for [`PREFIX4`] and [`PREFIX6`] at once and without faults, as seen from `node`.
    pub fn start(node: &Node) -> Self {
        Self::builder(node).build()
    }

    /// A far end to be described further.
    pub fn builder(node: &Node) -> Builder<'_> {
        Builder { node, prefixes: vec![PREFIX4.to_owned(), PREFIX6.to_owned()], rule: Rule::new() }
    }

    /// Requests to `ip` that are sent after this are answered by `rule`, which counts them from 1. Counters run for echo
    /// requests and for each port by themselves.
    pub fn rule(&self, ip: impl Into<IpAddr>, rule: Rule) {
        let ip = ip.into();
        self.catch_up();
        let mut state = self.shared.state();
        state.table.set(ip, rule);
        state.changed.push(Some(ip));
        drop(state);
        self.wake();
    }

    /// Requests that are sent after this to addresses without a rule of their own are answered by `rule`.
    pub fn default_rule(&self, rule: Rule) {
        self.catch_up();
        let mut state = self.shared.state();
        state.table.set_default(rule);
        state.changed.push(None);
        drop(state);
        self.wake();
    }

    /// What happened so far: every packet that was sent before this, and every reply that was due. Best read when the
    /// traffic is over, as requests wait while it is copied.
    ///
    /// # Panics
    ///
    /// When there was more than the log or the queue can hold, since figures from it would be wrong.
    pub fn log(&self) -> Log {
        self.catch_up();
        let log = self.shared.state().log.clone();
        if let Some(reason) = &log.incomplete {
            panic!("the log of {} is not complete: {reason}", self.ifname);
        }
        log
    }

    /// Waits until no reply is under way (but those held for successors that do not come), then as [`Self::log`].
    pub fn settled(&self) -> Log {
        let settled = || {
            self.catch_up();
            (!self.shared.under_way.load(Ordering::Acquire)).then_some(())
        };
        assert!(process::poll(process::LIMIT, settled).is_some(), "replies of {} stay under way", self.ifname);
        self.log()
    }

    /// Forgets what was logged, as if there had been no request; the rules go on counting. For a time without requests
    /// under way: what is written to older ones is not logged.
    pub fn forget(&self) {
        self.catch_up();
        self.shared.state().log.forget();
    }

    /// The device, in the node's namespace.
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    /// The address of the node that requests come from when the prober leaves the choice to the routes.
    pub fn source(&self, v4: bool) -> IpAddr {
        if v4 { self.source4.into() } else { self.source6.into() }
    }

    /// Packets that never reached the responder, as when it did not keep up; they are not in the log. The kernel's own
    /// reports of multicast groups, from when the device was made, may be among them.
    pub fn overrun(&self) -> u64 {
        self.node.counters(&self.ifname).tx_dropped
    }

    /// Waits until all is read that was sent before.
    fn catch_up(&self) {
        let wanted = self.shared.wanted.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        self.wake();
        let deadline = Instant::now() + process::LIMIT;
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        while (self.shared.seen.load(Ordering::Acquire).wrapping_sub(wanted) as i32) < 0 && !ended() {
            assert!(Instant::now() < deadline, "requests come to {} faster than they are read", self.ifname);
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn wake(&self) {
        // One byte wakes the thread; it reads them all. A thread that has ended needs no waking.
        let _ = (&self.wake).write(&[1]);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("{}: the responder has panicked", self.ifname);
        }
    }
}

impl Builder<'_> {
    /// Answers for one more prefix, such as `10.99.0.0/24`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefixes.push(prefix.to_owned());
        self
    }

    /// Answers for no prefix but those asked for after this.
    pub fn no_prefix(mut self) -> Self {
        self.prefixes.clear();
        self
    }

    /// The rule of every address that has none of its own.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Makes the device and starts answering; packets to the prefixes arrive when this returns.
    pub fn build(self) -> Responder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let ifname = format!("path{number}");
        let [high, low] = (number as u16 + 1).to_be_bytes();
        let source4 = Ipv4Addr::new(198, 19, high % 128, low);
        let source6 = Ipv6Addr::new(0xfd00, 0x19, 0, 0, 0, 0, 0, number as u16 + 1);
        let tun = self.node.enter(|| sys::tun(&ifname));
        let tun =
            tun.unwrap_or_else(|e| panic!("{}: cannot make a tun device: {e}; it needs /dev/net/tun", self.node.name));
        let mut plan = format!(
            "link set {ifname} addrgenmode none\n\
             link set {ifname} txqueuelen {QUEUE} up\n\
             addr add {source4}/32 dev {ifname}\n\
             addr add {source6}/128 dev {ifname} nodad\n"
        );
        for prefix in &self.prefixes {
            let source = if prefix.contains(':') { IpAddr::from(source6) } else { source4.into() };
            plan += &format!("route add {prefix} dev {ifname} src {source}\n");
        }
        self.node.ip_batch(&plan).unwrap_or_else(|e| panic!("{}: {e}", self.node.name));
        // Straight into the device: what was sent is there when send() returns.
        self.node.must(&["tc", "qdisc", "replace", "dev", &ifname, "root", "noqueue"]);
        let shared = Arc::new(Shared::default());
        shared.state().table.set_default(self.rule);
        let (reader, wake) = std::io::pipe().unwrap();
        let engine = engine::Engine::new(tun, reader, Arc::clone(&shared));
        let thread = thread::Builder::new().name(ifname.clone()).spawn(move || engine.run()).unwrap();
        let node = self.node.clone();
        Responder { node, ifname, source4, source6, shared, wake, thread: Some(thread) }
    }
}

impl Shared {
    /// A test that panicked while it held this has changed nothing by halves.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
