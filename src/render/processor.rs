//! Whether this processor has what the code in the `simd` modules needs. Asked here and nowhere else, so
//! that tests can have the portable code, which makes the same bytes, run in its place.
//!
//! Each `unsafe` in the engine is one call, after asking here, of a function that is safe but for needing
//! these features; there are no raw pointers. AddressSanitizer watches what they lead to, at every size and
//! beside the portable code, in the fuzz targets: `simd` for resampling and encoding, `decoder` and
//! `structure` for decoding.

/// AVX2, and what comes with it in every processor of the x86-64-v3 level (2013 and later).
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_v3() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
        && !held_back::here()
}

#[cfg(any(test, fuzzing))]
pub use held_back::portably;

#[cfg(any(test, fuzzing))]
mod held_back {
    use std::cell::Cell;

    thread_local! {
        static HERE: Cell<bool> = const { Cell::new(false) };
    }

    /// Does something on this thread as a processor would that has none of the newer features.
    pub fn portably<T>(something: impl FnOnce() -> T) -> T {
        HERE.set(true);
        let made = something();
        HERE.set(false);
        made
    }

    pub fn here() -> bool {
        HERE.get()
    }
}

#[cfg(not(any(test, fuzzing)))]
#[cfg(target_arch = "x86_64")]
mod held_back {
    pub fn here() -> bool {
        false
    }
}
