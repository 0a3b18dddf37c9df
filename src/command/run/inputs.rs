//! Fetches what a row reads, before its script runs.

use super::folder::Folders;
use super::plan::{Transfer, relative};
use super::{PART, Trouble};
use crate::error::{Barrier, Failure, Reason};
use crate::store::listing::Listing;
use crate::store::{Found, Location, Store};
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt, TryStreamExt};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Of one row: the semaphore is for all.
const AT_ONCE: usize = 8;
/// More files than these are no input but a mistake.
const MAX_FILES: usize = 1_000_000;

/// Fetches all inputs, in parallel. Gives how many bytes they have.
pub async fn fetch(
    store: &Store,
    transfers: &Semaphore,
    folders: &Folders,
    inputs: &[Transfer],
) -> Result<u64, Trouble> {
    let mut finds = FuturesOrdered::new();
    for input in inputs {
        finds.push_back(find(store, input).boxed());
    }
    let files: Vec<(Found, PathBuf)> = finds.try_concat().await?;
    let bytes = files.iter().map(|(found, _)| found.bytes).fold(0, u64::saturating_add);
    // Room is taken before anything is written, or two rows would fill the disk together.
    let _room = folders.promise(bytes).map_err(|room| {
        let detail = format!("the inputs have {bytes} bytes, and the disk has room for {room}");
        Trouble::failed(Reason::CommandInput, detail)
    })?;
    let mut fetches = FuturesUnordered::new();
    for (found, path) in files {
        if fetches.len() >= AT_ONCE {
            fetches.try_next().await?;
        }
        fetches.push(fetch_file(store, transfers, found, path).boxed());
    }
    fetches.try_collect::<()>().await?;
    Ok(bytes)
}

/// The files of an input, and where each goes.
async fn find(store: &Store, input: &Transfer) -> Result<Vec<(Found, PathBuf)>, Trouble> {
    if !input.is_folder {
        let found = store.find(&input.remote).await.map_err(|failure| trouble(input, failure))?;
        return Ok(vec![(found, input.local.clone())]);
    }
    make_folder(&input.local)?;
    let never = |detail: String| Trouble::never(Reason::CommandInput, detail);
    let Location { bucket, key: prefix, .. } = &input.remote;
    let mut listing = Listing::new(store.clone(), bucket, prefix, None);
    let mut files = Vec::new();
    loop {
        let next = listing.next().await;
        let next = next
            .map_err(|why| Trouble::failed(Reason::CommandInput, format!("input {}: {why}", input.name)))?;
        let Some(listed) = next else { break };
        // Made by consoles to show a folder.
        if listed.key.ends_with('/') && listed.bytes == 0 {
            continue;
        }
        let location = Location { bucket: bucket.clone(), key: listed.key, version: None };
        let path = relative(location.key.strip_prefix(prefix).unwrap_or_default());
        let path = path
            .map_err(|why| never(format!("input {} has {location}, which is no file: {why}", input.name)))?;
        let found = Found { location, bytes: listed.bytes, etag: format!("\"{}\"", listed.etag) };
        files.push((found, input.local.join(path)));
        if files.len() > MAX_FILES {
            return Err(never(format!(
                "input {}: {} has more than {MAX_FILES} objects",
                input.name, input.remote
            )));
        }
    }
    if files.is_empty() {
        return Err(never(format!("input {}: nothing is in {}", input.name, input.remote)));
    }
    Ok(files)
}

async fn fetch_file(
    store: &Store,
    transfers: &Semaphore,
    found: Found,
    path: PathBuf,
) -> Result<(), Trouble> {
    let found = &found;
    path.parent().map(make_folder).transpose()?;
    let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
        // The keys `a` and `a/b` cannot both be files.
        std::io::ErrorKind::AlreadyExists => Trouble::never(
            Reason::CommandInput,
            format!("{} cannot be a file: another object has its place", found.location),
        ),
        _ => disk(found, &e),
    })?;
    file.set_len(found.bytes).map_err(|e| disk(found, &e))?;
    let file = Arc::new(file);
    // A range of nothing is an error; a whole object needs none.
    let whole = found.bytes <= PART;
    let mut ranges = FuturesUnordered::new();
    let mut start = 0;
    while start < found.bytes {
        let end = (start + PART).min(found.bytes);
        if ranges.len() >= AT_ONCE {
            ranges.try_next().await?;
        }
        let range = (!whole).then_some(start..end);
        ranges.push(fetch_range(store, transfers, found, range, Arc::clone(&file)).boxed());
        start = end;
    }
    ranges.try_collect::<()>().await
}

async fn fetch_range(
    store: &Store,
    transfers: &Semaphore,
    found: &Found,
    range: Option<Range<u64>>,
    file: Arc<File>,
) -> Result<(), Trouble> {
    let _place = transfers.acquire().await.expect("the semaphore is never closed");
    let start = range.as_ref().map_or(0, |r| r.start);
    let bytes = store.range(found, range).await.map_err(of_object)?;
    write(file, bytes, start).await.map_err(|e| disk(found, &e))
}

fn disk(found: &Found, error: &std::io::Error) -> Trouble {
    Trouble::failed(Reason::CommandInput, format!("cannot write {}: {error}", found.location))
}

async fn write(file: Arc<File>, bytes: Vec<u8>, at: u64) -> std::io::Result<()> {
    let written = tokio::task::spawn_blocking(move || file.write_all_at(&bytes, at));
    written.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

fn make_folder(path: &Path) -> Result<(), Trouble> {
    std::fs::create_dir_all(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => Trouble::never(
            Reason::CommandInput,
            format!("{} cannot be a folder: an object has its place", path.display()),
        ),
        _ => Trouble::failed(Reason::CommandInput, format!("cannot make {}: {e}", path.display())),
    })
}

fn trouble(input: &Transfer, failure: Failure) -> Trouble {
    match failure {
        Failure::Gone(_) => {
            Trouble::never(Reason::CommandInput, format!("input {}: {} is gone", input.name, input.remote))
        }
        other => of_object(other),
    }
}

fn of_object(failure: Failure) -> Trouble {
    match failure {
        Failure::Gone(error) => Trouble::never(Reason::CommandInput, error.to_string()),
        Failure::Reject(rejection) => Trouble::never(Reason::CommandInput, rejection.detail),
        Failure::Blocked(Barrier::Credentials, error) => Trouble::Blocked(Barrier::Credentials, error),
        // Of this row's bucket, which is nobody else's: no reason to stop all others.
        Failure::Blocked(_, error) => Trouble::failed(Reason::CommandInput, error.to_string()),
        Failure::Retry(error) => Trouble::Later(error),
        Failure::Left => Trouble::Stopped,
    }
}
