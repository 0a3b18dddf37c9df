//! Any bytes through the whole engine; the last two say with which settings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_fuzz::checks;

fuzz_target!(|data: &[u8]| {
    if let Some((bytes, pick)) = data.split_last_chunk() {
        checks::render(bytes, u16::from_le_bytes(*pick));
    }
});
