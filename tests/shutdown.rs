//! Signals to the real binary: exit 0, and nothing stays hidden.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use common::pictures::{jpeg, picture};
use common::process::{Process, worker};
use common::stage::Stage;
use common::{LIMIT, wait_for};
use std::time::Duration;

async fn fill(stage: &Stage, count: usize, size: (u32, u32)) {
    let bytes = jpeg(&picture(size.0, size.1));
    for n in 0..count {
        let key = format!("p{n}.jpg");
        let etag = stage.upload(&key, bytes.clone()).await;
        stage.send(stage.message(&[stage.record(&key, &etag, "01")])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_mid_job_finishes_the_job_and_leaves_the_rest_visible() {
    let stage = Stage::new().await;
    fill(&stage, 6, (3000, 2000)).await;
    let mut command = worker(&stage);
    command
        .env("LONGSHORE_CONCURRENCY", "1")
        .env("LONGSHORE_RENDER_THREADS", "1")
        .env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start(command);
    wait_for("a message in work", LIMIT, || async { (stage.depth(&stage.queue).await.1 > 0).then_some(()) })
        .await;
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());
    let (visible, hidden) = stage.depth(&stage.queue).await;
    assert_eq!(hidden, 0, "nothing may stay hidden\n{}", process.log());
    // What was begun is whole: both renditions or none, and its message is gone.
    let outputs = stage.output_keys().await.len() as u64;
    assert_eq!(outputs / 2 + visible, 6, "{}", process.log());
    assert_eq!(outputs % 2, 0);
    assert!(outputs >= 2 && visible >= 1, "{outputs} outputs, {visible} visible");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_an_empty_long_poll_exits_and_hides_nothing_that_comes_meanwhile() {
    let stage = Stage::new().await;
    let mut command = worker(&stage);
    command.env("LONGSHORE_WAIT_TIME", "3");
    let mut process = Process::start(command);
    process.wait_for_line("started", LIMIT);
    process.signal("TERM");
    process.wait_for_line("SIGTERM", LIMIT);
    // The parked receive is still open: this message goes to it, and must come back at once.
    stage.send("late").await;
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());
    assert_eq!(stage.depth(&stage.queue).await, (1, 0), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_start_up_exits_in_order() {
    let stage = Stage::new().await;
    fill(&stage, 3, (40, 30)).await;
    let mut process = Process::start(worker(&stage));
    process.wait_until_it_handles_sigterm(LIMIT);
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());
    assert_eq!(stage.depth(&stage.queue).await.1, 0, "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_is_the_same_and_a_second_signal_hands_back_at_once() {
    let stage = Stage::new().await;
    fill(&stage, 1, (9000, 7000)).await;
    let mut command = worker(&stage);
    command.env("LONGSHORE_STOP_TIMEOUT", "120").env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start(command);
    wait_for("a message in work", LIMIT, || async { (stage.depth(&stage.queue).await.1 > 0).then_some(()) })
        .await;
    process.signal("INT");
    process.wait_for_line("SIGINT", LIMIT);
    process.signal("INT");
    assert_eq!(process.wait(Duration::from_secs(20)).code(), Some(0), "{}", process.log());
    let (visible, hidden) = stage.depth(&stage.queue).await;
    assert_eq!(hidden, 0, "{}", process.log());
    let outputs = stage.output_keys().await.len() as u64;
    assert!(
        visible == 1 || outputs == 2,
        "handed back, or just finished: {visible} visible, {outputs} outputs"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_longer_than_the_drain_budget_is_handed_back_in_time() {
    let stage = Stage::new().await;
    fill(&stage, 1, (9000, 7000)).await;
    let mut command = worker(&stage);
    command
        .env("LONGSHORE_STOP_TIMEOUT", "8")
        .env("LONGSHORE_WAIT_TIME", "2")
        .env("LONGSHORE_RENDER_THREADS", "1");
    command.env(
        "LONGSHORE_RENDITIONS",
        "a=8000x8000,progressive,444; b=7900x7900,progressive; c=7800x7800,progressive",
    );
    command.env("LONGSHORE_MAX_RENDER_TIME", "1h");
    let mut process = Process::start(command);
    wait_for("a message in work", LIMIT, || async { (stage.depth(&stage.queue).await.1 > 0).then_some(()) })
        .await;
    process.signal("TERM");
    // A stop timeout of 8 s leaves 3 s to drain, whatever a parked receive takes of it.
    assert_eq!(process.wait(Duration::from_secs(8)).code(), Some(0), "{}", process.log());
    assert_eq!(stage.depth(&stage.queue).await.1, 0, "{}", process.log());
}
