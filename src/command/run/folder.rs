//! Folders for rows on this machine's disk: one for this process, in it one for each row. They are removed
//! whatever happens; what a process left that was killed, the next one removes.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{info, warn};

/// This process's own, locked while it lives.
pub struct Folders {
    root: PathBuf,
    lock_file: PathBuf,
    _lock: File,
    next: AtomicU64,
    /// Bytes that rows are about to write.
    promised: std::sync::Arc<AtomicU64>,
}

/// A row's own, removed on drop.
pub struct Folder {
    pub path: PathBuf,
}

/// Bytes of the disk that are promised to a row, until dropped.
pub struct Promise(u64, std::sync::Arc<AtomicU64>);

const PREFIX: &str = "longshore-rows-";
const LOCK: &str = ".lock";
/// Stays free on the disk.
const RESERVE: u64 = 64 << 20;

impl Folders {
    /// # Errors
    ///
    /// Nothing can be made in `parent`.
    pub fn new(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent)?;
        remove_leftovers(parent);
        for _ in 0..100 {
            let name = format!("{PREFIX}{:016x}", fastrand::u64(..));
            let lock_file = parent.join(format!("{name}{LOCK}"));
            let lock = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock_file) {
                Ok(lock) => lock,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e),
            };
            // Somebody who tidies up may have come in between, and have removed it.
            let ours = fs::symlink_metadata(&lock_file).is_ok_and(|there| {
                lock.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
            });
            if lock.try_lock().is_err() || !ours {
                continue;
            }
            let root = parent.join(name);
            make(&root)?;
            let next = AtomicU64::new(1);
            return Ok(Self { root, lock_file, _lock: lock, next, promised: std::sync::Arc::default() });
        }
        Err(Error::other("no name for a folder is free"))
    }

    pub fn row(&self) -> Result<Folder> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = Folder { path: self.root.join(number.to_string()) };
        make(&folder.path)?;
        for part in ["in", "out", "tmp"] {
            make(&folder.path.join(part))?;
        }
        Ok(folder)
    }

    /// Room on the disk for so many bytes, beside those of other rows.
    ///
    /// # Errors
    ///
    /// There are so many only.
    pub fn promise(&self, bytes: u64) -> std::result::Result<Promise, u64> {
        let free =
            rustix::fs::statvfs(&self.root).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize));
        let before = self.promised.fetch_add(bytes, Ordering::SeqCst);
        let promise = Promise(bytes, self.promised.clone());
        let room = free.saturating_sub(RESERVE).saturating_sub(before);
        if bytes > room { Err(room) } else { Ok(promise) }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0, Ordering::SeqCst);
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        if let Err(e) = remove(&self.root) {
            warn!("cannot remove {}: {e}", self.root.display());
            return;
        }
        let _ = fs::remove_file(&self.lock_file);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = remove(&self.path) {
            warn!("cannot remove {}: {e}", self.path.display());
        }
    }
}

/// For nobody but us to look into.
fn make(path: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Removes a folder with all that is in it, even what its owner took the permissions from.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => open_up(path),
        // A process of it may just have written its last.
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    fs::remove_dir_all(path)
}

fn open_up(path: &Path) {
    let mut folders = vec![path.to_owned()];
    while let Some(path) = folders.pop() {
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        // Of the entry itself: links lead elsewhere.
        folders.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
}

/// Removes folders whose process is no more. Only ours, only real folders: the parent may be everybody's.
fn remove_leftovers(parent: &Path) {
    let me = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some(folder) = name.strip_suffix(LOCK).filter(|n| n.starts_with(PREFIX)) else { continue };
        let is_ours = |path: &Path, dir: bool| {
            fs::symlink_metadata(path).is_ok_and(|m| m.uid() == me && m.is_dir() == dir && !m.is_symlink())
        };
        let (lock_file, folder) = (parent.join(OsStr::new(&name)), parent.join(folder));
        if !is_ours(&lock_file, false) || (folder.exists() && !is_ours(&folder, true)) {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(&lock_file) else { continue };
        // Its process lives.
        if lock.try_lock().is_err() {
            continue;
        }
        match remove(&folder) {
            Ok(()) => {
                info!("removed {}, left by a worker that was killed", folder.display());
                let _ = fs::remove_file(&lock_file);
            }
            Err(e) => warn!("cannot remove {}: {e}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(parent: &Path) -> usize {
        fs::read_dir(parent).unwrap().count()
    }

    #[test]
    fn a_folder_is_ours_alone_and_removed_whatever_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let folders = Folders::new(parent.path()).unwrap();
        let row = folders.row().unwrap();
        let path = row.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let hard = path.join("tmp/a/b");
        fs::create_dir_all(&hard).unwrap();
        fs::write(hard.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", hard.join("link")).unwrap();
        fs::set_permissions(&hard, fs::Permissions::from_mode(0o000)).unwrap();
        drop(row);
        assert!(!path.exists() && Path::new("/etc/passwd").exists());
        drop(folders);
        assert_eq!(entries(parent.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Folders::new(parent.path()).unwrap();
        let row = living.row().unwrap();
        // As a killed process leaves it: its lock is no more, its files are.
        fs::create_dir_all(parent.path().join("longshore-rows-dead/1/tmp")).unwrap();
        fs::write(parent.path().join("longshore-rows-dead.lock"), "").unwrap();
        // Not a lock of ours, nor a folder of ours.
        std::os::unix::fs::symlink("/etc", parent.path().join("longshore-rows-link")).unwrap();
        fs::write(parent.path().join("longshore-rows-link.lock"), "").unwrap();
        let second = Folders::new(parent.path()).unwrap();
        assert!(row.path.exists() && !parent.path().join("longshore-rows-dead").exists());
        assert!(!parent.path().join("longshore-rows-dead.lock").exists());
        assert!(Path::new("/etc/passwd").exists() && parent.path().join("longshore-rows-link.lock").exists());
        drop((row, living, second));
    }

    #[test]
    fn room_is_promised_once() {
        let parent = tempfile::tempdir().unwrap();
        let folders = Folders::new(parent.path()).unwrap();
        let room = folders.promise(u64::MAX / 2).err().unwrap();
        let half = folders.promise(room / 3 * 2).ok().unwrap();
        assert!(folders.promise(room / 3 * 2).is_err());
        drop(half);
        assert!(folders.promise(room / 3 * 2).is_ok());
    }
}
