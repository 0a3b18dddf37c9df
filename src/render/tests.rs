use super::*;
use crate::error::Reason;
use image::{ImageFormat, Rgb, RgbImage, RgbaImage};
use std::io::Cursor;

fn settings() -> Settings {
    Settings {
        specs: spec::parse(spec::DEFAULT_RENDITIONS).unwrap(),
        icc: IccMode::Srgb,
        limits: Limits::default(),
    }
}

/// Left half red, right half blue, with a green top edge: shows every turn.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 8) {
        (_, true) => Rgb([0, 200, 0]),
        (true, _) => Rgb([200, 0, 0]),
        (false, _) => Rgb([0, 0, 200]),
    })
}

fn coded(image: &image::DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn jpeg(image: RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 92);
    let (w, h) = (image.width() as u16, image.height() as u16);
    encoder.encode(&image, w, h, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

#[test]
fn a_picture_becomes_two_renditions_of_the_right_size() {
    let rendered = render(&jpeg(flag(1600, 1200)), &settings()).unwrap();
    let sizes: Vec<_> = rendered.renditions.iter().map(|r| (r.name.as_str(), r.width, r.height)).collect();
    assert_eq!(sizes, [("resized", 1024, 768), ("thumbs", 192, 144)]);
    for rendition in &rendered.renditions {
        let image = image::load_from_memory(&rendition.bytes).unwrap().into_rgb8();
        assert_eq!((image.width(), image.height()), (rendition.width, rendition.height));
        let at = |x: f64, y: f64| {
            *image.get_pixel((x * f64::from(image.width())) as u32, (y * f64::from(image.height())) as u32)
        };
        let near = |p: Rgb<u8>, q: [u8; 3]| p.0.iter().zip(q).all(|(a, b)| a.abs_diff(b) < 12);
        assert!(near(at(0.25, 0.5), [200, 0, 0]) && near(at(0.75, 0.5), [0, 0, 200]));
        assert!(near(at(0.5, 0.05), [0, 200, 0]));
    }
}

#[test]
fn nothing_is_enlarged() {
    let rendered = render(&jpeg(flag(120, 90)), &settings()).unwrap();
    assert!(rendered.renditions.iter().all(|r| (r.width, r.height) == (120, 90)));
}

#[test]
fn every_format_is_read_by_content() {
    let image = image::DynamicImage::from(flag(300, 200));
    for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP]
    {
        let rendered =
            render(&coded(&image, format), &settings()).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        assert_eq!(rendered.renditions.len(), 2, "{format:?}");
    }
}

#[test]
fn what_is_transparent_shows_white() {
    let clear = image::DynamicImage::from(RgbaImage::new(40, 40));
    let rendered = render(&coded(&clear, ImageFormat::Png), &settings()).unwrap();
    let image = image::load_from_memory(&rendered.renditions[0].bytes).unwrap().into_rgb8();
    assert!(image.pixels().all(|p| p.0 == [255, 255, 255]));
}

#[test]
fn what_is_half_transparent_is_blended_with_white() {
    let half = RgbaImage::from_pixel(40, 40, image::Rgba([0, 40, 200, 128]));
    let shown = shown(&coded(&half.into(), ImageFormat::Png), &settings());
    assert_near(shown, [127, 147, 227]);
}

#[test]
fn of_an_animation_the_first_frame_is_shown() {
    let mut bytes = Vec::new();
    let frames = [[200, 0, 0], [0, 0, 200]]
        .map(|[r, g, b]| image::Frame::new(RgbaImage::from_pixel(60, 40, image::Rgba([r, g, b, 255]))));
    image::codecs::gif::GifEncoder::new(&mut bytes).encode_frames(frames).unwrap();
    assert_near(shown(&bytes, &settings()), [200, 0, 0]);
}

/// The colour in the middle of the first rendition.
fn shown(bytes: &[u8], settings: &Settings) -> [u8; 3] {
    let rendered = render(bytes, settings).unwrap();
    let image = image::load_from_memory(&rendered.renditions[0].bytes).unwrap().into_rgb8();
    image.get_pixel(image.width() / 2, image.height() / 2).0
}

fn assert_near(shown: [u8; 3], wanted: [u8; 3]) {
    assert!(shown.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 4), "{shown:?}, {wanted:?} expected");
}

/// A picture of one colour, coded as it is; APP14 is what Adobe software writes (Adobe TN 5116, 18).
fn plain(samples: &[u8], colours: jpeg_encoder::ColorType, app14_transform: Option<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    if let Some(transform) = app14_transform {
        let segment = [&b"Adobe\0\x64\0\0\0\0"[..], &[transform]].concat();
        encoder.add_app_segment(14, segment).unwrap();
    }
    encoder.encode(&samples.repeat(48 * 32), 48, 32, colours).unwrap();
    if app14_transform.is_some() {
        // JFIF would outweigh it.
        let jfif = bytes.windows(5).position(|window| window == b"JFIF\0").unwrap();
        bytes[jfif] = b'j';
    }
    bytes
}

#[test]
fn the_adobe_segment_says_what_three_components_are() {
    use jpeg_encoder::ColorType::Ycbcr;
    assert_near(shown(&plain(&[200, 100, 50], Ycbcr, Some(0)), &settings()), [200, 100, 50]);
    // R = Y + 1.402 (Cr - 128) and so on (JFIF 1.02).
    let (y, cb, cr) = (120.0, -28.0, 22.0);
    let rgb = [y + 1.402 * cr, y - 0.344_14 * cb - 0.714_14 * cr, y + 1.772 * cb].map(|v: f64| v as u8);
    assert_near(shown(&plain(&[120, 100, 150], Ycbcr, Some(1)), &settings()), rgb);
}

#[test]
fn inks_are_shown_as_they_print() {
    use jpeg_encoder::ColorType::{Cmyk, CmykAsYcck};
    // The colours of solid inks in web offset: see `OVERPRINTS`.
    for (inks, wanted) in [
        ([0, 0, 0, 0], [255, 255, 255]),
        ([255, 0, 0, 0], [0, 174, 239]),
        ([0, 255, 0, 0], [236, 0, 140]),
        ([0, 0, 255, 0], [255, 242, 0]),
        ([0, 0, 0, 255], [35, 31, 32]),
    ] {
        for colours in [Cmyk, CmykAsYcck] {
            assert_near(shown(&plain(&inks, colours, None), &settings()), wanted);
        }
    }
}

#[test]
fn colours_are_converted_or_their_profile_is_kept() {
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.add_icc_profile(&p3).unwrap();
    encoder.encode(&[200, 80, 60].repeat(48 * 32), 48, 32, jpeg_encoder::ColorType::Rgb).unwrap();
    // Display P3 to sRGB, by hand: linear light, the matrix of the primaries (CSS Color 4, 17), and back.
    assert_near(shown(&bytes, &settings()), [216, 69, 50]);
    let keep = Settings { icc: IccMode::Keep, ..settings() };
    assert_near(shown(&bytes, &keep), [200, 80, 60]);
    for (settings, kept) in [(settings(), false), (keep, true)] {
        for rendition in render(&bytes, &settings).unwrap().renditions {
            let found = rendition.bytes.windows(p3.len()).any(|window| window == p3);
            assert_eq!(found, kept, "{}", rendition.name);
        }
    }
}

/// Adobe software stores how much ink is missing; without its mark a sample says how much there is.
#[test]
fn inks_are_inverted_where_adobe_software_wrote_them() {
    let adobe = plain(&[0, 0, 0, 0], jpeg_encoder::ColorType::Cmyk, None);
    let mark = adobe.windows(5).position(|window| window == b"Adobe").unwrap();
    let mut other = adobe.clone();
    other[mark] = b'a';
    // The encoder takes ink, and writes it as Adobe software does.
    assert_near(shown(&adobe, &settings()), [255, 255, 255]);
    let black = shown(&other, &settings());
    assert!(black.iter().all(|sample| *sample < 60), "{black:?}");
}

/// Brighter than any RGB with these colours: on the way through RGB it would be clipped.
#[test]
fn what_need_not_be_rgb_is_not_made_so() {
    let bytes = plain(&[250, 60, 200], jpeg_encoder::ColorType::Ycbcr, None);
    let specs = spec::parse("a=48x32,q95,444").unwrap();
    let made = render(&bytes, &Settings { specs, ..settings() }).unwrap().renditions.remove(0).bytes;
    let header = jpeg::read_header(&made, &jpeg::Limits::default()).unwrap();
    let decoded =
        jpeg::decode(&made, &header, &[8; 3], &jpeg::Limits::default(), &mut jpeg::Scratch::new()).unwrap();
    for (plane, wanted) in decoded.planes.planes.iter().zip([250_u8, 60, 200]) {
        assert!(plane.row(16)[24].abs_diff(wanted) <= 2, "{} instead of {wanted}", plane.row(16)[24]);
    }
}

#[test]
fn renditions_are_coded_as_asked() {
    let specs = "a=400x300,q40,422,progressive; b=390x290,q90,444,optimized; c=380x280,q90,444; d=370x270";
    let specs = spec::parse(specs).unwrap();
    let renditions = render(&jpeg(flag(900, 700)), &Settings { specs, ..settings() }).unwrap().renditions;
    let of = |bytes: &[u8]| {
        let header = jpeg::read_header(bytes, &jpeg::Limits::default()).unwrap();
        let table = bytes.windows(2).position(|pair| pair == [0xFF, 0xDB]).unwrap();
        let sampling: Vec<(u8, u8)> = header.components.iter().map(|c| (c.h, c.v)).collect();
        // The first step of the table for brightness: 16 at quality 50 (T.81 K.1).
        (header.coding, sampling, bytes[table + 5])
    };
    let coded: Vec<_> = renditions.iter().map(|rendition| of(&rendition.bytes)).collect();
    let same = vec![(1, 1); 3];
    assert_eq!(coded[0], (jpeg::Coding::Progressive, vec![(2, 1), (1, 1), (1, 1)], 20));
    assert_eq!(coded[1], (jpeg::Coding::Baseline, same.clone(), 3));
    assert_eq!(coded[2], (jpeg::Coding::Baseline, same, 3));
    assert_eq!(coded[3].1, [(2, 2), (1, 1), (1, 1)], "4:2:0 by default");
    let [larger, smaller] = [&renditions[1], &renditions[2]].map(|rendition| rendition.bytes.len());
    assert!(larger < smaller, "optimised tables: {larger} bytes, although it has more pixels than {smaller}");
}

#[test]
fn every_rendition_is_jfif() {
    for rendition in render(&jpeg(flag(500, 300)), &settings()).unwrap().renditions {
        // Right after SOI: APP0 of 16 bytes, version 1.01 or 1.02, square pixels, no thumbnail (JFIF 1.02, 10).
        let [0xFF, 0xD8, 0xFF, 0xE0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 1 | 2, _, rest @ ..] =
            rendition.bytes.as_slice()
        else {
            panic!("{:x?}", &rendition.bytes[..20]);
        };
        let [x1, x0, y1, y0, 0, 0, ..] = rest else { panic!("{:x?}", &rest[..6]) };
        assert!((x1, x0) == (y1, y0) && (*x1, *x0) != (0, 0));
    }
}

#[test]
fn a_damaged_picture_is_rejected_or_rendered_as_told() {
    let whole = jpeg(flag(600, 400));
    let cut = &whole[..whole.len() * 3 / 4];
    assert_eq!(render(cut, &settings()).unwrap_err().reason, Reason::Truncated);
    let limits = Limits { damaged: Damaged::Accept, ..Limits::default() };
    let rendered = render(cut, &Settings { limits, ..settings() }).unwrap();
    assert_eq!(rendered.renditions.len(), 2);
    assert!(rendered.notes.iter().any(|note| note.contains("too early")), "{:?}", rendered.notes);
    let image = image::load_from_memory(&rendered.renditions[0].bytes).unwrap().into_rgb8();
    // The last block that came was blue, and so is what is missing.
    assert_near(image.get_pixel(10, 5).0, [0, 200, 0]);
    assert_near(image.get_pixel(500, 399).0, [0, 0, 200]);
}

#[test]
fn what_is_not_read_is_named() {
    let whole = jpeg(flag(90, 70));
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    for (at, value, name) in [(1, 0xc9, "arithmetic"), (1, 0xc3, "lossless"), (4, 12, "12-bit")] {
        let mut bytes = whole.clone();
        bytes[frame + at] = value;
        let rejection = render(&bytes, &settings()).unwrap_err();
        assert_eq!(rejection.reason, Reason::Unsupported);
        assert!(rejection.detail.contains(name), "{rejection}");
    }
}

#[test]
fn a_thumbnail_is_made_from_the_larger_rendition() {
    let (bytes, settings) = (jpeg(flag(3000, 2000)), settings());
    let (resized, thumbs) = (&settings.specs[0], &settings.specs[1]);
    let (mut scratch, mut stages) = (Scratch::default(), Stages::default());
    let deadline = Deadline::after(settings.limits.max_time);
    let mut source = Source::open(&bytes, &settings.limits, deadline).unwrap();
    let mut at =
        |size| source.picture(size, resized.subsampling, settings.icc, &mut stages, &mut scratch).unwrap();
    let (larger, alone) = (at((1024, 683)), at((192, 128)));
    let from_larger = larger.shrink((192, 128), thumbs.subsampling, &mut scratch);
    let [from_larger, alone] =
        [from_larger, alone].map(|picture| picture.encode(thumbs, None, &mut scratch).unwrap());
    assert!(from_larger != alone, "these cannot be told apart");
    assert!(render(&bytes, &settings).unwrap().renditions[1].bytes == from_larger);
}

#[test]
fn gray_stays_gray() {
    let gray =
        image::DynamicImage::from(image::GrayImage::from_fn(1500, 900, |x, _| image::Luma([(x / 6) as u8])));
    let rendered = render(&coded(&gray, ImageFormat::Png), &settings()).unwrap();
    for rendition in rendered.renditions {
        assert_eq!(image::load_from_memory(&rendition.bytes).unwrap().color(), image::ColorType::L8);
    }
}

#[test]
fn what_is_no_picture_is_rejected_by_name() {
    let mut truncated = jpeg(flag(400, 300));
    truncated.truncate(truncated.len() / 2);
    for (bytes, reason) in [
        (&b""[..], Reason::Empty),
        (b"just text", Reason::NotAnImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason::NotAnImage),
        (b"\xff\xd8\xff\xd9", Reason::Corrupt),
        (&truncated, Reason::Truncated),
    ] {
        let rejection = render(bytes, &settings()).unwrap_err();
        assert_eq!(rejection.reason, reason, "{rejection}");
    }
}

#[test]
fn limits_are_named_with_both_numbers() {
    let mut settings = settings();
    settings.limits.max_pixels = 1000;
    let rejection = render(&jpeg(flag(100, 50)), &settings).unwrap_err();
    assert_eq!(rejection.reason, Reason::PixelLimit);
    assert!(rejection.detail.contains("5000") && rejection.detail.contains("1000"), "{rejection}");
}

#[test]
fn a_small_pixel_limit_lets_small_pictures_pass() {
    for max_pixels in [1, 90 * 70, 25_000] {
        let limits = Limits { max_pixels, ..Limits::default() };
        let settings = Settings { limits, ..settings() };
        for bytes in one_of_each_kind() {
            let (made, allowed) = (render(&bytes, &settings), max_pixels >= 90 * 70);
            assert_eq!(made.as_ref().err().map(|why| why.reason), (!allowed).then_some(Reason::PixelLimit));
        }
        let (width, height) = (max_pixels as u32, 1);
        let made = render(&jpeg(flag(width, height)), &settings);
        assert!(made.is_ok(), "{width}x{height}: {:?}", made.err());
    }
}

#[test]
fn the_same_bytes_give_the_same_bytes() {
    let bytes = jpeg(flag(700, 500));
    let once = render(&bytes, &settings()).unwrap().renditions;
    assert_eq!(once, render(&bytes, &settings()).unwrap().renditions);
}

#[test]
fn small_renditions_come_from_larger_ones_unless_too_close() {
    let of = |width, height| Picture {
        planes: vec![plane::Plane { width, height, samples: vec![] }],
        subsampling: Subsampling::S420,
    };
    assert!(serves(&of(1024, 768), (192, 144)));
    assert!(serves(&of(120, 90), (120, 90)));
    assert!(!serves(&of(1024, 768), (900, 675)));
}

#[test]
fn memory_of_an_earlier_picture_changes_nothing() {
    let mut scratch = Scratch::default();
    let pictures = [jpeg(flag(900, 700)), jpeg(flag(31, 17)), jpeg(flag(1500, 200))];
    for bytes in pictures.iter().chain(&pictures) {
        let again = render_with(bytes, &settings(), &mut scratch).unwrap().renditions;
        assert_eq!(again, render(bytes, &settings()).unwrap().renditions);
    }
}

#[test]
fn the_time_limit_is_kept() {
    let mut settings = settings();
    settings.limits.max_time = Duration::ZERO;
    let rejection = render(&jpeg(flag(900, 700)), &settings).unwrap_err();
    assert_eq!(rejection.reason, Reason::TimeLimit, "{rejection}");
    let both = " s of CPU time are more than the limit of 0.0 s (--max-render-time)";
    assert!(rejection.detail.ends_with(both), "{rejection}");
}

/// Whichever way a picture is read.
fn one_of_each_kind() -> Vec<Vec<u8>> {
    let mut progressive = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut progressive, 80);
    encoder.set_progressive(true);
    encoder.encode(&flag(90, 70), 90, 70, jpeg_encoder::ColorType::Rgb).unwrap();
    let png = coded(&image::DynamicImage::from(flag(90, 70)), ImageFormat::Png);
    vec![jpeg(flag(90, 70)), progressive, png]
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
#[test]
fn a_picture_that_waits_for_a_processor_is_not_late_and_one_that_works_too_long_is() {
    let budget = Duration::from_secs(1);
    for bytes in one_of_each_kind() {
        let deadline = Deadline::after(budget);
        std::thread::sleep(budget + Duration::from_millis(1));
        let mut scratch = Scratch::default();
        let late = render_until(deadline, &bytes, &settings(), &mut scratch);
        assert!(late.is_ok(), "{:?}", late.err());
        while deadline.spent() < budget {}
        let over = render_until(deadline, &bytes, &settings(), &mut scratch).unwrap_err();
        assert_eq!(over.reason, Reason::TimeLimit, "{over}");
    }
}

#[test]
fn decoders_of_other_formats_stop_when_the_time_is_over() {
    let (limits, now, later) =
        (Limits::default(), Deadline::after(Duration::ZERO), Deadline::after(Duration::from_secs(3600)));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Bmp]
    {
        let bytes = coded(&image::DynamicImage::from(flag(90, 70)), format);
        assert!(decode::decode(&bytes, format, &limits, later).is_ok(), "{format:?}");
        let stopped = decode::decode(&bytes, format, &limits, now).err().map(|why| why.reason);
        assert_eq!(stopped, Some(Reason::TimeLimit), "{format:?}");
    }
}

#[test]
fn a_hundred_scans_are_enough_for_anyone() {
    assert_eq!(Limits::default().max_scans, 100);
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 60);
    encoder.set_progressive(true);
    encoder.encode(&flag(64, 64), 64, 64, jpeg_encoder::ColorType::Rgb).unwrap();
    assert!(render(&bytes, &settings()).is_ok());
    // The last scan again and again.
    let last = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let scan = bytes[last..bytes.len() - 2].to_vec();
    bytes.truncate(bytes.len() - 2);
    bytes.extend(scan.repeat(100));
    bytes.extend([0xff, 0xd9]);
    let rejection = render(&bytes, &settings()).unwrap_err();
    assert_eq!(rejection.reason, Reason::ScanLimit);
    assert!(
        rejection.detail.contains("101 scans") && rejection.detail.contains("limit of 100"),
        "{rejection}"
    );
}

#[test]
fn junk_after_the_first_marker_is_passed_over() {
    let mut bytes = jpeg(flag(900, 700));
    bytes.splice(2..2, [0, 7, 0xff, 0, 1]);
    assert_eq!(render(&bytes, &settings()).unwrap().renditions.len(), 2);
}

#[test]
fn half_a_profile_is_noted_and_the_picture_made() {
    let mut bytes = jpeg(flag(90, 70));
    let part = [&b"\xff\xe2\x00\x14ICC_PROFILE\0\x01\x02"[..], b"half"].concat();
    bytes.splice(2..2, part);
    let made = render(&bytes, &settings()).unwrap();
    assert_eq!(made.notes, ["colour profile ignored: its parts are not numbered from 1 on"]);
}

#[test]
fn a_useless_profile_is_noted_once_and_the_picture_made() {
    let profiles = [vec![7; 200], moxcms::ColorProfile::new_gray_with_gamma(1.8).encode().unwrap()];
    for (profile, icc) in profiles.iter().flat_map(|p| [(p, IccMode::Srgb), (p, IccMode::Keep)]) {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.add_icc_profile(profile).unwrap();
        encoder.encode(&flag(300, 200), 300, 200, jpeg_encoder::ColorType::Rgb).unwrap();
        // Too alike for one to be made from the other: the profile is met twice.
        let specs = spec::parse("a=200x200; b=180x180").unwrap();
        let rendered = render(&bytes, &Settings { specs, icc, ..settings() }).unwrap();
        assert_eq!(rendered.notes.len(), 1, "{:?}", rendered.notes);
        assert!(rendered.notes[0].starts_with("colour profile ignored: "), "{:?}", rendered.notes);
        assert!(rendered.renditions.iter().all(|r| !r.bytes.windows(11).any(|w| w == b"ICC_PROFILE")));
    }
}

#[test]
fn every_processor_makes_the_same_renditions() {
    let photo = |colours, progressive: bool| {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.set_progressive(progressive);
        let image = flag(1101, 703);
        let samples = match colours {
            jpeg_encoder::ColorType::Rgb => image.into_raw(),
            _ => image.pixels().flat_map(|p| [p[0], p[1], p[2], 9]).collect(),
        };
        encoder.encode(&samples, 1101, 703, colours).unwrap();
        bytes
    };
    let png = coded(&image::DynamicImage::from(flag(500, 400)), ImageFormat::Png);
    let (rgb, cmyk) = (jpeg_encoder::ColorType::Rgb, jpeg_encoder::ColorType::Cmyk);
    let specs = spec::parse("a=640x480; b=200x200,444,progressive; c=70x70,422,optimized").unwrap();
    let settings = Settings { specs, ..settings() };
    for bytes in [photo(rgb, false), photo(rgb, true), photo(cmyk, false), png] {
        let fastest = render(&bytes, &settings).unwrap().renditions;
        assert!(fastest == processor::portably(|| render(&bytes, &settings)).unwrap().renditions);
    }
}
