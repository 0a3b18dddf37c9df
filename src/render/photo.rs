//! A JPEG on its way in: decoded at the smallest scale that serves, turned and coloured when small.

use super::colour::{self, Conversion};
use super::encode::{planes_to_rgb, rgb_to_planes};
use super::jpeg::{self, Color, Header};
use super::picture::{Picture, resampler};
use super::plane::Plane;
use super::resample::orient;
use super::spec::Subsampling;
use super::{Deadline, IccMode, Limits, Scratch, Stages, limits, note};
use crate::error::{Reason, Rejection};
use std::time::{Duration, Instant};

/// A JPEG of which the header is read.
pub struct Photo<'a> {
    bytes: &'a [u8],
    header: Header,
    limits: jpeg::Limits,
    deadline: Deadline,
    pub notes: Vec<String>,
}

/// How much larger than the target the decoded planes are at least: luma and all that is to be seen as sharply,
/// and colour differences. Below 1.25 quality falls off a cliff, as the inverse DCT's own low-pass is a poor one.
/// 1.4 and 1.25 cost 0.06 points of SSIMULACRA2 on average against 1.5 for both; 1.3 would cost 0.15.
const OVERSAMPLING: [f32; 2] = [1.4, 1.25];

/// Bytes for a pixel that decoding may take: the coefficients of a progressive file at full scale, and its planes.
const PIXEL: u64 = 10;
/// What it may take however few the pixels are: a row of the most blocks that there can be, 10 in an MCU (T.81
/// B.2.3) and 8,192 MCUs of 8 pixels across, is 5 MiB of samples; tables and buffers need less than one more.
const FIXED: u64 = 6 << 20;

impl<'a> Photo<'a> {
    pub fn open(bytes: &'a [u8], whole: &Limits, deadline: Deadline) -> Result<Self, Rejection> {
        let limits = jpeg::Limits {
            max_pixels: whole.max_pixels,
            max_scans: whole.max_scans,
            max_memory: whole.max_pixels.saturating_mul(PIXEL).saturating_add(FIXED),
            deadline: Some(deadline),
            damaged: match whole.damaged {
                limits::Damaged::Reject => jpeg::Damaged::Reject,
                limits::Damaged::Accept => jpeg::Damaged::Accept,
            },
        };
        let header = jpeg::read_header(bytes, &limits).map_err(rejection)?;
        let notes = header.icc_unusable.iter().map(colour::ignored).collect();
        Ok(Self { bytes, header, limits, deadline, notes })
    }

    fn is_sideways(&self) -> bool {
        self.header.orientation >= 5
    }

    /// In pixels, after the orientation is applied.
    pub fn upright_size(&self) -> (u32, u32) {
        swap_if(self.is_sideways(), (self.header.width, self.header.height))
    }

    pub fn profile_bytes(&self) -> u64 {
        self.header.icc.as_ref().map_or(0, |icc| icc.len() as u64)
    }

    /// The profile to write into the renditions, if profiles are kept.
    pub fn kept_icc(&mut self, mode: IccMode) -> Option<Vec<u8>> {
        let space = match self.header.color {
            Color::Gray => colour::Space::Gray,
            Color::YCbCr | Color::Rgb => colour::Space::Rgb,
            // Renditions are never CMYK: the profile will be used up.
            Color::Cmyk { .. } | Color::Ycck { .. } => return None,
        };
        colour::kept(self.header.icc.as_deref(), space, mode, &mut self.notes)
    }

    /// The most bytes that [`Photo::decode`] takes for a rendition, its picture and the file not counted:
    ///
    /// - what decoding takes: [`jpeg::memory_bound`] at the scales that serve;
    /// - for each component, as wide as it is decoded and 64 samples, two bytes for as many rows as the filter
    ///   spans and 32 more; 24 bytes for each tap of the filter and each row and column made;
    /// - if there is a profile, five times its bytes and 8 MiB to convert colours.
    pub fn memory_bound(&self, size: (u32, u32), subsampling: Subsampling, mode: IccMode) -> u64 {
        let header = &self.header;
        let profile = self.profile_bytes();
        let converted = profile > 0 && (mode == IccMode::Srgb || header.components.len() == 4);
        let direct = matches!(header.color, Color::Gray | Color::YCbCr);
        // A profile may turn out to change nothing: then chroma is decoded smaller, never larger.
        let plan = Plan::new(header, size, (direct && !converted).then_some(subsampling));
        let mut total = jpeg::memory_bound(header, &plan.scales);
        for (index, &scale) in plan.scales.iter().enumerate().take(plan.used) {
            let (width, height) = header.plane_size(index, scale);
            let taps = |length: usize, made: usize| 6 * length.div_ceil(made) as u64 + 7;
            let (across, down) = (taps(width, plan.target.0), taps(height, plan.target.1));
            total += 2 * (width as u64 + 64) * (down.min(height as u64) + 32);
            total += 24 * (across * plan.target.0 as u64 + down * plan.target.1 as u64);
        }
        total + if profile > 0 { 5 * profile + (8 << 20) } else { 0 }
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
        let plan = Plan::new(&self.header, size, direct.then_some(subsampling));
        let planes = self.planes(&plan, stages, scratch)?;
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
        plan: &Plan,
        stages: &mut Stages,
        scratch: &mut Scratch,
    ) -> Result<Vec<Plane>, Rejection> {
        let begun = Instant::now();
        let header = &self.header;
        let mut resamplers = Vec::with_capacity(plan.used);
        for (index, &scale) in plan.scales.iter().enumerate().take(plan.used) {
            let (size, covered) = (header.plane_size(index, scale), covered(header, index, scale));
            resamplers.push(resampler(size, covered, plan.target, plan.factors(index), scratch));
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
            jpeg::decode_rows(self.bytes, header, &plan.scales, &self.limits, &mut scratch.jpeg, &mut take)
                .map_err(|error| match error {
                jpeg::Error::Deadline { .. } => self.deadline.rejection(),
                error => rejection(error),
            })?;
        if let Some(damage) = damage {
            note(&mut self.notes, format!("damaged file: {}, at byte {}", damage.what, damage.at));
        }
        stages.decode += begun.elapsed() - resizing;
        let begun = Instant::now();
        let finished = resamplers.into_iter().map(|resampler| resampler.finish(&mut scratch.resample));
        let planes = finished.map(|plane| orient(plane, header.orientation)).collect();
        stages.resize += resizing + begun.elapsed();
        Ok(planes)
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
                note(&mut self.notes, colour::ignored(why));
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

/// At which scales a picture is decoded, and to what its planes are resampled.
struct Plan {
    /// As stored, not turned.
    target: (usize, usize),
    /// How many pixels a chroma sample stands for.
    chroma: (usize, usize),
    /// For each component.
    scales: Vec<u8>,
    /// How many components count.
    used: usize,
}

impl Plan {
    /// With no `subsampling` all planes are needed at full size: on the way through RGB.
    fn new(header: &Header, size: (u32, u32), subsampling: Option<Subsampling>) -> Self {
        let sideways = header.orientation >= 5;
        let stored = swap_if(sideways, size);
        let chroma = subsampling.map_or((1, 1), |subsampling| swap_if(sideways, subsampling.factors()));
        let used = if header.color == Color::Gray { 1 } else { header.components.len() };
        let target = (stored.0 as usize, stored.1 as usize);
        let mut plan = Self { target, chroma, scales: Vec::new(), used };
        let scales = (0..header.components.len()).map(|i| scale(header, i, target, plan.factors(i)));
        plan.scales = scales.collect();
        plan
    }

    fn factors(&self, component: usize) -> (usize, usize) {
        if component == 0 || component == 3 { (1, 1) } else { self.chroma }
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
    let differences = matches!(header.color, Color::YCbCr | Color::Ycck { .. }) && matches!(component, 1 | 2);
    let times = OVERSAMPLING[usize::from(differences)];
    let wanted = |target: usize, factor: usize| times * target.div_ceil(factor) as f32;
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
        jpeg::Error::Deadline { .. } => (Reason::TimeLimit, ""),
        jpeg::Error::Scales { .. } => (Reason::EngineFault, ""),
        _ => (Reason::Corrupt, ""),
    };
    Rejection::new(reason, format!("{error}{remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_decoded_at_the_smallest_scale_that_leaves_enough_to_resample() {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
        encoder.encode(&[7; 3 * 8 * 8], 8, 8, jpeg_encoder::ColorType::Rgb).unwrap();
        let mut header = jpeg::read_header(&bytes, &jpeg::Limits::default()).unwrap();
        let mut seen = [0; 9];
        for width in (1024..13_000).step_by(16) {
            (header.width, header.height) = (width, width * 3 / 4);
            let plan = Plan::new(&header, (1024, 768), Some(Subsampling::S420));
            let chroma = (512.0, 384.0);
            for (component, wanted, least) in
                [(0, (1024.0, 768.0), 1.4), (1, chroma, 1.25), (2, chroma, 1.25)]
            {
                let scale = plan.scales[component];
                let times = |scale: u8| {
                    let covered = covered(&header, component, scale);
                    (covered.0 / wanted.0).min(covered.1 / wanted.1)
                };
                assert!(times(scale) >= least || scale == 8, "{width}: {scale}/8 is {}", times(scale));
                assert!(scale == 1 || times(scale - 1) < least, "{width}: {}/8 is enough", scale - 1);
                seen[usize::from(scale)] += 1;
            }
        }
        assert!(seen[1..].iter().all(|&times| times > 0), "{seen:?}");
    }
}
