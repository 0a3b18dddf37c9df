//! Hostile and odd files, and what is to become of them: the manifest in the folder that
//! `LONGSHORE_TEST_TRAPS` names, else in `../shared/traps`.

use super::coded::{self, Coded};
use longshore::error::Reason;
use longshore::render::{Damaged, IccMode, Limits, Rendered, Settings, render, spec};
use std::path::PathBuf;

pub struct Trap {
    pub file: String,
    /// What the manifest calls it.
    pub what: String,
    pub bytes: Vec<u8>,
    /// Any of these is right.
    pub expected: Vec<Outcome>,
    /// What is to be seen, in words.
    pub wanted: String,
    /// Of the resized picture, as other programs make it.
    pub mean: Option<[f64; 3]>,
    /// The size that libvips makes of it.
    pub accepted: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Size of `resized`.
    Picture(u32, u32),
    PictureOfAnySize,
    Reject(Reason),
}

/// All of them; none, with a line that says so, where there is no folder.
pub fn traps() -> Vec<Trap> {
    let folder = std::env::var_os("LONGSHORE_TEST_TRAPS").map_or("../shared/traps".into(), PathBuf::from);
    let Ok(manifest) = std::fs::read_to_string(folder.join("manifest.tsv")) else {
        println!("NOT RUN on trap files: there is no manifest.tsv in {}", folder.display());
        return Vec::new();
    };
    let trap = |row: &str| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [file, what, expected, wanted, mean, peers, ..] = columns[..] else {
            panic!("seven columns expected: {row}")
        };
        let mut expected: Vec<Outcome> = expected.split(" or ").map(outcome).collect();
        // The manifest leaves a choice here; damaged data is refused by default.
        if wanted.contains("or refuse") {
            expected.push(Outcome::Reject(Reason::Corrupt));
        }
        Trap {
            file: file.to_owned(),
            what: what.to_owned(),
            bytes: std::fs::read(folder.join(file)).unwrap(),
            expected,
            wanted: wanted.to_owned(),
            mean: mean_of(mean),
            accepted: peers.split(", ").find_map(|p| size(p.strip_prefix("vips ")?)),
        }
    };
    manifest.lines().skip(1).filter(|row| !row.is_empty()).map(trap).collect()
}

fn outcome(text: &str) -> Outcome {
    let text = text.trim();
    if let Some((width, height)) = size(text) {
        return Outcome::Picture(width, height);
    }
    if text.starts_with("the picture") {
        return Outcome::PictureOfAnySize;
    }
    let why = text.strip_prefix("reject: ").unwrap_or_else(|| panic!("no outcome: {text:?}"));
    let reasons = [
        ("unsupported", Reason::Unsupported),
        ("truncated", Reason::Truncated),
        ("corrupt", Reason::Corrupt),
        ("not an image", Reason::NotAnImage),
        ("empty", Reason::Empty),
        ("pixel limit", Reason::PixelLimit),
        ("scan limit", Reason::ScanLimit),
    ];
    let reason = reasons.iter().find(|(word, _)| why.starts_with(word));
    Outcome::Reject(reason.unwrap_or_else(|| panic!("no reason: {why:?}")).1)
}

fn size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

fn mean_of(text: &str) -> Option<[f64; 3]> {
    let samples: Vec<f64> = text.split(',').map_while(|sample| sample.parse().ok()).collect();
    samples.try_into().ok()
}

impl Trap {
    /// What is wrong with what becomes of it; nothing, if all is well.
    pub fn verdict(&self) -> Result<(), String> {
        let rendered = match self.render(Damaged::Reject) {
            Ok(rendered) => rendered,
            Err(rejection) if self.expected.contains(&Outcome::Reject(rejection.reason)) => return Ok(()),
            Err(rejection) => return Err(format!("rejected, {rejection}; expected {:?}", self.expected)),
        };
        let size = (rendered.renditions[0].width, rendered.renditions[0].height);
        if !self.expected.contains(&Outcome::Picture(size.0, size.1))
            && !self.expected.contains(&Outcome::PictureOfAnySize)
        {
            return Err(format!("became {size:?}; expected {:?}", self.expected));
        }
        let resized = sound(&rendered)?;
        self.check_channels_and_profile(&resized)?;
        self.check_mean(&resized)
    }

    /// The same file where damaged ones are accepted: whatever the size libvips makes of it.
    pub fn verdict_if_accepted(&self) -> Result<(), String> {
        let rendered = self.render(Damaged::Accept).map_err(|r| format!("rejected even so, {r}"))?;
        let size = (rendered.renditions[0].width, rendered.renditions[0].height);
        if self.accepted.is_some_and(|accepted| accepted != size) {
            return Err(format!("became {size:?}; expected {:?}", self.accepted));
        }
        sound(&rendered).map(|_| ())
    }

    /// The last thing in it is the header of a sequential scan of three components (T.81 B.2.3).
    pub fn ends_before_its_data(&self) -> bool {
        let end = self.bytes.len().saturating_sub(14);
        matches!(self.bytes[end..], [0xFF, 0xDA, 0, 12, 3, .., 0, 63, 0])
    }

    pub fn verdict_if_nothing_is_there(&self) -> Result<(), String> {
        match self.render(Damaged::Accept) {
            Err(rejection) if rejection.reason == Reason::Truncated => Ok(()),
            other => {
                Err(format!("{:?}; expected a rejection", other.map(|rendered| rendered.renditions.len())))
            }
        }
    }

    /// Profiles are kept, as the programs behind the manifest's figures did.
    fn render(&self, damaged: Damaged) -> Result<Rendered, longshore::error::Rejection> {
        let specs = spec::parse("resized=1024x768,q82; thumbs=192x192,q82,444").unwrap();
        let limits = Limits { damaged, ..Limits::default() };
        render(&self.bytes, &Settings { specs, icc: IccMode::Keep, limits })
    }

    fn check_channels_and_profile(&self, resized: &Coded) -> Result<(), String> {
        if coded::is_gray(&self.bytes) != resized.is_gray {
            return Err("gray became colour, or colour gray".into());
        }
        if self.wanted.starts_with("keep the ICC") && !resized.has_icc {
            return Err("the profile is lost".into());
        }
        if self.wanted.starts_with("drop a broken") && resized.has_icc {
            return Err("the broken profile is kept".into());
        }
        Ok(())
    }

    fn check_mean(&self, resized: &Coded) -> Result<(), String> {
        let (Some(wanted), found) = (self.mean, resized.mean()) else { return Ok(()) };
        // Ink to light has no single right answer: programs differ in intent and black point, and a
        // file without a profile leaves even the ink open. Inverted or taken as RGB is 50 and more.
        let tolerance = if self.file.contains("cmyk") { 20.0 } else { 3.0 };
        let worst = wanted.iter().zip(found).map(|(w, f)| (w - f).abs()).fold(0.0, f64::max);
        if worst <= tolerance {
            return Ok(());
        }
        Err(format!("mean colour {found:.0?} is {worst:.0} from {wanted:.0?}, at most {tolerance} expected"))
    }
}

/// Both renditions are readable and hold nothing that they should not; answers the first.
fn sound(rendered: &Rendered) -> Result<Coded, String> {
    let mut coded = Vec::new();
    for rendition in &rendered.renditions {
        let read = Coded::read(&rendition.bytes).map_err(|e| format!("{}: {e}", rendition.name))?;
        if read.pixels.dimensions() != (rendition.width, rendition.height) {
            return Err(format!("{}: is not of the size that it says", rendition.name));
        }
        coded.push(read);
    }
    Ok(coded.swap_remove(0))
}
