//! What an operator touches: signals, health, logs.

pub mod admin;
pub mod health;
pub mod logs;
pub mod shutdown;

pub use health::Health;
pub use shutdown::{Phase, Shutdown};
