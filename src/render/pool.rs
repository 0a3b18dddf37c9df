//! The bounded pool that pixels run on, apart from the runtime that talks to the network.

use super::{Rendered, Scratch, Settings, render_with};
use crate::error::{Reason, Rejection};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::oneshot;

/// What comes of a picture.
pub type Answer = Result<Rendered, Rejection>;

struct Order {
    bytes: Vec<u8>,
    settings: Arc<Settings>,
    answer: oneshot::Sender<Answer>,
}

/// As many threads as pictures may be in work at once; each takes one picture at a time.
/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Pool {
    orders: mpsc::Sender<Order>,
}

impl Pool {
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        for n in 0..threads.max(1) {
            let inbox = Arc::clone(&inbox);
            std::thread::Builder::new().name(format!("pixels-{n}")).spawn(move || work(&inbox))?;
        }
        Ok(Self { orders })
    }

    /// Renders on a thread of the pool. An order whose caller is gone is skipped.
    pub async fn render(&self, bytes: Vec<u8>, settings: Arc<Settings>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order { bytes, settings, answer }).expect("the threads live as long as the pool");
        answered.await.expect("a panic is caught, so every order is answered")
    }
}

fn work(inbox: &Mutex<mpsc::Receiver<Order>>) {
    let mut scratch = Scratch::default();
    loop {
        let order = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(order) = order else { return };
        if order.answer.is_closed() {
            continue;
        }
        let answer = render_guarded(&order.bytes, &order.settings, &mut scratch);
        // The caller may have given up meanwhile; then nobody wants the answer.
        let _ = order.answer.send(answer);
    }
}

/// As [`render_with`], but a panic of the engine is a rejection of the picture.
pub fn render_guarded(bytes: &[u8], settings: &Settings, scratch: &mut Scratch) -> Answer {
    let rendered = catch_unwind(AssertUnwindSafe(|| render_with(bytes, settings, scratch)));
    rendered.unwrap_or_else(|panic| {
        // Whatever it was left in the middle of.
        *scratch = Scratch::default();
        let detail = format!("the image engine panicked: {}; please report it", panic_text(&*panic));
        Err(Rejection::new(Reason::EngineFault, detail))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
