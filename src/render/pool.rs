//! The bounded pool that pixels run on, apart from the runtime that talks to the network.

use super::{Rendered, Scratch, Settings, memory_bound, render_with};
use crate::error::{Reason, Rejection};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Scratch memory of a picture that takes more than this is given back: a thread must not sit on what
/// another one needs. Nearly all photographs take less.
const KEPT: u64 = 32 << 20;

/// A thread that has had no picture for so long gives all of it back: most queues are empty most of the time.
const IDLE: Duration = Duration::from_secs(5);

/// What comes of a picture.
pub type Answer = Result<Rendered, Rejection>;

struct Order {
    bytes: Vec<u8>,
    settings: Arc<Settings>,
    /// Let go of when the picture is done with, even if nobody waits for the answer any more.
    held: Box<dyn Send>,
    answer: oneshot::Sender<Answer>,
    /// Dropped last.
    _counted: Counted,
}

/// Counts an order, until dropped.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|n| *n += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

/// As many threads as pictures may be in work at once; each takes one picture at a time.
/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Pool {
    orders: Sender<Order>,
    kept: u64,
    /// Orders that are not done with, wanted or not.
    open: watch::Sender<usize>,
}

impl Pool {
    /// `budget`: bytes of memory for all pictures together; a quarter of it, at most, stays with the
    /// threads between pictures.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn new(threads: usize, budget: u64) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let kept = KEPT.min(budget / 4 / threads as u64);
        let (orders, inbox) = unbounded();
        for n in 0..threads {
            let inbox = inbox.clone();
            std::thread::Builder::new().name(format!("pixels-{n}")).spawn(move || work(&inbox, kept))?;
        }
        Ok(Self { orders, kept: kept * threads as u64, open: watch::Sender::new(0) })
    }

    /// Bytes that may stay with the threads between pictures.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Ends when no picture is in work, nor one that nobody waits for any more.
    pub async fn idle(&self) {
        self.open.subscribe().wait_for(|n| *n == 0).await.expect("self holds the sender");
    }

    /// Renders on a thread of the pool. An order whose caller is gone is skipped. `held` is dropped when
    /// the picture's memory is free again.
    pub async fn render(&self, bytes: Vec<u8>, settings: Arc<Settings>, held: impl Send + 'static) -> Answer {
        let (answer, answered) = oneshot::channel();
        let held = Box::new(held);
        self.orders
            .send(Order { bytes, settings, held, answer, _counted: Counted::new(&self.open) })
            .expect("the threads live as long as the pool");
        answered.await.expect("a panic is caught, so every order is answered")
    }
}

fn work(inbox: &Receiver<Order>, kept: u64) {
    let mut scratch = Scratch::default();
    while let Some(order) = next(inbox, &mut scratch) {
        if order.answer.is_closed() {
            continue;
        }
        let needed = memory_bound_guarded(&order.bytes, &order.settings).unwrap_or(0);
        let answer = render_guarded(&order.bytes, &order.settings, &mut scratch);
        drop(order.bytes);
        if needed > kept {
            scratch = Scratch::default();
        }
        drop(order.held);
        // The caller may have given up meanwhile; then nobody wants the answer.
        let _ = order.answer.send(answer);
    }
}

/// None: nobody is left who could send one.
fn next(inbox: &Receiver<Order>, scratch: &mut Scratch) -> Option<Order> {
    inbox
        .recv_timeout(IDLE)
        .or_else(|why| match why {
            RecvTimeoutError::Disconnected => Err(why),
            RecvTimeoutError::Timeout => {
                *scratch = Scratch::default();
                Ok(inbox.recv()?)
            }
        })
        .ok()
}

/// As [`render_with`], but a panic of the engine is a rejection of the picture.
pub fn render_guarded(bytes: &[u8], settings: &Settings, scratch: &mut Scratch) -> Answer {
    let answer = guarded(|| render_with(bytes, settings, scratch));
    if answer.as_ref().is_err_and(|rejection| rejection.reason == Reason::EngineFault) {
        // Whatever it was left in the middle of.
        *scratch = Scratch::default();
    }
    answer
}

/// As [`memory_bound`], but a panic of the engine is a rejection of the picture.
pub fn memory_bound_guarded(bytes: &[u8], settings: &Settings) -> Result<u64, Rejection> {
    guarded(|| memory_bound(bytes, settings))
}

fn guarded<T>(run: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let detail = format!("the image engine panicked: {}; please report it", panic_text(&*panic));
        Err(Rejection::new(Reason::EngineFault, detail))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::super::{IccMode, Limits, spec};
    use super::*;
    use std::collections::HashSet;
    use std::sync::{Mutex, mpsc};
    use std::thread::ThreadId;

    /// Takes until it is told.
    struct Slow(mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    /// What is in work, seen from what the orders hold.
    #[derive(Default)]
    struct Seen {
        now: usize,
        most: usize,
        threads: HashSet<ThreadId>,
    }

    /// Keeps its thread until it is told.
    struct Watched {
        seen: watch::Sender<Seen>,
        told: Arc<Mutex<mpsc::Receiver<()>>>,
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.seen.send_modify(|seen| {
                seen.now += 1;
                seen.most = seen.most.max(seen.now);
                seen.threads.insert(std::thread::current().id());
            });
            let _ = self.told.lock().unwrap().recv();
            self.seen.send_modify(|seen| seen.now -= 1);
        }
    }

    #[tokio::test]
    async fn as_many_pictures_as_threads_are_in_work_at_once_and_no_more() {
        let mut picture = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut picture, 80);
        encoder.encode(&[7; 40 * 30], 40, 30, jpeg_encoder::ColorType::Luma).unwrap();
        let specs = spec::parse("a=16x16").unwrap();
        let settings = Arc::new(Settings { specs, icc: IccMode::Srgb, limits: Limits::default() });
        for threads in [1, 3] {
            let pool = Pool::new(threads, 64 << 20).unwrap();
            let (go_on, told) = mpsc::channel();
            let (seen, told) = (watch::Sender::new(Seen::default()), Arc::new(Mutex::new(told)));
            let mut orders = tokio::task::JoinSet::new();
            for _ in 0..4 * threads {
                let (pool, bytes, settings) = (pool.clone(), picture.clone(), Arc::clone(&settings));
                let held = Watched { seen: seen.clone(), told: Arc::clone(&told) };
                orders.spawn(async move { pool.render(bytes, settings, held).await });
            }
            let mut look = seen.subscribe();
            let all = look.wait_for(|seen| seen.now >= threads);
            drop(
                tokio::time::timeout(Duration::from_secs(60), all)
                    .await
                    .expect("one for each thread")
                    .unwrap(),
            );
            // Time for one more than there may be.
            tokio::time::sleep(Duration::from_millis(50)).await;
            (0..4 * threads).for_each(|_| go_on.send(()).unwrap());
            for answer in orders.join_all().await {
                assert_eq!(answer.unwrap().renditions.len(), 1);
            }
            let seen = seen.borrow();
            assert_eq!((seen.most, seen.threads.len()), (threads, threads), "one picture, one thread");
            assert!(!seen.threads.contains(&std::thread::current().id()));
        }
    }

    #[tokio::test]
    async fn a_picture_that_nobody_waits_for_any_more_is_still_in_work() {
        let pool = Pool::new(1, 64 << 20).unwrap();
        pool.idle().await;
        let settings = Settings { specs: Vec::new(), icc: IccMode::Srgb, limits: Limits::default() };
        let (go_on, told) = mpsc::channel();
        let mut render = Box::pin(pool.render(Vec::new(), Arc::new(settings), Slow(told)));
        assert!(futures_util::poll!(&mut render).is_pending());
        drop(render);
        let waits = tokio::time::timeout(Duration::from_millis(50), pool.idle()).await;
        assert!(waits.is_err(), "it is not done with");
        go_on.send(()).unwrap();
        pool.idle().await;
    }
}
