//! What the kernel has of our table.

use std::io;

use super::super::{COMMENT, there};
use super::layout::{CHAIN, FAMILY, KINDS, SETS, TABLE, chain_fits};
use crate::netlink::nftables::read::{self, Set};
use crate::netlink::nftables::{self, TABLE_OWNER, TABLE_PERSIST};
use crate::netlink::transport::Requests;

/// A table of our name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `NFTA_TABLE_HANDLE`: tells it from one that was made later under the same name.
    pub handle: u64,
    flags: u32,
    /// Whether its comment is ours; `None` if it has none.
    comment: Option<bool>,
    /// The chain of our name.
    pub chain: Option<SeenChain>,
    /// The sets of our names.
    pub sets: [Option<Set>; SETS],
    /// The handles of the chain's rules.
    pub rules: Vec<u64>,
}

/// A chain of our name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenChain {
    handle: u64,
    /// Whether it is the base chain that we make.
    pub fits: bool,
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
            sets.into_iter().all(known) && self.chain.is_some_and(|chain| chain.fits)
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
        seen.chain = read::chain(message)?.map(|chain| SeenChain { handle: chain.handle, fits: chain_fits(&chain) });
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
