//! Faults injected into the real binary over real sockets, and the proof that nothing is lost.
//!
//! A [`Scenario`] has a stage (buckets and queues on the embedded servers, or on the server that
//! `LONGSHORE_TEST_ENDPOINT` names), a ledger of uploads, and workers: processes of the real binary.
//! Each [`Worker`] talks to S3 and SQS through a [proxy] of its own, which can spoil what passes
//! (see [`Fault`]) and logs every exchange. A scenario reads like a script:
//!
//! ```ignore
//! let scenario = Scenario::new().await;
//! let worker = scenario.worker("w").await;
//! worker.proxy.fault(on([Operation::PutObject]).nth(..=2), Fault::AckLost);
//! scenario.upload("a.jpg").await;
//! worker.started().await;
//! scenario.finish().await; // waits, stops the worker, and checks the ledger and every invariant
//! ```
//!
//! What is checked at the end of each: the fate of every upload ([`ledger`]), everything that anyone
//! could have read from the output bucket meanwhile ([`reader`]), the order of what went over the
//! wire ([`invariants`]), the worker's own counters ([`metrics`]), and what the system says of its
//! process.
#![allow(dead_code)] // tests and benchmarks each use their part

pub mod ecs;
pub mod ending;
mod hoarding;
pub mod invariants;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod picture;
pub mod process;
pub mod proxy;
pub mod reader;
pub mod scenario;
pub mod shim;
pub mod strain;
pub mod tls;
pub mod worker;

/// How long a scenario waits for what must come: it does in a moment, but not on a machine that is busy.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub use ledger::{Expected, Fate, Upload};
pub use proxy::call::Operation;
pub use proxy::rule::{Fault, on, on_s3};
pub use scenario::{Scenario, lasting, whole};
pub use shim::Offset;
pub use worker::Worker;
