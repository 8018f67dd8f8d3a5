//! The `clients` collector as its user meets it: the real daemon on the lab's router, and figures that equal what was
//! sent, or what `nft`, `conntrack` and `ip` say at the same time.

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

#[path = "clients/figures.rs"]
mod figures;
#[path = "clients/witness.rs"]
mod witness;

#[path = "clients/bytes.rs"]
mod bytes;
#[path = "clients/connections.rs"]
mod connections;
#[path = "clients/flaws.rs"]
mod flaws;
#[path = "clients/foreign.rs"]
mod foreign;
#[path = "clients/lacks.rs"]
mod lacks;
#[path = "clients/lifetime.rs"]
mod lifetime;
#[path = "clients/names.rs"]
mod names;
#[path = "clients/presence.rs"]
mod presence;
#[path = "clients/rates.rs"]
mod rates;
#[path = "clients/rules.rs"]
mod rules;
#[path = "clients/sources.rs"]
mod sources;
#[path = "clients/subnets.rs"]
mod subnets;
