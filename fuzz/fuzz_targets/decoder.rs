//! Any bytes through the JPEG decoder; the last two say at which scales.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_fuzz::checks;

fuzz_target!(|data: &[u8]| {
    if let Some((bytes, pick)) = data.split_last_chunk() {
        checks::decoder(bytes, u16::from_le_bytes(*pick));
    }
});
