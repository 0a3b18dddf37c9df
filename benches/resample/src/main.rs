//! One plane to another size, by our resampler and by fast_image_resize's typed API: both Lanczos3, 8 bits in
//! and out, on one thread, in turns. CPU time, medians of rounds; and how far the results are apart.

#[path = "../../../src/render"]
#[allow(dead_code, unused_imports)] // the engine needs more of it
mod render {
    pub mod plane;
    mod processor;
    pub mod resample;
}

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::{ResizeOptions, Resizer, pixels};
use render::plane::Plane;
use render::resample::{Scratch, resample};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 41;

/// Across and down.
type Size = (usize, usize);

/// As photographs come from the decoder: brightness for `resized`, its colours, and the thumbnail made from it.
const JOBS: [(&str, Size, Size); 4] = [
    ("12 megapixels at 4/8 to resized", (2000, 1500), (1024, 768)),
    ("16 megapixels at 3/8 to resized", (1740, 1305), (1024, 768)),
    ("its colours", (1000, 750), (512, 384)),
    ("resized to thumbnail", (1024, 768), (192, 144)),
];

fn main() {
    println!(
        "{:<34}{:>9}{:>20}{:>8}{:>22}",
        "CPU µs", "ours", "fast_image_resize", "ratio", "apart, mean and most"
    );
    for (name, from, to) in JOBS {
        let source = picture(from);
        let (mut scratch, mut resizer) = (Scratch::default(), Resizer::new());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut made = (Plane::default(), Plane::default());
        for _ in 0..ROUNDS {
            ours.push(cpu_us(|| made.0 = resample(&source, to.0, to.1, &mut scratch)));
            theirs.push(cpu_us(|| made.1 = by_fast_image_resize(&source, to, &mut resizer)));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let apart = || made.0.samples.iter().zip(&made.1.samples).map(|(a, b)| u32::from(a.abs_diff(*b)));
        let mean = f64::from(apart().sum::<u32>()) / made.0.samples.len() as f64;
        let most = apart().max().unwrap_or(0);
        println!("{name:<34}{ours:>9.0}{theirs:>20.0}{:>8.2}{mean:>16.2} and{most:>2}", ours / theirs);
    }
}

fn by_fast_image_resize(source: &Plane, (width, height): (usize, usize), resizer: &mut Resizer) -> Plane {
    let size = |length: usize| u32::try_from(length).expect("a small picture");
    let view: TypedImageRef<pixels::U8> =
        TypedImageRef::from_buffer(size(source.width), size(source.height), &source.samples)
            .expect("it is full");
    let mut samples = vec![0; width * height];
    let mut made: TypedImage<pixels::U8> =
        TypedImage::from_buffer(size(width), size(height), &mut samples).expect("it has room");
    resizer.resize_typed(&view, &mut made, &ResizeOptions::default()).expect("both have pixels");
    Plane { width, height, samples }
}

/// Soft, with edges and some noise.
fn picture((width, height): (usize, usize)) -> Plane {
    let mut random = fastrand::Rng::with_seed(1);
    let mut sample = |at: usize| {
        let (x, y) = ((at % width) as f32, (at / width) as f32);
        let wave = 60.0 * (x / 37.0).sin() * (y / 53.0).cos();
        let edge = if ((x / 90.0 + y / 70.0) as u32).is_multiple_of(2) { 40.0 } else { -40.0 };
        (128.0 + wave + edge + 8.0 * (random.f32() - 0.5)) as u8
    };
    Plane { width, height, samples: (0..width * height).map(&mut sample).collect() }
}

fn cpu_us(work: impl FnOnce()) -> f64 {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
    };
    let before = now();
    work();
    now() - before
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
