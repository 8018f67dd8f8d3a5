//! Keeping the table: from what the kernel has to what it shall have, and again whenever somebody changed it.

use std::io;

use super::super::COMMENT;
use super::super::transaction::{Answer, Batches, commit};
use super::kernel::{Seen, look};
use super::layout::{CHAIN, FAMILY, KINDS, TABLE, add_chain, add_elements, add_rules, add_sets, address};
use super::{Keeper, Sets, TRIED, TRIES, not_ours, refused};
use crate::error::{Error, Result};
use crate::netlink::Message;
use crate::netlink::nftables::{self, TABLE_OWNER, TABLE_PERSIST, read};

/// What is to be done about the table.
enum Step {
    /// Nothing: it is as it shall be.
    Nothing,
    /// It is made with the counts we know, in place of what is there.
    Build,
    /// Likewise, once the counts of the sets that are there have been read.
    ReadAndBuild,
    /// It is taken over, once the counts have been read.
    Adopt,
    /// Its chain or rules are put right.
    Mend,
}

impl Sets {
    /// Makes the kernel have our table as it shall be, with the counts; true if that took a change.
    pub(super) async fn ensure(&mut self) -> Result<bool> {
        let mut changed = false;
        for _ in 0..TRIES {
            let seen = look(&mut self.reader).await.map_err(|error| refused(TRIED, error))?;
            let Some(keeper) = &self.keeper else { return Ok(false) };
            let (size, protect) = (self.options.max_clients, self.options.protect);
            let batches = match step(keeper, seen.as_ref(), size, protect)? {
                Step::Nothing => Batches::default(),
                Step::Build => self.build(seen.as_ref()),
                Step::ReadAndBuild => {
                    self.absorb(seen.as_ref()).await?;
                    self.build(seen.as_ref())
                }
                Step::Adopt => {
                    self.absorb(seen.as_ref()).await?;
                    let mut batches = Batches::default();
                    if protect {
                        batches.next().table(FAMILY, TABLE, TABLE_OWNER | TABLE_PERSIST, Some(COMMENT));
                    }
                    self.mend_chain(seen.as_ref(), &mut batches);
                    batches
                }
                Step::Mend => {
                    let mut batches = Batches::default();
                    self.mend_chain(seen.as_ref(), &mut batches);
                    batches
                }
            };
            let batches = batches.finish();
            if batches.is_empty() {
                let Some(keeper) = &mut self.keeper else { return Ok(false) };
                keeper.made = seen;
                keeper.fresh = false;
                keeper.watch.settled();
                return Ok(changed);
            }
            changed |= self.send(&batches)?;
        }
        Err(Error::failed(TRIED, "others change the ruleset faster than it can be kept"))
    }

    /// Reads the counts of those sets that are the ones we know, or of all of them if we know none yet.
    async fn absorb(&mut self, seen: Option<&Seen>) -> Result<()> {
        let made = self.keeper.as_ref().and_then(|keeper| keeper.made.as_ref());
        let made = made.map(Seen::set_handles);
        self.ledger.begin();
        for (set, kind) in KINDS.iter().enumerate() {
            let there = seen.and_then(|seen| seen.sets.get(set).copied().flatten());
            let Some(there) = there.filter(|there| kind.has_our_elements(there)) else { continue };
            if made.is_some_and(|made| made.get(set) != Some(&Some(there.handle))) {
                continue;
            }
            let dump = |sequence| nftables::dump_elements(sequence, FAMILY, TABLE, kind.name);
            let ledger = &mut self.ledger;
            let each = |message: &Message<'_>| {
                read::elements(message, |key, count| {
                    if let Some(addr) = address(key).filter(|addr| kind.takes(*addr)) {
                        ledger.note(set, addr, count);
                    }
                })
            };
            match self.reader.dump(dump, each).await {
                // Removed meanwhile: what was read until now is what there is.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => drop(other.map_err(|error| refused(TRIED, error))?),
            }
        }
        Ok(())
    }

    /// The whole table, with the counts we know.
    fn build(&mut self, instead_of: Option<&Seen>) -> Batches {
        let mut batches = Batches::default();
        let Some(keeper) = &mut self.keeper else { return batches };
        (keeper.unfinished, keeper.new_rules) = (true, true);
        if instead_of.is_some() {
            batches.next().delete_table(FAMILY, TABLE);
        }
        let flags = if self.options.protect { TABLE_OWNER | TABLE_PERSIST } else { 0 };
        batches.next().table(FAMILY, TABLE, flags, Some(COMMENT));
        add_sets(&mut batches, self.options.max_clients);
        for (set, kind) in KINDS.iter().enumerate() {
            add_elements(&mut batches, kind, &self.ledger.elements(set, self.options.max_clients));
        }
        // Last, since from then on packets add elements.
        add_chain(&mut batches);
        add_rules(&mut batches, keeper.rules.as_deref().unwrap_or_default());
        batches
    }

    /// The chain and its rules, where they are not as they shall be.
    fn mend_chain(&self, seen: Option<&Seen>, batches: &mut Batches) {
        let Some(keeper) = &self.keeper else { return };
        let chain = seen.and_then(|seen| seen.chain);
        let fits = chain.is_some_and(|chain| chain.fits);
        if fits && keeper.rules.is_none() {
            return;
        }
        if chain.is_some() {
            batches.next().delete_rules(FAMILY, TABLE, CHAIN);
        }
        if !fits {
            if chain.is_some() {
                batches.next().delete_chain(FAMILY, TABLE, CHAIN);
            }
            add_chain(batches);
        }
        add_rules(batches, keeper.rules.as_deref().unwrap_or_default());
    }

    /// Sends transactions in order, as far as they are not refused; true if all were done.
    fn send(&mut self, batches: &[Vec<u8>]) -> Result<bool> {
        let Some(keeper) = &mut self.keeper else { return Ok(false) };
        for batch in batches {
            match commit(&mut keeper.owner, batch) {
                Answer::Done => {}
                Answer::Changed => return Ok(false),
                Answer::Unknown(_) if self.options.protect => {
                    log::debug!(target: "clients", "this kernel lets others change the nftables table (Linux 6.9 does not)");
                    self.options.protect = false;
                    return Ok(false);
                }
                Answer::Unknown(error) | Answer::Refused(error) => return Err(refused(TRIED, error)),
            }
        }
        if keeper.unfinished {
            self.ledger.settle();
            self.ledger.made(true);
        }
        (keeper.fresh, keeper.unfinished, keeper.new_rules) = (true, false, false);
        keeper.watch.pass_over();
        Ok(true)
    }
}

/// Compares what is there with what shall be.
fn step(keeper: &Keeper, seen: Option<&Seen>, size: u32, protect: bool) -> Result<Step> {
    let made = keeper.made.as_ref();
    let Some(seen) = seen else {
        if made.is_some() && !keeper.unfinished {
            log::warn!(target: "clients", "the nftables table inet {TABLE} was removed; it is made again");
        }
        return Ok(Step::Build);
    };
    let known = keeper.fresh || made.is_some_and(|made| made.handle == seen.handle);
    if !known && !keeper.unfinished {
        if !seen.is_ours() {
            return Err(not_ours(TRIED));
        }
        if seen.is_owned() {
            return Err(Error::failed(TRIED, format!("another process owns the nftables table inet {TABLE}"))
                .remedy("stop the gatemeter that runs already"));
        }
    }
    let fits = seen.sets_fit(size) && seen.is_protected() == protect;
    if keeper.unfinished || (!known && made.is_some()) {
        // A table that somebody put in the place of ours holds an old copy of the counts, if any.
        return Ok(Step::Build);
    }
    if !known {
        return Ok(if fits { Step::Adopt } else { Step::ReadAndBuild });
    }
    let same_sets = keeper.fresh || made.is_some_and(|made| made.set_handles() == seen.set_handles());
    if !fits || !same_sets {
        log::warn!(target: "clients", "the nftables table inet {TABLE} lacks sets; it is made again");
        return Ok(Step::ReadAndBuild);
    }
    let chain = seen.chain.is_some_and(|chain| chain.fits);
    let rules = match (&keeper.rules, made) {
        _ if keeper.new_rules => false,
        (None, _) => true,
        (Some(rules), _) if keeper.fresh => rules.len() == seen.rules.len(),
        (Some(_), made) => made.is_some_and(|made| made.rules == seen.rules),
    };
    Ok(if chain && rules { Step::Nothing } else { Step::Mend })
}
