//! What the template says of scaling, and what AWS makes of it.
//!
//! Modelled, as AWS documents it: metrics come once a minute, SQS's a minute late and those of Container Insights two,
//! so that the newest minutes are gaps or filled; target tracking scales out after three minutes above the target and
//! in after fifteen minutes below nine tenths of it, to ⌈tasks × metric ÷ target⌉, with the template's cooldowns; the
//! wake alarm with its periods, step and cooldown.

use crate::template::checks::scaling::rings;
use crate::template::math::{self, Series};
use crate::template::{Stack, list, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What CloudWatch is told in a minute.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub visible: u64,
    pub hidden: u64,
    pub running: u64,
    pub desired: u64,
}

impl Sample {
    /// By metric name, with the gaps that CloudWatch has.
    fn metric(&self, name: &str) -> Option<f64> {
        match name {
            "ApproximateNumberOfMessagesVisible" => Some(self.visible as f64),
            // Told only while messages are in flight.
            "ApproximateNumberOfMessagesNotVisible" => (self.hidden > 0).then_some(self.hidden as f64),
            // Container Insights tells of a service only while a task of it runs.
            "RunningTaskCount" => (self.running > 0).then_some(self.running as f64),
            "DesiredTaskCount" => (self.running > 0).then_some(self.desired as f64),
            other => panic!("no metric {other}"),
        }
    }
}

/// An expression with the metrics that it is of.
struct Math {
    expression: String,
    metrics: Vec<(String, String)>,
}

impl Math {
    fn read(queries: &Value) -> Self {
        let mut math = Self { expression: String::new(), metrics: Vec::new() };
        for query in list(queries) {
            match query["Expression"].as_str() {
                Some(expression) => math.expression = expression.to_owned(),
                None => {
                    let name = text(&query["MetricStat"]["Metric"]["MetricName"]).unwrap();
                    math.metrics.push((text(&query["Id"]).unwrap(), name));
                }
            }
        }
        math
    }

    /// What it gives of each minute, by what is told of it now.
    fn of(&self, history: &[Sample]) -> Series {
        let now = history.len();
        let series = |(id, name): &(String, String)| {
            let late = if name.ends_with("TaskCount") { INSIGHTS_LATE } else { SQS_LATE };
            let told = |(minute, sample): (usize, &Sample)| {
                if minute + late < now { sample.metric(name) } else { None }
            };
            (id.clone(), history.iter().enumerate().map(told).collect())
        };
        let metrics: BTreeMap<String, Series> = self.metrics.iter().map(series).collect();
        math::evaluate(&self.expression, &metrics, 60.0).unwrap()
    }
}

pub struct Rules {
    pub min: u64,
    pub max: u64,
    target: f64,
    backlog: Math,
    /// In minutes.
    out_cooldown: usize,
    in_cooldown: usize,
    wake: Math,
    wake_alarm: Value,
    wake_step: u64,
    wake_cooldown: usize,
    start: Math,
    start_alarm: Value,
    /// Minutes of the last change.
    last_out: Option<usize>,
    last_in: Option<usize>,
    last_wake: Option<usize>,
}

const ABOVE_FOR: usize = 3;
const BELOW_FOR: usize = 15;
/// In minutes.
const SQS_LATE: usize = 1;
/// It makes its numbers of log lines.
const INSIGHTS_LATE: usize = 2;

impl Rules {
    pub fn read(stack: &Stack) -> Self {
        let whole = |v: &Value| text(v).unwrap().parse::<u64>().unwrap();
        let minutes = |v: &Value| usize::try_from(whole(v).div_ceil(60)).unwrap();
        let bounds = stack.properties("ScalableTarget");
        let tracking = &stack.properties("BacklogPolicy")["TargetTrackingScalingPolicyConfiguration"];
        let alarm = stack.properties("WakeAlarm");
        let start = stack.properties("StartAlarm");
        let step = &stack.properties("WakePolicy")["StepScalingPolicyConfiguration"];
        Self {
            min: whole(&bounds["MinCapacity"]),
            max: whole(&bounds["MaxCapacity"]),
            target: whole(&tracking["TargetValue"]) as f64,
            backlog: Math::read(&tracking["CustomizedMetricSpecification"]["Metrics"]),
            out_cooldown: minutes(&tracking["ScaleOutCooldown"]),
            in_cooldown: minutes(&tracking["ScaleInCooldown"]),
            wake: Math::read(&alarm["Metrics"]),
            wake_alarm: alarm.clone(),
            wake_step: whole(&step["StepAdjustments"][0]["ScalingAdjustment"]),
            wake_cooldown: minutes(&step["Cooldown"]),
            start: Math::read(&start["Metrics"]),
            start_alarm: start.clone(),
            last_out: None,
            last_in: None,
            last_wake: None,
        }
    }

    /// What a schedule says to the scalable target.
    pub fn register(&mut self, schedule: &Value) {
        let said: Value = serde_json::from_str(schedule["Target"]["Input"].as_str().unwrap()).unwrap();
        self.min = said["MinCapacity"].as_u64().unwrap();
    }

    /// Whether somebody is told that tasks do not start.
    pub fn tells_of_missing_tasks(&self, history: &[Sample]) -> bool {
        rings(&self.start_alarm, &self.start.of(history))
    }

    /// How many tasks are wanted after this minute.
    pub fn decide(&mut self, history: &[Sample], desired: u64) -> u64 {
        let now = history.len();
        let cooled = |last: Option<usize>, minutes: usize| last.is_none_or(|l| now >= l + minutes);
        if rings(&self.wake_alarm, &self.wake.of(history)) && cooled(self.last_wake, self.wake_cooldown) {
            self.last_wake = Some(now);
            return (desired + self.wake_step).min(self.max);
        }
        let backlog = self.backlog.of(history);
        // Without a number target tracking does nothing.
        let Some(metric) = backlog.iter().rev().flatten().next() else { return desired };
        let for_minutes = |minutes: usize, operator: &str, threshold: f64| {
            let alarm = json!({
                "EvaluationPeriods": minutes, "ComparisonOperator": operator, "Threshold": threshold,
            });
            rings(&alarm, &backlog)
        };
        let wanted = ((desired as f64 * metric / self.target).ceil() as u64).clamp(self.min, self.max);
        let above = for_minutes(ABOVE_FOR, "GreaterThanThreshold", self.target);
        if wanted > desired && above && cooled(self.last_out, self.out_cooldown) {
            self.last_out = Some(now);
            return wanted;
        }
        let below = for_minutes(BELOW_FOR, "LessThanThreshold", 0.9 * self.target);
        let quiet = cooled(self.last_in, self.in_cooldown) && cooled(self.last_out, self.in_cooldown);
        if wanted < desired && below && quiet {
            self.last_in = Some(now);
            return wanted;
        }
        desired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::template;
    use crate::template::world::IRELAND;

    /// A fleet by the template's rules alone, with what becomes of it in each minute.
    struct Fleet {
        rules: Rules,
        history: Vec<Sample>,
        desired: u64,
    }

    impl Fleet {
        fn of(desired: u64) -> Self {
            let given = [("Image", "longshore"), ("MaxTasks", "20")];
            let stack = Stack::resolve(&template(), "rules", IRELAND, &given).unwrap();
            Self { rules: Rules::read(&stack), history: Vec::new(), desired }
        }

        /// Tasks that are wanted run, if they can.
        fn minute(&mut self, visible: u64, can_run: bool) {
            let running = if can_run { self.desired } else { 0 };
            self.history.push(Sample {
                visible,
                hidden: running.min(visible),
                running,
                desired: self.desired,
            });
            self.desired = self.rules.decide(&self.history, self.desired);
        }

        fn minutes(&mut self, count: usize, visible: u64, can_run: bool) {
            (0..count).for_each(|_| self.minute(visible, can_run));
        }
    }

    #[test]
    fn the_first_message_wakes_one_task_in_its_third_minute() {
        let mut fleet = Fleet::of(0);
        fleet.minutes(10, 0, true);
        let mut woken = Vec::new();
        for _ in 0..4 {
            fleet.minute(1, true);
            woken.push(fleet.desired);
        }
        assert_eq!(woken, [0, 0, 1, 1]);
    }

    #[test]
    fn metrics_that_are_late_start_no_task_that_is_not_needed() {
        let mut fleet = Fleet::of(1);
        fleet.minutes(60, 100, true);
        assert_eq!(fleet.history.iter().map(|s| s.desired).max(), Some(1), "{:?}", fleet.history);
    }

    #[test]
    fn metrics_that_are_late_keep_no_task_that_is_not_needed() {
        let mut fleet = Fleet::of(4);
        fleet.minutes(30, 1150, true);
        assert_eq!(fleet.desired, 2, "{:?}", fleet.history);
        fleet.minutes(30, 0, true);
        assert_eq!(fleet.desired, 0, "{:?}", fleet.history);
    }

    #[test]
    fn metrics_that_are_late_do_not_hide_a_backlog() {
        let mut fleet = Fleet::of(2);
        fleet.minutes(8, 3000, true);
        assert_eq!(fleet.desired, 6, "{:?}", fleet.history);
    }

    #[test]
    fn an_image_that_never_starts_gets_one_more_task_in_ten_minutes_and_somebody_is_told() {
        let mut fleet = Fleet::of(0);
        fleet.minutes(10, 0, false);
        for minute in 1..=60 {
            fleet.minute(30_000, false);
            let told = fleet.rules.tells_of_missing_tasks(&fleet.history);
            assert!(if minute < 12 { !told } else { told || minute < 20 }, "in minute {minute}: {told}");
        }
        assert_eq!(fleet.desired, 6, "{:?}", fleet.history);
    }
}
