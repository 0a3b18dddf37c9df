//! What a deployed stack would say of itself: the values of `Ref` and `GetAtt`, by kind of resource.

/// Where the template is deployed in this test.
#[derive(Debug, Clone)]
pub struct Place {
    pub partition: &'static str,
    pub region: &'static str,
    pub url_suffix: &'static str,
}

pub const IRELAND: Place = Place { partition: "aws", region: "eu-west-1", url_suffix: "amazonaws.com" };
pub const BEIJING: Place =
    Place { partition: "aws-cn", region: "cn-north-1", url_suffix: "amazonaws.com.cn" };
pub const NINGXIA: Place = Place { region: "cn-northwest-1", ..BEIJING };
pub const OREGON_GOV: Place =
    Place { partition: "aws-us-gov", region: "us-gov-west-1", url_suffix: "amazonaws.com" };

pub const ACCOUNT: &str = "111122223333";
pub const STACK: &str = "pictures";
pub const GUID: &str = "51af3dc0-da77-11e4-872e-1234567db123";

impl Place {
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{ACCOUNT}:{resource}", self.partition, self.region)
    }

    pub fn pseudo(&self, name: &str) -> Option<String> {
        Some(match name {
            "AWS::Partition" => self.partition.into(),
            "AWS::Region" => self.region.into(),
            "AWS::URLSuffix" => self.url_suffix.into(),
            "AWS::AccountId" => ACCOUNT.into(),
            "AWS::StackName" => STACK.into(),
            "AWS::StackId" => self.arn("cloudformation", &format!("stack/{STACK}/{GUID}")),
            _ => return None,
        })
    }

    /// The value of a resource's `Ref` (`attribute` is empty) or `GetAtt`. `name` is what the resource
    /// is called once it is there. None: this kind has no such attribute.
    pub fn attribute(&self, kind: &str, attribute: &str, name: &str) -> Option<String> {
        let queue_url = || format!("https://sqs.{}.{}/{ACCOUNT}/{name}", self.region, self.url_suffix);
        Some(match (kind, attribute) {
            ("AWS::S3::Bucket", "Arn") => format!("arn:{}:s3:::{name}", self.partition),
            ("AWS::SQS::Queue", "") => queue_url(),
            ("AWS::SQS::Queue", "Arn") => self.arn("sqs", name),
            ("AWS::SQS::Queue", "QueueName") => name.into(),
            ("AWS::ECS::Cluster", "Arn") => self.arn("ecs", &format!("cluster/{name}")),
            ("AWS::ECS::Service", "") => self.arn("ecs", &format!("service/{STACK}-Cluster/{name}")),
            ("AWS::ECS::Service", "Name") => name.into(),
            ("AWS::ECS::TaskDefinition", "") => self.arn("ecs", &format!("task-definition/{name}:1")),
            ("AWS::IAM::Role", "Arn") => {
                format!("arn:{}:iam::{ACCOUNT}:role/{name}", self.partition)
            }
            ("AWS::IAM::InstanceProfile", "Arn") => {
                format!("arn:{}:iam::{ACCOUNT}:instance-profile/{name}", self.partition)
            }
            ("AWS::SNS::Topic", "") => self.arn("sns", name),
            ("AWS::Events::Rule", "Arn") => self.arn("events", &format!("rule/{name}")),
            ("AWS::CloudWatch::Alarm", "Arn") => self.arn("cloudwatch", &format!("alarm:{name}")),
            ("AWS::Logs::LogGroup", "Arn") => self.arn("logs", &format!("log-group:{name}:*")),
            ("AWS::Scheduler::ScheduleGroup", "Arn") => {
                self.arn("scheduler", &format!("schedule-group/{name}"))
            }
            ("AWS::ApplicationAutoScaling::ScalableTarget", "") => {
                format!("service/{STACK}-Cluster/{STACK}-Service|ecs:service:DesiredCount|ecs")
            }
            ("AWS::ApplicationAutoScaling::ScalingPolicy", "") => {
                self.arn("autoscaling", &format!("scalingPolicy:0:resource/ecs/x:policyName/{name}"))
            }
            ("AWS::EC2::LaunchTemplate", "LatestVersionNumber") => "1".into(),
            ("AWS::EC2::VPC", "") => "vpc-0123456789abcdef0".into(),
            ("AWS::EC2::Subnet", "") => format!("subnet-{name}"),
            ("AWS::EC2::SecurityGroup", "") => format!("sg-{name}"),
            ("AWS::EC2::SubnetRouteTableAssociation", "") => format!("rtbassoc-{name}"),
            // Of all others the name is all that the template asks for.
            (_, "") => name.into(),
            _ => return None,
        })
    }
}
