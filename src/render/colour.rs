//! Colours: ICC profiles to sRGB.

use super::pixels::Pixels;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// What becomes of a picture's ICC profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IccMode {
    /// Colours are converted to sRGB and the profile is dropped: right on every screen.
    #[default]
    Srgb,
    /// Colours stay as they are and the profile is written into every rendition.
    Keep,
}

/// Converts pixels to sRGB. Err says why the profile cannot be used.
pub fn to_srgb(pixels: &Pixels, profile: &[u8]) -> Result<Pixels, String> {
    let profile = usable(profile, pixels.channels)?;
    let layout = if pixels.channels == 1 { Layout::Gray } else { Layout::Rgb };
    let transform = profile
        .create_transform_8bit(layout, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default())
        .map_err(|e| e.to_string())?;
    let mut rgb = vec![0; pixels.width as usize * pixels.height as usize * 3];
    transform.transform(&pixels.samples, &mut rgb).map_err(|e| e.to_string())?;
    // Gray stays gray: the three channels of a gray in sRGB are equal.
    let samples = if pixels.channels == 1 { rgb.chunks_exact(3).map(|p| p[1]).collect() } else { rgb };
    Ok(Pixels { samples, ..*pixels })
}

/// Whether a profile is one, and speaks of as many channels as the picture has.
pub fn is_usable(profile: &[u8], channels: u8) -> bool {
    usable(profile, channels).is_ok()
}

fn usable(profile: &[u8], channels: u8) -> Result<ColorProfile, String> {
    let profile = ColorProfile::new_from_slice(profile).map_err(|e| e.to_string())?;
    let wanted = if channels == 1 { DataColorSpace::Gray } else { DataColorSpace::Rgb };
    if profile.color_space != wanted {
        return Err(format!("it is for {:?} pictures, this one is {wanted:?}", profile.color_space));
    }
    Ok(profile)
}
