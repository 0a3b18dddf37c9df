//! Memory is bounded by what the header says, and no thread is started: counted allocation by allocation, which only a test program
//! of its own can do.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

use image::ImageEncoder;
use image::ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use longshore::error::Reason;
use longshore::render::jpeg::{self, Scratch};
use longshore::render::{IccMode, Limits, Pool, Settings, memory_bound, render, render_with, spec};
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[path = "common/pictures.rs"]
#[allow(dead_code)] // each test program uses its own part
mod pictures;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// All tests count the same memory: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that doing something takes at once, at most.
fn most<T>(something: impl FnOnce() -> T) -> (u64, T) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let made = something();
    ((MEMORY.peak_usage() - before) as u64, made)
}

/// Noise is what codes worst.
fn noise(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..count).map(|_| random.u8(..)).collect()
}

struct File {
    name: String,
    bytes: Vec<u8>,
}

fn jpeg_of(
    (width, height): (u16, u16),
    colours: ColorType,
    sampling: SamplingFactor,
    progressive: bool,
    quality: u8,
) -> File {
    let channels = if colours == ColorType::Luma {
        1
    } else if colours == ColorType::Rgb {
        3
    } else {
        4
    };
    let samples = noise(usize::from(width) * usize::from(height) * channels);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    encoder.encode(&samples, width, height, colours).unwrap();
    let kind = if progressive { "progressive" } else { "baseline" };
    File { name: format!("{width}×{height} {colours:?} {sampling:?} {kind}"), bytes }
}

/// All colour samples, a profile, and to be turned.
fn sideways(profile: &[u8], what: &str, progressive: bool) -> File {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 60);
    encoder.set_progressive(progressive);
    encoder.add_icc_profile(profile).unwrap();
    encoder.add_app_segment(1, pictures::orientation(6)).unwrap();
    encoder.encode(&noise(1300 * 1000 * 3), 1300, 1000, ColorType::Rgb).unwrap();
    File { name: format!("1300×1000 {what}, progressive: {progressive}"), bytes }
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    for size in [(1, 1), (40, 3000), (3000, 40), (333, 250), (1300, 1000)] {
        for progressive in [false, true] {
            files.push(jpeg_of(size, ColorType::Rgb, SamplingFactor::F_2_2, progressive, 60));
            files.push(jpeg_of(size, ColorType::Luma, SamplingFactor::F_1_1, progressive, 60));
            files.push(jpeg_of(size, ColorType::CmykAsYcck, SamplingFactor::F_1_1, progressive, 60));
        }
    }
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    for (profile, what) in [(p3, "with a profile"), (noise(300 << 10), "with a useless profile")] {
        files.extend([false, true].map(|progressive| sideways(&profile, what, progressive)));
    }
    // Large enough that the pixels outweigh what a decoder may take for itself.
    let pixels = image::RgbaImage::from_raw(3000, 2000, noise(4 * 3000 * 2000)).unwrap();
    let pixels = image::DynamicImage::from(pixels);
    let as_stored = [
        (Png, pixels.clone()),
        (Png, pixels.to_rgb8().into()),
        (Png, pixels.to_luma16().into()),
        (Png, pixels.to_rgba16().into()),
        (WebP, pixels.clone()),
        (Bmp, pixels.to_rgb8().into()),
        (Gif, image::RgbaImage::new(1500, 1000).into()),
        (Tiff, pixels.to_rgb8().into()),
        (Tiff, pixels.to_rgb32f().into()),
    ];
    for (format, pixels) in as_stored {
        let mut bytes = Vec::new();
        pixels.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        files.push(File { name: format!("{format:?} {:?}", pixels.color()), bytes });
    }
    files
}

fn settings(list: &str, icc: IccMode) -> Settings {
    Settings { specs: spec::parse(list).unwrap(), icc, limits: Limits::default() }
}

// One test, as another at the same time would be counted too.
#[test]
fn memory_stays_within_what_the_header_says() {
    let _alone = alone();
    let lists = [
        spec::DEFAULT_RENDITIONS,
        "a=1024x768,q100,444",
        "a=1024x768,q100,444,progressive; b=500x500,q100,444,optimized",
        "a=3000x3000,q100,444",
        "tiny=3x3",
    ];
    for File { name, bytes } in files() {
        // What other formats take is in the reading.
        let lists = if name.contains('×') { &lists[..] } else { &lists[..1] };
        let modes = [IccMode::Srgb, IccMode::Keep];
        let modes = if name.contains("profile") { &modes[..] } else { &modes[..1] };
        for (list, &icc) in lists.iter().flat_map(|list| modes.iter().map(move |icc| (list, icc))) {
            let settings = settings(list, icc);
            let (header, bound) = most(|| memory_bound(&bytes, &settings).unwrap());
            // Parts of a profile are put together.
            let most_header = if name.contains("profile") { 1 << 20 } else { 256 << 10 };
            assert!(header < bound && header < most_header, "{name}: {header} bytes only for the header");
            let (taken, rendered) = most(|| render(&bytes, &settings));
            assert!(rendered.is_ok(), "{name}: {rendered:?}");
            println!("{name}, {list}, {icc:?}: {taken} of {bound} bytes");
            assert!(taken <= bound, "{name}, {list}: {taken} bytes taken, {bound} expected at most");
        }
        if let Ok(header) = jpeg::read_header(&bytes, &jpeg::Limits::default()) {
            for scale in 1..=8 {
                let scales = vec![scale; header.components.len()];
                let bound = jpeg::memory_bound(&header, &scales);
                let decode = |scratch: &mut Scratch| {
                    jpeg::decode_rows(
                        &bytes,
                        &header,
                        &scales,
                        &jpeg::Limits::default(),
                        scratch,
                        &mut |_, _| {},
                    )
                };
                let (taken, decoded) = most(|| decode(&mut Scratch::new()));
                assert!(
                    decoded.is_ok() && taken <= bound,
                    "{name} at {scale}/8: {taken} taken, {bound} at most"
                );
            }
        }
    }

    // A profile of 256 MiB, in a file of some hundred kilobytes.
    let mut bomb = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bomb);
    encoder.set_icc_profile(vec![0; 256 << 20]).unwrap();
    encoder.write_image(&[0; 3], 1, 1, image::ExtendedColorType::Rgb8).unwrap();
    assert!(bomb.len() < 1 << 20, "{} bytes are no bomb", bomb.len());
    let (taken, _) = most(|| render(&bomb, &settings("a=10x10", IccMode::Srgb)));
    assert!(taken < 64 << 20, "a profile took {taken} bytes");

    // Sizes in a header that nothing follows: of a WebP chunk, and of a TIFF tag of as many bytes as the file has.
    let chunk = |name: &[u8; 4], size: u32, data: &[u8]| [&name[..], &size.to_le_bytes(), data].concat();
    let pixels = image::DynamicImage::from(image::RgbImage::new(16, 16));
    let mut lossless = Vec::new();
    pixels.write_to(&mut Cursor::new(&mut lossless), WebP).unwrap();
    let extended = |flag: u8, more: Vec<u8>| {
        // What else is in the file: EXIF 0x08, ICC 0x20; 16 by 16 pixels, less one.
        let vp8x = chunk(b"VP8X", 10, &[flag, 0, 0, 0, 15, 0, 0, 15, 0, 0]);
        let chunks = [vp8x, lossless[12..].to_vec(), more].concat();
        [chunk(b"RIFF", chunks.len() as u32 + 4, b"WEBP"), chunks].concat()
    };
    assert!(render(&extended(0, Vec::new()), &settings("a=10x10", IccMode::Srgb)).is_ok());
    let mut tiff = Vec::new();
    pixels.write_to(&mut Cursor::new(&mut tiff), Tiff).unwrap();
    let bombs = [
        ("EXIF", extended(0x08, chunk(b"EXIF", 600 << 20, &[0; 4]))),
        ("ICCP", extended(0x20, chunk(b"ICCP", 600 << 20, &[0; 4]))),
        ("orientation", with_long_orientation(tiff, 8_000_000)),
    ];
    for (what, bomb) in bombs {
        let settings = settings("a=10x10", IccMode::Srgb);
        let (header, _) = most(|| memory_bound(&bomb, &settings));
        let (taken, _) = most(|| render(&bomb, &settings));
        assert!(header < 40 << 20 && taken < 40 << 20, "{what}: {header} and {taken} bytes");
    }

    // The frame of a GIF file, larger than what its screen shows of it.
    for height in [1000, 9_400, 11_000, 16_000] {
        let mut file = Vec::new();
        image::RgbaImage::new(500, height).write_to(&mut Cursor::new(&mut file), Gif).unwrap();
        // Logical Screen Width and Height (GIF89a, 18).
        file[6..10].copy_from_slice(&[23, 0, 14, 0]);
        let mut settings = settings("a=10x10", IccMode::Srgb);
        let bound = memory_bound(&file, &settings).unwrap();
        let (taken, rendered) = most(|| render(&file, &settings));
        println!("a frame of 500×{height}: {taken} of {bound} bytes");
        assert!(rendered.is_ok() && taken <= bound, "a frame of 500×{height}: {taken} of {bound} bytes");
        // Five bytes a pixel, where a screen of as many pixels would have four, and 24 MiB whatever it is.
        settings.limits.max_pixels = 50_000;
        let (taken, rendered) = most(|| render(&file, &settings));
        let refused = rendered.err().map(|rejection| {
            assert!(rejection.reason == Reason::PixelLimit && taken < 1 << 20, "{rejection}, {taken} bytes");
            rejection.detail
        });
        let needs = 23 * 14 * 4 + 500 * u64::from(height) * 5;
        let told = format!("needs {needs} bytes, more than the limit of {}", 50_000 * 4 + (24 << 20));
        assert_eq!(refused.is_some(), needs > 50_000 * 4 + (24 << 20), "a frame of 500×{height}");
        assert!(refused.as_ref().is_none_or(|detail| detail.contains(&told)), "{refused:?}");
    }

    // Codes of a lossless WebP file, ten bytes for 70 KB: they are counted, and refused when they are too many.
    for (groups, place) in
        [(1, Place::Picture), (1000, Place::Picture), (1000, Place::Frame), (1000, Place::Alpha)]
    {
        let file = many_codes(groups, place);
        let settings = settings("a=10x10", IccMode::Srgb);
        let (header, bound) = most(|| memory_bound(&file, &settings).unwrap());
        let (taken, rendered) = most(|| render(&file, &settings));
        println!("{groups} groups in {} bytes, {place:?}: {taken} of {bound} bytes", file.len());
        assert!(rendered.is_ok(), "{place:?}: {rendered:?}");
        assert!(header < 1 << 20 && taken <= bound, "{header} for the header, {taken} of {bound} bytes");
        let codes = u64::from(groups) * (65 << 10);
        assert!(taken > codes && bound < (codes + (28 << 20)) * 11 / 10, "{taken} of {bound} bytes");
    }
    let file = many_codes(1 << 16, Place::Picture);
    let (taken, rendered) = most(|| render(&file, &settings("a=10x10", IccMode::Srgb)));
    let refused = rendered.unwrap_err();
    assert!(refused.reason == Reason::PixelLimit && taken < 1 << 20, "{refused}, {taken} bytes taken");

    // Whatever else such a file says.
    let mut random = fastrand::Rng::with_seed(7);
    let mut shades =
        image::RgbaImage::from_fn(60, 40, |x, y| image::Rgba([x as u8, y as u8, (x * y) as u8, 255]));
    shades.put_pixel(3, 3, image::Rgba([1, 2, 3, 4]));
    let mut shaded = Vec::new();
    shades.write_to(&mut Cursor::new(&mut shaded), WebP).unwrap();
    let made = [many_codes(3, Place::Picture), many_codes(3, Place::Alpha), shaded];
    let settings_ = settings("a=10x10", IccMode::Srgb);
    let mut read = 0;
    for round in 0..600 {
        let mut file = made[round % made.len()].clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(20..file.len().min(120));
            file[at] ^= 1 << random.u8(..8);
        }
        let bound = memory_bound(&file, &settings_);
        let (taken, rendered) = most(|| render(&file, &settings_));
        read += usize::from(rendered.is_ok());
        match bound {
            Ok(bound) => assert!(taken <= bound, "round {round}: {taken} of {bound} bytes"),
            Err(why) => assert!(rendered.is_err() && taken < 2 << 20, "round {round}: {why}, {taken} bytes"),
        }
    }
    assert!(read > 50, "{read} files could be read");

    // The bound is worth something: a large baseline file needs little more than its renditions.
    let large = jpeg_of((6000, 4000), ColorType::Rgb, SamplingFactor::F_2_2, false, 20).bytes;
    let bound = memory_bound(&large, &settings("thumbs=192x192", IccMode::Srgb)).unwrap();
    assert!(bound < 4 << 20, "{bound} bytes for a thumbnail of 24 megapixels");
    drop(large);
    let progressive = jpeg_of((6000, 4000), ColorType::Rgb, SamplingFactor::F_2_2, true, 20).bytes;
    let (taken, rendered) = most(|| render(&progressive, &settings(spec::DEFAULT_RENDITIONS, IccMode::Srgb)));
    assert!(rendered.is_ok() && taken + (progressive.len() as u64) < 60_000_000, "{taken} bytes taken");

    // The memory of the picture before is used again.
    let mut scratch = longshore::render::Scratch::default();
    let again = settings(spec::DEFAULT_RENDITIONS, IccMode::Srgb);
    let (first, _) = most(|| render_with(&progressive, &again, &mut scratch).unwrap());
    let (second, _) = most(|| render_with(&progressive, &again, &mut scratch).unwrap());
    assert!(2 * second < first, "{first} bytes for the first, {second} more for the second");

    // All of it on the thread that asks: what the process spends meanwhile is what this thread spends.
    let spent =
        || [ClockId::ThreadCPUTime, ClockId::ProcessCPUTime].map(|clock| seconds(clock_gettime(clock)));
    let (files, before) = (files(), spent());
    // One progressive JPEG, and each of the other formats.
    let others = files.iter().filter(|file| !file.name.contains('×'));
    for file in [&progressive].into_iter().chain(others.map(|file| &file.bytes)) {
        render(file, &settings(spec::DEFAULT_RENDITIONS, IccMode::Srgb)).unwrap();
    }
    let [here, everywhere] = [0, 1].map(|clock| spent()[clock] - before[clock]);
    assert!(here > 0.0 && everywhere <= 1.2 * here, "{here} s here, {everywhere} s on all threads");
}

#[test]
fn an_idle_pool_gives_memory_back() {
    let _alone = alone();
    let before = MEMORY.current_usage();
    let picture = jpeg_of((1300, 1000), ColorType::Rgb, SamplingFactor::F_2_2, true, 60).bytes;
    let settings = Arc::new(settings("a=650x500", IccMode::Srgb));
    let pool = Pool::new(1, 1 << 30).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(runtime.block_on(pool.render(picture, settings, ())).unwrap());
    let kept = || MEMORY.current_usage().saturating_sub(before);
    let (at_first, began) = (kept(), Instant::now());
    assert!(at_first > 2 << 20, "{at_first} bytes are kept for the next picture");
    while kept() > at_first / 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} of {at_first} bytes are still kept", kept());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An orientation of so many bytes, all of them there.
fn with_long_orientation(mut tiff: Vec<u8>, bytes: u32) -> Vec<u8> {
    assert_eq!(&tiff[..4], b"II*\0");
    let at = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let count = u16::from_le_bytes(tiff[at..at + 2].try_into().unwrap());
    let entries = tiff[at + 2..][..usize::from(count) * 12].to_vec();
    let (before, after): (Vec<[u8; 12]>, Vec<[u8; 12]>) = entries
        .as_chunks()
        .0
        .iter()
        .copied()
        .partition(|entry| u16::from_le_bytes([entry[0], entry[1]]) < 0x112);
    // The directory once more, at the end: tag, type BYTE, count, where; in the order of the tags.
    let directory = tiff.len() as u32;
    let values = directory + 2 + 12 * (u32::from(count) + 1) + 4;
    let mut new = (count + 1).to_le_bytes().to_vec();
    new.extend(before.concat());
    new.extend([0x12, 1, 1, 0]);
    new.extend(bytes.to_le_bytes());
    new.extend(values.to_le_bytes());
    new.extend(after.concat());
    new.extend([0; 4]);
    tiff[4..8].copy_from_slice(&directory.to_le_bytes());
    tiff.extend(new);
    tiff.resize(tiff.len() + bytes as usize, 1);
    tiff
}

/// Where in a WebP file a lossless stream can be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Picture,
    /// The first of an animation.
    Frame,
    /// Transparency of a lossy picture.
    Alpha,
}

/// A WebP file of 16 by 16 pixels with a stream of so many groups of codes (RFC 9649, 3), each with one of 2,048
/// codes of 11 bits, which takes 66 bits to say.
fn many_codes(groups: u32, place: Place) -> Vec<u8> {
    let mut bits = Bits::default();
    if place != Place::Alpha {
        // Signature; width and height less one; no transparency; version.
        bits.all(&[(8, 0x2F), (14, 15), (14, 15), (1, 0), (3, 0)]);
    }
    let one = |bits: &mut Bits, symbol: u32| {
        // Simple, of one symbol of 8 bits.
        bits.all(&[(1, 1), (1, 0), (1, 1), (8, symbol)]);
    };
    // No transforms; a cache of 2,048 colours; an entropy image of blocks of 4 by 4, itself without a cache:
    bits.all(&[(1, 0), (1, 1), (4, 11), (1, 1), (3, 0), (1, 0)]);
    // all of it is the number of the last group, as green and red.
    for symbol in [(groups - 1) & 255, (groups - 1) >> 8, 0, 0, 0] {
        one(&mut bits, symbol);
    }
    for _ in 0..groups {
        // Not simple; 15 lengths of the code of code lengths, of which only that for 11 is not 0; 2,048 codes.
        bits.all(&[(1, 0), (4, 11), (21, 0), (21, 0), (3, 1), (1, 1), (3, 5), (12, 2046)]);
        (0..4).for_each(|_| one(&mut bits, 0));
    }
    // Pixels: symbol 0, that is green of 0, whichever group.
    (0..16 * 16).for_each(|_| bits.put(11, 0));
    let stream = bits.bytes;

    let chunk = |name: &[u8; 4], data: &[u8]| {
        let padding = &[0][..data.len() % 2];
        [&name[..], &(data.len() as u32).to_le_bytes(), data, padding].concat()
    };
    let extended = |flags: u8| chunk(b"VP8X", &[flags, 0, 0, 0, 15, 0, 0, 15, 0, 0]);
    let chunks = match place {
        Place::Picture => chunk(b"VP8L", &stream),
        Place::Frame => {
            let header = [0, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 0, 0, 0, 0];
            let frame = [&header[..], &chunk(b"VP8L", &stream)].concat();
            [extended(0x02), chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &frame)].concat()
        }
        Place::Alpha => {
            // Transparency is told by a lossless stream: its green.
            [extended(0x10), chunk(b"ALPH", &[&[1][..], &stream].concat()), chunk(b"VP8 ", &LOSSY)].concat()
        }
    };
    [&b"RIFF"[..], &(chunks.len() as u32 + 4).to_le_bytes(), b"WEBP", &chunks].concat()
}

/// 16 by 16 pixels: a key frame (RFC 6386, 9.1), and nothing but zeros for its partitions.
const LOSSY: [u8; 80] = {
    let mut frame = [0; 80];
    // Key frame, shown, first partition of 32 bytes; start code; width and height.
    let header = [0x10, 0x04, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0];
    let mut at = 0;
    while at < header.len() {
        frame[at] = header[at];
        at += 1;
    }
    frame
};

/// From the lowest bit of each byte on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn all(&mut self, values: &[(usize, u32)]) {
        values.iter().for_each(|&(count, value)| self.put(count, value));
    }

    fn put(&mut self, count: usize, value: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }
}

fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
