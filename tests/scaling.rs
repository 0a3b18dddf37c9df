//! The template's scaling, run on one machine: its rules are read from the template, its tasks are real worker
//! processes that get real signals, its queue is a real one. What is modelled is said in `rules` and `run`.
//!
//! `LONGSHORE_TEST_SVG=docs/scaling.svg cargo test --test scaling two_bursts` draws the picture in the README.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "scaling/chart.rs"]
mod chart;
mod common;
#[path = "faults/harness/ecs.rs"]
#[allow(dead_code)] // faults of the endpoint have tests of their own
mod ecs;
#[path = "scaling/fleet.rs"]
mod fleet;
#[path = "scaling/rules.rs"]
mod rules;
#[path = "scaling/run.rs"]
mod run;
#[path = "template/mod.rs"]
mod template;

use fleet::{Image, Why};
use run::{Plan, Run, USUAL};
use std::time::Duration;

const README_CHART: &str = include_str!("../docs/scaling.svg");

fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bursts_wake_the_fleet_from_zero_and_it_goes_back_to_zero() {
    let mut run = Run::new().await;
    run.minutes(3).await;
    for _ in 0..2 {
        assert_eq!(run.fleet.running(), 0, "nothing runs for nothing");
        run.upload_broken().await;
        run.burst(150, 8).await;
        run.until_idle(150).await;
    }
    nothing(&run.verdict().await);
    assert!(run.most(|s| s.running) > 1, "one task was enough, so nothing was scaled: {:?}", run.history);
    let svg = chart::draw("two bursts on a fleet of 0 to 4 tasks", &run.history);
    let (drawn, shown) = (chart::facts(&svg), chart::facts(README_CHART));
    assert_eq!((&drawn.title, &drawn.lines), (&shown.title, &shown.lines));
    assert_eq!(drawn.lines.len(), 4);
    // A machine may be so fast that three tasks do; the picture in the README shows all that are allowed.
    assert_eq!((shown.tasks, shown.ends_at_zero), (run.rules.max + 1, true));
    assert!((2..=shown.tasks).contains(&drawn.tasks) && drawn.ends_at_zero, "{:?}", run.history);
    if let Ok(path) = std::env::var("LONGSHORE_TEST_SVG") {
        std::fs::write(path, svg).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_trickle_is_done_by_one_task() {
    let mut run = Run::new().await;
    for _ in 0..40 {
        run.upload(1).await;
        run.minute().await;
    }
    assert_eq!(run.most(|s| s.desired), 1, "{:?}", run.history);
    run.until_idle(150).await;
    nothing(&run.verdict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deployment_under_load_loses_nothing_and_repeats_nothing() {
    let mut run = Run::new().await;
    run.pinned = Some(2);
    run.minutes(3).await;
    let begin = run.history.len();
    for image in [Image::AlsoGood, Image::Good, Image::AlsoGood] {
        run.deploy(image);
        for _ in 0..5 {
            run.upload(20).await;
            run.minute().await;
        }
    }
    // Never fewer than there were, and the new ones beside them: 100 % and 200 % in the template.
    let running: Vec<u64> = run.history[begin..].iter().map(|s| s.running).collect();
    let (least, most) = (running.iter().min().copied(), running.iter().max().copied());
    assert_eq!((least, most), (Some(run.fleet.least(2)), Some(run.fleet.most(2))), "{running:?}");
    assert_eq!((least, most), (Some(2), Some(4)), "{running:?}");
    run.pinned = None;
    run.until_idle(150).await;
    assert_eq!(run.fleet.ended(Some(Why::Deployment)), 6, "three deployments of two tasks");
    nothing(&run.verdict().await);
    assert_eq!(run.made_twice(), 0, "{:?}", run.fleet.made);
}

#[tokio::test(flavor = "multi_thread")]
async fn spot_interruptions_cost_nothing() {
    let mut run = Run::new().await;
    run.pinned = Some(2);
    run.minutes(3).await;
    for _ in 0..6 {
        run.upload(25).await;
        run.upload_broken().await;
        run.minutes(3).await;
        assert_eq!(run.fleet.running(), 2, "what was taken is replaced: {:?}", run.history);
        run.interrupt();
    }
    run.pinned = None;
    run.until_idle(150).await;
    assert_eq!(run.fleet.ended(Some(Why::Spot)), 6);
    nothing(&run.verdict().await);
    assert_eq!(run.made_twice(), 0, "{:?}", run.fleet.made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_stays_within_bounds_and_heals_when_the_image_does() {
    let mut run = Run::new().await;
    run.deploy(Image::Crashes);
    run.upload(30).await;
    run.minutes(12).await;
    assert!(run.fleet.ended(None) >= 3, "{:?}", run.fleet.ends);
    assert_eq!(run.stage.depth(&run.stage.dlq).await.0, 0, "crashes gave pictures up");
    run.deploy(Image::Good);
    run.until_idle(150).await;
    nothing(&run.verdict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_crashes_is_taken_back_while_the_old_tasks_go_on() {
    let mut run = Run::new().await;
    run.pinned = Some(2);
    run.minutes(3).await;
    run.deploy(Image::Crashes);
    for _ in 0..60 {
        run.upload(5).await;
        run.minute().await;
        if run.fleet.rolled_back > 0 {
            break;
        }
    }
    assert_eq!((run.fleet.rolled_back, run.fleet.image), (1, Image::Good), "{:?}", run.fleet.ends);
    assert!(run.fleet.ended(None) >= 3, "{:?}", run.fleet.ends);
    run.minutes(3).await;
    assert_eq!(run.fleet.ended(Some(Why::Deployment)), 0, "an old task was stopped for nothing");
    run.pinned = None;
    run.until_idle(150).await;
    nothing(&run.verdict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_raises_the_floor_before_a_run_and_lowers_it_after() {
    let mut run = Run::with(Plan { given: &[("ScheduledMinTasks", "3")], ..USUAL }).await;
    run.minutes(2).await;
    assert_eq!(run.most(|s| s.running), 0);
    run.schedule("RaiseFloor");
    run.minutes(4).await;
    assert_eq!(run.fleet.running(), 3, "before the first picture: {:?}", run.history);
    // Taken back and replaced: the floor is kept.
    run.interrupt();
    run.burst(50, 5).await;
    run.until_idle(150).await;
    assert_eq!(run.fleet.running(), 3, "{:?}", run.history);
    run.schedule("LowerFloor");
    run.until_idle(150).await;
    assert_eq!(run.fleet.running(), 0);
    nothing(&run.verdict().await);
}

/// Half a minute's work for a real task.
const LARGE: &str = "resized=5000x4000,progressive,444; thumbs=192x192";

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_task_finishes_long_pictures_and_is_stopped_when_it_has_nothing_to_do() {
    // Longer than the stop timeout of this run, so that being stopped in the middle would show.
    let given = [("Renditions", LARGE), ("TaskProtection", "auto")];
    // On a busy machine an unoptimised build needs longer than the default for one of them.
    let settings = [("LONGSHORE_MAX_RENDER_TIME", "10m")];
    let grace = Some(Duration::from_secs(4));
    let mut run = Run::with(Plan { size: (5000, 4000), given: &given, settings: &settings, grace }).await;
    run.fleet.offers_protection = true;
    run.pinned = Some(1);
    run.upload(6).await;
    while run.history.last().is_none_or(|s| s.hidden == 0) {
        run.minute().await;
        assert!(run.history.len() < 100, "nothing was taken: {:?}", run.history);
    }
    run.pinned = Some(0);
    while !run.fleet.all_gone() {
        run.minute().await;
        assert!(run.history.len() < 300, "never stopped: {:?}", run.history.last());
    }
    assert!(run.fleet.spared > 0, "nothing was in work when it was to be stopped");
    nothing(&run.verdict().await);
}

/// Negative controls: what is wrong must be seen, or the runs above show nothing.
async fn stopped_in_mid_work(mut run: Run, image: Image, uploads: usize) -> Vec<String> {
    run.deploy(image);
    run.pinned = Some(1);
    // In the middle of its work at this very moment, and for some time to come.
    loop {
        run.upload(uploads).await;
        let (visible, hidden) = run.stage.depth(&run.stage.queue).await;
        if visible * 3 >= uploads as u64 && hidden > 0 {
            break;
        }
        run.minute().await;
        assert!(run.history.len() < 60, "nothing was taken: {:?}", run.history);
    }
    run.stop_all();
    run.minutes(14).await;
    run.deploy(Image::Good);
    run.pinned = Some(2);
    run.minutes(20).await;
    run.pinned = None;
    run.until_idle(150).await;
    run.verdict().await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_pictures_against_a_short_stop_timeout_are_caught() {
    // Half a minute a picture is nothing to a worker that counts with two minutes, but it is killed before.
    let (given, settings) =
        ([("Renditions", LARGE)], [("LONGSHORE_STOP_TIMEOUT", "120s"), ("LONGSHORE_MAX_RENDER_TIME", "10m")]);
    let grace = Some(Duration::from_millis(300));
    let run = Run::with(Plan { size: (5000, 4000), given: &given, settings: &settings, grace }).await;
    let wrong = stopped_in_mid_work(run, Image::Good, 2).await;
    assert!(wrong.iter().any(|w| w.contains("signal: 9")), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ignores_sigterm_is_caught() {
    let wrong = stopped_in_mid_work(Run::new().await, Image::IgnoresSigterm, 15).await;
    assert!(wrong.iter().any(|w| w.contains("signal: 9")), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drops_everything_on_sigterm_is_caught() {
    let wrong = stopped_in_mid_work(Run::new().await, Image::DropsEverything, 15).await;
    assert!(wrong.iter().any(|w| w.contains("messages are hidden and no task is there")), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tasks_than_allowed_are_caught() {
    let mut run = Run::new().await;
    run.pinned = Some(run.rules.max + 1);
    run.minutes(4).await;
    let wrong = run.verdict().await;
    assert!(wrong.iter().any(|w| w.contains("5 tasks run, not 0 to 4")), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_letters_and_ends_that_should_not_be_are_caught() {
    let mut run = Run::new().await;
    run.pinned = Some(1);
    run.upload(3).await;
    run.minutes(3).await;
    run.stage.wait_until_empty().await;
    let s3 = &run.stage.world.s3;
    s3.delete_object().bucket(&run.stage.output).key("thumbs/p0.jpg").send().await.unwrap();
    s3.put_object().bucket(&run.stage.output).key("thumbs/p9.jpg").send().await.unwrap();
    let letter = run.stage.message(&[run.stage.record("p1.jpg", "e", "01")]);
    run.stage.world.sqs.send_message().queue_url(&run.stage.dlq).message_body(letter).send().await.unwrap();
    run.good.push("p3.jpg".into());
    run.fleet.kill_one();
    run.minute().await;
    let wrong = run.verdict().await;
    for line in [
        "thumbs/p0.jpg was never made",
        "nobody asked for thumbs/p9.jpg",
        "thumbs/p9.jpg is half a picture",
        "p1.jpg has -1 dead letters too few",
        "resized/p3.jpg was never made",
        "a task ended with signal: 9 (SIGKILL), not no end by itself",
    ] {
        assert!(wrong.iter().any(|w| w.starts_with(line)), "no {line:?} in {wrong:#?}");
    }
}
