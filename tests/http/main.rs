//! The HTTP server over real sockets on loopback: what clients get, and what hostile ones cannot take.
//!
//! Each test has its own server in a process of its own (`server.rs`), so that its descriptors and memory can be
//! counted from outside and its limits set. Deadlines only end a test that hangs.

#![allow(clippy::disallowed_methods, reason = "tests start the server and curl as processes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the test")]

#[path = "../support/wait.rs"]
mod wait;

mod abuse;
mod client;
mod pages;
mod refusals;
mod server;
