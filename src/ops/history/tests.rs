use super::pictures::MOST;
use super::*;
use crate::error::{Error, Reason, Rejection};
use crate::job::{Made, Output};

fn created(key: &str) -> Created {
    Created {
        bucket: "in".into(),
        key: key.into(),
        version: None,
        sequencer: None,
        size: Some(7),
        etag: Some("e".into()),
    }
}

fn retry() -> Outcome {
    Outcome::Retry(Error::new("a\nb"))
}

const SHORT: Duration = Duration::from_millis(10);

#[test]
fn failures_are_bounded_one_an_object_and_marked_when_it_works_after_all() {
    let history = History::default();
    for n in 0..3 * FAILURES {
        history.ended(Some(&created(&format!("{n}.jpg"))), &retry(), SHORT, 1);
    }
    for receives in 1..=9 {
        history.ended(Some(&created("again.jpg")), &retry(), SHORT, receives);
    }
    let failures = history.failures();
    assert_eq!(failures.len(), FAILURES);
    assert_eq!((failures[0].key.as_str(), failures[0].receives), ("again.jpg", 9));
    assert_eq!(failures[1].key, format!("{}.jpg", 3 * FAILURES - 1));
    assert_eq!(failures[0].detail, "a\\u{a}b", "a stranger's line stays one line");

    let before = history.changes();
    history.ended(Some(&created("again.jpg")), &Outcome::Done(Made::default()), SHORT, 10);
    assert!(history.failures()[0].mended && history.changes() > before);
    assert_eq!((history.pace().done, history.pace().failed), (1, 3 * FAILURES as u64 + 9));
}

#[test]
fn latencies_are_those_of_the_window() {
    let history = History::default();
    assert_eq!(history.pace().p50, None);
    for ms in 1..=100 {
        let time = Duration::from_millis(ms);
        history.ended(Some(&created("a.jpg")), &Outcome::Done(Made::default()), time, 1);
    }
    let pace = history.pace();
    assert_eq!((pace.p50, pace.p99), (Some(Duration::from_millis(50)), Some(Duration::from_millis(99))));
}

#[test]
fn a_picture_moves_and_only_what_changed_is_told() {
    let history = History::default();
    assert!(history.pictures(|p| p.since(0).0.len()).is_none(), "work remembers none");
    history.remember_pictures();
    let id = history.pictures(|p| p.uploading("in", "a.jpg", 7)).unwrap();
    let state = || history.pictures(|p| p.get(id).unwrap().shown.clone()).unwrap();
    // The worker may be quicker than the answer to the upload.
    history.begun(&created("a.jpg"), None, 1);
    history.pictures(|p| p.uploaded(id, "e"));
    assert_eq!(state(), Shown::Working);
    let (_, revision) = history.pictures(|p| p.since(0)).unwrap();

    let output = Output {
        name: "thumbs".into(),
        bytes: 3,
        width: 2,
        height: 1,
        written: true,
        resize: Duration::ZERO,
        encode: Duration::ZERO,
        upload: Duration::ZERO,
    };
    let made = Made { outputs: vec![output], ..Made::default() };
    history.ended(Some(&created("a.jpg")), &Outcome::Done(made), SHORT, 1);
    history.ended(Some(&created("a.jpg")), &Outcome::Superseded, SHORT, 1);
    assert_eq!(state(), Shown::Done);
    let (changed, newest) = history.pictures(|p| p.since(revision)).unwrap();
    assert_eq!((changed.len(), changed[0].outputs[0].bytes), (1, 3));
    assert!(history.pictures(|p| p.since(newest)).unwrap().0.is_empty());

    let rejection = Rejection::new(Reason::Truncated, "ends early");
    history.ended(Some(&created("a.jpg")), &Outcome::Rejected(rejection), SHORT, 2);
    assert_eq!(state(), Shown::Failed { reason: "truncated".into(), detail: "ends early".into() });

    for n in 0..2 * MOST {
        history.begun(&created(&format!("{n}.jpg")), None, 1);
    }
    assert_eq!(history.pictures(|p| p.since(0).0.len()), Some(MOST));
}
