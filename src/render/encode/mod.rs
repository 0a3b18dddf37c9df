//! Planes to a JPEG file (ITU-T T.81, JFIF 1.02).
//!
//! ```text
//! plane ─ blocks ─▶ fdct (simd) + quantise ─▶ coefficients ─┬─ baseline ──────────────────────▶ bits
//!                                                          └─ scans (progressive) ─ tokens ─▶ bits
//! ```
//!
//! The same planes and options give the same bytes on every processor: all arithmetic is in integers.

mod baseline;
mod bits;
mod blocks;
mod colour;
mod fdct;
mod headers;
mod huffman;
mod progressive;
mod quantise;
mod scans;
mod simd;
mod tokens;

pub use colour::{planes_to_rgb, rgb_to_planes};

use super::plane::Plane;
use bits::{BitWriter, append_stuffed};
use blocks::Grid;
use fdct::Pair;
use headers::{Component, WHOLE};
use quantise::Quantiser;
use scans::Coefficients;
use tokens::Tokens;

/// How many luma samples share a chroma sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsampling {
    /// Each has its own.
    S444,
    /// Two side by side.
    S422,
    /// Two by two.
    S420,
}

impl Subsampling {
    /// How many across, how many down.
    pub fn factors(self) -> (usize, usize) {
        match self {
            Self::S444 => (1, 1),
            Self::S422 => (2, 1),
            Self::S420 => (2, 2),
        }
    }
}

/// Which Huffman tables a baseline file has. A progressive one always has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Huffman {
    /// Those of T.81 annex K: fastest.
    Standard,
    /// The best for this picture: about 1 to 2 % smaller, for half as much time again or more.
    Optimised,
}

/// How a picture is coded.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// 1 to 100, as libjpeg counts; anything beyond is taken for the nearer end.
    pub quality: u8,
    /// What the chroma planes are; a gray picture has none.
    pub subsampling: Subsampling,
    pub huffman: Huffman,
    pub progressive: bool,
    /// The colour profile to carry along.
    pub icc: Option<&'a [u8]>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            quality: 82,
            subsampling: Subsampling::S420,
            huffman: Huffman::Standard,
            progressive: false,
            icc: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a JPEG has 1 to 65535 pixels a side, not {width}x{height}")]
    Size { width: usize, height: usize },
    #[error("a JPEG is made of 1 plane or 3, not {0}")]
    Planes(usize),
    #[error("plane {index} is {width}x{height} and has {samples} samples, but should be {expected:?}")]
    Plane { index: usize, width: usize, height: usize, samples: usize, expected: (usize, usize) },
    #[error("a colour profile of {0} bytes is longer than the {max} a JPEG can carry", max = headers::MAX_ICC)]
    Icc(usize),
}

/// Memory that the next picture uses again.
#[derive(Debug, Default)]
pub struct Scratch {
    pairs: [Vec<Pair>; 3],
    bits: Vec<u8>,
    tokens: Tokens,
}

/// Codes one plane (gray) or three (Y, Cb, Cr with JFIF's full range).
///
/// The chroma planes are as many times smaller than the luma plane as `options.subsampling` says, rounded up.
///
/// # Errors
///
/// The planes do not fit together, or do not fit into a JPEG, or the profile does not.
pub fn encode(planes: &[&Plane], options: &Options, scratch: &mut Scratch) -> Result<Vec<u8>, EncodeError> {
    let layout = Layout::new(planes, options)?;
    let quantisers = [false, true].map(|chroma| Quantiser::new(options.quality, chroma));

    let mut out = Vec::with_capacity(planes[0].samples.len() / 6 + options.icc.map_or(0, <[u8]>::len) + 1024);
    headers::start(&mut out);
    if let Some(profile) = options.icc {
        headers::icc_profile(&mut out, profile);
    }
    let tables = planes.len().min(2);
    for (number, quantiser) in (0..).zip(&quantisers[..tables]) {
        headers::quantisation_table(&mut out, number, &quantiser.steps);
    }
    headers::frame(&mut out, layout.size, &layout.components, options.progressive);

    if options.progressive || options.huffman == Huffman::Optimised {
        layout.code_counted(planes, &quantisers, options.progressive, scratch, &mut out);
    } else {
        layout.code_at_once(planes, &quantisers, scratch, &mut out);
    }
    headers::end(&mut out);
    Ok(out)
}

/// What follows from the planes' sizes.
struct Layout {
    /// In pixels.
    size: (u16, u16),
    components: Vec<Component>,
    grids: Vec<Grid>,
    /// Across, down.
    mcus: (usize, usize),
}

impl Layout {
    fn new(planes: &[&Plane], options: &Options) -> Result<Self, EncodeError> {
        if !matches!(planes.len(), 1 | 3) {
            return Err(EncodeError::Planes(planes.len()));
        }
        let (width, height) = (planes[0].width, planes[0].height);
        let side = |n: usize| u16::try_from(n).ok().filter(|&n| n > 0);
        let (Some(wide), Some(high)) = (side(width), side(height)) else {
            return Err(EncodeError::Size { width, height });
        };
        if let Some(profile) = options.icc.filter(|profile| profile.len() > headers::MAX_ICC) {
            return Err(EncodeError::Icc(profile.len()));
        }
        let gray = planes.len() == 1;
        let (across, down) = if gray { (1, 1) } else { options.subsampling.factors() };
        let mcus = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        let mut layout = Self { size: (wide, high), components: Vec::new(), grids: Vec::new(), mcus };
        for (index, plane) in planes.iter().enumerate() {
            let luma = index == 0;
            let expected =
                if luma { (width, height) } else { (width.div_ceil(across), height.div_ceil(down)) };
            let samples = plane.samples.len();
            if (plane.width, plane.height) != expected || samples != expected.0 * expected.1 {
                let (width, height) = (plane.width, plane.height);
                return Err(EncodeError::Plane { index, width, height, samples, expected });
            }
            let (across, down) = if luma { (across, down) } else { (1, 1) };
            layout.components.push(Component { across, down, tables: u8::from(!luma) });
            layout.grids.push(Grid::new(plane, across, down, mcus.0));
        }
        Ok(layout)
    }

    /// The indices of all components.
    fn indices(&self) -> &'static [usize] {
        &[0, 1, 2][..self.components.len()]
    }

    /// Transforms and writes one row of MCUs after the other, with the standard tables.
    fn code_at_once(
        &self,
        planes: &[&Plane],
        quantisers: &[Quantiser; 2],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        let standard =
            [false, true].map(|c| (huffman::Table::standard_dc(c), huffman::Table::standard_ac(c)));
        let tables = standard.iter().zip(0..).take(self.components.len());
        headers::huffman_tables(
            out,
            tables.flat_map(|((dc, ac), number)| [(dc, false, number), (ac, true, number)]),
        );
        headers::scan(out, &self.components, self.indices(), WHOLE);

        for (grid, pairs) in self.grids.iter().zip(&mut scratch.pairs) {
            grow(pairs, grid.pairs_per_mcu_row());
        }
        let mut writer = BitWriter::new(&mut scratch.bits);
        let mut before = [0; 3];
        for row in 0..self.mcus.1 {
            for (index, grid) in self.grids.iter().enumerate() {
                let quantiser = &quantisers[usize::from(self.components[index].tables)];
                grid.transform(planes[index], row, quantiser, &mut scratch.pairs[index]);
            }
            writer.reserve_blocks(self.mcus.0 * self.grids.iter().map(|g| g.across * g.down).sum::<usize>());
            baseline::write_mcu_row(&mut writer, &self.grids, &scratch.pairs, self.mcus.0, &mut before);
        }
        append_stuffed(writer.finish(), out);
    }

    /// Transforms everything, then reads it for each scan once to count and once to write.
    fn code_counted(
        &self,
        planes: &[&Plane],
        quantisers: &[Quantiser; 2],
        progressive: bool,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        for (index, grid) in self.grids.iter().enumerate() {
            let quantiser = &quantisers[usize::from(self.components[index].tables)];
            let row = grid.pairs_per_mcu_row();
            let pairs = &mut scratch.pairs[index];
            grow(pairs, row * self.mcus.1);
            for nth in 0..self.mcus.1 {
                grid.transform(planes[index], nth, quantiser, &mut pairs[nth * row..][..row]);
            }
        }
        let coefficients: Vec<Coefficients> = (0..self.grids.len())
            .map(|index| Coefficients {
                grid: self.grids[index],
                pairs: &scratch.pairs[index],
                tables: usize::from(self.components[index].tables),
            })
            .collect();
        for &scan in scans::script(planes.len() == 1, progressive) {
            scans::tokenise(&mut scratch.tokens, &coefficients, scan, self.mcus);
            let tables = scratch.tokens.tables();
            let numbered = tables.iter().zip([(false, 0), (false, 1), (true, 0), (true, 1)]);
            headers::huffman_tables(
                out,
                numbered.filter_map(|(table, (ac, number))| Some((table.as_ref()?, ac, number))),
            );
            headers::scan(out, &self.components, scan.0, scan.1);
            append_stuffed(scratch.tokens.write(&tables, &mut scratch.bits), out);
        }
    }
}

fn grow(pairs: &mut Vec<Pair>, needed: usize) {
    if pairs.len() < needed {
        pairs.resize(needed, Pair::default());
    }
}

#[cfg(test)]
mod tests;
