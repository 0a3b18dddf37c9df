//! Nothing is lost: the real binary under every fault that we could think of.
//!
//! One scenario runs alone by its name: `cargo test --test faults -- sigterm_under_load`.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "faults/barriers.rs"]
mod barriers;
#[path = "faults/clocks.rs"]
mod clocks;
mod common;
#[path = "faults/controls.rs"]
mod controls;
#[path = "faults/endless.rs"]
mod endless;
#[path = "faults/harness/mod.rs"]
mod harness;
#[path = "faults/hostile.rs"]
mod hostile;
#[path = "faults/leaving.rs"]
mod leaving;
#[path = "faults/letters.rs"]
mod letters;
#[path = "faults/meaning.rs"]
mod meaning;
#[path = "faults/outages.rs"]
mod outages;
#[path = "faults/protection.rs"]
mod protection;
#[path = "faults/queue.rs"]
mod queue;
#[path = "faults/resources.rs"]
mod resources;
#[path = "faults/runs.rs"]
mod runs;
#[path = "faults/store.rs"]
mod store;
