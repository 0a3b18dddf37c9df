//! A task of the worker that panics ends the worker, and costs no message. Panics come from what listens to the log:
//! the one thing that runs everywhere and that a test may choose. One test, as there is one listener a process.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use common::pictures::{jpeg, picture};
use common::stage::Stage;
use common::{LIMIT, wait_for};
use longshore::worker::Broken;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

static LEASES: AtomicBool = AtomicBool::new(false);
const FATAL_KEY: &str = "fatal.jpg";

struct Panicking;

impl Layer<Registry> for Panicking {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, Registry>) {
        let of_leases = std::thread::current().name() == Some("leases");
        if of_leases && LEASES.load(Ordering::SeqCst) {
            panic!("the listener panics in the thread of the leases");
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        // What is said at the end of a record, in the task of its message.
        if text.0.contains(FATAL_KEY) && event.metadata().target().starts_with("longshore::job") {
            panic!("the listener panics in a job");
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{value:?} ");
    }
}

async fn upload(stage: &Stage, key: &str) {
    let etag = stage.upload(key, jpeg(&picture(64, 48))).await;
    stage.send(stage.message(&[stage.record(key, &etag, "01")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_worker_and_costs_no_message() {
    Registry::default().with(Panicking).init();

    // In a job: what it held is handed back before the worker ends.
    let stage = Stage::new().await;
    let worker = stage.start().await;
    upload(&stage, FATAL_KEY).await;
    let ended = worker.end().await;
    assert!(matches!(&ended, Err(Broken::Panicked(why)) if why.contains("panics in a job")), "{ended:?}");
    let back = || async { (stage.depth(&stage.queue).await == (1, 0)).then_some(()) };
    wait_for("the message to be visible again", LIMIT, back).await;

    // Where leases are kept: nobody could hand anything back, and nothing goes on without.
    let stage = Stage::new().await;
    let worker = stage.start().await;
    LEASES.store(true, Ordering::SeqCst);
    upload(&stage, "other.jpg").await;
    let ended = worker.end().await;
    assert!(matches!(ended, Err(Broken::NoLeases)), "{ended:?}");
    LEASES.store(false, Ordering::SeqCst);
    let (waiting, hidden) = stage.depth(&stage.queue).await;
    assert_eq!(waiting + hidden, 1, "its message is still in the queue");
}
