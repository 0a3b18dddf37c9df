//! One look at everything, all questions at once.

use super::Scope;
use super::changes::{self, Change};
use super::cluster::{self, Cluster};
use super::scaling::{self, Scaling};
use super::workers::{self, Worker};
use crate::aws::{self, Clients};
use crate::cli::connect;
use crate::config::QueueConfig;
use crate::queue::{DeadLetters, Depth, Queue, queue_name};
use aws_config::SdkConfig;
use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What was read, or why it could not be.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Told<T> {
    Is(T),
    CannotRead {
        cannot_read: String,
        /// The endpoint is not AWS's, and has no such service: there is nothing to be read.
        #[serde(skip)]
        not_there: bool,
    },
}

impl<T> Told<T> {
    /// It was read, or there is nothing to read.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Is(_) | Self::CannotRead { not_there: true, .. })
    }

    /// Which service is not there, if it is that.
    pub fn not_there(&self) -> Option<&str> {
        match self {
            Self::CannotRead { cannot_read, not_there: true } => Some(cannot_read),
            _ => None,
        }
    }
}

impl<T> From<Result<T, Unread>> for Told<T> {
    fn from(result: Result<T, Unread>) -> Self {
        match result {
            Ok(value) => Self::Is(value),
            Err(Unread { why, not_there }) => Self::CannotRead { cannot_read: why, not_there },
        }
    }
}

impl<T> From<Result<T, String>> for Told<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_err(Unread::from).into()
    }
}

/// Why something could not be read.
#[derive(Debug, Clone)]
pub struct Unread {
    why: String,
    not_there: bool,
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self { why, not_there: false }
    }
}

/// A service of AWS: how people call it, and whether an endpoint of its own is set for it.
#[derive(Debug, Clone)]
pub struct Service<C> {
    pub client: C,
    name: &'static str,
    elsewhere: bool,
}

impl<C> Service<C> {
    fn new(client: C, sdk: &SdkConfig, id: &str, name: &'static str) -> Self {
        Self { client, name, elsewhere: aws::endpoint(sdk, id).is_some() }
    }

    pub fn unread<E>(&self, error: &SdkError<E, HttpResponse>) -> Unread
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        // Of AWS itself such an answer is a mistake, and of a proxy between.
        match aws::unknown_service(error).filter(|_| self.elsewhere) {
            Some(said) => {
                Unread { why: format!("this endpoint has no {} ({said})", self.name), not_there: true }
            }
            None => aws::explain(error).into(),
        }
    }
}

/// All of it at one moment. Absent parts were not asked for.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Seconds since 1970.
    pub at: u64,
    pub queue_url: String,
    pub queue: Told<Depth>,
    /// Seconds that the oldest message has waited, as CloudWatch last knew; null: it has no figure.
    pub oldest_seconds: Told<Option<f64>>,
    pub dead_letters: Told<Depth>,
    pub workers: BTreeMap<String, Told<Worker>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Told<Vec<Scaling>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Told<Vec<Change>>>,
}

impl Status {
    /// All that was asked for could be read, but for services that the endpoint does not have. A worker that is not there
    /// does not count: with no backlog there is none.
    pub fn is_whole(&self) -> bool {
        self.queue.is_known()
            && self.oldest_seconds.is_known()
            && self.dead_letters.is_known()
            && self.cluster.as_ref().is_none_or(Cluster::is_whole)
            && self.scaling.as_ref().is_none_or(Told::is_known)
            && self.changes.as_ref().is_none_or(Told::is_known)
    }
}

/// Asks, again and again.
pub struct Asker {
    clients: Clients,
    cloudwatch: Service<aws_sdk_cloudwatch::Client>,
    ecs: Service<aws_sdk_ecs::Client>,
    autoscaling: Service<aws_sdk_applicationautoscaling::Client>,
    queue_url: String,
    dead_letters: DeadLetters,
    scope: Scope,
    /// The newest state changes seen so far.
    seen: Vec<Change>,
}

/// CloudWatch's figure for the age is a minute apart, and late.
const AGE_WITHIN: Duration = Duration::from_secs(600);

impl Asker {
    pub async fn new(config: &QueueConfig, scope: &Scope) -> Self {
        let sdk = aws::load(&connect::connection(config)).await;
        let clients = connect::clients(config).await;
        Self {
            clients: clients.clone(),
            cloudwatch: Service::new(aws_sdk_cloudwatch::Client::new(&sdk), &sdk, "CloudWatch", "CloudWatch"),
            ecs: Service::new(aws_sdk_ecs::Client::new(&sdk), &sdk, "ECS", "ECS"),
            autoscaling: Service::new(
                aws_sdk_applicationautoscaling::Client::new(&sdk),
                &sdk,
                "Application Auto Scaling",
                "Application Auto Scaling",
            ),
            queue_url: config.queue_url.clone(),
            dead_letters: DeadLetters::new(clients, config.queue_url.clone(), config.dlq_url.clone()),
            scope: scope.clone(),
            seen: Vec::new(),
        }
    }

    /// All questions at once, and each has its own time: one that is not answered takes nothing from the others.
    pub async fn look(&mut self) -> Status {
        let scope = &self.scope;
        let cluster = async {
            let name = scope.cluster.as_deref()?;
            Some(cluster::look(&self.ecs, name, scope.service.as_deref(), scope.filter.as_deref()).await)
        };
        let scaling = async {
            let cluster = scope.cluster.as_deref()?;
            let scaling = scaling::look(&self.autoscaling, cluster, scope.service.as_deref());
            Some(within(PATIENCE, scaling).await.into())
        };
        let changes = async {
            let url = scope.changes_url.as_deref()?;
            Some(within(PATIENCE_WITH_CHANGES, changes::read(&self.clients.send, url)).await)
        };
        let token = scope.admin_token.as_deref();
        let given = workers::given(&scope.workers, scope.cluster.is_some());
        let workers = workers::look(given.clone(), token);
        let (queue, oldest, dead_letters, cluster, scaling, changes, mut workers) = tokio::join!(
            within(PATIENCE, self.depth(&self.queue_url)),
            within(PATIENCE, self.oldest()),
            within(PATIENCE, self.dead_letters()),
            cluster,
            scaling,
            changes,
            workers
        );
        // Whom else to ask is known only now.
        let more = cluster.as_ref().map(|c| c.addresses(scope.task_port)).unwrap_or_default();
        workers.extend(workers::look(&more - &given, token).await);
        Status {
            at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            queue_url: self.queue_url.clone(),
            queue: queue.into(),
            oldest_seconds: oldest.into(),
            dead_letters: dead_letters.into(),
            workers: workers.into_iter().map(|(address, told)| (address, told.into())).collect(),
            cluster,
            scaling,
            changes: changes.map(|new| new.map(|new| self.remember(new)).into()),
        }
    }

    async fn depth(&self, url: &str) -> Result<Depth, Unread> {
        Queue::new(self.clients.clone(), url.to_owned()).depth().await.map_err(|e| e.to_string().into())
    }

    async fn dead_letters(&self) -> Result<Depth, Unread> {
        let url = self.dead_letters.url().await.map_err(|e| e.to_string())?;
        self.depth(&url).await
    }

    async fn oldest(&self) -> Result<Option<f64>, Unread> {
        let now = SystemTime::now();
        let name = queue_name(&self.queue_url);
        let answer = self
            .cloudwatch
            .client
            .get_metric_statistics()
            .namespace("AWS/SQS")
            .metric_name("ApproximateAgeOfOldestMessage")
            .dimensions(Dimension::builder().name("QueueName").value(name).build())
            .start_time(DateTime::from(now - AGE_WITHIN))
            .end_time(DateTime::from(now))
            .period(60)
            .statistics(Statistic::Maximum)
            .send()
            .await
            .map_err(|e| self.cloudwatch.unread(&e))?;
        let latest = answer.datapoints().iter().max_by_key(|point| point.timestamp().map(DateTime::secs));
        Ok(latest.and_then(|point| point.maximum()))
    }

    /// The queue may show others each time: those of former looks are kept.
    fn remember(&mut self, new: Vec<Change>) -> Vec<Change> {
        self.seen.extend(new);
        changes::newest(&mut self.seen);
        self.seen.clone()
    }
}

/// How long a part of AWS has for its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Reading all of a queue takes longer.
const PATIENCE_WITH_CHANGES: Duration = Duration::from_secs(20);

/// # Errors
///
/// Its own, or that there was no answer in time.
pub async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Unread>>,
) -> Result<T, Unread> {
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs()).into()))
}
