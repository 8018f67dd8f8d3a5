//! The thread of a responder: reads requests, keeps replies until they are due, writes them, logs both.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::answer::answer;
use super::heard::{Asked, Heard, hear};
use super::log::{Fate, MOST_REQUESTS, Reply, Request, Time};
use super::rule::{Course, Intended};
use super::{Shared, State, sys};

/// For so long before a reply is due the thread does not sleep but looks at the clock and the device by turns: waking
/// up takes about as long.
const AWAKE_NS: u64 = 50_000;
/// How many replies may wait.
const MOST_WAITING: usize = 200_000;
/// Longer than any packet of the device.
const PACKET: usize = 65_536;

pub(super) struct Engine {
    tun: File,
    wake: PipeReader,
    shared: Arc<Shared>,
    queue: BinaryHeap<Reverse<Pending>>,
    /// Replies that wait for the next one of their course.
    held: HashMap<Course, Pending>,
    /// Replies due at the same time go out in the order they were made.
    order: u64,
    buffer: Vec<u8>,
}

struct Pending {
    /// On CLOCK_MONOTONIC, in nanoseconds.
    due: u64,
    order: u64,
    course: Course,
    packet: Vec<u8>,
    intended: Intended,
    /// The log's volume and the request's place there.
    request: (u64, usize),
}

impl Engine {
    pub fn new(tun: File, wake: PipeReader, shared: Arc<Shared>) -> Self {
        let (queue, held) = (BinaryHeap::new(), HashMap::new());
        Self { tun, wake, shared, queue, held, order: 0, buffer: vec![0; PACKET] }
    }

    /// Runs until it is told to stop or the device is gone.
    pub fn run(mut self) {
        if let Err(error) = sys::be_punctual() {
            eprintln!("the responder shares the CPU like everybody: {error}");
        }
        if let Err(error) = self.serve() {
            self.shared.state().log.ended = Some(error.to_string());
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        while !self.shared.stop.load(Relaxed) {
            let wanted = self.shared.wanted.load(Acquire);
            self.write_what_is_due();
            match self.tun.read(&mut self.buffer) {
                Ok(length) => {
                    self.take(length, Time::now());
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            // All that was in the device when this was wanted is read, and all that was due is written.
            self.shared.under_way.store(!self.queue.is_empty(), Release);
            self.shared.seen.store(wanted, Release);
            let now = sys::clock_ns(libc::CLOCK_MONOTONIC);
            let asleep = self.queue.peek().map(|Reverse(next)| next.due.saturating_sub(now + AWAKE_NS));
            if asleep != Some(0) {
                let ready = [self.tun.as_fd(), self.wake.as_fd()];
                let [_, woken] = sys::wait_for_either(ready, asleep.map(Duration::from_nanos))?;
                if woken {
                    let _ = self.wake.read(&mut [0; 64])?;
                }
                self.free_what_is_held();
            }
        }
        Ok(())
    }

    /// A changed rule sets free what the old one held.
    fn free_what_is_held(&mut self) {
        let mut state = self.shared.state();
        let changed = std::mem::take(&mut state.changed);
        let free = |course: &Course| match state.table.has_own(course.ip) {
            true => changed.contains(&Some(course.ip)),
            false => changed.contains(&None),
        };
        let freed: Vec<Pending> = self.held.extract_if(|course, _| free(course)).map(|(_, held)| held).collect();
        drop(state);
        self.queue.extend(freed.into_iter().map(Reverse));
    }

    fn take(&mut self, length: usize, read: Time) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        match hear(&self.buffer[..length]) {
            Heard::Request(asked) => self.answer(&mut state, &asked, read),
            Heard::Reset { destination, port } => {
                if state.log.resets.len() < MOST_REQUESTS {
                    state.log.resets.push((destination, port));
                } else {
                    state.log.incomplete = Some("too many resets");
                }
            }
            Heard::Finish(packet) => {
                state.log.others += 1;
                if self.tun.write(&packet).is_err() {
                    state.log.refused += 1;
                }
            }
            Heard::Damaged => state.log.damaged += 1,
            Heard::Other => state.log.others += 1,
        }
    }

    fn answer(&mut self, state: &mut State, asked: &Asked, read: Time) {
        if state.log.requests.len() >= MOST_REQUESTS {
            state.log.incomplete = Some("too many requests");
            return;
        }
        if self.queue.len() + self.held.len() >= MOST_WAITING {
            state.log.incomplete = Some("too many replies wait");
            return;
        }
        let Some((fate, intended)) = state.table.decide(asked) else {
            state.log.incomplete = Some("too many addresses and ports");
            return;
        };
        let request = (state.log.volume, state.log.requests.len());
        state.log.requests.push(logged(asked, read, fate));
        if let Some(intended) = intended {
            let after = u64::try_from(intended.after.as_nanos()).unwrap_or(u64::MAX);
            let (due, packet) = (read.monotonic.saturating_add(after), answer(asked, &intended));
            self.order += 1;
            let course = Course::of(asked);
            self.queue.push(Reverse(Pending { due, order: self.order, course, packet, intended, request }));
        }
    }

    fn write_what_is_due(&mut self) {
        while self.queue.peek().is_some_and(|Reverse(next)| next.due <= sys::clock_ns(libc::CLOCK_MONOTONIC)) {
            let Some(Reverse(mut next)) = self.queue.pop() else { return };
            // One is held at a time: the next one sets it free, whatever its own rule is.
            if std::mem::take(&mut next.intended.hold) && !self.held.contains_key(&next.course) {
                self.held.insert(next.course, next);
                continue;
            }
            // Locked before anything is written: whoever has a reply finds it in the log.
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state();
            self.write(&mut state, &next);
            if let Some(held) = self.held.remove(&next.course) {
                self.write(&mut state, &held);
            }
        }
    }

    fn write(&mut self, state: &mut State, pending: &Pending) {
        for _ in 0..pending.intended.copies {
            let written = Time::now();
            let result = self.tun.write(&pending.packet);
            let done = Time::now();
            let (volume, request) = pending.request;
            if result.is_err() {
                state.log.refused += 1;
            } else if volume == state.log.volume {
                let Intended { after, kind, flaws, ttl, retransmitted, .. } = pending.intended.clone();
                let reply = Reply { nominal: after, written, done, kind, flaws, ttl, retransmitted };
                state.log.requests[request].replies.push(reply);
            }
        }
    }
}

fn logged(asked: &Asked, read: Time, fate: Fate) -> Request {
    Request {
        destination: asked.destination,
        source: asked.source,
        what: asked.what,
        ttl: asked.ttl,
        tos: asked.tos,
        dont_fragment: asked.dont_fragment,
        length: asked.packet.len(),
        read,
        fate,
        replies: Vec::new(),
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pending {}
