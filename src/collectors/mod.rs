//! What is measured, one folder per subject.

pub mod traffic;
