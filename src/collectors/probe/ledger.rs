//! What is counted of all targets together: packets by protocol, what was ignored, and for each interface which clock
//! measured and how long probes waited in its queue. Targets come and go; these figures only grow.

use super::target::Totals;

/// Most interfaces that are told apart; what leaves by others counts for the last one.
const MOST_INTERFACES: usize = 32;

/// Packets of one protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packets {
    /// Sent.
    pub sent: u64,
    /// Received as the first answer to a probe, in time.
    pub received: u64,
    /// Refused by the kernel when they were to be sent.
    pub errors: u64,
}

/// Why a packet that came in was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It is cut off, its checksum is wrong, or it has impossible values.
    Malformed,
    /// Nobody is probed under its address, or it brings back what no probe carried.
    Foreign,
    /// It is an error about a packet that is no probe under way.
    Stale,
}

impl Ignored {
    /// All of them with the value of their label.
    pub const ALL: [(Ignored, &'static str); 3] =
        [(Ignored::Malformed, "malformed"), (Ignored::Foreign, "foreign"), (Ignored::Stale, "stale")];
}

/// What is known of an interface that probes leave by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its share of the totals.
    pub sums: Accounted,
}

/// The totals of a target that count for an interface; times are in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accounted {
    /// Round trips by clock, in the order of [`Clock`](super::target::Clock).
    pub clocks: [u64; 4],
    /// Time in the queue.
    pub queued: u64,
    /// Probes whose time in the queue is known.
    pub queued_probes: u64,
    /// Stamps that could not be.
    pub impossible: u64,
}

impl Accounted {
    fn of(totals: &Totals) -> Self {
        Accounted {
            clocks: totals.clocks(),
            queued: totals.queued,
            queued_probes: totals.queued_probes,
            impossible: totals.impossible_stamps,
        }
    }

    fn add(&mut self, new: &Accounted, old: &Accounted) {
        for ((sum, new), old) in self.clocks.iter_mut().zip(new.clocks).zip(old.clocks) {
            *sum += new - old;
        }
        self.queued += new.queued - old.queued;
        self.queued_probes += new.queued_probes - old.queued_probes;
        self.impossible += new.impossible - old.impossible;
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// ICMP probes.
    pub icmp: Packets,
    /// TCP probes.
    pub tcp: Packets,
    /// Packets that the sockets had no room for.
    pub overflows: u64,
    ignored: [u64; Ignored::ALL.len()],
    interfaces: Vec<Interface>,
}

impl Ledger {
    /// Packets of TCP or of ICMP.
    pub fn of(&mut self, is_tcp: bool) -> &mut Packets {
        if is_tcp { &mut self.tcp } else { &mut self.icmp }
    }

    /// Counts a packet that was ignored.
    pub fn ignore(&mut self, why: Ignored) {
        if let Some(count) = self.ignored.get_mut(why as usize) {
            *count += 1;
        }
    }

    /// How many packets were ignored for this reason.
    pub fn ignored(&self, why: Ignored) -> u64 {
        self.ignored.get(why as usize).copied().unwrap_or_default()
    }

    /// Counts for an interface what has been added to the totals of a target since the last time.
    pub fn account(&mut self, name: &str, totals: &Totals, accounted: &mut Accounted) {
        let new = Accounted::of(totals);
        if new == *accounted {
            return;
        }
        let old = std::mem::replace(accounted, new);
        let at = match self.interfaces.iter().position(|interface| interface.name == name) {
            Some(at) => at,
            None if self.interfaces.len() < MOST_INTERFACES => {
                self.interfaces.push(Interface { name: name.to_owned(), sums: Accounted::default() });
                self.interfaces.len() - 1
            }
            None => MOST_INTERFACES - 1,
        };
        if let Some(interface) = self.interfaces.get_mut(at) {
            interface.sums.add(&new, &old);
        }
    }

    /// Interfaces that probes have left by.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_a_target_count_once_for_the_interface_it_leaves_by() {
        let (mut ledger, mut accounted) = (Ledger::default(), Accounted::default());
        let mut totals = Totals::default();
        (totals.queued, totals.queued_probes) = (5, 1);
        ledger.account("eth0", &totals, &mut accounted);
        ledger.account("eth0", &totals, &mut accounted);
        (totals.queued, totals.queued_probes) = (12, 2);
        ledger.account("wan", &totals, &mut accounted);
        let sums = ledger.interfaces().iter().map(|one| (one.name.as_str(), one.sums.queued, one.sums.queued_probes));
        assert_eq!(sums.collect::<Vec<_>>(), [("eth0", 5, 1), ("wan", 7, 1)]);
    }

    #[test]
    fn interfaces_beyond_the_last_that_is_told_apart_count_for_it() {
        let mut ledger = Ledger::default();
        let mut totals = Totals::default();
        totals.impossible_stamps = 1;
        for number in 0..MOST_INTERFACES + 3 {
            ledger.account(&format!("ppp{number}"), &totals, &mut Accounted::default());
        }
        assert_eq!(ledger.interfaces().len(), MOST_INTERFACES);
        assert_eq!(ledger.interfaces().last().map(|last| last.sums.impossible), Some(4));
    }
}
