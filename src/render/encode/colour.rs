//! Between RGB pixels and JFIF's YCbCr planes: ITU-R BT.601 weights, all of 0 to 255 used.

use super::super::plane::Plane;
use super::Subsampling;

/// In units of 2^-16; those of each line add up to 2^16 (luma) or to nothing (chroma).
const LUMA: [i32; 3] = [19595, 38470, 7471];
const BLUE: [i32; 3] = [-11059, -21709, 32768];
const RED: [i32; 3] = [32768, -27439, -5329];

/// Pixels to planes. A chroma sample is made of the mean colour of the pixels that share it.
///
/// `rgb` is `width * height` pixels of three bytes, rows tightly packed.
pub fn rgb_to_planes(rgb: &[u8], width: usize, height: usize, subsampling: Subsampling) -> [Plane; 3] {
    assert_eq!(rgb.len(), 3 * width * height, "three bytes a pixel");
    let (across, down) = subsampling.factors();
    let (chroma_width, chroma_height) = (width.div_ceil(across), height.div_ceil(down));
    let mut planes = [(width, height), (chroma_width, chroma_height), (chroma_width, chroma_height)]
        .map(|(width, height)| Plane { width, height, samples: Vec::with_capacity(width * height) });
    let pixels = rgb.as_chunks::<3>().0;
    planes[0].samples.extend(pixels.iter().map(|&pixel| weigh(pixel.map(i32::from), LUMA, 0, 16)));

    let mut sums = vec![[0; 3]; chroma_width];
    for rows in pixels.chunks(width.max(1) * down) {
        sums.fill([0; 3]);
        for nth in 0..down {
            // Past the last row, or column, the last one counts again.
            let row = rows.chunks(width).nth(nth).or(rows.chunks(width).last()).expect("rows has a row");
            let whole = width / across;
            for (sum, pixels) in sums.iter_mut().zip(row.chunks_exact(across)) {
                pixels.iter().for_each(|pixel| add(sum, *pixel, 1));
            }
            if whole < chroma_width {
                add(&mut sums[whole], row[width - 1], across as i32);
            }
        }
        let shift = 16 + (across * down).ilog2();
        for (plane, weights) in planes[1..].iter_mut().zip([BLUE, RED]) {
            plane.samples.extend(sums.iter().map(|&sum| weigh(sum, weights, 128 << shift, shift)));
        }
    }
    planes
}

/// Full-size planes to pixels of three bytes, rows tightly packed.
pub fn planes_to_rgb(y: &Plane, cb: &Plane, cr: &Plane) -> Vec<u8> {
    let size = |plane: &Plane| (plane.width, plane.height);
    assert!(size(y) == size(cb) && size(y) == size(cr), "planes of one size");
    let mut rgb = vec![0; 3 * y.samples.len()];
    let samples = y.samples.iter().zip(&cb.samples).zip(&cr.samples);
    for (pixel, ((&y, &cb), &cr)) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
        let y = (i32::from(y) << 16) + (1 << 15);
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        // JFIF 1.02: 1.402, 0.344136, 0.714136 and 1.772, in units of 2^-16.
        let colours = [y + 91881 * cr, y - 22554 * cb - 46802 * cr, y + 116130 * cb];
        *pixel = colours.map(|colour| (colour >> 16).clamp(0, 255) as u8);
    }
    rgb
}

#[inline(always)]
fn add(sum: &mut [i32; 3], pixel: [u8; 3], times: i32) {
    for (sum, value) in sum.iter_mut().zip(pixel) {
        *sum += i32::from(value) * times;
    }
}

/// A weighted sum, rounded: exact zero is never passed, but pure blue and red come to 255.5.
#[inline(always)]
fn weigh(colour: [i32; 3], weights: [i32; 3], offset: i32, shift: u32) -> u8 {
    let sum = colour[0] * weights[0] + colour[1] * weights[1] + colour[2] * weights[2];
    // Just below a half, so that those two round down.
    ((sum + offset + (1 << (shift - 1)) - 1) >> shift) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back_within_one() {
        let values = [0u8, 1, 37, 128, 200, 254, 255];
        let rgb: Vec<u8> =
            (0..343).flat_map(|n| [values[n / 49], values[n / 7 % 7], values[n % 7]]).collect();
        let [y, cb, cr] = rgb_to_planes(&rgb, 49, 7, Subsampling::S444);
        for (found, expected) in planes_to_rgb(&y, &cb, &cr).iter().zip(&rgb) {
            assert!(found.abs_diff(*expected) <= 1, "{found} for {expected}");
        }
    }

    #[test]
    fn planes_are_what_jfif_defines() {
        for (n, pixel) in [[255, 0, 0], [0, 0, 255], [0, 255, 0], [9, 200, 31]].into_iter().enumerate() {
            let [r, g, b] = pixel.map(f64::from);
            let exact = [
                0.299 * r + 0.587 * g + 0.114 * b,
                128.0 - 0.168736 * r - 0.331264 * g + 0.5 * b,
                128.0 + 0.5 * r - 0.418688 * g - 0.081312 * b,
            ];
            for (plane, exact) in rgb_to_planes(&pixel, 1, 1, Subsampling::S420).iter().zip(exact) {
                let exact = exact.min(255.0);
                assert!((f64::from(plane.samples[0]) - exact).abs() <= 0.51, "{n}: {plane:?}, {exact}");
            }
        }
    }

    #[test]
    fn chroma_is_the_mean_of_its_box_and_of_what_there_is_of_it_at_the_edge() {
        // Blue steps, 3 by 3: boxes of four, two, two and one pixels.
        let blue = [0, 40, 80, 120, 160, 200, 240, 10, 90];
        let rgb: Vec<u8> = blue.into_iter().flat_map(|b| [0, 0, b]).collect();
        let [_, cb, _] = rgb_to_planes(&rgb, 3, 3, Subsampling::S420);
        assert_eq!((cb.width, cb.height), (2, 2));
        assert_eq!(cb.samples, [80, 140, 125, 90].map(|mean| 128 + mean / 2));
    }

    #[test]
    fn gray_stays_gray() {
        for value in 0..=255 {
            for subsampling in [Subsampling::S444, Subsampling::S422, Subsampling::S420] {
                let [y, cb, cr] = rgb_to_planes(&[value; 3 * 15], 5, 3, subsampling);
                assert!(y.samples.iter().all(|&s| s == value));
                assert!(cb.samples.iter().chain(&cr.samples).all(|&s| s == 128));
            }
        }
    }
}
