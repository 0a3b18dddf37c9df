use super::*;

const SUBSAMPLINGS: [Subsampling; 3] = [Subsampling::S444, Subsampling::S422, Subsampling::S420];
/// Standard, optimised, progressive.
const CODINGS: [(Huffman, bool); 3] =
    [(Huffman::Standard, false), (Huffman::Optimised, false), (Huffman::Standard, true)];

/// Soft colours with a few edges and some noise, `width`×`height` pixels.
fn picture(width: usize, height: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut rgb = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 28) as usize;
        let edge = if (x / 40 + y / 30) % 2 == 0 { 40 } else { 0 };
        rgb.extend(
            [40 + (x * 3 / 5) % 150 + noise, 30 + (y / 2) % 160 + edge, 60 + (x + y) / 9 % 120 + noise]
                .map(|value| value as u8),
        );
    }
    rgb
}

fn planes(width: usize, height: usize, subsampling: Subsampling) -> [Plane; 3] {
    rgb_to_planes(&picture(width, height), width, height, subsampling)
}

fn by_zune(jpeg: &[u8]) -> (usize, usize, Vec<u8>) {
    let picture = image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let gray = picture.color() == image::ColorType::L8;
    (width, height, if gray { picture.to_luma8().into_raw() } else { picture.to_rgb8().into_raw() })
}

fn by_jpeg_decoder(jpeg: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut decoder = jpeg_decoder::Decoder::new(jpeg);
    let samples = decoder.decode().unwrap();
    let info = decoder.info().unwrap();
    (usize::from(info.width), usize::from(info.height), samples)
}

/// Root of the mean squared difference.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    (sum / a.len() as f64).sqrt()
}

#[test]
fn two_other_decoders_read_what_we_write() {
    let mut scratch = Scratch::default();
    for (width, height) in [(1, 1), (7, 9), (17, 3), (16, 16), (8, 40), (1024, 1), (1, 300), (641, 479)] {
        let rgb = picture(width, height);
        for subsampling in SUBSAMPLINGS {
            let planes = planes(width, height, subsampling);
            for ((huffman, progressive), quality) in CODINGS.into_iter().flat_map(|c| [(c, 90), (c, 30)]) {
                let options = Options { quality, subsampling, huffman, progressive, icc: None };
                let jpeg = encode(&planes.each_ref(), &options, &mut scratch).unwrap();
                for decoded in [by_zune(&jpeg), by_jpeg_decoder(&jpeg)] {
                    assert_eq!((decoded.0, decoded.1), (width, height));
                    let found = difference(&decoded.2, &rgb);
                    let allowed = if quality == 90 { 8.0 } else { 14.0 };
                    assert!(found < allowed, "{width}x{height} {options:?}: {found}");
                }
            }
        }
        for (huffman, progressive) in CODINGS {
            let gray = Plane { width, height, samples: rgb.iter().copied().step_by(3).collect() };
            let options = Options { quality: 90, huffman, progressive, ..Options::default() };
            let jpeg = encode(&[&gray], &options, &mut scratch).unwrap();
            for decoded in [by_zune(&jpeg), by_jpeg_decoder(&jpeg)] {
                assert_eq!((decoded.0, decoded.1), (width, height));
                assert!(difference(&decoded.2, &gray.samples) < 4.0, "{width}x{height} {options:?}");
            }
        }
    }
}

#[test]
fn all_codings_hold_the_same_coefficients() {
    // Noise at full quality has every run, every size, and blocks without an end.
    let mut state = 3u32;
    let mut noise = |width: usize, height: usize| {
        let samples = (0..width * height).map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at / 64 % 3 == 0 { (state >> 24) as u8 } else { (state >> 31) as u8 * 255 }
        });
        Plane { width, height, samples: samples.collect() }
    };
    let planes = [noise(131, 77), noise(66, 39), noise(66, 39)];
    for quality in [100, 80, 20, 1] {
        let decoded = CODINGS.map(|(huffman, progressive)| {
            let options = Options { quality, huffman, progressive, ..Options::default() };
            let jpeg = encode(&planes.each_ref(), &options, &mut Scratch::default()).unwrap();
            (by_jpeg_decoder(&jpeg), by_zune(&jpeg))
        });
        assert!(decoded[0] == decoded[1] && decoded[0] == decoded[2], "quality {quality}");
    }
}

#[test]
fn blocks_without_an_end_and_with_every_bit_are_written_whole() {
    // A checkerboard moves the whole of a block's energy to its last coefficient.
    let checkered = |width: usize, height: usize| {
        let samples = (0..width * height).map(|at| 255 * ((at % width + at / width) % 2) as u8);
        Plane { width, height, samples: samples.collect() }
    };
    let plane = checkered(64, 64);
    for (huffman, progressive) in CODINGS {
        let options = Options { quality: 100, huffman, progressive, ..Options::default() };
        let jpeg = encode(&[&plane], &options, &mut Scratch::default()).unwrap();
        assert!(difference(&by_jpeg_decoder(&jpeg).2, &plane.samples) < 1.0);
    }
}

#[test]
fn a_profile_is_read_back_whole() {
    let planes = planes(20, 20, Subsampling::S420);
    for length in [1, 3000, 65519, 65520, 200_000] {
        let profile: Vec<u8> = (0..length).map(|at: u32| (at * 7 / 8) as u8).collect();
        let options = Options { icc: Some(&profile), ..Options::default() };
        let jpeg = encode(&planes.each_ref(), &options, &mut Scratch::default()).unwrap();
        let mut decoder = jpeg_decoder::Decoder::new(jpeg.as_slice());
        decoder.decode().unwrap();
        assert!(decoder.icc_profile().as_deref() == Some(profile.as_slice()), "{length} bytes");
        use image::ImageDecoder;
        let mut zune = image::codecs::jpeg::JpegDecoder::new(std::io::Cursor::new(&jpeg)).unwrap();
        assert!(zune.icc_profile().unwrap() == Some(profile), "{length} bytes");
    }
    let profile = vec![0; headers::MAX_ICC + 1];
    let options = Options { icc: Some(&profile), ..Options::default() };
    let error = encode(&planes.each_ref(), &options, &mut Scratch::default()).unwrap_err();
    assert_eq!(error, EncodeError::Icc(profile.len()));
}

#[test]
fn planes_that_do_not_fit_are_refused() {
    let refuse =
        |planes: &[&Plane]| encode(planes, &Options::default(), &mut Scratch::default()).unwrap_err();
    let luma = Plane::filled(17, 9, 0);
    let chroma = Plane::filled(9, 5, 0);
    assert_eq!(refuse(&[&luma, &chroma]), EncodeError::Planes(2));
    assert_eq!(refuse(&[]), EncodeError::Planes(0));
    assert_eq!(refuse(&[&Plane::filled(0, 3, 0)]), EncodeError::Size { width: 0, height: 3 });
    assert_eq!(refuse(&[&Plane::filled(65536, 1, 0)]), EncodeError::Size { width: 65536, height: 1 });
    assert!(matches!(refuse(&[&luma, &chroma, &luma]), EncodeError::Plane { index: 2, .. }));
    let torn = Plane { samples: vec![0; 7], ..luma };
    assert!(matches!(refuse(&[&torn]), EncodeError::Plane { index: 0, .. }));
}

#[test]
fn memory_used_before_changes_no_byte() {
    let mut used = Scratch::default();
    for (width, height) in [(200, 100), (33, 9), (64, 64)] {
        for (huffman, progressive) in CODINGS {
            let planes = planes(width, height, Subsampling::S420);
            let options = Options { huffman, progressive, ..Options::default() };
            let fresh = encode(&planes.each_ref(), &options, &mut Scratch::default()).unwrap();
            assert!(encode(&planes.each_ref(), &options, &mut used).unwrap() == fresh);
        }
    }
}
