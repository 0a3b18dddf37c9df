//! Whether what the rows name is there: asked before anything is queued.

use super::plan::disk;
use super::{bar, is_leaving};
use crate::command::spool::Spool;
use crate::command::table::{Mistakes, Place, location};
use crate::command::wire::{Column, Kind};
use crate::error::{Error, Printable};
use crate::ops::Shutdown;
use crate::store::jobs::{Answer, JobStore, Presence};
use crate::store::{Location, Store};
use futures_util::{StreamExt, stream};
use lru::LruCache;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;

#[derive(Debug, Clone, Copy)]
pub struct Checks {
    pub inputs: bool,
    pub buckets: bool,
    pub regions: bool,
}

/// Inputs asked for together.
const AT_ONCE: usize = 64;
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
    inputs(&jobs.store, columns, rows, &missing, shutdown, mistakes).await
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

async fn inputs(
    store: &Store,
    columns: &[Column],
    rows: &Spool,
    unusable: &HashSet<String>,
    shutdown: &Shutdown,
    mistakes: &mut Mistakes,
) -> Result<bool, Error> {
    let known = RefCell::new(LruCache::new(REMEMBERED));
    let bar = bar(rows.rows, "rows checked");
    let questions = rows.rows().map_err(disk)?.flat_map(|row| {
        let asked: Vec<_> = match row {
            Err(e) => vec![Err(disk(e))],
            Ok(row) => {
                let inputs = row
                    .values
                    .into_iter()
                    .enumerate()
                    .filter(|(c, v)| is_input(&columns[*c]) && !v.is_empty());
                inputs.map(|(column, value)| Ok((row.row, column, value))).collect()
            }
        };
        asked
    });
    let known = &known;
    let mut answers = stream::iter(questions)
        .map(|question| async move {
            let (row, column, value) = question?;
            let answer = ask(store, &columns[column], &value, unusable, known).await?;
            Ok::<_, Error>((row, column, value, answer))
        })
        .buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        let (row, column, value, presence) = answer?;
        bar.set_position(row);
        let why = match presence {
            Presence::Present => "",
            Presence::Absent if columns[column].kind == Kind::InputRecursive => "has nothing in it",
            Presence::Absent => "does not exist",
            Presence::Denied => {
                "is denied (without s3:ListBucket, so is what does not exist): allow s3:GetObject and s3:ListBucket, or pass --no-verify-inputs"
            }
        };
        if !why.is_empty() {
            let place = Place::Value { row, column: &columns[column] };
            mistakes.add(&place, format_args!("{} {why}", crate::command::table::quoted(&value)));
        }
        if is_leaving(shutdown) {
            return Ok(false);
        }
    }
    bar.finish_and_clear();
    Ok(true)
}

async fn ask(
    store: &Store,
    column: &Column,
    value: &str,
    unusable: &HashSet<String>,
    known: &RefCell<LruCache<String, Presence>>,
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
