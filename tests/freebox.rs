//! The `freebox` collector against a simulated box.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

#[path = "freebox/figures.rs"]
mod figures;
#[path = "freebox/support.rs"]
mod support;
