//! What an ECS agent serves to a task: credentials, and protection from scale-in.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use longshore::local::s3;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Whoever reads so much would read for ever; this machine's memory is not to be the proof.
pub const FOR_EVER: u64 = 256 << 20;
/// What has no end consists of these.
pub const BLANKS: &[u8] = &[b' '; 64 << 10];

/// How the endpoint for task protection behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    Works,
    /// 200 with a failure inside, as while a deployment waits for the task.
    DeploymentBlocked,
    /// The task is not of a service.
    TaskNotValid,
    /// The agent waits for ECS and gives up after 4 s.
    GatewayTimeout,
    Throttled,
    /// The task's role may not.
    Denied,
    /// Takes the request and never answers.
    Hangs,
    /// Answers with what is no JSON.
    Garbage,
    /// Answers with what has no end.
    Endless,
}

/// How the endpoint for credentials behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Credentials that end so much later.
    Lasts(Duration),
    Fails,
    /// The answer has no end.
    Endless,
}

/// One request for protection.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub enabled: bool,
    pub minutes: Option<u64>,
}

pub struct Agent {
    /// `http://127.0.0.1:PORT`, for `ECS_AGENT_URI`; with `/role` for `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub uri: String,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

struct State {
    protection: Protection,
    role: Role,
    asked: Vec<Asked>,
    roles_given: u64,
    /// Bytes of answers without an end, as far as they were taken; one number an answer.
    endless: Vec<Arc<AtomicU64>>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Agent {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let role = Role::Lasts(Duration::from_secs(3600));
        let state = State {
            protection: Protection::Works,
            role,
            asked: Vec::new(),
            roles_given: 0,
            endless: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { uri, state, accepting }
    }

    pub fn protection(&self, behaviour: Protection) {
        self.state().protection = behaviour;
    }

    pub fn role(&self, behaviour: Role) {
        self.state().role = behaviour;
    }

    /// Every request for protection so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// How often credentials were given.
    pub fn roles_given(&self) -> u64 {
        self.state().roles_given
    }

    /// How much of each answer without an end was taken.
    pub fn endless(&self) -> Vec<u64> {
        self.state().endless.iter().map(|sent| sent.load(Ordering::SeqCst)).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    if path == "/role" {
        return credentials(state);
    }
    if path != "/task-protection/v1/state" {
        return reply(404, json!({"message": "no such path"}));
    }
    let wanted: Value = serde_json::from_slice(&body).unwrap_or_default();
    let enabled = wanted["ProtectionEnabled"].as_bool().unwrap_or(false);
    let behaviour = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let minutes = wanted["ExpiresInMinutes"].as_u64();
        state.asked.push(Asked { at: Instant::now(), enabled, minutes });
        state.protection
    };
    const TASK: &str = "arn:aws:ecs:us-east-1:000000000000:task/c/0123456789abcdef";
    let error = |code: &str| json!({"requestID": "r", "error": {"Arn": TASK, "Code": code, "Message": code}});
    match behaviour {
        Protection::Works => {
            let protection = json!({"ProtectionEnabled": enabled, "ExpirationDate": later(Duration::from_secs(7200)), "TaskArn": TASK});
            reply(200, json!({ "requestID": "r", "protection": protection }))
        }
        Protection::DeploymentBlocked => {
            let failure =
                json!({"Arn": TASK, "Detail": "a deployment waits for it", "Reason": "DEPLOYMENT_BLOCKED"});
            reply(200, json!({ "requestID": "r", "failure": failure }))
        }
        Protection::TaskNotValid => reply(400, error("TASK_NOT_VALID")),
        Protection::GatewayTimeout => {
            tokio::time::sleep(Duration::from_secs(4)).await;
            reply(504, error("RequestTimeout"))
        }
        Protection::Throttled => reply(429, error("ThrottlingException")),
        Protection::Denied => reply(400, error("AccessDeniedException")),
        Protection::Hangs => std::future::pending().await,
        Protection::Garbage => {
            Response::new(Full::new(Bytes::from_static(b"<html>not what you think</html>")).boxed())
        }
        Protection::Endless => endless(&mut state.lock().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn endless(state: &mut State) -> Answer {
    let sent = Arc::<AtomicU64>::default();
    state.endless.push(Arc::clone(&sent));
    let blanks = stream::repeat(Bytes::from_static(BLANKS));
    let counted = blanks.inspect(move |chunk| {
        sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
    });
    let most = usize::try_from(FOR_EVER).expect("addresses are wide") / BLANKS.len();
    let body = counted.take(most).chain(stream::pending()).map(|chunk| Ok(Frame::data(chunk)));
    Response::new(BodyExt::boxed(StreamBody::new(body)))
}

fn credentials(state: &Mutex<State>) -> Answer {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let time = match state.role {
        Role::Lasts(time) => time,
        Role::Fails => return reply(500, json!({"message": "no credentials today"})),
        Role::Endless => return endless(&mut state),
    };
    state.roles_given += 1;
    reply(
        200,
        json!({"AccessKeyId": s3::ACCESS_KEY_ID, "SecretAccessKey": s3::SECRET_ACCESS_KEY,
            "Token": format!("token-{}", state.roles_given), "Expiration": later(time), "RoleArn": "arn:aws:iam::000000000000:role/worker"}),
    )
}

fn reply(status: u16, body: Value) -> Answer {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_string())).boxed()).expect("this header is plain ASCII")
}

/// A moment so much later, as ISO 8601.
fn later(time: Duration) -> String {
    let at = SystemTime::now() + time;
    let seconds = at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let moment = aws_sdk_s3::primitives::DateTime::from_secs(i64::try_from(seconds).expect("not that late"));
    moment.fmt(aws_sdk_s3::primitives::DateTimeFormat::DateTime).expect("a date of this century")
}
