//! The journal: one JSON line an event, so that queues and messages survive a restart.
//!
//! An event is written before it takes effect, so a full disk refuses a send instead of losing it.
//! Nothing is flushed to the disk itself: the journal outlives the process, not a power cut. Receives
//! are not written down: after a restart every message is visible and its receive count starts anew.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use super::message::{Message, MessageId, shared};
use super::queue::Identity;

/// Everything that can happen to queues and their messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Created {
        queue: String,
        identity: Identity,
        attributes: BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
    },
    Configured {
        queue: String,
        modified: u64,
        attributes: BTreeMap<String, String>,
    },
    Tagged {
        queue: String,
        tags: BTreeMap<String, String>,
    },
    Removed {
        queue: String,
    },
    Purged {
        queue: String,
    },
    Sent(Sent),
    Deleted {
        queue: String,
        messages: Vec<MessageId>,
    },
    /// Given up by `queue` and taken by its dead-letter queue.
    Buried {
        queue: String,
        to: String,
        dead_from: String,
        messages: Vec<MessageId>,
    },
    /// Sent anew from a dead-letter queue to `sent.queue`.
    Redriven {
        queue: String,
        message: MessageId,
        sent: Sent,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    pub queue: String,
    #[serde(with = "shared")]
    pub message: Arc<Message>,
    /// Hidden until then, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_from: Option<String>,
}

/// An open journal, locked against a second process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// How long the file is up to its last whole line.
    size: u64,
    /// Rewrite when it grows beyond this.
    rewrite_at: u64,
    /// A failed write could not be taken back: nothing may follow it.
    broken: bool,
}

/// A journal is rewritten when it has grown by this much beyond twice what is live in it.
const SLACK: u64 = 64 * 1024 * 1024;

impl Journal {
    /// Opens or makes the file and hands every event in it to `replay`.
    pub fn open(path: &Path, mut replay: impl FnMut(Event)) -> Result<Journal, Error> {
        let failed = |source| Error::Journal { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = open_locked(path).map_err(failed)?;
        let mut lines = BufReader::new(&file);
        let (mut line, mut number, mut size) = (Vec::new(), 0, 0);
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            number += 1;
            // The last line may be torn: the process ended while it was written, and nobody was
            // told that it took effect.
            if line.last() != Some(&b'\n') {
                tracing::warn!(path = %path.display(), number, "dropped the torn last line of the queue journal");
                break;
            }
            let event = serde_json::from_slice(&line).map_err(|source| Error::Corrupt {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            replay(event);
            size += line.len() as u64;
            line.clear();
        }
        file.set_len(size).map_err(failed)?;
        Ok(Journal { path: path.to_owned(), file, size, rewrite_at: SLACK, broken: false })
    }

    /// Writes all events or none.
    pub fn append(&mut self, events: &[Event]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed and could not be taken back"));
        }
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        if let Err(failure) = self.file.write_all(&lines) {
            // Half a line in the middle would make the whole file unreadable.
            self.broken = self.file.set_len(self.size).is_err();
            return Err(failure);
        }
        self.size += lines.len() as u64;
        Ok(())
    }

    /// One on a full disk.
    #[cfg(test)]
    pub fn broken() -> Journal {
        let file = File::open(std::env::temp_dir()).expect("a folder can be opened, but not written");
        Journal { path: PathBuf::new(), file, size: 0, rewrite_at: SLACK, broken: false }
    }

    pub fn is_overgrown(&self) -> bool {
        self.size > self.rewrite_at
    }

    /// Replaces the file with just these events. On failure the old file stays in use.
    pub fn rewrite(&mut self, events: impl Iterator<Item = Event>) -> io::Result<()> {
        // Tried again only after as much growth, whether it works or not.
        self.rewrite_at = self.size.saturating_mul(2).saturating_add(SLACK);
        let fresh = self.path.with_extension("new");
        let replaced = write_fresh(&fresh, events).and_then(|file| {
            std::fs::rename(&fresh, &self.path)?;
            Ok(file)
        });
        let file = replaced.inspect_err(|_| drop(std::fs::remove_file(&fresh)))?;
        self.size = file.metadata()?.len();
        self.rewrite_at = self.size.saturating_mul(2).saturating_add(SLACK);
        (self.file, self.broken) = (file, false);
        Ok(())
    }
}

fn write_fresh(path: &Path, events: impl Iterator<Item = Event>) -> io::Result<File> {
    let file = open_locked(path)?;
    file.set_len(0)?;
    let mut lines = BufWriter::new(&file);
    for event in events {
        serde_json::to_writer(&mut lines, &event)?;
        lines.write_all(b"\n")?;
    }
    lines.flush()?;
    drop(lines);
    file.sync_all()?;
    Ok(file)
}

fn open_locked(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    file.try_lock()
        .map_err(|_| io::Error::other("another process uses it: stop that one or choose another folder"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("longshore-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder.join("queues.jsonl")
    }

    fn removed(name: &str) -> Event {
        Event::Removed { queue: name.into() }
    }

    fn read(path: &Path) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        Journal::open(path, |event| match event {
            Event::Removed { queue } => names.push(queue),
            other => panic!("{other:?}"),
        })?;
        Ok(names)
    }

    #[test]
    fn events_come_back_in_order() {
        let path = path("order");
        let mut journal = Journal::open(&path, |_| panic!("a new journal is empty")).unwrap();
        journal.append(&[removed("a"), removed("b")]).unwrap();
        journal.append(&[removed("c")]).unwrap();
        drop(journal);
        assert_eq!(read(&path).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_written_over() {
        let path = path("torn");
        Journal::open(&path, |_| ()).unwrap().append(&[removed("a")]).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"event\":\"remo").unwrap();
        let mut journal = Journal::open(&path, |_| ()).unwrap();
        journal.append(&[removed("b")]).unwrap();
        drop(journal);
        assert_eq!(read(&path).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named_not_skipped() {
        let path = path("damaged");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{\"event\":\"removed\",\"queue\":\"a\"}\n???\n{}\n").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let path = path("locked");
        let _journal = Journal::open(&path, |_| ()).unwrap();
        let message = Journal::open(&path, |_| ()).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
    }

    #[test]
    fn a_rewritten_journal_takes_further_events() {
        let path = path("rewritten");
        let mut journal = Journal::open(&path, |_| ()).unwrap();
        journal.append(&[removed("a"), removed("b")]).unwrap();
        journal.rewrite([removed("b")].into_iter()).unwrap();
        journal.append(&[removed("c")]).unwrap();
        drop(journal);
        assert_eq!(read(&path).unwrap(), ["b", "c"]);
    }

    #[test]
    fn a_rewrite_that_fails_leaves_the_journal_as_it_was() {
        let path = path("unrewritten");
        let mut journal = Journal::open(&path, |_| ()).unwrap();
        journal.append(&[removed("a")]).unwrap();
        std::fs::create_dir(path.with_extension("new")).unwrap();
        assert!(journal.rewrite([removed("b")].into_iter()).is_err());
        journal.append(&[removed("c")]).unwrap();
        drop(journal);
        assert_eq!(read(&path).unwrap(), ["a", "c"]);
    }

    #[test]
    fn a_failed_write_is_an_error_and_stays_one_until_it_can_be_taken_back() {
        let mut journal = Journal::broken();
        assert!(journal.append(&[removed("a")]).is_err());
        assert!(journal.append(&[removed("b")]).is_err());
    }
}
