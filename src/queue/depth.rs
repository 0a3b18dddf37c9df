//! How much is in a queue, by SQS's own estimate.

use super::Queue;
use crate::aws;
use crate::error::Error;
use aws_sdk_sqs::types::QueueAttributeName;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Waiting to be received.
    pub waiting: u64,
    /// In somebody's hands: received, and not yet deleted or visible again.
    pub hidden: u64,
}

impl Queue {
    /// # Errors
    ///
    /// SQS did not say.
    pub async fn depth(&self) -> Result<Depth, Error> {
        let (waiting, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let ask = self.clients.send.get_queue_attributes().queue_url(&self.url);
        let answer = ask.attribute_names(waiting.clone()).attribute_names(hidden.clone()).send().await;
        let answer = answer.map_err(|e| {
            let why = aws::explain(&e);
            Error::new(format!("cannot ask about {}: {why} (allow sqs:GetQueueAttributes on it)", self.url))
        })?;
        let number = |name| answer.attributes().and_then(|a| a.get(name)).and_then(|n| n.parse().ok());
        Ok(Depth { waiting: number(&waiting).unwrap_or(0), hidden: number(&hidden).unwrap_or(0) })
    }
}
