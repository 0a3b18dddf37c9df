//! Nothing comes in; what must go out can.

use super::compute::{on_ec2, subnets};
use super::want;
use crate::template::{Stack, list, text, texts, walk};
use serde_json::{Value, json};

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    let own = stack.parameter("VpcId").is_empty();
    let vpc = if own { stack.value("Vpc", "") } else { stack.parameter("VpcId").to_owned() };
    let worker = stack.properties("WorkerSecurityGroup");
    want(wrong, worker["VpcId"] == vpc, || "the workers' group is in another VPC".into());
    want(wrong, list(&worker["SecurityGroupIngress"]).is_empty(), || "the workers let somebody in".into());
    let https = json!({"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"});
    let out = list(&worker["SecurityGroupEgress"]);
    want(wrong, out == [https], || format!("the workers reach {out:?}"));
    for (name, group) in stack.of_kind("AWS::EC2::SecurityGroup") {
        for rule in list(&group["SecurityGroupIngress"]) {
            let from_workers = rule["SourceSecurityGroupId"] == stack.value("WorkerSecurityGroup", "");
            want(wrong, from_workers && rule["FromPort"] == 443 && rule["ToPort"] == 443, || {
                format!("{name} lets in {rule}")
            });
        }
    }
    want(wrong, stack.has("Vpc") == own, || "a VPC is made exactly when none is given".into());
    if own {
        routes(stack, wrong);
    }
    endpoints(stack, own, &vpc, wrong);
    for (name, resource) in &stack.resources {
        walk(resource, name, &mut |path, text| {
            let nat = text.contains("NatGateway");
            want(wrong, !nat, || format!("{path}: a NAT gateway costs 32 dollars a month"));
        });
    }
}

fn routes(stack: &Stack, wrong: &mut Vec<String>) {
    let route = stack.properties("DefaultRoute");
    let out = route["DestinationCidrBlock"] == "0.0.0.0/0"
        && route["GatewayId"] == stack.value("InternetGateway", "")
        && route["RouteTableId"] == stack.value("RouteTable", "");
    want(wrong, out, || "there is no way out".into());
    let attached = stack.edges["DefaultRoute"].contains("InternetGatewayAttachment");
    want(wrong, attached, || "the route is made before the gateway is attached".into());
    let mut zones = Vec::new();
    for (name, subnet) in stack.of_kind("AWS::EC2::Subnet") {
        let id = stack.value(name, "");
        let routed = stack
            .of_kind("AWS::EC2::SubnetRouteTableAssociation")
            .any(|(_, a)| a["SubnetId"] == id && a["RouteTableId"] == stack.value("RouteTable", ""));
        want(wrong, routed, || format!("{name} has no way out"));
        want(wrong, subnet["MapPublicIpOnLaunch"] == true, || format!("{name} gives no addresses"));
        zones.push((text(&subnet["AvailabilityZone"]), text(&subnet["CidrBlock"])));
    }
    let distinct = zones.len() == 2 && zones[0].0 != zones[1].0 && zones[0].1 != zones[1].1;
    want(wrong, distinct, || format!("subnets in {zones:?}"));
}

fn endpoints(stack: &Stack, own: bool, vpc: &str, wrong: &mut Vec<String>) {
    let all: Vec<(&str, &Value)> = stack.of_kind("AWS::EC2::VPCEndpoint").collect();
    let service = |name: &str| format!("com.amazonaws.{}.{name}", stack.place.region);
    let gateways: Vec<_> = all.iter().filter(|(_, e)| e["VpcEndpointType"] == "Gateway").collect();
    want(wrong, gateways.len() == usize::from(own), || format!("{} gateways", gateways.len()));
    for (_, gateway) in gateways {
        let right = gateway["ServiceName"] == service("s3")
            && texts(&gateway["RouteTableIds"]) == [stack.value("RouteTable", "")];
        want(wrong, right, || "the gateway is not S3's".into());
    }
    let mut named: Vec<String> = Vec::new();
    for (name, endpoint) in all.iter().filter(|(_, e)| e["VpcEndpointType"] == "Interface") {
        named.push(text(&endpoint["ServiceName"]).unwrap_or_default());
        want(wrong, endpoint["VpcId"] == *vpc, || format!("{name} is in another VPC"));
        let within = texts(&endpoint["SubnetIds"]);
        want(wrong, within == subnets(stack), || format!("{name} is in {within:?}"));
        want(wrong, endpoint["PrivateDnsEnabled"] == true, || format!("nobody finds {name}"));
        let groups = texts(&endpoint["SecurityGroupIds"]);
        let right = groups == [stack.value("EndpointSecurityGroup", "")];
        want(wrong, right, || format!("{name} lets in {groups:?}"));
    }
    named.sort();
    let wanted: Vec<String> = match stack.parameter("InterfaceEndpoints") {
        // An instance's agent calls ECS over the VPC; Fargate's does not.
        "true" if on_ec2(stack) => {
            ["ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "sqs"].map(service).into()
        }
        "true" => ["ecr.api", "ecr.dkr", "logs", "sqs"].map(service).into(),
        _ => Vec::new(),
    };
    want(wrong, named == wanted, || format!("endpoints {named:?}"));
}
