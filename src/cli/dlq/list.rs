//! Looking, which changes nothing.

use super::progress::go_through;
use super::select::Selection;
use crate::cli::{FAILED, OK, age};
use crate::error::{Error, Printable};
use crate::queue::letters::{Fate, Letter, Letters, Tally};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Letters of one reason.
struct Group {
    count: u64,
    oldest: Duration,
    example: String,
}

pub async fn list(
    letters: &Letters,
    selection: &Selection,
    as_json: bool,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let look = |letter: &Letter| {
        if selection.takes(letter) {
            let group = groups.entry(letter.reason.clone()).or_insert_with(|| Group {
                count: 0,
                oldest: Duration::ZERO,
                example: example(letter),
            });
            group.count += 1;
            group.oldest = group.oldest.max(letter.age);
        }
        Fate::Keep
    };
    let tally = go_through(letters, look, stop).await?;
    if as_json {
        for (reason, group) in &groups {
            let oldest = group.oldest.as_secs();
            let line = json!({"reason": reason, "count": group.count, "oldest_seconds": oldest, "example": group.example});
            println!("{line}");
        }
        return Ok(end(tally));
    }
    let total: u64 = groups.values().map(|g| g.count).sum();
    if total == 0 {
        println!("no dead letters{}", if selection.is_all() { "" } else { " like that" });
        return Ok(end(tally));
    }
    let width = groups.keys().map(String::len).max().unwrap_or(0).max("REASON".len());
    println!("{:width$}  {:>7}  {:>7}  EXAMPLE", "REASON", "COUNT", "OLDEST");
    let mut groups: Vec<(String, Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    for (reason, group) in &groups {
        let (reason, example) = (Printable(reason).to_string(), Printable(&group.example));
        println!("{reason:width$}  {:>7}  {:>7}  {example}", group.count, age(group.oldest));
    }
    println!("{total} in {}", letters.dlq_url());
    Ok(end(tally))
}

/// What was counted up to an interruption is told, but not as if it were all.
fn end(tally: Tally) -> u8 {
    if !tally.cut_short {
        return OK;
    }
    eprintln!("interrupted after {}: there may be more", tally.seen);
    FAILED
}

pub async fn show(
    letters: &Letters,
    selection: &Selection,
    limit: usize,
    as_json: bool,
    stop: impl Fn() -> bool,
) -> Result<u8, Error> {
    let shown = std::cell::Cell::new(0);
    let look = |letter: &Letter| {
        if selection.takes(letter) && shown.get() < limit {
            shown.set(shown.get() + 1);
            print(letter, as_json);
        }
        Fate::Keep
    };
    let mut tally = letters.go_through(look, || stop() || shown.get() >= limit).await?;
    if !as_json {
        println!("{} shown, {} looked at", shown.get(), tally.seen);
    }
    tally.cut_short &= shown.get() < limit;
    Ok(end(tally))
}

fn print(letter: &Letter, as_json: bool) {
    if as_json {
        let line = json!({
            "id": letter.id, "original_id": letter.original_id, "reason": letter.reason, "detail": letter.detail,
            "objects": letter.objects, "age_seconds": letter.age.as_secs(), "body": letter.body,
        });
        println!("{line}");
        return;
    }
    println!("{}: {}", letter.id, Printable(&letter.reason));
    if let Some(detail) = &letter.detail {
        println!("  why     {}", Printable(detail));
    }
    for object in &letter.objects {
        println!("  object  {}", Printable(object));
    }
    println!("  first   {} ago, as message {}", age(letter.age), Printable(&letter.original_id));
    println!("  body    {}", Printable(&letter.body));
}

fn example(letter: &Letter) -> String {
    letter.objects.first().cloned().unwrap_or_else(|| letter.body.chars().take(60).collect())
}
