//! Stores what a row has made: all of it, or nothing that a reader could see.
//!
//! Large files go first, as parts that nobody sees. When all of those are there, they are completed and the small
//! files stored, at once; the record that says so is written last. A crash in between leaves some outputs without
//! a record; the row is run again, and stores them again.

use super::plan::Transfer;
use super::{PART, Trouble};
use crate::command::layout;
use crate::error::{Barrier, Failure, Reason};
use crate::store::{CompletedPart, Location, Parts, Store};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, TryStreamExt};
use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

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
        let never_made = || {
            let detail = format!("output {} was not made ({} is to be stored)", output.name, output.remote);
            Trouble::failed(Reason::CommandFailed, detail)
        };
        if output.is_folder {
            walk(row, output, &mut files)?;
        } else {
            let metadata = look(row, output, &output.local)?.ok_or_else(never_made)?;
            files.push(Put { from: output.local.clone(), to: output.remote.clone(), bytes: metadata.len() });
        }
    }
    Ok(files)
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
        if let Ok(found) = collect(row, std::slice::from_ref(&kept)) {
            files.extend(found);
        }
    }
    files
}

/// All files beneath a folder.
fn walk(row: &Path, output: &Transfer, files: &mut Vec<Put>) -> Result<(), Trouble> {
    let wrong = |path: &Path, why: &str| {
        let detail = format!("output {}: cannot store {}: {why}", output.name, path.display());
        Trouble::failed(Reason::CommandFailed, detail)
    };
    // No recursion: scripts may make folders as deep as they like.
    let mut folders = vec![(output.local.clone(), output.remote.key.clone())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| wrong(&folder, &e.to_string()))?;
        for entry in entries {
            let path = entry.map_err(|e| wrong(&folder, &e.to_string()))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| wrong(&path, "its name is not UTF-8, which keys are"))?;
            let key = format!("{prefix}{name}");
            if key.len() > layout::MAX_KEY {
                return Err(wrong(&path, "its key would be longer than S3 allows"));
            }
            let kind = std::fs::symlink_metadata(&path).map_err(|e| wrong(&path, &e.to_string()))?;
            if kind.is_dir() {
                folders.push((path, format!("{key}/")));
                continue;
            }
            let metadata = look(row, output, &path)?.ok_or_else(|| wrong(&path, "it leads nowhere"))?;
            let to = Location { bucket: output.remote.bucket.clone(), key, version: None };
            files.push(Put { from: path, to, bytes: metadata.len() });
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
    let (large, small): (Vec<Put>, Vec<Put>) = files.iter().cloned().partition(|file| file.bytes > PART);
    let mut begun = Vec::new();
    let staged = stage(store, transfers, &large, &mut begun).await;
    let stored = match staged {
        Ok(()) => publish(store, transfers, &begun, &small).await,
        Err(trouble) => Err(trouble),
    };
    if let Err(trouble) = stored {
        for parts in &begun {
            store.give_up(parts).await;
        }
        return Err(trouble);
    }
    Ok(files.iter().map(|file| file.bytes).sum())
}

async fn stage(
    store: &Store,
    transfers: &Semaphore,
    large: &[Put],
    begun: &mut Vec<Parts>,
) -> Result<(), Trouble> {
    for file in large {
        begun.push(store.begin_parts(&file.to).await.map_err(trouble)?);
        let parts = begun.last_mut().expect("it was pushed just now");
        let from = Arc::new(File::open(&file.from).map_err(|e| disk(file, &e))?);
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
    }
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
    small: &[Put],
) -> Result<(), Trouble> {
    let mut steps = FuturesUnordered::new();
    for parts in begun {
        if steps.len() >= AT_ONCE {
            steps.try_next().await?;
        }
        steps.push(async move { store.complete(parts).await.map_err(trouble) }.boxed());
    }
    for file in small {
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
