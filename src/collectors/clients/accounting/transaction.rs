//! Changes of the ruleset as they are sent, and what the kernel says to them.

use std::io;

use crate::netlink::nftables::batch::Batch;
use crate::netlink::transport::{Refusal, Requests};

/// A transaction is sent when it has grown to this many bytes: the socket's buffer is a few times as large.
const BATCH_BYTES: usize = 48 * 1024;

/// Transactions that follow each other: one, unless there is very much to write.
#[derive(Debug, Default)]
pub struct Batches {
    done: Vec<Vec<u8>>,
    open: Batch,
}

impl Batches {
    /// The transaction that is written to; a new one if the last is large.
    pub fn next(&mut self) -> &mut Batch {
        if self.open.bytes() > BATCH_BYTES {
            self.done.push(std::mem::take(&mut self.open).finish());
        }
        &mut self.open
    }

    /// The transaction that was written to last.
    pub fn same(&mut self) -> &mut Batch {
        &mut self.open
    }

    /// All of them, to be sent in order.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.done.push(self.open.finish());
        }
        self.done
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(errnos: &[i32]) -> String {
        let refusals: Vec<Refusal> = errnos.iter().map(|errno| Refusal { sequence: 2, errno: *errno }).collect();
        match answer(&refusals) {
            Answer::Done => "done".to_owned(),
            Answer::Changed => "changed".to_owned(),
            Answer::Unknown(_) => "unknown".to_owned(),
            Answer::Refused(error) => format!("{:?}", error.kind()),
        }
    }

    #[test]
    fn what_looking_again_cannot_cure_comes_before_what_it_can() {
        assert_eq!(said(&[]), "done");
        assert_eq!(said(&[libc::ENOENT, libc::EBUSY]), "changed");
        // As kernels before 6.9 and before 5.12 answer to flags of a table that they do not know.
        assert_eq!(said(&[libc::EOPNOTSUPP, libc::ENOENT, libc::ENOENT]), "unknown");
        assert_eq!(said(&[libc::EINVAL, libc::ENOENT]), "unknown");
        assert_eq!(said(&[libc::ENOENT, libc::EPERM]), "PermissionDenied");
    }
}
