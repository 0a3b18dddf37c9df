//! Pictures that say which upload they are, and say it still when they are made small.

use crate::common::pictures::jpeg;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage};

/// Renditions that the workers make: fast even in an unoptimised build, and readable.
pub const RENDITIONS: &str = "resized=48x32,q90; thumbs=24x16,q90,444";
/// Names and sizes of these renditions.
pub const MADE: [(&str, (u32, u32)); 2] = [("resized", (48, 32)), ("thumbs", (24, 16))];

const COLUMNS: u32 = 6;
const ROWS: u32 = 4;
const BLOCK: u32 = 16;
const BITS: u32 = COLUMNS * ROWS;

/// A picture of 24 blocks, dark or light: the bits of a number.
pub fn numbered(number: u32) -> Vec<u8> {
    numbered_at(number, 1)
}

/// The same, so many times larger.
pub fn numbered_at(number: u32, scale: u32) -> Vec<u8> {
    assert!(number < 1 << BITS, "{BITS} blocks hold no number like {number}");
    let block = BLOCK * scale;
    let picture = RgbImage::from_fn(COLUMNS * block, ROWS * block, |x, y| {
        let bit = (y / block) * COLUMNS + x / block;
        if number >> bit & 1 == 1 { Rgb([225, 215, 205]) } else { Rgb([30, 40, 50]) }
    });
    jpeg(&picture)
}

/// The same as a gray PNG, which takes all its pixels in memory.
pub fn numbered_png(number: u32, scale: u32) -> Vec<u8> {
    let block = (BLOCK * scale) as usize;
    let mut pixels = Vec::with_capacity((COLUMNS * ROWS) as usize * block * block);
    for row in 0..ROWS {
        let bit = |column: u32| number >> (row * COLUMNS + column) & 1 == 1;
        let shade = |column| if bit(column) { 215_u8 } else { 40 };
        let line: Vec<u8> =
            (0..COLUMNS).flat_map(|column| std::iter::repeat_n(shade(column), block)).collect();
        (0..block).for_each(|_| pixels.extend_from_slice(&line));
    }
    let mut bytes = Vec::new();
    let fast = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Up);
    let (width, height) = (COLUMNS * BLOCK * scale, ROWS * BLOCK * scale);
    fast.write_image(&pixels, width, height, ExtendedColorType::L8).unwrap();
    bytes
}

/// The number that a rendition shows. Err: it is not a whole picture, or not one of ours.
pub fn read(bytes: &[u8], size: (u32, u32)) -> Result<u32, String> {
    if !bytes.starts_with(&[0xff, 0xd8]) || !bytes.ends_with(&[0xff, 0xd9]) {
        return Err(format!("{} bytes that are not a whole JPEG", bytes.len()));
    }
    let picture = image::load_from_memory_with_format(bytes, ImageFormat::Jpeg);
    let picture = picture.map_err(|e| format!("cannot be decoded: {e}"))?.into_luma8();
    if picture.dimensions() != size {
        return Err(format!("{:?} instead of {size:?}", picture.dimensions()));
    }
    let (width, height) = (size.0 / COLUMNS, size.1 / ROWS);
    let mut number = 0;
    for bit in 0..BITS {
        let (column, row) = (bit % COLUMNS, bit / COLUMNS);
        // The middle of the block: edges ring.
        let mut sum = 0;
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (x, y) = (column * width + (width - 1) / 2 + dx, row * height + (height - 1) / 2 + dy);
            sum += u32::from(picture.get_pixel(x, y).0[0]);
        }
        match sum / 4 {
            0..=90 => {}
            165..=255 => number |= 1 << bit,
            gray => return Err(format!("block {bit} is {gray}, neither dark nor light")),
        }
    }
    Ok(number)
}
