//! The two passes: portable code. The same for AVX2 is in `simd`.

use super::Extent;
use super::weights::Weights;

/// How many rows are made at once.
pub const STRIP: usize = 16;

/// Between the passes samples are less 128 and times 64: with six bits more, and the overshoot of two
/// passes, at most 1.5 each, they fit in 16 bits.
pub const ZERO: i16 = 128 << 6;

/// What is between source and result. All in chunks of 16 samples.
#[derive(Debug, Default)]
pub struct Buffers {
    /// The last source rows that count, widened: `down.taps` of them, row `n` at place `n % down.taps`.
    pub widened: Vec<[i16; 16]>,
    /// A strip after the first pass, in rows.
    pub rows: Vec<[i16; 16]>,
    /// The same turned over: for each column its 16 samples.
    pub columns: Vec<[i16; 16]>,
    /// A strip after the second pass, for each column.
    pub out: Vec<[u8; 16]>,
}

/// Resampling one plane, on its way from the top down.
pub struct Passes {
    /// Samples in a source row, and rows to make.
    pub width: usize,
    height: usize,
    pub across: Weights,
    pub down: Weights,
    /// In chunks: how far apart rows are in `widened` and `rows`.
    pub stride: usize,
    /// How many source rows there have been, and how many rows are through the first pass.
    seen: usize,
    made: usize,
    pub buffers: Buffers,
}

impl Passes {
    pub fn new(
        (width, source_height): (usize, usize),
        extent: Extent,
        (made_width, height): (usize, usize),
        mut buffers: Buffers,
    ) -> Self {
        let across = Weights::new(extent.left, extent.width, width, made_width);
        let down = Weights::new(extent.top, extent.height, source_height, height);
        // A multiple of four chunks is what the first pass takes at once.
        let stride = width.div_ceil(16).next_multiple_of(4);
        buffers.widened.resize(stride * down.taps, [0; 16]);
        buffers.rows.resize(stride * STRIP, [0; 16]);
        buffers.columns.resize(stride * STRIP, [0; 16]);
        buffers.out.resize(made_width.next_multiple_of(16), [0; 16]);
        Self { width, height, across, down, stride, seen: 0, made: 0, buffers }
    }

    pub fn into_buffers(self) -> Buffers {
        self.buffers
    }

    /// Widens the next source row, if it counts.
    #[inline(always)]
    pub fn widen(&mut self, row: &[u8]) {
        // Rows between two filters that do not touch, and those after the last, are never needed.
        if self.made < self.height && self.seen >= self.down.starts[self.made] {
            let place = self.seen % self.down.taps;
            let widened = &mut self.buffers.widened[place * self.stride..][..self.stride];
            for (value, &sample) in widened.as_flattened_mut().iter_mut().zip(row) {
                *value = (i16::from(sample) << 6) - ZERO;
            }
        }
        self.seen += 1;
    }

    /// The next row to make, if all that it is made from is there.
    #[inline(always)]
    pub fn next_row(&self) -> Option<usize> {
        let ready = self.made < self.height && self.down.starts[self.made] + self.down.taps <= self.seen;
        ready.then_some(self.made)
    }

    /// To be called after the first pass of a row: of which rows a strip is complete by it.
    #[inline(always)]
    pub fn count_row(&mut self) -> Option<std::ops::Range<usize>> {
        self.made += 1;
        let complete = self.made.is_multiple_of(STRIP) || self.made == self.height;
        complete.then(|| (self.made - 1) / STRIP * STRIP..self.made)
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

    /// Takes source rows, and writes what they complete into `made`, all rows of the result.
    pub fn take<'a>(&mut self, rows: impl Iterator<Item = &'a [u8]>, made: &mut [u8]) {
        let width = self.across.starts.len();
        for row in rows {
            self.widen(row);
            while let Some(nth) = self.next_row() {
                self.first_pass(nth);
                if let Some(strip) = self.count_row() {
                    self.second_pass(&mut made[strip.start * width..strip.end * width]);
                }
            }
        }
    }

    fn first_pass(&mut self, nth: usize) {
        for chunk in 0..self.stride {
            let taps = self.taps_down(nth).map(|(at, weight)| (&self.buffers.widened[at + chunk], weight));
            let sum = weighted_sum(taps, &self.down);
            self.buffers.rows[nth % STRIP * self.stride + chunk] = sum;
        }
    }

    fn second_pass(&mut self, lines: &mut [u8]) {
        let Self { across, .. } = self;
        let Buffers { rows, columns, out, .. } = &mut self.buffers;
        for x in 0..self.width {
            for row in 0..STRIP {
                columns[x][row] = rows[row * self.stride + x / 16][x % 16];
            }
        }
        for (x, out) in out[..across.starts.len()].iter_mut().enumerate() {
            let taps = columns[across.starts[x]..].iter().zip(across.of(x).iter().copied());
            *out = weighted_sum(taps, across).map(|sum| ((sum + ZERO + 32) >> 6).clamp(0, 255) as u8);
        }
        for (row, line) in lines.chunks_exact_mut(across.starts.len()).enumerate() {
            line.iter_mut().zip(&*out).for_each(|(sample, column)| *sample = column[row]);
        }
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
