//! The one place that knows of processor features: runs the hot loops compiled for a newer processor.
//!
//! A [`Work`] is ordinary safe code, inlined into a function compiled with more features, where the
//! compiler vectorises with 256-bit registers and uses three-operand shifts and bit counts. There is
//! no other version of the source, and no floating-point contraction: results are the same bit for bit.

#[cfg(target_arch = "x86_64")]
use super::super::processor;

/// A loop worth compiling twice. `run` and what it calls in its loops must be `#[inline(always)]`:
/// a function that is not inlined stays at the baseline.
pub(super) trait Work {
    type Output;
    fn run(self) -> Self::Output;
}

/// Runs `work` with the best features this processor has.
pub(super) fn fastest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if processor::has_v3() {
        // SAFETY: `v3` needs only the features just found.
        #[expect(unsafe_code, reason = "the one call from the baseline to newer features")]
        return unsafe { v3(work) };
    }
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn v3<W: Work>(work: W) -> W::Output {
    work.run()
}
