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

/// What is said of a profile that is not used.
pub fn ignored(why: impl std::fmt::Display) -> String {
    format!("colour profile ignored: {why}")
}

/// The profile to write into renditions of this space; one that is no profile, or for other colours, is left
/// out with a note.
pub fn kept(profile: Option<&[u8]>, space: Space, mode: IccMode, notes: &mut Vec<String>) -> Option<Vec<u8>> {
    let profile = profile.filter(|_| mode == IccMode::Keep)?;
    match usable(profile, space) {
        Ok(_) => Some(profile.to_vec()),
        Err(why) => {
            notes.push(ignored(why));
            None
        }
    }
}

fn usable(profile: &[u8], space: Space) -> Result<ColorProfile, String> {
    let profile = ColorProfile::new_from_slice(profile).map_err(|e| e.to_string())?;
    if profile.color_space != space.of_profile() {
        return Err(format!("it is for {:?} pictures, this one is {space:?}", profile.color_space));
    }
    Ok(profile)
}

/// What paper shows, in sRGB, under each combination of no ink, half (128) and full, at
/// `((cyan * 3 + magenta) * 3 + yellow) * 3 + black`. Web offset by the SWOP standard (CGATS TR 001),
/// relative colorimetry with black point compensation.
#[rustfmt::skip]
const OVERPRINTS: [[u8; 3]; 81] = [
    [255, 255, 255], [147, 149, 152], [35, 31, 32],
    [255, 247, 153], [149, 144, 90], [30, 27, 0],
    [255, 242, 0], [150, 141, 0], [27, 25, 0],
    [244, 154, 193], [143, 88, 115], [35, 0, 7],
    [246, 150, 121], [143, 86, 69], [33, 0, 0],
    [247, 147, 29], [143, 85, 0], [32, 0, 0],
    [236, 0, 140], [140, 0, 81], [35, 0, 0],
    [237, 19, 90], [139, 0, 47], [35, 0, 0],
    [237, 28, 36], [139, 2, 3], [34, 0, 0],
    [109, 207, 246], [61, 123, 147], [0, 21, 34],
    [129, 201, 156], [71, 120, 92], [0, 21, 3],
    [140, 198, 63], [75, 117, 32], [0, 21, 0],
    [135, 129, 189], [79, 75, 114], [0, 0, 15],
    [143, 128, 124], [82, 74, 72], [0, 0, 0],
    [147, 126, 58], [83, 73, 24], [0, 0, 0],
    [145, 38, 143], [86, 0, 84], [6, 0, 0],
    [148, 44, 96], [86, 7, 52], [2, 0, 0],
    [150, 46, 51], [86, 14, 16], [1, 0, 0],
    [0, 174, 239], [0, 104, 144], [0, 14, 35],
    [0, 169, 156], [0, 102, 94], [0, 17, 6],
    [0, 166, 80], [0, 101, 46], [0, 18, 0],
    [0, 113, 188], [0, 64, 113], [0, 0, 18],
    [0, 112, 126], [0, 64, 73], [0, 0, 0],
    [0, 111, 69], [0, 63, 34], [0, 0, 0],
    [46, 48, 146], [20, 8, 88], [0, 0, 1],
    [52, 52, 101], [21, 16, 56], [0, 0, 0],
    [54, 54, 57], [23, 19, 23], [0, 0, 0],
];

/// Inks without a profile, as the web offset of the table would print them: cells of combinations,
/// each blended by the shares of paper that its inks cover (the cellular form of H. E. J. Neugebauer's
/// equations of 1937).
pub fn inks_to_srgb(cmyk: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(cmyk.len() / 4 * 3);
    for inks in cmyk.chunks_exact(4) {
        // The lowest corner of the cell, and how far into it each ink is, of 256.
        let (mut corner, mut shares) = (0, [0_u32; 4]);
        for (share, &ink) in shares.iter_mut().zip(inks) {
            let ink = u32::from(ink);
            corner = corner * 3 + usize::from(ink >= 128);
            *share = if ink < 128 { ink * 2 } else { (ink - 128) * 256 / 127 };
        }
        rgb.extend([0, 1, 2].map(|channel: usize| {
            // Corner b of the cell: bit 0 is one step of black more, bit 3 one of cyan.
            let mut shown: [u32; 16] = std::array::from_fn(|b| {
                let step = [1, 3, 9, 27].iter().enumerate().map(|(bit, step)| (b >> bit & 1) * step);
                u32::from(OVERPRINTS[corner + step.sum::<usize>()][channel]) << 8
            });
            let mut count = 16;
            for share in shares {
                count /= 2;
                let (bare, covered) = shown.split_at_mut(count);
                for (bare, covered) in bare.iter_mut().zip(covered) {
                    *bare = (*bare * (256 - share) + *covered * share) >> 8;
                }
            }
            u8::try_from((shown[0] + 128) >> 8).unwrap_or(u8::MAX)
        }));
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inks_without_a_profile_show_each_combination_of_the_table() {
        for (at, shown) in OVERPRINTS.iter().enumerate() {
            let inks = [27, 9, 3, 1].map(|step| [0, 128, 255][at / step % 3]);
            assert_eq!(inks_to_srgb(&inks), shown, "{inks:?}");
        }
        assert_eq!(inks_to_srgb(&[0; 4]), [255; 3], "bare paper is white");
        let quarter = inks_to_srgb(&[0, 0, 0, 64]);
        assert!(quarter.iter().all(|s| (195..212).contains(s)), "{quarter:?}");
    }

    #[test]
    fn a_profile_that_is_srgb_needs_no_conversion() {
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        let mut profiles = Profiles::default();
        assert!(profiles.conversion(&srgb, Space::Rgb).unwrap().is_none());
        assert!(profiles.conversion(&p3, Space::Rgb).unwrap().is_some());
        assert!(profiles.conversion(&p3, Space::Cmyk).is_err_and(|why| why.contains("Cmyk")));
        assert!(profiles.conversion(&[0; 200], Space::Rgb).is_err());
    }
}
