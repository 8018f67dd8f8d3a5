//! The engine: sends the probes that are due, takes in what comes back, and sleeps in between.
//!
//! Where many probes are sent, sockets are read just before the next ones go out: the kernel has stamped what arrived, so
//! nothing is lost by reading it later, and one wake-up does it all. Where they are few and far between, or where stamps are
//! missing, an answer is read when it comes.

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::task::Context;
use std::time::{Duration, Instant};

use super::channel::{BATCH, Channel};
use super::codec::icmp::{self, Echo};
use super::codec::stamps::{Control, Stamps};
use super::codec::tcp::{self, Ends};
use super::desk::{Desk, State};
use super::intake::{Intake, News, OnNews};
use super::ledger::Ledger;
use super::numbers::Whose;
use super::paths::Paths;
use super::ports::Ports;
use super::random::Random;
use super::settings::{Identifier, Settings, Via};
use super::table::{Entry, Key, Table};
use super::target::{Cause, Passed, Probe};
use crate::error::{Error, Result};
use crate::netlink::route::Path;
use crate::sys::alarm::{self, Alarm};
use crate::sys::batch::{Packet, ReceiveBatch};
use crate::sys::clock;
use crate::sys::raw::Kind;

/// More packets than are taken in at a time have come: the rest is left to wait for so long, so that a flood leaves time for
/// others.
const BREATH: Duration = Duration::from_millis(5);
/// If the next probe goes out within this time, what comes back is read then and not before.
const SOON: Duration = Duration::from_millis(50);
/// A path that is this old is looked up anew: routes to targets may change without a change of addresses or links.
const PATH_HOLDS: Duration = Duration::from_secs(60);
/// Room for a received packet but for the payload of an echo: headers with options, and those that an error quotes with
/// as much of the packet as routers send along (RFC 1812, 4.3.2.3).
const RECEIVE_BYTES: usize = 640;

/// Room for the headers of an answer: the longest IPv4 header and that of an echo.
const HEADERS: usize = 60 + 8;

/// The kinds of sockets, in the order they are kept.
const KINDS: [Kind; 4] = [Kind::Icmp4, Kind::Icmp6, Kind::Tcp4, Kind::Tcp6];

/// See the module.
pub struct Engine {
    /// By kind; none that has not been needed yet, or that the kernel does not have.
    channels: [Option<Channel>; 4],
    /// What was told of a socket that does not open, so that it is told once.
    told: [bool; 4],
    back: ReceiveBatch,
    paths: Paths,
    ports: Ports,
    identifier: u16,
    random: Random,
    /// The packet that is being made.
    packet: Vec<u8>,
    alarm: Alarm,
    /// Whether an answer came without a stamp, so that answers must be read at once.
    unstamped: bool,
    /// Whether the task is woken when something comes.
    is_prompt: bool,
    /// Whether more has come than was taken in.
    is_flooded: bool,
    /// Told of what is heard of each probe, when it is.
    on_news: Option<OnNews>,
}

impl Engine {
    /// Opens what every probe needs.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let mut random = Random::new();
        let ports = Ports::hold(&mut random)?;
        let identifier = identifier(settings, &mut random);
        let mut engine = Engine {
            channels: [const { None }; 4],
            told: [false; 4],
            back: ReceiveBatch::new(BATCH, RECEIVE_BYTES.max(HEADERS + usize::from(settings.largest()))),
            paths: Paths::open().await?,
            ports,
            identifier,
            random,
            packet: Vec::with_capacity(HEADERS + usize::from(settings.largest())),
            alarm: Alarm::new(),
            unstamped: false,
            is_prompt: false,
            is_flooded: false,
            on_news: None,
        };
        // One socket is opened now, so that a lack of privilege is found now.
        let first = if settings.via4 == Via::Nowhere { Kind::Icmp6 } else { Kind::Icmp4 };
        engine.channel(first, settings)?;
        Ok(engine)
    }

    /// Has `on_news` told of what is heard of each probe, as soon as it is.
    pub fn listen(&mut self, on_news: OnNews) {
        self.on_news = Some(on_news);
    }

    /// The paths, for those who want to know what they are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Takes over what of new settings is the engine's. If sockets must be opened anew for it, probes under way count for
    /// nothing.
    pub fn reconfigure(&mut self, new: &Settings, state: &mut State) {
        let old = &state.settings;
        let sockets = |settings: &Settings| (settings.identifier, settings.hardware, settings.largest());
        if sockets(new) == sockets(old) {
            return;
        }
        if new.identifier != old.identifier {
            self.identifier = identifier(new, &mut self.random);
        }
        let largest = usize::from(new.largest());
        self.channels = [const { None }; 4];
        self.told = [false; 4];
        self.back = ReceiveBatch::new(BATCH, RECEIVE_BYTES.max(HEADERS + largest));
        self.paths.release_cards();
        state.table.entries_mut().for_each(|entry| entry.target.moved());
    }

    /// Decides the probes of all targets whose time is over, as far as all that was received has been taken in.
    pub fn settle(&self, state: &mut State) {
        let State { table, ledger, received_until, .. } = state;
        table.entries_mut().for_each(|entry| settle(entry, *received_until, ledger, &self.paths));
    }

    /// Probes until the future is dropped; ends only by failing. Safe to be dropped and called again.
    pub async fn run(&mut self, desk: &Desk) -> Error {
        loop {
            let until = {
                let mut state = desk.state();
                let now = Instant::now();
                self.step(&mut state, now);
                self.wakes(&mut state, now)
            };
            if let Err(error) = self.wait(desk, until).await {
                return error;
            }
        }
    }

    /// Takes in what has come, then sends what is due.
    pub fn step(&mut self, state: &mut State, now: Instant) {
        self.receive(state, now);
        self.send(state, now);
    }

    /// Takes in what has come, after which targets may be asked how they are at this time.
    pub fn receive(&mut self, state: &mut State, now: Instant) {
        let State { table, ledger, .. } = &mut *state;
        let mut is_empty = true;
        for channel in self.channels.iter_mut().flatten() {
            // Stamps of sending first, so that a listener has the best there is. What has woken us may be an error there,
            // which wakes us again and again until it is read.
            if self.is_prompt || channel.awaits_stamps() {
                channel.take_notices(&mut self.back, |whose, passed, stamps| take_stamp(table, whose, passed, stamps));
            }
            let mut intake = Intake {
                kind: channel.kind,
                identifier: self.identifier,
                ports: &self.ports,
                table: &mut *table,
                ledger: &mut *ledger,
                unstamped: &mut self.unstamped,
                on_news: &mut self.on_news,
            };
            let each = |source, data: &[u8], control: &Control, at| intake.take(source, data, control, at);
            let (emptied, overflows) = channel.receive(&mut self.back, each);
            ledger.overflows += u64::from(overflows);
            is_empty &= emptied;
        }
        self.is_flooded = !is_empty;
        // In a flood nothing is decided: an answer may still wait to be read.
        if is_empty || state.received_until + SOON < now {
            state.received_until = now;
            state.tell();
        }
    }

    /// Sends what is due.
    fn send(&mut self, state: &mut State, now: Instant) {
        let wall = Duration::from_nanos(clock::realtime_ns());
        let mut used = [false; 4];
        let gateways = state.gateways();
        while let Some(id) = state.table.schedule().pop(now) {
            let received_until = state.received_until;
            let Some(entry) = state.table.get_mut(id) else { continue };
            settle(entry, received_until, &mut state.ledger, &self.paths);
            let packets = state.ledger.of(entry.key.port.is_some());
            let probe = entry.target.begin(now, Some(wall), self.random.next());
            let behind = gateways.ifindex_of(entry.key.ip);
            let path = self.find_path(entry, &state.settings, behind, now);
            let kind = kind(&entry.key);
            let is_forced = behind.is_some() || matches!(state.settings.via(&entry.key.ip), Via::Interface(_));
            let pushed = match path {
                Ok(path) => self.push(kind, &state.settings, entry, (id, probe), (&path, is_forced)),
                Err(cause) => Err(cause),
            };
            match pushed {
                Ok(()) => used[kind as usize] = true,
                Err(cause) => {
                    packets.errors += 1;
                    refused(entry, probe.sequence, cause, &mut self.on_news);
                }
            }
            if self.channels[kind as usize].as_ref().is_some_and(Channel::is_full) {
                self.flush(kind, state);
            }
        }
        for kind in KINDS.into_iter().filter(|kind| used[*kind as usize]) {
            self.flush(kind, state);
        }
    }

    fn find_path(
        &mut self,
        entry: &mut Entry,
        settings: &Settings,
        behind: Option<u32>,
        now: Instant,
    ) -> Result<Path, Cause> {
        if let Some((path, since)) = entry.path
            && now.saturating_duration_since(since) < PATH_HOLDS
        {
            return Ok(path);
        }
        let path = self.paths.find(entry.key.ip, settings.via(&entry.key.ip), behind)?;
        if settings.hardware {
            self.paths.stamp_by_card(path.ifindex);
        }
        entry.path = Some((path, now));
        Ok(path)
    }

    /// Makes the packet and adds it to the batch.
    fn push(
        &mut self,
        kind: Kind,
        settings: &Settings,
        entry: &Entry,
        (id, probe): (u32, Probe),
        (path, is_forced): (&Path, bool),
    ) -> Result<(), Cause> {
        let Probe { sequence, cookie } = probe;
        let echo = Echo { identifier: self.identifier, sequence, cookie };
        let size = usize::from(entry.manner.size);
        let mut source = None;
        match (entry.key.ip, entry.key.port) {
            (IpAddr::V4(_), None) => icmp::write_v4(&mut self.packet, &echo, size),
            (IpAddr::V6(_), None) => icmp::write_v6(&mut self.packet, &echo, size),
            (IpAddr::V4(ip), Some(port)) => {
                // The checksum goes over the source, so it is no longer the kernel's to choose.
                let Some(IpAddr::V4(own)) = path.source else { return Err(Cause::NoAddress) };
                source = path.source;
                let from = SocketAddrV4::new(own, self.ports.of(sequence));
                let ends = Ends::V4(from, SocketAddrV4::new(ip, port.get()));
                tcp::write_syn(&mut self.packet, &ends, cookie as u32);
            }
            (IpAddr::V6(ip), Some(port)) => {
                let Some(IpAddr::V6(own)) = path.source else { return Err(Cause::NoAddress) };
                source = path.source;
                let from = SocketAddrV6::new(own, self.ports.of(sequence), 0, 0);
                let ends = Ends::V6(from, SocketAddrV6::new(ip, port.get(), 0, 0));
                tcp::write_syn(&mut self.packet, &ends, cookie as u32);
            }
        }
        let ifindex = if is_forced { path.ifindex } else { 0 };
        let packet = std::mem::take(&mut self.packet);
        let pushed = self.channel(kind, settings).map(|channel| {
            let (destination, tos) = (entry.key.ip, entry.manner.tos);
            channel.push((id, sequence), &Packet { destination, ifindex, source, ttl: None, tos, bytes: &packet })
        });
        let is_in = pushed.unwrap_or_else(|error| {
            if !std::mem::replace(&mut self.told[kind as usize], true) {
                log::warn!(target: super::ROW.name, "{error}");
            }
            false
        });
        self.packet = packet;
        if is_in { Ok(()) } else { Err(Cause::NotSent) }
    }

    /// The socket of a kind, opened when it is first needed.
    fn channel(&mut self, kind: Kind, settings: &Settings) -> Result<&mut Channel> {
        let at = kind as usize;
        if self.channels[at].is_none() {
            let largest = usize::from(settings.largest());
            let opened = Channel::open(kind, self.identifier, &self.ports, largest, settings.hardware);
            self.channels[at] = Some(opened?);
            // What ICMP has to say of SYNs comes to the ICMP socket; without it, they are lost by time alone.
            match kind {
                Kind::Tcp4 => _ = self.channel(Kind::Icmp4, settings),
                Kind::Tcp6 => _ = self.channel(Kind::Icmp6, settings),
                Kind::Icmp4 | Kind::Icmp6 => {}
            }
        }
        self.channels[at].as_mut().ok_or_else(|| Error::failed("send probes", "the socket is not open"))
    }

    /// Sends the batch of a socket, and takes in the stamps that are there right after it.
    fn flush(&mut self, kind: Kind, state: &mut State) {
        let Some(channel) = self.channels[kind as usize].as_mut() else { return };
        let State { table, ledger, .. } = state;
        let mut refusals: Vec<(Whose, Cause)> = Vec::new();
        let passed = |whose, passed, stamps: &Stamps| take_stamp(table, whose, passed, stamps);
        let count = channel.flush(&mut self.back, passed, |whose, error| {
            refusals.push((whose, error.raw_os_error().map_or(Cause::NotSent, Cause::of_error)));
        });
        let packets = ledger.of(matches!(kind, Kind::Tcp4 | Kind::Tcp6));
        packets.sent += count as u64;
        packets.errors += refusals.len() as u64;
        for ((id, sequence), cause) in refusals {
            if let Some(entry) = table.get_mut(id) {
                refused(entry, sequence, cause, &mut self.on_news);
            }
        }
        channel.take_notices(&mut self.back, |whose, passed, stamps| take_stamp(table, whose, passed, stamps));
    }

    /// When to step again at the latest; decides whether to step when something comes, too.
    fn wakes(&mut self, state: &mut State, now: Instant) -> Option<Instant> {
        let due = state.table.schedule().next_due();
        let is_soon = due.is_some_and(|due| due.saturating_duration_since(now) <= SOON);
        self.is_prompt = !self.is_flooded && (!is_soon || self.unstamped || self.on_news.is_some());
        let rest = self.is_flooded.then_some(now + BREATH);
        due.into_iter().chain(rest).min()
    }

    async fn wait(&mut self, desk: &Desk, until: Option<Instant>) -> Result<()> {
        let until = until.into_iter().chain(self.paths.settles_at()).min();
        self.alarm.set(until);
        alarm::woken(|cx| self.register(cx, desk)).await;
        let now = Instant::now();
        if until.is_none_or(|until| now < until) {
            self.paths.look(now);
        }
        if self.paths.settles_at().is_some_and(|at| at <= now) {
            self.paths.settle().await?;
            let mut state = desk.state();
            let gateways = self.paths.gateways(&state.settings);
            state.follow(gateways, now);
            state.table.forget_paths();
        }
        Ok(())
    }

    /// Has the task woken by whatever there may be to do; true if there is something now.
    fn register(&self, cx: &mut Context<'_>, desk: &Desk) -> bool {
        // Each one is asked, for each is to wake us.
        let mut is_ready = desk.poll(cx, Instant::now()).is_ready();
        is_ready |= self.alarm.poll(cx).is_ready();
        is_ready |= self.paths.poll(cx).is_ready();
        if self.is_prompt {
            for channel in self.channels.iter().flatten() {
                is_ready |= channel.poll_readable(cx).is_ready();
            }
        }
        is_ready
    }
}

/// Decides the probes of a target whose time is over, and adds what is new to the figures of its interface. All that was
/// received until then must have been taken in.
pub fn settle(entry: &mut Entry, until: Instant, ledger: &mut Ledger, paths: &Paths) {
    entry.target.expire(until);
    if let Some((path, _)) = entry.path {
        ledger.account(paths.ifname(path.ifindex), entry.target.totals(), &mut entry.accounted);
    }
}

/// A probe could not be sent. The path may be another one next time.
fn refused(entry: &mut Entry, sequence: u16, cause: Cause, on_news: &mut Option<OnNews>) {
    entry.path = None;
    entry.target.fail(sequence, None, cause);
    if let Some(on_news) = on_news {
        on_news(entry, sequence, News::Failed(cause));
    }
}

fn take_stamp(table: &mut Table, (id, sequence): Whose, passed: Passed, stamps: &Stamps) {
    if let Some(entry) = table.get_mut(id) {
        entry.target.passed(sequence, passed, stamps);
    }
}

fn identifier(settings: &Settings, random: &mut Random) -> u16 {
    match (settings.identifier, std::process::id() as u16) {
        (Identifier::Fixed(identifier), _) => identifier,
        // In a container every daemon is process 1.
        (Identifier::Random, _) | (Identifier::Process, 0 | 1) => random.next() as u16,
        (Identifier::Process, process) => process,
    }
}

fn kind(key: &Key) -> Kind {
    match (key.ip, key.port) {
        (IpAddr::V4(_), None) => Kind::Icmp4,
        (IpAddr::V6(_), None) => Kind::Icmp6,
        (IpAddr::V4(_), Some(_)) => Kind::Tcp4,
        (IpAddr::V6(_), Some(_)) => Kind::Tcp6,
    }
}
