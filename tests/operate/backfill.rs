//! `longshore backfill` over buckets that are large, when it is to be slow, and when it is interrupted.

use crate::common::pictures::{jpeg, picture};
use crate::common::process::{Process, peak_memory, run_aside};
use crate::common::stage::Stage;
use crate::common::{LIMIT, wait_for};
use crate::{json_lines, operator, told};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const PAGE: usize = 1000;

/// An S3 that does nothing but list: so many keys, of which every other one has renditions, and is of 2020.
#[derive(Clone)]
struct Lister(Arc<Shared>);

struct Shared {
    keys: usize,
    pages: AtomicU64,
    /// None comes after this one.
    last_page: AtomicU64,
    /// Who lists, and the most memory that it had taken after ten pages and at the last, in bytes.
    pid: AtomicU32,
    early: AtomicU64,
    late: AtomicU64,
}

impl Lister {
    async fn start(keys: usize) -> (Self, String) {
        let none = AtomicU64::default;
        let (last_page, pid) = (AtomicU64::new(u64::MAX), AtomicU32::default());
        let shared = Shared { keys, pages: none(), last_page, pid, early: none(), late: none() };
        let lister = Self(Arc::new(shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/{bucket}", get(page))
            .route("/{bucket}/", get(page))
            .with_state(lister.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (lister, url)
    }
}

async fn page(
    State(Lister(shared)): State<Lister>,
    Path(bucket): Path<String>,
    RawQuery(query): RawQuery,
) -> String {
    let query = query.unwrap_or_default();
    let asked = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let prefix = percent_decode_str(asked("prefix").unwrap_or_default()).decode_utf8_lossy();
    let from: usize = asked("continuation-token").map_or(0, |token| token.parse().unwrap());
    let to = (from + PAGE).min(shared.keys);
    let mut xml = String::from("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for n in (from..to).filter(|n| bucket == "in" || n % 2 == 1) {
        let (pad, year) = ("long-".repeat(40), if n % 2 == 1 { 2020 } else { 2120 });
        let _ = write!(
            xml,
            "<Contents><Key>{prefix}{n:07}-{pad}.jpg</Key><LastModified>{year}-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>1000</Size></Contents>"
        );
    }
    if to < shared.keys {
        let _ =
            write!(xml, "<IsTruncated>true</IsTruncated><NextContinuationToken>{to}</NextContinuationToken>");
    }
    let pages = shared.pages.fetch_add(1, SeqCst) + 1;
    if pages > shared.last_page.load(SeqCst) {
        return std::future::pending().await;
    }
    let memory = || peak_memory(shared.pid.load(SeqCst));
    if bucket == "in" && pages >= 10 && shared.early.load(SeqCst) == 0 {
        shared.early.store(memory(), SeqCst);
    }
    if bucket == "in" && to == shared.keys {
        shared.late.store(memory(), SeqCst);
    }
    xml + "</ListBucketResult>"
}

fn over(stage: &Stage, url: &str, arguments: &[&str]) -> Command {
    let mut command =
        operator(stage, &[&["backfill", "--bucket", "in", "--missing", "--json"], arguments].concat());
    command.env("AWS_ENDPOINT_URL_S3", url).env("LONGSHORE_OUTPUT_BUCKET", "out");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_bucket_takes_no_more_memory_than_a_small_one() {
    const KEYS: usize = 60_000;
    let stage = Stage::new().await;
    let (lister, url) = Lister::start(KEYS).await;
    let printed = tempfile::NamedTempFile::new().unwrap();
    // Each key that would be queued is a line: what is printed is not kept either.
    let command = over(&stage, &url, &["--dry-run"]);
    let mut process = Process::start_printing_to(command, printed.reopen().unwrap());
    lister.0.pid.store(process.id(), SeqCst);
    let ended = tokio::task::spawn_blocking(move || (process.wait(5 * LIMIT), process.log())).await.unwrap();
    assert_eq!(ended.0.code(), Some(0), "{}", ended.1);
    let text = std::fs::read_to_string(printed.path()).unwrap();
    let told: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&told["seen"], &told["missing"]), (&json!(KEYS), &json!(KEYS / 2)), "{told}");
    let (early, late) = (lister.0.early.load(SeqCst), lister.0.late.load(SeqCst));
    println!("{early} bytes after ten pages, {late} at the last");
    // The keys alone are 12 MiB.
    assert!(early > 0 && late < early + (6 << 20), "{early} bytes after ten pages, {late} at the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_new_enough_is_looked_at() {
    let stage = Stage::new().await;
    let (_, url) = Lister::start(20).await;
    for (arguments, seen) in [(&["--dry-run"][..], 20), (&["--dry-run", "--since", "24h"], 10)] {
        let (code, text, errors) = run_aside(over(&stage, &url, arguments)).await;
        assert_eq!(code, Some(0), "{errors}");
        assert_eq!(json_lines(&text).last().unwrap()["seen"], seen, "{text}");
    }
}

/// A large bucket of which nothing is to be done: it may take minutes to know.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_can_be_interrupted_though_nothing_was_found_yet() {
    const LISTED: u64 = 3;
    let stage = Stage::new().await;
    let (lister, url) = Lister::start(20_000).await;
    lister.0.last_page.store(LISTED, SeqCst);
    let mut command = over(&stage, &url, &[]);
    command.env("LONGSHORE_SUFFIXES", ".png");
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut process = Process::start_printing_to(command, printed.reopen().unwrap());
    // The next page never comes.
    let asked = || async { (lister.0.pages.load(SeqCst) > LISTED).then_some(()) };
    wait_for("a page too many", LIMIT, asked).await;
    process.signal("INT");
    let (code, errors) =
        tokio::task::spawn_blocking(move || (process.wait(LIMIT).code(), process.log())).await.unwrap();
    assert_eq!(code, Some(1), "{errors}");
    let told = std::fs::read_to_string(printed.path()).unwrap();
    let told = &json_lines(&told)[0];
    let listed = LISTED * PAGE as u64;
    assert_eq!((&told["listed"], &told["seen"]), (&json!(listed), &json!(0)), "{told}");
    assert_eq!((&told["interrupted"], &told["queued"]), (&json!(true), &json!(0)), "{told}");
    let last = format!("--start-after '{:07}-long-", listed - 1);
    assert!(errors.contains(&last), "{last}: {errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_took_is_not_told_as_queued() {
    let stage = Stage::new().await;
    stage.upload("a.jpg", jpeg(&picture(40, 30))).await;
    let mut command = operator(&stage, &["backfill", "--bucket", &stage.input, "--json"]);
    command.env("LONGSHORE_QUEUE_URL", format!("{}-not-there", stage.queue));
    let (code, text, errors) = run_aside(command).await;
    assert_eq!(code, Some(1), "{errors}");
    let told = &json_lines(&text)[0];
    assert_eq!((&told["missing"], &told["queued"]), (&json!(1), &json!(0)), "{told}");
    assert!(errors.contains("cannot send to"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backfill_goes_on_where_it_says() {
    const KEYS: usize = 45;
    let stage = Stage::new().await;
    for n in 0..KEYS {
        stage.upload(&format!("it's\n{n:02}.jpg"), jpeg(&picture(40, 30))).await;
    }
    let backfill = ["backfill", "--bucket", &stage.input];
    // Ten messages a second: the first look at 32 keys takes three seconds to send.
    let slow = operator(&stage, &[&backfill[..], &["--rate", "10"]].concat());
    let mut process = Process::start(slow);
    wait_for("message", LIMIT, || async { (stage.depth(&stage.queue).await.0 > 0).then_some(()) }).await;
    process.signal("INT");
    let (code, errors) =
        tokio::task::spawn_blocking(move || (process.wait(LIMIT).code(), process.log())).await.unwrap();
    assert_eq!(code, Some(1), "{errors}");
    let word = errors.split("--start-after ").nth(1).unwrap_or_else(|| panic!("{errors}")).trim();
    let key = Command::new("bash").args(["-c", &format!("printf %s {word}")]).output().unwrap().stdout;
    let key = String::from_utf8(key).unwrap();
    let queued = stage.depth(&stage.queue).await.0;
    assert!(queued < KEYS as u64 && key.starts_with("it's\n"), "{queued} up to {key:?}");

    let begun = Instant::now();
    let (code, text, errors) =
        told(&stage, &[&backfill[..], &["--rate", "10", "--start-after", &key, "--json"]].concat()).await;
    assert_eq!(code, Some(0), "{errors}");
    let more = json_lines(&text)[0]["missing"].as_u64().unwrap();
    assert_eq!(queued + more, KEYS as u64, "{text}");
    // The first ten are sent at once.
    let least = Duration::from_millis(100 * more.saturating_sub(10));
    assert!(begun.elapsed() >= least, "{more} within {:?}", begun.elapsed());
    let mut keys = BTreeSet::new();
    while stage.depth(&stage.queue).await.0 > 0 {
        let receive = stage.world.sqs.receive_message().queue_url(&stage.queue).max_number_of_messages(10);
        for message in receive.visibility_timeout(600).send().await.unwrap().messages() {
            let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            keys.insert(body["Records"][0]["s3"]["object"]["key"].to_string());
        }
    }
    assert_eq!(keys.len(), KEYS, "each is queued");
}
