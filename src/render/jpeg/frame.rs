//! The frame: size, components and how they are cut into blocks and MCUs (T.81 A.1, A.2, B.2.2).

use super::markers::{self, Marker};
use super::{Error, Unsupported};

/// T.81 B.2.3: an interleaved MCU has at most ten blocks. libjpeg holds files to it too.
pub(super) const MAX_BLOCKS_IN_MCU: usize = 10;

/// One component of the picture, as the frame header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    pub id: u8,
    /// Horizontal sampling factor, 1..=4.
    pub h: u8,
    /// Vertical sampling factor, 1..=4.
    pub v: u8,
    /// Which quantisation table, 0..=3.
    pub tq: u8,
}

/// How the picture data is coded. All three are Huffman with 8-bit samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Baseline,
    Extended,
    Progressive,
}

/// Size, components and geometry of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) coding: Coding,
    pub(super) components: Vec<Component>,
    pub(super) h_max: u8,
    pub(super) v_max: u8,
}

impl Frame {
    /// Reads a SOFn segment (T.81 B.2.2), or names the kind of frame that is not read here.
    pub(super) fn parse(marker: &Marker) -> Result<Self, Error> {
        let corrupt = |what| Error::Corrupt { what, at: marker.at };
        let coding = match marker.code {
            markers::SOF0_BASELINE => Coding::Baseline,
            markers::SOF1_EXTENDED => Coding::Extended,
            markers::SOF2_PROGRESSIVE => Coding::Progressive,
            0xC3 | 0xC7 | 0xCB | 0xCF => return Err(Error::Unsupported(Unsupported::Lossless)),
            0xC9 | 0xCA => return Err(Error::Unsupported(Unsupported::Arithmetic)),
            _ => return Err(Error::Unsupported(Unsupported::Hierarchical)),
        };
        let [precision, y1, y0, x1, x0, count, rest @ ..] = marker.payload else {
            return Err(corrupt("frame header is too short"));
        };
        let height = u32::from(u16::from_be_bytes([*y1, *y0]));
        let width = u32::from(u16::from_be_bytes([*x1, *x0]));
        match precision {
            8 => {}
            12 => return Err(Error::Unsupported(Unsupported::TwelveBit)),
            &other => return Err(Error::Unsupported(Unsupported::Precision(other))),
        }
        if height == 0 {
            return Err(corrupt("frame height is 0 (left to a DNL marker)"));
        }
        if width == 0 {
            return Err(corrupt("frame width is 0"));
        }
        if !(1..=4).contains(count) {
            return Err(Error::Unsupported(Unsupported::Components(*count)));
        }
        if rest.len() != usize::from(*count) * 3 {
            return Err(corrupt("frame header length does not fit its components"));
        }
        let mut components: Vec<Component> = Vec::with_capacity(4);
        for &[id, sampling, tq] in rest.as_chunks::<3>().0 {
            let (h, v) = (sampling >> 4, sampling & 15);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(corrupt("sampling factor is not 1 to 4"));
            }
            if tq > 3 {
                return Err(corrupt("quantisation table number is over 3"));
            }
            if components.iter().any(|other| other.id == id) {
                return Err(corrupt("two components have one id"));
            }
            components.push(Component { id, h, v, tq });
        }
        let h_max = components.iter().map(|c| c.h).max().unwrap_or(1);
        let v_max = components.iter().map(|c| c.v).max().unwrap_or(1);
        Ok(Self { width, height, coding, components, h_max, v_max })
    }

    /// MCUs across and down an interleaved scan.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let count = |size: u32, max: u8| size.div_ceil(8 * u32::from(max)) as usize;
        (count(self.width, self.h_max), count(self.height, self.v_max))
    }

    /// Blocks across and down that hold samples of a component: what a scan of it alone codes.
    pub(super) fn blocks(&self, component: &Component) -> (usize, usize) {
        let (width, height) = self.scaled_size(component, 8);
        (width.div_ceil(8), height.div_ceil(8))
    }

    /// Blocks across and down with those that only fill up MCUs: what an interleaved scan codes.
    pub(super) fn padded_blocks(&self, component: &Component) -> (usize, usize) {
        let (across, down) = self.mcus();
        (across * usize::from(component.h), down * usize::from(component.v))
    }

    /// Samples across and down a component at `scale`/8: ⌈width · h · scale / (h_max · 8)⌉ and alike,
    /// rounded once, as libjpeg does.
    pub(super) fn scaled_size(&self, component: &Component, scale: u8) -> (usize, usize) {
        let size = |size: u32, factor: u8, max: u8| {
            (size * u32::from(factor) * u32::from(scale)).div_ceil(u32::from(max) * 8) as usize
        };
        (size(self.width, component.h, self.h_max), size(self.height, component.v, self.v_max))
    }
}

pub(super) fn is_frame(code: u8) -> bool {
    (0xC0..=0xCF).contains(&code) && ![markers::DHT, markers::JPG, markers::DAC].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(code: u8, payload: &[u8]) -> Result<Frame, Error> {
        Frame::parse(&Marker { code, at: 0, payload, end: 0 })
    }

    #[test]
    fn sizes_are_rounded_up_once() {
        let frame = parse(0xC0, &[8, 0, 17, 0, 21, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]).unwrap();
        assert_eq!(frame.mcus(), (2, 2));
        let chroma = frame.components[1];
        assert_eq!(frame.scaled_size(&chroma, 8), (11, 9));
        assert_eq!(frame.scaled_size(&chroma, 3), (4, 4)); // 63/16 and 51/16
        assert_eq!(frame.blocks(&frame.components[0]), (3, 3));
        assert_eq!(frame.padded_blocks(&frame.components[0]), (4, 4));
    }

    #[test]
    fn frames_not_read_here_are_refused_by_name() {
        let gray = [8, 0, 1, 0, 1, 1, 1, 0x11, 0];
        let refusal = |code, payload: &[u8]| match parse(code, payload) {
            Err(Error::Unsupported(kind)) => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(0xC3, &gray), Unsupported::Lossless);
        assert_eq!(refusal(0xC9, &gray), Unsupported::Arithmetic);
        assert_eq!(refusal(0xC5, &gray), Unsupported::Hierarchical);
        assert_eq!(refusal(0xC1, &[12, 0, 1, 0, 1, 1, 1, 0x11, 0]), Unsupported::TwelveBit);
        assert_eq!(refusal(0xC0, &[8, 0, 1, 0, 1, 5]), Unsupported::Components(5));
        assert!(matches!(parse(0xC0, &[8, 0, 0, 0, 1, 1, 1, 0x11, 0]), Err(Error::Corrupt { .. })));
    }
}
