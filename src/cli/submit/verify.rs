//! Whether what the rows name is there: asked before anything is queued.

use super::plan::disk;
use super::{bar, is_leaving};
use crate::command::spool::{Rows, Spool};
use crate::command::table::{Mistakes, Place, location};
use crate::command::wire::{Column, Kind, Row};
use crate::error::{Error, Printable};
use crate::ops::Shutdown;
use crate::store::jobs::{Answer, JobStore, Presence};
use crate::store::listing::Listing;
use crate::store::{Location, Store};
use futures_util::{StreamExt, stream};
use lru::LruCache;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

#[derive(Debug, Clone, Copy)]
pub struct Checks {
    pub inputs: bool,
    pub buckets: bool,
    pub regions: bool,
    /// Whoever asks pays, where a bucket wants that.
    pub request_payer: bool,
}

/// Inputs asked for together.
const AT_ONCE: usize = 64;
/// Inputs looked at together.
const WINDOW: usize = 10_000;
/// S3 takes twelve times as much for a page of a listing as for a look at an object.
const WORTH_A_LISTING: usize = 25;
/// Inputs that many rows share are asked for once, or seldom.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();
/// More than any table of one job names by purpose.
const MOST_BUCKETS: usize = 1000;

/// False: interrupted.
pub async fn verify(
    jobs: &JobStore,
    columns: &[Column],
    rows: &Spool,
    checks: Checks,
    shutdown: &Shutdown,
    mistakes: &mut Mistakes,
) -> Result<bool, Error> {
    if rows.rows == 0 {
        return Ok(true);
    }
    let missing = if checks.buckets || checks.regions {
        buckets(jobs, columns, rows, checks, mistakes).await?
    } else {
        HashSet::new()
    };
    let has_inputs = columns.iter().any(is_input);
    if is_leaving(shutdown) || !checks.inputs || !has_inputs {
        return Ok(!is_leaving(shutdown));
    }
    inputs(&jobs.store.for_rows(checks.request_payer), columns, rows, &missing, shutdown, mistakes).await
}

/// Where a bucket is named first.
struct Named {
    row: u64,
    column: usize,
}

/// Asks every bucket; gives those in which nothing can be looked at.
async fn buckets(
    jobs: &JobStore,
    columns: &[Column],
    rows: &Spool,
    checks: Checks,
    mistakes: &mut Mistakes,
) -> Result<HashSet<String>, Error> {
    let named = named(columns, rows, mistakes)?;
    let home = match jobs.store.ask_bucket(&jobs.bucket).await? {
        Answer::There { region } => region,
        Answer::Elsewhere { region } => {
            return Err(Error::new(format!(
                "the work bucket {} is in {region}: set AWS_REGION={region}",
                jobs.bucket
            )));
        }
        Answer::Missing => {
            return Err(Error::new(format!(
                "there is no work bucket {}: make it, or check --work-bucket",
                jobs.bucket
            )));
        }
        Answer::Denied => None,
    };
    let asked = stream::iter(named.into_iter().filter(|(bucket, _)| *bucket != jobs.bucket));
    let asked = asked.map(|(bucket, named)| async {
        let answer = jobs.store.ask_bucket(&bucket).await;
        (bucket, named, answer)
    });
    let mut asked = asked.buffered(16);
    let mut unusable = HashSet::new();
    while let Some((bucket, named, answer)) = asked.next().await {
        let (why, usable) = match answer? {
            Answer::There { region: Some(region) } | Answer::Elsewhere { region } => match &home {
                Some(home) if checks.regions && region != *home => {
                    let why = format!(
                        "is in {region}, and the work bucket is in {home}: what crosses regions is slow and costs (or pass --no-verify-regions)"
                    );
                    (why, true)
                }
                _ => continue,
            },
            Answer::There { region: None } => continue,
            _ if !checks.buckets => continue,
            Answer::Missing => ("does not exist".into(), false),
            Answer::Denied => {
                ("is denied: allow s3:ListBucket on it, or pass --no-verify-buckets".into(), true)
            }
        };
        let place = Place::Value { row: named.row, column: &columns[named.column] };
        mistakes.add(&place, format_args!("s3://{} {why}", Printable(&bucket)));
        if !usable {
            unusable.insert(bucket);
        }
    }
    Ok(unusable)
}

fn named(
    columns: &[Column],
    rows: &Spool,
    mistakes: &mut Mistakes,
) -> Result<BTreeMap<String, Named>, Error> {
    let mut named = BTreeMap::new();
    for row in rows.rows().map_err(disk)? {
        let row = row.map_err(disk)?;
        for (column, value) in row.values.iter().enumerate() {
            if matches!(columns[column].kind, Kind::Env | Kind::SecretEnv) || value.is_empty() {
                continue;
            }
            let Ok(place) = location(value) else { continue };
            if named.contains_key(&place.bucket) {
                continue;
            }
            if named.len() == MOST_BUCKETS {
                mistakes.add(&Place::Table, format_args!("names more than {MOST_BUCKETS} buckets: pass --no-verify-buckets --no-verify-regions if that is meant"));
                return Ok(named);
            }
            named.insert(place.bucket, Named { row: row.row, column });
        }
    }
    Ok(named)
}

/// A cell that names an input.
struct Question {
    row: u64,
    column: usize,
    value: String,
}

type Known = RefCell<LruCache<String, Presence>>;

async fn inputs(
    store: &Store,
    columns: &[Column],
    rows: &Spool,
    unusable: &HashSet<String>,
    shutdown: &Shutdown,
    mistakes: &mut Mistakes,
) -> Result<bool, Error> {
    let known: Known = RefCell::new(LruCache::new(REMEMBERED));
    let known = &known;
    let bar = bar(rows.rows, "rows checked");
    let mut rows = rows.rows().map_err(disk)?;
    loop {
        let window = window(&mut rows, columns)?;
        if window.is_empty() {
            bar.finish_and_clear();
            return Ok(true);
        }
        look_into_listings(store, columns, &window, unusable, known).await;
        let mut answers = stream::iter(&window)
            .map(|question| async move {
                let answer = ask(store, &columns[question.column], &question.value, unusable, known).await?;
                Ok::<_, Error>((question, answer))
            })
            .buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            let (Question { row, column, value }, presence) = answer?;
            bar.set_position(*row);
            let why = match presence {
                Presence::Present => continue,
                Presence::Absent if columns[*column].kind == Kind::InputRecursive => "has nothing in it",
                Presence::Absent => "does not exist",
                Presence::Denied => {
                    "is denied (without s3:ListBucket, so is what does not exist): allow s3:GetObject and \
                     s3:ListBucket, or pass --no-verify-inputs"
                }
            };
            let place = Place::Value { row: *row, column: &columns[*column] };
            mistakes.add(&place, format_args!("{} {why}", crate::command::table::quoted(value)));
        }
        if is_leaving(shutdown) {
            return Ok(false);
        }
    }
}

/// The next inputs, about so many.
fn window(rows: &mut Rows, columns: &[Column]) -> Result<Vec<Question>, Error> {
    let mut window = Vec::new();
    while window.len() < WINDOW {
        let Some(row) = rows.next() else { break };
        let Row { row, values, .. } = row.map_err(disk)?;
        let inputs = values.into_iter().enumerate().filter(|(c, v)| is_input(&columns[*c]) && !v.is_empty());
        window.extend(inputs.map(|(column, value)| Question { row, column, value }));
    }
    Ok(window)
}

/// Where many inputs lie close together, a listing tells of a thousand with one call. What it does not tell of
/// is asked for one by one.
async fn look_into_listings(
    store: &Store,
    columns: &[Column],
    window: &[Question],
    unusable: &HashSet<String>,
    known: &Known,
) {
    let mut by_bucket: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Question { column, value, .. } in window {
        if columns[*column].kind == Kind::Input
            && known.borrow().peek(value).is_none()
            && let Ok(place) = location(value)
            && !unusable.contains(&place.bucket)
        {
            by_bucket.entry(place.bucket).or_default().insert(place.key);
        }
    }
    for (bucket, mut keys) in by_bucket {
        while keys.len() >= WORTH_A_LISTING {
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else { break };
            let prefix = common_prefix(first, last).to_owned();
            let page = Listing::new(store.clone(), &bucket, &prefix, Some(just_before(first))).page().await;
            // Who may not list may still look at each.
            let Ok(page) = page else { break };
            let Some(end) = page.last().map(|object| object.key.clone()) else { break };
            let told: Vec<String> = keys.range::<String, _>(..=end.clone()).cloned().collect();
            keys = keys.split_off(&end);
            keys.remove(&end);
            let there: HashSet<&str> = page.iter().map(|object| object.key.as_str()).collect();
            for key in told.iter().filter(|key| there.contains(key.as_str())) {
                known.borrow_mut().put(format!("s3://{bucket}/{key}"), Presence::Present);
            }
            if told.len() < WORTH_A_LISTING {
                break;
            }
        }
    }
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y);
    let end = same.map_or(a.len().min(b.len()), |((at, _), _)| at);
    &a[..end]
}

/// A name behind which this key comes, and few others before it.
fn just_before(key: &str) -> String {
    let mut start = key.to_owned();
    match start.pop() {
        Some(last) if ('!'..='~').contains(&last) => {
            start.push(char::from(last as u8 - 1));
            start.push('~');
        }
        _ => {}
    }
    start
}

async fn ask(
    store: &Store,
    column: &Column,
    value: &str,
    unusable: &HashSet<String>,
    known: &Known,
) -> Result<Presence, Error> {
    let Ok(mut place) = location(value) else { return Ok(Presence::Present) };
    // That was told of already.
    if unusable.contains(&place.bucket) {
        return Ok(Presence::Present);
    }
    if let Some(answer) = known.borrow_mut().get(value) {
        return Ok(*answer);
    }
    let answer = if column.kind == Kind::InputRecursive {
        as_folder(&mut place);
        store.ask_prefix(&place).await?
    } else {
        store.ask_object(&place).await?
    };
    known.borrow_mut().put(value.to_owned(), answer);
    Ok(answer)
}

/// `s3://bucket/folder` stands for what is below `folder/`, and `s3://bucket` for all of it.
fn as_folder(place: &mut Location) {
    if !place.key.is_empty() && !place.key.ends_with('/') {
        place.key.push('/');
    }
}

fn is_input(column: &Column) -> bool {
    matches!(column.kind, Kind::Input | Kind::InputRecursive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_begins_just_before_the_first_key() {
        for (key, start) in [("in/7", "in/6~"), ("ü", ""), ("a ", "a"), ("a!", "a ~")] {
            assert_eq!(just_before(key), start);
            assert!(just_before(key).as_bytes() < key.as_bytes());
        }
        assert_eq!(common_prefix("in/ab", "in/ac"), "in/a");
        assert_eq!(common_prefix("inß", "in"), "in");
        assert_eq!(common_prefix("ü", "ö"), "");
    }
}
