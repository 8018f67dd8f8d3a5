//! Accounting with nf_tables as the `clients` collector uses it: the library in the lab's router, real packets, and nft
//! as the witness of what the kernel has.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod lab;

#[path = "nftables/common.rs"]
mod common;

#[path = "nftables/conflicts.rs"]
mod conflicts;
#[path = "nftables/counting.rs"]
mod counting;
#[path = "nftables/lifetime.rs"]
mod lifetime;
#[path = "nftables/limits.rs"]
mod limits;
#[path = "nftables/rules.rs"]
mod rules;
