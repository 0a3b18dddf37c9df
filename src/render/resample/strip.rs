//! Sixteen rows of the result, made in two passes: portable code. The same for AVX2 is in `simd`.

use super::super::plane::Plane;
use super::weights::Weights;

/// How many rows are made at once.
pub const STRIP: usize = 16;

/// Between the passes samples are less 128 and times 64: with six bits more, and the overshoot of two
/// passes, at most 1.5 each, they fit in 16 bits.
pub const ZERO: i16 = 128 << 6;

/// All that one strip takes.
pub struct Strip<'a> {
    pub source: &'a Plane,
    pub across: &'a Weights,
    pub down: &'a Weights,
    /// The first row to make.
    pub first: usize,
    /// In chunks of 16 samples: how far apart rows are in `widened` and `rows`.
    pub stride: usize,
    /// How many source rows have been widened. The last of them, `down.taps` at most, are in `widened`:
    /// row `n` at place `n % down.taps`.
    pub widened_rows: &'a mut usize,
    pub widened: &'a mut [[i16; 16]],
    pub rows: &'a mut [[i16; 16]],
    pub columns: &'a mut [[i16; 16]],
    pub out: &'a mut [[u8; 16]],
    /// The rows to make, 16 or what is left.
    pub lines: &'a mut [u8],
}

impl Strip<'_> {
    /// The number of rows to make.
    pub fn height(&self) -> usize {
        self.lines.len() / self.across.starts.len()
    }

    /// Widens the source rows that row `nth` of the result needs, by `widen`.
    #[inline(always)]
    pub fn widen_for(&mut self, nth: usize, widen: impl Fn(&[u8], &mut [[i16; 16]])) {
        let end = self.down.starts[nth] + self.down.taps;
        // Rows between two filters that do not touch are never needed.
        *self.widened_rows = (*self.widened_rows).max(self.down.starts[nth]);
        while *self.widened_rows < end {
            let place = *self.widened_rows % self.down.taps;
            widen(
                self.source.row(*self.widened_rows),
                &mut self.widened[place * self.stride..][..self.stride],
            );
            *self.widened_rows += 1;
        }
    }

    /// For each tap of row `nth`, where its source row is in `widened`, and its weight.
    #[inline(always)]
    pub fn taps_down(&self, nth: usize) -> impl Iterator<Item = (usize, i16)> + Clone {
        let (stride, end) = (self.stride, self.down.taps * self.stride);
        let mut next = self.down.starts[nth] % self.down.taps * stride;
        self.down.of(nth).iter().map(move |&weight| {
            let at = next;
            next = if at + stride == end { 0 } else { at + stride };
            (at, weight)
        })
    }

    /// Makes the strip.
    pub fn run(mut self) {
        let height = self.height();
        for row in 0..height {
            let nth = self.first + row;
            self.widen_for(nth, widen);
            for chunk in 0..self.stride {
                let taps = self.taps_down(nth).map(|(at, weight)| (&self.widened[at + chunk], weight));
                self.rows[row * self.stride + chunk] = weighted_sum(taps, self.down);
            }
        }
        for x in 0..self.source.width {
            for row in 0..STRIP {
                self.columns[x][row] = self.rows[row * self.stride + x / 16][x % 16];
            }
        }
        for (x, out) in self.out[..self.across.starts.len()].iter_mut().enumerate() {
            let columns = self.columns[self.across.starts[x]..].iter();
            let taps = columns.zip(self.across.of(x).iter().copied());
            *out = weighted_sum(taps, self.across).map(|sum| ((sum + ZERO + 32) >> 6).clamp(0, 255) as u8);
        }
        for (row, line) in self.lines.chunks_exact_mut(self.across.starts.len()).enumerate() {
            line.iter_mut().zip(&*self.out).for_each(|(sample, column)| *sample = column[row]);
        }
    }
}

/// A row of samples to 16 bits each.
#[inline(always)]
pub fn widen(samples: &[u8], widened: &mut [[i16; 16]]) {
    for (value, &sample) in widened.as_flattened_mut().iter_mut().zip(samples) {
        *value = (i16::from(sample) << 6) - ZERO;
    }
}

#[inline(always)]
fn weighted_sum<'a>(taps: impl Iterator<Item = (&'a [i16; 16], i16)>, weights: &Weights) -> [i16; 16] {
    if weights.exact() {
        return exact_sum(taps, weights.bits);
    }
    let mut sums = [0; 16];
    for (values, weight) in taps {
        add_rounded(&mut sums, values, weight);
    }
    sums
}

/// On its own so that the compiler makes vectors of it; inlined it sees 16 sums instead of one loop.
#[inline(never)]
fn add_rounded(sums: &mut [i16; 16], values: &[i16; 16], weight: i16) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += ((i32::from(value) * i32::from(weight) + (1 << 14)) >> 15) as i16;
    }
}

/// Rounded once, at the end.
#[inline(always)]
pub fn exact_sum<'a>(taps: impl Iterator<Item = (&'a [i16; 16], i16)>, bits: u32) -> [i16; 16] {
    let mut sums = [1 << (bits - 1); 16];
    for (values, weight) in taps {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += i32::from(value) * i32::from(weight);
        }
    }
    sums.map(|sum| (sum >> bits) as i16)
}
