//! One raw socket with its batches: probes out, what the kernel says of them, and answers in. Which packet is whose is
//! known by the number that the kernel gives it, so that a stamp finds its probe.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;

use super::ROW;
use super::codec::stamps::{Abi, Control, Notice, Stamps};
use super::filter;
use super::numbers::{Numbers, Whose};
use super::ports::Ports;
use super::target::Passed;
use crate::error::{Error, Result};
use crate::sys::batch::{Packet, ReceiveBatch, SendBatch, Sent};
use crate::sys::raw::{self, Kind};
use crate::sys::socket;
use crate::sys::timestamps::{Timestamps, Wanted};

/// Packets sent or received by one system call.
pub const BATCH: usize = 64;
/// Room for answers and stamps that wait to be read, as the kernel counts: of 1,000 probes and more.
const RECEIVE_BYTES: libc::c_int = 2 << 20;
/// Most packets taken in at a time; what is left comes with the next step, and what has no room is counted.
const MOST_AT_ONCE: usize = 16 * BATCH;

/// See the module.
pub struct Channel {
    /// What it sends and receives.
    pub kind: Kind,
    socket: Async<OwnedFd>,
    /// None where the kernel has no stamps.
    timestamps: Option<Timestamps>,
    out: SendBatch,
    /// Whose the packets in the batch are.
    batch: Vec<Whose>,
    numbers: Numbers,
    /// The kernel's count of packets there was no room for.
    overflows: u32,
}

impl Channel {
    /// Opens the socket, for payloads up to `largest` bytes.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or where the kernel does not have the protocol.
    pub fn open(kind: Kind, identifier: u16, ports: &Ports, largest: usize, hardware: bool) -> Result<Self> {
        let range = ports.range();
        let opened = match kind {
            Kind::Icmp4 => raw::open(kind, &filter::icmp_v4(identifier, &range)),
            Kind::Icmp6 => raw::open(kind, &filter::icmp_v6(identifier, &range)),
            Kind::Tcp4 => raw::open(kind, &filter::tcp_v4(&range)),
            Kind::Tcp6 => raw::open(kind, &filter::tcp_v6(&range)),
        };
        let fd = opened.map_err(|source| refused(kind, source))?;
        socket::set_receive_buffer(&fd, RECEIVE_BYTES);
        let timestamps = match Timestamps::enable(&fd, Wanted { queue: true, hardware }) {
            Ok(timestamps) => Some(timestamps),
            Err(error) => {
                log::warn!(target: ROW.name, "the kernel does not stamp packets ({error}): round trips are less exact");
                None
            }
        };
        let socket = Async::new_nonblocking(fd).map_err(|source| refused(kind, source))?;
        let bytes = match kind {
            Kind::Icmp4 | Kind::Icmp6 => 8 + largest,
            Kind::Tcp4 | Kind::Tcp6 => 24,
        };
        Ok(Channel {
            kind,
            socket,
            timestamps,
            out: SendBatch::new(BATCH, bytes),
            batch: Vec::with_capacity(BATCH),
            numbers: Numbers::default(),
            overflows: 0,
        })
    }

    /// Whether the batch has room for no more.
    pub fn is_full(&self) -> bool {
        self.batch.len() >= BATCH
    }

    /// Adds a packet to the batch; false if it is too long.
    pub fn push(&mut self, whose: Whose, packet: &Packet<'_>) -> bool {
        let is_in = self.out.push(packet);
        if is_in {
            self.batch.push(whose);
        }
        is_in
    }

    /// Sends the batch; `refused` is told of each packet that the kernel does not send. Returns how many it did.
    pub fn flush(
        &mut self,
        back: &mut ReceiveBatch,
        mut passed: impl FnMut(Whose, Passed, &Stamps),
        mut refused: impl FnMut(Whose, &io::Error),
    ) -> usize {
        let (mut from, mut refusals) = (0, 0);
        while !self.out.is_empty() {
            let is_unsure = self.numbers.is_unsure();
            if is_unsure {
                self.take_notices(back, &mut passed);
            }
            let most = if is_unsure { 1 } else { BATCH };
            let outcome = self.out.send_up_to(most, &self.socket);
            let end = match &outcome {
                Sent::Refused { index, .. } => *index,
                Sent::All | Sent::Stopped => self.out.done(),
            };
            self.numbers.sent(self.batch.get(from..end).unwrap_or_default());
            if is_unsure {
                self.take_notices(back, &mut passed);
                self.numbers.give_up();
            }
            let was_short = end - from < most;
            from = end;
            match outcome {
                Sent::All => break,
                Sent::Stopped if !was_short => {}
                // It has tried one more, and it may go out when it is tried again.
                Sent::Stopped => self.count_anew(back, &mut passed),
                Sent::Refused { index, error } => {
                    refusals += 1;
                    from = index + 1;
                    if let Some(whose) = self.batch.get(index) {
                        refused(*whose, &error);
                    }
                    self.count_anew(back, &mut passed);
                }
            }
        }
        let count = self.batch.len() - refusals;
        self.out.clear();
        self.batch.clear();
        count
    }

    /// A packet was refused, after which its numbers are in doubt.
    fn count_anew(&mut self, back: &mut ReceiveBatch, passed: impl FnMut(Whose, Passed, &Stamps)) {
        self.take_notices(back, passed);
        let Some(timestamps) = self.timestamps.filter(|_| self.numbers.refused()) else { return };
        self.numbers.restart();
        if let Err(error) = timestamps.restart_numbers(&self.socket) {
            log::debug!(target: ROW.name, "cannot number packets anew: {error}");
            self.timestamps = None;
        }
    }

    /// Whether packets were sent whose stamps have not come.
    pub fn awaits_stamps(&self) -> bool {
        self.timestamps.is_some() && self.numbers.awaits_stamps()
    }

    /// Takes in what the kernel has to say of packets that were sent: `passed` is told of their stamps.
    pub fn take_notices(&mut self, back: &mut ReceiveBatch, mut passed: impl FnMut(Whose, Passed, &Stamps)) {
        for _ in 0..MOST_AT_ONCE / BATCH {
            let got = back.receive_errors(&self.socket).unwrap_or(0);
            for message in back.packets() {
                let Ok(control) = Control::read(message.control, &Abi::NATIVE) else { continue };
                let (number, where_to) = match control.notice {
                    Some(Notice::Sent(number)) => (number, Passed::Sent),
                    Some(Notice::Queued(number)) => (number, Passed::Queued),
                    // What ICMP says of packets comes to the ICMP sockets, too, and there with what it quotes.
                    _ => continue,
                };
                if let Some(whose) = self.numbers.stamped(number, where_to) {
                    passed(whose, where_to, &control.stamps);
                }
            }
            if got < BATCH {
                return;
            }
        }
    }

    /// Takes in what has come: `each` is told the sender, the packet, what the kernel says of it, and when it was read.
    /// Returns whether the socket is empty now, and how many packets it had no room for since the last time.
    pub fn receive(
        &mut self,
        back: &mut ReceiveBatch,
        mut each: impl FnMut(IpAddr, &[u8], &Control, Instant),
    ) -> (bool, u32) {
        let mut overflows = self.overflows;
        let mut is_empty = false;
        for _ in 0..MOST_AT_ONCE / BATCH {
            let Ok(got) = back.receive(&self.socket) else { break };
            // Not before: a packet may have come only just now.
            let at = Instant::now();
            for packet in back.packets() {
                // A packet is worth something without what the kernel says beside it.
                let control = Control::read(packet.control, &Abi::NATIVE).unwrap_or_default();
                overflows = control.overflows.unwrap_or(overflows);
                let Some(source) = packet.source else { continue };
                each(source, packet.data, &control, at);
            }
            if got < BATCH {
                is_empty = true;
                break;
            }
        }
        (is_empty, overflows.wrapping_sub(std::mem::replace(&mut self.overflows, overflows)))
    }

    /// Whether something has come; if not, the task is woken when it does.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }
}

fn refused(kind: Kind, source: io::Error) -> Error {
    let what = match kind {
        Kind::Icmp4 => "ICMP",
        Kind::Icmp6 => "ICMPv6",
        Kind::Tcp4 => "TCP",
        Kind::Tcp6 => "TCP over IPv6",
    };
    let is_denied = source.kind() == io::ErrorKind::PermissionDenied;
    let error = Error::io(format!("open a raw socket for {what}"), source);
    if is_denied { error.remedy("run as root or grant CAP_NET_RAW") } else { error }
}
