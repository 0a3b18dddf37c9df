//! Buckets and queues: closed, encrypted, kept for as long as is said.

use super::want;
use crate::template::{Stack, list, text, texts, world};
use serde_json::{Value, json};

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    let mut buckets = 0;
    for (name, bucket) in stack.of_kind("AWS::S3::Bucket") {
        buckets += 1;
        self::bucket(stack, name, bucket, wrong);
    }
    want(wrong, buckets == 1 + usize::from(stack.parameter("InputBucketName").is_empty()), || {
        format!("{buckets} buckets")
    });
    for (name, queue) in stack.of_kind("AWS::SQS::Queue") {
        let key = stack.parameter("KmsKeyArn");
        let own = queue["SqsManagedSseEnabled"] == true && queue["KmsMasterKeyId"].is_null();
        let customers = queue["KmsMasterKeyId"] == key && queue["SqsManagedSseEnabled"].is_null();
        let right = if key.is_empty() || name == "StateChangeQueue" { own } else { customers };
        want(wrong, right, || format!("{name} is encrypted with {}", queue["KmsMasterKeyId"]));
        let kind = "AWS::SQS::QueuePolicy";
        let url = stack.value(name, "");
        let policy = stack.of_kind(kind).find(|(_, p)| texts(&p["Queues"]).contains(&url));
        let arn = stack.value(name, "Arn");
        want(wrong, policy.is_some_and(|(_, p)| tls_only(p, "sqs:*", &[arn])), || {
            format!("{name} can be used without TLS")
        });
    }
    queues(stack, wrong);
}

fn bucket(stack: &Stack, name: &str, bucket: &Value, wrong: &mut Vec<String>) {
    let resource = &stack.resources[name];
    let kept = stack.parameter("OnDelete");
    // A stack that cannot be made leaves nothing behind; the other policy knows no such word.
    let deleted = if kept == "Retain" { "RetainExceptOnCreate" } else { kept };
    for (policy, wanted) in [("DeletionPolicy", deleted), ("UpdateReplacePolicy", kept)] {
        let said = &resource[policy];
        want(wrong, said == wanted, || format!("{name}: {policy} is {said}"));
    }
    let called = bucket["BucketName"].as_str().unwrap_or_default();
    want(wrong, called.ends_with(world::GUID) && called.len() <= 63, || {
        format!("{name} is called {called:?}: a second stack could not be made")
    });
    for switch in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
        let on = bucket["PublicAccessBlockConfiguration"][switch] == true;
        want(wrong, on, || format!("{name}: {switch} is off"));
    }
    let owner = &bucket["OwnershipControls"]["Rules"][0]["ObjectOwnership"];
    want(wrong, owner == "BucketOwnerEnforced", || format!("{name} belongs to {owner}"));
    let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
    let encryption = &encryption["ServerSideEncryptionByDefault"];
    let wanted = match stack.parameter("KmsKeyArn") {
        "" => json!({"SSEAlgorithm": "AES256"}),
        key => json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}),
    };
    want(wrong, *encryption == wanted, || format!("{name} is encrypted with {encryption}"));
    let arn = stack.value(name, "Arn");
    let (bucket_ref, objects) = (stack.value(name, ""), format!("{arn}/*"));
    let policy = stack.of_kind("AWS::S3::BucketPolicy").find(|(_, p)| p["Bucket"] == bucket_ref);
    want(wrong, policy.is_some_and(|(_, p)| tls_only(p, "s3:*", &[arn, objects])), || {
        format!("{name} can be used without TLS")
    });
    let days = stack.parameter(if name == "InputBucket" { "InputExpiryDays" } else { "OutputExpiryDays" });
    let rules = list(&bucket["LifecycleConfiguration"]["Rules"]);
    let expiry: Vec<String> = rules.iter().filter_map(|r| text(&r["ExpirationInDays"]).ok()).collect();
    let wanted: Vec<&str> = Some(days).filter(|d| *d != "0").into_iter().collect();
    want(wrong, expiry == wanted, || format!("{name} expires after {expiry:?} days, not {wanted:?}"));
    let unfinished = rules.iter().any(|r| r["AbortIncompleteMultipartUpload"].is_object());
    want(wrong, unfinished, || format!("{name} keeps unfinished uploads for ever"));
}

/// A statement denies everything on all of these resources to everybody who comes without TLS.
fn tls_only(policy: &Value, action: &str, resources: &[String]) -> bool {
    list(&policy["PolicyDocument"]["Statement"]).iter().any(|s| {
        s["Effect"] == "Deny"
            && s["Principal"] == "*"
            && texts(&s["Action"]) == [action]
            && resources.iter().all(|r| texts(&s["Resource"]).contains(r))
            && s["Condition"] == json!({"Bool": {"aws:SecureTransport": "false"}})
    })
}

fn queues(stack: &Stack, wrong: &mut Vec<String>) {
    let (queue, letters) = (stack.properties("Queue"), stack.properties("DeadLetterQueue"));
    let redrive = &queue["RedrivePolicy"];
    want(wrong, redrive["deadLetterTargetArn"] == stack.value("DeadLetterQueue", "Arn"), || {
        format!("dead letters go to {}", redrive["deadLetterTargetArn"])
    });
    // A release counts as a receive: fewer would send good pictures away in a rolling restart.
    let receives = text(&redrive["maxReceiveCount"]).unwrap_or_default();
    want(wrong, receives == stack.parameter("MaxReceives"), || format!("given up after {receives} receives"));
    let usual = stack.set != crate::template::sets::DEFAULTS || receives == "5";
    want(wrong, usual, || format!("given up after {receives} receives by default"));
    let allow = &letters["RedriveAllowPolicy"];
    want(wrong, allow["redrivePermission"] == "byQueue", || "any queue's letters are taken".into());
    let sources = texts(&allow["sourceQueueArns"]);
    want(wrong, sources == [stack.value("Queue", "Arn")], || format!("letters are taken of {sources:?}"));
    let seconds = |q: &Value| q["MessageRetentionPeriod"].as_u64().unwrap_or(345_600);
    want(wrong, seconds(letters) == 1_209_600, || format!("letters are kept for {} s", seconds(letters)));
    want(wrong, seconds(letters) > seconds(queue), || "a letter's age counts from its first queue".into());
    let called = queue["QueueName"].as_str().unwrap_or_default();
    want(wrong, called.ends_with(world::GUID) && called.len() <= 80, || {
        format!("the queue is called {called:?}")
    });
    let fifo = stack.of_kind("AWS::SQS::Queue").any(|(_, q)| q["FifoQueue"] == true);
    want(wrong, !fifo, || "S3 sends to standard queues only".into());
}
