//! Planes of any size through the resampler and the encoder, with newer processor features and without.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_fuzz::checks::{self, Job};

fuzz_target!(|job: Job| {
    checks::simd(&job);
});
