//! ECS task scale-in protection: while there is work, neither scale-in nor a deployment picks this task.
//!
//! Taken before a receive, renewed while work goes on, and dropped when a receive comes back empty:
//! a task that never stops being protected could never be chosen. It is a courtesy, not a promise: the
//! endpoint may fail in any way, and costs two seconds at most.

use crate::config::TaskProtection;
use crate::error::Printable;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tracing::{debug, info, warn};

pub struct Protection {
    /// None: off, or not offered here.
    endpoint: Option<Uri>,
    minutes: u64,
    protected_until: Option<Instant>,
    /// No answer came to the last request: it may have been granted.
    in_doubt: bool,
    /// After a failure: not asked again before.
    next_try: Instant,
    /// Told once until it works again.
    failing: bool,
}

/// For one request, from connecting to the last byte of the answer. With the gap that is less than two seconds.
const LIMIT: Duration = Duration::from_millis(900);
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);
/// Without protection and without a receive, so that ECS can pick this task.
const GAP: Duration = Duration::from_secs(1);
const MAX_ANSWER: usize = 64 << 10;

impl Protection {
    /// `longest`: how long one job may take.
    pub fn new(setting: TaskProtection, longest: Duration) -> Self {
        let agent = match setting {
            TaskProtection::Off => None,
            TaskProtection::Auto | TaskProtection::Long => {
                std::env::var("ECS_AGENT_URI").ok().filter(|uri| !uri.is_empty())
            }
        };
        Self::at(agent.as_deref(), longest)
    }

    fn at(agent: Option<&str>, longest: Duration) -> Self {
        let endpoint = agent.and_then(|agent| {
            let uri = format!("{}/task-protection/v1/state", agent.trim_end_matches('/')).parse();
            uri.inspect_err(|e| warn!("no task protection: ECS_AGENT_URI is no address: {e}")).ok()
        });
        // Four jobs' time, renewed after one: a job may wait for another. ECS takes 1 to 2,880 minutes.
        let minutes = (4 * longest.as_secs()).div_ceil(60).clamp(2, 2880);
        Self {
            endpoint,
            minutes,
            protected_until: None,
            in_doubt: false,
            next_try: Instant::now(),
            failing: false,
        }
    }

    /// Before a receive, and while work is held: protected from now on, if ECS lets us; renewed when a quarter
    /// of it is over.
    pub async fn take(&mut self) {
        let enough = Duration::from_secs(self.minutes * 45);
        let fresh = self.protected_until.is_some_and(|until| until > Instant::now() + enough);
        if self.endpoint.is_none() || fresh || Instant::now() < self.next_try {
            return;
        }
        let asked = Instant::now();
        if self.ask(true).await {
            self.protected_until = Some(asked + Duration::from_secs(self.minutes * 60));
        }
    }

    /// With nothing in work: may be picked, for a moment without a receive. Does nothing if it is not
    /// protected; if that is in doubt, not at every call.
    pub async fn drop_it(&mut self) {
        let protected = self.protected_until.take().is_some();
        if protected || self.in_doubt && Instant::now() >= self.next_try {
            tokio::join!(self.ask(false), tokio::time::sleep(GAP));
        }
    }

    async fn ask(&mut self, protect: bool) -> bool {
        let Some(endpoint) = &self.endpoint else { return false };
        let answer = tokio::time::timeout(LIMIT, put(endpoint, protect, self.minutes)).await;
        self.in_doubt = answer.is_err();
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} ms", LIMIT.as_millis())));
        match answer {
            Ok(()) => {
                debug!(protect, "task scale-in protection is set");
                if std::mem::take(&mut self.failing) {
                    info!("task scale-in protection works again");
                }
                true
            }
            Err(why) => {
                self.next_try = Instant::now() + AFTER_A_FAILURE;
                if !std::mem::replace(&mut self.failing, true) {
                    warn!("no task scale-in protection: {}; working without", Printable(&why));
                }
                false
            }
        }
    }
}

async fn put(endpoint: &Uri, protect: bool, minutes: u64) -> Result<(), String> {
    let host = endpoint.host().ok_or("ECS_AGENT_URI names no host")?;
    let told = |e: &dyn std::fmt::Display| e.to_string();
    let stream = TcpStream::connect((host, endpoint.port_u16().unwrap_or(80))).await.map_err(|e| told(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| told(&e))?;
    let connection = tokio::spawn(connection);
    let mut body = serde_json::json!({ "ProtectionEnabled": protect });
    if protect {
        body["ExpiresInMinutes"] = minutes.into();
    }
    let request = Request::builder()
        .method(Method::PUT)
        .uri(endpoint.path_and_query().map_or("/", |p| p.as_str()))
        .header("host", endpoint.authority().map_or(host, |a| a.as_str()))
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|e| told(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| told(&e))?;
    let status = answer.status();
    let text = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|e| told(&e))?.to_bytes();
    connection.abort();
    judge(status, &String::from_utf8_lossy(&text))
}

/// The agent answers 200 with `protection`, or with `failure` (DEPLOYMENT_BLOCKED, TASK_NOT_VALID) or
/// `error`, in any status.
fn judge(status: StatusCode, text: &str) -> Result<(), String> {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    for (side, name) in [("failure", "Reason"), ("error", "Code")] {
        if let Some(why) = json[side][name].as_str() {
            let remedy = if why.contains("AccessDenied") {
                " (allow ecs:UpdateTaskProtection to the task's role)"
            } else {
                ""
            };
            return Err(format!("{why}{remedy}"));
        }
    }
    if status.is_success() && json["protection"].is_object() { Ok(()) } else { Err(format!("HTTP {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn what_ecs_answers_is_told_apart() {
        let granted = r#"{"protection":{"ProtectionEnabled":true,"TaskArn":"arn"}}"#;
        assert_eq!(judge(StatusCode::OK, granted), Ok(()));
        let blocked = r#"{"failure":{"Arn":"arn","Reason":"DEPLOYMENT_BLOCKED","Detail":""}}"#;
        assert_eq!(judge(StatusCode::OK, blocked), Err("DEPLOYMENT_BLOCKED".into()));
        let error = r#"{"error":{"Arn":"arn","Code":"ThrottlingException","Message":""}}"#;
        assert_eq!(judge(StatusCode::BAD_REQUEST, error), Err("ThrottlingException".into()));
        assert!(judge(StatusCode::GATEWAY_TIMEOUT, "").unwrap_err().contains("504"));
        assert!(judge(StatusCode::OK, "<html>").is_err());
    }

    #[tokio::test]
    async fn an_endpoint_that_is_not_there_costs_little_and_is_not_asked_at_once_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = format!("http://{}", listener.local_addr().unwrap());
        let mut protection = Protection::at(Some(&agent), Duration::from_secs(60));
        let started = Instant::now();
        protection.take().await;
        assert!(protection.protected_until.is_none() && started.elapsed() < LIMIT + Duration::from_secs(1));
        let (_one, _) = listener.accept().await.unwrap();
        protection.take().await;
        let second = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(second.is_err(), "asked again at once");

        // It may have been granted: given back, but not before the endpoint may be asked again.
        let idle = Instant::now();
        protection.drop_it().await;
        assert!(idle.elapsed() < GAP, "an idle worker stood still for an endpoint that does not answer");
        protection.next_try = Instant::now();
        protection.drop_it().await;
        assert!(listener.accept().await.is_ok(), "what may have been granted was not given back");
    }

    #[tokio::test]
    async fn a_refusal_holds_up_no_idle_worker() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = format!("http://{}", listener.local_addr().unwrap());
        let mut protection = Protection::at(Some(&agent), Duration::from_secs(60));
        let refuse = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let body = r#"{"failure":{"Reason":"DEPLOYMENT_BLOCKED"}}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            stream
        };
        let _ = tokio::join!(protection.take(), refuse);
        assert!(protection.failing && !protection.in_doubt);
        protection.next_try = Instant::now();
        let idle = Instant::now();
        protection.drop_it().await;
        assert!(idle.elapsed() < GAP, "there was nothing to drop");
    }
}
