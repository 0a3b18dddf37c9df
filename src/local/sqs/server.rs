//! What all operations share, and which operation a request is for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};

use super::address::Address;
use super::fault::{Fault, Kind};
use super::request::parse;
use super::state::{Grave, State};

#[derive(Debug)]
pub struct Server {
    pub address: Address,
    base_url: Mutex<String>,
    state: Mutex<State>,
}

impl Server {
    pub fn new(address: Address, state: State) -> Server {
        Server { address, base_url: Mutex::default(), state: Mutex::new(state) }
    }

    /// Does one operation of the protocol.
    pub async fn perform(self: &Arc<Self>, operation: &str, body: &[u8]) -> Result<Json, Fault> {
        match operation {
            "CreateQueue" => self.create_queue(parse(body)?),
            "DeleteQueue" => self.delete_queue(&parse(body)?),
            "GetQueueUrl" => self.get_queue_url(&parse(body)?),
            "ListQueues" => self.list_queues(&parse(body)?),
            "ListDeadLetterSourceQueues" => self.list_dead_letter_source_queues(&parse(body)?),
            "GetQueueAttributes" => self.get_queue_attributes(&parse(body)?),
            "SetQueueAttributes" => self.set_queue_attributes(&parse(body)?),
            "PurgeQueue" => self.purge_queue(&parse(body)?),
            "TagQueue" => self.tag_queue(parse(body)?),
            "UntagQueue" => self.untag_queue(&parse(body)?),
            "ListQueueTags" => self.list_queue_tags(&parse(body)?),
            "SendMessage" => self.send_message(parse(body)?),
            "SendMessageBatch" => self.send_message_batch(parse(body)?),
            "ReceiveMessage" => self.receive_message(&parse(body)?).await,
            "DeleteMessage" => self.delete_message(&parse(body)?),
            "DeleteMessageBatch" => self.delete_message_batch(&parse(body)?),
            "ChangeMessageVisibility" => self.change_message_visibility(&parse(body)?),
            "ChangeMessageVisibilityBatch" => self.change_message_visibility_batch(&parse(body)?),
            "StartMessageMoveTask" => self.start_message_move_task(&parse(body)?),
            "ListMessageMoveTasks" => self.list_message_move_tasks(&parse(body)?),
            "CancelMessageMoveTask" => self.cancel_message_move_task(&parse(body)?),
            "AddPermission" | "RemovePermission" => Err(Kind::UnsupportedOperation
                .with(format!("{operation} is not supported here: set the queue attribute Policy"))),
            _ => Err(Kind::UnknownOperation.with(format!("unknown operation {operation:?}"))),
        }
    }

    pub fn set_base_url(&self, url: &str) {
        *lock(&self.base_url) = url.to_owned();
    }

    pub fn url(&self, name: &str) -> String {
        self.address.url(&lock(&self.base_url), name)
    }

    /// Held for a few lines and never across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The dead-letter queue of `name`. One that is gone takes no messages: they stay where they are.
    pub fn grave(&self, state: &State, name: &str) -> Option<Grave> {
        let redrive = state.queues.get(name)?.settings.redrive.as_ref()?;
        let queue = self.address.name_in_arn(&redrive.target_arn)?;
        state.queues.contains_key(queue).then(|| Grave {
            queue: queue.to_owned(),
            max_receives: redrive.max_receives,
            dead_from: self.address.arn(name),
        })
    }
}

/// The answer of operations that have nothing to say.
pub fn done() -> Json {
    json!({})
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not silence the queue for good: each change is a single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
