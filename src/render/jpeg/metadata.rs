//! What the segments before the picture say about it: orientation, colour profile, colour space.

use super::{Color, Component};

/// Profiles beyond this many bytes are ignored: real ones are 0.5 KB to 3 MB.
const MAX_ICC: usize = 8 << 20;
/// "ICC_PROFILE\0", then chunk number (from 1) and chunk count (ICC.1 B.4).
const ICC_TAG: &[u8] = b"ICC_PROFILE\0";
const EXIF_TAG: &[u8] = b"Exif\0";
/// Tag of the orientation in IFD 0, its value a SHORT (Exif 2.32, 4.6.4).
const EXIF_ORIENTATION: u16 = 0x0112;
const EXIF_SHORT: u16 = 3;

/// Orientation 1..=8 from an APP1 segment, none if it is not Exif or says nothing sensible.
pub(super) fn exif_orientation(app1: &[u8]) -> Option<u8> {
    let tiff = app1.strip_prefix(EXIF_TAG)?.get(1..)?;
    let big = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let pair = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let quad = *tiff.get(4..)?.first_chunk::<4>()?;
    let ifd = if big { u32::from_be_bytes(quad) } else { u32::from_le_bytes(quad) };
    let ifd = usize::try_from(ifd).ok()?;
    let entries = short(ifd)?;
    for entry in 0..usize::from(entries) {
        let at = ifd.checked_add(2 + entry * 12)?;
        if short(at)? == EXIF_ORIENTATION && short(at + 2)? == EXIF_SHORT {
            let value = short(at + 8)?;
            return u8::try_from(value).ok().filter(|value| (1..=8).contains(value));
        }
    }
    None
}

/// Puts a profile together from its APP2 chunks, which may come in any order.
#[derive(Debug, Default)]
pub(super) struct IccChunks<'a> {
    chunks: Vec<(u8, u8, &'a [u8])>,
}

impl<'a> IccChunks<'a> {
    pub(super) fn add(&mut self, app2: &'a [u8]) {
        if let Some([number, count, data @ ..]) = app2.strip_prefix(ICC_TAG)
            && self.chunks.len() < 256
        {
            self.chunks.push((*number, *count, data));
        }
    }

    /// The whole profile; an error if there is one that cannot be put together.
    pub(super) fn join(mut self) -> Result<Option<Vec<u8>>, &'static str> {
        if self.chunks.is_empty() {
            return Ok(None);
        }
        self.chunks.sort_by_key(|&(number, ..)| number);
        let total = self.chunks.len();
        let numbered = self.chunks.iter().zip(1usize..).all(|(&(number, count, _), expected)| {
            usize::from(number) == expected && usize::from(count) == total
        });
        let size: usize = self.chunks.iter().map(|(.., data)| data.len()).sum();
        if !numbered {
            return Err("its parts are not numbered from 1 on");
        }
        if size > MAX_ICC {
            return Err("it is longer than 8 MiB");
        }
        Ok(Some(self.chunks.iter().flat_map(|(.., data)| data.iter().copied()).collect()))
    }
}

/// The transform byte of an APP14 segment written by Adobe software (Adobe TN 5116, 18).
pub(super) fn adobe_transform(app14: &[u8]) -> Option<u8> {
    match app14 {
        [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..] => Some(*transform),
        _ => None,
    }
}

pub(super) fn is_jfif(app0: &[u8]) -> bool {
    app0.starts_with(b"JFIF\0") && app0.len() >= 14
}

/// The colour space, decided in libjpeg's order: JFIF, then Adobe, then the component ids.
pub(super) fn color(components: &[Component], jfif: bool, adobe: Option<u8>) -> Color {
    match components {
        [_] | [_, _] => Color::Gray,
        [a, b, c] => match (jfif, adobe) {
            (true, _) => Color::YCbCr,
            (false, Some(0)) => Color::Rgb,
            (false, Some(_)) => Color::YCbCr,
            (false, None) if [a.id, b.id, c.id] == *b"RGB" => Color::Rgb,
            (false, None) => Color::YCbCr,
        },
        // Adobe software stores inks inverted, whatever the transform; others do not.
        _ => match adobe {
            Some(0) => Color::Cmyk { inverted: true },
            Some(_) => Color::Ycck { inverted: true },
            None => Color::Cmyk { inverted: false },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exif(big: bool, value: u16) -> Vec<u8> {
        let two = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let mut out = b"Exif\0\0".to_vec();
        out.extend(if big { *b"MM\0*\0\0\0\x08" } else { *b"II*\0\x08\0\0\0" });
        out.extend(two(2));
        out.extend(two(0x010F));
        out.extend([0; 10]);
        out.extend(two(EXIF_ORIENTATION));
        out.extend(two(EXIF_SHORT));
        out.extend(if big { [0, 0, 0, 1] } else { [1, 0, 0, 0] });
        out.extend(two(value));
        out.extend([0; 2]);
        out
    }

    #[test]
    fn colours_are_told_by_jfif_then_adobe_then_the_names_of_the_components() {
        let of = |ids: &[u8], jfif, adobe| {
            let components: Vec<Component> =
                ids.iter().map(|&id| Component { id, h: 1, v: 1, tq: 0 }).collect();
            color(&components, jfif, adobe)
        };
        assert_eq!(of(&[1], false, Some(0)), Color::Gray);
        assert_eq!(of(b"RGB", false, None), Color::Rgb);
        assert_eq!(of(b"RGB", true, None), Color::YCbCr);
        assert_eq!(of(b"RGB", false, Some(1)), Color::YCbCr);
        assert_eq!(of(&[1, 2, 3], false, Some(0)), Color::Rgb);
        assert_eq!(of(&[1, 2, 3], true, Some(0)), Color::YCbCr);
        assert_eq!(of(&[0, 1, 2], false, None), Color::YCbCr);
        assert_eq!(of(&[1, 2, 3, 4], false, None), Color::Cmyk { inverted: false });
        assert_eq!(of(&[1, 2, 3, 4], true, Some(0)), Color::Cmyk { inverted: true });
        assert_eq!(of(&[1, 2, 3, 4], false, Some(2)), Color::Ycck { inverted: true });
    }

    #[test]
    fn orientation_is_read_in_both_byte_orders_and_only_when_it_makes_sense() {
        for big in [false, true] {
            assert_eq!(exif_orientation(&exif(big, 6)), Some(6));
            assert_eq!(exif_orientation(&exif(big, 0)), None);
            assert_eq!(exif_orientation(&exif(big, 9)), None);
        }
        let whole = exif(true, 8);
        for end in 0..whole.len() - 2 {
            assert_eq!(exif_orientation(&whole[..end]), None);
        }
    }

    #[test]
    fn a_profile_is_joined_in_order_and_dropped_when_a_chunk_is_missing() {
        let chunk = |number: u8, count: u8, data: &[u8]| [ICC_TAG, &[number, count], data].concat();
        let (one, two, wrong) = (chunk(1, 2, b"ab"), chunk(2, 2, b"cd"), chunk(2, 3, b"cd"));
        let join = |segments: &[&Vec<u8>]| {
            let mut chunks = IccChunks::default();
            segments.iter().for_each(|segment| chunks.add(segment));
            chunks.join()
        };
        assert_eq!(join(&[&two, &one]), Ok(Some(b"abcd".to_vec())));
        for parts in [&[&one][..], &[&one, &wrong], &[&one, &one]] {
            assert!(join(parts).is_err_and(|why| why.contains("numbered")), "{parts:?}");
        }
        assert_eq!(join(&[]), Ok(None));
    }
}
