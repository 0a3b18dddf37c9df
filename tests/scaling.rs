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

use fleet::Image;
use run::Run;
use std::time::Duration;

fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bursts_wake_the_fleet_from_zero_and_it_goes_back_to_zero() {
    let mut run = Run::new().await;
    run.minutes(3).await;
    for _ in 0..2 {
        assert_eq!(run.fleet.running(), 0, "nothing runs for nothing");
        run.burst(150, 8).await;
        run.until_idle(150).await;
    }
    nothing(&run.verdict().await);
    assert!(run.most(|s| s.running) > 1, "one task was enough, so nothing was scaled: {:?}", run.history);
    let svg = chart::draw("two bursts on a fleet of 0 to 4 tasks", &run.history);
    assert_eq!(svg.matches("<polyline").count(), 4);
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
    run.minutes(2).await;
    for image in [Image::AlsoGood, Image::Good, Image::AlsoGood] {
        run.deploy(image);
        for _ in 0..5 {
            run.upload(20).await;
            run.minute().await;
        }
    }
    run.pinned = None;
    run.until_idle(150).await;
    assert!(run.fleet.ends.len() >= 6, "three deployments of two tasks: {:?}", run.fleet.ends);
    nothing(&run.verdict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn spot_interruptions_cost_nothing() {
    let mut run = Run::new().await;
    run.pinned = Some(2);
    run.minutes(2).await;
    for _ in 0..6 {
        run.upload(25).await;
        run.minutes(2).await;
        run.fleet.interrupt();
    }
    run.pinned = None;
    run.until_idle(150).await;
    assert!(run.fleet.ends.len() >= 6, "{:?}", run.fleet.ends);
    nothing(&run.verdict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_stays_within_bounds_and_heals_when_the_image_does() {
    let mut run = Run::new().await;
    run.deploy(Image::Crashes);
    run.upload(30).await;
    run.minutes(12).await;
    assert!(run.fleet.crashes >= 3, "{}", run.fleet.crashes);
    assert_eq!(run.stage.depth(&run.stage.dlq).await.0, 0, "crashes gave pictures up");
    run.deploy(Image::Good);
    run.until_idle(150).await;
    nothing(&run.verdict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_task_finishes_long_pictures_and_is_stopped_when_it_has_nothing_to_do() {
    // Longer than the stop timeout of this run, so that being stopped in the middle would show.
    let settings = [
        ("LONGSHORE_RENDITIONS", "resized=5000x4000,progressive,444; thumbs=192x192"),
        ("LONGSHORE_TASK_PROTECTION", "auto"),
    ];
    let mut run = Run::with((5000, 4000), Some(Duration::from_secs(2)), &settings).await;
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
    let settings = [
        ("LONGSHORE_RENDITIONS", "a=5000x4000,progressive,444; thumbs=192x192"),
        ("LONGSHORE_STOP_TIMEOUT", "120s"),
    ];
    let run = Run::with((5000, 4000), Some(Duration::from_millis(300)), &settings).await;
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
