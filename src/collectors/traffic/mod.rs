//! Bytes and packets of each LAN host to and from the internet.

pub mod codec;
mod hook;
pub mod loader;
mod pins;
