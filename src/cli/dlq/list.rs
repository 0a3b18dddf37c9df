//! Looking, which changes nothing.

use super::progress::{end, go_through};
use super::select::Selection;
use crate::cli::age;
use crate::cli::out::out;
use crate::error::{Error, Printable};
use crate::queue::letters::{Fate, Letter, Letters};
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
            out!("{line}");
        }
        return Ok(end(&tally));
    }
    let total: u64 = groups.values().map(|g| g.count).sum();
    if total == 0 {
        let seen = if tally.hidden > 0 { " to be seen" } else { "" };
        out!("no dead letters{seen}{}", if selection.is_all() { "" } else { " like that" });
        return Ok(end(&tally));
    }
    let width = groups.keys().map(String::len).max().unwrap_or(0).max("REASON".len());
    out!("{:width$}  {:>7}  {:>7}  EXAMPLE", "REASON", "COUNT", "OLDEST");
    let mut groups: Vec<(String, Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    for (reason, group) in &groups {
        let (reason, example) = (Printable(reason).to_string(), Printable(&group.example));
        out!("{reason:width$}  {:>7}  {:>7}  {example}", group.count, age(group.oldest));
    }
    out!("{total} in {}", letters.dlq_url());
    Ok(end(&tally))
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
    let mut tally = go_through(letters, look, || stop() || shown.get() >= limit).await?;
    if !as_json {
        out!("{} shown, {} looked at", shown.get(), tally.seen);
    }
    // More than were asked for were not looked for.
    if shown.get() >= limit {
        (tally.cut_short, tally.hidden) = (false, 0);
    }
    Ok(end(&tally))
}

fn print(letter: &Letter, as_json: bool) {
    if as_json {
        let line = json!({
            "id": letter.id, "original_id": letter.original_id, "reason": letter.reason, "detail": letter.detail,
            "objects": letter.objects, "age_seconds": letter.age.as_secs(), "body": letter.body,
        });
        out!("{line}");
        return;
    }
    out!("{}: {}", letter.id, Printable(&letter.reason));
    if let Some(detail) = &letter.detail {
        out!("  why     {}", Printable(detail));
    }
    for object in &letter.objects {
        out!("  object  {}", Printable(object));
    }
    out!("  first   {} ago, as message {}", age(letter.age), Printable(&letter.original_id));
    out!("  body    {}", Printable(&letter.body));
}

fn example(letter: &Letter) -> String {
    letter.objects.first().cloned().unwrap_or_else(|| letter.body.chars().take(60).collect())
}
