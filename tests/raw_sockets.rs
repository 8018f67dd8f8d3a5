//! Raw sockets, batches, stamps and source addresses on the real kernel, between two machines of the lab.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod lab;

#[path = "raw_sockets/failures.rs"]
mod failures;
#[path = "raw_sockets/packets.rs"]
mod packets;
#[path = "raw_sockets/prober.rs"]
mod prober;
#[path = "raw_sockets/stamps.rs"]
mod stamps;
#[path = "raw_sockets/wire.rs"]
mod wire;
