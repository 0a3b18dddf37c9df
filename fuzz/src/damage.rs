//! Valid JPEG files with parts changed: what no bit flip would come to.

use crate::render::jpeg::fixture::{Fixture, Scans};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// A file to make and what to do to it.
#[derive(Debug, Arbitrary)]
pub struct Plan {
    width: u8,
    height: u8,
    sampling: u8,
    progressive: bool,
    interleaved: bool,
    interval: u8,
    seed: u8,
    changes: Vec<Change>,
    /// As for [`crate::checks::decoder`].
    pub pick: u16,
}

/// A place in a file: which part of it, and which byte there, both modulo what there is.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Place {
    part: u8,
    at: u16,
}

#[derive(Debug, Arbitrary)]
enum Change {
    Set(Place, u8),
    Flip(Place, u8),
    Insert(Place, [u8; 3]),
    Cut(Place, u8),
    /// The part ends here.
    End(Place),
    Remove(u8),
    Repeat(u8),
    Swap(u8, u8),
    Rename(u8, u8),
    /// Another size in the frame header.
    Size(u16, u16),
    /// Other sampling factors of a component.
    Sampling(u8, u8),
    /// Other parameters of a scan: its spectral selection and successive approximation.
    Band(u8, [u8; 3]),
    /// A restart interval before a part.
    Interval(u8, u16),
    /// A Huffman table before a part: class and number, code counts, what its symbols start from.
    Huffman(u8, u8, [u8; 16], u8),
    /// A quantisation table before a part, of bytes or of words.
    Quantisation(u8, u8, bool, u8),
    /// A marker within the data of a scan.
    Marker(Place, u8),
}

/// Sampling factors, all of at most ten blocks an MCU.
const SAMPLINGS: [&[(usize, usize)]; 11] = [
    &[(1, 1)],
    &[(2, 2)],
    &[(1, 1), (1, 1)],
    &[(1, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1)],
    &[(2, 1), (1, 1), (1, 1)],
    &[(1, 2), (1, 1), (1, 1)],
    &[(4, 1), (1, 1), (2, 1)],
    &[(3, 1), (1, 2), (1, 1)],
    &[(1, 1), (1, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1), (2, 2)],
];

const SOF: [u8; 2] = [0xC0, 0xC2];
const SOS: u8 = 0xDA;

/// A marker, its segment if it has one, and what follows before the next.
#[derive(Debug, Clone)]
struct Part {
    code: u8,
    payload: Option<Vec<u8>>,
    data: Vec<u8>,
}

impl Plan {
    pub fn file(&self) -> Vec<u8> {
        let whole = Fixture {
            width: usize::from(self.width % 72) + 1,
            height: usize::from(self.height % 72) + 1,
            sampling: SAMPLINGS[usize::from(self.sampling) % SAMPLINGS.len()].to_vec(),
            progressive: self.progressive,
            scans: match (self.interleaved, self.seed % 2) {
                (true, _) => Scans::Interleaved,
                (false, 0) => Scans::Apart,
                (false, _) => Scans::FirstApart,
            },
            interval: usize::from(self.interval % 8),
            seed: u64::from(self.seed),
        };
        let mut parts = parts(&whole.make().bytes);
        self.changes.iter().take(16).for_each(|change| change.apply(&mut parts));
        parts.iter().flat_map(Part::bytes).collect()
    }
}

impl Change {
    fn apply(&self, parts: &mut Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        let count = parts.len();
        let nth = |part: u8| usize::from(part) % count;
        match *self {
            Self::Set(place, value) => place.of(parts, |bytes, at| bytes[at] = value),
            Self::Flip(place, bit) => place.of(parts, |bytes, at| bytes[at] ^= 1 << (bit % 8)),
            Self::Insert(place, new) => place.of(parts, |bytes, at| drop(bytes.splice(at..at, new))),
            Self::Cut(place, length) => place.of(parts, |bytes, at| {
                let end = bytes.len().min(at + usize::from(length));
                bytes.drain(at..end);
            }),
            Self::End(place) => place.of(parts, Vec::truncate),
            Self::Remove(part) => drop(parts.remove(nth(part))),
            Self::Repeat(part) if parts.len() < 64 => {
                let again = parts[nth(part)].clone();
                parts.insert(nth(part), again);
            }
            Self::Repeat(_) => {}
            Self::Swap(one, other) => {
                let (one, other) = (nth(one), nth(other));
                parts.swap(one, other);
            }
            Self::Rename(part, code) => {
                let part = nth(part);
                parts[part].code = code;
            }
            Self::Size(width, height) => edit(parts, &SOF, 0, |frame| {
                if let Some(size) = frame.get_mut(1..5) {
                    size.copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
                }
            }),
            Self::Sampling(component, factors) => edit(parts, &SOF, 0, |frame| {
                let at = 7 + 3 * usize::from(component % 4);
                // Mostly legal ones, or nothing past the header would ever be reached.
                let legal = (((factors >> 4 & 3) + 1) << 4) | ((factors & 3) + 1);
                frame.get_mut(at).into_iter().for_each(|sampling| *sampling = legal);
            }),
            Self::Band(scan, band) => edit(parts, &[SOS], usize::from(scan), |header| {
                if let Some(last) = header.last_chunk_mut::<3>() {
                    *last = [band[0] % 66, band[1] % 66, band[2]];
                }
            }),
            Self::Interval(part, mcus) => add(parts, nth(part), 0xDD, &mcus.to_be_bytes()),
            Self::Huffman(part, number, counts, first) => {
                // Codes that fit are the rule: too long ones only now and then.
                let mut room = 1u32 << 16;
                let counts = std::array::from_fn::<u8, 16, _>(|n| {
                    let bits = n as u32 + 1;
                    let most = (room >> (16 - bits)).min(16) + u32::from(first == 0);
                    let count = u32::from(counts[n]).min(most);
                    room = room.saturating_sub(count << (16 - bits));
                    count as u8
                });
                let total: u8 = counts.iter().fold(0, |sum, &count| sum.wrapping_add(count));
                let symbols = (0..total).map(|n| n.wrapping_mul(7).wrapping_add(first));
                let payload: Vec<u8> = [number & 0x11].into_iter().chain(counts).chain(symbols).collect();
                add(parts, nth(part), 0xC4, &payload);
            }
            Self::Quantisation(part, number, wide, value) => {
                let head = [u8::from(wide) << 4 | number & 3];
                add(parts, nth(part), 0xDB, &[&head[..], &vec![value; if wide { 128 } else { 64 }]].concat());
            }
            Self::Marker(place, code) => {
                place.of(parts, |bytes, at| drop(bytes.splice(at..at, [0xFF, code])))
            }
        }
    }
}

impl Place {
    /// Does something at this place of a segment or of the data behind it.
    fn of(self, parts: &mut [Part], change: impl FnOnce(&mut Vec<u8>, usize)) {
        let nth = usize::from(self.part) % parts.len();
        let part = &mut parts[nth];
        let payload = part.payload.get_or_insert_default();
        let bytes = if self.at & 1 == 0 || part.data.is_empty() { payload } else { &mut part.data };
        if !bytes.is_empty() {
            let at = usize::from(self.at >> 1) % bytes.len();
            change(bytes, at);
        }
    }
}

/// Changes the `nth` segment with one of these codes, counted round and round.
fn edit(parts: &mut [Part], codes: &[u8], nth: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let mut alike: Vec<&mut Part> = parts.iter_mut().filter(|part| codes.contains(&part.code)).collect();
    let count = alike.len().max(1);
    if let Some(payload) = alike.get_mut(nth % count).and_then(|part| part.payload.as_mut()) {
        change(payload);
    }
}

fn add(parts: &mut Vec<Part>, at: usize, code: u8, payload: &[u8]) {
    // Nothing goes before SOI.
    parts.insert(at.max(1), Part { code, payload: Some(payload.to_vec()), data: Vec::new() });
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0xFF, self.code];
        if let Some(payload) = &self.payload {
            bytes.extend(((payload.len() + 2) as u16).to_be_bytes());
            bytes.extend(payload);
        }
        bytes.extend(&self.data);
        bytes
    }
}

/// Cuts a valid file at its markers; restart markers stay in the data.
fn parts(file: &[u8]) -> Vec<Part> {
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some(&[0xFF, code]) = file.get(at..at + 2) {
        at += 2;
        let mut part = Part { code, payload: None, data: Vec::new() };
        if !(0xD8..=0xD9).contains(&code) {
            let length = usize::from(file[at]) << 8 | usize::from(file[at + 1]);
            part.payload = Some(file[at + 2..at + length].to_vec());
            at += length;
        }
        let next = |pair: &[u8]| pair[0] == 0xFF && pair[1] != 0 && !(0xD0..=0xD7).contains(&pair[1]);
        let data = file[at..].windows(2).position(next).unwrap_or(file.len() - at);
        part.data = file[at..at + data].to_vec();
        at += data;
        parts.push(part);
    }
    parts
}
