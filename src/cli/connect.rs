//! Which queue an operator's command is about, and how to reach it: the worker's own settings.

use super::WorkArgs;
use crate::aws::{Clients, Connection};
use crate::config::QueueConfig;
#[cfg(feature = "submit")]
use crate::config::{JobsConfig, Sends};
use clap::Args;
use std::time::Duration;

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// URL of the queue that S3's events arrive in. Required.
    #[arg(long, env = "LONGSHORE_QUEUE_URL", value_name = "URL")]
    pub queue_url: Option<String>,
    /// URL of the dead-letter queue. [default: the one that the queue's redrive policy names]
    #[arg(long, env = "LONGSHORE_DLQ_URL", value_name = "URL")]
    pub dlq_url: Option<String>,
    /// AWS region. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// Endpoint of S3 and SQS, for emulators. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_ENDPOINT_URL", value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Profile of the AWS configuration files. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
}

impl ConnectArgs {
    /// # Errors
    ///
    /// All mistakes, a line each.
    pub fn read(&self) -> Result<QueueConfig, Vec<String>> {
        QueueConfig::read(&WorkArgs {
            queue_url: self.queue_url.clone(),
            dlq_url: self.dlq_url.clone(),
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            profile: self.profile.clone(),
            ..WorkArgs::default()
        })
    }
}

/// Where jobs are kept, and how to reach it.
#[cfg(feature = "submit")]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct JobsArgs {
    /// Bucket that jobs are kept in: script, table, what became of each row, logs. Required.
    #[arg(long, env = "LONGSHORE_WORK_BUCKET", value_name = "BUCKET")]
    pub work_bucket: Option<String>,
    /// AWS region. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// Endpoint of S3 and SQS, for emulators. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_ENDPOINT_URL", value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Profile of the AWS configuration files. [default: as the AWS SDK finds it]
    #[arg(long, env = "LONGSHORE_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
}

#[cfg(feature = "submit")]
impl JobsArgs {
    /// For a command that sends nothing.
    ///
    /// # Errors
    ///
    /// All mistakes, a line each.
    pub fn read(&self) -> Result<JobsConfig, Vec<String>> {
        JobsConfig::read(&self.settings(None), &self.work_bucket, Sends::No)
    }

    /// For a command that sends to a queue.
    ///
    /// # Errors
    ///
    /// All mistakes, a line each.
    pub fn read_with_queue(&self, queue_url: &Option<String>) -> Result<JobsConfig, Vec<String>> {
        JobsConfig::read(&self.settings(queue_url.clone()), &self.work_bucket, Sends::Yes)
    }

    fn settings(&self, queue_url: Option<String>) -> WorkArgs {
        WorkArgs {
            queue_url,
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            profile: self.profile.clone(),
            ..WorkArgs::default()
        }
    }
}

/// As the settings say.
pub fn connection(config: &QueueConfig) -> Connection {
    Connection {
        region: config.region.clone(),
        endpoint_url: config.endpoint_url.clone(),
        profile: config.profile.clone(),
        credentials: None,
    }
}

/// Clients for a command that waits for nothing long.
pub async fn clients(config: &QueueConfig) -> Clients {
    Clients::connect(&connection(config), Duration::from_secs(5), Duration::from_secs(90)).await
}
