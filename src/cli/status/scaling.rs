//! What Application Auto Scaling does with the service, and why.

use super::cluster::last_part;
use super::gather::{Service, Unread};
use aws_sdk_applicationautoscaling::Client;
use aws_sdk_applicationautoscaling::types::{ScalableTarget, ScalingActivity, ServiceNamespace};
use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scaling {
    /// `service/CLUSTER/SERVICE`.
    pub target: String,
    pub least: i32,
    pub most: i32,
    /// Scaling that is switched off.
    pub suspended: bool,
    /// The newest first.
    pub activities: Vec<Activity>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Activity {
    /// Seconds since 1970.
    pub at: i64,
    pub what: String,
    pub why: String,
    pub status: String,
}

const ACTIVITIES: i32 = 3;

pub async fn look(
    asked: &Service<Client>,
    cluster: &str,
    service: Option<&str>,
) -> Result<Vec<Scaling>, Unread> {
    let of_cluster = format!("service/{}/", last_part(cluster));
    let mut ask = asked.client.describe_scalable_targets().service_namespace(ServiceNamespace::Ecs);
    if let Some(service) = service {
        ask = ask.resource_ids(format!("{of_cluster}{}", last_part(service)));
    }
    let mut pages = ask.into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        for target in page.map_err(|e| asked.unread(&e))?.scalable_targets() {
            let id = target.resource_id();
            if id.starts_with(&of_cluster) {
                all.push(read(asked, target, id).await?);
            }
        }
    }
    Ok(all)
}

async fn read(asked: &Service<Client>, target: &ScalableTarget, id: &str) -> Result<Scaling, Unread> {
    let ask =
        asked.client.describe_scaling_activities().service_namespace(ServiceNamespace::Ecs).resource_id(id);
    // Also what an alarm asked for and could not have, as at the most tasks that are allowed.
    let ask = ask.include_not_scaled_activities(true).max_results(ACTIVITIES);
    let answer = ask.send().await.map_err(|e| asked.unread(&e))?;
    let activities = answer.scaling_activities().iter().map(|activity| Activity {
        at: activity.start_time().secs(),
        what: activity.description().to_owned(),
        why: why(activity),
        status: activity.status_code().as_str().to_owned(),
    });
    let suspended = target.suspended_state().is_some_and(|state| {
        state.dynamic_scaling_out_suspended() == Some(true)
            || state.dynamic_scaling_in_suspended() == Some(true)
    });
    Ok(Scaling {
        target: id.to_owned(),
        least: target.min_capacity(),
        most: target.max_capacity(),
        suspended,
        activities: activities.collect(),
    })
}

/// The cause; before it, as a long line is cut, why nothing came of it.
fn why(activity: &ScalingActivity) -> String {
    let mut why = String::new();
    for reason in activity.not_scaled_reasons() {
        let limit = match (reason.max_capacity(), reason.min_capacity()) {
            (Some(most), _) => format!(" (at the most, {most} tasks)"),
            (None, Some(least)) => format!(" (at the least, {least} tasks)"),
            (None, None) => String::new(),
        };
        let _ = write!(why, "not scaled: {}{limit}; ", reason.code());
    }
    why + activity.cause()
}
