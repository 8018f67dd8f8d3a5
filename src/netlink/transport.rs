//! Requests to the kernel and events from it, for any netlink protocol family.
//!
//! The kernel answers a request while it is being sent, and hands out a dump piece by piece as it is read. So nothing
//! here ever waits for an answer; a long dump lets other tasks run between its pieces. Requests and events never share a
//! socket: events that pile up during a dump would make the dump fail.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use async_io::Async;
use smol::future::yield_now;

use super::{Message, error_number, messages};
use crate::error::Malformed;
use crate::sys::{netlink as sys, socket};

/// Room for one datagram; the kernel sends dumps in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// How often a dump is repeated that the kernel marks as interrupted by a change.
const DUMP_TRIES: u32 = 8;
/// Most events that are thrown away at once, several times what a socket has room for: more only come while that is done.
const MOST_DISCARDED: u32 = 32 * 1024;

/// A socket for requests of one protocol family. The kernel knows its owner by it, as nf_tables does of a table.
#[derive(Debug)]
pub struct Requests {
    protocol: libc::c_int,
    socket: OwnedFd,
    buf: Vec<u8>,
    sequence: u32,
    /// A dump was begun and not read to its end: the socket would refuse the next one, and mix it into other answers.
    unfinished: bool,
}

/// A message that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The sequence number of the message.
    pub sequence: u32,
    /// Why, as a positive error number.
    pub errno: i32,
}

impl Refusal {
    /// The reason in words.
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

impl Requests {
    /// Opens a socket of a protocol family, as `libc::NETLINK_NETFILTER`.
    pub fn open(protocol: libc::c_int) -> io::Result<Self> {
        let socket = open(protocol)?;
        Ok(Requests { protocol, socket, buf: vec![0; DATAGRAM_BYTES], sequence: 0, unfinished: false })
    }

    /// A number that no request of this socket has had for long.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Asks for a dump and calls `each` for every message of it; false if the kernel marks it as interrupted by a
    /// change, so that entries may be missing or doubled. `request` makes the one message of the request, with the
    /// sequence number it is given.
    pub async fn dump(
        &mut self,
        request: impl FnOnce(u32) -> Vec<u8>,
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> io::Result<bool> {
        let sequence = self.next_sequence();
        self.send(&request(sequence))?;
        self.unfinished = true;
        let mut whole = true;
        loop {
            let got = match sys::receive(&self.socket, &mut self.buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got?,
            };
            for message in messages(self.buf.get(..got).unwrap_or_default()) {
                let message = message.map_err(malformed)?;
                if message.sequence != sequence {
                    continue;
                }
                whole &= message.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => {
                        self.unfinished = false;
                        // Since Linux 5.10 a dump that failed half-way ends with the error here.
                        return match error_number(message.body).unwrap_or(0) {
                            0 => Ok(whole),
                            number => Err(io::Error::from_raw_os_error(number)),
                        };
                    }
                    libc::NLMSG_ERROR => {
                        self.unfinished = false;
                        return Err(io::Error::from_raw_os_error(error_number(message.body).map_err(malformed)?));
                    }
                    _ => each(&message).map_err(malformed)?,
                }
            }
            yield_now().await;
        }
    }

    /// Like [`Requests::dump`], and again from the start if a change came in between: `start` is told before each try,
    /// so that what was gathered can be forgotten.
    pub async fn dump_whole(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        mut start: impl FnMut(),
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> io::Result<()> {
        for _ in 0..DUMP_TRIES {
            start();
            if self.dump(&request, &mut each).await? {
                return Ok(());
            }
        }
        Err(io::Error::other("it changes faster than it can be read"))
    }

    /// Sends messages that are to change something and returns what the kernel refused; nothing means that all was done.
    pub fn change(&mut self, datagram: &[u8]) -> io::Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        self.ask(datagram, |message| {
            if i32::from(message.kind) == libc::NLMSG_ERROR {
                let errno = error_number(message.body)?;
                if errno != 0 {
                    refusals.push(Refusal { sequence: message.sequence, errno });
                }
            }
            Ok(())
        })?;
        Ok(refusals)
    }

    /// Asks for one thing and calls `each` for the messages of the answer; the kernel's refusal is the error.
    pub fn get(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> io::Result<()> {
        let mut refused = None;
        self.ask(request, |message| {
            if i32::from(message.kind) == libc::NLMSG_ERROR {
                refused = Some(error_number(message.body)?).filter(|number| *number != 0);
                return Ok(());
            }
            each(message)
        })?;
        refused.map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
    }

    /// Sends, and reads all that the kernel has to say to it, which is there once sending returns.
    fn ask(&mut self, datagram: &[u8], mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>) -> io::Result<()> {
        self.send(datagram)?;
        loop {
            let got = match sys::receive(&self.socket, &mut self.buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                got => got?,
            };
            for message in messages(self.buf.get(..got).unwrap_or_default()) {
                each(&message.map_err(malformed)?).map_err(malformed)?;
            }
        }
    }

    /// Sends, on a new socket if the old one has the rest of a dump to say, which would be taken for the answer.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.unfinished) {
            self.socket = open(self.protocol)?;
        }
        sys::send(&self.socket, datagram)
    }
}

/// A subscription to changes.
#[derive(Debug)]
pub struct Events {
    socket: Async<OwnedFd>,
    buf: Vec<u8>,
    overruns: u64,
}

/// The subscription lost events: what is known must be read anew. The subscription itself goes on, and has no event left
/// that is older than this.
#[derive(Debug, PartialEq, Eq)]
pub struct Overrun;

impl Events {
    /// Subscribes to multicast `groups`, given as a bit mask with group 1 as the lowest bit, and asks for room for
    /// `bytes` of unread events as the kernel counts them (several times their length).
    pub fn open(protocol: libc::c_int, groups: u32, bytes: libc::c_int) -> io::Result<Self> {
        let fd = sys::open(protocol, groups)?;
        socket::set_receive_buffer(&fd, bytes);
        Ok(Events { socket: Async::new_nonblocking(fd)?, buf: vec![0; DATAGRAM_BYTES], overruns: 0 })
    }

    /// Has the kernel drop events that `filter` does not let pass.
    pub fn filter(&self, filter: &[libc::sock_filter]) -> io::Result<()> {
        socket::attach_filter(self.socket.get_ref(), filter)
    }

    /// Waits until there are events. Safe to be dropped while it waits.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Whether there are events; if there are none yet, the task is woken when there are.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }

    /// How many times events were lost.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Takes in the events that are there, at most `limit` datagrams, without waiting; returns how many there were.
    ///
    /// # Errors
    /// Some were lost. The kernel tells so before it hands out those that had room, which are older than what was lost:
    /// whoever took them for news after he has read all anew would believe what is no longer so. And it adds none, and does
    /// not tell of it again, before the socket is empty. So what is there is thrown away.
    pub fn drain(
        &mut self,
        limit: usize,
        each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<usize, Overrun> {
        let taken = self.take(limit, each);
        if taken.is_err() {
            self.overruns += 1;
            self.discard();
        }
        taken
    }

    /// Throws away the events that are there.
    pub fn discard(&mut self) {
        for _ in 0..MOST_DISCARDED {
            match sys::receive(self.socket.get_ref(), &mut self.buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    fn take(
        &mut self,
        limit: usize,
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<usize, Overrun> {
        for count in 0..limit {
            let got = match sys::receive(self.socket.get_ref(), &mut self.buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // ENOBUFS: the kernel had to drop events. Anything else is as good a reason to read anew.
                got => got.map_err(|_| Overrun)?,
            };
            for message in messages(self.buf.get(..got).unwrap_or_default()) {
                message.and_then(|message| each(&message)).map_err(|_| Overrun)?;
            }
        }
        Ok(limit)
    }
}

fn open(protocol: libc::c_int) -> io::Result<OwnedFd> {
    let socket = sys::open(protocol, 0)?;
    // Without it each refusal and acknowledgement repeats the message it is about.
    sys::set_flag(&socket, libc::NETLINK_CAP_ACK);
    Ok(socket)
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    const DUMP: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;

    fn links(sequence: u32) -> Vec<u8> {
        request(libc::RTM_GETLINK, DUMP, sequence, &[0; 16])
    }

    #[test]
    fn a_dump_is_read_to_its_end_and_the_socket_takes_the_next() {
        smol::block_on(async {
            let mut requests = Requests::open(libc::NETLINK_ROUTE).unwrap();
            for _ in 0..2 {
                let mut count = 0;
                let each = |_: &Message<'_>| {
                    count += 1;
                    Ok(())
                };
                assert!(requests.dump(links, each).await.unwrap());
                assert!(count > 0);
            }
        });
    }

    #[test]
    fn a_dump_that_was_given_up_does_not_spoil_the_next() {
        smol::block_on(async {
            let mut requests = Requests::open(libc::NETLINK_ROUTE).unwrap();
            let given_up = |_: &Message<'_>| Err(Malformed::Value { what: "test", offset: 0 });
            let error = requests.dump(links, given_up).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(requests.dump(links, |_| Ok(())).await.unwrap());
        });
    }

    #[test]
    fn what_is_left_of_a_dump_that_was_given_up_answers_no_question() {
        let mut requests = Requests::open(libc::NETLINK_ROUTE).unwrap();
        let given_up = |_: &Message<'_>| Err(Malformed::Value { what: "test", offset: 0 });
        smol::block_on(requests.dump(links, given_up)).unwrap_err();
        let mut loopback = [0; 16];
        loopback[4..8].copy_from_slice(&1u32.to_ne_bytes());
        let mut kinds = Vec::new();
        let each = |message: &Message<'_>| {
            kinds.push(message.kind);
            Ok(())
        };
        requests.get(&request(libc::RTM_GETLINK, libc::NLM_F_REQUEST as u16, 9, &loopback), each).unwrap();
        assert_eq!(kinds, [libc::RTM_NEWLINK]);
    }

    #[test]
    fn a_refusal_names_its_message_and_reason() {
        let mut requests = Requests::open(libc::NETLINK_ROUTE).unwrap();
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&0x7fff_ffffu32.to_ne_bytes());
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let refusals = requests.change(&request(libc::RTM_DELLINK, flags, 77, &fixed)).unwrap();
        assert_eq!(refusals, [Refusal { sequence: 77, errno: libc::ENODEV }]);
        let error = requests.get(&request(libc::RTM_GETLINK, flags, 78, &fixed), |_| Ok(())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn draining_a_silent_subscription_does_not_wait() {
        let mut events = Events::open(libc::NETLINK_ROUTE, libc::RTMGRP_NEIGH as u32, 65536).unwrap();
        assert!(events.drain(10, |_| Ok(())).is_ok());
    }
}
