//! The ECS side: services, tasks with the reasons that they stopped, container instances.

use super::gather::{self, PATIENCE, Told, Unread, within};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{self, DesiredStatus};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Debug, Serialize)]
pub struct Cluster {
    pub name: String,
    pub services: Told<Vec<Service>>,
    /// Running and pending ones, then those that stopped within the hour that ECS remembers.
    pub tasks: Told<Vec<Task>>,
    pub instances: Told<Vec<Instance>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    pub name: String,
    pub desired: i32,
    pub running: i32,
    pub pending: i32,
    /// Of the newest deployment.
    pub rollout: String,
    /// The newest thing that the scheduler said, and when.
    pub event: Option<(i64, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// The last part of its ARN.
    pub id: String,
    pub status: String,
    /// Seconds since 1970: started, or created if it has not started.
    pub since: Option<i64>,
    pub stopped: Option<i64>,
    /// Why it stopped: ECS's reason, and what a container said.
    pub reason: Option<String>,
    pub address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instance {
    /// As EC2 calls it.
    pub id: String,
    pub kind: Option<String>,
    pub status: String,
    pub agent_connected: bool,
    pub running: i32,
    pub pending: i32,
    /// CPU units and MiB that are free.
    pub free_cpu: Option<i32>,
    pub free_memory: Option<i32>,
}

impl Cluster {
    pub fn is_whole(&self) -> bool {
        self.services.is_known() && self.tasks.is_known() && self.instances.is_known()
    }

    /// Why there is nothing of it, if the endpoint has no ECS.
    pub fn not_there(&self) -> Option<&str> {
        self.services.not_there().or(self.tasks.not_there()).or(self.instances.not_there())
    }

    /// Where running tasks can be asked, if they listen there.
    pub fn addresses(&self, port: Option<u16>) -> BTreeSet<String> {
        let (Some(port), Told::Is(tasks)) = (port, &self.tasks) else { return BTreeSet::new() };
        let running = tasks.iter().filter(|task| task.status == "RUNNING");
        running.filter_map(|task| Some(format!("{}:{port}", task.address.as_deref()?))).collect()
    }
}

/// As many as one call describes.
const TASKS: i32 = 100;
const SERVICES: i32 = 10;

type Ecs = gather::Service<Client>;

pub async fn look(ecs: &Ecs, cluster: &str, service: Option<&str>, filter: Option<&str>) -> Cluster {
    let (services, tasks, instances) = tokio::join!(
        within(PATIENCE, services(ecs, cluster, service)),
        within(PATIENCE, tasks(ecs, cluster, service)),
        within(PATIENCE, instances(ecs, cluster, filter))
    );
    Cluster {
        name: cluster.to_owned(),
        services: services.into(),
        tasks: tasks.into(),
        instances: instances.into(),
    }
}

async fn services(ecs: &Ecs, cluster: &str, service: Option<&str>) -> Result<Vec<Service>, Unread> {
    let names = match service {
        Some(name) => vec![name.to_owned()],
        None => {
            let list = ecs.client.list_services().cluster(cluster).max_results(SERVICES).send().await;
            list.map_err(|e| ecs.unread(&e))?.service_arns.unwrap_or_default()
        }
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let described = ecs.client.describe_services().cluster(cluster).set_services(Some(names)).send().await;
    let described = described.map_err(|e| ecs.unread(&e))?;
    if let Some(failure) = described.failures().first() {
        let what = failure.arn().unwrap_or_default();
        return Err(format!("{what}: {}", failure.reason().unwrap_or("ECS does not say why")).into());
    }
    Ok(described.services().iter().map(read_service).collect())
}

fn read_service(service: &types::Service) -> Service {
    let newest = service.deployments().iter().max_by_key(|d| d.created_at().map(DateTime::secs));
    let event = service.events().first();
    Service {
        name: service.service_name().unwrap_or_default().to_owned(),
        desired: service.desired_count(),
        running: service.running_count(),
        pending: service.pending_count(),
        rollout: newest.and_then(|d| d.rollout_state()).map(|s| s.as_str().to_owned()).unwrap_or_default(),
        event: event.and_then(|e| Some((e.created_at()?.secs(), e.message()?.to_owned()))),
    }
}

async fn tasks(ecs: &Ecs, cluster: &str, service: Option<&str>) -> Result<Vec<Task>, Unread> {
    let mut tasks = Vec::new();
    for status in [DesiredStatus::Running, DesiredStatus::Stopped] {
        let list = ecs.client.list_tasks().cluster(cluster).set_service_name(service.map(str::to_owned));
        let list = list.desired_status(status).max_results(TASKS);
        let mut pages = list.into_paginator().send();
        let mut alike = Vec::new();
        while let Some(page) = pages.next().await {
            let arns = page.map_err(|e| ecs.unread(&e))?.task_arns.unwrap_or_default();
            if arns.is_empty() {
                continue;
            }
            let described = ecs.client.describe_tasks().cluster(cluster).set_tasks(Some(arns)).send().await;
            alike.extend(described.map_err(|e| ecs.unread(&e))?.tasks().iter().map(read_task));
        }
        alike.sort_by_key(|task| std::cmp::Reverse(task.stopped.or(task.since)));
        tasks.extend(alike);
    }
    Ok(tasks)
}

fn read_task(task: &types::Task) -> Task {
    let exits = task.containers().iter().filter_map(|container| {
        let why = match (container.reason(), container.exit_code()) {
            (Some(reason), _) => reason.to_owned(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => return None,
        };
        Some(format!("{}: {why}", container.name().unwrap_or("container")))
    });
    let reasons: Vec<String> = task.stopped_reason().map(str::to_owned).into_iter().chain(exits).collect();
    let address = task.containers().iter().flat_map(|c| c.network_interfaces());
    Task {
        id: last_part(task.task_arn().unwrap_or_default()),
        status: task.last_status().unwrap_or_default().to_owned(),
        since: task.started_at().or(task.created_at()).map(DateTime::secs),
        stopped: task.stopped_at().map(DateTime::secs),
        reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        address: address.filter_map(|i| i.private_ipv4_address()).next().map(str::to_owned),
    }
}

async fn instances(ecs: &Ecs, cluster: &str, filter: Option<&str>) -> Result<Vec<Instance>, Unread> {
    let list = ecs.client.list_container_instances().cluster(cluster).set_filter(filter.map(str::to_owned));
    let mut pages = list.max_results(TASKS).into_paginator().send();
    let mut instances = Vec::new();
    while let Some(page) = pages.next().await {
        let arns = page.map_err(|e| ecs.unread(&e))?.container_instance_arns.unwrap_or_default();
        if arns.is_empty() {
            continue;
        }
        let describe = ecs.client.describe_container_instances().cluster(cluster);
        let described =
            describe.set_container_instances(Some(arns)).send().await.map_err(|e| ecs.unread(&e))?;
        instances.extend(described.container_instances().iter().map(read_instance));
    }
    Ok(instances)
}

fn read_instance(instance: &types::ContainerInstance) -> Instance {
    let kind = instance.attributes().iter().find(|a| a.name() == "ecs.instance-type");
    let free = |name: &str| {
        let resource = instance.remaining_resources().iter().find(|r| r.name() == Some(name))?;
        Some(resource.integer_value())
    };
    let arn = instance.container_instance_arn().unwrap_or_default();
    Instance {
        id: instance.ec2_instance_id().map_or_else(|| last_part(arn), str::to_owned),
        kind: kind.and_then(|a| a.value()).map(str::to_owned),
        status: instance.status().unwrap_or_default().to_owned(),
        agent_connected: instance.agent_connected(),
        running: instance.running_tasks_count(),
        pending: instance.pending_tasks_count(),
        free_cpu: free("CPU"),
        free_memory: free("MEMORY"),
    }
}

/// Of an ARN or a path.
pub fn last_part(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}
