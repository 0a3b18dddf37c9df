//! What an operator touches: signals, health, metrics, logs, traces.

pub mod admin;
pub mod emf;
pub mod health;
pub mod history;
pub mod logs;
pub mod metrics;
pub mod page;
pub mod shutdown;
pub mod traces;

pub use health::{Health, Trouble};
pub use history::History;
pub use metrics::Metrics;
pub use shutdown::{Phase, Shutdown};
pub use traces::Traces;
