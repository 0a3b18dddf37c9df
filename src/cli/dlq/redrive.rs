//! The way back, and the way out.

use super::progress::{bar, go_through};
use super::select::Selection;
use crate::cli::confirm::confirmed;
use crate::cli::{FAILED, OK, misconfigured};
use crate::error::{Error, Printable};
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
    /// As SQS says it, or in its words: `COMPLETED`, `RUNNING`, `FAILED` …
    status: String,
    why: Option<String>,
}

impl Outcome {
    fn of(tally: Tally, done: u64) -> Self {
        let Tally { seen, failed, cut_short: interrupted, .. } = tally;
        let status = match (failed, interrupted) {
            (_, true) => "CANCELLED",
            (0, false) => "COMPLETED",
            (_, false) => "FAILED",
        };
        Self { seen, done, failed, interrupted, status: status.into(), why: None }
    }

    fn print(&self) {
        let Self { seen, done, failed, interrupted, status, why } = self;
        let line = json!({"seen": seen, "done": done, "failed": failed, "interrupted": interrupted,
            "status": status, "why": why});
        println!("{line}");
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
    Ok(told(&Outcome::of(tally, tally.redriven), "sent back", as_json))
}

pub async fn drop(
    letters: &Letters,
    selection: &Selection,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    if dry_run {
        return count(letters, selection, "deleted", as_json, stop).await;
    }
    let (visible, hidden) = letters.estimate().await?;
    let which = if selection.is_all() { "all" } else { "the selected ones" };
    let question = format!(
        "Delete {which} of about {} dead letters in {} for good?",
        visible + hidden,
        letters.dlq_url()
    );
    match confirmed(&question, yes) {
        Ok(true) => {}
        Ok(false) => {
            eprintln!("nothing was deleted");
            return Ok(FAILED);
        }
        Err(why) => return Ok(misconfigured(&[why])),
    }
    let tally = each(letters, selection, Fate::Drop, stop).await?;
    Ok(told(&Outcome::of(tally, tally.dropped), "deleted", as_json))
}

async fn count(
    letters: &Letters,
    selection: &Selection,
    verb: &str,
    as_json: bool,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    let selected = Cell::new(0_u64);
    let look = |letter: &Letter| {
        selected.set(selected.get() + u64::from(selection.takes(letter)));
        Fate::Keep
    };
    let Tally { seen, cut_short, .. } = go_through(letters, look, stop).await?;
    let selected = selected.get();
    match as_json {
        true => println!(
            "{}",
            json!({"dry_run": true, "selected": selected, "seen": seen, "interrupted": cut_short})
        ),
        false => {
            let end = if cut_short { "; interrupted, there may be more" } else { "" };
            println!("{selected} of {seen} would be {verb}{end}");
        }
    }
    Ok(if cut_short { FAILED } else { OK })
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

fn told(outcome: &Outcome, verb: &str, as_json: bool) -> u8 {
    let Outcome { seen, done, failed, interrupted, .. } = outcome;
    if as_json {
        outcome.print();
    } else {
        let end = if *interrupted { "; interrupted, the rest is where it was" } else { "" };
        println!("{done} of {seen} {verb}, {failed} failed{end}");
    }
    if *failed > 0 || *interrupted { FAILED } else { OK }
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
            status: state.status,
            why: state.why,
        };
        let why = outcome.why.as_deref().map_or(String::new(), |why| format!(": {}", Printable(why)));
        match as_json {
            true => outcome.print(),
            false if outcome.interrupted => {
                println!("{} sent back so far; SQS goes on by itself", outcome.done)
            }
            false => println!("{} sent back, {}{why}", outcome.done, outcome.status.to_lowercase()),
        }
        return Ok(if outcome.interrupted || outcome.status == "COMPLETED" { OK } else { FAILED });
    }
}
