//! JPEG files made from random coefficients, for tests and fuzzing: any sampling, any progression, restarts.

/// Which components share a scan, in sequential files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scans {
    Interleaved,
    Apart,
    /// The first alone, then the others interleaved.
    FirstApart,
}

/// How a fixture is made.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub width: usize,
    pub height: usize,
    /// Sampling factors of the components.
    pub sampling: Vec<(usize, usize)>,
    pub progressive: bool,
    pub scans: Scans,
    /// MCUs between restart markers, 0 for none.
    pub interval: usize,
    pub seed: u64,
}

/// A block's coefficients in zigzag order.
type Block = [i16; 64];

/// A file, and the coefficients in it.
pub struct Made {
    pub bytes: Vec<u8>,
    /// For each component: blocks to a row, and the blocks.
    pub components: Vec<(usize, Vec<Block>)>,
}

/// One quantisation table for all.
pub(super) const DIVISORS: [u16; 64] = [3; 64];

/// Codes of 2 to 5 bits for ten usual symbols, of 11 for all others.
const COUNTS: [u8; 16] = [0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 246, 0, 0, 0, 0, 0];

fn symbols() -> Vec<u8> {
    let mut symbols = vec![0x01, 0x00, 0x02, 0x11, 0x03, 0x21, 0x10, 0x04, 0xF0, 0x12];
    symbols
        .extend((0..=255).filter(|symbol| ![1, 0, 2, 0x11, 3, 0x21, 0x10, 4, 0xF0, 0x12].contains(symbol)));
    symbols
}

/// Sizes of DC differences, all of 4 bits.
const DC_COUNTS: [u8; 16] = [0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    bits: u64,
    count: u32,
    codes: Vec<(u32, u32)>,
}

impl Writer {
    fn new() -> Self {
        let mut codes = vec![(0, 0); 256];
        let (mut code, symbols) = (0u32, symbols());
        let mut next = symbols.iter();
        for (length, &count) in (1..).zip(&COUNTS) {
            for &symbol in next.by_ref().take(usize::from(count)) {
                codes[usize::from(symbol)] = (code, length);
                code += 1;
            }
            code <<= 1;
        }
        Self { codes, ..Self::default() }
    }

    fn segment(&mut self, code: u8, payload: &[u8]) {
        self.bytes.extend([0xFF, code]);
        self.bytes.extend(((payload.len() + 2) as u16).to_be_bytes());
        self.bytes.extend(payload);
    }

    fn put(&mut self, value: u32, bits: u32) {
        self.bits = self.bits << bits | u64::from(value) & ((1 << bits) - 1);
        self.count += bits;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.bits >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    fn align(&mut self) {
        let pad = (8 - self.count % 8) % 8;
        self.put((1 << pad) - 1, pad);
    }

    fn symbol(&mut self, symbol: usize) {
        let (code, length) = self.codes[symbol];
        self.put(code, length);
    }

    fn value(&mut self, value: i16, size: u32) {
        self.put((if value < 0 { i32::from(value) - 1 } else { i32::from(value) }) as u32, size);
    }

    fn dc(&mut self, difference: i16) {
        let size = size(difference);
        self.put(size, 4);
        self.value(difference, size);
    }

    /// Ends a run of blocks without coefficients of their own, then their correction bits.
    fn end_of_blocks(&mut self, run: &mut u32, corrections: &mut Vec<u32>) {
        if *run > 0 {
            let bits = run.ilog2();
            self.symbol((bits << 4) as usize);
            self.put(*run, bits);
            *run = 0;
        }
        corrections.drain(..).for_each(|bit| self.put(bit, 1));
    }
}

fn size(value: i16) -> u32 {
    16 - value.unsigned_abs().leading_zeros()
}

/// What is left of a coefficient without its low bits: rounded towards zero.
fn cut(value: i16, low: u32) -> i16 {
    value.signum() * (value.abs() >> low)
}

impl Fixture {
    fn max(&self) -> (usize, usize) {
        self.sampling.iter().fold((1, 1), |most, &(h, v)| (most.0.max(h), most.1.max(v)))
    }

    fn mcus(&self) -> (usize, usize) {
        let (h, v) = self.max();
        (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v))
    }

    /// The blocks in the order a scan of some components has them: (component, index), MCU by MCU.
    fn order(&self, components: &[usize]) -> Vec<Vec<(usize, usize)>> {
        let (across, down) = self.mcus();
        let (h_max, v_max) = self.max();
        if let &[one] = components {
            let (h, v) = self.sampling[one];
            let blocks = |size: usize, factor: usize, max: usize| (size * factor).div_ceil(max).div_ceil(8);
            let (wide, high) = (blocks(self.width, h, h_max), blocks(self.height, v, v_max));
            return (0..high).flat_map(|y| (0..wide).map(move |x| vec![(one, y * across * h + x)])).collect();
        }
        let mut order = Vec::new();
        for mcu in 0..across * down {
            let mut blocks = Vec::new();
            for &component in components {
                let (h, v) = self.sampling[component];
                for nth in 0..h * v {
                    let (x, y) = (mcu % across * h + nth % h, mcu / across * v + nth / h);
                    blocks.push((component, y * across * h + x));
                }
            }
            order.push(blocks);
        }
        order
    }

    pub fn make(&self) -> Made {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (across, down) = self.mcus();
        let mut components = Vec::new();
        for &(h, v) in &self.sampling {
            let blocks = (0..across * h * down * v).map(|_| random_block(&mut random)).collect();
            components.push((across * h, blocks));
        }
        let mut out = Writer::new();
        out.bytes.extend([0xFF, 0xD8]);
        out.segment(0xDB, &[&[0][..], &DIVISORS.map(|divisor| divisor as u8)].concat());
        let mut frame =
            vec![8, (self.height >> 8) as u8, self.height as u8, (self.width >> 8) as u8, self.width as u8];
        frame.push(self.sampling.len() as u8);
        for (nth, &(h, v)) in self.sampling.iter().enumerate() {
            frame.extend([nth as u8 + 1, (h << 4 | v) as u8, 0]);
        }
        out.segment(if self.progressive { 0xC2 } else { 0xC0 }, &frame);
        out.segment(0xC4, &[&[0x00][..], &DC_COUNTS, &(0..15).collect::<Vec<u8>>()].concat());
        out.segment(0xC4, &[&[0x10][..], &COUNTS, &symbols()].concat());
        if self.interval > 0 {
            out.segment(0xDD, &(self.interval as u16).to_be_bytes());
        }
        let all: Vec<usize> = (0..self.sampling.len()).collect();
        if self.progressive {
            self.scan(&mut out, &components, &all, (0, 0), (0, 1));
            for &one in &all {
                self.scan(&mut out, &components, &[one], (1, 5), (0, 2));
                self.scan(&mut out, &components, &[one], (6, 63), (0, 2));
                self.scan(&mut out, &components, &[one], (1, 63), (2, 1));
            }
            self.scan(&mut out, &components, &all, (0, 0), (1, 0));
            for &one in &all {
                self.scan(&mut out, &components, &[one], (1, 30), (1, 0));
                self.scan(&mut out, &components, &[one], (31, 63), (1, 0));
            }
        } else {
            let groups: Vec<&[usize]> = match self.scans {
                Scans::Interleaved => vec![&all],
                Scans::Apart => all.chunks(1).collect(),
                Scans::FirstApart => {
                    let (first, others) = all.split_at(1);
                    vec![first, others]
                }
            };
            let groups = groups.into_iter().filter(|group| !group.is_empty());
            groups.for_each(|group| self.scan(&mut out, &components, group, (0, 63), (0, 0)));
        }
        out.bytes.extend([0xFF, 0xD9]);
        Made { bytes: out.bytes, components }
    }

    fn scan(
        &self,
        out: &mut Writer,
        components: &[(usize, Vec<Block>)],
        parts: &[usize],
        (first, last): (usize, usize),
        (high, low): (u32, u32),
    ) {
        let mut header = vec![parts.len() as u8];
        parts.iter().for_each(|&part| header.extend([part as u8 + 1, 0]));
        header.extend([first as u8, last as u8, (high << 4 | low) as u8]);
        out.segment(0xDA, &header);
        let (mut predictions, mut run, mut corrections) = ([0; 4], 0, Vec::new());
        for (nth, mcu) in self.order(parts).iter().enumerate() {
            if self.interval > 0 && nth > 0 && nth % self.interval == 0 {
                out.end_of_blocks(&mut run, &mut corrections);
                out.align();
                out.bytes.extend([0xFF, 0xD0 + ((nth / self.interval - 1) % 8) as u8]);
                predictions = [0; 4];
            }
            for &(component, index) in mcu {
                let block = &components[component].1[index];
                if first == 0 && high == 0 {
                    let dc = block[0] >> low;
                    out.dc(dc - predictions[component]);
                    predictions[component] = dc;
                } else if first == 0 {
                    out.put((block[0] >> low & 1) as u32, 1);
                }
                if last > 0 && high == 0 {
                    first_visit(out, block, (first.max(1), last), low, self.progressive, &mut run);
                } else if last > 0 {
                    refine(out, block, (first, last), low, &mut run, &mut corrections);
                }
            }
        }
        out.end_of_blocks(&mut run, &mut corrections);
        out.align();
    }
}

fn random_block(random: &mut fastrand::Rng) -> Block {
    let mut block = [0; 64];
    block[0] = random.i16(-300..300);
    let busy = random.usize(0..40);
    for _ in 0..busy {
        let at = random.usize(1..64).min(random.usize(1..64));
        block[at] = random.i16(-9..10) * random.i16(1..4) / random.i16(1..6)
            * if random.u8(0..20) == 0 { 12 } else { 1 };
    }
    block
}

/// Codes coefficients as a sequential scan does, or a first one over a band (T.81 F.1.2.2, G.1.2.2).
fn first_visit(
    out: &mut Writer,
    block: &Block,
    (first, last): (usize, usize),
    low: u32,
    runs: bool,
    run: &mut u32,
) {
    let mut zeros = 0;
    for &value in &block[first..=last] {
        let value = cut(value, low);
        if value == 0 {
            zeros += 1;
            continue;
        }
        out.end_of_blocks(run, &mut Vec::new());
        while zeros > 15 {
            out.symbol(0xF0);
            zeros -= 16;
        }
        out.symbol(zeros << 4 | size(value) as usize);
        out.value(value, size(value));
        zeros = 0;
    }
    if zeros > 0 {
        *run += 1;
        if !runs || *run == 0x7FFF {
            out.end_of_blocks(run, &mut Vec::new());
        }
    }
}

/// T.81 G.1.2.3, figure G.7.
fn refine(
    out: &mut Writer,
    block: &Block,
    (first, last): (usize, usize),
    low: u32,
    run: &mut u32,
    waiting: &mut Vec<u32>,
) {
    let fresh = |value: i16| cut(value, low).abs() == 1;
    let end = (first..=last).rev().find(|&at| fresh(block[at])).map_or(first, |at| at + 1);
    let (mut zeros, mut corrections) = (0, Vec::new());
    for (at, &value) in block.iter().enumerate().take(last + 1).skip(first) {
        let value = cut(value, low);
        if value.abs() > 1 {
            corrections.push((value.abs() & 1) as u32);
            continue;
        }
        if value == 0 {
            zeros += 1;
            if zeros == 16 && at < end {
                out.end_of_blocks(run, waiting);
                out.symbol(0xF0);
                corrections.drain(..).for_each(|bit| out.put(bit, 1));
                zeros = 0;
            }
            continue;
        }
        out.end_of_blocks(run, waiting);
        out.symbol(zeros << 4 | 1);
        out.put(u32::from(value > 0), 1);
        corrections.drain(..).for_each(|bit| out.put(bit, 1));
        zeros = 0;
    }
    if zeros > 0 || !corrections.is_empty() {
        *run += 1;
        waiting.append(&mut corrections);
        if *run == 0x7FFF {
            out.end_of_blocks(run, waiting);
        }
    }
}

/// The samples of a component at N/8, row after row, from the definition (see [`super::idct`]).
#[cfg(test)]
pub(super) fn samples(
    blocks: &[Block],
    across: usize,
    scale: usize,
    (width, height): (usize, usize),
) -> Vec<f64> {
    use super::tables::ZIGZAG;
    let c = |index| if index == 0 { 0.5f64.sqrt() } else { 1.0 };
    let wave = |x: usize, u: usize| {
        ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / (2 * scale) as f64).cos()
    };
    let mut samples = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let block = &blocks[y / scale * across + x / scale];
            let mut sum = 128.0;
            for zigzag in 0..64 {
                let (v, u) = (usize::from(ZIGZAG[zigzag] / 8), usize::from(ZIGZAG[zigzag] % 8));
                if block[zigzag] != 0 && u < scale && v < scale {
                    let value = f64::from(block[zigzag]) * f64::from(DIVISORS[zigzag]);
                    sum += value * c(u) * c(v) / 4.0 * wave(x % scale, u) * wave(y % scale, v);
                }
            }
            samples.push(sum.clamp(0.0, 255.0));
        }
    }
    samples
}
