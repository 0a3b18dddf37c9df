//! Longshore turns pictures uploaded to S3 into renditions, through a queue, and never loses one.
//!
//! The flow, and the files it is written in:
//!
//! ```text
//! message           event          job             object         renditions      stored       settled
//! queue::Message ─▶ event::Event ─▶ job::run ─▶ store::Object ─▶ render::render ─▶ store.put ─▶ Lease::settle
//! └─────────────────────── worker (receive · hold the lease · run · settle) ───────────────────────┘
//! ```
//!
//! A message may stand for a row of a table instead: then [`command::run`] does what `job::run` does for pictures.
//!
//! Three functions to read first: [`cli::run`] and its `work`, how it is put together;
//! [`worker::Worker::run`], how it lives and stops; [`job::run`], what it does.

// What panics when a reader leaves: `cli::out` does not.
#![cfg_attr(not(test), warn(clippy::print_stdout))]

pub mod aws;
pub mod cli;
pub mod command;
pub mod config;
pub mod error;
pub mod event;
pub mod job;
#[cfg(feature = "local")]
pub mod local;
pub mod ops;
pub mod queue;
pub mod render;
pub mod store;
pub mod worker;
