//! The host tables and what they hold: reading, forgetting, and moving to a table of another size.
//!
//! Each CPU counts for itself; a host's figure is the sum. On a 32-bit machine the two halves of a counter are not
//! copied at once, so a value that lies close to a carry is read again until two copies agree.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::codec::layout::{TABLE_FULL, TRUNCATED};
use super::codec::{self, Amount, Counters, HostKey};
use crate::error::{Error, Result};
use crate::sys::bpf::{self, Batch, Map};

/// Hosts read per system call.
const BATCH: usize = 64;
/// Copies of a value that may be torn, before the last one is taken as it is.
const TRIES: usize = 8;

/// Traffic that belongs to no host, since the tables exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uncounted {
    /// Of hosts that found no room in their table.
    pub table_full: Amount,
    /// IP packets that end inside their IP header.
    pub truncated: Amount,
}

/// The tables of one program.
#[derive(Debug)]
pub struct Tables {
    hosts: [Map; 2],
    batches: [Batch; 2],
    uncounted: Map,
    /// Tables of another size, and where they are pinned; programs of an earlier process may still count into them.
    former: Vec<(PathBuf, Map)>,
    /// One value of all CPUs, so that reading allocates nothing.
    value: Vec<u8>,
}

impl Tables {
    /// Takes the tables over; `former` are those of another size that are still pinned.
    pub fn new(hosts: [Map; 2], uncounted: Map, former: Vec<(PathBuf, Map)>) -> Tables {
        let batches = [Batch::new(&hosts[0], BATCH), Batch::new(&hosts[1], BATCH)];
        Tables { hosts, batches, uncounted, former, value: Vec::new() }
    }

    /// Calls `each` with every host, in no order.
    pub fn read(&mut self, mut each: impl FnMut(&HostKey, &Counters)) -> Result<()> {
        if self.former.is_empty() {
            for (map, batch) in self.hosts.iter().zip(&mut self.batches) {
                walk(map, batch, &mut self.value, |key, counters| each(&key, &counters))?;
            }
            return Ok(());
        }
        // Until they are merged, a host may be in an old and in the new table.
        let mut sums = BTreeMap::<HostKey, Counters>::new();
        for map in self.hosts.iter().chain(self.former.iter().map(|(_, map)| map)) {
            let mut batch = Batch::new(map, BATCH);
            walk(map, &mut batch, &mut self.value, |key, counters| sums.entry(key).or_default().add(&counters))?;
        }
        for (key, counters) in &sums {
            each(key, counters);
        }
        Ok(())
    }

    /// Forgets a host; it starts from 0 if it is seen again.
    pub fn remove(&mut self, key: &HostKey) -> Result<()> {
        let raw = codec::key_bytes(key);
        for map in self.hosts.iter().chain(self.former.iter().map(|(_, map)| map)) {
            if map.info().key_size as usize == raw.len() {
                map.delete(&raw).map_err(|error| Error::io(format!("forget host {}", key.addr), error))?;
            }
        }
        Ok(())
    }

    /// What could not be counted for any host.
    pub fn uncounted(&mut self) -> Result<Uncounted> {
        let tried = "read what was not counted";
        let mut entry = |index: u32| {
            read_whole(&self.uncounted, &index.to_ne_bytes(), &mut self.value)
                .map_err(|error| Error::io(tried, error))?;
            codec::amount(&self.value).map_err(|error| Error::codec(tried, error))
        };
        Ok(Uncounted { table_full: entry(TABLE_FULL)?, truncated: entry(TRUNCATED)? })
    }

    /// Hosts that fit in each of the two tables.
    pub fn capacity(&self) -> u32 {
        self.hosts.iter().map(|map| map.info().max_entries).min().unwrap_or(0)
    }

    /// Any object of ours that can be pinned as a mark.
    pub fn mark(&self) -> BorrowedFd<'_> {
        self.uncounted.fd()
    }

    /// Whether there are tables of another size.
    pub fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// Adds the tables of another size to those in use, by the program made for it, and unpins them. Answers how many
    /// hosts found no room.
    ///
    /// Each entry goes as soon as it is added, so that whoever comes after a crash in between adds the rest.
    pub fn merge(&mut self, adder: BorrowedFd<'_>) -> Result<u32> {
        let tried = "keep the counters of a table of another size";
        let mut lost = 0;
        while let Some((path, map)) = self.former.last() {
            let mut key = vec![0; map.info().key_size as usize];
            while map.next_key(None, &mut key).map_err(|error| Error::io(tried, error))? {
                read_whole(map, &key, &mut self.value).map_err(|error| Error::io(tried, error))?;
                let counters = codec::counters(&self.value).map_err(|error| Error::codec(tried, error))?;
                let frame = codec::add_frame(&key, &counters);
                let run = bpf::test_run(adder, &frame, &[], 1).map_err(|error| Error::io(tried, error))?;
                lost += u32::from(run.retval != 0);
                map.delete(&key).map_err(|error| Error::io(tried, error))?;
            }
            fs::remove_file(path).map_err(|error| Error::io(format!("unpin {}", path.display()), error))?;
            self.former.pop();
        }
        Ok(lost)
    }
}

fn walk(map: &Map, batch: &mut Batch, value: &mut Vec<u8>, mut each: impl FnMut(HostKey, Counters)) -> Result<()> {
    let tried = "read the host tables";
    let mut emit = |key: &[u8], value: &[u8]| -> Result<()> {
        let counters = codec::counters(value).map_err(|error| Error::codec(tried, error))?;
        each(codec::key(key).map_err(|error| Error::codec(tried, error))?, counters);
        Ok(())
    };
    batch.rewind();
    let mut first = true;
    while !batch.finished() {
        match map.lookup_batch(batch) {
            Ok(()) => {}
            // Before Linux 5.6 there are no batches.
            Err(error) if first && error.raw_os_error() == Some(libc::EINVAL) => return one_by_one(map, value, emit),
            Err(error) => return Err(Error::io(tried, error)),
        }
        first = false;
        for (key, raw) in batch.entries(map) {
            if cfg!(target_pointer_width = "32") && codec::may_be_torn(raw) {
                if read_whole(map, key, value).map_err(|error| Error::io(tried, error))? {
                    emit(key, value)?;
                }
            } else {
                emit(key, raw)?;
            }
        }
    }
    Ok(())
}

fn one_by_one(map: &Map, value: &mut Vec<u8>, mut emit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let failed = |error| Error::io("read the host tables", error);
    let size = map.info().key_size as usize;
    let (mut key, mut next) = (vec![0; size], vec![0; size]);
    let mut more = map.next_key(None, &mut key).map_err(failed)?;
    while more {
        if read_whole(map, &key, value).map_err(failed)? {
            emit(&key, value)?;
        }
        more = map.next_key(Some(&key), &mut next).map_err(failed)?;
        std::mem::swap(&mut key, &mut next);
    }
    Ok(())
}

/// Reads one value; on 32-bit machines again until two copies agree, if it may be torn. `false` if it is not there.
fn read_whole(map: &Map, key: &[u8], value: &mut Vec<u8>) -> io::Result<bool> {
    value.resize(map.value_len(), 0);
    let mut there = map.lookup(key, value)?;
    if cfg!(target_pointer_width = "32") && codec::may_be_torn(value) {
        let mut again = vec![0; value.len()];
        for _ in 0..TRIES {
            there = there && map.lookup(key, &mut again)?;
            let agree = codec::agree(value, &again);
            std::mem::swap(value, &mut again);
            if agree || !there {
                break;
            }
        }
    }
    Ok(there)
}
