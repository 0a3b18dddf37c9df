//! The data directory: pictures in plain sight, everything else below `.longshore/s3`.
//!
//! ```text
//! BUCKET/path/of/key.jpg                      the latest version of an object
//! .longshore/s3/lock                          one process at a time
//! .longshore/s3/buckets/BUCKET.journal        settings, objects, uploads
//! .longshore/s3/versions/…                    older versions
//! .longshore/s3/parts/…                       parts of multipart uploads
//! .longshore/s3/incoming/…                    uploads that have not ended; emptied at start
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::record::Moves;

const STATE: &str = ".longshore/s3";

#[derive(Debug)]
pub struct Folders {
    root: PathBuf,
    /// Held, and with it the data directory.
    _lock: Option<File>,
}

/// A file that is removed when dropped, unless it was moved away before.
#[derive(Debug)]
pub struct Temporary {
    /// Below the data directory.
    pub name: String,
    path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Folders {
    /// Makes what is missing and takes the lock.
    pub fn open(root: &Path) -> io::Result<Folders> {
        for folder in ["buckets", "versions", "parts", "incoming"] {
            fs::create_dir_all(root.join(STATE).join(folder))?;
        }
        let root = root.canonicalize()?;
        let lock = lock(&root.join(STATE).join("lock"))?;
        Ok(Folders { root, _lock: lock })
    }

    /// Removes what a crash left of uploads; only after every bucket has resumed its last change.
    pub fn clean(&self) -> io::Result<()> {
        for left_over in fs::read_dir(self.root.join(STATE).join("incoming"))? {
            let _ = fs::remove_file(left_over?.path());
        }
        Ok(())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn journal(&self, bucket: &str) -> PathBuf {
        self.root.join(STATE).join("buckets").join(format!("{bucket}.journal"))
    }

    /// Names of the buckets there are.
    pub fn buckets(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(STATE).join("buckets"))? {
            let name = entry?.file_name();
            if let Some(bucket) = name.to_str().and_then(|name| name.strip_suffix(".journal")) {
                names.push(bucket.to_owned());
            }
        }
        Ok(names)
    }

    /// An empty file for an upload.
    pub fn incoming(&self) -> io::Result<(Temporary, File)> {
        let name = format!("{STATE}/incoming/{}", unique());
        let path = self.path(&name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((Temporary { name, path }, file))
    }

    /// A name no file has, for a version that is no longer the latest.
    pub fn archived(&self) -> String {
        format!("{STATE}/versions/{}", unique())
    }

    /// A name no file has, for a part of an upload.
    pub fn part(&self) -> String {
        format!("{STATE}/parts/{}", unique())
    }

    /// Makes the folder of a bucket.
    pub fn make_bucket(&self, bucket: &str) -> io::Result<()> {
        let path = self.path(bucket);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "something that is no folder has the bucket's name",
            )),
            Err(_) => fs::create_dir(path),
        }
    }

    /// Does the moves; after an error everything is where it was.
    pub fn perform(&self, moves: &Moves) -> io::Result<()> {
        let archived = match &moves.archive {
            Some((from, to)) => self.move_if_there(from, to)?,
            None => false,
        };
        if let Some((from, to)) = &moves.publish
            && let Err(e) = fs::rename(self.path(from), self.path(to))
        {
            if let Some((public, archive)) = moves.archive.as_ref().filter(|_| archived) {
                self.move_if_there(archive, public)?;
            }
            return Err(e);
        }
        for name in &moves.discard {
            self.discard(name);
        }
        if let Some((public, _)) = &moves.archive {
            self.prune(public);
        }
        Ok(())
    }

    /// Does what a crash left undone. A file that was published has a name of its own, so that it is
    /// still there says that the crash came first.
    pub fn resume(&self, moves: &Moves) -> io::Result<()> {
        let published = moves.publish.as_ref().is_some_and(|(from, _)| !self.path(from).exists());
        let archived = moves.archive.as_ref().is_some_and(|(_, to)| self.path(to).exists());
        let rest = Moves {
            archive: moves.archive.clone().filter(|_| !published && !archived),
            publish: moves.publish.clone().filter(|_| !published),
            discard: moves.discard.clone(),
        };
        if let Some((_, to)) = &rest.publish {
            self.make_parents(to)?;
        }
        self.perform(&rest)
    }

    pub fn make_parents(&self, name: &str) -> io::Result<()> {
        self.path(name).parent().map_or(Ok(()), fs::create_dir_all)
    }

    /// Removes a file, and the folders that are empty without it.
    pub fn discard(&self, name: &str) {
        if let Err(e) = fs::remove_file(self.path(name))
            && e.kind() != ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {name} from the data directory: {e}");
        }
        self.prune(name);
    }

    /// Removes empty folders upwards, but neither a bucket's nor our own.
    fn prune(&self, name: &str) {
        if name.starts_with(STATE) {
            return;
        }
        let mut folder = Path::new(name).parent();
        while let Some(path) = folder.filter(|path| path.components().count() > 1) {
            if fs::remove_dir(self.root.join(path)).is_err() {
                return;
            }
            folder = path.parent();
        }
    }

    fn move_if_there(&self, from: &str, to: &str) -> io::Result<bool> {
        match fs::rename(self.path(from), self.path(to)) {
            Ok(()) => Ok(true),
            // Somebody removed the file by hand: that version is gone.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

pub fn unique() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(32).collect()
}

/// None: this very process holds it, as when a server is started again before all connections of
/// the one before have ended.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let own = std::process::id().to_string();
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(own.as_bytes())?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            if holder == own {
                return Ok(None);
            }
            Err(io::Error::new(ErrorKind::ResourceBusy, format!("the process {holder} is using it")))
        }
        // A file system without locks: as if there were nobody else.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> (tempfile::TempDir, Folders) {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::open(folder.path()).unwrap();
        folders.make_bucket("b").unwrap();
        (folder, folders)
    }

    #[test]
    fn moves_can_be_resumed_after_each_step() {
        for done in 0..=2 {
            let (_keep, folders) = folders();
            fs::write(folders.path("b/x"), "old").unwrap();
            let (temporary, mut file) = folders.incoming().unwrap();
            file.write_all(b"new").unwrap();
            let archive = ("b/x".to_owned(), folders.archived());
            let publish = (temporary.name.clone(), "b/x".to_owned());
            if done > 0 {
                fs::rename(folders.path(&archive.0), folders.path(&archive.1)).unwrap();
            }
            if done > 1 {
                fs::rename(folders.path(&publish.0), folders.path(&publish.1)).unwrap();
            }
            let moves = Moves { archive: Some(archive.clone()), publish: Some(publish), discard: vec![] };
            folders.resume(&moves).unwrap();
            assert_eq!(fs::read_to_string(folders.path("b/x")).unwrap(), "new", "after {done} steps");
            assert_eq!(fs::read_to_string(folders.path(&archive.1)).unwrap(), "old", "after {done} steps");
        }
    }

    #[test]
    fn a_failed_publication_puts_the_old_file_back() {
        let (_keep, folders) = folders();
        fs::write(folders.path("b/x"), "old").unwrap();
        let moves = Moves {
            archive: Some(("b/x".to_owned(), folders.archived())),
            publish: Some(("nothing".to_owned(), "b/x".to_owned())),
            discard: vec![],
        };
        assert!(folders.perform(&moves).is_err());
        assert_eq!(fs::read_to_string(folders.path("b/x")).unwrap(), "old");
    }

    #[test]
    fn empty_folders_go_with_their_last_file() {
        let (_keep, folders) = folders();
        fs::create_dir_all(folders.path("b/one/two")).unwrap();
        fs::write(folders.path("b/one/two/x"), "").unwrap();
        folders.discard("b/one/two/x");
        assert!(!folders.path("b/one").exists() && folders.path("b").exists());
    }
}
