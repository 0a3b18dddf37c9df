//! Nothing is lost: the real binary under every fault that we could think of.
//!
//! One scenario runs alone by its name: `cargo test --test faults -- sigterm_under_load`.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;
#[path = "faults/harness/mod.rs"]
mod harness;
#[path = "faults/meaning.rs"]
mod meaning;
