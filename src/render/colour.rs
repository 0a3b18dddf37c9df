//! Colours: ICC profiles and inks to sRGB.

use moxcms::{ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, TransformOptions};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::Arc;

/// What becomes of a picture's ICC profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IccMode {
    /// Colours are converted to sRGB and the profile is dropped: right on every screen.
    #[default]
    Srgb,
    /// Colours stay as they are and the profile is written into every rendition.
    Keep,
}

/// What the samples of a picture mean before conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    Gray,
    Rgb,
    /// Ink amounts: 255 is full ink.
    Cmyk,
}

impl Space {
    fn of_profile(self) -> DataColorSpace {
        match self {
            Self::Gray => DataColorSpace::Gray,
            Self::Rgb => DataColorSpace::Rgb,
            Self::Cmyk => DataColorSpace::Cmyk,
        }
    }

    fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }
}

/// Turns samples of one space, interleaved, into sRGB (gray into gray).
#[derive(Clone)]
pub struct Conversion {
    space: Space,
    transform: Arc<Transform8BitExecutor>,
}

impl Conversion {
    fn new(profile: &[u8], space: Space) -> Result<Self, String> {
        let profile = usable(profile, space)?;
        let layout = match space {
            Space::Gray => Layout::Gray,
            Space::Rgb => Layout::Rgb,
            // moxcms has one name for every layout of four channels.
            Space::Cmyk => Layout::Rgba,
        };
        let transform = profile
            .create_transform_8bit(
                layout,
                &ColorProfile::new_srgb(),
                Layout::Rgb,
                TransformOptions::default(),
            )
            .map_err(|e| e.to_string())?;
        Ok(Self { space, transform })
    }

    /// One sample a pixel for gray, three for the others.
    pub fn apply(&self, samples: &[u8]) -> Vec<u8> {
        let mut rgb = vec![0; samples.len() / self.space.channels() * 3];
        self.transform.transform(samples, &mut rgb).expect("both slices hold the same number of pixels");
        // Gray stays gray: the three channels of a gray in sRGB are equal.
        if self.space == Space::Gray { rgb.chunks_exact(3).map(|p| p[1]).collect() } else { rgb }
    }

    /// Whether it changes next to nothing, as for the many profiles that are sRGB by another name.
    fn is_identity(&self) -> bool {
        const STEPS: u8 = 9;
        const SEEN: u8 = 2;
        let level = |n: u8| u8::try_from(u32::from(n) * 255 / u32::from(STEPS - 1)).expect("at most 255");
        let samples: Vec<u8> = match self.space {
            Space::Cmyk => return false,
            Space::Gray => (0..=255).collect(),
            Space::Rgb => (0..STEPS)
                .flat_map(|r| (0..STEPS).flat_map(move |g| (0..STEPS).flat_map(move |b| [r, g, b])))
                .map(level)
                .collect(),
        };
        self.apply(&samples).iter().zip(&samples).all(|(a, b)| a.abs_diff(*b) <= SEEN)
    }
}

/// Conversions made before, by profile: the same camera sends the same profile again and again, and
/// making the transform costs more than applying it.
#[derive(Default)]
pub struct Profiles {
    known: VecDeque<Known>,
}

struct Known {
    digest: [u8; 32],
    space: Space,
    made: Result<Option<Conversion>, String>,
}

const PROFILES_KEPT: usize = 8;

impl Profiles {
    /// None: the profile is sRGB as far as anyone can see. Err says why it cannot be used.
    pub fn conversion(&mut self, profile: &[u8], space: Space) -> Result<Option<Conversion>, String> {
        let digest: [u8; 32] = Sha256::digest(profile).into();
        if let Some(known) = self.known.iter().find(|k| k.digest == digest && k.space == space) {
            return known.made.clone();
        }
        let made = Conversion::new(profile, space).map(|c| if c.is_identity() { None } else { Some(c) });
        if self.known.len() == PROFILES_KEPT {
            self.known.pop_front();
        }
        self.known.push_back(Known { digest, space, made: made.clone() });
        made
    }
}

/// Whether a profile is one, and speaks of as many channels as the picture has.
pub fn is_usable(profile: &[u8], channels: u8) -> bool {
    usable(profile, if channels == 1 { Space::Gray } else { Space::Rgb }).is_ok()
}

fn usable(profile: &[u8], space: Space) -> Result<ColorProfile, String> {
    let profile = ColorProfile::new_from_slice(profile).map_err(|e| e.to_string())?;
    if profile.color_space != space.of_profile() {
        return Err(format!("it is for {:?} pictures, this one is {space:?}", profile.color_space));
    }
    Ok(profile)
}

/// Inks without a profile: what each lets through, multiplied.
pub fn inks_to_srgb(cmyk: &[u8]) -> Vec<u8> {
    let through = |ink: u8, black: u8| {
        let product = u32::from(255 - ink) * u32::from(255 - black);
        u8::try_from((product + 127) / 255).expect("a product of two parts of 255")
    };
    cmyk.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|i| through(p[i], p[3]))).collect()
}
