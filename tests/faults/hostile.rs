//! Ten thousand bodies that nobody should send.

use crate::harness::{Operation, Scenario, lasting};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

/// Ten thousand, or a third when storms are short.
fn bodies() -> usize {
    333 * usize::try_from(lasting(30).as_secs()).unwrap() + 10
}

const SEED: u64 = 0x6c6f_6e67_7368_6f72;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies() {
    let scenario = Scenario::alone(5).await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_INPUT_BUCKETS", scenario.stage.input.as_str()).set("LONGSHORE_CONCURRENCY", "16");
    // Whoever fetches what a message names is caught here.
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trap = format!("http://{}/trap", canary.local_addr().unwrap());
    let caught = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&caught);
    let watching = tokio::spawn(async move {
        while canary.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut random = fastrand::Rng::with_seed(SEED);
    let made = (0..bodies()).map(|_| body(&mut random, &scenario.stage.input, &trap));
    let (bodies, hopeless): (Vec<String>, Vec<bool>) = made.unzip();
    scenario.upload_many("before", 10).await;
    send(&scenario, &bodies).await;
    scenario.upload_many("after", 10).await;
    worker.started().await;
    scenario.until_empty(Duration::from_secs(300)).await;

    let peak = worker.footprint().peak_rss_kib / 1024;
    assert!(peak < 200, "{peak} MiB of memory for words");
    assert_eq!(caught.load(Ordering::SeqCst), 0, "it fetched what a message names");
    watching.abort();
    for line in worker.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(&line);
        assert!(parsed.is_ok(), "a forged line: {line}");
    }
    let exchanges = scenario.log.exchanges();
    let buckets = [&scenario.stage.input, &scenario.stage.output];
    let strange = exchanges.iter().find(|e| e.call.operation.is_s3() && !buckets.contains(&&e.call.target));
    assert!(strange.is_none(), "{strange:?}");
    let letters = exchanges.iter().filter(|e| e.call.operation == Operation::Send && e.took_effect()).count();
    // What is no event by any reading is never just deleted.
    let hopeless = hopeless.iter().filter(|h| **h).count();
    assert!(
        letters >= hopeless && hopeless > bodies.len() / 8,
        "{letters} letters for {hopeless} hopeless bodies"
    );
    let dead = scenario.stage.depth(&scenario.stage.dlq).await.0;
    assert_eq!(dead, letters as u64, "each dead letter once, and none moved by SQS");
    let again = exchanges.iter().flat_map(|e| &e.messages).filter(|m| m.receive_count > 1).count();
    assert_eq!(again, 0, "each body costs one delivery");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_never_become_local_paths() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("a/b/c/d");
    std::fs::create_dir_all(&inside).unwrap();
    worker.live_in(&inside);
    let absolute = format!("{}/absolute.jpg", root.path().display());
    for key in ["../../up.jpg", "..\\..\\back.jpg", "~/home.jpg", "./here.jpg", &absolute] {
        scenario.upload(key).await;
    }
    worker.started().await;
    scenario.finish().await;
    let mut folders = vec![root.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir(), "{} was written", path.display());
            folders.push(path);
        }
    }
}

async fn send(scenario: &Scenario, bodies: &[String]) {
    let sqs = &scenario.stage.world.sqs;
    let batches = stream::iter(bodies.chunks(10).map(|chunk| async move {
        let entry = |(n, body): (usize, &String)| {
            SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body).build().unwrap()
        };
        let entries = chunk.iter().enumerate().map(entry).collect();
        let batch = sqs.send_message_batch().queue_url(&scenario.stage.queue).set_entries(Some(entries));
        let failed = batch.send().await.unwrap().failed;
        assert!(failed.is_empty(), "{failed:?}");
    }));
    batches.buffer_unordered(8).collect::<Vec<()>>().await;
}

/// One body: a good event with something done to it, or something else altogether; and whether it is no event by
/// any reading.
fn body(random: &mut fastrand::Rng, bucket: &str, trap: &str) -> (String, bool) {
    let mut record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "nobody.jpg", "size": 1, "eTag": "e", "sequencer": "0A"}},
    });
    for _ in 0..random.usize(1..4) {
        spoil(&mut record, random);
    }
    let whole = json!({ "Records": [record] });
    let kind = random.u8(0..12);
    let text = match kind {
        0..=4 => whole.to_string(),
        5 => json!({"Type": "Notification", "TopicArn": trap, "Message": whole.to_string(),
            "SubscribeURL": trap, "UnsubscribeURL": trap, "SigningCertURL": trap})
        .to_string(),
        6 => json!({"Type": "SubscriptionConfirmation", "TopicArn": "t", "SubscribeURL": trap, "Token": "t"})
            .to_string(),
        7 => {
            let text = whole.to_string();
            let cut = random.usize(1..text.len());
            text.chars().take(cut).collect()
        }
        8 => format!("{}{}", "[".repeat(random.usize(1..4000)), "]".repeat(random.usize(0..4000))),
        9 => (0..random.usize(1..200)).map(|_| harmless(random)).collect(),
        10 => json!({ "Records": vec![json!({}); random.usize(0..1100)] }).to_string(),
        _ => json!({"source": "aws.s3", "detail-type": text(random), "detail": whole}).to_string(),
    };
    (text, (7..=9).contains(&kind))
}

/// Puts something else in some place of a value.
fn spoil(value: &mut Value, random: &mut fastrand::Rng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.u8(0..8) > 0 => {
            let name = fields.keys().nth(random.usize(0..fields.len())).expect("in range").clone();
            if random.u8(0..8) == 0 {
                fields.remove(&name);
            } else {
                spoil(fields.get_mut(&name).expect("just seen"), random);
            }
        }
        other => {
            *other = match random.u8(0..8) {
                0 => Value::Null,
                1 => json!(random.u64(..)),
                2 => json!(-1.5e300),
                3 => json!([[], {}, [{}]]),
                4 => json!({"a": {"b": text(random)}}),
                _ => json!(text(random)),
            }
        }
    }
}

fn text(random: &mut fastrand::Rng) -> String {
    const NASTY: [&str; 14] = [
        "../../../etc/passwd.jpg",
        "..%2f..%2fx.jpg",
        "a\nERROR forged line.jpg",
        "\u{1b}[2J\u{7}.jpg",
        "169.254.169.254/latest/meta-data.jpg",
        "http://127.0.0.1/x.jpg",
        "%00.jpg",
        "%ff%fe.jpg",
        "<script>alert(1)</script>.jpg",
        "${jndi:ldap://x}.jpg",
        "\u{202e}gpj.exe.jpg",
        "",
        "/",
        "😀'\"; DROP TABLE x; --.jpg",
    ];
    match random.u8(0..4) {
        0 => NASTY[random.usize(0..NASTY.len())].repeat(random.usize(1..300)),
        _ => NASTY[random.usize(0..NASTY.len())].to_owned(),
    }
}

/// Any character that SQS accepts.
fn harmless(random: &mut fastrand::Rng) -> char {
    loop {
        let c = random.char(..);
        if matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..) {
            return c;
        }
    }
}
