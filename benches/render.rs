//! The image engine beside its peers: `LONGSHORE_PEERS=FOLDER cargo bench --bench render [-- ROUNDS]`
//! (`benches/peers/install FOLDER` installs them; without, we are measured alone).
//!
//! Each photograph becomes both renditions at quality 82, 4:2:0 (our thumbnail, which costs more, 4:4:4), profiles
//! kept, on one thread. We and
//! the peers take turns, a round each, so that a noisy machine is unfair to all alike; a figure is the
//! median of a file's rounds, averaged over the files. CPU time, not wall time. The photographs are
//! those in the folder that `LONGSHORE_TEST_PHOTOS` names, else in `../shared/photos`, else made on the
//! spot. Linux only, as it reads `/proc`.

mod peers;
#[path = "peers/photos.rs"]
mod photos;

use longshore::render::{IccMode, Limits, Scratch, Settings, Stages, render_with, spec};
use peers::{Kind, Peer};
use photos::{Class, Photo, photos};
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

// As tests/quality judges them: the thumbnail has all of its chroma, which that of the peers has not.
const RENDITIONS: &str = "resized=1024x768,q82,420; thumbs=192x192,q82,444";
const LEAST_ROUNDS: usize = 5;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(LEAST_ROUNDS);
    let rounds = rounds.max(LEAST_ROUNDS);
    let folder = tempfile::tempdir().expect("a folder for what is built and made");
    let photos = photos(folder.path());
    let count = |class: Class| photos.iter().filter(|p| p.class == class).count();
    println!(
        "{} photographs: {} real baseline, {} progressive, {} synthetic; {rounds} rounds",
        photos.len(),
        count(Class::Baseline),
        count(Class::Progressive),
        count(Class::Synthetic)
    );

    let paths: Vec<PathBuf> = photos.iter().map(|p| p.path.clone()).collect();
    let mut peers = start_peers(&paths, folder.path());
    let mut ours = Vec::new();
    let mut theirs = vec![Vec::new(); peers.len()];
    let mut scratch = Scratch::default();
    for _ in 0..rounds {
        ours.push(photos.iter().map(|p| cost(&p.bytes, &mut scratch)).collect::<Vec<Cost>>());
        for (peer, rounds) in peers.iter_mut().zip(&mut theirs) {
            rounds.push(peer.round(photos.len()));
        }
    }
    let of_ours = |what: fn(&Cost) -> f64| -> Vec<Vec<Option<f64>>> {
        ours.iter().map(|round| round.iter().map(|cost| Some(what(cost))).collect()).collect()
    };
    let job = medians(&of_ours(|c| c.cpu_ms));
    // Stages are told in wall time, which other programs stretch. The short ones are rarely interrupted,
    // and never in all rounds; decoding, the long one, is what they leave of the CPU time.
    let resize = least(&of_ours(|c| ms(c.stages.resize)));
    let encode = least(&of_ours(|c| ms(c.stages.encode)));
    let rest = |n: usize| Some(job[n]? - resize[n]? - encode[n]?);
    let decode: Vec<Option<f64>> = (0..photos.len()).map(rest).collect();
    let peers: Vec<(Kind, Vec<Option<f64>>)> =
        peers.iter().zip(&theirs).map(|(peer, rounds)| (peer.kind, medians(rounds))).collect();

    println!("\nCPU ms a picture       {:>8}{:>15}{:>13}", "all", "real baseline", "progressive");
    let row = |name: &str, ms: &[Option<f64>]| {
        let mean = |files: Files| number(mean(&photos, ms, files), 1);
        println!(
            "{name:<23}{:>8}{:>15}{:>13}",
            mean(Files::All),
            mean(Files::Baseline),
            mean(Files::Progressive)
        );
    };
    row("longshore", &job);
    row("  of it decoding", &decode);
    row("  of it resizing", &resize);
    row("  of it encoding", &encode);
    for (kind, ms) in &peers {
        row(kind.name(), ms);
    }

    let against = |kind: Kind, ms: &[Option<f64>], files: Files| {
        let (_, theirs) = peers.iter().find(|(k, _)| *k == kind)?;
        ratio(&photos, ms, theirs, files)
    };
    println!("\n{:<47}{:>8}{:>10}{:>10}", "", "measured", "goal", "far goal");
    at_most("all files ÷ sharp chain", against(Kind::SharpChain, &job, Files::All), 0.45, 0.38);
    at_most("all files ÷ sharp clone", against(Kind::SharpClone, &job, Files::All), 0.31, 0.26);
    at_most("all files ÷ pyvips", against(Kind::Vips, &job, Files::All), 0.45, 0.38);
    at_most("all files ÷ Pillow plain", against(Kind::Pillow, &job, Files::All), 0.18, 0.15);
    at_most("all files ÷ libjpeg-turbo 1/8", against(Kind::Turbo8, &job, Files::All), 0.95, 0.80);
    at_most("real baseline ÷ that 1/8", against(Kind::Turbo8, &job, Files::Baseline), 1.00, 0.85);
    at_most(
        "real baseline, decoding alone ÷ that 1/8",
        against(Kind::Turbo8, &decode, Files::Baseline),
        0.72,
        0.65,
    );
    at_most("progressive ÷ sharp chain", against(Kind::SharpChain, &job, Files::Progressive), 0.60, 0.45);
    at_most("peak RSS, baseline 12 megapixels, MB", peak_rss_mb(&photos, 12.0, folder.path()), 20.0, 15.0);
    at_most("peak RSS, baseline 24 megapixels, MB", peak_rss_mb(&photos, 24.0, folder.path()), 40.0, 25.0);
    two_threads(&photos);
}

/// What a figure is the mean of.
#[derive(Debug, Clone, Copy)]
enum Files {
    All,
    Baseline,
    Progressive,
}

impl Files {
    fn holds(self, class: Class) -> bool {
        match self {
            Self::All => true,
            Self::Baseline => class == Class::Baseline,
            Self::Progressive => class == Class::Progressive,
        }
    }
}

/// Every peer that is installed; the others are named, a line for each cause.
fn start_peers(files: &[PathBuf], build: &Path) -> Vec<Peer> {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        match Peer::start(kind, files, build) {
            Ok(peer) => {
                println!("{}: {}", kind.name(), peer.version);
                present.push(peer);
            }
            Err(why) => absent.push((kind.name(), why)),
        }
    }
    absent.sort_by(|one, other| one.1.cmp(&other.1));
    for alike in absent.chunk_by(|one, other| one.1 == other.1) {
        let names: Vec<&str> = alike.iter().map(|(name, _)| *name).collect();
        println!("absent: {}: {}", names.join(", "), alike[0].1);
    }
    present
}

/// What one picture cost us.
struct Cost {
    cpu_ms: f64,
    stages: Stages,
}

/// With memory from the picture before, as the service has it.
fn cost(picture: &[u8], scratch: &mut Scratch) -> Cost {
    let settings = settings();
    let started = cpu_ms();
    let rendered = render_with(picture, &settings, scratch).expect("a photograph");
    Cost { cpu_ms: cpu_ms() - started, stages: rendered.stages }
}

fn settings() -> Settings {
    let specs = spec::parse(RENDITIONS).expect("renditions");
    Settings { specs, icc: IccMode::Keep, limits: Limits::default() }
}

/// CPU milliseconds of this process, all threads.
fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The median of each file's rounds; none for a file that was refused.
fn medians(rounds: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
    each_file(rounds, median)
}

fn least(rounds: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
    each_file(rounds, |values| values.into_iter().min_by(f64::total_cmp))
}

fn each_file(rounds: &[Vec<Option<f64>>], of: fn(Vec<f64>) -> Option<f64>) -> Vec<Option<f64>> {
    let files = rounds.first().map_or(0, Vec::len);
    (0..files).map(|n| of(rounds.iter().filter_map(|round| round[n]).collect())).collect()
}

fn mean(photos: &[Photo], ms: &[Option<f64>], files: Files) -> Option<f64> {
    let of_class = photos.iter().zip(ms).filter(|(p, _)| files.holds(p.class));
    let values: Vec<f64> = of_class.filter_map(|(_, ms)| *ms).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Our time by theirs, over the files that both of us do.
fn ratio(photos: &[Photo], ours: &[Option<f64>], theirs: &[Option<f64>], files: Files) -> Option<f64> {
    let shared = |mine: &[Option<f64>], others: &[Option<f64>]| -> Vec<Option<f64>> {
        mine.iter().zip(others).map(|(m, o)| o.and(*m)).collect()
    };
    Some(mean(photos, &shared(ours, theirs), files)? / mean(photos, &shared(theirs, ours), files)?)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".into(), |v| format!("{v:.digits$}"))
}

fn at_most(what: &str, measured: Option<f64>, goal: f64, far_goal: f64) {
    let reached = measured.map(|m| (m <= goal, m <= far_goal));
    row_of_goals(what, measured, (goal, far_goal), reached);
}

fn at_least(what: &str, measured: f64, goal: f64, far_goal: f64) {
    row_of_goals(what, Some(measured), (goal, far_goal), Some((measured >= goal, measured >= far_goal)));
}

fn row_of_goals(what: &str, measured: Option<f64>, goals: (f64, f64), reached: Option<(bool, bool)>) {
    let digits = if goals.0 > 10.0 { 1 } else { 2 };
    let verdict = match reached {
        Some((_, true)) => "far goal reached",
        Some((true, false)) => "reached",
        Some((false, false)) => "not reached",
        None => "not measured",
    };
    let (goal, far_goal) = (number(Some(goals.0), digits), number(Some(goals.1), digits));
    println!("{what:<47}{:>8}{goal:>10}{far_goal:>10}  {verdict}", number(measured, digits));
}

/// The most memory that `longshore render` holds at once: the worst of the real or synthetic baseline
/// files of about this size, each the median of three runs. None if there is no such file.
fn peak_rss_mb(photos: &[Photo], megapixels: f64, scratch: &Path) -> Option<f64> {
    let alike = |p: &&Photo| p.class != Class::Progressive && (p.megapixels() - megapixels).abs() < 0.6;
    let files: Vec<&Photo> = photos.iter().filter(alike).collect();
    let peaks = files.iter().filter_map(|p| median((0..3).map(|_| peak_of_one(&p.path, scratch)).collect()));
    peaks.max_by(f64::total_cmp)
}

fn peak_of_one(file: &Path, scratch: &Path) -> f64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_longshore"))
        .arg("render")
        .arg("--out")
        .arg(scratch)
        .args(["--renditions", RENDITIONS, "--icc", "keep"])
        .arg(file)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb: f64 = 0.0;
    // The kernel keeps the peak, but only as long as the process lives: the last look counts.
    while child.try_wait().expect("it is our child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kb = line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse().ok());
        peak_kb = peak_kb.max(kb.unwrap_or(0.0));
        std::thread::sleep(Duration::from_micros(200));
    }
    assert!(child.wait().is_ok_and(|s| s.success()), "{} is rendered", file.display());
    // The kernel says kB and means 1,024 bytes.
    peak_kb * 1024.0 / 1e6
}

/// How much faster two threads are than one. By the clock this needs two idle cores; by CPU time it
/// tells what the threads cost each other, whatever else runs.
fn two_threads(photos: &[Photo]) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        one.push(speed(photos, 1));
        two.push(speed(photos, 2));
    }
    let of = |speeds: &[Speed], what: fn(&Speed) -> f64| {
        median(speeds.iter().map(what).collect()).expect("three of them")
    };
    let by_clock = of(&two, |s| s.pictures_per_second) / of(&one, |s| s.pictures_per_second);
    let by_cpu = 2.0 * of(&one, |s| s.cpu_ms_a_picture) / of(&two, |s| s.cpu_ms_a_picture);
    at_least("two threads ÷ one, pictures a second", by_clock, 1.85, 1.95);
    at_least("  the same by CPU time, were two cores idle", by_cpu, 1.85, 1.95);
    println!(
        "{:.1} pictures a second on one thread, {:.1} on two; load before: {}",
        of(&one, |s| s.pictures_per_second),
        of(&two, |s| s.pictures_per_second),
        load.split(' ').next().unwrap_or("unknown")
    );
}

struct Speed {
    pictures_per_second: f64,
    cpu_ms_a_picture: f64,
}

/// Each thread does every photograph, the second one starting in the middle.
fn speed(photos: &[Photo], threads: usize) -> Speed {
    let (started, cpu) = (Instant::now(), cpu_ms());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let from = thread * photos.len() / threads;
            scope.spawn(move || {
                let mut scratch = Scratch::default();
                for photo in photos.iter().cycle().skip(from).take(photos.len()) {
                    let _ = cost(&photo.bytes, &mut scratch);
                }
            });
        }
    });
    let pictures = (photos.len() * threads) as f64;
    Speed {
        pictures_per_second: pictures / started.elapsed().as_secs_f64(),
        cpu_ms_a_picture: (cpu_ms() - cpu) / pictures,
    }
}
