//! One picture in, its renditions out. Pure and blocking: no async, no network, no files.
//!
//! ```text
//! bytes ─ sniff ─▶ decode ─▶ pixels ─ shrink ─▶ orient ─▶ colours to sRGB ─▶ encode ─▶ Rendition
//!                                        └──── each from the next larger one ────┘
//! ```

mod coder;
mod colour;
mod decode;
mod fit;
mod limits;
mod pixels;
mod pool;
mod sniff;
pub mod spec;

pub use colour::IccMode;
pub use fit::fit;
pub use limits::{Damaged, Limits};
pub use pool::Pool;
pub use spec::{Spec, Subsampling};

use crate::error::Rejection;
use pixels::Pixels;
use std::time::{Duration, Instant};

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
    let started = Instant::now();
    let mut source = decode::decode(bytes, &settings.limits)?;
    let mut stages = Stages { decode: started.elapsed(), ..Stages::default() };

    let (width, height) = source.upright_size();
    let mut made: Vec<Option<(Pixels, Rendition)>> = settings.specs.iter().map(|_| None).collect();
    for index in largest_first(&settings.specs) {
        settings.limits.check_time(started)?;
        let spec = &settings.specs[index];
        let size = fit(width, height, spec.width, spec.height);

        let resizing = Instant::now();
        let from = made.iter().flatten().map(|(pixels, _)| pixels).filter(|p| serves(p, size));
        let pixels = match from.min_by_key(|p| p.width) {
            Some(larger) => larger.shrink(size.0, size.1),
            None => source.upright(size, settings.icc),
        };
        stages.resize += resizing.elapsed();

        let encoding = Instant::now();
        let icc = source.kept_icc(settings.icc);
        let bytes = coder::encode(&pixels, spec, icc)?;
        stages.encode += encoding.elapsed();
        let rendition = Rendition {
            name: spec.name.clone(),
            bytes,
            content_type: "image/jpeg",
            width: pixels.width,
            height: pixels.height,
        };
        made[index] = Some((pixels, rendition));
    }
    let renditions = made.into_iter().flatten().map(|(_, rendition)| rendition).collect();
    Ok(Rendered { renditions, width, height, stages, notes: std::mem::take(&mut source.notes) })
}

/// Larger ones first, so that smaller ones can be made from them.
fn largest_first(specs: &[Spec]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(u64::from(specs[i].width) * u64::from(specs[i].height)));
    order
}

/// A rendition may be made from a larger one if that has the same size or at least one and a half
/// times as many pixels a side: closer than that, filtering twice would show.
fn serves(larger: &Pixels, size: (u32, u32)) -> bool {
    (larger.width, larger.height) == size
        || (2 * larger.width >= 3 * size.0 && 2 * larger.height >= 3 * size.1)
}

#[cfg(test)]
mod tests;
