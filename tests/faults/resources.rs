//! Places, CPU, and messages that take the process with them.

use crate::harness::strain::Hog;
use crate::harness::{Expected, Fate, Fault, Operation, PATIENCE, Scenario, lasting, on, whole};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn no_hoarding() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    let slow = a.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(3)));
    scenario.upload_many("h", 40).await;
    a.started().await;
    scenario.until("slow downloads", PATIENCE, || slow.applied() == 4).await;
    assert_eq!(scenario.depth().await, (36, 4), "it takes what it can start, and no more");
    b.started().await;
    scenario.until_empty(PATIENCE).await;
    let deliveries = |name: &str| {
        let exchanges = scenario.log.exchanges();
        exchanges.iter().filter(|e| e.worker == name).map(|e| e.messages.len()).sum::<usize>()
    };
    assert!(deliveries("b") >= 30, "a took {}, b took {}", deliveries("a"), deliveries("b"));
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_cores_saturated_for_a_minute() {
    let scenario = Scenario::alone(1000).await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_CONCURRENCY", "8").set("LONGSHORE_RENDER_THREADS", "2");
    // Half of the downloads take so long that their leases must be renewed.
    let slow = Fault::Delay(Duration::from_secs(9));
    worker.proxy.fault(on([Operation::GetObject]).sometimes(0.5), slow);
    worker.started().await;
    let hog = Hog::start();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < lasting(60) {
        // Pictures that take the CPU for a while.
        let upload = scenario.put_at(&format!("s{count}.jpg"), 12).await;
        scenario.announce(&upload).await;
        count += 1;
        while scenario.depth().await.0 > 4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut lags = renewal_lags(&scenario, worker.visibility());
    lags.sort();
    assert!(lags.len() >= 10, "only {} renewals", lags.len());
    let p99 = lags[(lags.len() - 1) * 99 / 100];
    assert!(p99 < Duration::from_millis(500), "renewal lag p99 {p99:?} of {}", lags.len());
    let asked = Instant::now();
    worker.terminate();
    assert_eq!(worker.exit_code(PATIENCE).await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "SIGTERM was obeyed after {:?}", asked.elapsed());
    let most = |scenario: &Scenario| {
        let exchanges = scenario.log.exchanges();
        exchanges.iter().flat_map(|e| &e.messages).map(|m| m.receive_count).max()
    };
    assert_eq!(most(&scenario), Some(1), "no lease ran out");
    drop(hog);
    worker.proxy.heal();
    worker.started().await;
    scenario.finish().await;
}

/// How much later than a third of the visibility timeout each lease was renewed.
fn renewal_lags(scenario: &Scenario, visibility: u64) -> Vec<Duration> {
    let third = Duration::from_secs(visibility) / 3;
    let mut last: HashMap<String, Duration> = HashMap::new();
    let mut lags = Vec::new();
    for exchange in scenario.log.exchanges() {
        for message in &exchange.messages {
            // From the moment when it was received: the wait of the poll is not part of the lease.
            last.insert(message.receipt.clone(), exchange.effect_at.unwrap_or(exchange.at));
        }
        if exchange.call.operation == Operation::ChangeVisibility {
            for entry in exchange.call.entries.iter().filter(|e| e.visibility == Some(visibility)) {
                if let Some(before) = last.insert(entry.receipt.clone(), exchange.at) {
                    lags.push(exchange.at.saturating_sub(before + third));
                }
            }
        }
    }
    lags
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_process() {
    const RECEIVES: u32 = 5;
    let scenario = Arc::new(Scenario::with_receives(RECEIVES).await);
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    worker.proxy.fault(on([Operation::GetObject]).key("killer.jpg"), Fault::Before(worker.killer()));
    // Neighbours are in work when it strikes.
    worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_millis(50)));
    for n in 0..12 {
        scenario.upload(&format!("neighbour{n}.jpg")).await;
        if n == 3 {
            let killer = scenario.upload("killer.jpg").await;
            scenario.ledger.expect(killer.number, Expected::Moved);
        }
    }
    let over = Arc::new(AtomicBool::new(false));
    let supervisor = {
        let (worker, over) = (Arc::clone(&worker), Arc::clone(&over));
        // What ECS does with a task that dies.
        tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                if !worker.running() {
                    worker.start();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    scenario.until_empty(PATIENCE).await;
    over.store(true, Ordering::SeqCst);
    supervisor.await.unwrap();
    let exchanges = scenario.log.exchanges();
    let killer = exchanges.iter().flat_map(|e| &e.messages).filter(|m| m.body.contains("killer.jpg")).count();
    assert_eq!(killer, RECEIVES as usize, "within its receives");
    // Twice beside it, the third time alone; once more if it was the first of those that ran alone.
    let neighbours = exchanges.iter().flat_map(|e| &e.messages).filter(|m| m.body.contains("neighbour"));
    let most = neighbours.map(|m| m.receive_count).max();
    assert!(most.is_some_and(|n| n < RECEIVES.into()), "its neighbours were received {most:?} times");
    let scenario = Arc::into_inner(scenario).expect("nobody else has it");
    let fates = scenario.finish().await;
    assert_eq!(fates.iter().filter(|(_, fate)| *fate == Fate::Moved).count(), 1);
}

/// 9600 × 6400 pixels, as a PNG: 184 MB when decoded.
pub const SIXTY_MEGAPIXELS: u32 = 100;
pub const LIMIT: u64 = 512 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn large_pictures_in_little_memory() {
    let scenario = Scenario::alone(5).await;
    let worker = scenario.worker("w").await;
    // Four of them at once would take more; how many may be is found out by the worker itself.
    worker.set("LONGSHORE_CONCURRENCY", "8").set("LONGSHORE_RENDER_THREADS", "4");
    worker.limit_memory(LIMIT).set("LONGSHORE_MAX_RENDER_TIME", "120s");
    // An unoptimised build takes seconds of CPU for each; all of six would not fit either.
    for n in 0..if whole() { 50 } else { 6 } {
        scenario.upload_png(&format!("large{n}.png"), SIXTY_MEGAPIXELS, Expected::Picture).await;
    }
    worker.started().await;
    scenario.until_empty(Duration::from_secs(900)).await;
    assert!(worker.running(), "it ended:\n{}", worker.tail());
    let exchanges = scenario.log.exchanges();
    let most = exchanges.iter().flat_map(|e| &e.messages).map(|m| m.receive_count).max();
    assert_eq!(most, Some(1), "those that wait for memory keep their leases");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_picture_too_large_for_the_budget() {
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_MEMORY_BUDGET", "100MiB");
    let expected = Expected::Rejected("memory-budget");
    scenario.upload_png("huge.png", SIXTY_MEGAPIXELS, expected).await;
    scenario.upload("small.jpg").await;
    worker.started().await;
    scenario.until_empty(PATIENCE).await;
    let look = scenario.stage.world.sqs.receive_message().queue_url(&scenario.stage.dlq);
    // Left where it is, for the ledger.
    let look = look.message_attribute_names("All").visibility_timeout(0).send().await.unwrap();
    let attributes = look.messages()[0].message_attributes().unwrap();
    let detail = attributes["longshore.detail"].string_value().unwrap();
    let number = |after: &str| -> u64 {
        let (_, rest) = detail.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {detail}"));
        rest.split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap_or_else(|_| panic!("no number after {after:?} in {detail}"))
    };
    // Two thirds of the budget are for pixels, but for what the pool keeps.
    let (takes, has) = (number("takes up to "), number("more than the "));
    assert!(takes > 100 << 20 && has < 67 << 20 && has > 40 << 20, "both numbers: {detail}");
    scenario.finish().await;
}
