//! How much memory the prefix codes of a lossless stream take when it is decoded: its header does not tell.
//!
//! A stream defines up to 65,536 groups of five codes, and ten bytes of it are enough for one whose tables take
//! 70 KB: a file of less than a megabyte could ask for gigabytes. So all that comes before the pixels is read
//! here first, with no tables and no pixels kept: transforms, the image that tells which group codes which pixels,
//! and the lengths of the codes. Numbers of sections are those of the WebP Lossless Bitstream Specification, which
//! is section 3 of RFC 9649.

use crate::error::{Reason, Rejection};

/// What the decoder of the `image` crate keeps of a code, with a 64-bit processor: in any case, ...
const CODE: u64 = 56;
/// ... for each entry of a table for the first ten bits, or as many as there are, ...
const ENTRY: u64 = 4;
const TABLE_BITS: usize = 10;
/// ... and for each longer code two nodes of a tree.
const LONGER: u64 = 2 * 16;
/// The list of groups doubles when it is full, and is there twice meanwhile.
const GROWTH: u64 = 3;

/// Green and lengths, red, blue, alpha, distances (6.2.1): how many symbols each code has. Green has one more
/// for each colour of the cache.
const ALPHABETS: [usize; 5] = [256 + LENGTHS, 256, 256, 256, 40];
const LENGTHS: usize = 24;

/// In which order the lengths of the code of code lengths come (6.2.1).
const LENGTH_ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Bytes for the codes of a stream: of one with a header, or with none for a picture of a `size`.
///
/// # Errors
///
/// The stream is broken or ends before its pixels, or the codes take more than `most`.
pub fn memory(stream: &[u8], size: Option<(u32, u32)>, most: u64) -> Result<u64, Rejection> {
    let mut bits = Bits { bytes: stream, at: 0 };
    let (width, height) = match size {
        Some(size) => size,
        None => {
            bits.take(8)?;
            let size = (bits.take(14)? + 1, bits.take(14)? + 1);
            bits.take(4)?;
            size
        }
    };
    let width = pass_transforms(&mut bits, width, height)?;
    let cache = cache_symbols(&mut bits)?;
    let groups = groups(&mut bits, width, height)?;
    let mut total = 0;
    for _ in 0..groups {
        for code in read_group(&mut bits, cache)? {
            total += GROWTH * CODE + code.memory();
        }
        if total > most {
            let detail =
                format!("its codes take {total} bytes or more, more than the limit of {most} (--max-pixels)");
            return Err(Rejection::new(Reason::PixelLimit, detail));
        }
    }
    Ok(total)
}

/// Reads transforms (4), and tells the width of what is left to be coded.
fn pass_transforms(bits: &mut Bits, mut width: u32, height: u32) -> Result<u32, Rejection> {
    let mut seen = [false; 4];
    while bits.take(1)? == 1 {
        let kind = bits.take(2)?;
        if std::mem::replace(&mut seen[kind as usize], true) {
            return Err(broken("a transform comes twice"));
        }
        match kind {
            // Predictors and colour transforms: an image with a pixel for each block.
            0 | 1 => {
                let block = bits.take(3)? + 2;
                pass_image(bits, blocks(width, block), blocks(height, block))?;
            }
            // Green is subtracted.
            2 => {}
            // A palette; when that is small, a pixel holds several.
            _ => {
                let colours = bits.take(8)? + 1;
                pass_image(bits, colours, 1)?;
                let packed = match colours {
                    1..=2 => 3,
                    3..=4 => 2,
                    5..=16 => 1,
                    _ => 0,
                };
                width = blocks(width, packed);
            }
        }
    }
    Ok(width)
}

fn blocks(pixels: u32, bits: u32) -> u32 {
    pixels.div_ceil(1 << bits)
}

/// How many groups of codes there are: one, or one more than the largest number in the entropy image (6.2.2).
fn groups(bits: &mut Bits, width: u32, height: u32) -> Result<u32, Rejection> {
    if bits.take(1)? == 0 {
        return Ok(1);
    }
    let block = bits.take(3)? + 2;
    Ok(pass_image(bits, blocks(width, block), blocks(height, block))? + 1)
}

/// Reads an image that has one group of codes, and tells the largest number in it: red and green, 16 bits.
/// Pixels that are copied or come from the cache were literals before, or are zero.
fn pass_image(bits: &mut Bits, width: u32, height: u32) -> Result<u32, Rejection> {
    let cache = cache_symbols(bits)?;
    let [green, red, blue, alpha, distance] = read_group(bits, cache)?;
    let mut left = u64::from(width) * u64::from(height);
    let mut largest = 0;
    while left > 0 {
        let before = bits.at;
        let symbol = usize::from(green.read(bits)?);
        let pixels = match symbol {
            ..256 => {
                let red = u32::from(red.read(bits)?);
                blue.read(bits)?;
                alpha.read(bits)?;
                largest = largest.max(red << 8 | symbol as u32);
                1
            }
            256..280 => {
                let length = extended(bits, symbol as u32 - 256)?;
                let distance = u32::from(distance.read(bits)?);
                extended(bits, distance)?;
                length
            }
            _ => 1,
        };
        left = left.checked_sub(pixels).ok_or(broken("a copy is longer than the image"))?;
        // What takes no bits goes on for ever.
        if bits.at == before {
            break;
        }
    }
    Ok(largest)
}

/// A length or a distance: a prefix, and bits that follow it (5.2.2).
fn extended(bits: &mut Bits, prefix: u32) -> Result<u64, Rejection> {
    if prefix < 4 {
        return Ok(u64::from(prefix) + 1);
    }
    let extra = (prefix - 2) >> 1;
    Ok((u64::from(2 + (prefix & 1)) << extra) + u64::from(bits.take(extra)?) + 1)
}

/// Symbols for colours of the cache (5.2.3).
fn cache_symbols(bits: &mut Bits) -> Result<usize, Rejection> {
    if bits.take(1)? == 0 {
        return Ok(0);
    }
    match bits.take(4)? {
        size @ 1..=11 => Ok(1 << size),
        _ => Err(broken("the size of its colour cache is none")),
    }
}

fn read_group(bits: &mut Bits, cache: usize) -> Result<[Code; 5], Rejection> {
    let mut group = [const { Code::One(0) }; 5];
    for (nth, code) in group.iter_mut().enumerate() {
        *code = read_code(bits, ALPHABETS[nth] + if nth == 0 { cache } else { 0 })?;
    }
    Ok(group)
}

/// A code of as many symbols, by their lengths or, if it has only two, by name (6.2.1).
fn read_code(bits: &mut Bits, alphabet: usize) -> Result<Code, Rejection> {
    if bits.take(1)? == 1 {
        let two = bits.take(1)? == 1;
        let wide = bits.take(1)?;
        let mut symbols = vec![bits.take(1 + 7 * wide)? as u16];
        if two {
            symbols.push(bits.take(8)? as u16);
        }
        if symbols.iter().any(|&symbol| usize::from(symbol) >= alphabet) {
            return Err(broken("a code has a symbol that is none"));
        }
        return Ok(match symbols[..] {
            [only] => Code::One(only),
            _ => Code::Two(symbols),
        });
    }
    let mut lengths = [0; 19];
    let given = bits.take(4)? as usize + 4;
    for &symbol in &LENGTH_ORDER[..given] {
        lengths[symbol] = bits.take(3)? as u8;
    }
    let code = Code::of_lengths(&lengths)?;
    let mut coded = alphabet;
    if bits.take(1)? == 1 {
        let width = 2 + 2 * bits.take(3)?;
        coded = 2 + bits.take(width)? as usize;
        if coded > alphabet {
            return Err(broken("a code has more lengths than symbols"));
        }
    }
    let (mut lengths, mut last) = (Vec::with_capacity(alphabet), 8);
    while lengths.len() < alphabet && coded > 0 {
        coded -= 1;
        let (length, times) = match code.read(bits)? as u8 {
            16 => (last, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        if length > 0 {
            last = length;
        }
        lengths.resize(lengths.len() + times as usize, length);
    }
    if lengths.len() > alphabet {
        return Err(broken("a code has more lengths than symbols"));
    }
    Code::of_lengths(&lengths)
}

enum Code {
    /// It takes no bits.
    One(u16),
    /// In the order of their codes, 0 and 1.
    Two(Vec<u16>),
    /// How many codes of each length; their symbols in the order of the codes.
    Many([u16; 16], Vec<u16>),
}

impl Code {
    fn of_lengths(lengths: &[u8]) -> Result<Self, Rejection> {
        let mut counts = [0_u16; 16];
        lengths.iter().filter(|&&length| length > 0).for_each(|&length| counts[usize::from(length)] += 1);
        // Where those of each length start.
        let mut next = [0; 16];
        (1..15).for_each(|length| next[length + 1] = next[length] + usize::from(counts[length]));
        let mut symbols = vec![0; counts.iter().map(|&count| usize::from(count)).sum()];
        for (symbol, &length) in lengths.iter().enumerate().filter(|&(_, &length)| length > 0) {
            symbols[next[usize::from(length)]] = symbol as u16;
            next[usize::from(length)] += 1;
        }
        if let [only] = symbols[..] {
            return Ok(Self::One(only));
        }
        let used: u32 = (1..16).map(|length| u32::from(counts[length]) << (15 - length)).sum();
        if used != 1 << 15 {
            return Err(broken("a code is not complete, or more than that"));
        }
        Ok(Self::Many(counts, symbols))
    }

    fn read(&self, bits: &mut Bits) -> Result<u16, Rejection> {
        match self {
            Self::One(only) => Ok(*only),
            Self::Two(symbols) => Ok(symbols[bits.take(1)? as usize]),
            Self::Many(counts, symbols) => {
                // Codes of a length follow one another; each is read from its highest bit on.
                let (mut code, mut first, mut index) = (0, 0, 0);
                for &count in &counts[1..] {
                    code = code << 1 | bits.take(1)? as usize;
                    first <<= 1;
                    let count = usize::from(count);
                    if code < first + count {
                        return Ok(symbols[index + code - first]);
                    }
                    index += count;
                    first += count;
                }
                Err(broken("a code is not complete"))
            }
        }
    }

    /// Bytes that the decoder takes for it, and not in its list of groups.
    fn memory(&self) -> u64 {
        match self {
            Self::One(_) => 0,
            Self::Two(_) => 2 * ENTRY + 2 * LONGER,
            Self::Many(counts, _) => {
                let longest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
                let longer: u64 = counts[TABLE_BITS + 1..].iter().map(|&count| u64::from(count)).sum();
                (ENTRY << longest.min(TABLE_BITS)) + longer * LONGER
            }
        }
    }
}

/// From the lowest bit of each byte on (2).
struct Bits<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    /// At most 18.
    fn take(&mut self, count: u32) -> Result<u32, Rejection> {
        let after = self.at + count as usize;
        if after > 8 * self.bytes.len() {
            let detail = format!("the lossless WebP stream ends after {} bytes", self.bytes.len());
            return Err(Rejection::new(Reason::Truncated, detail));
        }
        let mut window = [0; 4];
        let rest = &self.bytes[self.at / 8..];
        let there = rest.len().min(4);
        window[..there].copy_from_slice(&rest[..there]);
        let value = u32::from_le_bytes(window) >> (self.at % 8);
        self.at = after;
        Ok(value & ((1 << count) - 1))
    }
}

fn broken(what: &str) -> Rejection {
    Rejection::new(Reason::Corrupt, format!("the lossless WebP stream is broken: {what}"))
}
