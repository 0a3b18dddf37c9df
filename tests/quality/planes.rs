//! Full-scale planes beside those of a decoder that nobody here wrote (the crate jpeg-decoder).

use image::{RgbImage, imageops};
use jpeg_decoder::{ColorTransform, Decoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use longshore::render::jpeg::{self, Component, Header, Limits, Plane, Scratch};

/// The largest difference a sample of all components, or why there is none to tell.
pub fn worst_difference(bytes: &[u8]) -> Result<u8, String> {
    let header = jpeg::read_header(bytes, &Limits::default()).map_err(|e| e.to_string())?;
    let scales = vec![8; header.components.len()];
    let ours = jpeg::decode(bytes, &header, &scales, &Limits::default(), &mut Scratch::new())
        .map_err(|e| e.to_string())?;
    let count = header.components.len();
    let mut decoder = Decoder::new(bytes);
    // As if the components were those of RGB or CMYK: the latter come out inverted, otherwise nothing is done.
    decoder.set_color_transform(match count {
        1 => ColorTransform::Grayscale,
        3 => ColorTransform::RGB,
        _ => ColorTransform::CMYK,
    });
    let theirs = decoder.decode().map_err(|e| format!("jpeg-decoder: {e}"))?;
    let inverted = if count == 4 { 255 } else { 0 };
    if theirs.len() != header.width as usize * header.height as usize * count {
        return Err("jpeg-decoder: another number of components".into());
    }
    let mut worst = 0;
    for (nth, plane) in ours.planes.planes.iter().enumerate() {
        let axes = Axes::of(&header, nth);
        let (width, height) = (header.width as usize, header.height as usize);
        // Of what has to be enlarged, a few hundred rows tell enough.
        let step = if axes.enlarges() { height / 256 + 1 } else { 1 };
        for y in (0..height).step_by(step) {
            let theirs = theirs[y * width * count..].iter().skip(nth).step_by(count);
            for (x, &theirs) in theirs.take(width).enumerate() {
                let ours = if axes.enlarges() { axes.enlarged(plane, x, y) } else { plane.row(y)[x] };
                worst = worst.max(ours.abs_diff(theirs ^ inverted));
            }
        }
    }
    Ok(worst)
}

/// How the other decoder enlarges a component: it never yields one as it is coded.
struct Axes {
    across: usize,
    down: usize,
    /// Between samples, not the nearest one: for factors of 1 and 2, as most decoders do.
    smooth: bool,
}

impl Axes {
    fn of(header: &Header, component: usize) -> Self {
        let most = |of: fn(&Component) -> u8| header.components.iter().map(of).max().unwrap();
        let factor = |most: u8, this: u8, size: u32| if size == 1 { 1 } else { usize::from(most / this) };
        let this = &header.components[component];
        let across = factor(most(|c| c.h), this.h, header.width);
        let down = factor(most(|c| c.v), this.v, header.height);
        Self { across, down, smooth: across <= 2 && down <= 2 }
    }

    fn enlarges(&self) -> bool {
        (self.across, self.down) != (1, 1)
    }

    /// The sample that covers a pixel.
    fn enlarged(&self, plane: &Plane, x: usize, y: usize) -> u8 {
        if !self.smooth {
            return plane.row(y / self.down)[x / self.across];
        }
        // A pixel lies a quarter of a sample to one side of the one that it is in.
        let taps = |at: usize, factor: usize, length: usize| match (factor, at % 2) {
            (1, _) => [(at, 4), (at, 0)],
            (_, 0) => [(at / 2, 3), ((at / 2).saturating_sub(1), 1)],
            _ => [(at / 2, 3), ((at / 2 + 1).min(length - 1), 1)],
        };
        let mut sum = 8;
        for (y, down) in taps(y, self.down, plane.height) {
            for (x, across) in taps(x, self.across, plane.width) {
                sum += down * across * u32::from(plane.row(y)[x]);
            }
        }
        (sum / 16) as u8
    }
}

/// Files of another encoder: every sampling it knows, progressive or not, with restart markers or
/// without, gray, in colour and in inks.
pub fn made() -> Vec<(String, Vec<u8>)> {
    let samplings = [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_1_2,
        SamplingFactor::F_2_2,
        SamplingFactor::F_4_1,
        SamplingFactor::F_4_2,
        SamplingFactor::F_1_4,
        SamplingFactor::F_2_4,
    ];
    let mut files = Vec::new();
    for sampling in samplings {
        for colours in [ColorType::Rgb, ColorType::Luma, ColorType::Cmyk, ColorType::CmykAsYcck] {
            for (progressive, interval) in [(false, 0), (false, 7), (true, 0), (true, 5)] {
                let (width, height) = [(131, 77), (64, 48), (17, 130)][files.len() % 3];
                let name = format!("{sampling:?} {colours:?} {width}×{height} {progressive} {interval}");
                let mut bytes = Vec::new();
                let mut encoder = Encoder::new(&mut bytes, 88);
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(interval);
                let samples = samples(&super::made::detailed(width, height), colours);
                encoder.encode(&samples, width as u16, height as u16, colours).unwrap();
                files.push((name, bytes));
            }
        }
    }
    files
}

fn samples(picture: &RgbImage, colours: ColorType) -> Vec<u8> {
    match colours {
        ColorType::Luma => imageops::grayscale(picture).into_raw(),
        ColorType::Rgb => picture.as_raw().clone(),
        _ => picture.pixels().flat_map(|p| [p[0], p[1], p[2], p[0] / 2 + p[1] / 4]).collect(),
    }
}
