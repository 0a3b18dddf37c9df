//! Writes what the targets start from: `cargo run --release --bin seeds -- FOLDER`.
//!
//! Every kind of file that the engine reads, each a few hundred bytes, made here. The last two bytes are
//! what the checks pick their settings by; readers of pictures do not look there.

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use longshore_fuzz::render::encode::{self, Huffman, Options, Subsampling, rgb_to_planes};
use longshore_fuzz::render::jpeg::fixture::Fixture;
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
    let samplings: [&[(usize, usize)]; 9] = [
        &[(1, 1)],
        &[(2, 2)],
        &[(1, 1), (1, 1)],
        &[(1, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1)],
        &[(2, 1), (1, 2), (1, 1)],
        &[(4, 1), (1, 1), (2, 1)],
        &[(1, 1), (1, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1), (2, 2)],
    ];
    let mut files = Vec::new();
    for (nth, sampling) in samplings.into_iter().enumerate() {
        for (progressive, interleaved, interval) in [(false, true, 0), (false, false, 2), (true, true, 3)] {
            let (width, height) = [(9, 17), (33, 8), (16, 16), (1, 30)][files.len() % 4];
            let seed = nth as u64;
            let sampling = sampling.to_vec();
            files.push(
                Fixture { width, height, sampling, progressive, interleaved, interval, seed }.make().bytes,
            );
        }
    }
    // Wider than a batch of blocks.
    let sampling = vec![(2, 1), (1, 1), (1, 1)];
    let wide = Fixture {
        width: 300,
        height: 8,
        sampling,
        progressive: false,
        interleaved: true,
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
            interleaved: true,
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
    files
}
