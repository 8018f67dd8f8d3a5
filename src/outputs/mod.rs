//! Ways out of the snapshot: text formats, text files, HTTP. None of them knows a collector.

pub mod http;
pub mod lines;
pub mod prometheus;
#[cfg(feature = "page")]
pub mod tables;
pub mod textfile;
