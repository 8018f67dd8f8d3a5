//! Packet sockets on the interfaces that adapters are plugged into, open for one walk at a time.
//!
//! A walk finds each interface as it is then, gone, down, made again or with another address, and what comes late or
//! unasked finds no socket. Between walks no packet of the interface is looked at, and no flood wakes anybody.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;
use smol::future::yield_now;

use super::codec::{Colons, Question};
use super::walk::{Reason, Walk};
use super::{ROW, filter};
use crate::error::{Error, Result};
use crate::names::Mac;
use crate::sys::alarm::{self, Alarm};
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
        log::trace!(target: ROW.name, "{}: sent {}", self.name, Colons(&frame));
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
                    let frame = buf.get(..length).unwrap_or_default();
                    let refused = walk.take(frame, number, Instant::now());
                    let verdict = refused.map_or("used", Reason::name);
                    log::trace!(target: ROW.name, "{}: {verdict} {}", self.name, Colons(frame));
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

/// Makes the walk on these interfaces, under [`alarm::block_on`].
pub async fn walk(ports: &mut [Port], walk: &mut Walk, buf: &mut [u8], remembered: &dyn Fn(Mac) -> Option<Question>) {
    let (mut sequence, alarm) = (0u8, Alarm::new());
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
        wait(ports, &alarm, walk.wake()).await;
        for (number, port) in ports.iter_mut().enumerate() {
            port.drain(number, walk, buf);
        }
        yield_now().await;
    }
}

/// Waits until something may have come, at the latest until this time.
async fn wait(ports: &mut [Port], alarm: &Alarm, until: Instant) {
    alarm.set(Some(until));
    // Every port is asked, so that each wakes us.
    alarm::woken(|context| {
        let is_due = alarm.poll(context).is_ready();
        ports.iter_mut().fold(is_due, |any, port| port.poll(context) | any)
    })
    .await;
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

#[cfg(test)]
mod tests {
    use std::future::{Future as _, poll_fn};
    use std::os::unix::net::UnixDatagram;
    use std::pin::pin;
    use std::thread;
    use std::time::Duration;

    use super::super::codec::LOCAL;
    use super::super::walk::Rules;
    use super::*;

    #[test]
    fn an_answer_that_comes_at_once_takes_few_steps() {
        const QUESTIONS: u64 = 100;
        let (ours, adapter) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let adapter = thread::spawn(move || {
            let mut question = [0; 64];
            for _ in 0..QUESTIONS {
                // Gone with the port when the test has failed.
                if adapter.recv(&mut question).is_err() || adapter.send(&[0; 60]).is_err() {
                    return;
                }
            }
        });
        let socket = Async::new_nonblocking(OwnedFd::from(ours)).unwrap();
        let mut port = Port { name: "plc0".into(), trouble: None, socket, mac: Mac([2, 0, 0, 0, 0, 1]), read: 0 };
        let rules = Rules { destination: LOCAL, extended: false, max_devices: 1 };
        let mut found = Walk::new(rules, 1, Instant::now());
        let asking = async {
            let (alarm, late) = (Alarm::new(), Instant::now() + Duration::from_secs(3600));
            for asked in 1..=QUESTIONS {
                port.send(LOCAL, Question::Networks1, 0);
                while port.read < asked {
                    wait(std::slice::from_mut(&mut port), &alarm, late).await;
                    port.drain(0, &mut found, &mut [0; 64]);
                    yield_now().await;
                }
            }
        };
        let (mut steps, mut asking) = (0, pin!(asking));
        alarm::block_on(poll_fn(|context| {
            steps += 1;
            assert!(steps <= 6 * QUESTIONS, "no end after {steps} steps for {QUESTIONS} answers");
            // Other work comes first, while the reactor already waits for what is next.
            thread::sleep(Duration::from_micros(200));
            asking.as_mut().poll(context)
        }));
        adapter.join().unwrap();
    }
}
