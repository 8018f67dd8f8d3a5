//! What is counted of a target since it is known, and by which names.

use std::time::Duration;

use crate::collectors::probe::codec::icmp::Problem;
use crate::sorted::Sorted;

/// Clocks by which a round trip is measured, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The network card's, when sent and when received.
    Hardware,
    /// The kernel's, when sent and when received.
    Kernel,
    /// The kernel's when received, and ours when sent.
    Received,
    /// Our own, when sent and when read.
    Own,
}

/// Why a probe has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Nobody said anything in time.
    Timeout,
    /// There was no route to send it on.
    NoRoute,
    /// A firewall of this machine refused to send it.
    NotPermitted,
    /// There was no room in the queue of the interface or in memory.
    NoBuffer,
    /// The interface is down or gone.
    InterfaceDown,
    /// The source address is not one of this machine.
    NoAddress,
    /// It was too long for the interface.
    TooLong,
    /// It could not be sent for any other reason.
    NotSent,
    /// See [`Problem`]; the same with the others.
    NetworkUnreachable,
    /// A router says that the host does not answer to it.
    HostUnreachable,
    /// The host says that nobody listens.
    PortUnreachable,
    /// A router or the host says that it is unreachable for any other reason.
    Unreachable,
    /// A router or the host says that a firewall refuses it.
    Prohibited,
    /// A router says that it is too big for the next link.
    TooBig,
    /// A router says that it went through too many of them.
    TimeExceeded,
    /// A router or the host says that it does not understand the header.
    Parameter,
}

impl Clock {
    /// Every clock with the value of its label, in order.
    pub const ALL: [(Clock, &'static str); 4] = [
        (Clock::Hardware, "hardware"),
        (Clock::Kernel, "kernel"),
        (Clock::Received, "receive_only"),
        (Clock::Own, "user"),
    ];

    /// The value of its label.
    pub fn word(self) -> &'static str {
        Clock::ALL.iter().find(|(clock, _)| *clock == self).map_or("", |(_, word)| word)
    }
}

impl Cause {
    /// Every cause with the value of its label, in order.
    pub const ALL: [(Cause, &'static str); 16] = [
        (Cause::Timeout, "timeout"),
        (Cause::NoRoute, "no_route"),
        (Cause::NotPermitted, "not_permitted"),
        (Cause::NoBuffer, "no_buffer"),
        (Cause::InterfaceDown, "interface_down"),
        (Cause::NoAddress, "no_address"),
        (Cause::TooLong, "too_long"),
        (Cause::NotSent, "not_sent"),
        (Cause::NetworkUnreachable, "network_unreachable"),
        (Cause::HostUnreachable, "host_unreachable"),
        (Cause::PortUnreachable, "port_unreachable"),
        (Cause::Unreachable, "unreachable"),
        (Cause::Prohibited, "prohibited"),
        (Cause::TooBig, "too_big"),
        (Cause::TimeExceeded, "time_exceeded"),
        (Cause::Parameter, "parameter_problem"),
    ];

    /// The value of its label.
    pub fn word(self) -> &'static str {
        Cause::ALL.iter().find(|(cause, _)| *cause == self).map_or("", |(_, word)| word)
    }

    /// Whether the probe did not even leave this machine.
    pub fn is_local(self) -> bool {
        use Cause::{InterfaceDown, NoAddress, NoBuffer, NoRoute, NotPermitted, NotSent, TooLong};
        matches!(self, NoRoute | NotPermitted | NoBuffer | InterfaceDown | NoAddress | TooLong | NotSent)
    }

    /// Why sending failed, by the number of the error (errno).
    pub fn of_error(number: i32) -> Cause {
        match number {
            libc::ENETUNREACH | libc::EHOSTUNREACH => Cause::NoRoute,
            libc::EPERM | libc::EACCES => Cause::NotPermitted,
            libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN => Cause::NoBuffer,
            libc::ENETDOWN | libc::ENODEV | libc::ENXIO => Cause::InterfaceDown,
            libc::EADDRNOTAVAIL => Cause::NoAddress,
            libc::EMSGSIZE => Cause::TooLong,
            _ => Cause::NotSent,
        }
    }
}

impl From<Problem> for Cause {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::NetworkUnreachable => Cause::NetworkUnreachable,
            Problem::HostUnreachable => Cause::HostUnreachable,
            Problem::PortUnreachable => Cause::PortUnreachable,
            Problem::Unreachable(_) => Cause::Unreachable,
            Problem::Prohibited => Cause::Prohibited,
            Problem::TooBig(_) => Cause::TooBig,
            Problem::TimeExceeded => Cause::TimeExceeded,
            Problem::Parameter => Cause::Parameter,
        }
    }
}

/// What was counted since the target is known. Times are in nanoseconds; their sums end after five centuries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Probes that are decided, those that could not be sent included.
    pub sent: u64,
    /// Probes that were answered in time.
    pub answered: u64,
    /// Sum of their round trips.
    pub rtt: u64,
    /// Sum of the squares of their round trips.
    pub rtt_squares: u128,
    /// Answers in time that refused the connection.
    pub refused: u64,
    /// First answers that came after the timeout.
    pub late: u64,
    /// Answers to probes that had been answered.
    pub duplicates: u64,
    /// Answers that came after the answer to a probe that was sent later (RFC 4737).
    pub reordered: u64,
    /// Sum of the differences between round trips of successive probes, and how many differences these are.
    pub variation: u64,
    /// See `variation`.
    pub variations: u64,
    /// How often the TTL or hop limit of answers was another than before.
    pub hop_limit_changes: u64,
    /// Time that probes waited in the queue of the interface, and of how many this is known.
    pub queued: u64,
    /// See `queued`.
    pub queued_probes: u64,
    /// Stamps that could not be, as after the clock was set.
    pub impossible_stamps: u64,
    /// By cause, of which a target has seen one or two.
    lost: Sorted<Cause, u64>,
    clocks: [u64; 4],
}

/// A time of less than five centuries.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Totals {
    pub(super) fn count_lost(&mut self, cause: Cause) {
        self.sent += 1;
        match self.lost.get_mut(&cause) {
            Some(lost) => *lost += 1,
            None => _ = self.lost.insert(cause, 1),
        }
    }

    pub(super) fn count_answer(&mut self, rtt: Duration, clock: Clock) {
        let nanos = nanoseconds(rtt);
        self.sent += 1;
        self.answered += 1;
        self.rtt = self.rtt.saturating_add(nanos);
        self.rtt_squares = self.rtt_squares.saturating_add(u128::from(nanos) * u128::from(nanos));
        if let Some(clocks) = self.clocks.get_mut(clock as usize) {
            *clocks += 1;
        }
    }

    /// Probes that were lost for this cause.
    pub fn lost(&self, cause: Cause) -> u64 {
        self.lost.get(&cause).copied().unwrap_or_default()
    }

    /// Round trips by the clock that measured them, in the order of [`Clock`].
    pub fn clocks(&self) -> [u64; 4] {
        self.clocks
    }

    /// Round trips that were measured by this clock.
    pub fn measured_by(&self, clock: Clock) -> u64 {
        self.clocks.get(clock as usize).copied().unwrap_or_default()
    }
}
