//! The `homeplug` collector as its user meets it: the real daemon on the lab's router, simulated adapters on real links, and
//! what plc-utils and prometheus-homeplug-exporter say of the same adapters.

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

#[path = "homeplug/common.rs"]
mod common;

#[path = "homeplug/figures.rs"]
mod figures;
