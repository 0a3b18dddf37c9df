//! The notification configuration of a bucket: queues only.

use std::sync::Arc;

use s3s::dto::{
    Event, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, NotificationConfiguration, NotificationConfigurationFilter,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput, QueueConfiguration,
    S3KeyFilter,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::buckets::{change, settings};
use super::folders::unique;
use super::notify::{Target, test_event_body};
use super::store::Store;

/// Events that can be configured. Only those of created objects ever happen here.
const FAMILIES: [&str; 5] = [
    "s3:ObjectCreated:",
    "s3:ObjectRemoved:",
    "s3:ObjectRestore:",
    "s3:ObjectTagging:",
    "s3:LifecycleExpiration:",
];

pub async fn get(
    store: &Arc<Store>,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let targets = settings(store, req.input.bucket).await?.notifications;
    let queues: Vec<QueueConfiguration> = targets.into_iter().map(configuration).collect();
    let queue_configurations = (!queues.is_empty()).then_some(queues);
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
        queue_configurations,
        ..Default::default()
    }))
}

pub async fn put(
    store: &Arc<Store>,
    req: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let input = req.input;
    let targets = targets(input.notification_configuration)?;
    settings(store, input.bucket.clone()).await?;
    if !input.skip_destination_validation.unwrap_or(false) {
        let (bucket, asked) = (input.bucket.clone(), targets.clone());
        store.blocking(move |store| reach(store, &bucket, &asked)).await?;
    }
    change(store, input.bucket, move |settings| settings.notifications = targets).await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}

/// Sends each queue a test event, as S3 does; that shows whether it can be reached.
fn reach(store: &Store, bucket: &str, targets: &[Target]) -> S3Result<()> {
    for target in targets {
        (store.deliver)(&target.queue_arn, test_event_body(bucket)).map_err(|reason| {
            let arn = &target.queue_arn;
            s3_error!(
                InvalidArgument,
                "Unable to validate the following destination configurations: {arn}: {reason}"
            )
        })?;
    }
    Ok(())
}

fn targets(configuration: NotificationConfiguration) -> S3Result<Vec<Target>> {
    let others = configuration.topic_configurations.is_some_and(|topics| !topics.is_empty())
        || configuration.lambda_function_configurations.is_some_and(|functions| !functions.is_empty())
        || configuration.event_bridge_configuration.is_some();
    if others {
        return Err(s3_error!(NotImplemented, "only queues can be notified here"));
    }
    let mut targets: Vec<Target> = Vec::new();
    for queue in configuration.queue_configurations.unwrap_or_default() {
        let target = target(queue)?;
        if targets.iter().any(|other| other.overlaps(&target)) {
            return Err(s3_error!(
                InvalidArgument,
                "Configurations overlap. Configurations on the same bucket cannot share a common event type."
            ));
        }
        targets.push(target);
    }
    Ok(targets)
}

fn target(queue: QueueConfiguration) -> S3Result<Target> {
    let events: Vec<String> = queue.events.into_iter().map(String::from).collect();
    let known = |event: &String| FAMILIES.iter().any(|family| event.starts_with(family));
    if events.is_empty() || !events.iter().all(known) {
        return Err(s3_error!(InvalidArgument, "The event is not supported for notifications: {events:?}"));
    }
    let (mut prefix, mut suffix) = (String::new(), String::new());
    let rules = queue.filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules);
    for rule in rules.unwrap_or_default() {
        let name = rule.name.as_ref().map(|name| name.as_str().to_ascii_lowercase()).unwrap_or_default();
        match name.as_str() {
            FilterRuleName::PREFIX => prefix = rule.value.unwrap_or_default(),
            FilterRuleName::SUFFIX => suffix = rule.value.unwrap_or_default(),
            _ => return Err(s3_error!(InvalidArgument, "filter rule name must be either prefix or suffix")),
        }
    }
    Ok(Target { id: queue.id.unwrap_or_else(unique), queue_arn: queue.queue_arn, events, prefix, suffix })
}

fn configuration(target: Target) -> QueueConfiguration {
    let rule = |name, value: String| {
        let name = Some(FilterRuleName::from_static(name));
        (!value.is_empty()).then_some(FilterRule { name, value: Some(value) })
    };
    let rules = [rule(FilterRuleName::PREFIX, target.prefix), rule(FilterRuleName::SUFFIX, target.suffix)];
    let rules: Vec<FilterRule> = rules.into_iter().flatten().collect();
    let is_limited = !rules.is_empty();
    let key = Some(S3KeyFilter { filter_rules: Some(rules) });
    let filter = is_limited.then_some(NotificationConfigurationFilter { key });
    QueueConfiguration {
        events: target.events.into_iter().map(Event::from).collect(),
        filter,
        id: Some(target.id),
        queue_arn: target.queue_arn,
    }
}
