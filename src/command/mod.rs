//! People's own commands: one row of a table each, through the same queue as the pictures.
//!
//! A *job* is a submitted table with its script; a *row* of it is one message. [`wire`] says what a message
//! and the work bucket hold, [`layout`] where it is kept there. [`table`] reads what is submitted, and
//! [`states`] tells how the rows stand; [`run`] is what a worker does with a row, and [`supervise`] what happens
//! in the process that the script runs beneath.

#[cfg(feature = "submit")]
pub mod clashes;
pub mod kept;
pub mod layout;
mod processes;
pub mod run;
pub mod secret;
#[cfg(feature = "submit")]
pub mod spool;
#[cfg(feature = "submit")]
pub mod states;
pub mod supervise;
#[cfg(feature = "submit")]
pub mod table;
pub mod wire;
