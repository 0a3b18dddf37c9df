//! The segments around the entropy-coded data (T.81 annex B, JFIF 1.02, ICC.1 annex B.4).

use super::huffman::Table;

/// In bytes: what an APP2 segment holds besides its length, its signature and two numbers.
const ICC_CHUNK: usize = 65535 - 2 - 12 - 2;

/// In bytes: chunks are numbered in one byte.
pub const MAX_ICC: usize = 255 * ICC_CHUNK;

/// One component of the frame.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    pub across: usize,
    pub down: usize,
    /// 0 for luminance, 1 for chrominance: which quantisation and Huffman tables.
    pub tables: u8,
}

/// Which coefficients a scan codes, and which of their bits (T.81 G.1.1.1). Both limits are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    pub first: u8,
    pub last: u8,
    /// The bit coded before, plus one; 0 in the first scan of these coefficients.
    pub high: u8,
    /// The lowest bit coded.
    pub low: u8,
}

/// All coefficients at once, as in baseline.
pub const WHOLE: Band = Band { first: 0, last: 63, high: 0, low: 0 };

/// SOI and APP0: square pixels, no density, no thumbnail.
pub fn start(out: &mut Vec<u8>) {
    out.extend([0xFF, 0xD8]);
    segment(out, 0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
}

/// APP2, as many as it takes, numbered from 1. The profile is at most [`MAX_ICC`] bytes.
pub fn icc_profile(out: &mut Vec<u8>, profile: &[u8]) {
    let chunks = profile.len().div_ceil(ICC_CHUNK) as u8;
    for (number, chunk) in (1..=chunks).zip(profile.chunks(ICC_CHUNK)) {
        segment(out, 0xE2, &[b"ICC_PROFILE\0".as_slice(), &[number, chunks], chunk].concat());
    }
}

/// DQT: one table of bytes in zigzag order; `steps` is row by row.
pub fn quantisation_table(out: &mut Vec<u8>, number: u8, steps: &[u8; 64]) {
    let mut body = vec![number];
    // A place is 16 u + v.
    body.extend(super::fdct::PLACE.iter().map(|&place| steps[usize::from(place % 16 * 8 + place / 16)]));
    segment(out, 0xDB, &body);
}

/// SOF0, or SOF2 when progressive. Components are numbered from 1, as JFIF asks.
pub fn frame(out: &mut Vec<u8>, (width, height): (u16, u16), components: &[Component], progressive: bool) {
    let mut body = vec![8];
    body.extend(height.to_be_bytes());
    body.extend(width.to_be_bytes());
    body.push(components.len() as u8);
    for (number, component) in (1..).zip(components) {
        body.extend([number, (component.across << 4 | component.down) as u8, component.tables]);
    }
    segment(out, if progressive { 0xC2 } else { 0xC0 }, &body);
}

/// DHT: all tables in one segment. `(table, AC?, number)`.
pub fn huffman_tables<'a>(out: &mut Vec<u8>, tables: impl Iterator<Item = (&'a Table, bool, u8)>) {
    let mut body = Vec::new();
    for (table, ac, number) in tables {
        body.push(u8::from(ac) << 4 | number);
        body.extend(table.counts);
        body.extend(&table.symbols);
    }
    if !body.is_empty() {
        segment(out, 0xC4, &body);
    }
}

/// SOS of the components with these indices.
pub fn scan(out: &mut Vec<u8>, components: &[Component], indices: &[usize], band: Band) {
    let mut body = vec![indices.len() as u8];
    for &index in indices {
        body.extend([index as u8 + 1, components[index].tables * 0x11]);
    }
    body.extend([band.first, band.last, band.high << 4 | band.low]);
    segment(out, 0xDA, &body);
}

/// EOI.
pub fn end(out: &mut Vec<u8>) {
    out.extend([0xFF, 0xD9]);
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    let length = u16::try_from(body.len() + 2).expect("every body is cut to fit");
    out.extend([0xFF, marker]);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(body);
}
