//! The decoder as a whole, on files that [`super::fixture`] makes.

use super::super::processor::portably;
use super::fixture::{self, Fixture, Made, Scans};
use super::markers::Markers;
use super::scan::Scan;
use super::*;
use std::time::Duration;

fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    let samplings: [&[(usize, usize)]; 11] = [
        &[(1, 1)],
        &[(2, 2)],
        &[(1, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1)],
        &[(2, 1), (1, 2), (1, 1)],
        &[(4, 1), (1, 1), (2, 1)],
        &[(3, 1), (1, 1), (1, 1)],
        &[(1, 1), (2, 2), (1, 1)],
        &[(2, 2), (1, 1), (1, 1), (2, 2)],
        // Ratios that are no whole numbers.
        &[(3, 2), (2, 1), (1, 1)],
        &[(2, 3), (1, 2), (1, 1)],
    ];
    for (nth, sampling) in samplings.iter().enumerate() {
        for (kind, interval) in [(0, 0), (0, 3), (1, 0), (1, 5), (2, 0), (2, 2), (3, 0), (3, 4)] {
            let (width, height) = [(61, 43), (200, 17), (1, 1), (16, 70)][(nth + kind + interval) % 4];
            let progressive = kind == 2;
            let scans = [Scans::Interleaved, Scans::Apart, Scans::Interleaved, Scans::FirstApart][kind];
            let seed = (nth * 100 + kind * 10 + interval) as u64;
            fixtures.push(Fixture {
                width,
                height,
                sampling: sampling.to_vec(),
                progressive,
                scans,
                interval,
                seed,
            });
        }
    }
    fixtures
}

fn small(progressive: bool, interval: usize) -> Made {
    let sampling = vec![(2, 2), (1, 1), (1, 1)];
    Fixture { width: 50, height: 40, sampling, progressive, scans: Scans::Interleaved, interval, seed: 5 }
        .make()
}

fn accepting() -> Limits {
    Limits { damaged: Damaged::Accept, ..Limits::default() }
}

fn decode_at(bytes: &[u8], scale: u8, limits: &Limits, scratch: &mut Scratch) -> Result<Decoded, Error> {
    let header = read_header(bytes, limits)?;
    decode(bytes, &header, &vec![scale; header.components.len()], limits, scratch)
}

fn rows(decoded: &Decoded) -> Vec<Vec<&[u8]>> {
    decoded.planes.planes.iter().map(|plane| (0..plane.height).map(|y| plane.row(y)).collect()).collect()
}

#[test]
fn every_coding_sampling_and_scale_agrees_with_the_definition() {
    let limits = Limits::default();
    let mut scratch = Scratch::new();
    for fixture in fixtures() {
        let made = fixture.make();
        for scale in 1..=8u8 {
            // The small scales are computed in sixteen bits.
            let off = if scale > 4 { 0.6 } else { 0.95 };
            let decoded = decode_at(&made.bytes, scale, &limits, &mut scratch).unwrap();
            assert_eq!(decoded.damage, None);
            let fresh = decode_at(&made.bytes, scale, &limits, &mut Scratch::new()).unwrap();
            assert_eq!(rows(&fresh), rows(&decoded), "scratch shows: {fixture:?}");
            for ((across, blocks), plane) in made.components.iter().zip(&decoded.planes.planes) {
                let size = (plane.width, plane.height);
                let expected = fixture::samples(blocks, *across, usize::from(scale), size);
                for (at, expected) in expected.iter().enumerate() {
                    let sample = f64::from(plane.row(at / plane.width)[at % plane.width]);
                    assert!(
                        (sample - expected).abs() < off,
                        "{fixture:?} scale {scale} at {at}: {sample} for {expected}"
                    );
                }
            }
        }
    }
}

/// All that is compiled for newer processors must do what it does on older ones.
#[test]
fn every_processor_decodes_the_same() {
    let mut scratch = Scratch::new();
    for fixture in fixtures() {
        let bytes = fixture.make().bytes;
        for scale in [1, 3, 8] {
            let fastest = decode_at(&bytes, scale, &Limits::default(), &mut scratch).unwrap();
            let portable = portably(|| decode_at(&bytes, scale, &Limits::default(), &mut scratch)).unwrap();
            assert!(fastest == portable, "{fixture:?} scale {scale}");
        }
    }
}

/// Where the segments of a file start that come before its first scan.
fn segments(file: &[u8]) -> Vec<(u8, usize, usize)> {
    let mut markers = Markers::open(file).unwrap();
    let mut found = Vec::new();
    while let Some(marker) = markers.next().unwrap() {
        found.push((marker.code, marker.at - 1, marker.end));
        if marker.code == markers::SOS {
            break;
        }
    }
    found
}

/// A file with bytes put before each of its segments with this code (all of them: 0).
fn with_before(file: &[u8], code: u8, new: &[u8]) -> Vec<u8> {
    let mut changed = file.to_vec();
    for (found, start, _) in segments(file).into_iter().rev() {
        if code == 0 || code == found {
            changed.splice(start..start, new.iter().copied());
        }
    }
    changed
}

#[test]
fn files_written_oddly_are_the_same_picture() {
    let segment = |code: u8, payload: &[u8]| {
        [&[0xFF, code][..], &(payload.len() as u16 + 2).to_be_bytes(), payload].concat()
    };
    let file = small(false, 3).bytes;
    let whole = decode_at(&file, 8, &Limits::default(), &mut Scratch::new()).unwrap();
    let start = |code: u8| segments(&file).into_iter().find(|found| found.0 == code).unwrap();
    let mut extended = file.clone();
    extended[start(markers::SOF0_BASELINE).1 + 1] = markers::SOF1_EXTENDED;
    let (_, from, to) = start(markers::DQT);
    let wide = fixture::DIVISORS.map(u16::to_be_bytes).concat();
    let wide = [&file[..from], &segment(markers::DQT, &[&[0x10][..], &wide].concat()), &file[to..]].concat();
    let tables = |code: u8, payload: &[u8]| {
        let (_, first, _) = start(code);
        [&file[..first], &segment(code, payload), &file[first..]].concat()
    };
    let no_codes = [0; 17];
    // Another picture after the end, and the segment that says so (CIPA DC-007).
    let mpo = with_before(&file, markers::DQT, &segment(markers::APP2, b"MPF\0II*\0\x08\0\0\0\0\0"));
    for (what, odd) in [
        ("extended", extended),
        ("16-bit quantisation", wide),
        ("fill bytes", with_before(&file, 0, &[0xFF; 5])),
        ("junk before markers", with_before(&file, 0, &[1, 2, 0xFF, 0, 3])),
        ("Huffman tables twice", tables(markers::DHT, &no_codes)),
        ("quantisation table twice", tables(markers::DQT, &[&[0][..], &[99; 64]].concat())),
        ("unknown segments", with_before(&file, 0, &segment(0xEB, &[0xFF; 300]))),
        ("trailing data", [&file[..], &[0xFF, 0xD8, 7, 0xFF, 0xDA, 0]].concat()),
        ("MPO", [mpo, small(true, 0).bytes].concat()),
    ] {
        let decoded = decode_at(&odd, 8, &Limits::default(), &mut Scratch::new());
        assert_eq!(decoded.unwrap_or_else(|e| panic!("{what}: {e}")), whole, "{what}");
    }
}

#[test]
fn tables_between_scans_are_for_those_that_follow() {
    let sampling = vec![(2, 1), (1, 1), (1, 1)];
    let fixture = Fixture {
        width: 50,
        height: 40,
        sampling,
        progressive: false,
        scans: Scans::Apart,
        interval: 0,
        seed: 5,
    };
    let file = fixture.make().bytes;
    let scans: Vec<usize> =
        (0..file.len() - 1).filter(|&at| file[at..].starts_with(&[0xFF, markers::SOS])).collect();
    let segment = |code: u8, payload: &[u8]| {
        [&[0xFF, code][..], &(payload.len() as u16 + 2).to_be_bytes(), payload].concat()
    };
    let decode = |file: &[u8]| decode_at(file, 8, &Limits::default(), &mut Scratch::new()).unwrap();
    let whole = decode(&file);

    // Another divisor from the second scan on: what it would be for all, there, and not in the first.
    let doubled =
        segment(markers::DQT, &[&[0][..], &fixture::DIVISORS.map(|divisor| 2 * divisor as u8)].concat());
    let [all, later] = [scans[0], scans[1]].map(|at| decode(&[&file[..at], &doubled, &file[at..]].concat()));
    let planes = |decoded: &Decoded| decoded.planes.planes.clone();
    assert_eq!(planes(&later)[0], planes(&whole)[0]);
    assert_eq!(planes(&later)[1..], planes(&all)[1..]);
    assert!(planes(&all)[1] != planes(&whole)[1]);

    // The second scan has Huffman tables number 1, of which the last definition before it counts.
    let mut file = file.clone();
    file[scans[1] + 6] = 0x11;
    let mut again = Vec::new();
    for (_, start, end) in segments(&file).into_iter().filter(|found| found.0 == markers::DHT) {
        let mut table = file[start..end].to_vec();
        table[4] |= 1;
        again.extend(table);
    }
    let none = [
        segment(markers::DHT, &[&[0x01][..], &[0; 16]].concat()),
        segment(markers::DHT, &[&[0x11][..], &[0; 16]].concat()),
    ];
    let redefined =
        [&file[..scans[0]], &none.concat(), &file[scans[0]..scans[1]], &again, &file[scans[1]..]].concat();
    assert_eq!(decode(&redefined), whole);
}

#[test]
fn frames_of_mjpeg_need_no_huffman_tables() {
    let planes = [(); 3].map(|()| super::super::plane::Plane {
        width: 40,
        height: 24,
        samples: (0..40 * 24).map(|at| (at * at / 17 % 251) as u8).collect(),
    });
    let options = super::super::encode::Options {
        subsampling: super::super::encode::Subsampling::S444,
        ..Default::default()
    };
    let file = super::super::encode::encode(&planes.each_ref(), &options, &mut Default::default()).unwrap();
    let mut bare = file.clone();
    let tables: Vec<_> = segments(&file).into_iter().filter(|found| found.0 == markers::DHT).collect();
    assert!(!tables.is_empty());
    tables.iter().rev().for_each(|&(_, start, end)| drop(bare.drain(start..end)));
    let [whole, bare] = [file, bare].map(|file| decode_at(&file, 8, &Limits::default(), &mut Scratch::new()));
    assert_eq!(whole.unwrap(), bare.unwrap());
}

#[test]
fn components_may_have_scales_of_their_own() {
    let made = small(false, 0);
    let header = read_header(&made.bytes, &Limits::default()).unwrap();
    let decode_as =
        |scales: &[u8]| decode(&made.bytes, &header, scales, &Limits::default(), &mut Scratch::new());
    let mixed = decode_as(&[3, 6, 1]).unwrap();
    for (nth, scale) in [3, 6, 1].into_iter().enumerate() {
        assert_eq!(rows(&mixed)[nth], rows(&decode_as(&[scale; 3]).unwrap())[nth]);
    }
    assert!(matches!(decode_as(&[1, 1]), Err(Error::Scales { .. })));
    assert!(matches!(decode_as(&[1, 1, 9]), Err(Error::Scales { .. })));
}

#[test]
fn a_file_cut_anywhere_is_rejected_or_accepted_as_told() {
    for progressive in [false, true] {
        for interval in [0, 2] {
            let whole = small(progressive, interval).bytes;
            let mut scratch = Scratch::new();
            for end in 0..whole.len() - 2 {
                let cut = &whole[..end];
                let rejected = decode_at(cut, 8, &Limits::default(), &mut scratch);
                assert!(rejected.is_err(), "{progressive} {interval} cut at {end} of {}", whole.len());
                if let Ok(header) = read_header(cut, &accepting())
                    && let Ok(accepted) = decode(cut, &header, &[8; 3], &accepting(), &mut scratch)
                {
                    assert!(accepted.damage.is_some(), "{progressive} {interval} cut at {end}");
                }
            }
            assert!(
                decode_at(&whole[..whole.len() - 2], 8, &Limits::default(), &mut scratch).is_ok(),
                "only EOI is missing"
            );
        }
    }
}

/// Its samples, if they are all alike.
fn flat(samples: &[u8]) -> Option<u8> {
    samples.iter().all(|sample| sample == &samples[0]).then_some(samples[0])
}

#[test]
fn what_is_missing_is_filled_from_what_came_last_and_what_came_before_is_whole() {
    // Of a progressive file, cut within the first scan: that of the DC coefficients.
    for progressive in [false, true] {
        let whole = small(progressive, 0).bytes;
        let scans: Vec<usize> =
            (0..whole.len() - 1).filter(|&at| whole[at..].starts_with(&[0xFF, markers::SOS])).collect();
        let after = scans.get(1).copied().unwrap_or(whole.len());
        let cut = &whole[..scans[0] + (after - scans[0]) / 2];
        let mut scratch = Scratch::new();
        let full = decode_at(&whole, 8, &accepting(), &mut scratch).unwrap();
        let part = decode_at(cut, 8, &accepting(), &mut scratch).unwrap();
        assert_eq!(part.damage.unwrap().kind, DamageKind::Truncated);
        if !progressive {
            assert_eq!(full.planes.planes[0].row(0), part.planes.planes[0].row(0));
        }
        // The scale of 1 has the mean of each block: the fill is one of those that came.
        let means = decode_at(&whole, 1, &accepting(), &mut scratch).unwrap();
        for (plane, means) in part.planes.planes.iter().zip(&means.planes.planes) {
            // Less a bit where the scan has one less.
            let fill = flat(plane.row(plane.height - 1)).expect("the last row is missing");
            let mut came = (0..means.height).flat_map(|y| means.row(y));
            assert!(came.any(|mean| mean.abs_diff(fill) <= 1), "{fill} came never");
            assert!(fill != 128, "by chance the fill is grey: take another picture");
        }
    }
}

#[test]
fn whatever_came_last_fills_the_rest() {
    let mut scratch = Scratch::new();
    for (progressive, interval) in [(false, 0), (false, 1), (false, 2), (false, 3), (true, 1), (true, 2)] {
        let Made { bytes: whole, components } = small(progressive, interval);
        let scans: Vec<usize> =
            (0..whole.len() - 1).filter(|&at| whole[at..].starts_with(&[0xFF, markers::SOS])).collect();
        let end = scans.get(1).copied().unwrap_or(whole.len());
        for cut in (scans[0] + end) / 2..scans[0] + (end - scans[0]) * 3 / 4 {
            let part = decode_at(&whole[..cut], 8, &accepting(), &mut scratch).unwrap();
            for (nth, (plane, (_, blocks))) in part.planes.planes.iter().zip(&components).enumerate() {
                let corner = &plane.row(plane.height - 1)[plane.width - 2..];
                let fill = flat(corner).expect("what is missing has no details");
                // The mean of a block, also of one that only fills up the last MCU of a row.
                let mean =
                    |block: &[i16; 64]| 128.0 + f64::from(block[0]) * f64::from(fixture::DIVISORS[0]) / 8.0;
                let mut came = blocks.iter().map(|block| mean(block).clamp(0.0, 255.0));
                assert!(
                    fill != 128 && came.any(|mean| (mean - f64::from(fill)).abs() <= 1.0),
                    "{progressive} {interval} cut at {cut} of {end}: component {nth} is filled with {fill}"
                );
            }
        }
    }
}

#[test]
fn codes_of_no_table_leave_what_came_last() {
    // A table that has a code of all ones for nobody: whatever follows is read again and again, and is bad.
    let whole = small(false, 0).bytes;
    let scan = whole.windows(2).position(|pair| pair == [0xFF, markers::SOS]).unwrap();
    let middle = (scan + whole.len()) / 2;
    let mut odd = whole[..middle].to_vec();
    odd.extend([0xFF, 0].repeat((whole.len() - middle) / 2));
    odd.extend([0xFF, 0xD9]);
    let part = decode_at(&odd, 8, &accepting(), &mut Scratch::new()).unwrap();
    assert_eq!(part.damage.unwrap().kind, DamageKind::Corrupt);
    let luma = &part.planes.planes[0];
    let fill = flat(&luma.row(luma.height - 1)[luma.width - 2..]).expect("nothing came");
    assert!(fill != 128, "there was something before");
}

#[test]
fn after_a_lost_interval_the_picture_goes_on_at_the_next_restart_marker() {
    let mut bytes = small(false, 1).bytes;
    let marker = |bytes: &[u8], code| bytes.windows(2).position(|pair| pair == [0xFF, code]).unwrap();
    let (from, to) = (marker(&bytes, 0xD2), marker(&bytes, 0xD3));
    let full = decode_at(&bytes, 8, &accepting(), &mut Scratch::new()).unwrap();
    bytes.drain(from..to);
    let rejected = decode_at(&bytes, 8, &Limits::default(), &mut Scratch::new());
    assert!(matches!(rejected, Err(Error::Truncated { .. })), "{rejected:?}");
    let part = decode_at(&bytes, 8, &accepting(), &mut Scratch::new()).unwrap();
    assert!(part.damage.is_some());
    // MCU 3 of 4 in the first row is lost, the next is there.
    let luma = &part.planes.planes[0];
    let fill = flat(&luma.row(4)[48..]).expect("what is lost has no details");
    let last = decode_at(&bytes, 1, &accepting(), &mut Scratch::new()).unwrap().planes.planes[0].row(1)[5];
    assert_eq!(fill, last, "the mean of the last block before");
    assert_eq!(full.planes.planes[0].row(20), part.planes.planes[0].row(20));
}

#[test]
fn what_came_before_a_scan_without_its_table_is_the_picture() {
    let mut scratch = Scratch::new();
    let mut seen = 0;
    for fixture in fixtures() {
        let whole = fixture.make().bytes;
        let header = read_header(&whole, &Limits::default()).unwrap();
        let scales = vec![8; header.components.len()];
        let full = decode(&whole, &header, &scales, &Limits::default(), &mut scratch).unwrap();
        let scans: Vec<usize> =
            (0..whole.len() - 1).filter(|&at| whole[at..].starts_with(&[0xFF, markers::SOS])).collect();
        for (nth, &at) in scans.iter().enumerate() {
            // Tables 3, of which nobody defined any: the parts' second bytes.
            let mut bare = whole.clone();
            for part in 0..usize::from(whole[at + 4]) {
                bare[at + 6 + 2 * part] = 0x33;
            }
            let mut decode = |limits: &Limits| decode(&bare, &header, &scales, limits, &mut scratch);
            let refinement = header.coding == Coding::Progressive && {
                let marker = &whole[at + 5 + 2 * usize::from(whole[at + 4])..];
                marker[0] == 0 && marker[2] >> 4 > 0
            };
            if refinement {
                assert_eq!(decode(&Limits::default()).unwrap(), full, "one bit a coefficient needs no table");
                continue;
            }
            let refused = decode(&Limits::default());
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{fixture:?} scan {nth}: {refused:?}");
            let accepted = decode(&accepting());
            if nth == 0 {
                assert_eq!(accepted, refused, "{fixture:?}: nothing is there");
                continue;
            }
            let accepted = accepted.unwrap();
            assert_eq!(accepted.damage.unwrap().kind, DamageKind::Corrupt);
            let details = accepted.planes.planes.iter().any(|plane| flat(&plane.samples).is_none());
            assert!(details || header.width == 1, "{fixture:?} scan {nth}: what came before");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} files with something before");
}

#[test]
fn of_nothing_no_picture_is_made() {
    for progressive in [false, true] {
        let whole = small(progressive, 0).bytes;
        let scan = whole.windows(2).position(|pair| pair == [0xFF, markers::SOS]).unwrap();
        let data = scan + 2 + usize::from(whole[scan + 3]);
        let mut scratch = Scratch::new();
        for end in [&[][..], &[0xFF], &[0xFF, 0xD9]] {
            let nothing = [&whole[..data], end].concat();
            let told = decode_at(&nothing, 8, &accepting(), &mut scratch);
            assert!(matches!(told, Err(Error::Truncated { .. })), "{progressive} {end:?}: {told:?}");
        }
        let something = decode_at(&whole[..data + 9], 8, &accepting(), &mut scratch).unwrap();
        assert!(something.damage.is_some());
        let mut odd = whole.clone();
        odd[scan + 5] ^= 0x40;
        let told = decode_at(&odd, 8, &accepting(), &mut scratch);
        assert!(
            matches!(told, Err(Error::Corrupt { .. })),
            "a scan of a component that is not there: {told:?}"
        );
    }
}

#[test]
fn limits_are_kept() {
    let bytes = small(true, 0).bytes;
    let header = read_header(&bytes, &Limits::default()).unwrap();
    assert_eq!((header.scans, header.orientation, header.color), (17, 1, Color::YCbCr));
    let limits = Limits { max_pixels: 1999, ..Limits::default() };
    assert!(matches!(read_header(&bytes, &limits), Err(Error::PixelLimit { pixels: 2000, max: 1999, .. })));
    let limits = Limits { max_scans: 16, ..Limits::default() };
    assert!(matches!(read_header(&bytes, &limits), Err(Error::ScanLimit { scans: 17, max: 16 })));
    let needs = memory_bound(&header, &[8; 3]);
    let limits = Limits { max_memory: needs - 1, ..Limits::default() };
    let refused = decode(&bytes, &header, &[8; 3], &limits, &mut Scratch::new());
    assert!(matches!(refused, Err(Error::MemoryLimit { .. })));
    let limits = Limits { deadline: Some(Deadline::after(Duration::ZERO)), ..Limits::default() };
    let late = decode(&bytes, &header, &[8; 3], &limits, &mut Scratch::new());
    assert!(matches!(late, Err(Error::Deadline { .. })));
}

#[test]
fn mutated_files_never_panic() {
    let fixtures: Vec<Vec<u8>> = fixtures().iter().map(|fixture| fixture.make().bytes).collect();
    let limits = Limits { max_pixels: 1 << 16, max_memory: 1 << 24, ..accepting() };
    let strict = Limits { damaged: Damaged::Reject, ..limits.clone() };
    let mut random = fastrand::Rng::with_seed(42);
    let mut scratch = Scratch::new();
    for round in 0..4_000 {
        let mut bytes = fixtures[round % fixtures.len()].clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(0..bytes.len());
            match random.u8(0..5) {
                0 => bytes[at] = 0xFF,
                1 => bytes[at] ^= 1 << random.u8(0..8),
                2 => drop(bytes.drain(at..(at + random.usize(1..9)).min(bytes.len()))),
                3 => bytes.insert(at, random.u8(..)),
                _ => bytes[at] = random.u8(..),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let limits = if round % 4 == 0 { &strict } else { &limits };
        let _ = decode_at(&bytes, random.u8(1..9), limits, &mut scratch);
    }
}

#[test]
fn scans_that_the_scale_drops_are_not_read() {
    let whole = small(true, 0).bytes;
    let limits = Limits::default();
    let header = read_header(&whole, &limits).unwrap();
    // Nonsense instead of every scan but those of the DC coefficients, of the same length, without markers.
    let mut nonsense = whole.clone();
    let mut markers = Markers::open(&whole).unwrap();
    let mut overwritten = 0;
    while let Some(marker) = markers.next().unwrap() {
        match marker.code {
            markers::EOI => break,
            markers::SOS => {
                let scan = Scan::parse(&marker, &header.frame).unwrap();
                let end = markers::find_end_of_scan(&whole, scan.data).unwrap() - 1;
                if scan.first > 0 {
                    nonsense[scan.data..end].fill(0x55);
                    overwritten += 1;
                }
                markers.at = end;
            }
            _ => {}
        }
    }
    assert_eq!(overwritten, 15);
    let mut scratch = Scratch::new();
    let read = decode_at(&whole, 1, &limits, &mut scratch).unwrap();
    let unread = decode_at(&nonsense, 1, &limits, &mut scratch).unwrap();
    assert_eq!(rows(&read), rows(&unread));
    let full = decode_at(&whole, 8, &limits, &mut scratch).unwrap();
    let seen = decode_at(&nonsense, 8, &limits, &mut scratch);
    assert!(seen.is_err() || rows(&seen.unwrap()) != rows(&full), "at full size the nonsense is read");
}
