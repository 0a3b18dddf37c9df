//! The figures of "nothing is lost": `cargo bench --bench faults [-- NAME … [minutes=30] [rate=200] [exits=60]]`
//!
//! Without names all figures but the soak are taken. The table gives each with its goal. Whatever is
//! lost, torn, late or leaked on the way ends the program with the whole story.
//!
//! | name | what is done |
//! | --- | --- |
//! | `uploads` | 20,000 uploads to three workers under every kind of trouble at once |
//! | `kills` | 500 times SIGKILL at a random exchange |
//! | `visible` | SIGTERM with jobs in work, and with a parked poll: when others can receive what was held |
//! | `rolling` | three workers under load, replaced one after the other |
//! | `drain` | three workers and 200 pictures a second, one after the other told to leave: from SIGTERM to the end |
//! | `errors` | throughput with 30 % of the calls to S3 failing, and without |
//! | `soak` | minutes at 5 % random faults: descriptors, threads, tasks, memory |
#![allow(clippy::unwrap_used)] // a figure that cannot be taken is not one

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/faults/harness/mod.rs"]
#[allow(unused_imports)] // the scenarios need more of it
mod harness;
#[path = "../tests/faults/runs.rs"]
mod runs;

use harness::process::Footprint;
use harness::{Operation, Scenario};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Figure {
    what: &'static str,
    found: String,
    goal: &'static str,
    met: bool,
}

const ALL: [&str; 6] = ["uploads", "kills", "visible", "rolling", "drain", "errors"];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let number =
        |name: &str| arguments.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    let named = arguments.iter().map(String::as_str).filter(|a| !a.contains('='));
    let mut names: Vec<&str> = named.collect();
    if names.is_empty() {
        names = ALL.to_vec();
    }
    let mut figures = Vec::new();
    for name in names {
        let began = Instant::now();
        figures.extend(match name {
            "uploads" => vec![uploads().await],
            "kills" => vec![kills().await],
            "visible" => visible().await,
            "rolling" => vec![rolling().await],
            "drain" => vec![drain(number("rate").unwrap_or(RATE), number("exits").unwrap_or(60)).await],
            "errors" => errors().await,
            "soak" => soak(number("minutes").unwrap_or(30).into()).await,
            other => panic!("{other:?} is none of {ALL:?} and soak"),
        });
        eprintln!("{name}: {:.0} s", began.elapsed().as_secs_f64());
    }
    println!("| figure | found | goal | |\n| --- | --- | --- | --- |");
    for Figure { what, found, goal, met } in &figures {
        println!("| {what} | {found} | {goal} | {} |", if *met { "met" } else { "not met" });
    }
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() - 1) * 99 / 100]
}

async fn uploads() -> Figure {
    let (uploads, faults) = runs::everything_at_once(20_000).await;
    Figure {
        what: "uploads tried under faults / lost",
        found: format!("{uploads} / 0 ({faults} calls spoilt)"),
        goal: "≥ 20,000 / 0",
        met: uploads >= 20_000,
    }
}

async fn kills() -> Figure {
    let killed = runs::kill_again_and_again(500).await;
    Figure {
        what: "SIGKILL runs / lost",
        found: format!("{} / {} (of {} uploads)", killed.runs, killed.lost, killed.uploads),
        goal: "500 / 0",
        met: killed.runs >= 500 && killed.lost == 0,
    }
}

async fn visible() -> Vec<Figure> {
    let held = p99(&runs::visible_after_sigterm(50).await);
    let parked = p99(&runs::visible_from_a_parked_poll(50).await);
    let figure = |what, found: Duration| Figure {
        what,
        found: format!("{} ms", found.as_millis()),
        goal: "≤ 1 s",
        met: found <= Duration::from_secs(1),
    };
    vec![
        figure("SIGTERM twice: jobs given back are visible to others, after the second signal, p99", held),
        figure("SIGTERM: what a parked poll still brings is visible to others after, p99", parked),
    ]
}

async fn rolling() -> Figure {
    let rolled = runs::rolling_restart(150, Duration::from_millis(10)).await;
    let percent = 100.0 * (rolled.again + rolled.redelivered) as f64 / rolled.uploads as f64;
    Figure {
        what: "SIGTERM in a rolling restart: redelivered or duplicate work",
        found: format!(
            "{percent:.2} % (of {}: {} worked on twice, {} redelivered; {} handed back without being begun, {} cut off)",
            rolled.uploads, rolled.again, rolled.redelivered, rolled.handed_back, rolled.cut_off
        ),
        goal: "≤ 1 %",
        met: percent <= 1.0,
    }
}

/// Pictures a second.
const RATE: u32 = 200;

async fn drain(rate: u32, exits: u32) -> Figure {
    let runs::Drained { offered, done, exits, busy } = runs::drain_under_load(rate, exits as usize).await;
    let found = p99(&exits);
    let budget = harness::worker::STOP_TIMEOUT - Duration::from_secs(5);
    Figure {
        what: "drain time at 200 pictures/s, p99",
        found: format!(
            "{} ms of {} s ({} exits, {busy} of them with pictures in work, at {offered:.0} pictures/s offered and \
             {done:.0} done)",
            found.as_millis(),
            budget.as_secs(),
            exits.len()
        ),
        goal: "≤ stop timeout − 5 s",
        // A figure at another rate is another figure.
        met: found <= budget && offered.min(done) >= 0.95 * f64::from(RATE),
    }
}

/// Pictures of some size, so that the figure is not about empty jobs.
const SCALE: u32 = 24;

async fn errors() -> Vec<Figure> {
    let mut figures = Vec::new();
    for (what, concurrency) in [
        ("throughput under 30 % mixed S3 errors ÷ without, 4 places (the default here)", 4),
        ("the same with 32 places", 32),
    ] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            without.push(runs::throughput(0.0, concurrency, SCALE, 20).await);
            with.push(runs::throughput(0.3, concurrency, SCALE, 20).await);
        }
        with.sort_by(f64::total_cmp);
        without.sort_by(f64::total_cmp);
        let ratio = with[1] / without[1];
        figures.push(Figure {
            what,
            found: format!("{ratio:.2} ({:.0} ÷ {:.0} pictures/s)", with[1], without[1]),
            goal: "≥ 0.5",
            met: ratio >= 0.5,
        });
    }
    figures
}

async fn soak(minutes: u64) -> Vec<Figure> {
    let scenario = Arc::new(Scenario::new().await);
    let worker = scenario.worker("w").await;
    runs::mixed_errors(&worker, 0.05);
    runs::mixed_queue_errors(&worker, 0.05);
    worker.started().await;
    let uploader = runs::Uploader::start(&scenario, "s", Duration::from_millis(20));
    // The first minute fills the pools.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut seen: Vec<(Footprint, f64)> = Vec::new();
    while Instant::now() < end {
        seen.push((worker.footprint(), worker.tasks().await.unwrap_or(f64::NAN)));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let uploads = uploader.stop().await;
    worker.proxy.heal();
    let faults = scenario.log.count(|e| e.fault.is_some());
    assert!(scenario.log.count(|e| e.call.operation == Operation::Delete) > 0);
    let scenario = Arc::into_inner(scenario).expect("the uploader has ended");
    scenario.finish_within(Duration::from_secs(300)).await;
    eprintln!("soak: {uploads} uploads, {faults} calls spoilt, none lost");
    // The mean of the first fifth against that of the last: flat is within a tenth and a little.
    let part = (seen.len() / 5).max(1);
    let mean = |of: &dyn Fn(&(Footprint, f64)) -> f64, list: &[(Footprint, f64)]| {
        list.iter().map(of).sum::<f64>() / list.len() as f64
    };
    let figure = |what, unit: &str, slack: f64, of: &dyn Fn(&(Footprint, f64)) -> f64| {
        let (first, last) = (mean(of, &seen[..part]), mean(of, &seen[seen.len() - part..]));
        Figure {
            what,
            found: format!("{first:.1} → {last:.1} {unit} over {minutes} min"),
            goal: "flat",
            met: last <= first * 1.1 + slack,
        }
    };
    vec![
        figure("soak at 5 % random faults: descriptors", "", 3.0, &|(f, _)| f.descriptors as f64),
        figure("soak: threads", "", 2.0, &|(f, _)| f.threads as f64),
        figure("soak: tasks", "", 4.0, &|(_, tasks)| *tasks),
        figure("soak: resident memory", "MiB", 4.0, &|(f, _)| f.rss_kib as f64 / 1024.0),
    ]
}
