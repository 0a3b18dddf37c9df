//! How much is in a queue, by SQS's own estimate.

use super::Queue;
use crate::aws;
use crate::error::Error;
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Waiting to be received.
    #[serde(rename = "visible")]
    pub waiting: u64,
    /// In somebody's hands: received, and not yet deleted or visible again.
    #[serde(rename = "in_flight")]
    pub hidden: u64,
    /// Sent, and not to be received before a while.
    pub delayed: u64,
}

impl Queue {
    /// # Errors
    ///
    /// SQS did not say.
    pub async fn depth(&self) -> Result<Depth, Error> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let ask = self.clients.send.get_queue_attributes().queue_url(&self.url);
        let answer = ask.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|e| {
            let why = aws::explain(&e);
            let remedy = aws::remedy(&why, "sqs:GetQueueAttributes");
            Error::new(format!("cannot ask about {}: {why}{remedy}", self.url))
        })?;
        let number = |name| answer.attributes().and_then(|a| a.get(name)).and_then(|n| n.parse().ok());
        let [waiting, hidden, delayed] = names.each_ref().map(|name| number(name).unwrap_or(0));
        Ok(Depth { waiting, hidden, delayed })
    }
}
