//! A plane as rows of blocks: where each block lies, and the transform of a row of MCUs.

use super::super::plane::Plane;
use super::fdct::Pair;
use super::quantise::Quantiser;
use super::simd;

/// How the blocks of one component lie. An MCU has `across * down` of them (T.81 A.2).
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub across: usize,
    pub down: usize,
    /// Blocks that hold at least one sample.
    pub columns: usize,
    pub rows: usize,
    /// How many pairs make a row of blocks, those that only complete the last MCU included.
    pub pairs: usize,
}

impl Grid {
    pub fn new(plane: &Plane, across: usize, down: usize, mcus_across: usize) -> Self {
        let columns = plane.width.div_ceil(8);
        let rows = plane.height.div_ceil(8);
        Self { across, down, columns, rows, pairs: (mcus_across * across).div_ceil(2) }
    }

    /// How many pairs a row of MCUs has.
    pub fn pairs_per_mcu_row(&self) -> usize {
        self.pairs * self.down
    }

    /// Transforms row `nth` of MCUs.
    pub fn transform(&self, plane: &Plane, nth: usize, quantiser: &Quantiser, pairs: &mut [Pair]) {
        for line in 0..self.down {
            let row = nth * self.down + line;
            let (before, pairs) = pairs.split_at_mut(line * self.pairs);
            let pairs = &mut pairs[..self.pairs];
            if row < self.rows {
                transform_row(plane, row, quantiser, pairs);
                self.fill_after_last(pairs);
            } else {
                // An MCU always starts in the picture, so there is a row above.
                let above = &before[before.len() - self.pairs..];
                for (pair, above) in pairs.iter_mut().zip(above) {
                    *pair = flat([above.coefficients[0][0], above.coefficients[0][8]]);
                }
            }
        }
    }

    /// Blocks outside the picture cost least if they repeat the mean of the last one inside.
    fn fill_after_last(&self, pairs: &mut [Pair]) {
        let last = self.columns - 1;
        let mean = pairs[last / 2].coefficients[0][last % 2 * 8];
        if last.is_multiple_of(2) {
            let pair = &mut pairs[last / 2];
            pair.coefficients.iter_mut().for_each(|column| column[8..].fill(0));
            pair.coefficients[0][8] = mean;
            pair.nonzero[1] = 0;
        }
        pairs[last / 2 + 1..].fill(flat([mean; 2]));
    }
}

/// Two blocks that have nothing but their DC coefficients.
fn flat(means: [i16; 2]) -> Pair {
    let mut pair = Pair::default();
    (pair.coefficients[0][0], pair.coefficients[0][8]) = (means[0], means[1]);
    pair
}

/// Transforms the pairs of a row of blocks that hold samples; the picture's edge is repeated outwards.
fn transform_row(plane: &Plane, row: usize, quantiser: &Quantiser, pairs: &mut [Pair]) {
    let lines: [&[u8]; 8] = std::array::from_fn(|nth| plane.row((8 * row + nth).min(plane.height - 1)));
    let whole = plane.width / 16;
    simd::transform(&lines, quantiser, &mut pairs[..whole]);
    if !plane.width.is_multiple_of(16) {
        let padded: [[u8; 16]; 8] = lines.map(|line| {
            let mut samples = [line[line.len() - 1]; 16];
            samples[..line.len() % 16].copy_from_slice(&line[16 * whole..]);
            samples
        });
        let lines = padded.each_ref().map(|line| line.as_slice());
        simd::transform(&lines, quantiser, &mut pairs[whole..=whole]);
    }
}
