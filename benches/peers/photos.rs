//! The photographs that we and the peers do.

use longshore::local::sample;
use std::path::{Path, PathBuf};

/// How a photograph is coded and where it comes from; the goals differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Baseline,
    Progressive,
    /// Baseline too, but enlarged by a program: no camera made it.
    Synthetic,
}

pub struct Photo {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub class: Class,
}

impl Photo {
    fn read(path: &Path, manifest: &str) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let row = manifest.lines().find(|row| row.split('\t').next() == Some(name));
        let bytes = std::fs::read(path).ok()?;
        let class = match row {
            _ if is_progressive(&bytes) => Class::Progressive,
            Some(row) if row.contains("\tsynthetic") => Class::Synthetic,
            _ => Class::Baseline,
        };
        Some(Self { path: path.to_owned(), bytes, class })
    }

    pub fn megapixels(&self) -> f64 {
        let (width, height) = image::image_dimensions(&self.path).unwrap_or_default();
        f64::from(width) * f64::from(height) / 1e6
    }
}

/// Whether the frame header (ITU-T T.81, B.2.2) is that of a progressive file.
fn is_progressive(jpeg: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        match marker {
            0xc2 => return true,
            0xc0 | 0xc1 | 0xda => return false,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}

/// Those in the folder that `LONGSHORE_TEST_PHOTOS` names, else in `../shared/photos`, else made here.
pub fn photos(scratch: &Path) -> Vec<Photo> {
    let folder = std::env::var_os("LONGSHORE_TEST_PHOTOS").map_or("../shared/photos".into(), PathBuf::from);
    let found = photos_in(&folder);
    if !found.is_empty() {
        return found;
    }
    println!("no photographs in {}: made pictures instead, so figures differ", folder.display());
    // No peer reads all of these as photographs: a broken one, ink colours, a PNG.
    let odd = |name: &str| ["broken", "cmyk", "png"].iter().any(|word| name.contains(word));
    for sample in sample::make(12).expect("samples can be made") {
        if !odd(&sample.name) {
            std::fs::write(scratch.join(&sample.name), &sample.bytes).expect("room for a picture");
        }
    }
    photos_in(scratch)
}

fn photos_in(folder: &Path) -> Vec<Photo> {
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap_or_default();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "jpg"));
    paths.sort();
    paths.iter().filter_map(|p| Photo::read(p, &manifest)).collect()
}
