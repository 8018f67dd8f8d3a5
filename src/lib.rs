//! gatemeter: one daemon that measures a home network from its router.

#![deny(unsafe_code)]

pub mod error;

pub mod bytes;

pub mod net;

pub mod sys;

pub mod outputs;

pub mod config;
