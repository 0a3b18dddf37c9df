//! Which scans a picture is coded in, and what each says, as tokens.

use super::baseline::size_and_bits;
use super::blocks::Grid;
use super::fdct::{PLACE, Pair};
use super::headers::{Band, WHOLE};
use super::progressive::Progressive;
use super::tokens::Tokens;

/// A component's blocks, all of them, in rows of `grid.pairs` pairs.
#[derive(Clone, Copy)]
pub struct Coefficients<'a> {
    pub grid: Grid,
    pub pairs: &'a [Pair],
    /// 0 for luminance, 1 for chrominance.
    pub tables: usize,
}

/// One scan: which components, what of them.
pub type Scan = (&'static [usize], Band);

const fn band(first: u8, last: u8, high: u8, low: u8) -> Band {
    Band { first, last, high, low }
}

/// libjpeg's order: means at half precision, then the colours, then detail, then the last bits.
const COLOUR: [Scan; 10] = [
    (&[0, 1, 2], band(0, 0, 0, 1)),
    (&[0], band(1, 5, 0, 2)),
    (&[2], band(1, 63, 0, 1)),
    (&[1], band(1, 63, 0, 1)),
    (&[0], band(6, 63, 0, 2)),
    (&[0], band(1, 63, 2, 1)),
    (&[0, 1, 2], band(0, 0, 1, 0)),
    (&[2], band(1, 63, 1, 0)),
    (&[1], band(1, 63, 1, 0)),
    (&[0], band(1, 63, 1, 0)),
];

const GRAY: [Scan; 6] = [
    (&[0], band(0, 0, 0, 1)),
    (&[0], band(1, 5, 0, 2)),
    (&[0], band(6, 63, 0, 2)),
    (&[0], band(1, 63, 2, 1)),
    (&[0], band(0, 0, 1, 0)),
    (&[0], band(1, 63, 1, 0)),
];

/// The scans of a picture.
pub fn script(gray: bool, progressive: bool) -> &'static [Scan] {
    match (gray, progressive) {
        (true, true) => &GRAY,
        (false, true) => &COLOUR,
        (true, false) => &[(&[0], WHOLE)],
        (false, false) => &[(&[0, 1, 2], WHOLE)],
    }
}

/// Puts what scan `(indices, band)` says into `tokens`, for a picture of `mcus` (across, down).
pub fn tokenise(tokens: &mut Tokens, components: &[Coefficients], scan: Scan, mcus: (usize, usize)) {
    let (indices, band) = scan;
    tokens.clear();
    if band.first > 0 {
        let component = &components[indices[0]];
        let mut coder = Progressive::new(tokens, 2 + component.tables, band);
        component.each_block(|pair, right| coder.block(pair, right));
        coder.end_blocks();
        return;
    }
    let mut before = [0; 3];
    each_block_of_mcus(components, indices, mcus, |index, pair, right| {
        let tables = components[index].tables;
        let mean = pair.coefficients[0][8 * right] >> band.low;
        if band.high > 0 {
            tokens.bits(mean as u32 & 1, 1);
            return;
        }
        let (size, bits) = size_and_bits(i32::from(mean) - before[index]);
        before[index] = i32::from(mean);
        tokens.symbol(tables, size as u8, bits, size);
        if band == WHOLE {
            sequential(tokens, 2 + tables, pair, right);
        }
    });
}

/// The AC coefficients of a block, all of them in full (T.81 F.1.2.2).
#[inline(always)]
fn sequential(tokens: &mut Tokens, table: usize, pair: &Pair, right: usize) {
    let values = pair.coefficients.as_flattened();
    let mut left = pair.nonzero[right];
    let mut last = 0;
    while left != 0 {
        let k = left.trailing_zeros();
        left &= left - 1;
        let mut run = k - last - 1;
        last = k;
        while run > 15 {
            tokens.symbol(table, 0xF0, 0, 0);
            run -= 16;
        }
        let (size, bits) = size_and_bits(i32::from(values[usize::from(PLACE[k as usize]) + 8 * right]));
        tokens.symbol(table, (run << 4 | size) as u8, bits, size);
    }
    if last < 63 {
        tokens.symbol(table, 0, 0, 0);
    }
}

impl<'a> Coefficients<'a> {
    /// The blocks that hold samples, row by row: the order of a scan of one component.
    fn each_block(&self, mut visit: impl FnMut(&'a Pair, usize)) {
        for row in 0..self.grid.rows {
            let pairs = &self.pairs[row * self.grid.pairs..];
            (0..self.grid.columns).for_each(|column| visit(&pairs[column / 2], column % 2));
        }
    }
}

/// All blocks, MCU by MCU: the order of a scan of several components.
fn each_block_of_mcus<'a>(
    components: &[Coefficients<'a>],
    indices: &[usize],
    (across, down): (usize, usize),
    mut visit: impl FnMut(usize, &'a Pair, usize),
) {
    for mcu_row in 0..down {
        for mcu in 0..across {
            for &index in indices {
                let Coefficients { grid, pairs, .. } = components[index];
                for line in 0..grid.down {
                    let pairs = &pairs[(mcu_row * grid.down + line) * grid.pairs..];
                    for column in mcu * grid.across..(mcu + 1) * grid.across {
                        visit(index, &pairs[column / 2], column % 2);
                    }
                }
            }
        }
    }
}
