//! Quantisation and Huffman tables as files define them (T.81 B.2.4).

use super::Error;
use super::markers::Marker;

/// Zigzag index to natural index (row * 8 + column), T.81 figure A.6.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The tables in force: up to four of each kind.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) quantisation: [Option<Quantisation>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
}

/// Divisors of the coefficients, in zigzag order.
pub(super) type Quantisation = [u16; 64];

/// A Huffman table as DHT has it: how many codes of each length, and their symbols in code order.
#[derive(Debug, Clone)]
pub(super) struct Huffman {
    /// `counts[n]`: codes of n + 1 bits. The codes fit in the code space (Kraft).
    pub(super) counts: [u8; 16],
    pub(super) symbols: Vec<u8>,
}

impl Tables {
    /// Huffman tables 0 and 1 start as the usual ones: MJPEG frames come without DHT.
    pub(super) fn new() -> Self {
        let standard = |(counts, symbols): (&[u8; 16], &[u8])| {
            Some(Huffman { counts: *counts, symbols: symbols.to_vec() })
        };
        Self {
            quantisation: [None; 4],
            dc: [standard(annex_k::LUMA_DC), standard(annex_k::CHROMA_DC), None, None],
            ac: [standard(annex_k::LUMA_AC), standard(annex_k::CHROMA_AC), None, None],
        }
    }

    /// Takes over a DQT segment (T.81 B.2.4.1): 8- or 16-bit elements.
    pub(super) fn define_quantisation(&mut self, marker: &Marker) -> Result<(), Error> {
        let corrupt = |what| Error::Corrupt { what, at: marker.at };
        let mut rest = marker.payload;
        while let [head, tail @ ..] = rest {
            let (wide, number) = (head >> 4, usize::from(head & 15));
            let slot =
                self.quantisation.get_mut(number).ok_or(corrupt("quantisation table number is over 3"))?;
            let mut table = [0; 64];
            rest = match wide {
                0 => {
                    let (elements, rest) =
                        tail.split_first_chunk::<64>().ok_or(corrupt("quantisation table is too short"))?;
                    table = elements.map(u16::from);
                    rest
                }
                1 => {
                    let (elements, rest) =
                        tail.split_first_chunk::<128>().ok_or(corrupt("quantisation table is too short"))?;
                    for (to, &pair) in table.iter_mut().zip(elements.as_chunks::<2>().0) {
                        *to = u16::from_be_bytes(pair);
                    }
                    rest
                }
                _ => return Err(corrupt("quantisation table precision is not 8 or 16 bits")),
            };
            *slot = Some(table);
        }
        Ok(())
    }

    /// Takes over a DHT segment (T.81 B.2.4.2).
    pub(super) fn define_huffman(&mut self, marker: &Marker) -> Result<(), Error> {
        let corrupt = |what| Error::Corrupt { what, at: marker.at };
        let mut rest = marker.payload;
        while let [head, tail @ ..] = rest {
            let (class, number) = (head >> 4, usize::from(head & 15));
            let class = match class {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(corrupt("Huffman table class is not 0 or 1")),
            };
            let slot = class.get_mut(number).ok_or(corrupt("Huffman table number is over 3"))?;
            let (counts, tail) =
                tail.split_first_chunk::<16>().ok_or(corrupt("Huffman table is too short"))?;
            let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let symbols = tail.get(..total).ok_or(corrupt("Huffman table is too short"))?;
            if total > 256 || !fits_code_space(counts) {
                return Err(corrupt("Huffman table has more codes than fit"));
            }
            if head >> 4 == 0 && symbols.iter().any(|&size| size > 15) {
                return Err(corrupt("Huffman table for DC has a size over 15"));
            }
            *slot = Some(Huffman { counts: *counts, symbols: symbols.to_vec() });
            rest = &tail[total..];
        }
        Ok(())
    }
}

fn fits_code_space(counts: &[u8; 16]) -> bool {
    let used: u32 = counts.iter().zip(1..).map(|(&count, bits)| u32::from(count) << (16 - bits)).sum();
    used <= 1 << 16
}

/// The usual Huffman tables (T.81 K.3.3): how many codes of each length, and the symbols.
mod annex_k {
    type Definition = (&'static [u8; 16], &'static [u8]);

    pub(super) const LUMA_DC: Definition =
        (&[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    pub(super) const CHROMA_DC: Definition =
        (&[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    pub(super) const LUMA_AC: Definition = (
        &[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D],
        &[
            0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
            0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0,
            0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28,
            0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
            0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
            0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
            0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7,
            0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5,
            0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
            0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8,
            0xF9, 0xFA,
        ],
    );
    pub(super) const CHROMA_AC: Definition = (
        &[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        &[
            0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
            0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0,
            0x15, 0x62, 0x72, 0xD1, 0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26,
            0x27, 0x28, 0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
            0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
            0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
            0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5,
            0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
            0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
            0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8,
            0xF9, 0xFA,
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(payload: &[u8]) -> Marker<'_> {
        Marker { code: 0, at: 0, payload, end: 0 }
    }

    #[test]
    fn zigzag_visits_every_coefficient_once() {
        let mut seen = [false; 64];
        ZIGZAG.iter().for_each(|&natural| seen[usize::from(natural)] = true);
        assert_eq!(seen, [true; 64]);
    }

    #[test]
    fn the_usual_tables_are_whole() {
        for (counts, symbols) in [annex_k::LUMA_DC, annex_k::CHROMA_DC, annex_k::LUMA_AC, annex_k::CHROMA_AC]
        {
            assert_eq!(counts.iter().map(|&count| usize::from(count)).sum::<usize>(), symbols.len());
            assert!(fits_code_space(counts));
        }
    }

    #[test]
    fn quantisation_elements_may_be_8_or_16_bits_wide() {
        let mut tables = Tables::new();
        let payload = [&[0x10][..], &[1, 2].repeat(64), &[0x03], &[9; 64]].concat();
        tables.define_quantisation(&marker(&payload)).unwrap();
        assert_eq!(tables.quantisation[0], Some([258; 64]));
        assert_eq!(tables.quantisation[3], Some([9; 64]));
        assert!(tables.define_quantisation(&marker(&[0x04; 65])).is_err());
        assert!(tables.define_quantisation(&marker(&[0x00; 64])).is_err());
    }

    #[test]
    fn huffman_tables_that_overflow_the_code_space_are_refused() {
        let mut tables = Tables::new();
        let mut payload = [0; 20];
        payload[1] = 3;
        assert!(tables.define_huffman(&marker(&payload)).is_err());
        payload[1] = 2;
        assert!(tables.define_huffman(&marker(&payload[..19])).is_ok());
    }
}
