//! The inverse DCT of [`super::idct`] in sixteen bits, for N = 1..=4: all its lanes are one register wide,
//! where single precision takes two and has to be converted there and back.
//!
//! Fixed point, as in "jidctfst" of libjpeg, but at the small scales there is room for more fraction bits.
//! A dequantised coefficient of a picture of 8 bits is at most 1024 and half a divisor (T.81 A.3.3); what is
//! larger is damage and is clamped, so that nothing wraps.
#![expect(
    clippy::needless_range_loop,
    reason = "with iterators these loops are not vectorised, and take four times as long"
)]

use super::idct::{Coefficients, LANES, ROOM, cosine, place};
use super::simd;
use super::tables::Quantisation;

/// The largest scale: beyond it rounding adds up to more than it saves.
const MAX_SCALE: u8 = 4;
/// Fraction bits of dequantised coefficients and of samples.
const FRACTION: u32 = 4;
/// The largest dequantised coefficient.
const LARGEST: u16 = i16::MAX as u16 >> FRACTION;
/// Level shift (T.81 A.3.1), a half to round by, and what products lose by being cut: a unit on the average.
const SHIFT: i16 = (128 << FRACTION) + (1 << (FRACTION - 1)) + 1;

type Lanes = [i16; LANES];

/// What the coefficients of a component were divided by.
#[derive(Debug, Clone)]
pub(super) struct Narrow {
    /// By place: divisor, with fraction bits, and the largest coefficient that does not go beyond
    /// [`LARGEST`].
    factors: [(i16, i16); 16],
    scale: u8,
}

impl Narrow {
    /// None where sixteen bits do not do: at larger scales, and for divisors of more than eight bits.
    pub(super) fn new(table: &Quantisation, scale: u8) -> Option<Self> {
        if scale > MAX_SCALE || table.iter().any(|&divisor| divisor > 255) {
            return None;
        }
        let mut factors = [(0, 0); 16];
        for (zigzag, &divisor) in table.iter().enumerate() {
            if let Some(place) = place(zigzag, scale) {
                factors[place] = ((divisor << FRACTION) as i16, (LARGEST / divisor.max(1)) as i16);
            }
        }
        Some(Self { factors, scale })
    }

    /// As [`super::idct::Transform::apply`].
    pub(super) fn apply(&self, coefficients: &mut Coefficients, rows: &mut [u8], stride: usize) {
        let factors = &self.factors;
        match self.scale {
            1 => simd::fastest(Blocks::<1> { coefficients, factors, rows, stride }),
            2 => simd::fastest(Blocks::<2> { coefficients, factors, rows, stride }),
            3 => simd::fastest(Blocks::<3> { coefficients, factors, rows, stride }),
            _ => simd::fastest(Blocks::<4> { coefficients, factors, rows, stride }),
        }
    }
}

struct Blocks<'a, const N: usize> {
    coefficients: &'a mut Coefficients,
    factors: &'a [(i16, i16); 16],
    rows: &'a mut [u8],
    stride: usize,
}

impl<const N: usize> simd::Work for Blocks<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // `[row][column]`
        let mut middle = [[[0; LANES]; N]; N];
        for column in 0..N {
            let mut input = [[0; LANES]; N];
            for row in 0..N {
                let place = row * N + column;
                let (factor, most) = self.factors[place];
                for lane in 0..LANES {
                    let coefficient = self.coefficients[place * LANES + lane];
                    input[row][lane] = coefficient.min(most).max(-most).wrapping_mul(factor);
                }
            }
            let output = inverse(&input);
            for row in 0..N {
                middle[row][column] = output[row];
            }
        }
        self.coefficients[..N * N * LANES].fill(0);
        for (row, samples) in middle.iter().zip(self.rows.chunks_mut(self.stride)) {
            let output = inverse(row);
            // The samples of a block in one word, first one lowest.
            let mut words = [0; LANES];
            for x in 0..N {
                for lane in 0..LANES {
                    let sample = output[x][lane].saturating_add(SHIFT) >> FRACTION;
                    words[lane] |= (sample.clamp(0, 255) as u32) << (8 * x);
                }
            }
            let samples = &mut samples[..LANES * N + ROOM];
            for (lane, word) in words.iter().enumerate() {
                // Of those too many the next block overwrites some, and the rest is room.
                samples[lane * N..][..4].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

/// The N-point inverse transform. Even terms are the same at x and N - 1 - x, odd ones opposite.
#[inline(always)]
fn inverse<const N: usize>(input: &[Lanes; N]) -> [Lanes; N] {
    let mut output = [[0; LANES]; N];
    for x in 0..N.div_ceil(2) {
        let factors = &Cosines::<N>::TABLE[x];
        let (mut even, mut odd) = (times(&input[0], factors[0]), [0; LANES]);
        for u in 1..N {
            let term = times(&input[u], factors[u]);
            if u % 2 == 0 {
                even = plus(&even, &term);
            } else {
                odd = plus(&odd, &term);
            }
        }
        output[x] = plus(&even, &odd);
        output[N - 1 - x] = minus(&even, &odd);
    }
    output
}

#[inline(always)]
fn times(a: &Lanes, factor: i16) -> Lanes {
    let mut product = [0; LANES];
    for lane in 0..LANES {
        product[lane] = ((i32::from(a[lane]) * i32::from(factor)) >> 16) as i16;
    }
    product
}

#[inline(always)]
fn plus(a: &Lanes, b: &Lanes) -> Lanes {
    let mut sum = [0; LANES];
    for lane in 0..LANES {
        sum[lane] = a[lane].saturating_add(b[lane]);
    }
    sum
}

#[inline(always)]
fn minus(a: &Lanes, b: &Lanes) -> Lanes {
    let mut difference = [0; LANES];
    for lane in 0..LANES {
        difference[lane] = a[lane].saturating_sub(b[lane]);
    }
    difference
}

struct Cosines<const N: usize>;

impl<const N: usize> Cosines<N> {
    /// `[x][u]`: C(u) / 2 · cos((2x + 1)uπ / 2N), in units of 2⁻¹⁶. Two passes make the 1/4 C(u) C(v) of T.81 A.3.3.
    const TABLE: [[i16; N]; N] = {
        let mut table = [[0; N]; N];
        let mut x = 0;
        while x < N {
            let mut u = 0;
            while u < N {
                let c = if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                let value = c / 2.0 * cosine((2 * x + 1) * u, N) * 65_536.0;
                table[x][u] = (value + if value < 0.0 { -0.5 } else { 0.5 }) as i16;
                u += 1;
            }
            x += 1;
        }
        table
    };
}

#[cfg(test)]
mod tests {
    use super::super::simd::Work;
    use super::*;

    fn random_blocks(seed: &mut u64) -> Box<Coefficients> {
        let mut blocks = Box::new([0; 256 * LANES]);
        for value in &mut blocks[..16 * LANES] {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value = (*seed >> 48) as i16;
        }
        blocks
    }

    #[test]
    fn portable_and_fastest_code_give_the_same_samples_whatever_the_coefficients() {
        let mut seed = 3;
        for divisor in [1, 7, 255] {
            let narrow = Narrow::new(&[divisor; 64], 3).unwrap();
            for _ in 0..50 {
                let blocks = random_blocks(&mut seed);
                let stride = 3 * LANES + ROOM;
                let (mut fast, mut portable) = (vec![0; 3 * stride], vec![0; 3 * stride]);
                narrow.apply(&mut blocks.clone(), &mut fast, stride);
                let (coefficients, factors) = (&mut *blocks.clone(), &narrow.factors);
                Blocks::<3> { coefficients, factors, rows: &mut portable, stride }.run();
                assert_eq!(fast, portable);
            }
        }
    }

    #[test]
    fn samples_are_neither_too_dark_nor_too_light() {
        // What the divisors and the signs of many blocks leave of the error must be near nothing.
        let mut seed = 5;
        for scale in 1..=MAX_SCALE {
            let n = usize::from(scale);
            let narrow = Narrow::new(&[1; 64], scale).unwrap();
            let (mut sum, mut count) = (0.0, 0.0);
            for _ in 0..2000 {
                let mut blocks = random_blocks(&mut seed);
                blocks.iter_mut().for_each(|c| *c >>= 9);
                let stride = LANES * n + ROOM;
                let mut rows = vec![0; n * stride];
                blocks[..LANES].iter_mut().for_each(|c| *c *= 7);
                let dc: Vec<f64> = blocks[..LANES].iter().copied().map(f64::from).collect();
                narrow.apply(&mut blocks, &mut rows, stride);
                for (lane, dc) in dc.iter().enumerate() {
                    // The mean of a block is its DC coefficient alone.
                    let samples = (0..n).flat_map(|y| &rows[y * stride + lane * n..][..n]);
                    if samples.clone().all(|&s| s > 0 && s < 255) {
                        let mean = samples.map(|&s| f64::from(s)).sum::<f64>() / (n * n) as f64;
                        sum += mean - (128.0 + dc / 8.0);
                        count += 1.0;
                    }
                }
            }
            assert!(count > 10_000.0);
            let error: f64 = sum / count;
            // Halves are rounded up: a sixteenth.
            assert!(error.abs() < 0.12, "scale {scale}: {error}");
        }
    }

    #[test]
    fn wide_divisors_and_large_scales_are_not_for_sixteen_bits() {
        assert!(Narrow::new(&[255; 64], 4).is_some());
        assert!(Narrow::new(&[256; 64], 4).is_none() && Narrow::new(&[1; 64], 5).is_none());
        // A divisor of 0 is no division, and no panic.
        assert!(Narrow::new(&[0; 64], 4).is_some());
    }
}
