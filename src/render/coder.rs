//! Pixels to JPEG bytes.

use super::pixels::Pixels;
use super::spec::{Spec, Subsampling};
use crate::error::{Reason, Rejection};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

pub fn encode(pixels: &Pixels, spec: &Spec, icc: Option<&[u8]>) -> Result<Vec<u8>, Rejection> {
    let fault = |e: &dyn std::fmt::Display| Rejection::new(Reason::EngineFault, format!("cannot code: {e}"));
    let mut bytes = Vec::with_capacity(pixels.samples.len() / 8 + 1024);
    let mut encoder = Encoder::new(&mut bytes, spec.quality);
    encoder.set_sampling_factor(match spec.subsampling {
        Subsampling::S444 => SamplingFactor::F_1_1,
        Subsampling::S422 => SamplingFactor::F_2_1,
        Subsampling::S420 => SamplingFactor::F_2_2,
    });
    // The crate's default keeps one sample of four and drops the rest.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.set_progressive(spec.progressive);
    encoder.set_optimized_huffman_tables(spec.optimized);
    if let Some(icc) = icc {
        encoder.add_icc_profile(icc).map_err(|e| fault(&e))?;
    }
    let side = |n: u32| u16::try_from(n).map_err(|e| fault(&e));
    let colour = if pixels.channels == 1 { ColorType::Luma } else { ColorType::Rgb };
    encoder
        .encode(&pixels.samples, side(pixels.width)?, side(pixels.height)?, colour)
        .map_err(|e| fault(&e))?;
    Ok(bytes)
}
