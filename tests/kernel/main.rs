//! The traffic program on the running kernel: made-up frames, real interfaces, takeovers, and the object itself.
//! Needs root, iproute2 and bpftool; everything happens in namespaces that end with each test.
#![allow(clippy::disallowed_methods, reason = "tests may run ip, tc and bpftool to set up and to check")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the test")]
#![allow(missing_docs)]

#[path = "../support/net.rs"]
mod net;

#[path = "../support/bpf.rs"]
mod bpf;

#[path = "../support/wait.rs"]
mod wait;

mod frames;
mod lab;
mod live;
mod object;
mod takeover;
