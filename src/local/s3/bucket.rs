//! One bucket: what it holds, and the changes to that. All of it happens under one lock, so that a
//! condition that was checked still holds when the write is done, and a reader opens the file that
//! belongs to the description it read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use super::folders::{Folders, Temporary, unique};
use super::journal::Journal;
use super::place::place;
use super::record::{Content, Line, Moves, Part, Settings, Time, Upload, Version, Versioning};
use super::sequencer::Sequence;

#[derive(Debug)]
pub struct Bucket {
    pub name: String,
    pub settings: Settings,
    /// Versions of each key, oldest first.
    pub entries: BTreeMap<String, Vec<Version>>,
    pub uploads: BTreeMap<String, Upload>,
    /// Set when the bucket is deleted while somebody still waits for its lock.
    pub deleted: bool,
    folders: Arc<Folders>,
    sequence: Arc<Sequence>,
    journal: Journal,
}

/// A change that was made.
#[derive(Debug, Clone)]
pub struct Written {
    pub version: Version,
    pub sequence: u64,
}

impl Bucket {
    pub fn create(
        name: &str,
        settings: Settings,
        folders: Arc<Folders>,
        sequence: Arc<Sequence>,
    ) -> io::Result<Bucket> {
        folders.make_bucket(name)?;
        let (mut journal, _) = Journal::open(folders.journal(name))?;
        journal.append(&[Line::Settings(settings.clone())])?;
        Ok(Bucket::empty(name, settings, folders, sequence, journal))
    }

    /// None: a crash came between making the journal and its first line.
    pub fn open(name: &str, folders: Arc<Folders>, sequence: Arc<Sequence>) -> io::Result<Option<Bucket>> {
        let (journal, lines) = Journal::open(folders.journal(name))?;
        let Some(Line::Settings(settings)) =
            lines.iter().find(|line| matches!(line, Line::Settings(_))).cloned()
        else {
            return Ok(None);
        };
        let mut bucket = Bucket::empty(name, settings, folders, sequence, journal);
        let mut last_moves = None;
        for line in lines {
            if let Line::Entry { moves, .. } = &line {
                last_moves = Some(moves.clone());
            }
            bucket.apply(line);
        }
        if let Some(moves) = last_moves {
            bucket.folders.resume(&moves)?;
        }
        bucket.compact()?;
        Ok(Some(bucket))
    }

    fn empty(
        name: &str,
        settings: Settings,
        folders: Arc<Folders>,
        sequence: Arc<Sequence>,
        journal: Journal,
    ) -> Bucket {
        let (entries, uploads) = Default::default();
        Bucket {
            name: name.to_owned(),
            settings,
            entries,
            uploads,
            deleted: false,
            folders,
            sequence,
            journal,
        }
    }

    /// The object of a key as a plain GET sees it: whole, and not removed by hand.
    pub fn present(&self, key: &str) -> Option<(&Version, &Content)> {
        let version = self.entries.get(key)?.last()?;
        let content = version.content.as_ref()?;
        self.is_on_disk(content).then_some((version, content))
    }

    /// Whether the file is there still and was not replaced by hand with another.
    pub fn is_on_disk(&self, content: &Content) -> bool {
        let found = fs::symlink_metadata(self.folders.path(&content.file));
        found.is_ok_and(|found| found.is_file() && found.len() == content.size)
    }

    pub fn open_file(&self, content: &Content) -> io::Result<File> {
        File::open(self.folders.path(&content.file))
    }

    /// Makes `temporary` the latest version of `key`, and ends the upload it came from. `content.file`
    /// is filled in here.
    pub fn put(
        &mut self,
        key: &str,
        temporary: &Temporary,
        mut content: Content,
        upload: Option<&str>,
    ) -> io::Result<Written> {
        self.folders.make_bucket(&self.name)?;
        let mut versions = self.entries.get(key).cloned().unwrap_or_default();
        let own =
            versions.last().and_then(|latest| latest.content.as_ref()).map(|content| content.file.clone());
        let public = self.public_place(key, own.as_deref());
        self.folders.make_parents(&public)?;
        let mut moves = self.make_room(&mut versions);
        moves.publish = Some((temporary.name.clone(), public.clone()));
        moves.discard.retain(|file| *file != public);
        content.file = public;
        let version = Version { id: self.new_id(), modified: Time::now(), content: Some(content) };
        versions.push(version.clone());
        let ended = upload.map(|id| Line::UploadEnded { id: id.to_owned() });
        let sequence = self.commit(key, versions, moves, ended)?;
        Ok(Written { version, sequence })
    }

    /// Deletes without naming a version. Gives the delete marker, if the bucket's versioning makes one.
    pub fn delete(&mut self, key: &str) -> io::Result<Option<Version>> {
        let Some(mut versions) =
            self.entries.get(key).cloned().or_else(|| self.is_versioned().then(Vec::new))
        else {
            return Ok(None);
        };
        let moves = self.make_room(&mut versions);
        let marker =
            self.is_versioned().then(|| Version { id: self.new_id(), modified: Time::now(), content: None });
        versions.extend(marker.clone());
        self.commit(key, versions, moves, None)?;
        Ok(marker)
    }

    /// Deletes one version for good; the one before becomes the latest. None: there is no such version.
    pub fn delete_version(&mut self, key: &str, name: &str) -> io::Result<Option<Version>> {
        let Some(mut versions) = self.entries.get(key).cloned() else { return Ok(None) };
        let Some(at) = versions.iter().position(|version| version.name() == name) else { return Ok(None) };
        let was_latest = at + 1 == versions.len();
        let removed = versions.remove(at);
        let mut moves = Moves::default();
        let own = removed.content.as_ref().map(|content| content.file.clone());
        if was_latest && let Some(content) = versions.last_mut().and_then(|latest| latest.content.as_mut()) {
            let public = self.public_place(key, own.as_deref());
            if self.is_on_disk(content) {
                self.folders.make_parents(&public)?;
                moves.publish = Some((content.file.clone(), public.clone()));
            }
            content.file = public;
        }
        let kept = moves.publish.as_ref().map(|(_, public)| public.clone());
        moves.discard.extend(own.filter(|file| Some(file) != kept.as_ref()));
        self.commit(key, versions, moves, None)?;
        Ok(Some(removed))
    }

    /// Changes the description of one version; its bytes stay.
    pub fn redescribe(&mut self, key: &str, version: Version) -> io::Result<()> {
        let Some(mut versions) = self.entries.get(key).cloned() else { return Ok(()) };
        for present in &mut versions {
            if present.id == version.id {
                *present = version.clone();
            }
        }
        self.commit(key, versions, Moves::default(), None).map(drop)
    }

    pub fn change_settings(&mut self, settings: Settings) -> io::Result<()> {
        self.record(Line::Settings(settings))
    }

    pub fn start_upload(&mut self, id: &str, upload: Upload) -> io::Result<()> {
        self.record(Line::Upload { id: id.to_owned(), upload })
    }

    /// Keeps `temporary` as a part. One of the same number that was there before is discarded.
    pub fn put_part(
        &mut self,
        upload: &str,
        number: i32,
        temporary: &Temporary,
        mut part: Part,
    ) -> io::Result<()> {
        part.file = self.folders.part();
        fs::rename(self.folders.path(&temporary.name), self.folders.path(&part.file))?;
        let before = self
            .uploads
            .get(upload)
            .and_then(|upload| upload.parts.get(&number))
            .map(|part| part.file.clone());
        let file = part.file.clone();
        let recorded = self.record(Line::Part { upload: upload.to_owned(), number, part });
        let unused = if recorded.is_ok() { before } else { Some(file) };
        if let Some(file) = unused {
            self.folders.discard(&file);
        }
        recorded
    }

    /// Forgets an upload and its parts.
    pub fn end_upload(&mut self, id: &str) -> io::Result<()> {
        self.record(Line::UploadEnded { id: id.to_owned() })
    }

    /// Takes the bucket out of the data directory. Files of the user keep their folder.
    pub fn remove(&mut self) -> io::Result<()> {
        self.journal.remove()?;
        for part in self.uploads.values().flat_map(|upload| upload.parts.values()) {
            self.folders.discard(&part.file);
        }
        let _ = fs::remove_dir(self.folders.path(&self.name));
        self.deleted = true;
        Ok(())
    }

    fn is_versioned(&self) -> bool {
        self.settings.versioning != Versioning::Off
    }

    fn new_id(&self) -> Option<String> {
        (self.settings.versioning == Versioning::Enabled).then(unique)
    }

    fn public_place(&self, key: &str, own: Option<&str>) -> String {
        let below = own.and_then(|file| file.strip_prefix(&self.name)?.strip_prefix('/'));
        format!("{}/{}", self.name, place(&self.folders.path(&self.name), key, below))
    }

    /// Takes the latest version out of the public place: the version `null` makes way for a new one of
    /// that name, any other is kept.
    fn make_room(&self, versions: &mut Vec<Version>) -> Moves {
        let mut moves = Moves::default();
        if self.settings.versioning != Versioning::Enabled
            && let Some(at) = versions.iter().position(|version| version.id.is_none())
        {
            moves.discard.extend(versions.remove(at).content.map(|content| content.file));
            // An older version is never in the public place.
            if at == versions.len() {
                return moves;
            }
        }
        if let Some(content) = versions.last_mut().and_then(|latest| latest.content.as_mut()) {
            let public = std::mem::replace(&mut content.file, self.folders.archived());
            moves.archive = Some((public, content.file.clone()));
        }
        moves
    }

    fn commit(
        &mut self,
        key: &str,
        versions: Vec<Version>,
        moves: Moves,
        and: Option<Line>,
    ) -> io::Result<u64> {
        let sequence = self.sequence.next();
        let entry = Line::Entry { key: key.to_owned(), versions, sequence, moves: moves.clone() };
        let lines: Vec<Line> = [entry].into_iter().chain(and).collect();
        let mark = self.journal.append(&lines)?;
        if let Err(e) = self.folders.perform(&moves) {
            self.journal.undo(mark)?;
            return Err(e);
        }
        for line in lines {
            self.apply(line);
        }
        self.compact()?;
        Ok(sequence)
    }

    fn record(&mut self, line: Line) -> io::Result<()> {
        self.journal.append(std::slice::from_ref(&line))?;
        self.apply(line);
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Settings(settings) => self.settings = settings,
            Line::Entry { key, versions, sequence, .. } => {
                self.sequence.resume_after(sequence);
                if versions.is_empty() {
                    self.entries.remove(&key);
                } else {
                    self.entries.insert(key, versions);
                }
            }
            Line::Upload { id, upload } => {
                self.uploads.insert(id, upload);
            }
            Line::Part { upload, number, part } => {
                if let Some(upload) = self.uploads.get_mut(&upload) {
                    upload.parts.insert(number, part);
                }
            }
            Line::UploadEnded { id } => {
                for part in self.uploads.remove(&id).iter().flat_map(|upload| upload.parts.values()) {
                    self.folders.discard(&part.file);
                }
            }
            Line::Sequence(number) => self.sequence.resume_after(number),
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        if !self.journal.is_wasteful(self.entries.len() + self.uploads.len()) {
            return Ok(());
        }
        let sequence = self.sequence.next();
        let entries = self.entries.iter().map(|(key, versions)| Line::Entry {
            key: key.clone(),
            versions: versions.clone(),
            sequence: 0,
            moves: Moves::default(),
        });
        let uploads =
            self.uploads.iter().map(|(id, upload)| Line::Upload { id: id.clone(), upload: upload.clone() });
        let head = [Line::Settings(self.settings.clone()), Line::Sequence(sequence)];
        self.journal.replace(head.into_iter().chain(entries).chain(uploads))
    }
}
