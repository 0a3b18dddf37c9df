//! An uploaded picture becomes renditions and its message is gone, through the real SDK.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use common::pictures::{assert_shows, jpeg, jpeg_with, orientation, picture, stored_as};
use common::stage::Stage;
use common::{LIMIT, wait_for};
use longshore::cli::{RenderArgs, WorkArgs};
use longshore::error::Barrier;
use longshore::job::Outcome;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// As S3 form-encodes a key: spaces become plus signs, slashes stay.
fn form_encode(key: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b' ');
    utf8_percent_encode(key, KEPT).to_string().replace(' ', "+")
}

#[tokio::test]
async fn an_uploaded_picture_becomes_two_renditions_and_its_message_is_gone() {
    let stage = Stage::new().await;
    let queue =
        QueueConfiguration::builder().queue_arn(stage.arn(&stage.queue).await).events(Event::S3ObjectCreated);
    let configuration =
        NotificationConfiguration::builder().queue_configurations(queue.build().unwrap()).build();
    let notify = stage.world.s3.put_bucket_notification_configuration().bucket(&stage.input);
    notify.notification_configuration(configuration).send().await.unwrap();

    let upright = picture(1600, 1200);
    stage.upload("holiday/beach 1+1.jpg", jpeg(&upright)).await;
    let worker = stage.start().await;
    let resized = stage.output("resized/holiday/beach 1+1.jpg").await;
    let thumb = stage.output("thumbs/holiday/beach 1+1.jpg").await;
    assert_shows(&resized.bytes, &upright, (1024, 768), 2.0);
    assert_shows(&thumb.bytes, &upright, (192, 144), 2.0);
    assert_eq!(resized.content_type, "image/jpeg");
    stage.wait_until_empty().await;
    assert_eq!(stage.depth(&stage.dlq).await, (0, 0), "the test event is noise, not an error");
    let counts = worker.stop().await.counts;
    assert_eq!(counts.received, counts.deleted);
}

#[tokio::test]
async fn all_eight_orientations_come_out_upright() {
    let stage = Stage::new().await;
    let upright = picture(600, 450);
    let worker = stage.start().await;
    for value in 1..=8 {
        let stored = stored_as(&upright, value);
        let bytes = jpeg_with(&stored, |e| e.add_app_segment(1, orientation(value)).unwrap());
        let key = format!("o{value}.jpg");
        let etag = stage.upload(&key, bytes).await;
        stage.send(stage.message(&[stage.record(&key, &etag, "01")])).await;
    }
    for value in 1..=8 {
        let thumb = stage.output(&format!("thumbs/o{value}.jpg")).await;
        assert_shows(&thumb.bytes, &upright, (192, 144), 2.5);
        assert!(!thumb.bytes.windows(4).any(|w| w == b"Exif"), "the tag would turn it twice");
    }
    worker.stop().await;
}

fn envelopes(stage: &Stage, key: &str, etag: &str) -> [(&'static str, String); 4] {
    let record = stage.record(&form_encode(key), etag, "01");
    let direct = stage.message(std::slice::from_ref(&record));
    let sns = json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:us-east-1:1:t",
        "Subject": "Amazon S3 Notification", "Message": direct});
    let bridge = json!({"version": "0", "id": "e", "detail-type": "Object Created", "source": "aws.s3",
        "detail": {"version": "0", "bucket": {"name": stage.input},
            "object": {"key": key, "size": 1, "etag": etag, "sequencer": "01"}, "reason": "PutObject"}});
    // SNS raw delivery is the S3 form itself, with another principal and a grown minor version.
    let mut raw = record;
    raw["eventVersion"] = json!("2.4");
    [("s3", direct), ("sns", sns.to_string()), ("raw", stage.message(&[raw])), ("bridge", bridge.to_string())]
}

#[tokio::test]
async fn every_key_survives_every_envelope_byte_for_byte() {
    let stage = Stage::new().await;
    let long = format!("{}.jpg", "k".repeat(996));
    let keys = ["a b.jpg", "a+b.jpg", "100%.jpg", "ü/日本/😀.jpg", "x//y.jpg", "%2e%2E/q?a=b&c#d.jpg", &long];
    let bytes = jpeg(&picture(40, 30));
    let worker = stage.start().await;
    for key in keys {
        let etag = stage.upload(key, bytes.clone()).await;
        for (envelope, body) in envelopes(&stage, key, &etag) {
            stage.send(body).await;
            for name in ["resized", "thumbs"] {
                stage.output(&format!("{name}/{key}")).await;
            }
            stage.wait_until_empty().await;
            let mut found = stage.output_keys().await;
            found.sort();
            assert_eq!(found, [format!("resized/{key}"), format!("thumbs/{key}")], "{envelope}");
            for output in found {
                stage.world.s3.delete_object().bucket(&stage.output).key(output).send().await.unwrap();
            }
        }
    }
    worker.stop().await;
    assert_eq!(stage.depth(&stage.dlq).await, (0, 0));
}

#[tokio::test]
async fn a_key_whose_outputs_cannot_exist_goes_to_the_dead_letter_queue_with_that_reason() {
    let stage = Stage::new().await;
    let key = format!("{}.jpg", "k".repeat(1020));
    let body = stage.message(&[stage.record(&key, "e", "01")]);
    stage.send(body.as_str()).await;
    let worker = stage.start().await;
    let letter = stage.dead_letter().await;
    assert_eq!(letter.reason(), "key-too-long");
    assert!(
        letter.attribute("longshore.detail").contains("1032"),
        "{}",
        letter.attribute("longshore.detail")
    );
    assert_eq!(
        serde_json::from_str::<Value>(letter.body()).unwrap(),
        serde_json::from_str::<Value>(&body).unwrap()
    );
    assert_eq!(worker.stop().await.counts.dead_lettered, 1);
}

#[tokio::test]
async fn five_records_with_five_fates_in_one_message() {
    let stage = Stage::new().await;
    let good = jpeg(&picture(300, 200));
    let done = stage.upload("done.jpg", good.clone()).await;
    let poison = stage.upload("poison.jpg", b"not a picture".to_vec()).await;
    let newer = stage.upload("superseded.jpg", good.clone()).await;
    let mut worker = stage.start().await;
    // The newer event of a key comes first; the older one is one of the five.
    stage.send(stage.message(&[stage.record("superseded.jpg", &newer, "0F")])).await;
    worker.report().await;

    // A bucket that does not exist yet is a fault that can heal: the message is tried again.
    let later = common::unique("later");
    let mut retried = stage.record("retried.jpg", "e", "01");
    retried["s3"]["bucket"]["name"] = json!(later);
    stage
        .send(stage.message(&[
            stage.record("done.jpg", &done, "01"),
            stage.record("superseded.jpg", "older", "0A"),
            stage.record("gone.jpg", "e", "01"),
            stage.record("poison.jpg", &poison, "01"),
            retried,
        ]))
        .await;
    let mut fates = Vec::new();
    for _ in 0..5 {
        fates.push(match worker.report().await.outcome {
            Outcome::Done(_) => "done",
            Outcome::Superseded => "superseded",
            Outcome::Gone(_) => "gone",
            Outcome::Rejected(_) => "rejected",
            Outcome::Retry(_) | Outcome::Blocked(_, _) => "retry",
            Outcome::Ignored(_) => "ignored",
            Outcome::Left => "left",
        });
    }
    assert_eq!(fates, ["done", "superseded", "gone", "rejected", "retry"]);
    assert_eq!(stage.depth(&stage.dlq).await, (0, 0), "rejected records wait for the message's end");

    stage.world.s3.create_bucket().bucket(&later).send().await.unwrap();
    let put = stage.world.s3.put_object().bucket(&later).key("retried.jpg").body(good.into());
    put.send().await.unwrap();
    stage.output("thumbs/retried.jpg").await;
    let letter = stage.dead_letter().await;
    let body: Value = serde_json::from_str(letter.body()).unwrap();
    assert_eq!(body["Records"].as_array().unwrap().len(), 1, "just the record that failed");
    assert_eq!(body["Records"][0]["s3"]["object"]["key"], "poison.jpg");
    assert_eq!(letter.reason(), "not-an-image");
    stage.wait_until_empty().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_poison_picture_is_dead_lettered_in_one_delivery_while_its_neighbours_finish() {
    let stage = Stage::new().await;
    let mut truncated = jpeg(&picture(800, 600));
    truncated.truncate(truncated.len() / 2);
    let good = jpeg(&picture(300, 200));
    for n in 0..12 {
        let (key, bytes) = match n {
            5 => ("poison.jpg".to_owned(), truncated.clone()),
            _ => (format!("good-{n}.jpg"), good.clone()),
        };
        let etag = stage.upload(&key, bytes).await;
        stage.send(stage.message(&[stage.record(&key, &etag, "01")])).await;
    }
    let worker = stage.start().await;
    let letter = stage.dead_letter().await;
    assert_eq!(letter.reason(), "truncated");
    assert_eq!(letter.attribute("longshore.receive-count"), "1");
    assert!(!letter.attribute("longshore.message-id").is_empty());
    for n in (0..12).filter(|n| *n != 5) {
        stage.output(&format!("thumbs/good-{n}.jpg")).await;
    }
    stage.wait_until_empty().await;
    let counts = worker.stop().await.counts;
    assert_eq!((counts.received, counts.deleted, counts.dead_lettered), (12, 11, 1));
    assert!(stage.get(&stage.output, "thumbs/poison.jpg").await.is_none());
}

#[tokio::test]
async fn an_older_event_never_replaces_a_newer_output() {
    let stage = Stage::new().await;
    let (old, new) = (picture(400, 300), stored_as(&picture(400, 300), 3));
    let old_etag = stage.upload("p.jpg", jpeg(&old)).await;
    let new_etag = stage.upload("p.jpg", jpeg(&new)).await;
    let mut first = stage.start().await;
    stage.send(stage.message(&[stage.record("p.jpg", &new_etag, "0055AED6DCD90281E5")])).await;
    assert!(matches!(first.report().await.outcome, Outcome::Done(_)));
    stage.wait_until_empty().await;
    first.stop().await;
    let before = stage.output("resized/p.jpg").await;

    // Another worker, with no memory of the first. It reads today's object under the old event's name.
    let mut second = stage.start().await;
    stage.send(stage.message(&[stage.record("p.jpg", &old_etag, "0055AED6DCD90281E4")])).await;
    second.report().await;
    stage.wait_until_empty().await;
    second.stop().await;
    assert_eq!(stage.output("resized/p.jpg").await, before);
}

#[tokio::test]
async fn the_same_bytes_again_raise_the_order_of_the_output() {
    let stage = Stage::new().await;
    let etag = stage.upload("p.jpg", jpeg(&picture(400, 300))).await;
    let mut worker = stage.start().await;
    let mut sequencers = Vec::new();
    for sequencer in ["01", "03"] {
        stage.send(stage.message(&[stage.record("p.jpg", &etag, sequencer)])).await;
        assert!(matches!(worker.report().await.outcome, Outcome::Done(_)));
        sequencers.push(stage.output("thumbs/p.jpg").await.metadata["longshore-sequencer"].clone());
    }
    // A slow worker with the bytes of event 02 would now find itself too late.
    assert_eq!(sequencers, ["01", "03"]);
    worker.stop().await;
}

#[tokio::test]
async fn of_two_versions_out_of_order_the_newer_stays() {
    let stage = Stage::new().await;
    let versioning = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let put = stage.world.s3.put_bucket_versioning().bucket(&stage.input);
    put.versioning_configuration(versioning).send().await.unwrap();
    let mut versions = Vec::new();
    for (turn, sequencer) in [(1, "0A"), (3, "0B")] {
        let upright = stored_as(&picture(400, 300), turn);
        let put = stage.world.s3.put_object().bucket(&stage.input).key("v.jpg").body(jpeg(&upright).into());
        let answer = put.send().await.unwrap();
        let etag = answer.e_tag().unwrap().trim_matches('"').to_owned();
        let mut record = stage.record("v.jpg", &etag, sequencer);
        record["s3"]["object"]["versionId"] = json!(answer.version_id().unwrap());
        versions.push((record, upright));
    }
    // The old version alone is fetched by its version, though a newer one is there.
    let mut worker = stage.start().await;
    let mut old_only = versions[0].0.clone();
    old_only["s3"]["object"]["sequencer"] = json!("0A");
    stage.send(stage.message(&[old_only])).await;
    worker.report().await;
    assert_shows(&stage.output("thumbs/v.jpg").await.bytes, &versions[0].1, (192, 144), 2.5);
    stage.send(stage.message(&[versions[1].0.clone()])).await;
    worker.report().await;
    worker.stop().await;
    let mut other = stage.start().await;
    stage.send(stage.message(&[versions[0].0.clone()])).await;
    assert!(matches!(other.report().await.outcome, Outcome::Superseded));
    other.stop().await;
    assert_shows(&stage.output("thumbs/v.jpg").await.bytes, &versions[1].1, (192, 144), 2.5);
}

#[tokio::test]
async fn copies_of_one_event_write_each_output_once() {
    let stage = Stage::new().await;
    let etag = stage.upload("c.jpg", jpeg(&picture(900, 700))).await;
    for _ in 0..20 {
        stage.send(stage.message(&[stage.record("c.jpg", &etag, "01")])).await;
    }
    let mut workers = vec![stage.start().await, stage.start().await, stage.start().await];
    stage.wait_until_empty().await;
    let mut written = 0;
    for worker in &mut workers {
        while let Ok(report) = worker.reports.try_recv() {
            let Outcome::Done(made) = report.outcome else { panic!("{:?}", report.outcome) };
            written += made.outputs.iter().filter(|o| o.written).count();
        }
    }
    assert_eq!(written, 2);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn noise_is_deleted_in_one_delivery() {
    let stage = Stage::new().await;
    let mut removed = stage.record("a.jpg", "e", "01");
    removed["eventName"] = json!("ObjectRemoved:Delete");
    let mut own = stage.record("thumbs/a.jpg", "e", "01");
    own["s3"]["bucket"]["name"] = json!(stage.output);
    stage
        .send(json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": stage.input}).to_string())
        .await;
    stage.send(stage.message(&[removed, own, stage.record("notes.txt", "e", "01")])).await;
    let worker = stage.start().await;
    stage.wait_until_empty().await;
    let counts = worker.stop().await.counts;
    assert_eq!((counts.received, counts.deleted), (2, 2));
    assert_eq!(stage.depth(&stage.dlq).await, (0, 0));
    assert!(stage.output_keys().await.is_empty());
}

#[tokio::test]
async fn bodies_that_are_no_events_are_dead_lettered_as_they_are() {
    let stage = Stage::new().await;
    let worker = stage.start().await;
    for body in ["hello", "{\"Records\": 7}", "[1, 2"] {
        stage.send(body).await;
        let letter = stage.dead_letter().await;
        assert_eq!((letter.body(), letter.reason().as_str()), (body, "malformed"));
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_object_over_the_byte_limit_is_refused_with_both_numbers() {
    let stage = Stage::new().await;
    let bytes = jpeg(&picture(500, 400));
    let length = bytes.len();
    let etag = stage.upload("big.jpg", bytes).await;
    stage.send(stage.message(&[stage.record("big.jpg", &etag, "01")])).await;
    let render = RenderArgs { max_bytes: Some("1000".into()), ..RenderArgs::default() };
    let worker = stage.start_with(stage.work_args(), render).await;
    let letter = stage.dead_letter().await;
    assert_eq!(letter.reason(), "too-large");
    let detail = letter.attribute("longshore.detail");
    assert!(detail.contains(&length.to_string()) && detail.contains("1000"), "{detail}");
    worker.stop().await;
}

#[tokio::test]
async fn renditions_are_what_the_settings_say() {
    let stage = Stage::new().await;
    let upright = picture(1000, 800);
    let etag = stage.upload("s.jpg", jpeg(&upright)).await;
    stage.send(stage.message(&[stage.record("s.jpg", &etag, "01")])).await;
    let render = RenderArgs {
        renditions: Some("web/hero=640x640,q70,422,progressive; tiny=32x32,q50,444".into()),
        ..RenderArgs::default()
    };
    let mut work = stage.work_args();
    work.cache_control = Some("public, max-age=60".into());
    let worker = stage.start_with(work, render).await;
    let hero = stage.output("web/hero/s.jpg").await;
    assert_shows(&hero.bytes, &upright, (640, 512), 2.5);
    assert!(hero.bytes.windows(2).any(|w| w == [0xff, 0xc2]), "a progressive frame");
    assert_eq!(hero.cache_control.as_deref(), Some("public, max-age=60"));
    assert_shows(&stage.output("tiny/s.jpg").await.bytes, &upright, (32, 26), 5.0);
    worker.stop().await;

    // Other settings make the same picture again, in the same place.
    stage.send(stage.message(&[stage.record("s.jpg", &etag, "01")])).await;
    let render = RenderArgs { renditions: Some("tiny=16x16".into()), ..RenderArgs::default() };
    let worker = stage.start_with(stage.work_args(), render).await;
    wait_for("a smaller picture", LIMIT, || async {
        let image = image::load_from_memory(&stage.output("tiny/s.jpg").await.bytes).unwrap();
        (image.width() == 16).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_missing_output_bucket_stops_receiving_and_heals_without_using_up_receives() {
    let stage = Stage::new().await;
    stage.world.s3.delete_bucket().bucket(&stage.output).send().await.unwrap();
    for n in 0..6 {
        let key = format!("p{n}.jpg");
        let etag = stage.upload(&key, jpeg(&picture(64, 48))).await;
        stage.send(stage.message(&[stage.record(&key, &etag, "01")])).await;
    }
    let work = WorkArgs { concurrency: Some("2".into()), ..stage.work_args() };
    let mut worker = stage.start_with(work, RenderArgs::default()).await;
    // Two are held, and the first of them is tried again and again.
    for _ in 0..4 {
        let outcome = worker.report().await.outcome;
        assert!(matches!(outcome, Outcome::Blocked(Barrier::Output, _)), "{outcome:?}");
    }
    assert_eq!(stage.depth(&stage.queue).await, (4, 2), "nothing more is received");

    stage.world.s3.create_bucket().bucket(&stage.output).send().await.unwrap();
    let mut done = 0;
    while done < 6 {
        let report = worker.report().await;
        assert_eq!(report.receive_count, 1, "no receive was used up");
        done += usize::from(matches!(report.outcome, Outcome::Done(_)));
    }
    stage.wait_until_empty().await;
    assert_eq!(stage.depth(&stage.dlq).await, (0, 0));
    let counts = worker.stop().await.counts;
    assert_eq!((counts.received, counts.deleted), (6, 6));
}

#[tokio::test]
async fn a_worker_that_waits_for_the_configuration_leaves_at_once_and_hides_nothing() {
    let stage = Stage::new().await;
    stage.world.s3.delete_bucket().bucket(&stage.output).send().await.unwrap();
    let etag = stage.upload("a.jpg", jpeg(&picture(64, 48))).await;
    stage.send(stage.message(&[stage.record("a.jpg", &etag, "01")])).await;
    // One place, so that no receive is parked beside: it would take what is released, and give it back.
    let work = WorkArgs { concurrency: Some("1".into()), ..stage.work_args() };
    let mut worker = stage.start_with(work, RenderArgs::default()).await;
    worker.report().await;
    let counts = worker.stop().await.counts;
    assert_eq!((counts.received, counts.released()), (1, 1));
    assert_eq!(stage.depth(&stage.queue).await, (1, 0));
}

#[tokio::test]
async fn a_picture_that_never_fits_the_memory_budget_is_dead_lettered_and_its_neighbours_finish() {
    let stage = Stage::new().await;
    let work = WorkArgs { memory_budget: Some("48MiB".into()), ..stage.work_args() };
    let worker = stage.start_with(work, RenderArgs::default()).await;
    // A PNG is decoded whole: 12 million pixels of three bytes are more than two thirds of 48 MiB.
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(4000, 3000).write_to(&mut png, image::ImageFormat::Png).unwrap();
    for (key, bytes) in [("large.png", png.into_inner()), ("small.jpg", jpeg(&picture(64, 48)))] {
        let etag = stage.upload(key, bytes).await;
        stage.send(stage.message(&[stage.record(key, &etag, "01")])).await;
    }
    let letter = stage.dead_letter().await;
    assert_eq!(letter.reason(), "memory-budget");
    // Two thirds of what the threads do not keep.
    let share = (24 << 20).to_string();
    assert!(
        letter.attribute("longshore.detail").contains(&share),
        "{}",
        letter.attribute("longshore.detail")
    );
    stage.output("thumbs/small.jpg").await;
    worker.stop().await;
}
