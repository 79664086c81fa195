//! Runs the conformance cases through the Rust client.

fn main() {}
