//! Nothing to poll: the queue is missing, denied, unreachable. The worker asks at most once a
//! second, and is back within 30 s of the end of the trouble, without a restart.

use crate::harness::scenario::eventually;
use crate::harness::tls::Tls;
use crate::harness::{Fault, Operation, PATIENCE, Scenario, Worker, lasting, on};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Starts a worker into an outage, and lifts it.
async fn outage<B, E>(begin: impl FnOnce(Arc<Worker>) -> B, end: impl FnOnce(Arc<Worker>) -> E)
where
    B: Future<Output = ()>,
    E: Future<Output = ()>,
{
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    begin(Arc::clone(&worker)).await;
    scenario.upload_many("o", 5).await;
    worker.started().await;
    // A clock and not a condition: the length of the outage is what this is about.
    tokio::time::sleep(lasting(30)).await;
    assert!(worker.running(), "it waits, and does not end:\n{}", worker.tail());
    let tries = worker.count_lines("trying again in");
    assert!(tries >= 2, "it tries again");
    let most = usize::try_from(lasting(30).as_secs()).unwrap();
    assert!(tries <= most, "{tries} tries in {most} s");
    // And on the wire, as far as anything comes so far.
    let receives = scenario.log.count(|e| e.call.operation == Operation::Receive);
    assert!(receives <= most, "{receives} receives in {most} s");
    assert_eq!(scenario.depth().await, (5, 0));
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", Duration::from_secs(10), unready).await;
    let ended = Instant::now();
    end(Arc::clone(&worker)).await;
    scenario.until_empty(Duration::from_secs(31)).await;
    assert!(ended.elapsed() < Duration::from_secs(31), "back after {:?}", ended.elapsed());
    assert_eq!(worker.proxy.life(), 1, "without a restart");
    scenario.finish().await;
}

async fn refused(status: u16, code: &'static str) {
    let begin = async |worker: Arc<Worker>| {
        worker.proxy.fault(on([Operation::Receive]), Fault::Refuse(status, code));
    };
    outage(begin, async |worker: Arc<Worker>| worker.proxy.heal()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_missing() {
    refused(400, "AWS.SimpleQueueService.NonExistentQueue").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_access_denied() {
    refused(403, "AccessDenied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_key_denied() {
    let begin = async |worker: Arc<Worker>| {
        worker.proxy.fault(on([Operation::Receive]), Fault::Refuse(400, "KMS.AccessDeniedException"));
    };
    let end = async |worker: Arc<Worker>| {
        assert!(worker.count_lines("allow kms:Decrypt on it") > 0, "{}", worker.tail());
        worker.proxy.heal();
    };
    outage(begin, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_over_limit() {
    refused(403, "OverLimit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_do_not_resolve() {
    let begin = async |worker: Arc<Worker>| {
        let named = worker.proxy.endpoint.replace("127.0.0.1", "localhost");
        worker.with_shim().set("AWS_ENDPOINT_URL", named);
        worker.shim.names_resolve(false);
    };
    outage(begin, async |worker: Arc<Worker>| worker.shim.names_resolve(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_refused() {
    let begin = async |worker: Arc<Worker>| worker.proxy.stop_listening();
    outage(begin, async |worker: Arc<Worker>| worker.proxy.listen_again().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_expired() {
    let tls: OnceCell<Tls> = OnceCell::new();
    let begin = async |worker: Arc<Worker>| {
        let expired = Tls::expired_in_front_of(worker.proxy.address).await;
        worker.set("AWS_ENDPOINT_URL", &expired.endpoint);
        worker.set("SSL_CERT_FILE", expired.authorities().to_str().unwrap());
        assert!(tls.set(expired).is_ok());
    };
    let end = async |worker: Arc<Worker>| {
        assert!(worker.count_lines("certificate") >= 2, "the log says why:\n{}", worker.tail());
        let tls = tls.get().unwrap();
        let (tries, most) = (tls.connections(), usize::try_from(lasting(30).as_secs()).unwrap());
        assert!((2..=most).contains(&tries), "{tries} connections in {most} s");
        tls.renew();
    };
    outage(begin, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_reset() {
    let begin = async |worker: Arc<Worker>| {
        worker.proxy.fault(on([Operation::Receive]), Fault::ResetBefore);
    };
    outage(begin, async |worker: Arc<Worker>| worker.proxy.heal()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn black_holed_polls() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload_many("b", 4).await;
    worker.proxy.fault(on([Operation::Receive]), Fault::BlackHole);
    worker.started().await;
    // Three polls, each a second and five long, and pauses between them. ECS replaces what ends.
    let code = worker.exit_code(Duration::from_secs(60)).await;
    assert!(code.is_some_and(|code| code != 0), "it ended with {code:?}");
    worker.proxy.heal();
    worker.started().await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_come_back_at_the_last_moment() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload("b.jpg").await;
    let on_its_way = |life: u64| {
        scenario.log.count(|e| e.life == life && e.call.operation == Operation::Receive && e.ended.is_none())
    };
    let says = async |wanted: u16| worker.ask("/healthz").await.filter(|(status, _)| *status == wanted);
    // Two polls that nobody answers, with pauses after them, and a third that takes as long as it may: more than
    // three polls' time. A machine so busy that the third is given up as well shows nothing: once more, then.
    for attempt in 1.. {
        let silent = worker.proxy.fault(on([Operation::Receive]).nth(..=2), Fault::BlackHole);
        worker.started().await;
        eventually("health", PATIENCE, async || says(200).await).await;
        scenario.until("a second poll", PATIENCE, || silent.applied() == 2).await;
        // From here on answers wait.
        worker.proxy.partition(true, false);
        let unwell = async || (says(503).await.is_some() || !worker.running()).then_some(());
        eventually("word that no poll comes back", PATIENCE, unwell).await;
        let in_time = worker.running() && on_its_way(worker.proxy.life()) == 1;
        worker.proxy.heal();
        let well = async || match says(200).await {
            Some(_) => Some(true),
            None => (!worker.running()).then_some(false),
        };
        if eventually("health, or its end", PATIENCE, well).await && in_time {
            break;
        }
        assert!(attempt < 5, "the third poll is given up, time after time:\n{}", worker.tail());
        worker.kill();
    }
    scenario.finish().await;
}
