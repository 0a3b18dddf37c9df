use super::*;

fn breaker() -> (Breaker, Shutdown) {
    let shutdown = Shutdown::default();
    let mut breaker = Breaker::new(&[], Trouble::default(), shutdown.clone());
    let ms = Duration::from_millis;
    breaker.pace = Pace { first_try: ms(20), most_between_tries: ms(80), between_trials: ms(60) };
    (breaker, shutdown)
}

fn denied() -> Error {
    Error::new("denied")
}

fn source(key: &str) -> Source {
    Source { bucket: "in".into(), key: key.into() }
}

/// Whether word of a bucket that does not exist opens the breaker.
fn gone(breaker: &Breaker, bucket: &str, key: &str) -> bool {
    let source = Source { bucket: bucket.into(), key: key.into() };
    breaker.ran_into(Barrier::SourceBucket, &source, &denied())
}

#[tokio::test]
async fn one_word_of_a_bucket_of_ours_that_is_gone_is_enough() {
    let (nothing_known, _) = breaker();
    assert!(gone(&nothing_known, "in", "a"), "no other bucket works");
    let listed = Breaker::new(&["in".into(), "in2".into()], Trouble::default(), Shutdown::default());
    assert!(gone(&listed, "in2", "a"));
    let (read_before, _) = breaker();
    read_before.read("in");
    assert!(gone(&read_before, "in", "a"));
}

#[tokio::test]
async fn a_bucket_that_never_was_is_its_messages_own_trouble_while_others_work() {
    let (breaker, _) = breaker();
    breaker.read("in");
    assert!(!gone(&breaker, "never", "a") && !gone(&breaker, "never", "b"));
    breaker.read("in");
    assert!(!gone(&breaker, "never", "c"), "others work in between");
    // One that was ours holds the others up only once, and again when it has come back.
    assert!(gone(&breaker, "in", "a"));
    breaker.read("other");
    assert!(!breaker.is_open() && !gone(&breaker, "in", "a"));
    breaker.stored("in");
    assert!(gone(&breaker, "in", "a"));
}

#[tokio::test]
async fn a_try_that_panics_or_is_cut_off_gives_up_its_turn() {
    let (breaker, _) = breaker();
    let breaker = std::sync::Arc::new(breaker);
    breaker.ran_into(Barrier::Output, &source("a"), &denied());
    let panicking = std::sync::Arc::clone(&breaker);
    let panicked = tokio::spawn(async move {
        let _trial = panicking.turn(1).await;
        panic!("a try that panics");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let cut_off = async {
        let _trial = breaker.turn(1).await;
        std::future::pending::<()>().await;
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), cut_off).await.is_err());
    let next = tokio::time::timeout(Duration::from_secs(10), breaker.turn(1)).await;
    assert!(matches!(next, Ok(Turn::Try(_))));
}

#[tokio::test]
async fn one_missing_object_opens_nothing_and_three_denied_ones_do() {
    let (breaker, _) = breaker();
    for key in ["a", "a", "b"] {
        assert!(!breaker.ran_into(Barrier::Source, &source(key), &denied()), "{key}");
    }
    breaker.read("in");
    for (key, opens) in [("a", false), ("b", false), ("c", true)] {
        assert_eq!(breaker.ran_into(Barrier::Source, &source(key), &denied()), opens, "{key}");
    }
    assert_eq!(breaker.trouble.get().as_deref(), Some("denied"));
    breaker.read("in");
    assert!(!breaker.is_open() && breaker.trouble.get().is_none());
}

#[tokio::test]
async fn an_output_that_is_denied_opens_at_once_and_reading_does_not_close_it() {
    let (breaker, _) = breaker();
    assert!(breaker.ran_into(Barrier::Output, &source("a"), &denied()));
    breaker.read("in");
    assert!(breaker.is_open());
    breaker.stored("in");
    assert!(!breaker.is_open());
}

#[tokio::test]
async fn held_messages_are_tried_one_at_a_time_at_growing_intervals() {
    let (breaker, _) = breaker();
    breaker.ran_into(Barrier::Output, &source("a"), &denied());
    let mut before = Instant::now();
    // Each wait is at least three quarters of 20, 40, 80, 80 ms.
    for least in [15, 30, 60, 60] {
        let trial = breaker.turn(1).await;
        assert!(matches!(trial, Turn::Try(_)));
        assert!(before.elapsed() >= Duration::from_millis(least), "{:?} < {least} ms", before.elapsed());
        breaker.ran_into(Barrier::Output, &source("a"), &denied());
        before = Instant::now();
        drop(trial);
    }
}

#[tokio::test]
async fn only_the_first_in_line_tries() {
    let (breaker, _) = breaker();
    breaker.ran_into(Barrier::Output, &source("a"), &denied());
    let mut first = Box::pin(breaker.turn(1));
    let mut second = Box::pin(breaker.turn(1));
    let turns = async {
        tokio::select! {
            biased;
            turn = &mut first => (1, turn),
            turn = &mut second => (2, turn),
        }
    };
    let (who, trial) = turns.await;
    assert!(who == 1 && matches!(trial, Turn::Try(_)));
    let waits = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(waits.is_err(), "while one tries, the others wait");
    breaker.stored("in");
    assert!(matches!(second.await, Turn::Closed));
}

#[tokio::test]
async fn receives_are_let_through_seldom_and_shutdown_lets_all_go() {
    let (breaker, shutdown) = breaker();
    breaker.passable().await;
    breaker.ran_into(Barrier::Output, &source("a"), &denied());
    let opened = Instant::now();
    breaker.passable().await;
    assert!(opened.elapsed() >= Duration::from_millis(60));
    breaker.passable().await;
    assert!(opened.elapsed() >= Duration::from_millis(120));
    let mut held = Box::pin(breaker.turn(1));
    breaker.state().open.as_mut().unwrap().trying = Some(0);
    assert!(futures_util::poll!(&mut held).is_pending());
    breaker.state().open.as_mut().unwrap().next_trial = Instant::now();
    breaker.make_room();
    assert!(matches!(held.await, Turn::GiveBack));
    let mut kept = Box::pin(breaker.turn(SUSPECT_AFTER));
    assert!(futures_util::poll!(&mut kept).is_pending());
    breaker.make_room();
    assert!(futures_util::poll!(&mut kept).is_pending(), "its receives are being used up");
    drop(kept);
    breaker.state().open.as_mut().unwrap().trying = Some(0);
    let held = breaker.turn(1);
    shutdown.advance(Phase::Draining);
    assert!(matches!(held.await, Turn::Leave));
}
