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
    let both = " s of work are more than the limit of 0.0 s (--max-render-time)";
    assert!(rejection.detail.ends_with(both), "{rejection}");
}

#[test]
fn decoders_of_other_formats_stop_when_the_time_is_over() {
    let limits = Limits { max_time: Duration::ZERO, ..Limits::default() };
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Bmp]
    {
        let bytes = coded(&image::DynamicImage::from(flag(90, 70)), format);
        assert!(decode::decode(&bytes, format, &Limits::default(), Instant::now()).is_ok(), "{format:?}");
        let stopped = decode::decode(&bytes, format, &limits, Instant::now()).err().map(|why| why.reason);
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
