//! The photographs: those in the folder that `LONGSHORE_TEST_PHOTOS` names, else in `../shared/photos`.

use std::path::PathBuf;

pub struct Photo {
    pub path: PathBuf,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// One photograph of each way of coding, or all with `LONGSHORE_TEST_ALL_PHOTOS=1`; none, with a line
/// that says so, where there is no folder.
pub fn photos() -> Vec<Photo> {
    let folder = std::env::var_os("LONGSHORE_TEST_PHOTOS").map_or("../shared/photos".into(), PathBuf::from);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "jpg"));
    paths.sort();
    let photo = |path: &PathBuf| Photo {
        path: path.clone(),
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        bytes: std::fs::read(path).unwrap(),
    };
    let mut photos: Vec<Photo> = paths.iter().map(photo).collect();
    if photos.is_empty() {
        println!("NOT RUN on photographs: there are none in {}", folder.display());
    }
    if std::env::var_os("LONGSHORE_TEST_ALL_PHOTOS").is_none() {
        let mut seen = Vec::new();
        photos.retain(|photo| {
            let new = !seen.contains(&coding(&photo.bytes));
            seen.push(coding(&photo.bytes));
            new
        });
    }
    photos
}

/// The frame header (ITU-T T.81, B.2.2) without the sizes: its marker and its sampling factors.
fn coding(jpeg: &[u8]) -> (u8, Vec<u8>) {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if matches!(marker, 0xc0..=0xc2) {
            return (marker, jpeg[at + 10..at + 2 + length].chunks_exact(3).map(|c| c[1]).collect());
        }
        at += 2 + length;
    }
    panic!("a photograph has a frame header")
}
