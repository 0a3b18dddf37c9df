//! Whether traces are sent. Where to, and which, is said by OpenTelemetry's own variables: what they must not say is a
//! mistake here, as its library would pass over most of it in silence.

use super::values::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traces {
    Off,
    /// To a collector, in OpenTelemetry's protocol.
    Otlp,
}

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

pub fn read(reader: &mut Reader, value: &Option<String>) -> Traces {
    let traces = reader.choice("--traces", value, &[("off", Traces::Off), ("otlp", Traces::Otlp)]);
    if traces == Traces::Otlp {
        reader.mistakes.extend(mistakes(|name| std::env::var(name).ok()));
    }
    traces
}

fn mistakes(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let said = |name: &str| variable(name).filter(|value| !value.is_empty()).map(|v| (name.to_owned(), v));
    // The one for traces goes before the one for all signals.
    let exporter = |what: &str| {
        let traces = said(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"));
        traces.or_else(|| said(&format!("OTEL_EXPORTER_OTLP_{what}")))
    };
    let mut mistakes = Vec::new();
    if let Some((name, url)) = exporter("ENDPOINT")
        && !super::work::is_http_url(&url)
    {
        mistakes.push(format!("{name} is {url:?}: write a collector's URL, like http://localhost:4318"));
    }
    if let Some((name, protocol)) = exporter("PROTOCOL")
        && protocol != "http/protobuf"
    {
        mistakes.push(format!(
            "{name} is {protocol:?}: traces are sent as http/protobuf alone; write that, and the collector's port for \
             it (4318)"
        ));
    }
    if let Some((name, how)) = exporter("COMPRESSION")
        && how != "none"
    {
        mistakes.push(format!("{name} is {how:?}: traces are sent as they are; write none"));
    }
    let sampler = said("OTEL_TRACES_SAMPLER");
    if let Some((name, sampler)) = &sampler
        && !SAMPLERS.contains(&sampler.as_str())
    {
        mistakes.push(format!("{name} is {sampler:?}: write one of {}", SAMPLERS.join(", ")));
    }
    let ratio = said("OTEL_TRACES_SAMPLER_ARG").map(|(_, ratio)| ratio);
    let is_ratio = ratio.as_ref().and_then(|r| r.parse().ok()).is_some_and(|r: f64| (0.0..=1.0).contains(&r));
    if sampler.is_some_and(|(_, sampler)| sampler.ends_with("traceidratio")) && !is_ratio {
        let ratio = ratio.unwrap_or_default();
        mistakes
            .push(format!("OTEL_TRACES_SAMPLER_ARG is {ratio:?}: write a part of all traces, from 0 to 1"));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Vec<String> {
        mistakes(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_opentelemetry_would_pass_over_is_a_mistake() {
        for wrong in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ] {
            let found = with(&[wrong]);
            assert!(found.len() == 1 && found[0].starts_with(wrong.0), "{wrong:?}: {found:?}");
        }
        assert_eq!(with(&[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")]).len(), 1, "no ratio");
        assert_eq!(
            with(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "10")]).len(),
            1
        );
    }

    #[test]
    fn what_it_understands_is_none() {
        let right = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/v1/traces"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ];
        assert_eq!(with(&right), [""; 0]);
    }
}
