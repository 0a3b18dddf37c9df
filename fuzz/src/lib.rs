//! The image engine under bytes that nobody would write.
//!
//! ```text
//! cargo install cargo-fuzz --locked --version 0.13.2
//! cd fuzz
//! cargo run --release --bin seeds -- corpus                 # what to start from: files the project makes,
//! tar -C corpus -xzf found/decoder.tar.gz                   # and what was found to reach further
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --no-trace-compares decoder -- -timeout=10 -rss_limit_mb=512 -max_len=16384
//! ```
//!
//! Four targets, built with AddressSanitizer, overflow checks and debug assertions:
//!
//! | target | takes | asserts |
//! | --- | --- | --- |
//! | `decoder` | any bytes | [`checks::decoder`]: sizes, memory, damage, the same on every processor |
//! | `structure` | a valid file with its markers, tables and scans [changed](damage) | the same |
//! | `render` | any bytes | [`checks::render`]: every rendition is read by two other decoders; memory |
//! | `simd` | sizes, samples, options | [`checks::simd`]: the portable code makes the same bytes |
//!
//! The last is there for the `unsafe` calls in the engine's `simd` modules: each leads to safe code that
//! is compiled for a newer processor, and the sanitizer watches it at every size.

#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/render/mod.rs"]
pub mod render;

pub mod checks;
pub mod damage;
