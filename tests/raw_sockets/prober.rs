//! A socket with its batches, and what has come back to it.

#![allow(dead_code, reason = "each user needs a part of it")]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use gatemeter::netlink;
use gatemeter::netlink::route::{Path, path_request};
use gatemeter::netlink::transport::Requests;
use gatemeter::sys::batch::{Packet, ReceiveBatch, SendBatch, Sent};
use gatemeter::sys::raw::{self, Kind};
use gatemeter::sys::socket;
use gatemeter::sys::timestamps::{Timestamps, Wanted};

use super::wire::{self, Extended};

/// How long to wait for what is bound to come.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Prober {
    pub socket: OwnedFd,
    pub timestamps: Timestamps,
    pub out: SendBatch,
    pub back: ReceiveBatch,
    pub errors: ReceiveBatch,
    v4: bool,
    /// Replies by sequence number, with their stamps.
    pub replies: BTreeMap<u16, Option<u64>>,
    /// Stamps by packet number: at the driver, and on being queued.
    pub sent: BTreeMap<u32, u64>,
    pub queued: BTreeMap<u32, u64>,
    /// Everything else of the error queue.
    pub others: Vec<Extended>,
}

impl Prober {
    pub fn echo(v4: bool, wanted: Wanted) -> Prober {
        let kind = if v4 { Kind::Icmp4 } else { Kind::Icmp6 };
        let socket = raw::open(kind, &wire::filter(kind)).unwrap();
        socket::set_receive_buffer(&socket, 8 << 20);
        socket::set_send_buffer(&socket, 1 << 20);
        Prober {
            timestamps: Timestamps::enable(&socket, wanted).unwrap(),
            socket,
            out: SendBatch::new(64, 64),
            back: ReceiveBatch::new(64, 128),
            errors: ReceiveBatch::new(64, 128),
            v4,
            replies: BTreeMap::new(),
            sent: BTreeMap::new(),
            queued: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    /// Adds echo requests with these sequence numbers to the batch.
    pub fn fill(&mut self, to: IpAddr, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            let bytes = &wire::echo(self.v4, sequence);
            let packet = Packet { destination: to, ifindex: 0, source: None, ttl: None, tos: 0, bytes };
            assert!(self.out.push(&packet), "the batch is full");
        }
    }

    /// Sends the batch, and returns which of it were refused and with which error.
    pub fn send(&mut self) -> Vec<(usize, i32)> {
        let mut refused = Vec::new();
        loop {
            match self.out.send(&self.socket) {
                Sent::All => break,
                Sent::Stopped => self.drain(),
                Sent::Refused { index, error } => refused.push((index, error.raw_os_error().unwrap())),
            }
        }
        self.out.clear();
        refused
    }

    /// Takes in all that is there.
    pub fn drain(&mut self) {
        while self.back.receive(&self.socket).unwrap() > 0 {
            for packet in self.back.packets() {
                self.replies.insert(wire::sequence(&packet), wire::stamp(packet.control));
            }
        }
        while self.errors.receive_errors(&self.socket).unwrap() > 0 {
            for packet in self.errors.packets() {
                assert_eq!(packet.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC), 0);
                let error = wire::extended(packet.control).unwrap();
                match (error.origin, error.info, wire::stamp(packet.control)) {
                    (4, 0, Some(time)) => assert_eq!(self.sent.insert(error.data, time), None),
                    (4, 1, Some(time)) => assert_eq!(self.queued.insert(error.data, time), None),
                    _ => self.others.push(error),
                }
            }
        }
    }

    /// Takes in what comes until `enough`.
    pub fn drain_until(&mut self, what: &str, enough: impl Fn(&Prober) -> bool) {
        let end = Instant::now() + LIMIT;
        loop {
            self.drain();
            if enough(self) {
                return;
            }
            if Instant::now() > end {
                let counts = [self.replies.len(), self.sent.len(), self.queued.len(), self.others.len()];
                panic!("{what}: never; replies, stamps, queue stamps, errors: {counts:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The kernel turns stamping on a while after it was asked to, so probes until a reply has a stamp; then forgets
    /// all of it and starts the numbers anew.
    pub fn warm_up(&mut self, to: IpAddr) {
        let end = Instant::now() + LIMIT;
        loop {
            self.forget();
            self.fill(to, [0]);
            assert_eq!(self.send(), []);
            self.drain_until("the first reply", |prober| prober.replies.len() == 1 && prober.sent.len() == 1);
            if self.replies[&0].is_some() {
                break;
            }
            assert!(Instant::now() < end, "replies are never stamped");
        }
        self.forget();
    }

    /// Forgets what has come, and starts the numbers anew.
    pub fn forget(&mut self) {
        self.drain();
        self.timestamps.restart_numbers(&self.socket).unwrap();
        self.replies.clear();
        self.sent.clear();
        self.queued.clear();
        self.others.clear();
    }
}

/// How the kernel would send to an address, through one interface or any.
pub fn path(to: IpAddr, ifindex: u32) -> io::Result<Path> {
    let mut found = None;
    Requests::open(libc::NETLINK_ROUTE)?.get(&path_request(1, to, ifindex), |message| {
        found = netlink::route::path(message)?.or(found);
        Ok(())
    })?;
    found.ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
}
