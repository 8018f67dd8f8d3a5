//! The `freebox` collector against a simulated box.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;

#[path = "freebox/faults.rs"]
mod faults;
#[path = "freebox/golden.rs"]
mod golden;
#[path = "freebox/influx.rs"]
mod influx;
#[path = "freebox/registration.rs"]
mod registration;
#[path = "freebox/secrets.rs"]
mod secrets;
#[path = "freebox/session.rs"]
mod session;
#[path = "freebox/support.rs"]
mod support;
#[path = "freebox/table.rs"]
mod table;
#[cfg(feature = "tls")]
#[path = "freebox/tls.rs"]
mod tls;
