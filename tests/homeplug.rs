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

#[path = "support/exporters.rs"]
mod exporters;
#[path = "support/golden.rs"]
mod golden;
mod harness;
mod lab;

#[path = "homeplug/common.rs"]
mod common;
#[path = "homeplug/witness.rs"]
mod witness;

#[path = "homeplug/beside.rs"]
mod beside;
#[path = "homeplug/chips.rs"]
mod chips;
#[path = "homeplug/command.rs"]
mod command;
#[path = "homeplug/faults.rs"]
mod faults;
#[path = "homeplug/figures.rs"]
mod figures;
#[path = "homeplug/floods.rs"]
mod floods;
#[path = "homeplug/interfaces.rs"]
mod interfaces;
