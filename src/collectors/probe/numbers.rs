//! Which packet is whose, by the number that the kernel gives each packet of a socket: 0 to the first, and so on.
//!
//! A packet that the kernel refuses may have used up a number or not, which depends on where in the kernel that was. If no
//! stamp is under way, numbers begin anew then. Otherwise stamps that are yet to come would be taken for those of others:
//! the next packet is sent by itself instead, and the kernel tells its number when it queues it. Pure.

use std::collections::VecDeque;

use super::target::Passed;

/// Whose probe a packet is: number of the target, and sequence.
pub type Whose = (u32, u16);
/// A target that there is not: they are numbered from 0.
const NOBODY: Whose = (u32::MAX, 0);
/// Most packets whose stamps are waited for.
const MOST: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Whose the packets are that were sent, and the number of the first.
    sent: VecDeque<Whose>,
    first: u32,
    /// How many of these are not stamped yet.
    unstamped: usize,
    /// Whether the number of the next packet is not known.
    is_unsure: bool,
    /// The packet that was sent then, until its number is known.
    unplaced: Option<Whose>,
}

impl Numbers {
    /// Whether packets must be sent one at a time, and what the kernel has to say be taken in before and behind each.
    pub fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// Whether packets were sent whose stamps have not come.
    pub fn awaits_stamps(&self) -> bool {
        self.unstamped > 0 || self.is_unsure
    }

    /// These were sent; a single one if the numbers are not known.
    pub fn sent(&mut self, packets: &[Whose]) {
        if self.is_unsure {
            self.unplaced = packets.first().copied();
            return;
        }
        self.sent.extend(packets);
        self.unstamped += packets.len();
        self.trim();
    }

    /// What the kernel had to say right after a packet was sent has been taken in. If it has not told the number, as where
    /// the neighbour is yet to be found, the packet does without stamps.
    pub fn give_up(&mut self) {
        self.unplaced = None;
    }

    /// A packet was refused, and what the kernel had to say by then has been taken in. True if numbers are to begin anew,
    /// see [`Numbers::restart`].
    pub fn refused(&mut self) -> bool {
        self.is_unsure |= self.unstamped > 0;
        !self.is_unsure
    }

    /// The next packet has the number 0.
    pub fn restart(&mut self) {
        *self = Numbers { sent: std::mem::take(&mut self.sent), ..Numbers::default() };
        self.sent.clear();
    }

    /// Whose the packet with this number is that the kernel has stamped; none if nobody knows.
    pub fn stamped(&mut self, number: u32, passed: Passed) -> Option<Whose> {
        let at = number.wrapping_sub(self.first) as usize;
        // Numbers only grow: one beyond all that are known is that of the latest packet.
        if passed == Passed::Queued
            && (self.sent.len()..1 << 31).contains(&at)
            && let Some(whose) = self.unplaced.take()
        {
            self.place(whose, number);
        }
        let whose = self.sent.get(number.wrapping_sub(self.first) as usize).copied();
        let whose = whose.filter(|whose| *whose != NOBODY)?;
        self.unstamped = self.unstamped.saturating_sub(usize::from(passed == Passed::Sent));
        Some(whose)
    }

    /// A packet whose number was not known has this one; those between are nobody's.
    fn place(&mut self, whose: Whose, number: u32) {
        let at = number.wrapping_sub(self.first) as usize;
        if at > 2 * MOST {
            self.sent.clear();
            (self.first, self.unstamped) = (number, 0);
        } else {
            self.sent.resize(at, NOBODY);
        }
        self.sent.push_back(whose);
        self.unstamped += 1;
        self.is_unsure = false;
        self.trim();
    }

    fn trim(&mut self) {
        while self.sent.len() > MOST {
            self.sent.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Whose = (1, 10);
    const B: Whose = (2, 20);
    const C: Whose = (3, 30);

    /// Both stamps of a packet.
    fn pass(numbers: &mut Numbers, number: u32) -> [Option<Whose>; 2] {
        [Passed::Queued, Passed::Sent].map(|passed| numbers.stamped(number, passed))
    }

    #[test]
    fn packets_are_numbered_in_the_order_of_sending() {
        let mut numbers = Numbers::default();
        numbers.sent(&[A, B]);
        numbers.sent(&[C]);
        assert_eq!([2, 0, 1].map(|number| pass(&mut numbers, number)), [[Some(C); 2], [Some(A); 2], [Some(B); 2]]);
        assert!(!numbers.awaits_stamps());
        assert_eq!(pass(&mut numbers, 3), [None; 2]);
    }

    #[test]
    fn numbers_begin_anew_behind_a_refusal_if_no_stamp_is_under_way() {
        let mut numbers = Numbers::default();
        numbers.sent(&[A]);
        pass(&mut numbers, 0);
        assert!(numbers.refused());
        numbers.restart();
        numbers.sent(&[B]);
        assert_eq!(pass(&mut numbers, 0), [Some(B); 2]);
    }

    #[test]
    fn a_stamp_that_comes_after_a_refusal_is_that_of_its_own_packet() {
        for used_up in [0, 1, 2] {
            let mut numbers = Numbers::default();
            numbers.sent(&[A]);
            assert_eq!(numbers.stamped(0, Passed::Queued), Some(A));
            assert!(!numbers.refused() && numbers.is_unsure());
            // The refused packet was queued as well, perhaps.
            assert_eq!((0..used_up).find_map(|number| numbers.stamped(1 + number, Passed::Queued)), None);
            numbers.sent(&[B]);
            assert_eq!(numbers.stamped(1 + used_up, Passed::Queued), Some(B));
            numbers.give_up();
            assert!(!numbers.is_unsure());
            numbers.sent(&[C]);
            let stamps = [0, 1 + used_up, 2 + used_up].map(|number| numbers.stamped(number, Passed::Sent));
            assert_eq!(stamps, [Some(A), Some(B), Some(C)], "{used_up}");
            assert!(!numbers.awaits_stamps());
        }
    }

    #[test]
    fn a_packet_whose_number_is_not_told_has_no_stamps_and_the_next_one_is_asked() {
        let mut numbers = Numbers::default();
        numbers.sent(&[A]);
        assert!(!numbers.refused());
        numbers.sent(&[B]);
        numbers.give_up();
        assert!(numbers.is_unsure() && numbers.awaits_stamps());
        // It comes late and may be anybody's.
        assert_eq!(numbers.stamped(2, Passed::Queued), None);
        numbers.sent(&[C]);
        assert_eq!(numbers.stamped(3, Passed::Queued), Some(C));
        assert_eq!([0, 2, 3].map(|number| numbers.stamped(number, Passed::Sent)), [Some(A), None, Some(C)]);
    }

    #[test]
    fn old_stamps_are_not_told_for_the_number_of_a_packet() {
        let mut numbers = Numbers::default();
        numbers.sent(&[A, B]);
        assert!(!numbers.refused());
        numbers.sent(&[C]);
        assert_eq!([numbers.stamped(0, Passed::Queued), numbers.stamped(1, Passed::Sent)], [Some(A), Some(B)]);
        assert_eq!(numbers.stamped(9, Passed::Sent), None);
        assert_eq!(numbers.stamped(4, Passed::Queued), Some(C));
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_numbers_wrap() {
        let mut numbers = Numbers { first: u32::MAX - 1, ..Numbers::default() };
        numbers.sent(&[A, B, C]);
        assert_eq!(pass(&mut numbers, 0), [Some(C); 2]);
        for _ in 0..2 * MOST {
            numbers.sent(&[A]);
        }
        assert_eq!(numbers.sent.len(), MOST);
        assert!(!numbers.refused());
        numbers.sent(&[B]);
        assert_eq!(numbers.stamped(1 << 20, Passed::Queued), Some(B));
        assert_eq!((numbers.sent.len(), numbers.first), (1, 1 << 20));
    }
}
