//! Message move tasks: redriving a dead-letter queue in the background, as fast as asked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::clock::wall_millis;
use super::fault::{Fault, Kind};
use super::journal::{Event, Sent};
use super::message::MessageId;
use super::request::{CancelMessageMoveTask, ListMessageMoveTasks, StartMessageMoveTask, number};
use super::server::Server;
use super::state::State;

/// Remembered per dead-letter queue, as many as SQS lists.
const REMEMBERED: usize = 10;

/// The tasks of all dead-letter queues, oldest first. Not in the journal: a restart ends them, and
/// what they had not moved yet stays where it was.
#[derive(Debug, Default)]
pub struct Moves {
    tasks: Vec<Task>,
}

#[derive(Debug, Clone)]
struct Task {
    handle: String,
    source: String,
    /// A queue name; absent, each message goes back to where it came from.
    destination: Option<String>,
    per_second: Option<u32>,
    status: Status,
    to_move: usize,
    moved: usize,
    started: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Running,
    Completed,
    Cancelled,
    Failed(&'static str),
}

impl Moves {
    /// Drops what is known about a queue that is gone.
    pub fn forget(&mut self, source: &str) {
        self.tasks.retain(|task| task.source != source);
    }

    fn of<'a>(&'a self, source: &'a str) -> impl DoubleEndedIterator<Item = &'a Task> {
        self.tasks.iter().filter(move |task| task.source == source)
    }

    fn find(&mut self, handle: &str) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.handle == handle)
    }

    fn add(&mut self, task: Task) {
        if self.of(&task.source).count() >= REMEMBERED
            && let Some(oldest) = self.tasks.iter().position(|other| other.source == task.source)
        {
            self.tasks.remove(oldest);
        }
        self.tasks.push(task);
    }
}

impl Server {
    pub fn start_message_move_task(self: &Arc<Self>, request: &StartMessageMoveTask) -> Result<Json, Fault> {
        let mut state = self.state();
        let source = self.existing(&state, "SourceArn", request.source_arn.as_deref())?;
        let destination = match request.destination_arn.as_deref() {
            Some(arn) => Some(self.existing(&state, "DestinationArn", Some(arn))?),
            None => None,
        };
        let per_second = request.max_number_of_messages_per_second;
        let per_second = match number("MaxNumberOfMessagesPerSecond", per_second, 1, 500, 0)? {
            0 => None,
            rate => Some(rate),
        };
        if !self.is_dead_letter_queue(&state, &source) {
            return Err(Fault::invalid(
                "SourceArn",
                &source,
                "the queue is not the dead-letter queue of any other",
            ));
        }
        if destination.as_ref() == Some(&source) {
            return Err(Fault::invalid("DestinationArn", &source, "it must not be the source queue"));
        }
        if state.moves.of(&source).any(|task| task.status == Status::Running) {
            return Err(Kind::UnsupportedOperation
                .with(format!("a task is moving messages of {source} already: wait for it or cancel it")));
        }
        let handle = MessageId::random().to_string();
        let to_move = state.queue(&source)?.backlog.counts().ready;
        let (status, started) = (Status::Running, wall_millis());
        let task = Task {
            handle: handle.clone(),
            source,
            destination,
            per_second,
            status,
            to_move,
            moved: 0,
            started,
        };
        state.moves.add(task);
        drop(state);
        tokio::spawn(run(Arc::downgrade(self), handle.clone(), per_second));
        Ok(json!({ "TaskHandle": handle }))
    }

    pub fn list_message_move_tasks(&self, request: &ListMessageMoveTasks) -> Result<Json, Fault> {
        let state = self.state();
        let source = self.existing(&state, "SourceArn", request.source_arn.as_deref())?;
        let most = number("MaxResults", request.max_results, 1, 10, 1)? as usize;
        let results: Vec<Json> =
            state.moves.of(&source).rev().take(most).map(|task| self.shown(task)).collect();
        Ok(json!({ "Results": results }))
    }

    pub fn cancel_message_move_task(&self, request: &CancelMessageMoveTask) -> Result<Json, Fault> {
        let handle = request.task_handle.as_deref().ok_or_else(|| Fault::missing("TaskHandle"))?;
        let mut state = self.state();
        let task = state.moves.find(handle).ok_or_else(|| {
            Kind::ResourceNotFound
                .with("the resource that TaskHandle specifies does not exist: list the tasks")
        })?;
        if task.status != Status::Running {
            return Err(Kind::UnsupportedOperation.with("only a running task can be cancelled"));
        }
        task.status = Status::Cancelled;
        Ok(json!({ "ApproximateNumberOfMessagesMoved": task.moved }))
    }

    fn existing(&self, state: &State, parameter: &str, arn: Option<&str>) -> Result<String, Fault> {
        let arn = arn.ok_or_else(|| Fault::missing(parameter))?;
        let name = self.address.name_in_arn(arn).filter(|name| state.queues.contains_key(*name));
        name.map(str::to_owned).ok_or_else(|| {
            Kind::ResourceNotFound
                .with(format!("the resource that {parameter} specifies does not exist: {arn}"))
        })
    }

    fn is_dead_letter_queue(&self, state: &State, name: &str) -> bool {
        let arn = self.address.arn(name);
        let targets = state.queues.values().filter_map(|queue| queue.settings.redrive.as_ref());
        targets.into_iter().any(|redrive| redrive.target_arn == arn)
    }

    fn shown(&self, task: &Task) -> Json {
        let (status, failure) = match task.status {
            Status::Running => ("RUNNING", None),
            Status::Completed => ("COMPLETED", None),
            Status::Cancelled => ("CANCELLED", None),
            Status::Failed(reason) => ("FAILED", Some(reason)),
        };
        let mut shown = json!({
            "Status": status,
            "SourceArn": self.address.arn(&task.source),
            "ApproximateNumberOfMessagesMoved": task.moved,
            "ApproximateNumberOfMessagesToMove": task.to_move,
            "StartedTimestamp": task.started,
        });
        // SQS shows the handle only while it is of use.
        if task.status == Status::Running {
            shown["TaskHandle"] = json!(task.handle);
        }
        if let Some(destination) = &task.destination {
            shown["DestinationArn"] = json!(self.address.arn(destination));
        }
        if let Some(rate) = task.per_second {
            shown["MaxNumberOfMessagesPerSecond"] = json!(rate);
        }
        if let Some(reason) = failure {
            shown["FailureReason"] = json!(reason);
        }
        shown
    }

    /// Moves up to `most` messages; says whether there may be more.
    fn step(&self, handle: &str, most: usize) -> bool {
        let state = &mut *self.state();
        let Some(task) = state.moves.find(handle).map(|task| task.clone()) else { return false };
        if task.status != Status::Running {
            return false;
        }
        let (moved, end) = self.move_some(state, &task, most);
        if let Some(task) = state.moves.find(handle) {
            task.moved += moved;
            task.status = end.unwrap_or(Status::Running);
        }
        end.is_none()
    }

    fn move_some(&self, state: &mut State, task: &Task, most: usize) -> (usize, Option<Status>) {
        // No more than stood there at the start: what fails again at once would go round for ever.
        let most = most.min(task.to_move - task.moved);
        let Ok(source) = state.queue(&task.source) else {
            return (0, Some(Status::Failed("AWS.SimpleQueueService.NonExistentQueue")));
        };
        let chosen: Vec<_> = source
            .backlog
            .ready()
            .take(most)
            .map(|entry| (entry.message.clone(), entry.dead_from.clone()))
            .collect();
        if chosen.is_empty() {
            return (0, Some(Status::Completed));
        }
        for (moved, (message, dead_from)) in chosen.iter().enumerate() {
            let origin = dead_from.as_deref().and_then(|arn| self.address.name_in_arn(arn));
            let Some(to) = task.destination.as_deref().or(origin) else {
                return (moved, Some(Status::Failed("CouldNotDetermineMessageSource")));
            };
            if !state.queues.contains_key(to) {
                return (moved, Some(Status::Failed("AWS.SimpleQueueService.NonExistentQueue")));
            }
            let fresh = Arc::new(message.resent());
            let sent = Sent { queue: to.to_owned(), message: fresh, not_before: None, dead_from: None };
            let redriven = Event::Redriven { queue: task.source.clone(), message: message.id, sent };
            if state.commit(vec![redriven]).is_err() {
                return (moved, Some(Status::Failed("InternalError")));
            }
        }
        (chosen.len(), None)
    }
}

async fn run(server: Weak<Server>, handle: String, per_second: Option<u32>) {
    let (most, pause) = pace(per_second);
    // The server may go away in a pause: a task does not keep it alive.
    while server.upgrade().is_some_and(|server| server.step(&handle, most)) {
        tokio::time::sleep(pause).await;
    }
}

/// How many messages to move at once, and how long to rest after that.
fn pace(per_second: Option<u32>) -> (usize, Duration) {
    match per_second {
        None => (20, Duration::from_millis(1)),
        Some(rate @ ..10) => (1, Duration::from_secs(1) / rate.max(1)),
        // Rounded down: the rate is a limit.
        Some(rate) => ((rate / 10) as usize, Duration::from_millis(100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_never_exceeds_the_rate() {
        for rate in 1..=500u32 {
            let (most, pause) = pace(Some(rate));
            assert!(most as f64 / pause.as_secs_f64() <= f64::from(rate) + 0.001, "{rate}");
        }
    }
}
