//! Huffman tables: the standard ones, the best ones for given counts, and the codes they define.

/// A table as a DHT segment carries it (T.81 B.2.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// How many codes are 1 bit long, 2 bits long, ... 16 bits long.
    pub counts: [u8; 16],
    /// The symbols by ascending code.
    pub symbols: Vec<u8>,
}

/// T.81 K.3.3.1, tables K.3 and K.4: differences of DC coefficients, luminance and chrominance.
const DC_COUNTS: [[u8; 16]; 2] =
    [[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]];

/// T.81 K.3.3.2, tables K.5 and K.6: runs and AC coefficients, luminance and chrominance.
const AC_COUNTS: [[u8; 16]; 2] = [
    [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D],
    [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
];

#[rustfmt::skip]
const AC_SYMBOLS: [[u8; 162]; 2] = [
    [
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
    [
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
];

impl Table {
    pub fn standard_dc(chroma: bool) -> Self {
        Self { counts: DC_COUNTS[usize::from(chroma)], symbols: (0..12).collect() }
    }

    pub fn standard_ac(chroma: bool) -> Self {
        let chroma = usize::from(chroma);
        Self { counts: AC_COUNTS[chroma], symbols: AC_SYMBOLS[chroma].to_vec() }
    }

    /// The shortest table for symbols that occur so often (T.81 K.2).
    pub fn best(occurrences: &[u64; 256]) -> Self {
        let mut symbols: Vec<u8> = (0..=255).filter(|&s| occurrences[usize::from(s)] > 0).collect();
        symbols.sort_by_key(|&symbol| std::cmp::Reverse(occurrences[usize::from(symbol)]));
        // One more than is used, and the longest of all: no code may be all ones (T.81 C).
        let mut weights = vec![1];
        weights.extend(symbols.iter().rev().map(|&symbol| occurrences[usize::from(symbol)]));
        let mut counts = limited(depths(&weights));
        let longest = counts.iter().rposition(|&count| count > 0).expect("there is a weight");
        counts[longest] -= 1;
        Self { counts: counts.map(|count| count as u8), symbols }
    }

    /// The code of each symbol, and its length in bits (0: it has none).
    pub fn codes(&self) -> [(u16, u8); 256] {
        let mut codes = [(0, 0); 256];
        let mut symbols = self.symbols.iter();
        let mut next: u32 = 0;
        for (length, &count) in (1..).zip(&self.counts) {
            for &symbol in symbols.by_ref().take(usize::from(count)) {
                codes[usize::from(symbol)] = (next as u16, length);
                next += 1;
            }
            next <<= 1;
        }
        codes
    }
}

/// How many leaves of a Huffman tree are how deep (1, 2, ...), for weights in ascending order.
fn depths(weights: &[u64]) -> Vec<usize> {
    // Leaves and inner nodes are each in ascending order, so the two lightest are at their fronts.
    let (mut leaf, mut inner) = (0, 0);
    let mut parent = vec![0; 2 * weights.len() - 1];
    let mut weight = weights.to_vec();
    while weight.len() < parent.len() {
        let mut sum = 0;
        let new = weight.len();
        for _ in 0..2 {
            let at = weights.len() + inner;
            let lightest = if leaf < weights.len() && (at >= new || weights[leaf] <= weight[at]) {
                leaf += 1;
                leaf - 1
            } else {
                inner += 1;
                at
            };
            parent[lightest] = new;
            sum += weight[lightest];
        }
        weight.push(sum);
    }
    let mut depth = vec![0; parent.len()];
    let mut counts = vec![0; parent.len().max(16)];
    for node in (0..parent.len() - 1).rev() {
        depth[node] = depth[parent[node]] + 1;
        if node < weights.len() {
            counts[depth[node] - 1] += 1;
        }
    }
    // A lone leaf is its tree's root; a code needs a bit.
    if weights.len() == 1 {
        counts[0] = 1;
    }
    counts
}

/// No code longer than 16 bits: T.81 figure K.3.
fn limited(mut counts: Vec<usize>) -> [usize; 16] {
    for length in (16..counts.len()).rev() {
        while counts[length] > 0 {
            // Of two deepest siblings one takes their parent's place, the other joins a shorter leaf.
            let shorter = (0..length - 1).rev().find(|&at| counts[at] > 0).expect("a shallower leaf");
            counts[length] -= 2;
            counts[length - 1] += 1;
            counts[shorter] -= 1;
            counts[shorter + 1] += 2;
        }
    }
    std::array::from_fn(|nth| counts[nth])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_standard_tables_are_those_printed() {
        // T.81 tables K.3, K.5 and K.6.
        assert_eq!(Table::standard_dc(false).codes()[11], (0b1_1111_1110, 9));
        let luma = Table::standard_ac(false).codes();
        assert_eq!((luma[0x00], luma[0xF0]), ((0b1010, 4), (0b111_1111_1001, 11)));
        assert_eq!(luma[0xFA], (0xFFFE, 16));
        assert_eq!(Table::standard_ac(true).codes()[0x11], (0b1011, 4));
    }

    #[test]
    fn the_best_table_is_complete_but_for_one_code_and_never_over_16_bits() {
        // Fibonacci numbers make the deepest tree.
        let mut occurrences = [0; 256];
        let (mut a, mut b) = (1, 1);
        for count in occurrences.iter_mut().take(60) {
            *count = a;
            (a, b) = (b, a + b);
        }
        for used in [1, 2, 3, 20, 60] {
            let mut some = [0; 256];
            some[..used].copy_from_slice(&occurrences[..used]);
            let table = Table::best(&some);
            assert_eq!(table.counts.iter().map(|&c| usize::from(c)).sum::<usize>(), used);
            let space: u32 = (0..16).map(|n| u32::from(table.counts[n]) << (15 - n)).sum();
            assert!(space < 1 << 16, "{used} symbols leave no code of ones");
            let codes = table.codes();
            assert!(used < 20 || codes[used - 1].1 < codes[0].1, "what is frequent is short");
            assert!(codes.iter().all(|&(code, length)| length == 0 || u32::from(code) + 1 < 1 << length));
        }
    }
}
