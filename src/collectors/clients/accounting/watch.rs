//! Following what others do to a table, without waking for every change of a busy ruleset.

use std::io;
use std::time::{Duration, Instant};

use async_io::Timer;

use crate::netlink::Message;
use crate::netlink::nftables::read::{self, Change};
use crate::netlink::nftables::{self, Family};
use crate::netlink::transport::Events;

/// Room for unread events, as the kernel counts it. If they do not fit we look all the same, so little is enough.
const EVENT_BYTES: libc::c_int = 64 * 1024;
/// Datagrams of events taken in at once.
const EVENTS_AT_ONCE: usize = 256;
/// Time after events in which further ones are left to gather: others may change their sets all the time.
const QUIET: Duration = Duration::from_millis(100);

/// A subscription to changes of one table.
#[derive(Debug)]
pub struct Watch {
    events: Events,
    family: Family,
    table: String,
    /// The table, its chains or rules may have changed since it was last [`Watch::settled`].
    pub table_changed: bool,
    /// Elements of its sets may have been removed.
    pub elements: bool,
    quiet_until: Option<Instant>,
}

/// What events make doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Elements only.
    Elements,
    /// Anything.
    Table,
}

impl Watch {
    /// Subscribes.
    pub fn open(family: Family, table: &str) -> io::Result<Watch> {
        let events = Events::open(libc::NETLINK_NETFILTER, nftables::GROUP, EVENT_BYTES)?;
        let table = table.to_owned();
        Ok(Watch { events, family, table, table_changed: false, elements: false, quiet_until: None })
    }

    /// Waits until something about the table is doubtful, which it stays until that is dealt with. Sleeps while nobody
    /// changes the ruleset, and wakes at most ten times a second otherwise. Safe to be dropped while it waits. What is
    /// told of removed elements goes to `removed`.
    pub async fn doubt(&mut self, mut removed: impl FnMut(&Message<'_>)) -> io::Result<Doubt> {
        loop {
            if let Some(until) = self.quiet_until {
                Timer::at(until).await;
                self.quiet_until = None;
            }
            if self.table_changed {
                return Ok(Doubt::Table);
            }
            if self.elements {
                return Ok(Doubt::Elements);
            }
            self.events.readable().await?;
            self.quiet_until = Some(Instant::now() + QUIET);
            self.take_in(&mut removed);
            // The first event is acted upon at once, and those of the time after it together.
            if self.table_changed {
                return Ok(Doubt::Table);
            }
        }
    }

    /// How many times events were lost.
    pub fn overruns(&self) -> u64 {
        self.events.overruns()
    }

    /// The table is as it shall be.
    pub fn settled(&mut self) {
        self.table_changed = false;
    }

    /// Takes in the events of what we did ourselves, which make no element doubtful. They are there once we have done it.
    pub fn pass_over(&mut self) {
        let elements = self.elements;
        self.take_in(|_| {});
        self.elements = elements;
    }

    /// Takes in the events that are there, without waiting, and notes what they make doubtful.
    pub fn take_in(&mut self, mut removed: impl FnMut(&Message<'_>)) {
        let (mut changed, mut elements) = (false, false);
        let taken = self.events.drain(EVENTS_AT_ONCE, |message| {
            if let Some(Change::In { family, table, elements_removed }) = read::change(message)?
                && family == Some(self.family)
                && table == self.table.as_bytes()
            {
                if elements_removed {
                    elements = true;
                    removed(message);
                }
                changed |= !elements_removed;
            }
            Ok(())
        });
        self.table_changed |= changed || taken.is_err();
        self.elements |= elements || taken.is_err();
    }
}
