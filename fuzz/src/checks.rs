//! What must hold whatever the bytes. A broken promise is a panic, which the fuzzer reports.

use crate::error::Reason;
use crate::render::encode::{self, Huffman, Options, Subsampling, rgb_to_planes};
use crate::render::jpeg::{self, Damaged, Decoded, Error, Header};
use crate::render::plane::Plane;
use crate::render::resample::{self, Extent, resample_extent};
use crate::render::{self, IccMode, Limits, Rendered, Scratch, Settings, fit, portably, render_with, spec};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use peak_alloc::PeakAlloc;
use std::cell::RefCell;
use std::time::Duration;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Small, so that a picture takes milliseconds, but more than a batch of blocks on each side.
const MAX_PIXELS: u64 = 1 << 18;

/// Memory that reading a header takes beyond the profile in it, and what the checks take themselves.
const SLACK: usize = 64 << 10;

thread_local! {
    /// As long-lived as in the service: what one picture leaves in it must not show in the next.
    static USED: RefCell<(jpeg::Scratch, Scratch)> = RefCell::default();
}

/// Decodes at scales that `pick` says, as a whole picture and as a damaged one.
pub fn decoder(bytes: &[u8], pick: u16) {
    let strict = jpeg::Limits { max_pixels: MAX_PIXELS, max_memory: 64 << 20, ..jpeg::Limits::default() };
    let accepting = jpeg::Limits { damaged: Damaged::Accept, ..strict.clone() };
    let before = start_counting();
    let header = jpeg::read_header(bytes, &strict);
    assert!(most_since(before) <= 2 * bytes.len() + SLACK, "reading a header takes no more than the file");
    let Ok(header) = header else { return };
    assert!(u64::from(header.width) * u64::from(header.height) <= MAX_PIXELS);

    let scales: Vec<u8> = (0..header.components.len()).map(|nth| (pick >> (3 * nth) & 7) as u8 + 1).collect();
    let decode = |limits: &jpeg::Limits| {
        USED.with_borrow_mut(|used| jpeg::decode(bytes, &header, &scales, limits, &mut used.0))
    };
    let whole = decode(&strict);
    let damaged = decode(&accepting);
    whole.iter().chain(&damaged).for_each(|decoded| check_planes(&header, &scales, decoded));
    match (&whole, &damaged) {
        (Ok(whole), Ok(damaged)) => assert!(whole.damage.is_none() && whole == damaged),
        (Err(Error::Corrupt { .. } | Error::Truncated { .. }), Ok(damaged)) => {
            assert!(damaged.damage.is_some(), "what is rejected is not called whole");
        }
        (Err(one), Err(other)) => {
            assert!(one == other || matches!(one, Error::Corrupt { .. } | Error::Truncated { .. }))
        }
        (whole, damaged) => panic!("{:?}, but {:?}", whole.as_ref().err(), damaged.as_ref().err()),
    }

    if let Ok(damaged) = &damaged {
        // Not all of it each time: more files are worth more than more checks of one.
        if pick & 0x1000 != 0 {
            let before = start_counting();
            let fresh = jpeg::decode(bytes, &header, &scales, &accepting, &mut jpeg::Scratch::new());
            let most = most_since(before) as u64;
            let fresh = fresh.expect("as before");
            let planes: usize = fresh.planes.planes.iter().map(|plane| plane.samples.len()).sum();
            let bound = jpeg::memory_bound(&header, &scales) + planes as u64;
            assert!(most <= bound, "decoding took {most} bytes, its bound is {bound}");
            assert!(fresh == *damaged, "the picture before shows");
        }
        if pick & 0x2000 != 0 {
            let plain = portably(|| decode(&accepting));
            assert!(plain.expect("as before") == *damaged, "processors differ");
        }
    }
}

fn check_planes(header: &Header, scales: &[u8], decoded: &Decoded) {
    let planes = &decoded.planes.planes;
    assert_eq!(planes.len(), header.components.len());
    let most = |of: fn(&jpeg::Component) -> u8| header.components.iter().map(of).max().unwrap_or(1);
    let (h_max, v_max) = (most(|c| c.h), most(|c| c.v));
    for ((plane, component), &scale) in planes.iter().zip(&header.components).zip(scales) {
        let size = |size: u32, factor: u8, max: u8| {
            (u64::from(size) * u64::from(factor) * u64::from(scale)).div_ceil(u64::from(max) * 8) as usize
        };
        let expected = (size(header.width, component.h, h_max), size(header.height, component.v, v_max));
        assert_eq!((plane.width, plane.height, plane.scale), (expected.0, expected.1, scale));
        assert_eq!(plane.samples.len(), plane.width * plane.height);
    }
}

/// Makes renditions by settings that `pick` chooses.
pub fn render(bytes: &[u8], pick: u16) {
    const LISTS: [&str; 4] = [
        "resized=64x48; thumbs=16x16,444",
        "a=200x200,q40,422,progressive; b=30x90,q100,444,optimized; c=7x7",
        "a=65535x65535,q95",
        "a=1x1; b=33x17,progressive; c=64x64,422,optimized",
    ];
    let settings = Settings {
        specs: spec::parse(LISTS[usize::from(pick & 3)]).expect("a list of renditions"),
        icc: if pick & 4 == 0 { IccMode::Srgb } else { IccMode::Keep },
        limits: Limits {
            max_pixels: MAX_PIXELS,
            // Beyond what the fuzzer allows a run: the work itself must be bounded.
            max_time: Duration::from_secs(3600),
            damaged: if pick & 8 == 0 { render::Damaged::Reject } else { render::Damaged::Accept },
            ..Limits::default()
        },
    };
    let bound = render::memory_bound(bytes, &settings);
    let before = start_counting();
    let rendered = USED.with_borrow_mut(|used| render_with(bytes, &settings, &mut used.1));
    let most = most_since(before) as u64;
    match &bound {
        Ok(bound) => assert!(most <= *bound, "rendering took {most} bytes, its bound is {bound}"),
        Err(rejection) => assert!(rendered.is_err(), "rendered, though {rejection}"),
    }
    match &rendered {
        Ok(rendered) => check_renditions(&settings, rendered),
        Err(rejection) => assert_ne!(rejection.reason, Reason::EngineFault, "{rejection}"),
    }
    if pick & 32 == 0 {
        return;
    }
    let again = if pick & 16 == 0 {
        render_with(bytes, &settings, &mut Scratch::default())
    } else {
        portably(|| render_with(bytes, &settings, &mut Scratch::default()))
    };
    match (rendered, again) {
        (Ok(one), Ok(other)) => assert!(one.renditions == other.renditions, "same input, other bytes"),
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("{:?}, then {:?}", one.err(), other.err()),
    }
}

fn check_renditions(settings: &Settings, rendered: &Rendered) {
    assert_eq!(rendered.renditions.len(), settings.specs.len());
    let any_size = zune_core::options::DecoderOptions::default().set_max_width(65_535).set_max_height(65_535);
    for (rendition, spec) in rendered.renditions.iter().zip(&settings.specs) {
        let size = fit(rendered.width, rendered.height, spec.width, spec.height);
        assert_eq!((rendition.width, rendition.height), size);
        let file = zune_core::bytestream::ZCursor::new(&rendition.bytes);
        let mut one = zune_jpeg::JpegDecoder::new_with_options(file, any_size);
        one.decode().expect("zune-jpeg reads it");
        let info = one.info().expect("it is decoded");
        assert_eq!((u32::from(info.width), u32::from(info.height)), size);
        let mut other = jpeg_decoder::Decoder::new(&rendition.bytes[..]);
        other.decode().expect("jpeg-decoder reads it");
        let info = other.info().expect("it is decoded");
        assert_eq!((u32::from(info.width), u32::from(info.height)), size);
    }
}

/// A plane to resample and a picture to code.
#[derive(Debug, Arbitrary)]
pub struct Job<'a> {
    width: u16,
    height: u16,
    made_width: u16,
    made_height: u16,
    /// How much of each side holds the picture, of 256.
    covered: (u8, u8),
    quality: u8,
    coding: u8,
    samples: &'a [u8],
}

/// Resamples and codes with newer processor features and without.
pub fn simd(job: &Job) {
    let side = |side: u16, most: u16| usize::from(side % most) + 1;
    let (width, height) = (side(job.width, 200), side(job.height, 100));
    let samples = |count: usize| -> Vec<u8> {
        // Few bytes fill a large plane: repeated, but not in step with its rows.
        (0..count)
            .map(|at| job.samples.get(at % (job.samples.len() + 1)).copied().unwrap_or((at >> 3) as u8))
            .collect()
    };
    let source = Plane { width, height, samples: samples(width * height) };
    let (made_width, made_height) = (side(job.made_width, 120), side(job.made_height, 120));
    let part = |side: usize, of: u8| (side as f32 * (f32::from(of) + 1.0) / 256.0).max(0.5);
    let extent = Extent {
        left: 0.0,
        top: 0.0,
        width: part(width, job.covered.0),
        height: part(height, job.covered.1),
    };
    let resampled =
        || resample_extent(&source, extent, made_width, made_height, &mut resample::Scratch::default());
    let made = resampled();
    assert_eq!(
        (made.width, made.height, made.samples.len()),
        (made_width, made_height, made_width * made_height)
    );
    assert!(made == portably(resampled), "resampling differs");

    let subsampling = [Subsampling::S444, Subsampling::S422, Subsampling::S420][usize::from(job.coding % 3)];
    let options = Options {
        quality: job.quality,
        subsampling,
        huffman: if job.coding & 64 == 0 { Huffman::Standard } else { Huffman::Optimised },
        progressive: job.coding & 128 != 0,
        icc: None,
    };
    let planes = rgb_to_planes(&samples(3 * made_width * made_height), made_width, made_height, subsampling);
    let coded = || encode::encode(&planes.each_ref(), &options, &mut encode::Scratch::default());
    assert!(coded().expect("planes that fit") == portably(coded).expect("planes that fit"), "coding differs");
}

fn start_counting() -> usize {
    MEMORY.reset_peak_usage();
    MEMORY.current_usage()
}

/// Bytes taken at once since `before`, at most.
fn most_since(before: usize) -> usize {
    MEMORY.peak_usage().saturating_sub(before)
}
