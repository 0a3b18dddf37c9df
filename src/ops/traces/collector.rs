//! The way to the collector: the SDK's own HTTP client, so that there is one TLS in the program.

use async_trait::async_trait;
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{info, warn};

/// Clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    /// None: nothing is ever sent.
    way: Option<(Handle, SharedHttpConnector)>,
    /// Told once until it works again.
    failing: Arc<AtomicBool>,
}

/// One request, from connecting to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 64 << 10;

impl Collector {
    /// `runtime`: the requests run on it; the thread that asks for them has none.
    pub fn new(runtime: Handle) -> Result<Self, String> {
        let settings = HttpConnectorSettings::builder().build();
        let connector = default_connector(&settings, None).ok_or("no traces: there is no HTTP client")?;
        Ok(Self { way: Some((runtime, connector)), failing: Arc::default() })
    }

    /// It did the last time, or was not tried yet.
    pub fn works(&self) -> bool {
        !self.failing.load(Ordering::SeqCst)
    }

    /// A collector that is gone for long is told of once.
    fn tell(&self, place: &str, trouble: Option<String>) {
        let before = self.failing.swap(trouble.is_some(), Ordering::SeqCst);
        match trouble {
            Some(why) if !before => {
                warn!("cannot send traces to {place}: {why}; dropping them until it works (work goes on)");
            }
            None if before => info!("traces are sent again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (runtime, connector) = self.way.clone().ok_or("there is no way to a collector")?;
        let uri = request.uri();
        let place = format!("{}{}", uri.authority().map_or("", |a| a.as_str()), uri.path());
        let sending = async move { tokio::time::timeout(LIMIT, send(&connector, request)).await };
        let answer = match runtime.spawn(sending).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("no answer within {} s", LIMIT.as_secs()).into()),
            Err(_) => return Err("the worker leaves".into()),
        };
        let trouble = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("HTTP {}", answer.status())),
            Err(why) => Some(why.to_string()),
        };
        self.tell(&place, trouble);
        answer
    }
}

async fn send(
    connector: &SharedHttpConnector,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let request = HttpRequest::try_from(request.map(Into::into))?;
    let answer = connector.call(request).await?;
    let (parts, body) = answer.try_into_http1x()?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
