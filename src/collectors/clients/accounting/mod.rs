//! Bytes and packets of LAN clients, from whichever source the settings name. Sources are never added up.

pub mod check;
pub mod rules;
pub mod sets;
mod transaction;
mod watch;

use std::io;
use std::net::IpAddr;

use super::ROW;
use crate::collectors::single::Single;
use crate::error::{Error, Result};

/// Which way a packet goes, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The client sends.
    Tx,
    /// The client receives.
    Rx,
}

/// What one source has counted for one client in one direction since it began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The client's address.
    pub addr: IpAddr,
    /// Which way.
    pub direction: Direction,
    /// Bytes, with IP headers and without Ethernet's.
    pub bytes: u64,
    /// Packets; an aggregated one counts once.
    pub packets: u64,
}

/// What nft shows of what we made where it may look like somebody else's, and what we know it by.
const COMMENT: &str = "gatemeter: bytes of LAN clients";
/// Behind the firewall's own filter (NF_IP_PRI_FILTER, which is 0): what that drops is not counted.
const PRIORITY: i32 = 10;

/// Takes "there is none" for an answer.
fn there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A refusal of the kernel's, with what helps against it.
fn refused(tried: &str, error: io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "run as root or grant CAP_NET_ADMIN",
        _ if is_lack(&error) => {
            "the kernel lacks nf_tables: install kmod-nft-core, or set clients.accounting to conntrack or off"
        }
        _ => return Error::io(tried, error),
    };
    Error::io(tried, error).remedy(remedy)
}

/// Whether this is how a kernel without nf_tables, or without netlink for it, answers.
fn is_lack(error: &io::Error) -> bool {
    const LACK: [i32; 4] = [libc::EINVAL, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT];
    error.raw_os_error().is_some_and(|errno| LACK.contains(&errno))
}

/// Refuses a second daemon that would make the same table or rules in this network namespace.
fn single(tried: &str) -> Result<Single> {
    Single::claim(ROW.name, tried, "counts LAN clients")
}
