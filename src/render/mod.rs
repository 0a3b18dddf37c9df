//! One picture in, its renditions out. Pure and blocking: no async, no network, no files.
//!
//! ```text
//! bytes ─ sniff ─┬─ jpeg, at N/8 scale ─▶ planes ─┬─ resample ─▶ orient ─▶ colours to sRGB ─▶ Picture
//!                └─ decode (other formats) ───────┘                                            │
//!                                     Rendition ◀─ encode ◀─ each from the next larger one ◀───┘
//! ```
//!
//! A photograph stays brightness and colour planes all the way; RGB is made only where colours are
//! converted. Decoding is the dear part: see [`jpeg`]. A photograph is never in memory as a whole: rows are
//! resampled as they come. How much memory that takes follows from its header: see [`memory_bound`].

mod colour;
mod deadline;
mod decode;
pub mod encode;
mod fit;
pub mod jpeg;
mod limits;
mod memory;
mod photo;
mod picture;
pub mod plane;
mod pool;
mod processor;
pub mod resample;
mod sniff;
pub mod spec;
mod timed;
mod webp;

pub use colour::IccMode;
pub use deadline::Deadline;
pub use fit::fit;
pub use limits::{Damaged, Limits};
pub use memory::memory_bound;
pub use pool::{Answer, Pool, memory_bound_guarded, render_guarded};
#[cfg(fuzzing)]
pub use processor::portably;
pub use spec::{Spec, Subsampling};

use crate::error::Rejection;
use image::ImageFormat;
use photo::Photo;
use picture::Picture;
use std::time::{Duration, Instant};

/// Memory that is used again from picture to picture. One picture at a time.
#[derive(Default)]
pub struct Scratch {
    jpeg: jpeg::Scratch,
    resample: resample::Scratch,
    encode: encode::Scratch,
    profiles: colour::Profiles,
}

/// What `render` is asked for, the same for every picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub specs: Vec<Spec>,
    pub icc: IccMode,
    pub limits: Limits,
}

/// A coded picture, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The name of its spec, which is also its output prefix.
    pub name: String,
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    /// In pixels, upright.
    pub width: u32,
    pub height: u32,
}

/// All that came of one picture.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// In the order of the specs.
    pub renditions: Vec<Rendition>,
    /// Size of the source, in pixels, upright.
    pub width: u32,
    pub height: u32,
    pub stages: Stages,
    /// Resizing and coding of each rendition, in the order of the specs.
    pub each: Vec<Stages>,
    /// What was odd about the file and coped with, a line each.
    pub notes: Vec<String>,
}

/// Wall time of each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    pub decode: Duration,
    pub resize: Duration,
    pub encode: Duration,
}

/// Makes every rendition of a picture.
///
/// # Errors
///
/// A [`Rejection`]: the bytes are no picture that we read, or exceed a limit. The same bytes
/// with the same settings are rejected again.
pub fn render(bytes: &[u8], settings: &Settings) -> Result<Rendered, Rejection> {
    render_with(bytes, settings, &mut Scratch::default())
}

/// As [`render`], with memory from the picture before.
pub fn render_with(bytes: &[u8], settings: &Settings, scratch: &mut Scratch) -> Result<Rendered, Rejection> {
    render_until(Deadline::after(settings.limits.max_time), bytes, settings, scratch)
}

fn render_until(
    deadline: Deadline,
    bytes: &[u8],
    settings: &Settings,
    scratch: &mut Scratch,
) -> Result<Rendered, Rejection> {
    let begun = Instant::now();
    let mut source = Source::open(bytes, &settings.limits, deadline)?;
    let mut stages = Stages { decode: begun.elapsed(), ..Stages::default() };
    deadline.check()?;

    let (width, height) = source.upright_size();
    let icc = source.kept_icc(settings.icc);
    let mut made: Vec<Option<(Picture, Rendition)>> = settings.specs.iter().map(|_| None).collect();
    let mut each = vec![Stages::default(); settings.specs.len()];
    for index in largest_first(&settings.specs) {
        let spec = &settings.specs[index];
        let size = fit(width, height, spec.width, spec.height);
        let before = stages;

        let begun = Instant::now();
        let larger = made.iter().flatten().map(|(picture, _)| picture).filter(|p| serves(p, size));
        let picture = match larger.min_by_key(|p| p.width()) {
            Some(larger) => {
                let picture = larger.shrink(size, spec.subsampling, scratch);
                stages.resize += begun.elapsed();
                picture
            }
            None => source.picture(size, spec.subsampling, settings.icc, &mut stages, scratch)?,
        };
        deadline.check()?;

        let begun = Instant::now();
        let bytes = picture.encode(spec, icc.as_deref(), scratch)?;
        stages.encode += begun.elapsed();
        each[index].resize = stages.resize - before.resize;
        each[index].encode = stages.encode - before.encode;
        deadline.check()?;
        let rendition = Rendition {
            name: spec.name.clone(),
            bytes,
            content_type: "image/jpeg",
            width: picture.width(),
            height: picture.height(),
        };
        made[index] = Some((picture, rendition));
    }
    let renditions = made.into_iter().flatten().map(|(_, rendition)| rendition).collect();
    Ok(Rendered { renditions, width, height, stages, each, notes: source.notes() })
}

/// Where the pixels come from.
enum Source<'a> {
    Photo(Photo<'a>),
    Other(decode::Decoded),
}

impl<'a> Source<'a> {
    fn open(bytes: &'a [u8], limits: &Limits, deadline: Deadline) -> Result<Self, Rejection> {
        match sniff::sniff(bytes)? {
            ImageFormat::Jpeg => Photo::open(bytes, limits, deadline).map(Self::Photo),
            other => decode::decode(bytes, other, limits, deadline).map(Self::Other),
        }
    }

    /// In pixels, after the orientation is applied.
    fn upright_size(&self) -> (u32, u32) {
        match self {
            Self::Photo(photo) => photo.upright_size(),
            Self::Other(decoded) => decoded.upright_size(),
        }
    }

    fn picture(
        &mut self,
        size: (u32, u32),
        subsampling: Subsampling,
        icc: IccMode,
        stages: &mut Stages,
        scratch: &mut Scratch,
    ) -> Result<Picture, Rejection> {
        let begun = Instant::now();
        match self {
            Self::Photo(photo) => photo.decode(size, subsampling, icc, stages, scratch),
            Self::Other(decoded) => {
                let picture = decoded.shrink(size, subsampling, icc, scratch);
                stages.resize += begun.elapsed();
                Ok(picture)
            }
        }
    }

    fn kept_icc(&mut self, icc: IccMode) -> Option<Vec<u8>> {
        match self {
            Self::Photo(photo) => photo.kept_icc(icc),
            Self::Other(decoded) => decoded.kept_icc(icc),
        }
    }

    fn notes(self) -> Vec<String> {
        match self {
            Self::Photo(photo) => photo.notes,
            Self::Other(decoded) => decoded.notes,
        }
    }
}

/// Each thing is told once, however many renditions meet it.
fn note(notes: &mut Vec<String>, line: String) {
    if !notes.contains(&line) {
        notes.push(line);
    }
}

/// Larger ones first, so that smaller ones can be made from them.
fn largest_first(specs: &[Spec]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(u64::from(specs[i].width) * u64::from(specs[i].height)));
    order
}

/// A rendition may be made from a larger one if that has the same size or at least one and a half
/// times as many pixels a side: closer than that, filtering twice would show.
fn serves(larger: &Picture, size: (u32, u32)) -> bool {
    (larger.width(), larger.height()) == size
        || (2 * larger.width() >= 3 * size.0 && 2 * larger.height() >= 3 * size.1)
}

#[cfg(test)]
mod tests;
