//! The gatemeter program.

fn main() {}
