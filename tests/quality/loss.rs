//! What decoding at a small scale costs in quality: our rendition beside that of the same encoder after
//! a full decode, both against the float reference.

use super::reference;
use image::RgbImage;
use longshore::render::{IccMode, Limits, Settings, render, spec};
use std::io::Cursor;

/// How one picture fared.
pub struct Loss {
    pub name: String,
    /// SSIMULACRA2 of `resized` at quality 82, 4:2:0.
    pub resized: f64,
    /// The same after a full decode.
    pub after_full_decode: f64,
    /// SSIMULACRA2 of the thumbnail at quality 82, 4:4:4.
    pub thumbnail: f64,
}

impl Loss {
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let full = reference::decode(bytes);
        let wanted = reference::fitted(&full, 1024, 768);
        let wanted_thumbnail = reference::fitted(&full, 192, 192);
        drop(full);
        let made = renditions(bytes);
        let alike = renditions(&lossless(&reference::quantised(&wanted)));
        Self {
            name: name.to_owned(),
            resized: reference::score(&wanted, &made[0]),
            after_full_decode: reference::score(&wanted, &alike[0]),
            thumbnail: reference::score(&wanted_thumbnail, &made[1]),
        }
    }

    /// Points of SSIMULACRA2.
    pub fn points(&self) -> f64 {
        self.after_full_decode - self.resized
    }
}

/// The losses of many pictures, on every core, in their order; printed as a table.
pub fn table<T: Sync>(inputs: &[T], loss: impl Fn(&T) -> Loss + Sync) -> Vec<Loss> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = inputs.len().div_ceil(threads).max(1);
    let losses_of = |inputs: &[T]| inputs.iter().map(&loss).collect::<Vec<Loss>>();
    let losses: Vec<Loss> = std::thread::scope(|scope| {
        let workers = inputs.chunks(share).map(|inputs| {
            let losses_of = &losses_of;
            scope.spawn(move || losses_of(inputs))
        });
        let workers: Vec<_> = workers.collect(); // all of them start before one is waited for
        workers.into_iter().flat_map(|worker| worker.join().expect("no picture panics")).collect()
    });
    println!("{:<32}{:>9}{:>12}{:>7}{:>11}", "SSIMULACRA2", "resized", "full decode", "loss", "thumbnail");
    for loss in &losses {
        println!(
            "{:<32}{:>9.1}{:>12.1}{:>7.2}{:>11.1}",
            loss.name,
            loss.resized,
            loss.after_full_decode,
            loss.points(),
            loss.thumbnail
        );
    }
    println!(
        "{:<32}{:>9.1}{:>12.1}{:>7.2}{:>11.1}",
        "mean",
        mean(&losses, |l| l.resized),
        mean(&losses, |l| l.after_full_decode),
        mean(&losses, Loss::points),
        mean(&losses, |l| l.thumbnail)
    );
    losses
}

pub fn mean(losses: &[Loss], of: impl Fn(&Loss) -> f64) -> f64 {
    losses.iter().map(of).sum::<f64>() / losses.len() as f64
}

fn renditions(bytes: &[u8]) -> Vec<Vec<u8>> {
    let specs = spec::parse("resized=1024x768,q82,420; thumbs=192x192,q82,444").unwrap();
    let settings = Settings { specs, icc: IccMode::Keep, limits: Limits::default() };
    let rendered = render(bytes, &settings).unwrap();
    rendered.renditions.into_iter().map(|rendition| rendition.bytes).collect()
}

fn lossless(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Bmp).unwrap();
    bytes
}
