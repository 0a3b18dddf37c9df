//! The way back, and the way out.

use super::progress::{bar, end, go_through};
use super::select::Selection;
use crate::cli::confirm::refusal;
use crate::cli::out::out;
use crate::cli::{FAILED, OK};
use crate::error::{Error, Printable};
use crate::ops::Shutdown;
use crate::queue::letters::{Fate, Letter, Letters, Move, Tally};
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;

/// How it ended, in one shape whoever did it.
#[derive(Debug)]
struct Outcome {
    seen: u64,
    done: u64,
    failed: u64,
    interrupted: bool,
    /// Not seen, as somebody else hides them.
    hidden: u64,
    /// As SQS says it, or in its words: `COMPLETED`, `RUNNING`, `FAILED` …
    status: String,
    why: Option<String>,
}

impl Outcome {
    fn of(tally: Tally, done: u64) -> Self {
        let Tally { seen, failed, cut_short: interrupted, hidden, .. } = tally;
        let status = match (failed, interrupted) {
            (_, true) => "CANCELLED",
            (0, false) => "COMPLETED",
            (_, false) => "FAILED",
        };
        Self { seen, done, failed, interrupted, hidden, status: status.into(), why: None }
    }

    fn print(&self) {
        let Self { seen, done, failed, interrupted, hidden, status, why } = self;
        let line = json!({"seen": seen, "done": done, "failed": failed, "interrupted": interrupted,
            "hidden": hidden, "status": status, "why": why});
        out!("{line}");
    }
}

pub async fn redrive(
    letters: &Letters,
    selection: &Selection,
    dry_run: bool,
    as_json: bool,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    if dry_run {
        return count(letters, selection, "sent back", as_json, stop).await;
    }
    // SQS moves all by itself, faster than we could; where it cannot (an emulator), we do it.
    if selection.is_all()
        && let Some(task) = letters.start_move().await?
    {
        if task.adopted && !as_json {
            eprintln!("SQS is moving them already: following that");
        }
        return follow(letters, &task, as_json, stop).await;
    }
    let tally = each(letters, selection, Fate::Redrive, stop).await?;
    Ok(told(&tally, tally.redriven, "sent back", as_json))
}

pub async fn drop(
    letters: &Letters,
    selection: &Selection,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    shutdown: &Shutdown,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    if dry_run {
        return count(letters, selection, "deleted", as_json, stop).await;
    }
    let question = if yes { String::new() } else { question(letters, selection, &stop).await? };
    if let Some(code) = refusal(&question, yes, shutdown).await {
        return Ok(code);
    }
    let tally = each(letters, selection, Fate::Drop, stop).await?;
    Ok(told(&tally, tally.dropped, "deleted", as_json))
}

/// Who is asked is told how many: of a selection, they are counted first.
async fn question(
    letters: &Letters,
    selection: &Selection,
    stop: impl Fn() -> bool,
) -> Result<String, Error> {
    let url = letters.dlq_url();
    if selection.is_all() {
        let (visible, hidden) = letters.estimate().await?;
        return Ok(format!("Delete all of about {} dead letters in {url} for good?", visible + hidden));
    }
    let (selected, tally) = look(letters, selection, stop).await?;
    Ok(format!("Delete {selected} of {} dead letters in {url} for good?", tally.seen))
}

async fn count(
    letters: &Letters,
    selection: &Selection,
    verb: &str,
    as_json: bool,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    let (selected, tally) = look(letters, selection, stop).await?;
    let Tally { seen, cut_short, hidden, .. } = tally;
    if as_json {
        let mut line = json!({"dry_run": true, "selected": selected, "seen": seen, "interrupted": cut_short});
        line["hidden"] = json!(hidden);
        out!("{line}");
    } else {
        out!("{selected} of {seen} would be {verb}");
    }
    Ok(end(&tally))
}

/// How many are selected.
async fn look(
    letters: &Letters,
    selection: &Selection,
    stop: impl Fn() -> bool,
) -> Result<(u64, Tally), Error> {
    let selected = Cell::new(0);
    let count = |letter: &Letter| {
        selected.set(selected.get() + u64::from(selection.takes(letter)));
        Fate::Keep
    };
    let tally = go_through(letters, count, stop).await?;
    Ok((selected.get(), tally))
}

async fn each(
    letters: &Letters,
    selection: &Selection,
    fate: Fate,
    stop: impl Fn() -> bool,
) -> Result<Tally, Error> {
    let decide = |letter: &Letter| if selection.takes(letter) { fate } else { Fate::Keep };
    go_through(letters, decide, stop).await
}

fn told(tally: &Tally, done: u64, verb: &str, as_json: bool) -> u8 {
    let Tally { seen, failed, .. } = tally;
    if as_json {
        Outcome::of(*tally, done).print();
    } else {
        out!("{done} of {seen} {verb}, {failed} failed");
    }
    if *failed > 0 { FAILED } else { end(tally) }
}

/// Follows a move that SQS does. It goes on when nobody follows.
async fn follow(letters: &Letters, task: &Move, as_json: bool, stop: impl Fn() -> bool) -> Result<u8, Error> {
    let bar = bar(0);
    loop {
        let state = letters.move_state(task).await?;
        bar.set_length(state.to_move.max(state.moved));
        bar.set_position(state.moved);
        if !state.is_over && !stop() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        }
        bar.finish_and_clear();
        let outcome = Outcome {
            seen: state.to_move,
            done: state.moved,
            failed: 0,
            interrupted: !state.is_over,
            hidden: 0,
            status: state.status,
            why: state.why,
        };
        let why = outcome.why.as_deref().map_or(String::new(), |why| format!(": {}", Printable(why)));
        match as_json {
            true => outcome.print(),
            false if outcome.interrupted => {
                out!("{} sent back so far; SQS goes on by itself", outcome.done)
            }
            false => out!("{} sent back, {}{why}", outcome.done, outcome.status.to_lowercase()),
        }
        return Ok(if outcome.interrupted || outcome.status == "COMPLETED" { OK } else { FAILED });
    }
}
