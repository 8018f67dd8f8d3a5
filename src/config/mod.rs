//! Configuration.

pub mod source;
pub mod uci;
