//! What an operator touches: signals, health, metrics, logs.

pub mod admin;
pub mod emf;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod shutdown;

pub use health::{Health, Trouble};
pub use metrics::Metrics;
pub use shutdown::{Phase, Shutdown};
