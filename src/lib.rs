//! gatemeter: one daemon that measures a home network from its router.

#![deny(unsafe_code)]

pub mod error;

pub mod bytes;

pub mod sys;

pub mod collectors;

pub mod outputs;

pub mod config;
