use super::*;
use serde_json::json;

fn record(key: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "photos"},
            "object": {"key": key, "size": 12, "eTag": "abc", "sequencer": "0055AED6DCD90281E5"},
        },
    })
}

fn records(body: &Value) -> Vec<Meaning> {
    match Event::parse(&body.to_string()) {
        Ok(Event::Records(records)) => records.into_iter().map(|r| r.meaning).collect(),
        other => panic!("expected records, got {other:?}"),
    }
}

fn keys(body: &Value) -> Vec<String> {
    let key = |m| match m {
        Meaning::Created(created) => created.key,
        other => panic!("expected Created, got {other:?}"),
    };
    records(body).into_iter().map(key).collect()
}

#[test]
fn s3_keys_are_form_decoded_once() {
    let body = json!({"Records": [
        record("a+b.jpg"), record("a%2Bb.jpg"), record("100%25.jpg"), record("%2541.jpg"),
        record("%C3%BC/%E6%97%A5%E6%9C%AC/%F0%9F%98%80.jpg"), record("x//y.jpg"),
    ]});
    assert_eq!(keys(&body), ["a b.jpg", "a+b.jpg", "100%.jpg", "%41.jpg", "ü/日本/😀.jpg", "x//y.jpg"]);
}

#[test]
fn a_key_that_is_not_utf8_is_malformed_and_its_neighbour_is_not() {
    let read = records(&json!({"Records": [record("%FF.jpg"), record("b.jpg")]}));
    assert!(matches!(&read[0], Meaning::Malformed(why) if why.contains("UTF-8")));
    assert!(matches!(&read[1], Meaning::Created(c) if c.key == "b.jpg"));
}

#[test]
fn sns_envelopes_are_opened() {
    let inner = json!({"Records": [record("a+b.jpg")]}).to_string();
    let body = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": inner});
    assert_eq!(keys(&body), ["a b.jpg"]);
}

#[test]
fn endless_sns_nesting_is_refused() {
    let mut body = json!({"Records": [record("a.jpg")]});
    for _ in 0..4 {
        body = json!({"Type": "Notification", "TopicArn": "t", "Message": body.to_string()});
    }
    assert!(Event::parse(&body.to_string()).unwrap_err().contains("nested"));
}

#[test]
fn eventbridge_keys_are_raw() {
    let body = json!({
        "version": "0", "source": "aws.s3", "detail-type": "Object Created",
        "detail": {"bucket": {"name": "photos"}, "object": {
            "key": "a+b%20c.jpg", "size": 5, "etag": "e", "version-id": "v7", "sequencer": "00617F08299329D189"}},
    });
    let Meaning::Created(created) = &records(&body)[0] else { panic!("not created") };
    assert_eq!(created.key, "a+b%20c.jpg");
    assert_eq!(created.version.as_deref(), Some("v7"));
    assert_eq!(created.sequencer.as_ref().unwrap().channel, Channel::EventBridge);
}

#[test]
fn test_events_are_noise_plain_and_through_sns() {
    let plain = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"}).to_string();
    let sns = json!({"Type": "Notification", "TopicArn": "t", "Message": plain}).to_string();
    for body in [plain, sns] {
        assert_eq!(Event::parse(&body), Ok(Event::Noise(Noise::TestEvent)));
    }
}

#[test]
fn other_events_and_folder_markers_are_noise() {
    let mut removed = record("a.jpg");
    removed["eventName"] = json!("ObjectRemoved:Delete");
    let mut folder = record("holiday/");
    folder["s3"]["object"]["size"] = json!(0);
    let read = records(&json!({"Records": [removed, folder, record("not-empty/")]}));
    assert_eq!(read[0], Meaning::Noise(Noise::OtherEvent));
    assert_eq!(read[1], Meaning::Noise(Noise::FolderMarker));
    assert!(matches!(read[2], Meaning::Created(_)));
}

#[test]
fn the_major_event_version_must_be_two_and_the_minor_may_grow() {
    let mut three = record("a.jpg");
    three["eventVersion"] = json!("3.0");
    let mut grown = record("b.jpg");
    grown["eventVersion"] = json!("2.99");
    grown["s3"]["object"]["somethingNew"] = json!({"x": [1]});
    let read = records(&json!({"Records": [three, grown]}));
    assert!(matches!(&read[0], Meaning::Malformed(why) if why.contains("eventVersion")));
    assert!(matches!(read[1], Meaning::Created(_)));
}

#[test]
fn the_null_version_means_unversioned() {
    let mut unversioned = record("a.jpg");
    unversioned["s3"]["object"]["versionId"] = json!("null");
    let mut real = record("a.jpg");
    real["s3"]["object"]["versionId"] = json!("096fKKXTRTtl3on89fVO.nfljtsv6qko");
    let version = |m: &Meaning| match m {
        Meaning::Created(c) => c.version.clone(),
        other => panic!("{other:?}"),
    };
    let read = records(&json!({"Records": [unversioned, real]}));
    assert_eq!(version(&read[0]), None);
    assert_eq!(version(&read[1]).as_deref(), Some("096fKKXTRTtl3on89fVO.nfljtsv6qko"));
}

#[test]
fn a_bucket_that_could_be_another_host_is_malformed() {
    for name in ["evil.example/x", "a@b", "", "..", "photos?x", "arn:aws:s3:::b"] {
        let mut bad = record("a.jpg");
        bad["s3"]["bucket"]["name"] = json!(name);
        assert!(matches!(&records(&json!({"Records": [bad]}))[0], Meaning::Malformed(_)), "{name}");
    }
}

#[test]
fn sequencers_are_padded_on_the_right_and_ignore_case() {
    let s = |hex| Sequencer::new(Channel::S3, hex).unwrap();
    assert_eq!(s("0A").compare(&s("0A00")), Some(Ordering::Equal));
    assert_eq!(s("0B").compare(&s("0A99")), Some(Ordering::Greater));
    assert_eq!(s("00ab").compare(&s("00AC")), Some(Ordering::Less));
    let other = Sequencer::new(Channel::EventBridge, "0B").unwrap();
    assert_eq!(s("0A").compare(&other), None);
    assert_eq!(Sequencer::new(Channel::S3, "xyz"), None);
}

#[test]
fn bodies_that_are_no_events_say_why() {
    for body in ["", "not json", "null", "[]", "{}", "{\"Records\":[]}", "{\"Records\":7}", "\"text\""] {
        assert!(Event::parse(body).is_err(), "{body}");
    }
    let odd = records(&json!({"Records": [7, null, {"eventSource": "aws:sns"}]}));
    assert!(odd.iter().all(|m| matches!(m, Meaning::Malformed(_))));
}
