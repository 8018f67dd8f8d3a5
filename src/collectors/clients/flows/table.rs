//! Which flow counts for whom: entries and ends of flows enter, counts for each client leave.
//!
//! A flow counts once for each of its ends that is a client: the source of its first packet, and the source of the
//! answers, which behind a port forward is the host that really answers. An end counts from when it has sent something:
//! nobody becomes a client by being scanned.
//!
//! A flow waits until the other end answers, then it is active until it closes. A TCP connection waits until its
//! handshake is over. It is active while either side may send, FIN_WAIT and CLOSE_WAIT included, where only one has
//! closed; it closes with LAST_ACK, when both have, or with a reset. Closing flows count for nobody and take no room.

use std::collections::HashMap;
use std::net::IpAddr;

use super::key::{Flows, MAX_FLOWS, shrink};
use crate::netlink::conntrack::{Entry, TcpState};

/// Whether an address is a client's.
pub type IsClient<'a> = &'a dyn Fn(IpAddr) -> bool;

/// Connections of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Flows in which both ends have sent and may go on.
    pub active: u32,
    /// Flows it began and nobody has answered yet.
    pub unreplied: u32,
}

/// How an entry came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// By an event.
    Event,
    /// By a dump of flows that will tell their end by an event.
    Dump,
    /// By a dump of flows that may have begun before the subscription; the kernel does not tell of their end.
    Silent,
}

/// All flows of clients.
#[derive(Debug)]
pub struct Table {
    flows: Flows<Flow>,
    ends: Ends,
    /// The number of the last dump that was begun.
    generation: u8,
    /// What is known of who is a client no longer holds.
    doubtful: bool,
    silent: usize,
    offloaded: usize,
    untracked: usize,
}

/// What is known of a flow. Together with its key it takes 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    /// Places of its ends in [`Ends`], or [`NONE`].
    ends: [u16; 2],
    /// The last dump it was part of, or that had begun when it became known.
    generation: u8,
    /// A set of the constants below.
    marks: u8,
}

const ACTIVE: u8 = 1;
const SILENT: u8 = 2;
const OFFLOADED: u8 = 4;

/// No end.
const NONE: u16 = u16::MAX;

/// Where a flow is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Active,
    Closing,
}

impl Table {
    /// An empty table with room for so many clients.
    pub fn new(max_clients: u16) -> Self {
        Table {
            flows: Flows::default(),
            ends: Ends { max: usize::from(max_clients.min(NONE - 1)), ..Ends::default() },
            generation: 0,
            doubtful: false,
            silent: 0,
            offloaded: 0,
            untracked: 0,
        }
    }

    /// Takes in what a dump or an event tells of a flow.
    pub fn know(&mut self, key: u64, entry: &Entry, source: Source, is_client: IsClient<'_>) {
        let old = self.flows.get(&key).copied();
        let Some(stage) = stage(entry, old) else { return };
        if stage == Stage::Closing {
            return self.forget(key);
        }
        let active = stage == Stage::Active;
        let Some(ends) = self.find_ends(entry, active, is_client) else {
            self.untracked += 1;
            return self.forget(key);
        };
        if ends == [NONE; 2] || (old.is_none() && self.flows.len() >= MAX_FLOWS) {
            self.untracked += usize::from(ends != [NONE; 2]);
            self.ends.tidy(ends);
            return self.forget(key);
        }
        // A flow stays silent for good: later dumps do not know better.
        let silent = source == Source::Silent || old.is_some_and(|old| old.marks & SILENT != 0);
        let mark = |is: bool, mark: u8| if is { mark } else { 0 };
        let marks = mark(active, ACTIVE) | mark(silent, SILENT) | mark(entry.offloaded, OFFLOADED);
        let new = Flow { ends, generation: self.generation, marks };
        self.add(new);
        if let Some(old) = self.flows.insert(key, new) {
            self.subtract(old);
        }
    }

    /// Forgets a flow that is gone.
    pub fn forget(&mut self, key: u64) {
        if let Some(flow) = self.flows.remove(&key) {
            self.subtract(flow);
        }
    }

    /// Who is a client has changed: until the next dump is in, everybody is asked for anew.
    pub fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// A dump begins.
    pub fn begin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.untracked = 0;
    }

    /// The dump is in: what was in neither it nor an event since it began is gone.
    pub fn end(&mut self) {
        let generation = self.generation;
        let mut flows = std::mem::take(&mut self.flows);
        flows.retain(|_, flow| {
            let stays = flow.generation == generation;
            if !stays {
                self.subtract(*flow);
            }
            stays
        });
        self.flows = flows;
        self.doubtful = false;
    }

    /// Gives memory back that a flood took.
    pub fn shrink(&mut self) {
        shrink(&mut self.flows);
        self.ends.shrink();
    }

    /// Connections of one client.
    pub fn counts(&self, addr: IpAddr) -> Counts {
        self.ends
            .by_addr
            .get(&addr)
            .and_then(|at| self.ends.all.get(usize::from(*at)))
            .map(End::counts)
            .unwrap_or_default()
    }

    /// All clients that have flows.
    pub fn clients(&self) -> impl Iterator<Item = (IpAddr, Counts)> {
        self.ends.all.iter().filter(|end| end.flows > 0).map(|end| (end.addr, end.counts()))
    }

    /// How many flows are known, closing ones and those of no client left out.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// How many of them will not tell of their end.
    pub fn silent(&self) -> usize {
        self.silent
    }

    /// How many of them pass by in a flowtable, as far as the last message about each tells.
    pub fn offloaded(&self) -> usize {
        self.offloaded
    }

    /// How many flows found no room since the last dump began.
    pub fn untracked(&self) -> usize {
        self.untracked
    }

    /// The places of the ends that count; none if there is no place left.
    fn find_ends(&mut self, entry: &Entry, active: bool, is_client: IsClient<'_>) -> Option<[u16; 2]> {
        let (first, other) = (entry.original.source, entry.reply.source);
        let first_end = self.find_end(first, is_client)?;
        // Also where a client reaches itself by way of the router, it is one client.
        if !active || other == first {
            return Some([first_end, NONE]);
        }
        let Some(other_end) = self.find_end(other, is_client) else {
            self.ends.tidy([first_end, NONE]);
            return None;
        };
        Some([first_end, other_end])
    }

    fn find_end(&mut self, addr: IpAddr, is_client: IsClient<'_>) -> Option<u16> {
        let known = self.ends.by_addr.get(&addr).copied();
        match known {
            Some(at) if !self.doubtful || is_client(addr) => Some(at),
            Some(_) => Some(NONE),
            None if is_client(addr) => self.ends.place(addr),
            None => Some(NONE),
        }
    }

    fn add(&mut self, flow: Flow) {
        self.silent += usize::from(flow.marks & SILENT != 0);
        self.offloaded += usize::from(flow.marks & OFFLOADED != 0);
        for end in flow.ends {
            self.ends.add(end, flow.marks & ACTIVE != 0);
        }
    }

    fn subtract(&mut self, flow: Flow) {
        self.silent -= usize::from(flow.marks & SILENT != 0);
        self.offloaded -= usize::from(flow.marks & OFFLOADED != 0);
        for end in flow.ends {
            self.ends.subtract(end, flow.marks & ACTIVE != 0);
        }
    }
}

/// Where a flow is that was at `old`; none if that cannot be known.
fn stage(entry: &Entry, old: Option<Flow>) -> Option<Stage> {
    if entry.dying {
        return Some(Stage::Closing);
    }
    let by_answer = if entry.replied { Stage::Active } else { Stage::Waiting };
    const TCP: u8 = libc::IPPROTO_TCP as u8;
    Some(match entry.tcp {
        None if entry.original.protocol != TCP => by_answer,
        // The state has not changed, so it is that of what is known. What closes is not known.
        None => old.map(|_| by_answer)?,
        Some(TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2) => Stage::Waiting,
        // A connection that is older than the kernel's memory of it begins with this state.
        Some(TcpState::Established | TcpState::FinWait | TcpState::CloseWait) => by_answer,
        Some(TcpState::LastAck | TcpState::TimeWait | TcpState::Close) => Stage::Closing,
    })
}

/// The clients that have flows, in places that are used again.
#[derive(Debug, Default)]
struct Ends {
    all: Vec<End>,
    free: Vec<u16>,
    by_addr: HashMap<IpAddr, u16>,
    max: usize,
}

#[derive(Debug)]
struct End {
    addr: IpAddr,
    active: u32,
    flows: u32,
}

impl End {
    fn counts(&self) -> Counts {
        Counts { active: self.active, unreplied: self.flows - self.active }
    }
}

impl Ends {
    /// A place for a client that has none.
    fn place(&mut self, addr: IpAddr) -> Option<u16> {
        let end = End { addr, active: 0, flows: 0 };
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.all.len() < self.max => u16::try_from(self.all.len()).ok()?,
            None => return None,
        };
        match self.all.get_mut(usize::from(at)) {
            Some(free) => *free = end,
            None => self.all.push(end),
        }
        self.by_addr.insert(addr, at);
        Some(at)
    }

    fn add(&mut self, at: u16, active: bool) {
        if let Some(end) = self.all.get_mut(usize::from(at)) {
            end.flows += 1;
            end.active += u32::from(active);
        }
    }

    fn subtract(&mut self, at: u16, active: bool) {
        if let Some(end) = self.all.get_mut(usize::from(at)) {
            end.flows -= 1;
            end.active -= u32::from(active);
        }
        self.tidy([at, NONE]);
    }

    /// Frees the places of clients without flows.
    fn tidy(&mut self, places: [u16; 2]) {
        for at in places {
            let Some(end) = self.all.get(usize::from(at)).filter(|end| end.flows == 0) else { continue };
            if self.by_addr.get(&end.addr) == Some(&at) {
                self.by_addr.remove(&end.addr);
                self.free.push(at);
            }
        }
    }

    fn shrink(&mut self) {
        if self.by_addr.capacity() > 1024 && self.by_addr.len() < self.by_addr.capacity() / 4 {
            self.by_addr.shrink_to(self.by_addr.len() * 2);
        }
        if self.by_addr.is_empty() && self.all.len() > 1024 {
            (self.all, self.free) = (Vec::new(), Vec::new());
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
