//! The sets of parameters that the template is resolved for.

use super::world::{BEIJING, IRELAND, NINGXIA, OREGON_GOV, Place};

pub type Set = (&'static str, Place, &'static [(&'static str, &'static str)]);

const IMAGE: (&str, &str) = ("Image", "111122223333.dkr.ecr.eu-west-1.amazonaws.com/longshore:1.0");
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/0b1c2d3e-aaaa-bbbb-cccc-0123456789ab";

/// Only the image is given.
pub const DEFAULTS: &str = "defaults";
/// Buckets, a VPC and a key that exist; the floor moves by schedule; whatever gives tasks rights is on.
pub const EXISTING: &str = "existing";
/// Only the work bucket is given.
pub const COMMANDS: &str = "commands";

pub fn all() -> Vec<Set> {
    vec![
        (DEFAULTS, IRELAND, &[IMAGE]),
        (
            EXISTING,
            IRELAND,
            &[
                IMAGE,
                ("InputBucketName", "photos-of-2017"),
                ("VpcId", "vpc-0a1b2c3d4e5f60718"),
                ("SubnetIds", "subnet-0a1b2c3d4e5f60718,subnet-1a1b2c3d4e5f60718"),
                ("AssignPublicIp", "DISABLED"),
                ("InterfaceEndpoints", "true"),
                ("KmsKeyArn", KEY),
                ("PermissionsBoundaryArn", "arn:aws:iam::111122223333:policy/boundary"),
                ("ScheduledMinTasks", "25"),
                ("MaxTasks", "50"),
                ("ScheduleTimezone", "America/New_York"),
                ("AlarmEmail", "someone@example.com"),
                ("TaskProtection", "auto"),
                ("WorkBucketName", "jobs-of-ours"),
                ("EnableExec", "true"),
            ],
        ),
        (
            "ec2",
            IRELAND,
            &[
                IMAGE,
                ("Compute", "EC2"),
                ("MinTasks", "1"),
                ("TaskSize", "2048/4096"),
                ("AlarmEmail", "a@b.cd"),
            ],
        ),
        (
            "ec2 on arm, one task an instance",
            IRELAND,
            &[
                IMAGE,
                ("Compute", "EC2"),
                ("CpuArchitecture", "ARM64"),
                ("InstanceType", "c7g.large"),
                ("Placement", "distinctInstance"),
                ("PlacementExpression", "attribute:ecs.instance-type =~ c7.*"),
                ("TerminationProtection", "ENABLED"),
                ("OnDelete", "Delete"),
            ],
        ),
        (
            "ec2, filled up",
            IRELAND,
            &[
                IMAGE,
                ("Compute", "EC2"),
                ("Placement", "binpack"),
                ("EnableExec", "true"),
                ("InterfaceEndpoints", "true"),
                ("WorkBucketName", "jobs-of-ours"),
                ("TaskProtection", "off"),
            ],
        ),
        (
            "eventbridge and spot",
            IRELAND,
            &[
                IMAGE,
                ("InputEvents", "EventBridge"),
                ("Suffixes", ".jpg,.heic"),
                ("OnDemandWeight", "1"),
                ("SpotWeight", "3"),
                ("CpuArchitecture", "ARM64"),
                ("StopTimeout", "30"),
                ("VisibilityTimeout", "60"),
                ("InputPrefix", "uploads/"),
                ("EnableExec", "true"),
                ("OutputExpiryDays", "30"),
            ],
        ),
        (COMMANDS, IRELAND, &[IMAGE, ("WorkBucketName", "jobs-of-ours")]),
        (
            "commands alone",
            IRELAND,
            &[
                IMAGE,
                ("WorkBucketName", "jobs-of-ours"),
                ("Jobs", "commands"),
                ("TaskPolicyArn", "arn:aws:iam::111122223333:policy/what-scripts-may"),
                ("TaskProtection", "long"),
                ("MaxReceives", "20"),
            ],
        ),
        (
            "china",
            BEIJING,
            &[
                ("Image", "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/longshore:1.0"),
                ("Compute", "EC2"),
                ("Placement", "spread"),
                ("Suffixes", ".jpg"),
                ("InputExpiryDays", "7"),
                ("ScheduledMinTasks", "2"),
                (
                    "KmsKeyArn",
                    "arn:aws-cn:kms:cn-north-1:111122223333:key/0b1c2d3e-aaaa-bbbb-cccc-0123456789ab",
                ),
            ],
        ),
        (
            "ec2 in a vpc that exists, for the government",
            OREGON_GOV,
            &[
                ("Image", "111122223333.dkr.ecr.us-gov-west-1.amazonaws.com/longshore:1.0"),
                ("Compute", "EC2"),
                ("InstanceType", "m6i.xlarge"),
                ("MaxInstances", "7"),
                ("VpcId", "vpc-0a1b2c3d4e5f60718"),
                ("SubnetIds", "subnet-0a1b2c3d4e5f60718,subnet-1a1b2c3d4e5f60718"),
                ("InterfaceEndpoints", "true"),
                ("Suffixes", ".png,.jpg"),
                ("ScheduledMinTasks", "2"),
                (
                    "KmsKeyArn",
                    "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/0b1c2d3e-aaaa-bbbb-cccc-0123456789ab",
                ),
            ],
        ),
    ]
}

type Refused = (Place, &'static [(&'static str, &'static str)], &'static str);

/// What must be refused before anything is made, and a word of why.
pub fn refused() -> Vec<Refused> {
    vec![
        (IRELAND, &[], "Image is missing"),
        (IRELAND, &[IMAGE, ("VpcId", "vpc-0a1b2c3d4e5f60718")], "VpcId needs SubnetIds"),
        (IRELAND, &[IMAGE, ("SubnetIds", "subnet-0a1b2c3d4e5f60718")], "SubnetIds need VpcId"),
        (IRELAND, &[IMAGE, ("OnDemandWeight", "0")], "cannot both be 0"),
        (IRELAND, &[IMAGE, ("Suffixes", "jpg")], "does not match"),
        (IRELAND, &[IMAGE, ("TaskSize", "256/4096")], "not one of"),
        (IRELAND, &[IMAGE, ("StopTimeout", "121")], "out of bounds"),
        (IRELAND, &[IMAGE, ("VisibilityTimeout", "10")], "out of bounds"),
        (IRELAND, &[IMAGE, ("ScheduleStart", "every morning")], "does not match"),
        (IRELAND, &[IMAGE, ("WorkBucketName", "s3://jobs")], "does not match"),
        (IRELAND, &[IMAGE, ("MaxReceives", "4")], "out of bounds"),
        (IRELAND, &[IMAGE, ("TaskPolicyArn", "what-scripts-may")], "does not match"),
        (BEIJING, &[IMAGE, ("InterfaceEndpoints", "true")], "other names in China"),
        (NINGXIA, &[IMAGE, ("InterfaceEndpoints", "true")], "other names in China"),
    ]
}
