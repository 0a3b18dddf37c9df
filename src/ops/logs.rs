//! Log lines on standard error: text for a person at a terminal, JSON for everything else.

use super::traces::{self, Traces};
use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// What a format comes to here.
pub fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    }
}

/// Starts logging for the process, and tracing if there is a collector; a second call changes nothing.
pub fn start(settings: &LogSettings, traces: Option<&Traces>) {
    let filter = EnvFilter::builder().parse(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // The SDK warns of each failed try in its own words; ours say what follows from it.
    // The embedded S3 logs refused requests as errors; the one who asked is told anyway.
    let quiet = ["aws_smithy_runtime=error", "aws_config=error", "aws_sdk_s3=error", "s3s=off"];
    let filter = quiet.iter().fold(filter, |filter, directive| {
        let said = settings.filter.contains(directive.split('=').next().unwrap_or_default());
        match directive.parse() {
            Ok(directive) if !said => filter.add_directive(directive),
            _ => filter,
        }
    });
    // Spans that are for a collector are in no line; without one they are never made.
    let spans = format!("{}=off", traces::TARGET).parse().expect("a target and a level");
    let filter = filter.add_directive(spans);
    let terminal = std::io::stderr().is_terminal();
    let json = is_json(settings.format);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match json {
        true => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        false => lines.with_ansi(terminal).boxed(),
    };
    // Err: logging runs already, as in tests that start two workers.
    let _ = match traces {
        None => registry().with(lines).with(filter).try_init(),
        Some(traces) => registry().with(lines.with_filter(filter)).with(traces.layer()).try_init(),
    };
}
