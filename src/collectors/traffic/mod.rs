//! Bytes and packets of each LAN host to and from the internet.

pub mod codec;
mod configuration;
pub mod doctor;
mod hook;
pub mod loader;
mod pins;
mod refusal;
mod tables;
