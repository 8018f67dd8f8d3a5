//! The only folder where unsafe compiles: thin wrappers around system calls that the standard library lacks.

#![allow(unsafe_code)]

pub mod bpf;
pub mod fs;
pub mod memory;
pub mod tc;
