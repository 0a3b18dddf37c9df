//! The admin port over a real socket: what a browser, a scraper and a stranger are answered.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "page/client.rs"]
mod client;
mod common;

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use client::{Events, Local, MARK, ask, connect, get};
use common::pictures::{jpeg, picture};
use common::process::{Process, worker};
use common::stage::Stage;
use common::{LIMIT, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};

/// A worker whose admin port is on a free port of this address.
fn work(stage: &Stage, address: &str, more: &[(&str, &str)]) -> (Process, String) {
    let mut command = worker(stage);
    command
        .env("LONGSHORE_ADMIN_ADDR", address)
        .env("LONGSHORE_WAIT_TIME", "1")
        .env("LONGSHORE_LOG_FORMAT", "json");
    command.envs(more.iter().copied());
    let mut process = Process::start(command);
    let started: Value = serde_json::from_str(&process.wait_for_line("started", LIMIT)).unwrap();
    let admin = started["admin"].as_str().unwrap().strip_prefix("http://").unwrap();
    let port = admin.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    (process, format!("127.0.0.1:{port}"))
}

const TOKEN: &str = "sesame-sesame-sesame";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_headers_that_keep_strangers_text_harmless() {
    let stage = Stage::new().await;
    let (_process, address) = work(&stage, "127.0.0.1:0", &[]);
    for path in ["/", "/style.css", "/main.js", "/icon.svg", "/metrics", "/healthz", "/nothing"] {
        let answer = get(&address, path);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
    // Nothing in the document would need more than the policy allows.
    let document = get(&address, "/").text();
    for inline in ["onclick", "onload", "style=", "<script>", "javascript:", "http://", "https://"] {
        assert!(!document.contains(inline), "{inline}");
    }
    // Everything that it names is there.
    let named = document.split(['"', '\'']).filter(|part| part.starts_with('/') && part.contains('.'));
    for path in named {
        assert_eq!(get(&address, path).status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_tells_everything_then_a_sample_a_second_and_ends_with_the_worker() {
    let stage = Stage::new().await;
    stage.send("not JSON at all").await;
    let (mut process, address) = work(&stage, "127.0.0.1:0", &[]);
    let mut events = Events::open(&address, &[]);
    let whole = events.next("whole", |_| true).unwrap();
    assert_eq!((&whole["about"]["mode"], &whole["about"]["queue"]), (&json!("work"), &json!(stage.queue)));
    assert!(whole.get("studio").is_none(), "{whole}");
    let setting = |flag: &str| {
        whole["settings"].as_array().unwrap().iter().find(|s| s["flag"] == flag).unwrap().clone()
    };
    assert_eq!(
        setting("wait-time"),
        json!({"flag": "wait-time", "value": "1", "from": "LONGSHORE_WAIT_TIME"})
    );
    let sample = events.next("sample", |s| s["waiting"].is_u64() && s["trouble"].is_null()).unwrap();
    assert_eq!((&sample["phase"], &sample["waiting"]), (&json!("running"), &json!(0)));
    let letters = letters(&mut events, &whole, |l| l["seen"] == 1 && l["count"] == 1);
    assert_eq!(by_reason(&letters), [("malformed".to_owned(), 1)]);
    assert_eq!((&letters["scope"], &letters["url"]), (&json!("queue"), &json!(stage.dlq)));

    process.signal("TERM");
    assert!(events.next("sample", |_| false).is_none(), "the stream ends");
    assert!(process.wait(LIMIT).success());
}

/// What the page says of the dead-letter queue, once it is as wanted.
fn letters(events: &mut Events, whole: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    match &whole["letters"] {
        letters if wanted(letters) => letters.clone(),
        _ => events.next("letters", wanted).unwrap(),
    }
}

/// The same for who looks now: what changes at once with a picture may be told before it.
fn letters_now(address: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut events = Events::open(address, &[]);
    let whole = events.next("whole", |_| true).unwrap();
    letters(&mut events, &whole, wanted)
}

fn by_reason(letters: &Value) -> Vec<(String, u64)> {
    let group = |g: &Value| (g["reason"].as_str().unwrap().to_owned(), g["count"].as_u64().unwrap());
    letters["groups"].as_array().unwrap().iter().map(group).collect()
}

/// Puts letters of a reason into the dead-letter queue.
async fn bury(stage: &Stage, reason: &str, count: usize) {
    let attribute =
        MessageAttributeValue::builder().data_type("String").string_value(reason).build().unwrap();
    let letter = |n: usize| {
        let body = stage.message(&[stage.record(&format!("{reason}-{n}.jpg"), "e", "01")]);
        let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body);
        entry.message_attributes("longshore.reason", attribute.clone()).build().unwrap()
    };
    let letters: Vec<_> = (0..count).map(letter).collect();
    for ten in letters.chunks(10) {
        let send = stage.world.sqs.send_message_batch().queue_url(&stage.dlq).set_entries(Some(ten.to_vec()));
        assert_eq!(send.send().await.unwrap().successful().len(), ten.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_others_sent_are_shown_by_reason_and_stay_where_they_are() {
    let stage = Stage::new().await;
    bury(&stage, "truncated", 3).await;
    bury(&stage, "too-large", 2).await;
    let (_process, address) = work(&stage, "127.0.0.1:0", &[]);
    let mut events = Events::open(&address, &[]);
    let whole = events.next("whole", |_| true).unwrap();
    let told = letters(&mut events, &whole, |l| l["seen"] == 5);
    assert_eq!(by_reason(&told), [("truncated".to_owned(), 3), ("too-large".to_owned(), 2)]);
    assert_eq!(
        (&told["scope"], &told["count"], &told["trouble"]),
        (&json!("queue"), &json!(5), &Value::Null)
    );
    let place = format!("s3://{}/truncated-", stage.input);
    assert!(told["groups"][0]["example"].as_str().unwrap().starts_with(&place), "{told}");

    let receive = stage.world.sqs.receive_message().queue_url(&stage.dlq).max_number_of_messages(10);
    let received = receive.visibility_timeout(600).send().await.unwrap();
    assert_eq!(received.messages().len(), 5, "none is hidden");
    let hidden = letters(&mut events, &whole, |l| l["seen"] == 0);
    assert_eq!((&hidden["count"], &hidden["groups"]), (&json!(5), &json!([])), "hidden by somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_letters_it_says_how_many_it_looked_at() {
    let stage = Stage::new().await;
    bury(&stage, "truncated", 130).await;
    let (_process, address) = work(&stage, "127.0.0.1:0", &[]);
    let mut events = Events::open(&address, &[]);
    let whole = events.next("whole", |_| true).unwrap();
    let told = letters(&mut events, &whole, |l| l["seen"].as_u64() > Some(0));
    let seen = told["seen"].as_u64().unwrap();
    assert!((10..=100).contains(&seen) && told["count"] == 130, "{told}");
    assert_eq!(by_reason(&told), [("truncated".to_owned(), seen)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_counted_are_not_known_to_be_none() {
    let stage = Stage::new().await;
    let missing = format!("{}-missing", stage.dlq);
    let (_process, address) = work(&stage, "127.0.0.1:0", &[("LONGSHORE_DLQ_URL", &missing)]);
    let mut events = Events::open(&address, &[]);
    let whole = events.next("whole", |_| true).unwrap();
    let told = letters(&mut events, &whole, |l| l["trouble"].is_string());
    assert_eq!((&told["count"], &told["groups"]), (&Value::Null, &json!([])));
    let why = told["trouble"].as_str().unwrap();
    assert!(why.contains("NonExistentQueue") && !why.contains("allow"), "no permission mends it: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_shows_keys_and_reasons_but_changes_nothing_and_shows_no_picture() {
    let stage = Stage::new().await;
    let key = "<script>alert(1)</script>.jpg";
    let etag = stage.upload(key, jpeg(&picture(300, 200))[..900].to_vec()).await;
    let encoded = "%3Cscript%3Ealert(1)%3C/script%3E.jpg";
    stage.send(stage.message(&[stage.record(encoded, &etag, "01")])).await;
    let (_process, address) = work(&stage, "127.0.0.1:0", &[]);
    let mut events = Events::open(&address, &[]);
    let failed = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|f| f["key"] == key));
    let whole = events.next("whole", |_| true).unwrap();
    let failures = if failed(&whole["failures"]) {
        whole["failures"].clone()
    } else {
        events.next("failures", failed).unwrap()
    };
    assert_eq!((&failures[0]["outcome"], &failures[0]["receives"]), (&json!("rejected"), &json!(1)));
    for request in ["POST /pictures", "GET /pictures/1/0", "POST /pictures/1/retry", "POST /renditions"] {
        assert_eq!(ask(&address, request, &[MARK], b"{}").status, 404, "{request}");
    }
    for request in ["POST /", "PUT /events", "DELETE /metrics", "POST /healthz"] {
        assert_eq!(ask(&address, request, &[MARK], b"").status, 405, "{request}");
    }
    // A key is data in an event; in no document.
    assert!(!get(&address, "/").text().contains("alert(1)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_told_as_trouble_and_then_as_mended() {
    let stage = Stage::new().await;
    let etag = stage.upload("a.jpg", jpeg(&picture(300, 200))).await;
    let output = format!("{}-later", stage.output);
    let (_process, address) = work(&stage, "127.0.0.1:0", &[("LONGSHORE_OUTPUT_BUCKET", &output)]);
    let mut events = Events::open(&address, &[]);
    stage.send(stage.message(&[stage.record("a.jpg", &etag, "01")])).await;
    let trouble =
        |s: &Value| s["trouble"].as_str().is_some_and(|t| t.contains(&output) && t.contains("NoSuchBucket"));
    events.next("sample", trouble).unwrap();
    let like = |outcome: &str, mended: bool| {
        let wanted = (json!("a.jpg"), json!(outcome), json!(mended));
        move |list: &Value| {
            (list[0]["key"].clone(), list[0]["outcome"].clone(), list[0]["mended"].clone()) == wanted
        }
    };
    let mut again = Events::open(&address, &[]);
    assert!(like("blocked", false)(&again.next("whole", |_| true).unwrap()["failures"]));
    stage.world.s3.create_bucket().bucket(&output).send().await.unwrap();
    again.next("failures", like("blocked", true)).unwrap();
    events.next("sample", |s| s["trouble"].is_null() && s["rate"].as_f64().unwrap() > 0.0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_page_and_the_metrics_and_health_needs_none() {
    let stage = Stage::new().await;
    let (_process, address) = work(&stage, "0.0.0.0:0", &[("LONGSHORE_ADMIN_TOKEN", TOKEN)]);
    for path in ["/", "/events", "/metrics", "/?token=wrong-wrong-wrong"] {
        let answer = get(&address, path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert!(!answer.text().contains(TOKEN));
    }
    for path in ["/healthz", "/readyz", "/style.css"] {
        assert_eq!(get(&address, path).status, 200, "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/", "/metrics"] {
        assert_eq!(
            ask(&address, &format!("GET {path}"), &[("Authorization", &bearer)], b"").status,
            200,
            "{path}"
        );
    }
    let by_query = get(&address, &format!("/?token={TOKEN}"));
    let form = format!("token={TOKEN}");
    let by_form = ask(&address, "POST /login", &[], form.as_bytes());
    for answer in [by_query, by_form] {
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
        let cookie = answer.header("set-cookie").unwrap();
        assert!(!cookie.contains(TOKEN) && cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        assert_eq!(ask(&address, "GET /", &[("Cookie", cookie)], b"").status, 200);
        let mut events = Events::open(&address, &[("Cookie", cookie)]);
        let whole = events.next("whole", |_| true).unwrap().to_string();
        assert!(
            whole.contains(r#""flag":"admin-token","from":"LONGSHORE_ADMIN_TOKEN","value":"(secret)""#),
            "{whole}"
        );
        assert!(!whole.contains(TOKEN));
    }
    let wrong = ask(&address, "POST /login", &[], b"token=not-this-one-at-all");
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("role=\"alert\"") && !wrong.text().contains("not-this-one"));
    assert!(!get(&address, "/").text().contains("role=\"alert\""), "nothing was wrong yet");
    let reloaded = get(&address, "/login");
    assert_eq!((reloaded.status, reloaded.header("location")), (303, Some("/")));
    let huge = format!("token={}", "x".repeat(100_000));
    assert_eq!(ask(&address, "POST /login", &[], huge.as_bytes()).status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_there_is_no_page_without_a_token_and_no_name_but_localhost() {
    let stage = Stage::new().await;
    let (_wide, address) = work(&stage, "0.0.0.0:0", &[]);
    for path in ["/", "/events"] {
        let answer = get(&address, path);
        assert!(
            answer.status == 403 && answer.text().contains("LONGSHORE_ADMIN_TOKEN"),
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(get(&address, "/metrics").status, 200, "as ever");

    let (_process, address) = work(&stage, "127.0.0.1:0", &[]);
    let port = address.rsplit(':').next().unwrap();
    for (host, status) in
        [("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost", 200), ("[::1]", 200)]
    {
        let host = format!("{host}:{port}");
        for path in ["/", "/events"] {
            // Streams do not end by themselves: HEAD asks for their status.
            let answer = ask(&address, &format!("HEAD {path}"), &[("Host", &host)], b"");
            assert_eq!(answer.status, status, "{path} at {host}");
        }
        assert_eq!(
            ask(&address, "GET /metrics", &[("Host", &host)], b"").status,
            200,
            "scrapers come by any name"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_pages_and_no_more() {
    let stage = Stage::new().await;
    let (_process, address) = work(&stage, "127.0.0.1:0", &[]);
    let mut open: Vec<Events> = (0..32).map(|_| Events::open(&address, &[])).collect();
    // HEAD, as a stream that is not refused would not end.
    let refused = ask(&address, "HEAD /events", &[], b"");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    // A page that is closed makes room, once the worker has noticed.
    open.pop();
    wait_for("a free place", LIMIT, || async {
        (ask(&address, "HEAD /events", &[], b"").status == 200).then_some(())
    })
    .await;
}

#[test]
fn a_picture_is_uploaded_watched_and_shown() {
    let local = Local::start(&[]);
    let mut events = Events::open(&local.address, &[]);
    let whole = events.next("whole", |_| true).unwrap();
    assert_eq!(whole["about"]["mode"], "local");
    assert_eq!(whole["studio"]["recipe"]["renditions"], "resized=1024x768,q85,420; thumbs=192x192,q85,444");
    let answer = local.upload("..%2F%3Cscript%3E%20%C3%BC.jpg", &jpeg(&picture(800, 600)));
    assert_eq!((answer.status, answer.json()["key"].as_str().unwrap()), (200, "<script> ü.jpg"));
    let done = events.picture("<script> ü.jpg", "done");
    let sizes: Vec<_> = done["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["width"].clone(), o["height"].clone()))
        .collect();
    assert_eq!(sizes, [(json!(800), json!(600)), (json!(192), json!(144))]);
    assert_eq!(done["stages"].as_array().unwrap().len(), 5);
    for (number, width) in [(0, 800), (1, 192)] {
        let answer = get(&local.address, &format!("/pictures/{}/{number}", done["id"]));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")));
        assert_eq!(image::load_from_memory(&answer.body).unwrap().width(), width);
    }
    assert_eq!(get(&local.address, &format!("/pictures/{}/2", done["id"])).status, 404);

    // What is stored survives, and the gallery with it.
    let local = Local::start_in(local.stop(), &[]);
    let mut events = Events::open(&local.address, &[]);
    let known =
        |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|p| p["key"] == "<script> ü.jpg"));
    let whole = events.next("whole", |_| true).unwrap();
    if !known(&whole["studio"]["pictures"]) {
        events.picture("<script> ü.jpg", "done");
    }
}

#[test]
fn a_broken_picture_is_retried_from_its_dead_letter_and_again_with_other_settings() {
    let local = Local::start(&[]);
    let mut events = Events::open(&local.address, &[]);
    let whole = jpeg(&picture(900, 900));
    assert_eq!(local.upload("cut.jpg", &whole[..whole.len() / 2]).status, 200);
    let failed = events.picture("cut.jpg", "failed");
    assert_eq!(failed["reason"], "truncated");
    letters_now(&local.address, |l| l["groups"][0]["count"] == 1);
    let retry = format!("POST /pictures/{}/retry", failed["id"]);
    let answer = ask(&local.address, &retry, &[MARK], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    events.picture("cut.jpg", "failed");
    let told = letters_now(&local.address, |l| l["groups"][0]["count"] == 1);
    assert_eq!(
        (&told["scope"], &told["groups"][0]["example"]),
        (&json!("queue"), &json!("s3://longshore-input/cut.jpg"))
    );
    let change = |body: Value| ask(&local.address, "POST /renditions", &[MARK], body.to_string().as_bytes());
    let wrong = change(json!({"renditions": "a=1", "icc": "cmyk", "damaged": "accept"}));
    assert_eq!(
        (wrong.status, wrong.json()["mistakes"].as_array().unwrap().len()),
        (422, 2),
        "{}",
        wrong.text()
    );
    let right = change(json!({"renditions": "small=90x90", "icc": "srgb", "damaged": "accept"}));
    assert_eq!((right.status, right.json()), (200, json!({"queued": 1})), "its letter goes back");
    let done = events.picture("cut.jpg", "done");
    assert_eq!((&done["outputs"][0]["name"], &done["outputs"][0]["width"]), (&json!("small"), &json!(90)));
    letters_now(&local.address, |l| l["groups"] == json!([]));
    let mut later = Events::open(&local.address, &[]);
    let recipe = &later.next("whole", |_| true).unwrap()["studio"]["recipe"];
    assert_eq!((&recipe["renditions"], &recipe["changed"]), (&json!("small=90x90,q85,420"), &json!(true)));
    let again = ask(&local.address, &retry, &[MARK], b"");
    assert_eq!((again.status, again.json()["error"].as_str().unwrap()), (409, "it has not failed"));

    // Finished pictures once more, with what is set now.
    let other = change(json!({"renditions": "small=50x50", "icc": "srgb", "damaged": "accept"}));
    assert_eq!(other.json(), json!({"queued": 1}));
    let smaller = events.next("pictures", |list| list[0]["outputs"][0]["width"] == 50);
    assert!(smaller.is_some());
}

#[test]
fn settings_that_change_twice_while_pictures_are_in_work_leave_none_at_the_first() {
    let local = Local::start(&[]);
    let mut events = Events::open(&local.address, &[]);
    let large = jpeg(&picture(1600, 1200));
    for n in 0..30 {
        assert_eq!(local.upload(&format!("{n}.jpg"), &large).status, 200);
    }
    let change = |size: u32| {
        let body = json!({"renditions": format!("a={size}x{size}"), "icc": "srgb", "damaged": "reject"});
        assert_eq!(ask(&local.address, "POST /renditions", &[MARK], body.to_string().as_bytes()).status, 200);
    };
    change(500);
    // While some are in work with it.
    std::thread::sleep(std::time::Duration::from_millis(150));
    change(300);
    let mut widths = std::collections::HashMap::new();
    let all_are_new = |list: &Value| {
        for picture in list.as_array().unwrap() {
            let made = (picture["state"].clone(), picture["outputs"][0]["width"].clone());
            widths.insert(picture["key"].to_string(), made);
        }
        widths.len() == 30 && widths.values().all(|made| *made == (json!("done"), json!(300)))
    };
    let told = std::cell::RefCell::new(all_are_new);
    events.next("pictures", |list| told.borrow_mut()(list)).unwrap();
    // And so they stay: nothing older comes after.
    let mut later = Events::open(&local.address, &[]);
    let pictures = later.next("whole", |_| true).unwrap()["studio"]["pictures"].clone();
    assert!(pictures.as_array().unwrap().iter().all(|p| p["outputs"][0]["width"] == 300), "{pictures}");
}

#[test]
fn changes_from_other_sites_are_refused_and_uploads_are_bounded() {
    let local = Local::start(&["--max-bytes", "20000"]);
    let address = local.address.as_str();
    let ours = format!("http://{address}");
    let mut events = Events::open(address, &[]);
    let name = ("X-Longshore-Name", "a.jpg");
    let picture = jpeg(&picture(64, 48));
    for (headers, status) in [
        (vec![name, MARK, ("Origin", ours.as_str()), ("Sec-Fetch-Site", "same-origin")], 200),
        (vec![name], 403),
        (vec![name, MARK, ("Origin", "http://evil.example")], 403),
        (vec![name, MARK, ("Origin", "null")], 403),
        (vec![name, MARK, ("Sec-Fetch-Site", "cross-site")], 403),
        (vec![name, MARK, ("Host", "rebound.example:80")], 403),
        (vec![MARK], 400),
        (vec![MARK, ("X-Longshore-Name", "..%2F..")], 400),
    ] {
        assert_eq!(ask(address, "POST /pictures", &headers, &picture).status, status, "{headers:?}");
    }
    for request in ["POST /pictures/1/retry", "POST /renditions"] {
        assert_eq!(ask(address, request, &[("Origin", ours.as_str())], b"{}").status, 403, "{request}");
    }
    assert_eq!(local.upload("large.jpg", &vec![0; 20_001]).status, 413);
    // Without a length, it is counted while it comes.
    let mut stream = connect(address);
    let head = format!(
        "POST /pictures HTTP/1.1\r\nHost: {address}\r\nX-Longshore: page\r\nX-Longshore-Name: b.jpg\r\n"
    );
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    for _ in 0..3 {
        let _ = stream.write_all(format!("{:x}\r\n{}\r\n", 10_000, "x".repeat(10_000)).as_bytes());
    }
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).unwrap();
    assert!(status.contains("413"), "{status}");
    // Nothing but the first one has come in.
    let first = events.picture("a.jpg", "done");
    assert_eq!(get(address, &format!("/pictures/{}/0", first["id"])).status, 200);
    let mut later = Events::open(address, &[]);
    let pictures = later.next("whole", |_| true).unwrap()["studio"]["pictures"].clone();
    assert_eq!(pictures.as_array().unwrap().len(), 1, "{pictures}");
}
