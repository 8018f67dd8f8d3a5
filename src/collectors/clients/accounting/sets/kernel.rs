//! What the kernel has of our table, and what it says to our transactions.

use std::io;

use super::layout::{CHAIN, COMMENT, FAMILY, KINDS, SETS, TABLE, chain_fits};
use crate::netlink::nftables::read::{self, Chain, Set};
use crate::netlink::nftables::{self, TABLE_OWNER, TABLE_PERSIST};
use crate::netlink::transport::{Refusal, Requests};

/// A table of our name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `NFTA_TABLE_HANDLE`: tells it from one that was made later under the same name.
    pub handle: u64,
    flags: u32,
    /// Whether its comment is ours; `None` if it has none.
    comment: Option<bool>,
    /// The chain of our name.
    pub chain: Option<Chain>,
    /// The sets of our names.
    pub sets: [Option<Set>; SETS],
    /// The handles of the chain's rules.
    pub rules: Vec<u64>,
}

impl Seen {
    /// Whether it is a table that a gatemeter made, as far as can be told.
    pub fn is_ours(&self) -> bool {
        // Kernels before 5.10 keep no comment, so there its parts must do.
        self.comment.unwrap_or_else(|| {
            let sets = KINDS.iter().zip(&self.sets);
            let known = |(kind, set): (&super::layout::Kind, &Option<Set>)| {
                set.as_ref().is_some_and(|set| kind.has_our_elements(set))
            };
            sets.into_iter().all(known) && self.chain.as_ref().is_some_and(chain_fits)
        })
    }

    /// Whether some socket owns it now.
    pub fn is_owned(&self) -> bool {
        self.flags & TABLE_OWNER != 0
    }

    /// Whether it was made to have an owner and to outlive him.
    pub fn is_protected(&self) -> bool {
        self.flags & TABLE_PERSIST != 0
    }

    /// Whether all four sets are as they are made for `size` elements each.
    pub fn sets_fit(&self, size: u32) -> bool {
        KINDS.iter().zip(&self.sets).all(|(kind, set)| set.as_ref().is_some_and(|set| kind.fits(set, size)))
    }

    /// The handles of the sets.
    pub fn set_handles(&self) -> [Option<u64>; SETS] {
        self.sets.map(|set| set.map(|set| set.handle))
    }
}

/// Looks at the table of our name, if there is one. What changes meanwhile may be seen half.
pub async fn look(requests: &mut Requests) -> io::Result<Option<Seen>> {
    let mut seen = None;
    let sequence = requests.next_sequence();
    let found = requests.get(&nftables::get_table(sequence, FAMILY, TABLE), |message| {
        seen = read::table(message)?.map(|table| Seen {
            handle: table.handle,
            flags: table.flags,
            comment: table.comment.map(|comment| comment == COMMENT.as_bytes()),
            chain: None,
            sets: [None; SETS],
            rules: Vec::new(),
        });
        Ok(())
    });
    there(found)?;
    let Some(mut seen) = seen else { return Ok(None) };
    for (kind, set) in KINDS.iter().zip(&mut seen.sets) {
        let sequence = requests.next_sequence();
        there(requests.get(&nftables::get_set(sequence, FAMILY, TABLE, kind.name), |message| {
            *set = read::set(message)?;
            Ok(())
        }))?;
    }
    let sequence = requests.next_sequence();
    there(requests.get(&nftables::get_chain(sequence, FAMILY, TABLE, CHAIN), |message| {
        seen.chain = read::chain(message)?;
        Ok(())
    }))?;
    let (rules, dump) =
        (&mut seen.rules, |sequence| nftables::dump_rules(sequence, Some((FAMILY, TABLE)), Some(CHAIN)));
    // A dump that is interrupted lists some rules twice or not at all; then they are taken for changed.
    let each = |message: &crate::netlink::Message<'_>| {
        rules.extend(read::rule(message)?.map(|rule| rule.handle));
        Ok(())
    };
    there(requests.dump(dump, each).await.map(drop))?;
    Ok(Some(seen))
}

/// Takes "there is none" for an answer.
fn there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What the kernel said to a transaction.
#[derive(Debug)]
pub enum Answer {
    /// All was done.
    Done,
    /// Nothing was done, because something had changed in between: look again.
    Changed,
    /// Nothing was done: it does not know what it was asked for.
    Unknown(io::Error),
    /// Nothing was done, for this reason.
    Refused(io::Error),
}

/// Sends a transaction.
pub fn commit(requests: &mut Requests, batch: &[u8]) -> Answer {
    match requests.change(batch) {
        Ok(refusals) => answer(&refusals),
        Err(error) => Answer::Refused(error),
    }
}

/// The reason that counts: one that looking again does not cure comes before others.
fn answer(refusals: &[Refusal]) -> Answer {
    const CHANGED: [i32; 6] = [libc::ENOENT, libc::EEXIST, libc::EBUSY, libc::EAGAIN, libc::EINTR, libc::ERESTART];
    if refusals.is_empty() {
        return Answer::Done;
    }
    match refusals.iter().find(|refusal| !CHANGED.contains(&refusal.errno)) {
        None => Answer::Changed,
        Some(refusal) if matches!(refusal.errno, libc::EINVAL | libc::EOPNOTSUPP) => Answer::Unknown(refusal.error()),
        Some(refusal) => Answer::Refused(refusal.error()),
    }
}
