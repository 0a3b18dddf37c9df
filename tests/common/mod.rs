//! What the flow tests share: servers, a stage of its own for each test, a worker to start, and
//! waiting for conditions.
//!
//! The embedded servers are used, or, when `LONGSHORE_TEST_ENDPOINT` names one, a server that nobody
//! here wrote (`LONGSHORE_TEST_SERVER` says which).
#![allow(dead_code)] // each test program uses its own part
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

pub mod job;
pub mod pictures;
pub mod process;
pub mod stage;
pub mod terminal;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use longshore::local::{Servers, s3};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An S3 and an SQS to test against; they live as long as any clone.
#[derive(Clone)]
pub struct World {
    pub endpoint: String,
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
    /// A server that nobody here wrote.
    pub external: bool,
    _servers: Option<Arc<(Servers, tempfile::TempDir)>>,
}

pub async fn world() -> World {
    if let Ok(endpoint) = std::env::var("LONGSHORE_TEST_ENDPOINT") {
        return connect(endpoint, None);
    }
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start(folder.path(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    connect(servers.endpoint.clone(), Some((servers, folder)))
}

pub fn connect(endpoint: String, servers: Option<(Servers, tempfile::TempDir)>) -> World {
    let world = connect_as(endpoint, "us-east-1", credentials());
    World { external: servers.is_none(), _servers: servers.map(Arc::new), ..world }
}

/// A server that nobody here wrote, as somebody in particular.
pub fn connect_as(endpoint: String, region: &'static str, credentials: Credentials) -> World {
    let s3 = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .endpoint_url(&endpoint)
        .credentials_provider(credentials.clone())
        .force_path_style(true)
        .build();
    let sqs = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .endpoint_url(&endpoint)
        .credentials_provider(credentials)
        .build();
    World {
        external: true,
        endpoint,
        s3: aws_sdk_s3::Client::from_conf(s3),
        sqs: aws_sdk_sqs::Client::from_conf(sqs),
        _servers: None,
    }
}

pub fn credentials() -> Credentials {
    Credentials::new(s3::ACCESS_KEY_ID, s3::SECRET_ACCESS_KEY, None, None, "tests")
}

/// A name that no other test, run or process uses.
pub fn unique(what: &str) -> String {
    format!("{what}-{}-{:08x}", std::process::id(), fastrand::u32(..))
}

/// Asks again until there is an answer; fails the test if there is none in time.
pub async fn wait_for<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < limit, "no {what} within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Generous, as test machines are shared: a test that works takes a fraction of it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The fields that the README's table gives to an object that a command prints as JSON.
pub fn documented(command: &str, what: &str) -> BTreeSet<String> {
    let row = format!("| `{command}` | {what} |");
    let mut lines = include_str!("../../README.md").lines();
    let line = lines.find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row {row}"));
    // What stands between backticks.
    line[row.len()..].split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
