//! A JPEG on its way in: decoded at the smallest scale that serves, turned and coloured when small.

use super::colour::{self, Conversion};
use super::encode::{planes_to_rgb, rgb_to_planes};
use super::jpeg::{self, Color, Header};
use super::picture::{Picture, resampler};
use super::plane::Plane;
use super::resample::orient;
use super::spec::Subsampling;
use super::{IccMode, Limits, Scratch, Stages, limits};
use crate::error::{Reason, Rejection};
use std::time::{Duration, Instant};

/// A JPEG of which the header is read.
pub struct Photo<'a> {
    bytes: &'a [u8],
    header: Header,
    limits: jpeg::Limits,
    pub notes: Vec<String>,
}

/// How much larger than the target the decoded planes are at least. Below, quality falls off a cliff:
/// the inverse DCT's own low-pass is a poor one.
const OVERSAMPLING: f32 = 1.5;

impl<'a> Photo<'a> {
    pub fn open(bytes: &'a [u8], limits: &Limits, started: Instant) -> Result<Self, Rejection> {
        let limits = jpeg::Limits {
            max_pixels: limits.max_pixels,
            max_scans: limits.max_scans,
            // Coefficients of a progressive file at full scale, and its planes.
            max_memory: limits.max_pixels.saturating_mul(10),
            deadline: started.checked_add(limits.max_time),
            damaged: match limits.damaged {
                limits::Damaged::Reject => jpeg::Damaged::Reject,
                limits::Damaged::Accept => jpeg::Damaged::Accept,
            },
        };
        let header = jpeg::read_header(bytes, &limits).map_err(rejection)?;
        Ok(Self { bytes, header, limits, notes: Vec::new() })
    }

    fn is_sideways(&self) -> bool {
        self.header.orientation >= 5
    }

    /// In pixels, after the orientation is applied.
    pub fn upright_size(&self) -> (u32, u32) {
        swap_if(self.is_sideways(), (self.header.width, self.header.height))
    }

    /// The profile to write into the renditions, if profiles are kept.
    pub fn kept_icc(&self, mode: IccMode) -> Option<&[u8]> {
        let channels = match self.header.color {
            Color::Gray => 1,
            Color::YCbCr | Color::Rgb => 3,
            // Renditions are never CMYK: the profile has been used up.
            Color::Cmyk { .. } | Color::Ycck { .. } => return None,
        };
        self.header.icc.as_deref().filter(|icc| mode == IccMode::Keep && colour::is_usable(icc, channels))
    }

    /// The upright picture at a size.
    pub fn decode(
        &mut self,
        size: (u32, u32),
        subsampling: Subsampling,
        mode: IccMode,
        stages: &mut Stages,
        scratch: &mut Scratch,
    ) -> Result<Picture, Rejection> {
        let conversion = self.conversion(mode, scratch);
        let direct = matches!(self.header.color, Color::Gray | Color::YCbCr) && conversion.is_none();
        let stored = swap_if(self.is_sideways(), size);
        let target = (stored.0 as usize, stored.1 as usize);
        // On the way through RGB all planes are needed at full size.
        let factors = match (direct, subsampling.factors()) {
            (true, factors) => swap_if(self.is_sideways(), factors),
            (false, _) => (1, 1),
        };
        let planes = self.planes(target, factors, stages, scratch)?;
        if direct {
            return Ok(Picture { planes, subsampling });
        }
        let begun = Instant::now();
        let picture = self.through_rgb(&planes, conversion.as_ref(), subsampling);
        stages.resize += begun.elapsed();
        Ok(picture)
    }

    /// Decoded at scale, resampled to the target, turned upright.
    fn planes(
        &mut self,
        target: (usize, usize),
        factors: (usize, usize),
        stages: &mut Stages,
        scratch: &mut Scratch,
    ) -> Result<Vec<Plane>, Rejection> {
        let begun = Instant::now();
        let header = &self.header;
        let used = if header.color == Color::Gray { 1 } else { header.components.len() };
        let factors = |index: usize| if index == 0 || index == 3 { (1, 1) } else { factors };
        let scales: Vec<u8> =
            (0..header.components.len()).map(|i| scale(header, i, target, factors(i))).collect();
        let mut resamplers = Vec::with_capacity(used);
        for (index, &scale) in scales.iter().enumerate().take(used) {
            let (size, covered) = (header.plane_size(index, scale), covered(header, index, scale));
            resamplers.push(resampler(size, covered, target, factors(index), scratch));
        }
        // Resampled while they are in the fast caches.
        let mut resizing = Duration::ZERO;
        let mut take = |component: usize, rows: jpeg::Rows| {
            let begun = Instant::now();
            let resampler = resamplers.get_mut(component);
            resampler.into_iter().for_each(|resampler| resampler.take(rows.samples, rows.stride));
            resizing += begun.elapsed();
        };
        let damage =
            jpeg::decode_rows(self.bytes, header, &scales, &self.limits, &mut scratch.jpeg, &mut take)
                .map_err(rejection)?;
        if let Some(damage) = damage {
            self.notes.push(format!("damaged file: {}, at byte {}", damage.what, damage.at));
        }
        stages.decode += begun.elapsed() - resizing;
        let begun = Instant::now();
        let finished = resamplers.into_iter().map(|resampler| resampler.finish(&mut scratch.resample));
        let planes = finished.map(|plane| orient(plane, header.orientation)).collect();
        stages.resize += resizing + begun.elapsed();
        Ok(planes)
    }

    /// The most bytes that decoding for a picture of this size takes: the decoder's own bound, and a
    /// copy of the largest plane.
    pub fn memory(&self, size: (u32, u32)) -> u64 {
        let stored = swap_if(self.is_sideways(), size);
        let target = (stored.0 as usize, stored.1 as usize);
        // No chroma is asked for at less than full size: the bound is for all subsamplings.
        let scales: Vec<u8> =
            (0..self.header.components.len()).map(|i| scale(&self.header, i, target, (1, 1))).collect();
        let largest = (0..scales.len()).map(|i| covered(&self.header, i, scales[i]));
        let largest = largest.map(|(w, h)| (w.ceil() * h.ceil()) as u64).max().unwrap_or(0);
        jpeg::memory_bound(&self.header, &scales) + largest
    }

    /// How colours become sRGB; None when they are, or are to stay.
    fn conversion(&mut self, mode: IccMode, scratch: &mut Scratch) -> Option<Conversion> {
        let inks = matches!(self.header.color, Color::Cmyk { .. } | Color::Ycck { .. });
        let profile = self.header.icc.as_deref().filter(|_| inks || mode == IccMode::Srgb)?;
        let space = match self.header.color {
            Color::Gray => colour::Space::Gray,
            Color::YCbCr | Color::Rgb => colour::Space::Rgb,
            Color::Cmyk { .. } | Color::Ycck { .. } => colour::Space::Cmyk,
        };
        match scratch.profiles.conversion(profile, space) {
            Ok(conversion) => conversion,
            Err(why) => {
                self.notes.push(format!("colour profile ignored: {why}"));
                None
            }
        }
    }

    fn through_rgb(
        &self,
        planes: &[Plane],
        conversion: Option<&Conversion>,
        subsampling: Subsampling,
    ) -> Picture {
        let (width, height) = (planes[0].width, planes[0].height);
        let convert = |samples: Vec<u8>| match conversion {
            Some(conversion) => conversion.apply(&samples),
            None => samples,
        };
        let rgb = match self.header.color {
            Color::Gray => {
                let samples = convert(planes[0].samples.clone());
                return Picture { planes: vec![Plane { width, height, samples }], subsampling };
            }
            Color::YCbCr => convert(planes_to_rgb(&planes[0], &planes[1], &planes[2])),
            Color::Rgb => convert(interleave(planes)),
            Color::Cmyk { inverted } => from_inks(&inks(interleave(planes), inverted), conversion),
            Color::Ycck { inverted } => {
                let rgb = planes_to_rgb(&planes[0], &planes[1], &planes[2]);
                // As libjpeg: each of C, M, Y is 255 less its R, G, B; K stays.
                let cmyk: Vec<u8> = rgb
                    .chunks_exact(3)
                    .zip(&planes[3].samples)
                    .flat_map(|(rgb, &k)| [255 - rgb[0], 255 - rgb[1], 255 - rgb[2], k])
                    .collect();
                from_inks(&inks(cmyk, inverted), conversion)
            }
        };
        Picture { planes: rgb_to_planes(&rgb, width, height, subsampling).into(), subsampling }
    }
}

/// Ink amounts, 0 to 255, whichever way the file counts them.
fn inks(mut cmyk: Vec<u8>, inverted: bool) -> Vec<u8> {
    if inverted {
        cmyk.iter_mut().for_each(|ink| *ink = 255 - *ink);
    }
    cmyk
}

fn from_inks(inks: &[u8], conversion: Option<&Conversion>) -> Vec<u8> {
    match conversion {
        Some(conversion) => conversion.apply(inks),
        None => colour::inks_to_srgb(inks),
    }
}

fn interleave(planes: &[Plane]) -> Vec<u8> {
    let mut samples = Vec::with_capacity(planes.len() * planes[0].samples.len());
    for at in 0..planes[0].samples.len() {
        samples.extend(planes.iter().map(|plane| plane.samples[at]));
    }
    samples
}

fn swap_if<T>(swap: bool, (a, b): (T, T)) -> (T, T) {
    if swap { (b, a) } else { (a, b) }
}

/// How much of a plane's width and height the picture covers, in samples: its size is rounded up.
fn covered(header: &Header, component: usize, scale: u8) -> (f32, f32) {
    let of = |pixels: u32, factor: u8, most: u8| {
        pixels as f32 * f32::from(factor) / f32::from(most) * f32::from(scale) / 8.0
    };
    let most = |of: fn(&jpeg::Component) -> u8| header.components.iter().map(of).max().unwrap_or(1);
    let this = &header.components[component];
    (of(header.width, this.h, most(|c| c.h)), of(header.height, this.v, most(|c| c.v)))
}

/// The smallest scale whose plane is large enough for the target, or 8.
fn scale(header: &Header, component: usize, target: (usize, usize), factors: (usize, usize)) -> u8 {
    let wanted = |target: usize, factor: usize| OVERSAMPLING * target.div_ceil(factor) as f32;
    let (width, height) = (wanted(target.0, factors.0), wanted(target.1, factors.1));
    let serves = |n: &u8| {
        let covered = covered(header, component, *n);
        covered.0 >= width && covered.1 >= height
    };
    (1..8).find(serves).unwrap_or(8)
}

fn rejection(error: jpeg::Error) -> Rejection {
    let (reason, remedy) = match error {
        jpeg::Error::Empty => (Reason::Empty, ""),
        jpeg::Error::NotJpeg => (Reason::NotAnImage, ""),
        jpeg::Error::Unsupported(_) => (Reason::Unsupported, ""),
        jpeg::Error::Truncated { .. } => (Reason::Truncated, ""),
        jpeg::Error::PixelLimit { .. } | jpeg::Error::MemoryLimit { .. } => {
            (Reason::PixelLimit, " (--max-pixels)")
        }
        jpeg::Error::ScanLimit { .. } => (Reason::ScanLimit, " (--max-scans)"),
        jpeg::Error::Deadline { .. } => (Reason::TimeLimit, " (--max-render-time)"),
        jpeg::Error::Scales { .. } => (Reason::EngineFault, ""),
        _ => (Reason::Corrupt, ""),
    };
    Rejection::new(reason, format!("{error}{remedy}"))
}
