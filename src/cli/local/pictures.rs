//! What to upload, and under which keys.

use crate::error::Error;
use crate::local::sample;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Picture {
    pub key: String,
    pub source: Source,
}

#[derive(Debug)]
pub enum Source {
    File { path: PathBuf, size: u64 },
    Made(Vec<u8>),
}

impl Source {
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Made(bytes) => bytes.len() as u64,
        }
    }
}

/// A sample of this many pictures holds a broken one.
pub const SAMPLE_HAS_BROKEN_FROM: usize = 5;

const ENDINGS: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "tif", "tiff", "bmp"];

/// Files as they are named, pictures in folders, and those that are made. Every key is unique.
pub fn find(photos: &[PathBuf], sample: usize) -> Result<Vec<Picture>, Error> {
    let mut found = Vec::new();
    for photo in photos {
        if photo.is_dir() {
            walk(photo, photo, &mut found)?;
        } else {
            let name = photo.file_name().unwrap_or(photo.as_os_str()).to_string_lossy().into_owned();
            found.push((name, photo.clone()));
        }
    }
    let mut taken = HashSet::new();
    let mut pictures = Vec::new();
    for (name, path) in found {
        let size = std::fs::metadata(&path).map_err(|e| cannot_read(&path, &e))?.len();
        pictures.push(Picture { key: unique(name, &mut taken), source: Source::File { path, size } });
    }
    for made in sample::make(sample).map_err(Error::new)? {
        pictures.push(Picture { key: unique(made.name, &mut taken), source: Source::Made(made.bytes) });
    }
    Ok(pictures)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot read {}: {error}", path.display()))
}

/// The pictures below a folder, in the order of their names; links are not followed.
fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, PathBuf)>) -> Result<(), Error> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| cannot_read(folder, &e))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| cannot_read(&path, &e))?;
        if kind.is_dir() {
            walk(root, &path, found)?;
        } else if kind.is_file() && looks_like_a_picture(&path) {
            let name = path.strip_prefix(root).unwrap_or(&path);
            let parts: Vec<_> = name.components().map(|c| c.as_os_str().to_string_lossy()).collect();
            found.push((parts.join("/"), path));
        }
    }
    Ok(())
}

fn looks_like_a_picture(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
}

/// Two files of one name from two folders become `a.jpg` and `2/a.jpg`.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut key = name.clone();
    let mut number = 1;
    while !taken.insert(key.clone()) {
        number += 1;
        key = format!("{number}/{name}");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_pictures_and_equal_names_do_not_collide() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("in")).unwrap();
        for name in ["b.JPG", "in/a.png", "notes.txt"] {
            std::fs::write(at(name), b"x").unwrap();
        }
        let pictures = find(&[folder.path().into(), at("b.JPG"), at("notes.txt")], 1).unwrap();
        let keys: Vec<&str> = pictures.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["b.JPG", "in/a.png", "2/b.JPG", "notes.txt", "sample-01-plain.jpg"]);
    }
}
