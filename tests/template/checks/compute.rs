//! Task definition, service, instances.

use super::want;
use crate::template::{Stack, list, text, texts};
use clap::Parser;
use longshore::cli::{Cli, Command};
use serde_json::{Value, json};

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    task(stack, wrong);
    container(stack, wrong);
    service(stack, wrong);
    placement(stack, wrong);
    if on_ec2(stack) {
        instances(stack, wrong);
    } else {
        let made = stack.has("Instances") || stack.has("LaunchTemplate") || stack.has("InstanceRole");
        want(wrong, !made, || "instances beside Fargate".into());
    }
}

pub fn on_ec2(stack: &Stack) -> bool {
    stack.parameter("Compute") == "EC2"
}

/// CPU units and the least and most MiB that Fargate has for them.
const FARGATE: [(u64, u64, u64); 7] = [
    (256, 512, 2048),
    (512, 1024, 4096),
    (1024, 2048, 8192),
    (2048, 4096, 16384),
    (4096, 8192, 30720),
    (8192, 16384, 61440),
    (16384, 32768, 122_880),
];

fn number(value: &Value) -> u64 {
    text(value).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn task(stack: &Stack, wrong: &mut Vec<String>) {
    let task = stack.properties("TaskDefinition");
    let (cpu, memory) = (number(&task["Cpu"]), number(&task["Memory"]));
    let fits = FARGATE.iter().any(|(c, least, most)| *c == cpu && (*least..=*most).contains(&memory));
    want(wrong, fits, || format!("Fargate has no {cpu} units with {memory} MiB"));
    let compute = stack.parameter("Compute");
    want(wrong, texts(&task["RequiresCompatibilities"]) == [compute], || "it is for other compute".into());
    let mode = if on_ec2(stack) { "bridge" } else { "awsvpc" };
    want(wrong, task["NetworkMode"] == mode, || format!("network mode {}", task["NetworkMode"]));
    let platform = &task["RuntimePlatform"];
    want(wrong, platform["CpuArchitecture"] == stack.parameter("CpuArchitecture"), || "other CPUs".into());
    for (role, name) in [("TaskRoleArn", "TaskRole"), ("ExecutionRoleArn", "ExecutionRole")] {
        want(wrong, task[role] == stack.value(name, "Arn"), || format!("{role} is {}", task[role]));
    }
    let bytes = task.to_string().len();
    want(wrong, bytes <= 32 << 10, || format!("a task definition of {bytes} bytes; 32 KiB are allowed"));
    let containers = list(&task["ContainerDefinitions"]).len();
    want(wrong, containers == 1, || format!("{containers} containers"));
}

fn container(stack: &Stack, wrong: &mut Vec<String>) {
    let container = stack.container();
    let task = stack.properties("TaskDefinition");
    want(wrong, container["Image"] == stack.parameter("Image"), || "another image".into());
    want(wrong, container["Essential"] == true, || "the task outlives the worker".into());
    want(wrong, number(&container["Memory"]) == number(&task["Memory"]), || {
        "it does not see its limit".into()
    });
    let user = container["User"].as_str().unwrap_or_default();
    want(wrong, user.starts_with("10001"), || format!("it runs as {user:?}"));
    want(wrong, container["Privileged"] != true, || "it is privileged".into());
    // A shell for people, or scripts with files of their own.
    let writes = stack.parameter("EnableExec") == "true" || !stack.parameter("WorkBucketName").is_empty();
    want(wrong, container["ReadonlyRootFilesystem"] == json!(!writes), || {
        format!("its root can {}be written", if writes { "not " } else { "" })
    });
    let dropped = &container["LinuxParameters"]["Capabilities"];
    want(wrong, *dropped == json!({"Drop": ["ALL"]}), || format!("capabilities: {dropped}"));
    let options = texts(&container["DockerSecurityOptions"]);
    let wanted: Vec<&str> = if on_ec2(stack) { vec!["no-new-privileges"] } else { Vec::new() };
    want(wrong, options == wanted, || format!("security options {options:?}"));
    let replaced = ["EntryPoint", "Command"].iter().any(|p| !container[*p].is_null());
    want(wrong, !replaced, || "the image's own command is replaced".into());

    let health = &container["HealthCheck"];
    let mut command = texts(&health["Command"]);
    want(wrong, command.first().is_some_and(|c| c == "CMD"), || "the health check wants a shell".into());
    let parsed = Cli::try_parse_from(command.drain(..).skip(1));
    let right = parsed.is_ok_and(|cli| matches!(cli.command, Command::Healthcheck(_)));
    want(wrong, right, || format!("{} is no health check", health["Command"]));
    // It asks for up to 4 s.
    want(wrong, number(&health["Timeout"]) >= 5, || "the health check is cut short".into());

    let log = &container["LogConfiguration"];
    let group = &log["Options"]["awslogs-group"];
    want(wrong, *group == stack.value("LogGroup", ""), || format!("log lines go to {group}"));
    want(wrong, log["Options"]["awslogs-region"] == stack.place.region, || "in another region".into());
    let days = number(&stack.properties("LogGroup")["RetentionInDays"]);
    want(wrong, days.to_string() == stack.parameter("LogRetentionDays"), || "log lines stay for ever".into());
}

fn service(stack: &Stack, wrong: &mut Vec<String>) {
    let service = stack.properties("Service");
    want(wrong, service["DesiredCount"].is_null(), || "every update sets the fleet to DesiredCount".into());
    want(wrong, service["SchedulingStrategy"] != "DAEMON", || "a daemon has no scaling".into());
    want(wrong, service["LaunchType"].is_null(), || "a launch type beside capacity providers".into());
    want(wrong, service["Cluster"] == stack.value("Cluster", ""), || "it is in another cluster".into());
    want(wrong, service["TaskDefinition"] == stack.value("TaskDefinition", ""), || "other tasks".into());
    let deployment = &service["DeploymentConfiguration"];
    let breaker = &deployment["DeploymentCircuitBreaker"];
    want(wrong, *breaker == json!({"Enable": true, "Rollback": true}), || format!("breaker {breaker}"));
    let alarms = &deployment["Alarms"];
    let names = [stack.value("DeadLetterAlarm", "")];
    let on = alarms["Enable"] == true && alarms["Rollback"] == true && texts(&alarms["AlarmNames"]) == names;
    want(wrong, on, || format!("no rollback on dead letters: {alarms}"));
    // As many new tasks beside the old ones, and only then fewer: one task has no half.
    let percents = ["MinimumHealthyPercent", "MaximumPercent"].map(|name| number(&deployment[name]));
    want(wrong, percents == [100, 200], || format!("deployments between {percents:?} percent"));
    let exec = text(&service["EnableExecuteCommand"]).unwrap_or_default();
    want(wrong, exec == stack.parameter("EnableExec"), || format!("ECS Exec is {exec}"));
    // Providers must be the cluster's before the service names them, and its own until it is gone.
    want(wrong, stack.edges["Service"].contains("ClusterCapacity"), || "the service may be too early".into());
    capacity(stack, service, wrong);
    network(stack, service, wrong);
}

fn capacity(stack: &Stack, service: &Value, wrong: &mut Vec<String>) {
    let strategy = list(&service["CapacityProviderStrategy"]);
    let of_cluster = texts(&stack.properties("ClusterCapacity")["CapacityProviders"]);
    let weight = |name: &str| {
        strategy.iter().find(|s| s["CapacityProvider"] == name).map(|s| number(&s["Weight"])).unwrap_or(0)
    };
    if on_ec2(stack) {
        want(wrong, weight(&stack.value("CapacityProvider", "")) > 0, || format!("runs on {strategy:?}"));
    } else {
        for (name, parameter) in [("FARGATE", "OnDemandWeight"), ("FARGATE_SPOT", "SpotWeight")] {
            let wanted: u64 = stack.parameter(parameter).parse().unwrap_or(0);
            want(wrong, weight(name) == wanted, || format!("{name} has weight {}", weight(name)));
        }
    }
    for item in strategy {
        let name = text(&item["CapacityProvider"]).unwrap_or_default();
        want(wrong, of_cluster.contains(&name), || format!("the cluster has no {name}"));
    }
}

fn network(stack: &Stack, service: &Value, wrong: &mut Vec<String>) {
    let network = &service["NetworkConfiguration"]["AwsvpcConfiguration"];
    if on_ec2(stack) {
        return want(wrong, network.is_null(), || "bridge tasks have no interface of their own".into());
    }
    let own = stack.parameter("VpcId").is_empty();
    want(wrong, texts(&network["Subnets"]) == subnets(stack), || {
        format!("it runs in {}", network["Subnets"])
    });
    let groups = texts(&network["SecurityGroups"]);
    want(wrong, groups == [stack.value("WorkerSecurityGroup", "")], || format!("groups {groups:?}"));
    let public = if own { "ENABLED" } else { stack.parameter("AssignPublicIp") };
    // A public subnet without NAT: no address, no image.
    want(wrong, network["AssignPublicIp"] == public, || "no way to the registry".into());
    want(wrong, waits_for_way_out(stack, "Service"), || "tasks may start before there is a way out".into());
}

/// The subnets that everything is in: the template's own, or those that are given.
pub fn subnets(stack: &Stack) -> Vec<String> {
    match stack.parameter("SubnetIds") {
        "" => vec![stack.value("PublicSubnet0", ""), stack.value("PublicSubnet1", "")],
        given => given.split(',').map(str::to_owned).collect(),
    }
}

fn waits_for_way_out(stack: &Stack, name: &str) -> bool {
    let given = !stack.parameter("VpcId").is_empty();
    given || ["WayOut0", "WayOut1"].iter().all(|w| stack.edges[name].contains(*w))
}

fn placement(stack: &Stack, wrong: &mut Vec<String>) {
    let service = stack.properties("Service");
    let zone = json!({"Type": "spread", "Field": "attribute:ecs.availability-zone"});
    let memory = json!({"Type": "binpack", "Field": "MEMORY"});
    let wanted = match (on_ec2(stack), stack.parameter("Placement")) {
        (false, _) => Vec::new(),
        (true, "spread-binpack") => vec![zone, memory],
        (true, "binpack") => vec![memory],
        (true, _) => vec![zone],
    };
    let found = list(&service["PlacementStrategies"]);
    want(wrong, found == wanted, || format!("placed by {found:?}"));
    let mut wanted = Vec::new();
    if on_ec2(stack) && stack.parameter("Placement") == "distinctInstance" {
        wanted.push(json!({"Type": "distinctInstance"}));
    }
    let expression = stack.parameter("PlacementExpression");
    if on_ec2(stack) && !expression.is_empty() {
        wanted.push(json!({"Type": "memberOf", "Expression": expression}));
    }
    let found = list(&service["PlacementConstraints"]);
    want(wrong, found == wanted, || format!("constrained by {found:?}"));
}

fn instances(stack: &Stack, wrong: &mut Vec<String>) {
    let data = &stack.properties("LaunchTemplate")["LaunchTemplateData"];
    let image = data["ImageId"].as_str().unwrap_or_default();
    let arm = stack.parameter("CpuArchitecture") == "ARM64";
    let from_ssm = image.starts_with("{{resolve:ssm:/aws/service/ecs/optimized-ami/");
    want(wrong, from_ssm && image.contains("/arm64/") == arm, || format!("instances of {image}"));
    want(wrong, data["MetadataOptions"]["HttpTokens"] == "required", || "IMDSv1 answers".into());
    let hops = number(&data["MetadataOptions"]["HttpPutResponseHopLimit"]);
    want(wrong, hops == 1, || format!("containers reach the instance's credentials over {hops} hops"));
    want(wrong, data["KeyName"].is_null(), || "SSH has a key".into());
    let kind = stack.parameter("InstanceType");
    want(wrong, data["InstanceType"] == kind, || format!("instances are {}", data["InstanceType"]));
    let profile = &data["IamInstanceProfile"]["Arn"];
    want(wrong, *profile == stack.value("InstanceProfile", "Arn"), || format!("instances take {profile}"));
    let roles = texts(&stack.properties("InstanceProfile")["Roles"]);
    want(wrong, roles == [stack.value("InstanceRole", "")], || format!("instances take {roles:?}"));
    let groups = texts(&data["SecurityGroupIds"]);
    want(wrong, groups == [stack.value("WorkerSecurityGroup", "")], || format!("instances in {groups:?}"));
    let encrypted = list(&data["BlockDeviceMappings"]).iter().all(|d| d["Ebs"]["Encrypted"] == true);
    want(wrong, encrypted, || "disks are not encrypted".into());
    let script = data["UserData"].as_str().unwrap_or_default();
    let joins = format!("ECS_CLUSTER={}\n", stack.value("Cluster", ""));
    want(wrong, script.contains(&joins), || "instances join another cluster".into());
    let stop = format!("ECS_CONTAINER_STOP_TIMEOUT={}s\n", stack.parameter("StopTimeout"));
    want(wrong, script.contains(&stop), || "the agent's stop timeout is another".into());

    let group = stack.properties("Instances");
    let template = &group["LaunchTemplate"]["LaunchTemplateId"];
    want(wrong, *template == stack.value("LaunchTemplate", ""), || format!("instances of {template}"));
    want(wrong, number(&group["MinSize"]) == 0, || "instances stay without tasks".into());
    let most = text(&group["MaxSize"]).unwrap_or_default();
    want(wrong, most == stack.parameter("MaxInstances"), || format!("{most} instances at most"));
    let zones = texts(&group["VPCZoneIdentifier"]);
    want(wrong, zones == subnets(stack), || format!("instances in {zones:?}"));
    want(wrong, waits_for_way_out(stack, "Instances"), || "instances may start without a way out".into());
    want(wrong, group["DesiredCapacity"].is_null(), || "every update sets the group's size".into());
    let provider = &stack.properties("CapacityProvider")["AutoScalingGroupProvider"];
    want(wrong, provider["AutoScalingGroupArn"] == stack.value("Instances", ""), || "another group".into());
    want(wrong, provider["ManagedScaling"]["Status"] == "ENABLED", || "nobody starts instances".into());
    want(wrong, provider["ManagedDraining"] == "ENABLED", || "instances are not drained".into());
    let protection = stack.parameter("TerminationProtection");
    want(wrong, provider["ManagedTerminationProtection"] == protection, || "termination protection".into());
    // ECS refuses the one without the other.
    let protected = group["NewInstancesProtectedFromScaleIn"] == (protection == "ENABLED");
    want(wrong, protected, || "the group and the provider disagree about protection".into());
}
