//! gatemeter: one daemon that measures a home network from its router.

#![deny(unsafe_code)]

pub mod error;

pub mod bytes;

pub mod outputs;

pub mod config;

pub mod names;
