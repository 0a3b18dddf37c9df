//! The least program with our resampler in it.

#[path = "../../../src/render"]
#[allow(dead_code, unused_imports)] // the engine needs more of it
mod render {
    pub mod plane;
    mod processor;
    pub mod resample;
}

use render::plane::Plane;
use render::resample::{Scratch, resample};

fn main() {
    let side = std::env::args().count() * 100;
    let made = resample(&Plane::filled(side, side, 7), 40, 30, &mut Scratch::default());
    println!("{}", made.samples[0]);
}
