//! Settling what was received: delete it, or change how long it stays hidden.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::batch::{self, Outcome};
use super::fault::Fault;
use super::handle::Handle;
use super::request::{
    ChangeMessageVisibility, ChangeMessageVisibilityBatch, DeleteMessage, DeleteMessageBatch, Settled, number,
};
use super::server::{Server, done};
use super::state::State;

impl Server {
    pub fn delete_message(&self, request: &DeleteMessage) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let mut state = self.state();
        let tag = state.queue(name)?.identity.tag;
        let handle = Handle::parse(request.receipt_handle.as_deref(), tag)?;
        state.delete(name, &[handle])?;
        Ok(done())
    }

    pub fn delete_message_batch(&self, request: &DeleteMessageBatch) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let mut state = self.state();
        let tag = state.queue(name)?.identity.tag;
        let entries = request.entries.as_deref().unwrap_or_default();
        batch::check(entries.iter().map(|entry| entry.id.as_deref()))?;
        let (mut outcome, mut handles) = (Outcome::default(), Vec::new());
        for entry in entries {
            let handle = Handle::parse(entry.receipt_handle.as_deref(), tag);
            report(&mut outcome, entry, handle.map(|handle| handles.push(handle)));
        }
        state.delete(name, &handles)?;
        Ok(outcome.answer())
    }

    pub fn change_message_visibility(&self, request: &ChangeMessageVisibility) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let state = &mut *self.state();
        change(state, name, request.receipt_handle.as_deref(), request.visibility_timeout)?;
        Ok(done())
    }

    pub fn change_message_visibility_batch(
        &self,
        request: &ChangeMessageVisibilityBatch,
    ) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let state = &mut *self.state();
        state.queue(name)?;
        let entries = request.entries.as_deref().unwrap_or_default();
        batch::check(entries.iter().map(|entry| entry.id.as_deref()))?;
        let mut outcome = Outcome::default();
        for entry in entries {
            let changed = change(state, name, entry.receipt_handle.as_deref(), entry.visibility_timeout);
            report(&mut outcome, entry, changed);
        }
        Ok(outcome.answer())
    }
}

fn change(state: &mut State, name: &str, handle: Option<&str>, hidden: Option<i64>) -> Result<(), Fault> {
    let tag = state.queue(name)?.identity.tag;
    let handle = Handle::parse(handle, tag)?;
    if hidden.is_none() {
        return Err(Fault::missing("VisibilityTimeout"));
    }
    let hidden = number("VisibilityTimeout", hidden, 0, 43_200, 0)?;
    state.change_visibility(name, handle, Duration::from_secs(hidden.into()))
}

fn report(outcome: &mut Outcome, entry: &Settled, result: Result<(), Fault>) {
    let id = entry.id.as_deref().unwrap_or_default();
    match result {
        Ok(()) => outcome.succeeded(json!({ "Id": id })),
        Err(fault) => outcome.failed(id, &fault),
    }
}
