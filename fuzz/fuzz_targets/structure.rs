//! A valid file with changed markers, tables and scans through the JPEG decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_fuzz::checks;
use longshore_fuzz::damage::Plan;

fuzz_target!(|plan: Plan| {
    checks::decoder(&plan.file(), plan.pick);
});
