//! gatemeter: one daemon that measures a home network from its router.
//!
//! Data flows one way: [`config`] to [`collectors`] to [`metrics`] to [`outputs`]; [`daemon`] is the only place that
//! knows both ends. A codec does no I/O, a collector knows no output, an output knows no collector. The modules below
//! stand in reading order; ARCHITECTURE.md has the map.

#![deny(unsafe_code)]

pub mod error;

pub mod words;

pub mod bytes;

pub mod classic_bpf;

pub mod net;

pub mod sorted;

#[cfg(any(feature = "page", feature = "traffic"))]
pub mod packed;

pub mod files;

pub mod cli;

pub mod config;

pub mod metrics;

pub mod sys;

pub mod netlink;

pub mod lan;

pub mod names;

pub mod collectors;

pub mod supervisor;

pub mod outputs;

pub mod logger;

pub mod daemon;

pub mod commands;
