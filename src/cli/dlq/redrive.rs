//! The way back, and the way out.

use super::select::Selection;
use crate::cli::confirm::confirmed;
use crate::cli::{FAILED, OK, misconfigured};
use crate::error::Error;
use crate::queue::letters::{Fate, Letter, Letters, Tally};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;

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
        return follow(letters, &task, as_json, stop).await;
    }
    let tally = each(letters, selection, Fate::Redrive, &stop).await?;
    Ok(told(tally, tally.redriven, "sent back", as_json, stop()))
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
    let tally = each(letters, selection, Fate::Drop, &stop).await?;
    Ok(told(tally, tally.dropped, "deleted", as_json, stop()))
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
    let Tally { seen, .. } = letters.go_through(look, stop).await?;
    let selected = selected.get();
    match as_json {
        true => println!("{}", json!({"dry_run": true, "selected": selected, "seen": seen})),
        false => println!("{selected} of {seen} would be {verb}"),
    }
    Ok(OK)
}

async fn each(
    letters: &Letters,
    selection: &Selection,
    fate: Fate,
    stop: &impl Fn() -> bool,
) -> Result<Tally, Error> {
    let (visible, _) = letters.estimate().await?;
    let bar = bar(visible);
    let decide = |letter: &Letter| {
        bar.inc(1);
        if selection.takes(letter) { fate } else { Fate::Keep }
    };
    let tally = letters.go_through(decide, stop).await;
    bar.finish_and_clear();
    tally
}

fn told(tally: Tally, done: u64, verb: &str, as_json: bool, interrupted: bool) -> u8 {
    let Tally { seen, failed, .. } = tally;
    match as_json {
        true => {
            println!("{}", json!({"seen": seen, "done": done, "failed": failed, "interrupted": interrupted}))
        }
        false => {
            let end = if interrupted { "; interrupted, the rest is where it was" } else { "" };
            println!("{done} of {seen} {verb}, {failed} failed{end}");
        }
    }
    if failed > 0 || interrupted { FAILED } else { OK }
}

/// Follows a move that SQS does. It goes on when nobody follows.
async fn follow(letters: &Letters, task: &str, as_json: bool, stop: impl Fn() -> bool) -> Result<u8, Error> {
    let (visible, _) = letters.estimate().await?;
    let bar = bar(visible);
    loop {
        let state = letters.move_state(task).await?;
        bar.set_position(state.moved);
        if state.is_over || stop() {
            bar.finish_and_clear();
            match as_json {
                true => println!("{}", json!({"done": state.moved, "status": state.status})),
                false if state.is_over => {
                    println!("{} sent back, {}", state.moved, state.status.to_lowercase())
                }
                false => println!("{} sent back so far; SQS goes on by itself", state.moved),
            }
            return Ok(if state.status == "COMPLETED" || !state.is_over { OK } else { FAILED });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta}");
    ProgressBar::new(total).with_style(style.expect("the template is fixed"))
}
