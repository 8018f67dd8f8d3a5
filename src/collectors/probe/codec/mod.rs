//! What probes, answers and the kernel's messages about them look like, bytes to values and back. No I/O.
//!
//! A raw IPv4 socket delivers packets with their IP header, a raw IPv6 socket what follows it. Packets are in network
//! order, control messages ([`stamps`]) in the machine's.

pub mod icmp;
pub mod ip;
pub mod stamps;
pub mod tcp;

#[cfg(test)]
mod tests;
