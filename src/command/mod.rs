//! People's own commands: one row of a table each, through the same queue as the pictures.
//!
//! A *job* is a submitted table with its script; a *row* of it is one message. [`wire`] says what a message
//! and the work bucket hold, [`layout`] where it is kept there.

pub mod layout;
pub mod wire;
