//! Where flows are read from: conntrack over netlink, or /proc/net/nf_conntrack.

use std::fs::File;
use std::io::{self, Read};

use smol::future::yield_now;

use super::proc;
use crate::error::{Error, Result};
use crate::netlink::conntrack::{
    self, Entry, Event, GROUP_DESTROY, GROUP_NEW, GROUP_UPDATE, decode, decode_stats, event_filter,
};
use crate::netlink::transport::{Events, Requests};

/// The flows as text. They are those of the namespace of the thread that reads.
const PROC_FILE: &str = "/proc/thread-self/net/nf_conntrack";
/// Read at once; lines are shorter.
const PIECE_BYTES: usize = 16 * 1024;
/// Events taken in at once. More have not come while the last were taken in, unless they come too fast.
const MAX_EVENTS: usize = 8192;

/// An open source of flows.
#[derive(Debug)]
pub enum Reader {
    /// Netlink, with a subscription to events or without.
    Netlink {
        /// Dumps; never on the socket of the events.
        requests: Requests,
        /// Events.
        events: Option<Events>,
    },
    /// The file.
    Proc,
}

/// What became of taking in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All that were there.
    All,
    /// Some were lost.
    Lost,
}

impl Reader {
    /// Opens netlink if the kernel answers there and `proc` does not forbid it, else the file.
    pub fn open(proc: bool) -> Result<Reader> {
        let refused = match if proc { Err(io::ErrorKind::Unsupported.into()) } else { answers() } {
            Ok((requests, _)) => return Ok(Reader::Netlink { requests, events: None }),
            Err(error) => error,
        };
        match File::open(PROC_FILE) {
            Ok(_) => Ok(Reader::Proc),
            Err(_) => {
                Err(Error::io("read connections by netlink, nor from /proc/net/nf_conntrack", refused).remedy(remedy()))
            }
        }
    }

    /// Whether it is netlink.
    pub fn is_netlink(&self) -> bool {
        matches!(self, Reader::Netlink { .. })
    }

    /// Subscribes to events: to all ends of flows, for their final counters, where all flows are read each time, else to
    /// those that change what counts. False if there are none to be had.
    pub fn subscribe(&mut self, final_counters: bool, buffer: libc::c_int) -> bool {
        let Reader::Netlink { events, .. } = self else { return false };
        let groups = if final_counters { GROUP_DESTROY } else { GROUP_NEW | GROUP_UPDATE | GROUP_DESTROY };
        *events = Events::open(libc::NETLINK_NETFILTER, groups, buffer).ok();
        if let Some(events) = events.as_ref().filter(|_| !final_counters) {
            // Without the filter there are more events, which say no more.
            let _ = events.filter(&event_filter());
        }
        events.is_some()
    }

    /// Ends the subscription.
    pub fn unsubscribe(&mut self) {
        if let Reader::Netlink { events, .. } = self {
            *events = None;
        }
    }

    /// The subscription.
    pub fn events(&self) -> Option<&Events> {
        match self {
            Reader::Netlink { events, .. } => events.as_ref(),
            Reader::Proc => None,
        }
    }

    /// Takes in the events that are there.
    pub fn take_events(&mut self, mut each: impl FnMut(Event)) -> Taken {
        let Reader::Netlink { events: Some(events), .. } = self else { return Taken::All };
        let taken = events.drain(MAX_EVENTS, |message| {
            // An event that cannot be read says nothing; the next dump does.
            if let Ok(Some(event)) = decode(message) {
                each(event);
            }
            Ok(())
        });
        match taken {
            Ok(count) if count < MAX_EVENTS => Taken::All,
            _ => Taken::Lost,
        }
    }

    /// Throws away the events that are there.
    pub fn discard_events(&mut self) {
        if let Reader::Netlink { events: Some(events), .. } = self {
            events.discard();
        }
    }

    /// Reads all flows; other tasks run between its pieces.
    pub async fn read_all(&mut self, mut each: impl FnMut(&Entry)) -> Result<()> {
        match self {
            Reader::Netlink { requests, .. } => {
                let each = |message: &crate::netlink::Message<'_>| {
                    if let Ok(Some(Event::Known(entry))) = decode(message) {
                        each(&entry);
                    }
                    Ok(())
                };
                // Conntrack marks no dump as interrupted.
                requests
                    .dump(conntrack::dump, each)
                    .await
                    .map(|_| ())
                    .map_err(|source| Error::io("read all connections by netlink", source).remedy(remedy()))
            }
            Reader::Proc => read_file(each)
                .await
                .map_err(|source| Error::io("read /proc/net/nf_conntrack", source).remedy(remedy())),
        }
    }
}

/// Asks the kernel for the number of its flows, which shows whether it takes requests about conntrack from us.
pub fn answers() -> io::Result<(Requests, conntrack::Stats)> {
    let mut requests = Requests::open(libc::NETLINK_NETFILTER)?;
    let request = conntrack::stats(requests.next_sequence());
    let mut stats = None;
    requests.get(&request, |message| {
        stats = decode_stats(message)?.or(stats);
        Ok(())
    })?;
    Ok((requests, stats.unwrap_or_default()))
}

/// What to do where there are no flows to read.
pub fn remedy() -> &'static str {
    "install kmod-nf-conntrack-netlink (opkg install kmod-nf-conntrack-netlink) and run as root or grant CAP_NET_ADMIN"
}

async fn read_file(mut each: impl FnMut(&Entry)) -> io::Result<()> {
    let mut file = File::open(PROC_FILE)?;
    let mut buf = vec![0; PIECE_BYTES];
    // Bytes of a line that has not ended yet, at the start of `buf`.
    let mut kept = 0;
    loop {
        let got = match file.read(buf.get_mut(kept..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        if got == 0 {
            return Ok(());
        }
        let there = kept + got;
        let piece = buf.get(..there).unwrap_or_default();
        let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in piece.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            if let Some(entry) = std::str::from_utf8(line).ok().and_then(proc::line) {
                each(&entry);
            }
        }
        // What fills the buffer without an end is no line of conntrack's.
        let rest = if whole == 0 && there == buf.len() { there } else { whole };
        buf.copy_within(rest..there, 0);
        kept = there - rest;
        yield_now().await;
    }
}
