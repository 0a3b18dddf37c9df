//! Runs that are told in figures: few of each in the tests, many in `benches/faults.rs`.
#![allow(dead_code)] // tests and benchmarks each use their part

use crate::harness::invariants::{records, unsettled};
use crate::harness::log::Exchange;
use crate::harness::proxy::call::Entry;
use crate::harness::{Expected, Fault, Operation, Scenario, Worker, on};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(120);

/// So many of a worker's calls to S3 fail, each in another way.
pub fn mixed_errors(worker: &Worker, chance: f64) {
    let any = vec![
        Fault::Refuse(503, "SlowDown"),
        Fault::Refuse(500, "InternalError"),
        Fault::ResetBefore,
        Fault::AckLost,
    ];
    let spoilt = [any.clone(), vec![Fault::Truncate(100), Fault::Flip(300)]].concat();
    worker.proxy.fault(on([Operation::GetObject]).sometimes(chance), Fault::OneOf(spoilt));
    worker
        .proxy
        .fault(on([Operation::HeadObject, Operation::PutObject]).sometimes(chance), Fault::OneOf(any));
}

/// The same for SQS. Receives seldom: what goes down with a reply is hidden for a while.
pub fn mixed_queue_errors(worker: &Worker, chance: f64) {
    let faults = vec![
        Fault::Refuse(503, "ServiceUnavailable"),
        Fault::Refuse(400, "RequestThrottled"),
        Fault::ResetBefore,
        Fault::AckLost,
    ];
    let settle = on([Operation::Delete, Operation::ChangeVisibility, Operation::Send]);
    let some = Fault::FailEntries(Arc::new(|n| n % 3 == 0), "InternalError");
    worker.proxy.fault(on([Operation::Delete]).sometimes(chance / 2.0), some);
    worker.proxy.fault(settle.sometimes(chance), Fault::OneOf(faults.clone()));
    worker.proxy.fault(on([Operation::Receive]).sometimes(chance / 5.0), Fault::OneOf(faults));
}

/// Uploads at a steady pace until it is stopped.
pub struct Uploader {
    over: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Uploader {
    pub fn start(scenario: &Arc<Scenario>, prefix: &str, pause: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (scenario, stop, prefix) = (Arc::clone(scenario), Arc::clone(&over), prefix.to_owned());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            let mut count = 0;
            while !stop.load(Ordering::SeqCst) {
                ticks.tick().await;
                scenario.upload(&format!("{prefix}{count}.jpg")).await;
                count += 1;
            }
            count
        });
        Self { over, task }
    }

    /// How many it were.
    pub async fn stop(self) -> usize {
        self.over.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// What came of killing a worker again and again. Losses do not return: the checks panic.
#[derive(Debug)]
pub struct Killed {
    pub runs: u64,
    pub uploads: usize,
    pub lost: usize,
}

/// Each run: some uploads, and SIGKILL before or after a random one of the exchanges that follow.
pub async fn kill_again_and_again(runs: u64) -> Killed {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    for run in 0..runs {
        scenario.upload_many(&format!("k{run}-"), 3).await;
        let nth = fastrand::u64(1..=24);
        let before = fastrand::bool();
        let kill = if before { Fault::Before(worker.killer()) } else { Fault::After(worker.killer()) };
        let rule = worker.proxy.fault(on([]).nth(nth..=nth), kill);
        worker.start();
        scenario.until("its death", PATIENCE, || !worker.running()).await;
        rule.end();
    }
    worker.started().await;
    let fates = scenario.finish_within(PATIENCE).await;
    Killed { runs, uploads: fates.len(), lost: 0 }
}

/// What a rolling restart cost.
#[derive(Debug)]
pub struct Rolled {
    pub uploads: usize,
    /// Downloads beyond the first of each picture.
    pub again: usize,
    /// Messages that came again though nobody had given them back.
    pub redelivered: usize,
    /// Messages that were given back without being begun; no work was lost with them.
    pub handed_back: usize,
    /// Messages that were given back in the midst of work.
    pub cut_off: usize,
}

/// Three workers under load, one after the other told to leave and replaced.
pub async fn rolling_restart(restarts: usize, pause: Duration) -> Rolled {
    let scenario = Arc::new(Scenario::new().await);
    let workers = [scenario.worker("a").await, scenario.worker("b").await, scenario.worker("c").await];
    for worker in &workers {
        worker.started().await;
    }
    let uploader = Uploader::start(&scenario, "r", pause);
    for n in 0..restarts {
        let worker = &workers[n % 3];
        worker.terminate();
        assert_eq!(worker.exit_code(PATIENCE).await, Some(0), "restart {n}");
        let left = unsettled(&scenario.log.exchanges(), &worker.name, worker.proxy.life(), &scenario.terms());
        assert!(left.is_empty(), "restart {n}: {left:?} are still hidden");
        worker.started().await;
    }
    let uploads = uploader.stop().await;
    scenario.until_empty(PATIENCE).await;
    let rolled = rolled(uploads, &scenario.log.exchanges());
    let scenario = Arc::into_inner(scenario).expect("the uploader has ended");
    scenario.finish().await;
    rolled
}

fn rolled(uploads: usize, exchanges: &[Exchange]) -> Rolled {
    let (mut begun, mut given_back, mut reads) = (HashSet::new(), HashSet::new(), 0);
    for e in exchanges {
        if e.call.operation == Operation::GetObject {
            reads += 1;
            begun.insert((e.worker.as_str(), e.life, e.call.key.as_str()));
        }
        let released = |entry: &&Entry| entry.visibility == Some(0) && e.done.contains(&entry.id);
        given_back.extend(e.call.entries.iter().filter(released).map(|entry| entry.receipt.as_str()));
    }
    let (mut deliveries, mut messages, mut handed_back) = (0, HashSet::new(), 0);
    for e in exchanges {
        for message in &e.messages {
            deliveries += 1;
            messages.insert(message.id.as_str());
            let is_begun = |key: &str| begun.contains(&(e.worker.as_str(), e.life, key));
            let untouched = !records(message).iter().any(|(key, _)| is_begun(key));
            handed_back += usize::from(untouched && given_back.contains(message.receipt.as_str()));
        }
    }
    Rolled {
        uploads,
        again: reads - uploads,
        redelivered: (deliveries - messages.len()).saturating_sub(given_back.len()),
        handed_back,
        cut_off: given_back.len() - handed_back,
    }
}

/// What leaving took, while pictures came all the time.
#[derive(Debug)]
pub struct Drained {
    /// Pictures that the queue was told of, and those that were done, a second.
    pub offered: f64,
    pub done: f64,
    /// From SIGTERM to the end of the process, sorted.
    pub exits: Vec<Duration>,
    /// Exits with pictures in work when the signal came.
    pub busy: usize,
}

/// Three workers, and so many pictures a second for them; one after the other is told to leave and replaced.
pub async fn drain_under_load(rate: u32, exits: usize) -> Drained {
    const BATCH: u32 = 10;
    /// From one signal to the next: the one that was replaced is at work again.
    const BETWEEN: Duration = Duration::from_secs(1);
    let scenario = Arc::new(Scenario::new().await);
    let workers = [scenario.worker("a").await, scenario.worker("b").await, scenario.worker("c").await];
    // Stored beforehand, so that storing them is not what the machine is busy with. Two seconds an exit are more
    // than enough.
    let mut uploads = Vec::new();
    for n in 0..2 * rate as usize * exits {
        uploads.push(scenario.put(&format!("d{n}.jpg")).await);
    }
    for worker in &workers {
        worker.started().await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let announcing = {
        let (scenario, over) = (Arc::clone(&scenario), Arc::clone(&over));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) * BATCH / rate);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            let mut announced = 0;
            for batch in uploads.chunks(BATCH as usize) {
                ticks.tick().await;
                scenario.announce_all(batch).await;
                announced += batch.len();
                if over.load(Ordering::SeqCst) {
                    break;
                }
            }
            // Those that nobody was told of are no loss.
            uploads[announced..].iter().for_each(|upload| scenario.ledger.forget(upload.number));
            (announced, began.elapsed())
        })
    };
    let mut took = Vec::new();
    for n in 0..exits {
        tokio::time::sleep(BETWEEN).await;
        let worker = &workers[n % 3];
        let asked = Instant::now();
        worker.terminate();
        assert_eq!(worker.exit_code(PATIENCE).await, Some(0), "exit {n}");
        took.push(asked.elapsed());
        worker.started().await;
    }
    let exchanges = scenario.log.exchanges();
    let deletes = exchanges.iter().filter(|e| e.call.operation == Operation::Delete);
    let done = deletes.map(|e| e.done.len()).sum::<usize>() as f64 / began.elapsed().as_secs_f64();
    over.store(true, Ordering::SeqCst);
    let (announced, within) = announcing.await.unwrap();
    let busy = workers.iter().map(|w| w.count_lines("draining: ")).sum();
    let scenario = Arc::into_inner(scenario).expect("the announcer has ended");
    scenario.finish_within(PATIENCE).await;
    took.sort();
    Drained { offered: announced as f64 / within.as_secs_f64(), done, exits: took, busy }
}

/// Every kind of trouble at once, until so many pictures were uploaded. How many, and how many faults
/// they met.
pub async fn everything_at_once(uploads: usize) -> (usize, usize) {
    let scenario = Arc::new(Scenario::new().await);
    let workers = [scenario.worker("a").await, scenario.worker("b").await, scenario.worker("c").await];
    for worker in &workers {
        worker.set("LONGSHORE_CONCURRENCY", "8");
        mixed_errors(worker, 0.1);
        mixed_queue_errors(worker, 0.1);
        worker.started().await;
    }
    let made = Arc::new(AtomicUsize::new(0));
    let uploading = {
        let (scenario, made) = (Arc::clone(&scenario), Arc::clone(&made));
        tokio::spawn(async move {
            for n in 0..uploads {
                // Every tenth replaces an earlier one; every hundredth is no picture.
                match n {
                    n if n % 100 == 99 => {
                        let bytes = format!("no picture {n}").into_bytes();
                        let expected = Expected::Rejected("not-an-image");
                        scenario.upload_bytes(&format!("bad{n}.jpg"), bytes, expected).await;
                    }
                    n if n % 10 == 9 => drop(scenario.upload(&format!("u{}.jpg", n - 5)).await),
                    n => drop(scenario.upload(&format!("u{n}.jpg")).await),
                }
                made.fetch_add(1, Ordering::SeqCst);
                while n % 50 == 0 && scenario.depth().await.0 > 500 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        })
    };
    while made.load(Ordering::SeqCst) < uploads {
        let worker = &workers[fastrand::usize(..workers.len())];
        trouble(worker).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    uploading.await.unwrap();
    for worker in &workers {
        worker.proxy.heal();
    }
    let faults = scenario.log.count(|e| e.fault.is_some());
    let scenario = Arc::into_inner(scenario).expect("the uploader has ended");
    let fates = scenario.finish_within(Duration::from_secs(1200)).await;
    (fates.len(), faults)
}

/// Something that happens to processes and networks.
async fn trouble(worker: &Arc<Worker>) {
    match fastrand::u8(0..6) {
        0 => {
            worker.kill();
            worker.started().await;
        }
        1 => {
            worker.terminate();
            assert_eq!(worker.exit_code(PATIENCE).await, Some(0));
            worker.started().await;
        }
        2 => {
            worker.freeze();
            tokio::time::sleep(Duration::from_secs(fastrand::u64(1..9))).await;
            worker.thaw();
        }
        3 => {
            worker.proxy.partition(fastrand::bool(), false);
            tokio::time::sleep(Duration::from_secs(fastrand::u64(1..9))).await;
            worker.proxy.partition(true, true);
        }
        _ => tokio::time::sleep(Duration::from_secs(1)).await,
    }
}

/// Messages settled a second while the queue is never empty.
pub async fn throughput(errors: f64, concurrency: usize, scale: u32, seconds: u64) -> f64 {
    let scenario = Arc::new(Scenario::new().await);
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_CONCURRENCY", concurrency.to_string());
    if errors > 0.0 {
        mixed_errors(&worker, errors);
    }
    worker.started().await;
    let over = Arc::new(AtomicBool::new(false));
    let uploading = {
        let (scenario, over) = (Arc::clone(&scenario), Arc::clone(&over));
        tokio::spawn(async move {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) {
                if scenario.depth().await.0 > 100 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                for _ in 0..20 {
                    let upload = scenario.put_at(&format!("t{count}.jpg"), scale).await;
                    scenario.announce(&upload).await;
                    count += 1;
                }
            }
        })
    };
    let deleted = || -> usize {
        let exchanges = scenario.log.exchanges();
        exchanges.iter().filter(|e| e.call.operation == Operation::Delete).map(|e| e.done.len()).sum()
    };
    // The first seconds fill the places, and the back-off of what failed.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, began) = (deleted(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let rate = (deleted() - before) as f64 / began.elapsed().as_secs_f64();
    over.store(true, Ordering::SeqCst);
    uploading.await.unwrap();
    worker.proxy.heal();
    let scenario = Arc::into_inner(scenario).expect("the uploader has ended");
    scenario.finish_within(PATIENCE).await;
    rate
}

/// How long after SIGTERM (twice, so that nothing is waited for) what was held can be received by
/// others: the times at which SQS had taken the releases, sorted.
pub async fn visible_after_sigterm(times: usize) -> Vec<Duration> {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let mut waits = Vec::new();
    for n in 0..times {
        let stuck = worker.proxy.fault(on([Operation::GetObject]), Fault::BlackHole);
        scenario.upload_many(&format!("v{n}-"), 4).await;
        worker.started().await;
        let life = worker.proxy.life();
        let held = || scenario.log.count(|e| e.life == life && e.call.operation == Operation::GetObject) >= 4;
        scenario.until("four jobs", PATIENCE, held).await;
        // One after the other: two pending signals of a kind are one.
        let before = worker.count_lines("finishing what runs");
        worker.terminate();
        scenario.until("its word", PATIENCE, || worker.count_lines("finishing what runs") > before).await;
        let asked = scenario.log.now();
        worker.terminate();
        assert_eq!(worker.exit_code(PATIENCE).await, Some(0));
        for e in scenario.log.exchanges().iter().filter(|e| e.life == life && e.took_effect()) {
            for entry in e.call.entries.iter().filter(|entry| e.done.contains(&entry.id)) {
                if entry.visibility == Some(0) {
                    waits.push(e.effect_at.unwrap_or(e.at).saturating_sub(asked));
                }
            }
        }
        stuck.end();
        assert_eq!(scenario.depth().await.1, 0, "nothing stays hidden");
        // The next life finds them all, and finishes them.
        worker.started().await;
        scenario.until_empty(PATIENCE).await;
        worker.stop().await;
    }
    scenario.finish().await;
    waits.sort();
    waits
}

/// How long after its arrival a message that was given to a leaving worker is visible again, sorted.
pub async fn visible_from_a_parked_poll(times: usize) -> Vec<Duration> {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_WAIT_TIME", "5s").set("LONGSHORE_STOP_TIMEOUT", "30s");
    let mut waits = Vec::new();
    for n in 0..times {
        worker.started().await;
        let life = worker.proxy.life();
        let parked = || scenario.log.count(|e| e.life == life && e.call.operation == Operation::Receive) >= 1;
        scenario.until("a parked poll", PATIENCE, parked).await;
        let before = worker.count_lines("SIGTERM: ");
        worker.terminate();
        scenario.until("its word", PATIENCE, || worker.count_lines("SIGTERM: ") > before).await;
        scenario.upload(&format!("p{n}.jpg")).await;
        assert_eq!(worker.exit_code(PATIENCE).await, Some(0));
        let exchanges = scenario.log.exchanges();
        let given = exchanges.iter().find(|e| e.life == life && !e.messages.is_empty());
        let given = given.and_then(|e| e.effect_at).expect("the parked poll took it");
        let released = exchanges.iter().find(|e| {
            e.life == life
                && e.took_effect()
                && e.call.entries.iter().any(|entry| entry.visibility == Some(0))
        });
        waits.push(released.and_then(|e| e.effect_at).expect("it was released").saturating_sub(given));
        worker.started().await;
        scenario.until_empty(PATIENCE).await;
        worker.stop().await;
    }
    scenario.finish().await;
    waits.sort();
    waits
}
