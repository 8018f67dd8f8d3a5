//! The way from a name as it was written to its addresses: one complete name after the other, until one has any.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::known::{Families, Known, Trouble};
use super::{Family, HostName, Key};

/// What came of asking for the addresses of one family: those and for how many seconds they hold.
pub type Found = Result<(Vec<IpAddr>, u32), Lack>;

/// Why there are none. Of two families, the one further down counts: what cannot be told of one cannot be told of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    NoSuchName,
    NoAddress,
    Cut,
    Failed(u8),
    Silence,
}

impl Lack {
    /// Why one name and the next one to ask for have no addresses. That a name is there says more than that another one
    /// cannot be asked for, as where a server refuses names without a dot; that it is not there says less.
    fn and(self, next: Lack) -> Lack {
        match (self, next) {
            (_, Lack::Silence) => Lack::Silence,
            (Lack::NoAddress, _) | (_, Lack::NoAddress) => Lack::NoAddress,
            (this, next) => this.max(next),
        }
    }
}

/// A name under way.
#[derive(Debug)]
pub struct Job {
    pub key: Key,
    /// Complete names that were not asked for yet.
    left: VecDeque<HostName>,
    /// What came of the one that is being asked for, IPv4 and IPv6; `None` as long as it is under way.
    found: [Option<Found>; 2],
    /// Why those before had no addresses.
    lack: [Lack; 2],
}

/// What is to be done for a job.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// To wait for answers.
    Wait,
    /// To ask for this name, by all families that are wanted.
    Ask(HostName),
    /// Nothing.
    Done,
}

impl Job {
    /// Has nothing asked before its first [`Job::step`].
    pub fn new(key: Key, candidates: Vec<HostName>) -> Self {
        // As if a name before the first had been asked for in vain.
        let none = || Some(Err(Lack::NoSuchName));
        Job { key, left: candidates.into(), found: [none(), none()], lack: [Lack::NoSuchName; 2] }
    }

    /// Takes an answer in.
    pub fn take(&mut self, family: Family, found: Found) {
        let [v4, v6] = &mut self.found;
        *(if family == Family::V4 { v4 } else { v6 }) = Some(found);
    }

    /// Goes on if the answers to what was asked have come.
    pub fn step(&mut self) -> Step {
        let is_over = |found: &Option<Found>| matches!(found, Some(Ok(_) | Err(Lack::Silence)));
        if self.found.iter().any(Option::is_none) {
            return Step::Wait;
        }
        // Who does not answer for one name would be asked for the next ones in vain, too.
        if self.found.iter().any(is_over) {
            return Step::Done;
        }
        for (lack, found) in self.lack.iter_mut().zip(&self.found) {
            if let Some(Err(found)) = found {
                *lack = lack.and(*found);
            }
        }
        let Some(name) = self.left.pop_front() else { return Step::Done };
        self.found = [Some(Err(Lack::NoSuchName)), Some(Err(Lack::NoSuchName))];
        for family in self.key.families.each() {
            let [v4, v6] = &mut self.found;
            *(if family == Family::V4 { v4 } else { v6 }) = None;
        }
        Step::Ask(name)
    }

    /// What is known now, and for how many seconds if all was answered and there are addresses. What could not be asked
    /// for stays as it was known before. `servers` tells who was asked.
    pub fn result(&self, old: Option<&Known>, servers: impl FnOnce() -> String) -> (Known, Option<u32>) {
        let is_found = self.found.iter().any(|found| matches!(found, Some(Ok(_))));
        let (mut addrs, mut least, mut worst) = (Vec::new(), u32::MAX, Lack::NoSuchName);
        for (family, (found, before)) in [Families::V4, Families::V6].into_iter().zip(self.found.iter().zip(self.lack))
        {
            match found.as_ref().unwrap_or(&Err(Lack::Silence)) {
                Ok((found, ttl)) => {
                    addrs.extend(found);
                    least = least.min(*ttl);
                }
                Err(lack) => {
                    // A name that has addresses is the one that was meant, whatever came of those before it.
                    let lack = if is_found { *lack } else { before.and(*lack) };
                    worst = worst.max(lack);
                    if lack > Lack::NoAddress {
                        let old = old.into_iter().flat_map(|old| &old.addrs);
                        addrs.extend(old.copied().filter(|addr| family.have(addr)));
                    }
                }
            }
        }
        let trouble = match worst {
            Lack::NoSuchName | Lack::NoAddress if !addrs.is_empty() => None,
            Lack::NoSuchName => Some(Trouble::NoSuchName),
            Lack::NoAddress => Some(Trouble::NoAddress(self.key.families)),
            Lack::Cut => Some(Trouble::Cut),
            Lack::Failed(code) => Some(Trouble::Failed(code)),
            Lack::Silence => Some(Trouble::Unanswered(servers().into())),
        };
        let ttl = trouble.is_none().then_some(least);
        (Known::of(addrs, trouble), ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of a name with these answers for one name after the other by IPv4, then by IPv6.
    fn known_by(answers: &[[Found; 2]]) -> Known {
        let name = |n: usize| HostName::parse(&format!("name{n}")).unwrap();
        let key = Key { name: name(0), families: Families::Both };
        let mut job = Job::new(key, (0..answers.len()).map(name).collect());
        for (n, [v4, v6]) in answers.iter().enumerate() {
            assert_eq!(job.step(), Step::Ask(name(n)));
            assert_eq!(job.step(), Step::Wait);
            job.take(Family::V6, v6.clone());
            assert_eq!(job.step(), Step::Wait);
            job.take(Family::V4, v4.clone());
        }
        assert_eq!(job.step(), Step::Done);
        let old = Known { addrs: vec!["10.0.0.9".parse().unwrap(), "fd00::9".parse().unwrap()], trouble: None };
        let (known, ttl) = job.result(Some(&old), || "all".into());
        assert_eq!(ttl.is_none(), known.trouble.is_some());
        known
    }

    fn addr(text: &str) -> Found {
        Ok((vec![text.parse().unwrap()], 60))
    }

    fn is(known: &Known, addrs: &str, trouble: Option<Trouble>) {
        let shown: Vec<_> = known.addrs.iter().map(|addr| addr.to_string()).collect();
        assert_eq!((shown.join(" ").as_str(), &known.trouble), (addrs, &trouble));
    }

    const NO_NAME: Found = Err(Lack::NoSuchName);
    const NO_ADDRESS: Found = Err(Lack::NoAddress);
    const FAILED: Found = Err(Lack::Failed(2));
    const SILENCE: Found = Err(Lack::Silence);

    #[test]
    fn one_family_is_enough_and_ends_the_search() {
        is(&known_by(&[[addr("10.0.0.1"), NO_ADDRESS]]), "10.0.0.1", None);
        is(&known_by(&[[NO_NAME, NO_NAME], [NO_ADDRESS, addr("fd00::1")]]), "fd00::1", None);
        is(&known_by(&[[FAILED, FAILED], [addr("10.0.0.1"), NO_ADDRESS]]), "10.0.0.1", None);
    }

    #[test]
    fn what_could_not_be_asked_for_stays_as_it_was() {
        let failed = || Some(Trouble::Failed(2));
        is(&known_by(&[[addr("10.0.0.1"), FAILED]]), "10.0.0.1 fd00::9", failed());
        is(&known_by(&[[FAILED, NO_ADDRESS]]), "10.0.0.9", failed());
        is(&known_by(&[[FAILED, FAILED], [NO_NAME, NO_NAME]]), "10.0.0.9 fd00::9", failed());
        is(&known_by(&[[NO_NAME, SILENCE]]), "fd00::9", Some(Trouble::Unanswered("all".into())));
    }

    #[test]
    fn a_name_without_an_address_is_told_from_no_name() {
        is(&known_by(&[[NO_NAME, NO_NAME], [NO_NAME, NO_NAME]]), "", Some(Trouble::NoSuchName));
        is(&known_by(&[[NO_NAME, NO_NAME], [NO_ADDRESS, NO_ADDRESS]]), "", Some(Trouble::NoAddress(Families::Both)));
        is(&known_by(&[[NO_ADDRESS, NO_ADDRESS], [FAILED, FAILED]]), "", Some(Trouble::NoAddress(Families::Both)));
    }
}
