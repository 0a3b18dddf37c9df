//! A proxy between one worker and S3 and SQS, which understands what passes and can spoil it.
//!
//! A request that a client gives up on still takes effect, as it would on a real network: the part
//! that talks to the server runs in a task of its own. That is what makes lost replies dangerous.

mod answer;
mod body;
pub mod call;
pub mod rule;
mod socket;

use super::log::Log;
use body::{Pace, Reply, Witness};
use bytes::Bytes;
use call::Call;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rule::{Fault, On, Rule, Rules};
use socket::Socket;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// One proxy a worker, so that faults can be told to one and the log knows who asked.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    inner: Arc<Inner>,
    pub address: SocketAddr,
    accepting: Mutex<JoinHandle<()>>,
}

struct Inner {
    name: String,
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    rules: Rules,
    log: Log,
    life: AtomicU64,
    requests_pass: watch::Sender<bool>,
    replies_pass: watch::Sender<bool>,
    /// Refuse requests whose signature is older or newer than this, as AWS does.
    checks_clock: AtomicBool,
}

/// AWS refuses signatures that are off by more than this.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(15 * 60);

impl Proxy {
    pub async fn start(name: &str, upstream: &str, log: Log) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = format!("http://{address}");
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            upstream: upstream.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            rules: Rules::default(),
            log,
            life: AtomicU64::new(0),
            requests_pass: watch::Sender::new(true),
            replies_pass: watch::Sender::new(true),
            checks_clock: AtomicBool::new(false),
        });
        let accepting = Mutex::new(tokio::spawn(accept(listener, Arc::clone(&inner))));
        Self { endpoint, address, accepting, inner }
    }

    /// Puts a fault in force, behind those that are in force already.
    pub fn fault(&self, on: On, fault: Fault) -> Rule {
        self.inner.log.event(format!("{}: {} from now on", self.inner.name, fault.name()));
        self.inner.rules.add(on, fault)
    }

    /// Lifts every fault.
    pub fn heal(&self) {
        self.inner.log.event(format!("{}: healed", self.inner.name));
        self.inner.rules.end_all();
        self.inner.requests_pass.send_replace(true);
        // A client that left meanwhile is seen to have left before it is answered.
        self.inner.replies_pass.send_replace(true);
    }

    /// The network parts. What is lost on one way still arrives late, when it heals.
    pub fn partition(&self, requests_pass: bool, replies_pass: bool) {
        let name = &self.inner.name;
        self.inner.log.event(format!("{name}: requests pass: {requests_pass}, replies pass: {replies_pass}"));
        self.inner.requests_pass.send_replace(requests_pass);
        self.inner.replies_pass.send_replace(replies_pass);
    }

    /// Nobody listens any more, and open connections end.
    pub fn stop_listening(&self) {
        self.inner.log.event(format!("{}: connections are refused", self.inner.name));
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner).abort();
    }

    /// Listens again, at the same address.
    pub async fn listen_again(&self) {
        self.inner.log.event(format!("{}: listens again", self.inner.name));
        let listener = TcpListener::bind(self.address).await.unwrap();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&self.inner)));
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = accepting;
    }

    /// Refuses requests that are signed too early or too late, as AWS does.
    pub fn check_clock(&self) {
        self.inner.checks_clock.store(true, Ordering::SeqCst);
    }

    /// The worker was started again.
    pub fn next_life(&self) -> u64 {
        self.inner.life.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn life(&self) -> u64 {
        self.inner.life.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner).abort();
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let _ = stream.set_nodelay(true);
                let socket = Socket::new(stream);
                let resets = socket.resets();
                let inner = Arc::clone(&inner);
                // Not that of the moment when a request is read: its sender may have been killed and started again.
                let life = inner.life.load(Ordering::SeqCst);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let (inner, resets) = (Arc::clone(&inner), Arc::clone(&resets));
                        async move { serve(&inner, life, request, &resets).await }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(socket), service);
                    // An abort is an error here, and meant.
                    let _ = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("aborted by the fault proxy")]
pub struct Abort;

async fn serve(
    inner: &Arc<Inner>,
    life: u64,
    request: Request<Incoming>,
    resets: &AtomicBool,
) -> Result<Response<Reply>, Abort> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|_| Abort)?.to_bytes();
    let call = Call::read(&parts, &bytes);
    let number = inner.log.begin(&inner.name, life, call.clone());
    // Notes when the client leaves before it has the whole reply.
    let witness = Witness::new(inner.log.clone(), number);
    let fault = inner.skewed(&call).or_else(|| inner.rules.pick(&call));
    if let Some(fault) = &fault {
        inner.log.change(number, |e| e.fault = Some(fault.name()));
    }
    let reset = || {
        resets.store(true, Ordering::SeqCst);
        Abort
    };

    match &fault {
        Some(Fault::ResetBefore) => return Err(reset()),
        Some(Fault::BlackHole) => {
            std::future::pending::<()>().await;
        }
        Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Fault::Before(callback)) => callback(),
        _ => {}
    }
    let response = match &fault {
        Some(Fault::Refuse(status, code)) => answer::error(&call, *status, code),
        Some(Fault::RefuseSaying(status, code, message)) => {
            answer::error_saying(&call, *status, code, message)
        }
        Some(Fault::Elsewhere(region)) => answer::elsewhere(&call, region),
        Some(Fault::Endless(status)) => answer::head(&call, *status),
        _ => {
            let inner = Arc::clone(inner);
            let fault = fault.clone();
            // Goes on when the client has left.
            let asked = tokio::spawn(async move { inner.ask(number, &call, fault, parts, bytes).await });
            asked.await.map_err(|_| Abort)??
        }
    };
    match &fault {
        Some(Fault::AckLost) => return Err(reset()),
        Some(Fault::After(callback)) => callback(),
        _ => {}
    }
    inner.replies().await;
    inner.log.change(number, |e| {
        e.told = Some(response.status().as_u16());
        e.code = answer::code(&response);
    });
    let pace = fault.as_ref().map_or(Pace::Whole, Pace::of);
    Ok(response.map(|bytes| Reply::new(bytes, pace, witness)))
}

impl Inner {
    /// Waits while replies are lost.
    async fn replies(&self) {
        let mut pass = self.replies_pass.subscribe();
        if *pass.borrow() {
            return;
        }
        let _ = pass.wait_for(|pass| *pass).await;
        // Whoever hung up meanwhile is noticed first.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn ask(
        &self,
        number: usize,
        call: &Call,
        fault: Option<Fault>,
        mut parts: hyper::http::request::Parts,
        mut bytes: Bytes,
    ) -> Result<Response<Bytes>, Abort> {
        let _ = self.requests_pass.subscribe().wait_for(|pass| *pass).await;
        if let Some(Fault::FailEntries(taken, code)) = &fault {
            let Some(kept) = answer::without(&call.json, |n| taken(n)) else {
                let mut none = serde_json::json!({});
                answer::with_failed(&call.json, &mut none, code, |n| taken(n));
                self.log.effect(number, 200, none.to_string().as_bytes());
                return Ok(answer::replaced(answer::empty(), &none));
            };
            bytes = Bytes::from(kept.to_string());
            parts.headers.insert("content-length", bytes.len().into());
        }
        let uri = format!("{}{}", self.upstream, parts.uri);
        parts.uri = uri.parse().map_err(|_| Abort)?;
        // Our own server has said so already.
        parts.headers.remove("expect");
        let answered = self.client.request(Request::from_parts(parts, Full::new(bytes))).await;
        let (head, body) = answered.map_err(|_| Abort)?.into_parts();
        let body = body.collect().await.map_err(|_| Abort)?.to_bytes();
        self.log.effect(number, head.status.as_u16(), &body);
        let mut response = Response::from_parts(head, body);
        if !response.status().is_success() {
            return Ok(response);
        }
        if let Some(Fault::Large(bytes)) = fault {
            response.headers_mut().insert("content-length", bytes.into());
        }
        let json = || serde_json::from_slice(response.body()).unwrap_or_default();
        Ok(match &fault {
            Some(Fault::FailEntries(taken, code)) => {
                let mut edited = json();
                answer::with_failed(&call.json, &mut edited, code, |n| taken(n));
                answer::replaced(response, &edited)
            }
            Some(Fault::FirstTwice) => {
                let mut edited = json();
                answer::with_first_twice(&mut edited);
                answer::replaced(response, &edited)
            }
            _ => response,
        })
    }

    fn skewed(&self, call: &Call) -> Option<Fault> {
        if !self.checks_clock.load(Ordering::SeqCst) {
            return None;
        }
        let signed = call.header("x-amz-date").and_then(seconds_of)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        let code = if call.operation.is_s3() { "RequestTimeTooSkewed" } else { "SignatureDoesNotMatch" };
        (now.abs_diff(signed) > CLOCK_TOLERANCE.as_secs()).then_some(Fault::Refuse(403, code))
    }
}

/// Seconds since 1970 of `20260102T030405Z`.
fn seconds_of(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    // Days from the civil calendar, counted from March so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}
