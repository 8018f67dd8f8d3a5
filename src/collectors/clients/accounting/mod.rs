//! Bytes and packets of LAN clients, from whichever source the settings name. Sources are never added up.

pub mod doctor;
pub mod rules;
pub mod sets;
mod transaction;
mod watch;

use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;

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
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            "the kernel lacks nf_tables: install kmod-nft-core, or set clients.accounting to conntrack or off"
        }
        _ => return Error::io(tried, error),
    };
    Error::io(tried, error).remedy(remedy)
}

/// Refuses a second daemon that would make the same table or rules in this network namespace.
fn single(tried: &str) -> Result<UnixListener> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let bound = SocketAddr::from_abstract_name("gatemeter/clients").and_then(|name| UnixListener::bind_addr(&name));
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::failed(tried, "another gatemeter counts LAN clients in this network namespace")
                .remedy("stop that one first")
        }
        _ => Error::io(tried, error),
    })
}
