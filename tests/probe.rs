//! The `probe` collector as its user meets it: the real daemon on the lab's router, and figures that equal what the far end
//! has on record, what tcpdump saw on the wire, and what the kernels of real hosts do.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod harness;
mod lab;

#[path = "probe/figures.rs"]
mod figures;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "probe/witness.rs"]
mod witness;

#[path = "probe/errors.rs"]
mod errors;
#[path = "probe/flaws.rs"]
mod flaws;
#[path = "probe/flood.rs"]
mod flood;
#[path = "probe/forged.rs"]
mod forged;
#[path = "probe/gateway.rs"]
mod gateway;
#[path = "probe/lacks.rs"]
mod lacks;
#[path = "probe/lifetime.rs"]
mod lifetime;
#[path = "probe/links.rs"]
mod links;
#[path = "probe/lock.rs"]
mod lock;
#[path = "probe/losses.rs"]
mod losses;
#[path = "probe/names.rs"]
mod names;
#[path = "probe/queues.rs"]
mod queues;
#[path = "probe/readers.rs"]
mod readers;
#[path = "probe/requests.rs"]
mod requests;
#[path = "probe/tcp.rs"]
mod tcp;
#[path = "probe/times.rs"]
mod times;
