//! The template, resolved for many sets of parameters and asked what no linter knows.
//!
//! `LONGSHORE_TEST_TEMPLATE=file cargo test --test template` asks the same of another file: so the planted
//! mistakes of `cloudformation/mutants` are told from the template.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "scaling/rules.rs"]
#[allow(dead_code)] // the simulator needs more of it
mod rules;
#[path = "template/mod.rs"]
mod template;

use clap::CommandFactory;
use longshore::cli::Cli;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use template::{Stack, checks, list, sets, text, texts, walk, world};

#[test]
fn uploads_reach_the_queue_and_nothing_else_does() {
    checks::all_stacks(checks::input::check);
}

#[test]
fn buckets_and_queues_are_closed_encrypted_and_kept() {
    checks::all_stacks(checks::storage::check);
}

#[test]
fn the_worker_reads_what_it_is_told_and_the_times_fit() {
    checks::all_stacks(checks::worker::check);
}

#[test]
fn tasks_run_as_the_parameters_say() {
    checks::all_stacks(checks::compute::check);
}

#[test]
fn nothing_comes_in_and_what_must_go_out_can() {
    checks::all_stacks(checks::network::check);
}

#[test]
fn the_service_scales_by_backlog_to_zero_and_back() {
    checks::all_stacks(checks::scaling::check);
}

#[test]
fn alarms_reach_somebody_and_the_dashboard_shows_what_is_there() {
    checks::all_stacks(checks::telling::check);
}

#[test]
fn roles_have_exactly_what_is_needed() {
    checks::all_stacks(checks::access::check);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_made() {
    let template = template::template();
    for (place, given, why) in sets::refused() {
        let refused = Stack::resolve(&template, "refused", place, given);
        let line = refused.err().unwrap_or_else(|| panic!("{given:?} is taken"));
        assert!(line.replace("the parameter ", "").contains(why), "{line:?} does not say {why:?}");
    }
}

#[test]
fn it_can_be_deployed_from_a_file() {
    let template = template::template();
    // More has to go through a bucket, which somebody would have to make first. A planted mistake must not be caught
    // for the bytes that it is made of.
    let any_size = std::env::var_os("LONGSHORE_TEST_ANY_SIZE").is_some();
    assert!(any_size || template.bytes <= 51_200, "{} bytes", template.bytes);
    assert!(template.section("Parameters").len() <= 200);
    let kinds: BTreeSet<String> =
        template.section("Resources").values().filter_map(|r| text(&r["Type"]).ok()).collect();
    for kind in &kinds {
        assert!(!kind.starts_with("AWS::Lambda") && !kind.starts_with("Custom::"), "{kind}");
        assert!(kind.starts_with("AWS::") && !kind.starts_with("AWS::CloudFormation::"), "{kind}");
    }
}

#[test]
fn every_parameter_is_told_bounded_grouped_and_used() {
    let template = template::template();
    let interface = &template.json["Metadata"]["AWS::CloudFormation::Interface"];
    let mut grouped: BTreeMap<String, u32> = BTreeMap::new();
    for group in list(&interface["ParameterGroups"]) {
        assert!(group["Label"]["default"].is_string());
        for name in list(&group["Parameters"]) {
            *grouped.entry(text(name).unwrap()).or_default() += 1;
        }
    }
    let source = template::source();
    for (name, parameter) in template.section("Parameters") {
        assert!(parameter["Description"].as_str().is_some_and(|d| d.len() > 10), "{name} is not told");
        let bounds = ["AllowedValues", "AllowedPattern", "MinValue"];
        assert!(bounds.iter().any(|b| !parameter[*b].is_null()), "{name} is not bounded");
        assert_eq!(parameter.get("Default").is_none(), name == "Image", "{name}: a default");
        assert_eq!(grouped.remove(name), Some(1), "{name} is in no group, or in two");
        let used = source.contains(&format!("!Ref {name}")) || source.contains(&format!("${{{name}}}"));
        assert!(used, "{name} is not used");
    }
    assert!(grouped.is_empty(), "groups name {grouped:?}");
    let names: BTreeSet<&String> = template.section("Conditions").keys().collect();
    let mut used = source.clone();
    used.retain(|c| c != '\'');
    for name in names {
        let places = [format!("Condition {name}"), format!("Condition: {name}"), format!("If [{name},")];
        let block = used.lines().any(|l| l.trim() == format!("- {name}"));
        assert!(block || places.iter().any(|p| used.contains(p)), "condition {name} is not used");
    }
}

#[test]
fn a_second_stack_can_stand_beside_it() {
    for stack in template::stacks() {
        for (name, resource) in &stack.resources {
            // An endpoint's service is AWS's own.
            if resource["Type"] == "AWS::EC2::VPCEndpoint" {
                continue;
            }
            let by_hand =
                ["ClusterName", "ServiceName", "RoleName", "LogGroupName", "TopicName", "AlarmName"]
                    .iter()
                    .chain(&[
                        "DashboardName",
                        "Family",
                        "GroupName",
                        "LaunchTemplateName",
                        "AutoScalingGroupName",
                    ])
                    .find(|p| resource["Properties"].get(**p).is_some_and(|v| !is_reference(stack, v)));
            assert!(by_hand.is_none(), "{name}: {by_hand:?} is named by hand");
            walk(resource, name, &mut |path, text| {
                let named = path.ends_with("BucketName") || path.ends_with("QueueName");
                assert!(!named || text.contains(world::GUID), "{path} is {text}");
            });
        }
    }
}

/// A schedule names its group by reference; that is no name given by hand.
fn is_reference(stack: &Stack, value: &Value) -> bool {
    stack.has("ScheduleGroup") && *value == stack.value("ScheduleGroup", "")
}

/// What people are told to run is there to be run.
#[test]
fn only_commands_that_exist_are_named() {
    let source = template::source();
    let told = source.lines().filter(|l| l.contains("Description: "));
    let mut named = 0;
    for line in told {
        for (at, _) in line.match_indices("longshore ") {
            let mut command = Cli::command();
            let words = line[at..].split(' ').skip(1).map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()));
            // As far as there are subcommands: the next word must be one.
            for word in words {
                if command.get_subcommands().next().is_none() {
                    break;
                }
                let next = command.find_subcommand(word).cloned();
                command = next.unwrap_or_else(|| panic!("there is no {word:?}: {line}"));
            }
            named += 1;
        }
    }
    assert!(named > 0, "nobody is told of a command");
}

#[test]
fn outputs_say_how_to_go_on() {
    for stack in template::stacks() {
        let output = |name: &str| text(&stack.outputs[name]).unwrap_or_default();
        assert_eq!(output("InputBucket"), stack.input_bucket());
        assert_eq!(output("OutputBucket"), stack.value("OutputBucket", ""));
        assert_eq!(output("QueueUrl"), stack.value("Queue", ""));
        assert_eq!(output("DeadLetterQueueUrl"), stack.value("DeadLetterQueue", ""));
        assert_eq!(output("StateChangeQueueUrl"), stack.value("StateChangeQueue", ""));
        assert_eq!(output("Cluster"), stack.value("Cluster", ""));
        assert_eq!(output("Service"), stack.value("Service", "Name"));
        let prefix = stack.parameter("InputPrefix");
        let ending = stack.parameter("Suffixes").split(',').next().unwrap();
        let line = format!("aws s3 cp photo{ending} s3://{}/{prefix}photo{ending}", stack.input_bucket());
        assert_eq!(output("TryIt"), line);
        let console = match stack.place.partition {
            "aws-cn" => "console.amazonaws.cn",
            "aws-us-gov" => "console.amazonaws-us-gov.com",
            _ => "console.aws.amazon.com",
        };
        let (region, board) = (stack.place.region, stack.value("Dashboard", ""));
        let url = format!(
            "https://{region}.{console}/cloudwatch/home?region={region}#dashboards/dashboard/{board}"
        );
        assert_eq!(output("DashboardUrl"), url);
    }
}

const README: &str = include_str!("../README.md");

/// An alarm that looks at several metrics is paid for each of them, and target tracking keeps two alarms.
#[test]
fn the_costs_that_people_are_told_count_every_alarm() {
    let stack = template::stack(sets::DEFAULTS);
    let stats = |queries: &Value| list(queries).iter().filter(|q| !q["MetricStat"].is_null()).count();
    let (mut watched, mut to_wake) = (0, 0);
    for (name, alarm) in stack.of_kind("AWS::CloudWatch::Alarm") {
        let metrics = if alarm["Metrics"].is_null() { 1 } else { stats(&alarm["Metrics"]) };
        *if name == "WakeAlarm" { &mut to_wake } else { &mut watched } += metrics;
    }
    let policies = stack.of_kind("AWS::ApplicationAutoScaling::ScalingPolicy");
    let tracked = policies.map(|(_, p)| &p["TargetTrackingScalingPolicyConfiguration"]);
    let tracked: usize = tracked.map(|t| stats(&t["CustomizedMetricSpecification"]["Metrics"])).sum();
    let metrics = watched + to_wake + 2 * tracked;
    let price = format!("${}.{}0", metrics / 10, metrics % 10);
    let row = format!(
        "| CloudWatch alarms: {metrics} metrics at 10 c ({watched} watched, {to_wake} to wake, 2 × {tracked} by \
         target tracking) | {price} | {price} | {price} |"
    );
    assert!(README.contains(&row), "no row {row}");
}

#[test]
fn the_costs_that_people_are_told_add_up() {
    let (_, table) = README.split_once("**What it costs.**").unwrap();
    let rows = table.lines().skip_while(|l| !l.starts_with("| tasks ")).take_while(|l| l.starts_with('|'));
    let rows: Vec<Vec<&str>> =
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let (total, parts) = rows.split_last().unwrap();
    assert!(parts.len() > 5 && total[0] == "**a month**", "{rows:?}");
    // A cell says an amount, or one or more products and what comes of each.
    let amount = |cell: &str| -> i64 {
        let clauses: Vec<&str> = cell.split(", and ").collect();
        let amounts = clauses.into_iter().map(|clause| match clause.split_once(" = ") {
            Some((product, result)) => {
                let found = evaluated(product).unwrap_or_else(|| panic!("{product:?} is no product"));
                assert_eq!((found * 100.0).round() as i64, cents(result), "{product:?} is {found}");
                cents(result)
            }
            None => cents(clause),
        });
        amounts.sum()
    };
    for (column, total) in total.iter().enumerate().skip(1) {
        let sum: i64 = parts.iter().map(|row| amount(row[column])).sum();
        assert_eq!(sum, cents(total.trim_matches('*')), "column {column}");
    }
}

/// `$1.20`, or `$0`.
fn cents(amount: &str) -> i64 {
    let number = amount.strip_prefix('$').unwrap_or_else(|| panic!("{amount:?} is no amount"));
    let (dollars, cents) = number.split_once('.').unwrap_or((number, "00"));
    assert_eq!(cents.len(), 2, "{amount:?}");
    dollars.parse::<i64>().unwrap() * 100 + cents.parse::<i64>().unwrap()
}

/// Numbers with × and ÷ between them; words beside them are units.
fn evaluated(product: &str) -> Option<f64> {
    // What comes before a colon says what it is for.
    let product = product.rsplit(": ").next()?;
    let number = |words: &str| {
        let numbers =
            words.split(' ').filter_map(|w| w.trim_start_matches('$').replace(',', "").parse().ok());
        numbers.collect::<Vec<f64>>().try_into().ok().map(|[n]: [f64; 1]| n)
    };
    let mut factors = product
        .split('×')
        .flat_map(|factor| factor.split('÷').enumerate().map(|(i, words)| (i > 0, words.trim())));
    let first = number(factors.next()?.1)?;
    factors.try_fold(first, |so_far, (divides, words)| {
        let next = number(words)?;
        Some(if divides { so_far / next } else { so_far * next })
    })
}

#[test]
fn people_are_told_how_much_is_checked() {
    let mutants = concat!(env!("CARGO_MANIFEST_DIR"), "/cloudformation/mutants");
    let planted = std::fs::read_dir(mutants).unwrap().count();
    for line in
        [format!("for {} sets of parameters", sets::all().len()), format!("{planted} planted mistakes")]
    {
        assert!(README.contains(&line), "the README does not say {line:?}");
    }
}

/// A customer key serves those whom the queues' and the topic's policies let in, and the account's own roles.
#[test]
fn the_key_policy_that_people_are_told_lets_in_whom_the_stack_needs() {
    let (_, told) = README.split_once("For\n`KmsKeyArn` the key's policy has").unwrap();
    let told = told.split_once("```json").unwrap().1.split_once("```").unwrap().0;
    let statements: Value = serde_json::from_str(told).unwrap();
    let mut let_in = BTreeSet::new();
    for statement in list(&statements) {
        let services = texts(&statement["Principal"]["Service"]);
        if services.is_empty() {
            assert!(statement["Principal"]["AWS"].as_str().unwrap().ends_with(":root"), "{statement}");
            continue;
        }
        assert_eq!(texts(&statement["Action"]), ["kms:GenerateDataKey", "kms:Decrypt"]);
        // As for the topic: with a condition nothing of EventBridge's arrives.
        let account = statement["Condition"]["StringEquals"].get("aws:SourceAccount").is_some();
        assert_eq!(account, !services.contains(&"events.amazonaws.com".to_owned()), "{statement}");
        let_in.extend(services);
    }
    let mut needed = BTreeSet::new();
    for stack in template::stacks().iter().filter(|s| !s.parameter("KmsKeyArn").is_empty()) {
        let with_key = |policy: &Value| {
            let of = texts(&policy["Queues"]).into_iter().chain(texts(&policy["Topics"]));
            let named: Vec<String> = of.collect();
            stack.resources.iter().any(|(name, resource)| {
                resource["Properties"]["KmsMasterKeyId"].is_string() && named.contains(&stack.value(name, ""))
            })
        };
        for kind in ["AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"] {
            for (_, policy) in stack.of_kind(kind).filter(|(_, policy)| with_key(policy)) {
                let statements = list(&policy["PolicyDocument"]["Statement"]).iter();
                needed.extend(statements.flat_map(|s| texts(&s["Principal"]["Service"])));
            }
        }
    }
    assert_eq!(let_in, needed);
}
