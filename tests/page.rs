//! The live page in a real browser: headless Chromium on a host of the lab's LAN, driven by the DevTools protocol, in front
//! of the real daemon on the router.

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

#[path = "page/browser.rs"]
mod browser;
#[path = "page/home.rs"]
mod home;

#[path = "page/access.rs"]
mod access;
#[path = "page/figures.rs"]
mod figures;
#[path = "page/hostile.rs"]
mod hostile;
#[path = "page/lifetime.rs"]
mod lifetime;
#[path = "page/memory.rs"]
mod memory;
#[path = "page/screenshots.rs"]
mod screenshots;
#[path = "page/switches.rs"]
mod switches;
