//! How good renditions look, and what becomes of odd files.
//!
//! `LONGSHORE_TEST_PHOTOS` and `LONGSHORE_TEST_TRAPS` name folders of photographs and of trap files; the
//! tests that need them print a line and pass where there are none. `LONGSHORE_TEST_ALL_PHOTOS=1` takes
//! every photograph and not one of each kind, `LONGSHORE_PEERS` (see `benches/peers/install`) compares
//! with pyvips too, and `-- --nocapture` shows the figures.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "quality/coded.rs"]
mod coded;
#[path = "quality/colours.rs"]
mod colours;
#[path = "quality/loss.rs"]
mod loss;
#[path = "quality/made.rs"]
mod made;
#[path = "quality/photos.rs"]
mod photos;
#[path = "common/pictures.rs"]
#[allow(dead_code)] // each test program uses its own part
mod pictures;
#[path = "quality/planes.rs"]
mod planes;
#[path = "quality/reference.rs"]
mod reference;
#[path = "quality/traps.rs"]
mod traps;

use coded::{Coded, mean_difference};
use image::RgbImage;
use jpeg_encoder::SamplingFactor;
use longshore::render::{IccMode, Limits, Settings, render, spec};
use loss::{Loss, mean};
use photos::{Photo, photos};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use traps::{Outcome, Trap, traps};

/// Points of SSIMULACRA2 that decoding at a small scale may cost, on average and at worst.
const MEAN_LOSS: f64 = 0.5;
const WORST_LOSS: f64 = 3.5;
/// Points that one size may lose to the luck of its scale: one pixel decoded for each wanted loses two.
const CLIFF: f64 = 1.0;
/// SSIMULACRA2 of thumbnails at quality 82, 4:4:4, on average.
const THUMBNAIL_SCORE: f64 = 66.0;
/// Mean difference a sample of one picture stored in two orientations.
const TURNED_DIFFERENCE: f64 = 2.0;
/// Mean ΔE of colours from where a profile says that they are.
const COLOUR_DISTANCE: f64 = 1.0;

static LOSSES: LazyLock<Vec<Loss>> =
    LazyLock::new(|| loss::table(&photos(), |photo: &Photo| Loss::of(&photo.name, &photo.bytes)));

#[test]
fn a_photograph_loses_little_to_the_same_encoder_after_a_full_decode() {
    if !LOSSES.is_empty() {
        assert_losses_are_small(&LOSSES);
    }
}

#[test]
fn thumbnails_that_keep_their_colour_samples_look_good() {
    if !LOSSES.is_empty() {
        let score = mean(&LOSSES, |loss| loss.thumbnail);
        assert!(score >= THUMBNAIL_SCORE, "{score:.1} on average, {THUMBNAIL_SCORE} expected");
    }
}

/// A decoder that picks the scale by size alone falls off a cliff here: a scaled picture that is just
/// larger than its target is blurred twice.
#[test]
fn there_is_no_cliff_just_above_a_scale_of_the_target() {
    let sizes = [
        (4128, 3096), // 2/8 is 1032×774
        (4096, 3072), // 2/8 is the target itself
        (4032, 3024), // just too small for 2/8
        (3824, 2868), // 3/8 is 1.4 times the target, the least for luma
        (3416, 2562), // 3/8 is 1.25 times the target, the least for colour differences
        (3072, 2304), // 3/8 is 1.125 times the target
        (2736, 2052), // 3/8 is 1026
        (2056, 1544), // 4/8 is 1028
        (1644, 1233), // 5/8 is 1028
        (1032, 776),  // hardly shrunk
        (2320, 3080), // upright: 2/8 is 770 high
    ];
    let picture = made::detailed(4128, 3096);
    let losses = loss::table(&sizes, |&(width, height)| {
        Loss::of(&format!("{width}×{height}"), &made::cropped(&picture, width, height))
    });
    assert_losses_are_small(&losses);
    let score = mean(&losses, |loss| loss.thumbnail);
    assert!(score >= THUMBNAIL_SCORE, "{score:.1} on average, {THUMBNAIL_SCORE} expected");
    for loss in &losses {
        assert!(loss.points() <= CLIFF, "{} falls off a cliff: {:.2} lost", loss.name, loss.points());
    }
}

/// Stored with next to no loss: noise that differs from file to file is not the engine's.
#[test]
fn all_eight_orientations_show_the_same_picture() {
    let upright = made::calm(1500, 1100);
    assert_turned_alike(&upright, SamplingFactor::F_1_1, 1..=8);
    // Half the colour samples across: stored on its side, a picture loses others than stored upright.
    let soft = pictures::picture(1500, 1100);
    assert_turned_alike(&soft, SamplingFactor::F_2_1, 1..=4);
    assert_turned_alike(&soft, SamplingFactor::F_2_1, 5..=8);
}

fn assert_turned_alike(upright: &RgbImage, sampling: SamplingFactor, orientations: RangeInclusive<u8>) {
    let turned = |orientation: u8| {
        let stored = pictures::stored_as(upright, orientation);
        let tag = pictures::orientation(orientation);
        let bytes = pictures::jpeg_with(&stored, |encoder| {
            encoder.set_quality(98);
            encoder.set_sampling_factor(sampling);
            encoder.add_app_segment(1, tag).unwrap();
        });
        renditions(&bytes, "resized=1024x768,q95,444; thumbs=192x192,q95,444", IccMode::Srgb)
    };
    let first = turned(*orientations.start());
    for orientation in orientations.skip(1) {
        for (one, other) in first.iter().zip(turned(orientation)) {
            let difference = mean_difference(&one.pixels, &other.pixels);
            println!("{sampling:?}, orientation {orientation}: differs by {difference:.2}");
            assert!(
                difference <= TURNED_DIFFERENCE,
                "{sampling:?}, orientation {orientation}: {difference:.2}"
            );
        }
    }
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    let bytes = made::cropped(&made::calm(700, 500), 700, 500);
    let settings = settings(spec::DEFAULT_RENDITIONS, IccMode::Srgb);
    let [one, other] = [(); 2].map(|()| render(&bytes, &settings).unwrap().renditions);
    assert_eq!(one, other);
}

/// Samples may differ by this much from those of another decoder: standards leave the inverse DCT some room.
const PLANE_DIFFERENCE: u8 = 2;

#[test]
fn planes_are_those_of_an_independent_decoder() {
    let mut files = planes::made();
    assert_eq!(files.len(), 128);
    files.extend(photos().into_iter().map(|photo| (photo.name, photo.bytes)));
    let wrong: Vec<String> = files
        .iter()
        .filter_map(|(name, bytes)| match planes::worst_difference(bytes) {
            Ok(worst) if worst <= PLANE_DIFFERENCE => None,
            Ok(worst) => Some(format!("{name}: differs by {worst}")),
            Err(why) => Some(format!("{name}: {why}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

/// Of the trap files that are whole, those that the other decoder reads as well.
#[test]
fn planes_of_trap_files_are_those_of_an_independent_decoder() {
    let traps = traps();
    let (mut compared, mut wrong) = (0, Vec::new());
    for trap in &traps {
        match planes::worst_difference(&trap.bytes) {
            Ok(worst) if worst <= PLANE_DIFFERENCE => compared += 1,
            Ok(worst) => wrong.push(format!("{} ({}): differs by {worst}", trap.file, trap.what)),
            Err(why) => println!("{}: not compared: {why}", trap.file),
        }
    }
    println!("{compared} of {} trap files compared", traps.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= traps.len() / 2, "only {compared} of {} trap files compared", traps.len());
}

#[test]
fn every_trap_file_has_the_outcome_of_its_manifest() {
    check(&traps(), Trap::verdict);
}

#[test]
fn a_truncated_trap_file_becomes_a_picture_where_damage_is_accepted() {
    let mut traps = traps();
    traps.retain(|trap| trap.expected == [Outcome::Reject(longshore::error::Reason::Truncated)]);
    // One ends right after a scan header: of nothing, no picture is made.
    let (empty, begun): (Vec<Trap>, Vec<Trap>) = traps.into_iter().partition(Trap::ends_before_its_data);
    check(&begun, Trap::verdict_if_accepted);
    check(&empty, Trap::verdict_if_nothing_is_there);
}

/// Small, where the noise is gone that each of these files got when it was coded by itself: larger, a
/// full decode by another decoder shows differences of more than two.
#[test]
fn trap_files_of_every_orientation_show_the_same_picture() {
    let mut traps = traps();
    traps.retain(|trap| trap.what.contains("must look as orientation 1"));
    let shown = |trap: &Trap| {
        let mut shown = renditions(&trap.bytes, "thumbs=192x192,q95,444", IccMode::Srgb);
        shown.remove(0).pixels
    };
    let Some(first) = traps.first().map(shown) else { return };
    check(&traps[1..], |trap| {
        let difference = mean_difference(&first, &shown(trap));
        println!("{}: differs by {difference:.2}", trap.file);
        if difference <= TURNED_DIFFERENCE { Ok(()) } else { Err(format!("differs by {difference:.2}")) }
    });
}

#[test]
fn colours_are_where_their_profile_says() {
    let mut traps = traps();
    traps.retain(|trap| colours::wanted(&trap.file).is_some());
    check(&traps, |trap| {
        let resized = &renditions(&trap.bytes, "resized=1024x768,q95,444", IccMode::Srgb)[0];
        let distance = colours::mean_distance(&resized.pixels, &colours::wanted(&trap.file).unwrap());
        println!("{}: mean ΔE {distance:.2}", trap.file);
        if distance <= COLOUR_DISTANCE { Ok(()) } else { Err(format!("mean ΔE is {distance:.2}")) }
    });
}

/// The same for profiles that are nothing but primaries and a curve, worked out by hand.
#[test]
fn colours_of_made_pictures_are_where_their_profile_says() {
    let picture = pictures::picture(1500, 1100);
    let profiles = [
        (
            "Display P3",
            moxcms::ColorProfile::new_display_p3(),
            colours::from_display_p3 as fn([u8; 3]) -> [u8; 3],
        ),
        ("Adobe RGB", moxcms::ColorProfile::new_adobe_rgb(), colours::from_adobe_rgb),
    ];
    for (name, profile, converted) in profiles {
        let bytes = pictures::jpeg_with(&picture, |encoder| {
            encoder.set_quality(95);
            encoder.set_sampling_factor(SamplingFactor::F_1_1);
            encoder.add_icc_profile(&profile.encode().unwrap()).unwrap();
        });
        let resized = &renditions(&bytes, "resized=1024x768,q95,444", IccMode::Srgb)[0];
        let mut wanted = picture.clone();
        wanted.pixels_mut().for_each(|pixel| pixel.0 = converted(pixel.0));
        let distance = colours::mean_distance(&resized.pixels, &colours::small(&wanted));
        let unchanged = colours::mean_distance(&resized.pixels, &colours::small(&picture));
        println!("{name}: mean ΔE {distance:.2}, without a conversion {unchanged:.2}");
        assert!(
            distance <= COLOUR_DISTANCE && unchanged > COLOUR_DISTANCE,
            "{name}: {distance:.2}, {unchanged:.2}"
        );
    }
}

#[test]
fn photographs_look_at_least_as_good_as_those_of_pyvips() {
    let Some(peers) = std::env::var_os("LONGSHORE_PEERS").map(PathBuf::from) else {
        println!("NOT RUN beside pyvips: LONGSHORE_PEERS is not set");
        return;
    };
    let photos = photos();
    if photos.is_empty() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    render_with_pyvips(&peers, &photos, out.path());
    let scores: Vec<f64> = photos
        .iter()
        .map(|photo| {
            let wanted = reference::fitted(&reference::decode(&photo.bytes), 1024, 768);
            reference::score(&wanted, &std::fs::read(out.path().join(&photo.name)).unwrap())
        })
        .collect();
    let theirs = scores.iter().sum::<f64>() / scores.len() as f64;
    let ours = mean(&LOSSES, |loss| loss.resized);
    println!("SSIMULACRA2 on average: {ours:.2}, pyvips {theirs:.2}");
    assert!(ours >= theirs, "{ours:.2} on average, pyvips has {theirs:.2}");
}

fn render_with_pyvips(peers: &Path, photos: &[Photo], out: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/pillow_vips.py");
    let mut child = Command::new(peers.join("venv/bin/python"))
        .arg(script)
        .args(["vips", "--out"])
        .arg(out)
        .args(photos.iter().map(|photo| &photo.path))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut orders, b"round\n").unwrap();
    drop(orders);
    assert!(child.wait().unwrap().success());
}

fn assert_losses_are_small(losses: &[Loss]) {
    let on_average = mean(losses, Loss::points);
    assert!(on_average <= MEAN_LOSS, "{on_average:.2} lost on average, at most {MEAN_LOSS} expected");
    for loss in losses {
        let points = loss.points();
        assert!(points <= WORST_LOSS, "{}: {points:.2} lost, at most {WORST_LOSS} expected", loss.name);
    }
}

/// Tells all that is wrong at once.
fn check(traps: &[Trap], verdict: impl Fn(&Trap) -> Result<(), String>) {
    let wrong = |trap: &Trap| Some(format!("{} ({}): {}", trap.file, trap.what, verdict(trap).err()?));
    let wrong: Vec<String> = traps.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{} of {} trap files:\n{}", wrong.len(), traps.len(), wrong.join("\n"));
}

fn renditions(bytes: &[u8], list: &str, icc: IccMode) -> Vec<Coded> {
    let rendered = render(bytes, &settings(list, icc)).unwrap();
    rendered.renditions.iter().map(|rendition| Coded::read(&rendition.bytes).unwrap()).collect()
}

fn settings(list: &str, icc: IccMode) -> Settings {
    Settings { specs: spec::parse(list).unwrap(), icc, limits: Limits::default() }
}
