use super::super::processor::portably;
use super::*;

/// Noise and a few hard edges: what shows a wrong tap.
fn noisy(width: usize, height: usize) -> Plane {
    let mut state = 1u32;
    let samples = (0..width * height).map(|at| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let block = (at % width / 13 + at / width / 17) % 3;
        [0, 255, (state >> 24) as u8][block]
    });
    Plane { width, height, samples: samples.collect() }
}

/// The same filter in `f64`, straight from its definition, rounded once at the end.
fn reference(source: &Plane, extent: Extent, width: usize, height: usize) -> Vec<f64> {
    let axis = |offset: f32, length: f32, samples: usize, made: usize| -> Vec<Vec<(usize, f64)>> {
        let (offset, length) = (f64::from(offset), f64::from(length));
        let step = length / made as f64;
        let widening = step.max(1.0);
        let inside = offset.floor() as usize..((offset + length).ceil() as usize).min(samples);
        let of = |nth: usize| {
            let centre = offset + (nth as f64 + 0.5) * step;
            let weight = |at: usize| {
                let x = (at as f64 + 0.5 - centre) / widening;
                let sinc = |x: f64| if x == 0.0 { 1.0 } else { x.sin() / x };
                let pi = std::f64::consts::PI;
                if x.abs() < 3.0 { sinc(pi * x) * sinc(pi * x / 3.0) } else { 0.0 }
            };
            let sum: f64 = inside.clone().map(weight).sum();
            inside.clone().map(|at| (at, weight(at) / sum)).filter(|tap| tap.1 != 0.0).collect()
        };
        (0..made).map(of).collect()
    };
    let across = axis(extent.left, extent.width, source.width, width);
    let down = axis(extent.top, extent.height, source.height, height);
    let mut out = Vec::new();
    for taps in &down {
        let row: Vec<f64> = (0..source.width)
            .map(|x| taps.iter().map(|&(y, w)| w * f64::from(source.samples[y * source.width + x])).sum())
            .collect();
        out.extend(
            across.iter().map(|taps| taps.iter().map(|&(x, w)| w * row[x]).sum::<f64>().clamp(0.0, 255.0)),
        );
    }
    out
}

const SIZES: [(usize, usize, usize, usize); 12] = [
    (300, 225, 200, 150),
    (260, 195, 205, 154),
    (205, 154, 38, 29),
    (640, 480, 17, 3),
    (50, 40, 50, 20),
    (50, 40, 25, 40),
    (33, 31, 70, 65),
    (1, 1, 5, 4),
    (7, 5, 1, 1),
    (1, 300, 1, 100),
    (300, 1, 100, 1),
    (17, 16, 16, 17),
];

#[test]
fn it_is_within_one_of_the_exact_filter_and_leans_to_no_side() {
    let mut scratch = Scratch::default();
    for (w, h, width, height) in SIZES {
        let source = noisy(w, h);
        let whole = Extent::whole((source.width, source.height));
        for extent in [whole, Extent { width: w as f32 * 0.97, height: h as f32 * 0.93, ..whole }] {
            let found = resample_extent(&source, extent, width, height, &mut scratch);
            let exact = reference(&source, extent, width, height);
            let differences: Vec<f64> =
                found.samples.iter().zip(&exact).map(|(&a, b)| f64::from(a) - b).collect();
            let worst = differences.iter().fold(0.0, |worst: f64, d| worst.max(d.abs()));
            assert!(worst <= 1.0, "{w}x{h} to {width}x{height}: {worst}");
            if differences.len() > 1000 {
                let bias = differences.iter().sum::<f64>() / differences.len() as f64;
                assert!(bias.abs() < 0.05, "{w}x{h} to {width}x{height}: bias {bias}");
            }
        }
    }
}

#[test]
fn a_flat_plane_stays_flat() {
    let mut scratch = Scratch::default();
    for value in [0, 1, 77, 128, 254, 255] {
        for (w, h, width, height) in SIZES {
            let made = resample(&Plane::filled(w, h, value), width, height, &mut scratch);
            assert_eq!(made, Plane::filled(width, height, value), "{w}x{h} to {width}x{height}");
        }
    }
}

#[test]
fn the_same_size_changes_nothing() {
    let source = noisy(37, 23);
    assert_eq!(resample(&source, 37, 23, &mut Scratch::default()), source);
    // Nor does an axis that keeps its size, whatever happens to the other one.
    let rows = Plane { width: 40, height: 3, samples: (0..120).map(|at| (at / 40 * 100) as u8).collect() };
    let made = resample(&rows, 9, 3, &mut Scratch::default());
    assert!((0..3).all(|y| made.row(y).iter().all(|&s| s == 100 * y as u8)));
}

#[test]
fn every_processor_makes_the_same() {
    let mut scratch = Scratch::default();
    for (w, h, width, height) in SIZES {
        let source = noisy(w, h);
        let made = resample(&source, width, height, &mut scratch);
        let portable = portably(|| resample(&source, width, height, &mut scratch));
        assert!(made == portable, "{w}x{h} to {width}x{height}");
    }
}

#[test]
fn rows_may_come_a_few_at_a_time_and_from_wider_planes() {
    let mut scratch = Scratch::default();
    for (w, h, width, height) in SIZES.into_iter().chain([(40, 40, 40, 40)]) {
        let source = noisy(w, h);
        let whole = resample(&source, width, height, &mut scratch);
        for together in [1, 3, 16] {
            let extent = Extent::whole((w, h));
            let mut resampler = Resampler::new((w, h), extent, (width, height), &mut scratch);
            for rows in source.samples.chunks(together * w) {
                let wider: Vec<u8> = rows.chunks(w).flat_map(|row| [row, &[99; 7]].concat()).collect();
                resampler.take(&wider, w + 7);
            }
            assert!(resampler.finish(&mut scratch) == whole, "{w}x{h} to {width}x{height}");
        }
    }
}

#[test]
fn each_orientation_puts_every_sample_where_exif_says() {
    for (w, h) in [(3, 2), (1, 1), (33, 47), (64, 32), (100, 16)] {
        let source = noisy(w, h);
        for orientation in 0..=9 {
            let (width, height) = if (5..=8).contains(&orientation) { (h, w) } else { (w, h) };
            let mut naive = Plane::filled(width, height, 0);
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let (sx, sy) = match orientation {
                    2 => (w - 1 - x, y),
                    3 => (w - 1 - x, h - 1 - y),
                    4 => (x, h - 1 - y),
                    5 => (y, x),
                    6 => (y, h - 1 - x),
                    7 => (w - 1 - y, h - 1 - x),
                    8 => (w - 1 - y, x),
                    _ => (x, y),
                };
                naive.samples[y * width + x] = source.samples[sy * w + sx];
            }
            assert!(orient(source.clone(), orientation) == naive, "{w}x{h}, orientation {orientation}");
        }
    }
}
