//! The queue, as the worker sees it: receive, and (through [`keeper`]) hold, release and delete.

mod book;
mod dead_letter;
mod depth;
pub mod keeper;
pub mod letters;
mod sqs;
mod trace_header;

pub use dead_letter::{DeadLetter, DeadLetters, NO_REDRIVE_POLICY, most_receives};
pub use depth::Depth;
pub use keeper::{Counts, Keeper, Lease};
pub use sqs::{Entry, EntryError, Queue, ReceiveError, send_batch};
pub use trace_header::TraceHeader;

use std::time::Instant;

/// A message in our hands, hidden from others until its visibility timeout ends.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    pub receipt: String,
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// Milliseconds since 1970, as SQS says.
    pub sent_at: Option<i64>,
    pub first_received_at: Option<i64>,
    pub trace_header: Option<String>,
    /// When the receive call began: the lease starts when SQS sends, not when we read.
    pub received_at: Instant,
}

impl Message {
    /// Of the trace that it belongs to, as OpenTelemetry writes it.
    pub fn trace_id(&self) -> Option<String> {
        self.trace_header.as_deref().and_then(TraceHeader::parse).map(|header| header.trace_id())
    }
}

/// The last part of a queue's URL.
pub fn queue_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}
