//! Connections of LAN clients on a real router: what is counted from the kernel's events and dumps, beside what
//! `conntrack -L` says of the same moment.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test crate: a failed assumption must stop the test, and it runs real programs"
)]

mod lab;

#[path = "conntrack/inject.rs"]
mod inject;
#[path = "conntrack/support.rs"]
mod support;

#[path = "conntrack/bytes.rs"]
mod bytes;
#[path = "conntrack/counting.rs"]
mod counting;
#[path = "conntrack/events.rs"]
mod events;
#[path = "conntrack/lacks.rs"]
mod lacks;
#[path = "conntrack/scale.rs"]
mod scale;
