//! Outputs.

pub mod http;
pub mod textfile;
