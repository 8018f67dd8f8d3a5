//! Packet sockets on the interfaces that adapters are plugged into, open for one walk at a time.
//!
//! A walk finds each interface as it is then, gone, down, made again or with another address, and what comes late or
//! unasked finds no socket. Between walks no packet of the interface is looked at, and no flood wakes anybody.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};
use smol::future::{FutureExt as _, yield_now};

use super::codec::Question;
use super::filter;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::names::Mac;
use crate::sys::packet;

/// Room for one frame; the longest answer that its counts allow, 255 stations, has 6152 bytes.
pub const FRAME_BYTES: usize = 8192;
/// Frames taken in at once before other tasks have their turn.
const BATCH: usize = 32;
/// Frames looked at on one interface in one walk: more than all answers to the most questions there may be.
const MAX_FRAMES: u64 = 8192;

/// One interface.
#[derive(Debug)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What has ended its part in the walk.
    pub trouble: Option<Error>,
    socket: Async<OwnedFd>,
    mac: Mac,
    read: u64,
}

impl Port {
    /// Opens the interface of an index.
    pub fn open(name: &str, ifindex: u32) -> Result<Port> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::Unsupported => no_ethernet(name),
            io::ErrorKind::PermissionDenied => {
                Error::io(format!("open a packet socket on {name}"), source).remedy("run as root or grant CAP_NET_RAW")
            }
            _ => Error::io(format!("open a packet socket on {name}"), source)
                .remedy("the kernel must have CONFIG_PACKET"),
        };
        let opened = packet::open(ifindex, &filter::ANSWERS).map_err(failed)?;
        let socket = Async::new_nonblocking(opened.socket).map_err(failed)?;
        Ok(Port { name: name.into(), trouble: None, socket, mac: Mac(opened.mac), read: 0 })
    }

    fn send(&mut self, destination: Mac, question: Question, sequence: u8) {
        let frame = question.frame(self.mac, destination, sequence);
        if let Err(error) = packet::send(self.socket.get_ref(), &frame) {
            // A full queue of the interface drops a frame as any wire may; the rest is for good.
            if !matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)) {
                self.fail(error);
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        if self.trouble.is_none() {
            self.trouble = Some(match error.raw_os_error() {
                Some(libc::ENETDOWN) => down(&self.name),
                _ => Error::io(format!("ask powerline adapters on {}", self.name), error)
                    .remedy("see that the interface is there and up"),
            });
        }
    }

    /// Hands a batch of frames to the walk.
    fn drain(&mut self, number: usize, walk: &mut Walk, buf: &mut [u8]) {
        for _ in 0..BATCH {
            if self.trouble.is_some() || self.read >= MAX_FRAMES {
                return;
            }
            match packet::receive(self.socket.get_ref(), buf) {
                Ok(length) => {
                    self.read += 1;
                    walk.take(buf.get(..length).unwrap_or_default(), number, Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(error),
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if self.trouble.is_some() || self.read >= MAX_FRAMES {
            return false;
        }
        match self.socket.poll_readable(context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                self.fail(error);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Frames that came for us and were not looked at: there was no room for them, or they were too many.
    pub fn dropped(&self) -> u64 {
        packet::passed(self.socket.get_ref()).map_or(0, |passed| u64::from(passed).saturating_sub(self.read))
    }
}

/// Makes the walk on these interfaces.
pub async fn walk(ports: &mut [Port], walk: &mut Walk, buf: &mut [u8], remembered: &dyn Fn(Mac) -> Option<Question>) {
    let mut sequence = 0u8;
    loop {
        let now = Instant::now();
        while let Some(send) = walk.due(now, remembered) {
            sequence = sequence.wrapping_add(1);
            if let Some(port) = ports.get_mut(send.interface).filter(|port| port.trouble.is_none()) {
                port.send(send.destination, send.question, sequence);
            }
        }
        if walk.is_over(now) || ports.iter().all(|port| port.trouble.is_some()) {
            return;
        }
        let timer = async {
            Timer::at(walk.wake()).await;
        };
        // Every port is asked, so that each wakes us.
        let readable = poll_fn(|context| match ports.iter_mut().fold(false, |any, port| port.poll(context) | any) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        readable.or(timer).await;
        for (number, port) in ports.iter_mut().enumerate() {
            port.drain(number, walk, buf);
        }
        yield_now().await;
    }
}

/// The interface is there but down.
pub fn down(name: &str) -> Error {
    Error::failed(format!("ask powerline adapters on {name}"), "the interface is down")
        .remedy(format!("ip link set {name} up"))
}

/// Frames of the interface have no Ethernet header.
pub fn no_ethernet(name: &str) -> Error {
    Error::failed(
        format!("ask powerline adapters on {name}"),
        "it carries no Ethernet frames, as tun, WireGuard and loopback do not",
    )
    .remedy("name the interface that the adapter is plugged into, as in -o homeplug.interface=eth0")
}
