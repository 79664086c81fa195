//! The schema: every message, enum and client of package `mlxforge.v1`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rustdoc::all
)]

include!("generated/mlxforge.v1.rs");
