//! Stores what a row has made: all of it, or nothing that a reader could see.
//!
//! Every file goes first as parts that nobody sees, small ones as one part. When all parts are there they are
//! completed; empty files, which have no parts, are stored then, too. The record that says so is written last. A
//! crash while they are completed leaves some outputs without a record; the row is run again, and stores them again.
//! A row with one small file needs none of that: it is stored in one call.

use super::plan::Transfer;
use super::{PART, Trouble};
use crate::command::layout;
use crate::error::{Barrier, Failure, Reason};
use crate::store::{CompletedPart, Location, Parts, Store};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::warn;

const AT_ONCE: usize = 8;
/// S3 takes no more parts of one object.
const MAX_PARTS: u64 = 10_000;

/// One file on its way.
#[derive(Debug, Clone)]
pub struct Put {
    from: PathBuf,
    to: Location,
    bytes: u64,
}

/// The files that are to be stored; all that are named must be there.
pub fn collect(row: &Path, outputs: &[Transfer]) -> Result<Vec<Put>, Trouble> {
    let mut files = Vec::new();
    for output in outputs {
        collect_one(row, output, &mut files, &mut Err)?;
    }
    Ok(files)
}

/// `bad`: what to do about a file that cannot be stored; `Ok` goes on without it.
type Bad<'a> = &'a mut dyn FnMut(Trouble) -> Result<(), Trouble>;

fn collect_one(row: &Path, output: &Transfer, files: &mut Vec<Put>, bad: Bad<'_>) -> Result<(), Trouble> {
    if output.is_folder {
        return walk(row, output, files, bad);
    }
    match look(row, output, &output.local) {
        Ok(Some(metadata)) => {
            files.push(Put { from: output.local.clone(), to: output.remote.clone(), bytes: metadata.len() });
            Ok(())
        }
        Ok(None) => {
            let detail = format!("output {} was not made ({} is to be stored)", output.name, output.remote);
            bad(Trouble::failed(Reason::CommandFailed, detail))
        }
        Err(trouble) => bad(trouble),
    }
}

/// As [`collect`], but of a failed attempt: what is there, to another place.
pub fn collect_failed(
    row: &Path,
    outputs: &[Transfer],
    bucket: &str,
    key: impl Fn(&str) -> String,
) -> Vec<Put> {
    let mut files = Vec::new();
    for output in outputs {
        let mut kept = output.clone();
        kept.remote = Location { bucket: bucket.to_owned(), key: key(&output.name), version: None };
        if kept.is_folder {
            kept.remote.key.push('/');
        }
        // What cannot be stored of a failure is no second one.
        let mut skip = |trouble: Trouble| {
            warn!("not kept of the failed attempt: {}", trouble.detail());
            Ok(())
        };
        let collected = collect_one(row, &kept, &mut files, &mut skip);
        debug_assert!(collected.is_ok(), "nothing is bad enough");
    }
    files
}

/// All files beneath a folder.
fn walk(row: &Path, output: &Transfer, files: &mut Vec<Put>, bad: Bad<'_>) -> Result<(), Trouble> {
    let wrong = |path: &Path, why: &str| {
        let detail = format!("output {}: cannot store {}: {why}", output.name, path.display());
        Trouble::failed(Reason::CommandFailed, detail)
    };
    // No recursion: scripts may make folders as deep as they like.
    let mut folders = vec![(output.local.clone(), output.remote.key.clone())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) => {
                bad(wrong(&folder, &e.to_string()))?;
                continue;
            }
        };
        for entry in entries {
            let found = entry.map_err(|e| wrong(&folder, &e.to_string())).and_then(|entry| {
                let path = entry.path();
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| wrong(&path, "its name is not UTF-8, which keys are"))?;
                let key = format!("{prefix}{name}");
                if key.len() > layout::MAX_KEY {
                    return Err(wrong(&path, "its key would be longer than S3 allows"));
                }
                let kind = entry.file_type().map_err(|e| wrong(&path, &e.to_string()))?;
                if kind.is_dir() {
                    folders.push((path, format!("{key}/")));
                    return Ok(());
                }
                let metadata = look(row, output, &path)?.ok_or_else(|| wrong(&path, "it leads nowhere"))?;
                let to = Location { bucket: output.remote.bucket.clone(), key, version: None };
                files.push(Put { from: path, to, bytes: metadata.len() });
                Ok(())
            });
            found.or_else(&mut *bad)?;
        }
    }
    Ok(())
}

/// A file of the row's own; a link may lead to one.
fn look(row: &Path, output: &Transfer, path: &Path) -> Result<Option<Metadata>, Trouble> {
    let wrong = |why: &str| {
        let detail = format!("output {}: cannot store {}: {why}", output.name, path.display());
        Err(Trouble::failed(Reason::CommandFailed, detail))
    };
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return wrong(&e.to_string()),
    };
    let home = row.canonicalize().unwrap_or_else(|_| row.to_owned());
    match real.metadata() {
        _ if !real.starts_with(home) => wrong("it leads out of the row's folder"),
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => wrong("it is no file"),
        Err(e) => wrong(&e.to_string()),
    }
}

/// Stores all files. Gives how many bytes they have.
pub async fn store(store: &Store, transfers: &Semaphore, files: &[Put]) -> Result<u64, Trouble> {
    let mut begun = Vec::new();
    let stored = match files {
        [only] if only.bytes <= PART => put_whole(store, transfers, only).await,
        _ => {
            let (empty, staged): (Vec<&Put>, Vec<&Put>) = files.iter().partition(|file| file.bytes == 0);
            match stage(store, transfers, &staged, &mut begun).await {
                Ok(()) => publish(store, transfers, &begun, &empty).await,
                Err(trouble) => Err(trouble),
            }
        }
    };
    if let Err(trouble) = stored {
        let mut ends = FuturesUnordered::new();
        for parts in &begun {
            if ends.len() >= AT_ONCE {
                ends.next().await;
            }
            ends.push(store.give_up(parts).boxed());
        }
        ends.collect::<()>().await;
        return Err(trouble);
    }
    Ok(files.iter().map(|file| file.bytes).sum())
}

async fn stage(
    store: &Store,
    transfers: &Semaphore,
    files: &[&Put],
    begun: &mut Vec<Parts>,
) -> Result<(), Trouble> {
    let (large, small): (Vec<&Put>, Vec<&Put>) = files.iter().partition(|file| file.bytes > PART);
    for file in large {
        stage_large(store, transfers, file, begun).await?;
    }
    // Whichever has begun is seen to its end: what is dropped half-way nobody can give up.
    let mut uploads = FuturesUnordered::new();
    let mut first_trouble = None;
    let mut small = small.into_iter();
    loop {
        while uploads.len() < AT_ONCE
            && first_trouble.is_none()
            && let Some(file) = small.next()
        {
            uploads.push(stage_small(store, transfers, file).boxed());
        }
        match uploads.next().await {
            None => return first_trouble.map_or(Ok(()), Err),
            Some(Ok(parts)) => begun.push(parts),
            Some(Err(trouble)) => first_trouble = first_trouble.or(Some(trouble)),
        }
    }
}

async fn stage_small(store: &Store, transfers: &Semaphore, file: &Put) -> Result<Parts, Trouble> {
    let from = Arc::new(File::open(&file.from).map_err(|e| disk(file, &e))?);
    let mut parts = store.begin_parts(&file.to).await.map_err(trouble)?;
    match put_part(store, transfers, file, &parts, from, (1, 0, file.bytes)).await {
        Ok(part) => {
            parts.took(part);
            Ok(parts)
        }
        Err(trouble) => {
            store.give_up(&parts).await;
            Err(trouble)
        }
    }
}

async fn stage_large(
    store: &Store,
    transfers: &Semaphore,
    file: &Put,
    begun: &mut Vec<Parts>,
) -> Result<(), Trouble> {
    let from = Arc::new(File::open(&file.from).map_err(|e| disk(file, &e))?);
    begun.push(store.begin_parts(&file.to).await.map_err(trouble)?);
    let parts = begun.last_mut().expect("it was pushed just now");
    let size = PART.max(file.bytes.div_ceil(MAX_PARTS));
    let mut done = Vec::new();
    let mut uploads = FuturesUnordered::new();
    let (mut start, mut number) = (0, 1);
    while start < file.bytes {
        if uploads.len() >= AT_ONCE {
            done.extend(uploads.try_next().await?);
        }
        let length = size.min(file.bytes - start);
        let part = (number, start, length);
        uploads.push(put_part(store, transfers, file, parts, Arc::clone(&from), part).boxed());
        start += length;
        number += 1;
    }
    while let Some(part) = uploads.try_next().await? {
        done.push(part);
    }
    drop(uploads);
    done.into_iter().for_each(|part| parts.took(part));
    Ok(())
}

/// `part`: number, start and length.
async fn put_part(
    store: &Store,
    transfers: &Semaphore,
    file: &Put,
    parts: &Parts,
    from: Arc<File>,
    (number, start, length): (i32, u64, u64),
) -> Result<CompletedPart, Trouble> {
    let _place = transfers.acquire().await.expect("the semaphore is never closed");
    let bytes = read(from, start, length).await.map_err(|e| disk(file, &e))?;
    store.put_part(parts, number, bytes).await.map_err(trouble)
}

async fn publish(
    store: &Store,
    transfers: &Semaphore,
    begun: &[Parts],
    empty: &[&Put],
) -> Result<(), Trouble> {
    let mut steps = FuturesUnordered::new();
    for parts in begun {
        if steps.len() >= AT_ONCE {
            steps.try_next().await?;
        }
        steps.push(async move { store.complete(parts).await.map_err(trouble) }.boxed());
    }
    for file in empty {
        if steps.len() >= AT_ONCE {
            steps.try_next().await?;
        }
        steps.push(put_whole(store, transfers, file).boxed());
    }
    steps.try_collect::<()>().await
}

async fn put_whole(store: &Store, transfers: &Semaphore, file: &Put) -> Result<(), Trouble> {
    let _place = transfers.acquire().await.expect("the semaphore is never closed");
    let from = Arc::new(File::open(&file.from).map_err(|e| disk(file, &e))?);
    let bytes = read(from, 0, file.bytes).await.map_err(|e| disk(file, &e))?;
    store.put_file(&file.to, bytes).await.map_err(trouble)
}

async fn read(file: Arc<File>, at: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    });
    read.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

fn disk(file: &Put, error: &std::io::Error) -> Trouble {
    Trouble::failed(Reason::CommandFailed, format!("cannot read {}: {error}", file.from.display()))
}

fn trouble(failure: Failure) -> Trouble {
    match failure {
        Failure::Retry(error) | Failure::Gone(error) => Trouble::Later(error),
        Failure::Blocked(Barrier::Credentials, error) => Trouble::Blocked(Barrier::Credentials, error),
        // Of this row's bucket: others may well store theirs.
        Failure::Blocked(_, error) => Trouble::failed(Reason::CommandFailed, error.to_string()),
        Failure::Reject(rejection) => Trouble::failed(Reason::CommandFailed, rejection.detail),
        Failure::Left => Trouble::Stopped,
    }
}
