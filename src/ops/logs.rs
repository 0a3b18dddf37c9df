//! Log lines on standard error: text for a person at a terminal, JSON for everything else.

use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging for the process; a second call changes nothing.
pub fn start(settings: &LogSettings) {
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
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Err: logging runs already, as in tests that start two workers.
    let _ = match json {
        true => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        false => lines.with_ansi(terminal).try_init(),
    };
}
