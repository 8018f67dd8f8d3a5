//! Bytes and packets of LAN clients, from whichever source the settings name. Sources are never added up.

use std::net::IpAddr;

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
