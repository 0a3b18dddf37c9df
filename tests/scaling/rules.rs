//! What the template says of scaling, and what AWS makes of it.
//!
//! Modelled, as AWS documents it: metrics come once a minute and are looked at a minute later; target tracking
//! scales out after three minutes above the target and in after fifteen minutes below nine tenths of it, to
//! ⌈tasks × metric ÷ target⌉, with the template's cooldowns; the wake alarm with its periods, step and cooldown.

use crate::template::checks::scaling::breaches;
use crate::template::math::{self, Series};
use crate::template::{Stack, list, text};
use serde_json::Value;
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

    fn of(&self, sample: &Sample) -> Option<f64> {
        let series = |(id, name): &(String, String)| (id.clone(), vec![sample.metric(name)]);
        let metrics: BTreeMap<String, Series> = self.metrics.iter().map(series).collect();
        math::evaluate(&self.expression, &metrics, 60.0).unwrap()[0]
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
    /// Minutes of the last change.
    last_out: Option<usize>,
    last_in: Option<usize>,
    last_wake: Option<usize>,
}

const ABOVE_FOR: usize = 3;
const BELOW_FOR: usize = 15;

impl Rules {
    pub fn read(stack: &Stack) -> Self {
        let whole = |v: &Value| text(v).unwrap().parse::<u64>().unwrap();
        let minutes = |v: &Value| usize::try_from(whole(v).div_ceil(60)).unwrap();
        let bounds = stack.properties("ScalableTarget");
        let tracking = &stack.properties("BacklogPolicy")["TargetTrackingScalingPolicyConfiguration"];
        let alarm = stack.properties("WakeAlarm");
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

    /// How many tasks are wanted after this minute.
    pub fn decide(&mut self, history: &[Sample], desired: u64) -> u64 {
        let now = history.len();
        // The last minute is still on its way to CloudWatch.
        let Some(told) = now.checked_sub(1).map(|n| &history[..n]).filter(|h| !h.is_empty()) else {
            return desired;
        };
        let cooled = |last: Option<usize>, minutes: usize| last.is_none_or(|l| now >= l + minutes);
        let periods = usize::try_from(self.wake_alarm["EvaluationPeriods"].as_u64().unwrap()).unwrap();
        let wakes = told.len() >= periods
            && told[told.len() - periods..]
                .iter()
                .all(|s| self.wake.of(s).is_some_and(|v| breaches(&self.wake_alarm, v)));
        if wakes && cooled(self.last_wake, self.wake_cooldown) {
            self.last_wake = Some(now);
            return (desired + self.wake_step).min(self.max);
        }
        let lately = |minutes: usize| told.len().checked_sub(minutes).map(|from| &told[from..]);
        let all = |minutes: usize, is: &dyn Fn(f64) -> bool| {
            lately(minutes).is_some_and(|l| l.iter().all(|s| self.backlog.of(s).is_some_and(is)))
        };
        let metric = told.last().and_then(|s| self.backlog.of(s)).unwrap_or(0.0);
        let wanted = ((desired as f64 * metric / self.target).ceil() as u64).clamp(self.min, self.max);
        if wanted > desired
            && all(ABOVE_FOR, &|v| v > self.target)
            && cooled(self.last_out, self.out_cooldown)
        {
            self.last_out = Some(now);
            return wanted;
        }
        let quiet = cooled(self.last_in, self.in_cooldown) && cooled(self.last_out, self.in_cooldown);
        if wanted < desired && all(BELOW_FOR, &|v| v < 0.9 * self.target) && quiet {
            self.last_in = Some(now);
            return wanted;
        }
        desired
    }
}
