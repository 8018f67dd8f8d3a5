//! Bytes and packets of LAN clients, from whichever source the settings name. Sources are never added up.

pub mod sets;

use std::io;
use std::net::IpAddr;

use crate::error::Error;

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

/// A refusal of the kernel's, with what helps against it.
fn refused(tried: &str, error: io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "run as root or grant CAP_NET_ADMIN",
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            "the kernel lacks nf_tables: install kmod-nft-core, or set clients.accounting to conntrack or off"
        }
        _ => return Error::io(tried, error),
    };
    Error::io(tried, error).remedy(remedy)
}
