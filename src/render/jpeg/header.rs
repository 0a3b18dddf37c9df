//! Everything a file says before its picture data, and every reason to refuse it there.

use super::frame::{self, Coding, Component, Frame};
use super::markers::{self, Markers};
use super::metadata::{self, IccChunks};
use super::{Error, Limits};

/// What a picture is, before any of it is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    /// In the order of the frame header: 1 to 4.
    pub components: Vec<Component>,
    pub coding: Coding,
    /// Exif orientation, 1..=8; 1 when the file says nothing or nonsense.
    pub orientation: u8,
    /// The ICC profile, none when there is none or its chunks do not fit together.
    pub icc: Option<Vec<u8>>,
    /// Why there is none, though the file has parts of one.
    pub icc_unusable: Option<&'static str>,
    pub color: Color,
    /// Scans in the file, those of a sequential picture up to the one that holds every component.
    pub scans: u32,
    /// The first scan holds every component: in a sequential picture it is the only one that counts.
    pub interleaved: bool,
    pub(super) frame: Frame,
}

impl Header {
    /// Samples across and down a component at `scale`/8: ⌈width · h · scale / (h_max · 8)⌉ by
    /// ⌈height · v · scale / (v_max · 8)⌉, as libjpeg's.
    pub fn plane_size(&self, component: usize, scale: u8) -> (usize, usize) {
        self.frame.scaled_size(&self.components[component], scale)
    }
}

/// What the components mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// The first component is luminance. A second one, which no standard explains, can be ignored.
    Gray,
    YCbCr,
    Rgb,
    /// Inverted: 255 is no ink.
    Cmyk {
        inverted: bool,
    },
    /// The first three are YCbCr of CMY.
    Ycck {
        inverted: bool,
    },
}

/// Reads everything up to the picture data, and walks through the rest only to count scans.
///
/// Pictures that will not be decoded are refused here; nothing large is allocated.
pub fn read_header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let mut markers = Markers::open(bytes)?;
    let mut frame: Option<Frame> = None;
    let (mut orientation, mut icc, mut jfif, mut adobe) = (None, IccChunks::default(), false, None);
    let (scans, interleaved) = loop {
        let at = markers.at;
        let marker = match markers.next() {
            Ok(Some(marker)) => marker,
            Ok(None) => return Err(Error::Corrupt { what: "file ends before its picture data", at }),
            // Without picture data there is nothing to be had from a file, however it is cut.
            Err(Error::Truncated { what, at }) => return Err(Error::Corrupt { what, at }),
            Err(error) => return Err(error),
        };
        match marker.code {
            markers::APP0 => jfif |= metadata::is_jfif(marker.payload),
            markers::APP1 => orientation = orientation.or(metadata::exif_orientation(marker.payload)),
            markers::APP2 => icc.add(marker.payload),
            markers::APP14 => adobe = adobe.or(metadata::adobe_transform(marker.payload)),
            markers::DHP => return Err(Error::Unsupported(super::Unsupported::Hierarchical)),
            markers::EOI => {
                return Err(Error::Corrupt { what: "picture ends before its data", at: marker.at });
            }
            markers::SOS => match &frame {
                Some(frame) => {
                    let count = frame.components.len();
                    let whole = marker.payload.first().is_some_and(|&parts| usize::from(parts) == count);
                    let only = whole && frame.coding != Coding::Progressive;
                    break (count_scans(bytes, &marker, only, limits)?, whole);
                }
                None => {
                    return Err(Error::Corrupt { what: "scan comes before the frame header", at: marker.at });
                }
            },
            code if frame::is_frame(code) => {
                if frame.is_some() {
                    return Err(Error::Corrupt { what: "second frame header", at: marker.at });
                }
                frame = Some(check_pixels(Frame::parse(&marker)?, limits)?);
            }
            _ => {}
        }
    };
    let Some(frame) = frame else {
        return Err(Error::Corrupt { what: "no frame header", at: markers.at });
    };
    let (icc, icc_unusable) = match icc.join() {
        Ok(icc) => (icc, None),
        Err(why) => (None, Some(why)),
    };
    Ok(Header {
        width: frame.width,
        height: frame.height,
        components: frame.components.clone(),
        coding: frame.coding,
        orientation: orientation.unwrap_or(1),
        icc,
        icc_unusable,
        color: metadata::color(&frame.components, jfif, adobe),
        scans,
        interleaved,
        frame,
    })
}

fn check_pixels(frame: Frame, limits: &Limits) -> Result<Frame, Error> {
    let Frame { width, height, .. } = frame;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(Error::PixelLimit { width, height, pixels, max: limits.max_pixels });
    }
    Ok(frame)
}

/// Counts scans from the first one on, if it is not the only one, to the end of the picture or the limit.
fn count_scans(bytes: &[u8], first: &markers::Marker, only: bool, limits: &Limits) -> Result<u32, Error> {
    let mut scans = 1;
    let mut from = first.end;
    let over = |scans| Error::ScanLimit { scans, max: limits.max_scans };
    if scans > limits.max_scans {
        return Err(over(scans));
    }
    if only {
        return Ok(scans);
    }
    let mut markers = Markers::open(bytes)?;
    while let Some(code) = markers::find_end_of_scan(bytes, from) {
        markers.at = code - 1;
        match markers.next() {
            Ok(Some(marker)) if marker.code == markers::EOI => break,
            Ok(Some(marker)) => {
                scans += u32::from(marker.code == markers::SOS);
                from = marker.end;
            }
            // A cut or broken segment: decoding will find it again and say so.
            Ok(None) | Err(_) => break,
        }
        if scans > limits.max_scans {
            return Err(over(scans));
        }
    }
    Ok(scans)
}
