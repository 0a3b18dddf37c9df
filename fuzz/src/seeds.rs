//! Writes what the targets start from: `cargo run --release --bin seeds -- FOLDER`.
//!
//! Every kind of file that the engine reads, each a few hundred bytes, made here. The last two bytes are
//! what the checks pick their settings by; readers of pictures do not look there.

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use longshore_fuzz::render::encode::{self, Huffman, Options, Subsampling, rgb_to_planes};
use longshore_fuzz::render::jpeg::fixture::Fixture;
use longshore_fuzz::render::jpeg::fixture::Scans::{Apart, FirstApart, Interleaved};
use moxcms::ColorProfile;
use std::io::Cursor;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).expect("seeds FOLDER");
    let folder = Path::new(&folder);
    let jpegs: Vec<Vec<u8>> = [fixtures(), tagged(), coded()].concat();
    write(&folder.join("decoder"), &jpegs)?;
    write(&folder.join("render"), &[jpegs, others()].concat())?;
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<Vec<u8>> = (1..40).map(|n| (0..8 * n).map(|_| random.u8(..)).collect()).collect();
    write(&folder.join("structure"), &noise)?;
    write(&folder.join("simd"), &noise)
}

fn write(folder: &Path, files: &[Vec<u8>]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (nth, file) in files.iter().enumerate() {
        let pick = (nth as u16).wrapping_mul(0x9E37).to_le_bytes();
        std::fs::write(folder.join(format!("seed-{nth:03}")), [file, &pick[..]].concat())?;
    }
    println!("{}: {} files", folder.display(), files.len());
    Ok(())
}

/// Every sampling and coding that the decoder treats in a way of its own.
fn fixtures() -> Vec<Vec<u8>> {
    let samplings: [&[(usize, usize)]; 10] = [
        &[(1, 1)],
        &[(2, 2)],
        &[(1, 1), (1, 1)],
        &[(1, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1)],
        &[(2, 1), (1, 2), (1, 1)],
        &[(4, 1), (1, 1), (2, 1)],
        &[(1, 1), (1, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1), (2, 2)],
        &[(3, 2), (2, 1), (1, 1)],
    ];
    let mut files = Vec::new();
    for (nth, sampling) in samplings.into_iter().enumerate() {
        for (progressive, scans, interval) in
            [(false, Interleaved, 0), (false, Apart, 2), (false, FirstApart, 1), (true, Interleaved, 3)]
        {
            let (width, height) = [(9, 17), (33, 8), (16, 16), (1, 30)][files.len() % 4];
            let seed = nth as u64;
            let sampling = sampling.to_vec();
            files.push(Fixture { width, height, sampling, progressive, scans, interval, seed }.make().bytes);
        }
    }
    // Wider than a batch of blocks.
    let sampling = vec![(2, 1), (1, 1), (1, 1)];
    let wide = Fixture {
        width: 300,
        height: 8,
        sampling,
        progressive: false,
        scans: Interleaved,
        interval: 5,
        seed: 3,
    };
    files.push(wide.make().bytes);
    files
}

/// With what cameras and programs write before the picture.
fn tagged() -> Vec<Vec<u8>> {
    let file = |components: usize| {
        let sampling = vec![(1, 1); components];
        Fixture {
            width: 19,
            height: 10,
            sampling,
            progressive: false,
            scans: Interleaved,
            interval: 0,
            seed: 7,
        }
        .make()
        .bytes
    };
    let tagged = |components: usize, code: u8, payload: &[u8]| {
        let length = (payload.len() as u16 + 2).to_be_bytes();
        let file = file(components);
        [&file[..2], &[0xFF, code], &length, payload, &file[2..]].concat()
    };
    let adobe = |transform: u8| [b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat();
    let exif = |little: bool, orientation: u8| {
        let start: &[u8] = if little {
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"
        } else {
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"
        };
        [b"Exif\0\0", start, &[orientation, 0, 0, 0, 0, 0, 0]].concat()
    };
    let icc = |profile: &[u8]| [b"ICC_PROFILE\0\x01\x01", profile].concat();
    let p3 = ColorProfile::new_display_p3().encode().expect("a profile");
    let gray = ColorProfile::new_gray_with_gamma(1.8).encode().expect("a profile");
    vec![
        tagged(3, 0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0"),
        tagged(3, 0xE1, &exif(true, 6)),
        tagged(3, 0xE1, &exif(false, 3)),
        tagged(1, 0xE1, &exif(false, 8)),
        tagged(3, 0xEE, &adobe(0)),
        tagged(3, 0xEE, &adobe(1)),
        tagged(4, 0xEE, &adobe(0)),
        tagged(4, 0xEE, &adobe(2)),
        tagged(3, 0xE2, &icc(&p3)),
        tagged(1, 0xE2, &icc(&gray)),
        tagged(1, 0xE2, &icc(&p3)),
        tagged(3, 0xE2, &icc(&[7; 200])),
    ]
}

/// Small enough for a corpus, with some of everything.
fn picture() -> RgbaImage {
    RgbaImage::from_fn(23, 14, |x, y| {
        Rgba([(x * 11) as u8, (y * 18) as u8, (x * y) as u8, 255 - (x * 9) as u8])
    })
}

/// What our own encoder writes.
fn coded() -> Vec<Vec<u8>> {
    let rgb = DynamicImage::from(picture()).into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    let mut files = Vec::new();
    for subsampling in [Subsampling::S444, Subsampling::S422, Subsampling::S420] {
        let planes = rgb_to_planes(&rgb, width, height, subsampling);
        for (huffman, progressive) in
            [(Huffman::Standard, false), (Huffman::Optimised, false), (Huffman::Standard, true)]
        {
            let options = Options { quality: 90, subsampling, huffman, progressive, icc: None };
            let file = encode::encode(&planes.each_ref(), &options, &mut encode::Scratch::default());
            files.push(file.expect("planes that fit"));
        }
    }
    files
}

/// Formats that are not our own to read.
fn others() -> Vec<Vec<u8>> {
    let rgba = DynamicImage::from(picture());
    let rgb = DynamicImage::from(rgba.to_rgb8());
    let gray = DynamicImage::from(GrayImage::from_fn(9, 9, |x, y| Luma([(x * y * 3) as u8])));
    let mut files = Vec::new();
    for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Bmp]
    {
        for image in
            [&rgba, &rgb, &gray, &DynamicImage::from(rgba.to_rgba16()), &DynamicImage::from(rgb.to_rgb32f())]
        {
            let mut bytes = Vec::new();
            // Not every format takes every kind of pixel.
            if image.write_to(&mut Cursor::new(&mut bytes), format).is_ok() {
                files.push(bytes);
            }
        }
    }
    files.extend(extended(&rgba, &rgb));
    files
}

/// WebP files with more than a picture (RFC 9649, 2.7): a profile and an orientation, an animation, lossless
/// transparency of a lossy picture.
fn extended(rgba: &DynamicImage, rgb: &DynamicImage) -> Vec<Vec<u8>> {
    let stream = |image: &DynamicImage| {
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::WebP)
            .expect("a kind of pixel that WebP has");
        // After RIFF, WEBP and the chunk's header.
        let size = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes")) as usize;
        bytes[20..20 + size].to_vec()
    };
    let chunk = |name: &[u8; 4], data: &[u8]| {
        [&name[..], &(data.len() as u32).to_le_bytes(), data, &[0][..data.len() % 2]].concat()
    };
    let size = [rgba.width() as u8 - 1, 0, 0, rgba.height() as u8 - 1, 0, 0];
    let file = |flags: u8, chunks: &[Vec<u8>]| {
        let chunks = [chunk(b"VP8X", &[&[flags, 0, 0, 0], &size[..]].concat()), chunks.concat()].concat();
        chunk(b"RIFF", &[b"WEBP", &chunks[..]].concat())
    };
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let p3 = ColorProfile::new_display_p3().encode().expect("a profile");
    let frame = [&[0; 6], &size[..], &[0; 4], &chunk(b"VP8L", &stream(rgba))].concat();
    // A key frame (RFC 6386, 9.1) with nothing but zeros in its partitions, of which the first has 32 bytes.
    let key_frame = [0x10, 0x04, 0, 0x9D, 0x01, 0x2A, size[0] + 1, 0, size[3] + 1, 0];
    let lossy = chunk(b"VP8 ", &[&key_frame[..], &[0; 70]].concat());
    // Without the stream's own header.
    let alpha = chunk(b"ALPH", &[&[1], &stream(rgb)[5..]].concat());
    vec![
        file(0x28, &[chunk(b"ICCP", &p3), chunk(b"VP8L", &stream(rgb)), chunk(b"EXIF", exif)]),
        file(0x02, &[chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &frame), chunk(b"ANMF", &frame)]),
        file(0x10, &[alpha, lossy]),
    ]
}
