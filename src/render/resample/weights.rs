//! How much each source sample counts in each sample made.

use std::f64::consts::PI;

/// One axis. Every sample made has the same number of taps; those it does not need weigh nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// The first source sample of each sample made; `taps` of them are always inside.
    pub starts: Vec<usize>,
    pub taps: usize,
    /// In units of 2^-`bits`, `taps` for each sample made; they add up to 1.
    pub values: Vec<i16>,
    /// 15, or 14 if a weight is larger than 1, as happens at the edge of a plane that is enlarged.
    pub bits: u32,
}

/// So many taps may each be rounded before they are added.
const MAX_ROUNDED_TAPS: usize = 64;

/// In samples of the larger grid: how far the filter reaches to each side. Lanczos3: three lobes of a sinc, under
/// the central lobe of another, three times as wide (C. Lanczos, Applied Analysis, 1956; as a filter for
/// pictures: K. Turkowski, Filters for Common Resampling Tasks, Graphics Gems, 1990).
const LOBES: f64 = 3.0;

impl Weights {
    /// For `made` samples out of the part of `length` samples that starts at `offset`, `extent` samples long.
    pub fn new(offset: f32, extent: f32, length: usize, made: usize) -> Self {
        let (offset, extent) = (f64::from(offset), f64::from(extent));
        let low = offset.floor().max(0.0) as usize;
        let high = ((offset + extent).ceil() as usize).min(length);
        assert!(low < high && extent > 0.0, "the picture is in its plane");
        let step = extent / made as f64;
        let widening = step.max(1.0);
        let reach = LOBES * widening;
        let taps = ((2.0 * reach).floor() as usize + 1).min(high - low);

        let mut starts = Vec::with_capacity(made);
        let mut exact = vec![0.0; made * taps];
        for (nth, exact) in exact.chunks_exact_mut(taps).enumerate() {
            let centre = offset + (nth as f64 + 0.5) * step;
            let first = (centre - reach - 0.5).ceil().max(low as f64) as usize;
            let start = first.min(high - taps);
            starts.push(start);
            lanczos(exact, (start as f64 + 0.5 - centre) / widening, 1.0 / widening);
            let sum: f64 = exact.iter().sum();
            exact.iter_mut().for_each(|weight| *weight /= sum);
        }
        let bits = if exact.iter().any(|&weight| weight > 1.0 + 1e-9) { 14 } else { 15 };
        let mut values = vec![0; made * taps];
        for (exact, values) in exact.chunks_exact(taps).zip(values.chunks_exact_mut(taps)) {
            to_fixed(exact, values, bits);
        }
        Self { starts, taps, values, bits }
    }

    /// Whether products are to be added in full and only the sum is rounded, which takes longer.
    pub fn exact(&self) -> bool {
        self.bits < 15 || self.taps > MAX_ROUNDED_TAPS
    }

    /// The weights of one sample made.
    pub fn of(&self, nth: usize) -> &[i16] {
        &self.values[nth * self.taps..][..self.taps]
    }
}

/// `sinc(x) sinc(x / 3)` at `x`, `x + step`, ... The sines are turned on from one to the next: computing
/// each would take as long as a third of the resampling.
fn lanczos(values: &mut [f64], mut x: f64, step: f64) {
    let mut fast = Turning::new(PI * x, PI * step);
    let mut slow = Turning::new(PI * x / LOBES, PI * step / LOBES);
    for value in values {
        let (sine, slow_sine) = (fast.next_sine(), slow.next_sine());
        *value = if x.abs() >= LOBES {
            0.0
        } else if x.abs() < 1e-6 {
            1.0
        } else {
            sine * slow_sine * LOBES / (PI * PI * x * x)
        };
        x += step;
    }
}

/// The sine of an angle that grows by equal steps.
struct Turning {
    sine: f64,
    cosine: f64,
    step_sine: f64,
    step_cosine: f64,
}

impl Turning {
    fn new(angle: f64, step: f64) -> Self {
        let ((sine, cosine), (step_sine, step_cosine)) = (angle.sin_cos(), step.sin_cos());
        Self { sine, cosine, step_sine, step_cosine }
    }

    fn next_sine(&mut self) -> f64 {
        let sine = self.sine;
        self.sine = sine * self.step_cosine + self.cosine * self.step_sine;
        self.cosine = self.cosine * self.step_cosine - sine * self.step_sine;
        sine
    }
}

/// To units of 2^-`bits`. What rounding takes from one weight goes to the next, so that the sum is right.
fn to_fixed(exact: &[f64], fixed: &mut [i16], bits: u32) {
    let mut sum = 0.0;
    let mut given = 0;
    for (weight, fixed) in exact.iter().zip(fixed) {
        sum += weight * f64::from(1 << bits);
        // A lone weight of 1 comes out a 2^15th too small.
        *fixed = (sum.round() as i32 - given).clamp(-i32::from(i16::MAX), i32::from(i16::MAX)) as i16;
        given += i32::from(*fixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one_at_the_edges_too() {
        for (length, made) in [(1536, 1024), (1300, 1024), (7, 3), (3, 7), (1, 5), (5, 1), (4000, 3)] {
            let weights = Weights::new(0.0, length as f32, length, made);
            for nth in 0..made {
                let sum: i32 = weights.of(nth).iter().map(|&w| i32::from(w)).sum();
                let one = 1 << weights.bits;
                assert!((one - 1..=one).contains(&sum), "{length} to {made}: {sum}");
                assert!(weights.starts[nth] + weights.taps <= length);
            }
        }
    }

    #[test]
    fn nothing_outside_the_extent_counts() {
        let weights = Weights::new(1.0, 5.5, 9, 4);
        assert!(weights.starts.iter().all(|&start| start >= 1 && start + weights.taps <= 7));
    }
}
