//! The `traffic` collector as its user meets it: the real daemon on the lab's router, and figures that are exact to the
//! byte and the packet. What a test expects is computed from what it sent, or read from the network cards.

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

#[path = "traffic/figures.rs"]
mod figures;

#[path = "traffic/aggregation.rs"]
mod aggregation;
#[path = "traffic/clean.rs"]
mod clean;
#[path = "traffic/counting.rs"]
mod counting;
#[path = "traffic/frames.rs"]
mod frames;
#[path = "traffic/hooks.rs"]
mod hooks;
#[path = "traffic/interfaces.rs"]
mod interfaces;
#[path = "traffic/kernel.rs"]
mod kernel;
#[path = "traffic/lacks.rs"]
mod lacks;
#[path = "traffic/lifetime.rs"]
mod lifetime;
#[path = "traffic/limits.rs"]
mod limits;
#[path = "traffic/names.rs"]
mod names;
