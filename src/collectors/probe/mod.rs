//! Round trips and losses to targets by ICMP echo and TCP SYN.
//!
//! [`schedule`] says whose turn it is, [`target`] what a probe carries and what becomes of it; the latest results stand in
//! its [`window`]. Packets and the kernel's messages are read and written by [`codec`]; [`filter`] has the kernel keep from
//! us what is no answer. All of it is pure: time is a parameter.

pub mod codec;
pub mod filter;
pub mod schedule;
pub mod target;
pub mod window;

#[cfg(test)]
mod packets;
