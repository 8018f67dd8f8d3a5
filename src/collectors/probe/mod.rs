//! Round trips and losses to targets by ICMP echo and TCP SYN.
//!
//! Probes and answers are bytes in [`codec`]; [`filter`] has the kernel keep from us what is no answer. All of it is pure:
//! time is a parameter.

pub mod codec;
pub mod filter;
pub mod schedule;
pub mod target;
pub mod window;

#[cfg(test)]
mod packets;
