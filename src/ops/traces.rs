//! Traces: a span for each message, record and step, sent to a collector as OpenTelemetry's protocol over HTTP.
//!
//! ```text
//! message (in the trace of its AWSTraceHeader) ─▶ record ─▶ download, render, an upload for each rendition
//!                                              ─▶ row ─▶ fetch, run, upload
//! ```
//!
//! Spans are made with `tracing`, under a target of their own that no log line shows: without a collector they
//! are never made. Nothing waits for a collector: what its queue does not hold is dropped.

mod collector;

use crate::command::wire::Ticket;
use crate::error::{Failure, Printable};
use crate::event::Created;
use crate::job::Outcome;
use crate::queue::{Message, TraceHeader, queue_name};
use crate::store::Location;
use collector::Collector;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider};
use std::cell::Cell;
use std::fmt;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::field::Empty;
use tracing::{Instrument, Span, Subscriber, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

/// The target of the spans here, and of nothing else.
pub const TARGET: &str = "longshore::span";

/// The way to the collector.
pub struct Traces {
    provider: SdkTracerProvider,
    collector: Collector,
}

/// For the last spans, when all work is done. Handing messages back takes at most 3 of the 5 s that are left by then.
const FLUSH: Duration = Duration::from_secs(1);

impl Traces {
    /// As OpenTelemetry's variables say. In the runtime that is to send.
    ///
    /// # Errors
    ///
    /// They say something that cannot be done.
    pub fn start() -> Result<Self, String> {
        let collector = Collector::new(Handle::current())?;
        let exporter = SpanExporter::builder().with_http().with_http_client(collector.clone());
        let exporter = exporter.build().map_err(|e| format!("no traces: {e}"))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_id_generator(Followed(RandomIdGenerator::default()))
            .with_batch_exporter(exporter)
            .build();
        Ok(Self { provider, collector })
    }

    /// What turns spans into those of OpenTelemetry.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("longshore"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(|about| about.is_span() && about.target() == TARGET))
    }

    /// Sends what is left, in a second at most; blocks. Not at all if the collector did not answer the last time.
    pub fn finish(&self) {
        if self.collector.works() {
            let _ = self.provider.shutdown_with_timeout(FLUSH);
        }
    }
}

/// Who speaks: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` know better than we do.
fn resource() -> Resource {
    let ours = [("service.name", "longshore"), ("service.version", env!("CARGO_PKG_VERSION"))];
    let builder = Resource::builder_empty()
        .with_attributes(ours.map(|(name, value)| KeyValue::new(name, value)))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.with_service_name(name).build(),
        _ => builder.build(),
    }
}

thread_local! {
    /// The trace that the next span without a parent belongs to.
    static NEXT: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Random identities, unless the next trace has one already.
#[derive(Debug)]
struct Followed(RandomIdGenerator);

impl IdGenerator for Followed {
    fn new_trace_id(&self) -> TraceId {
        NEXT.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// A span of what is done for a message, in the trace that its header names. A message without one gets a header of
/// ours, so that its copy in the dead-letter queue leads back to this trace.
pub fn message(message: &mut Message, queue_url: &str) -> Span {
    let queue = queue_name(queue_url);
    let span = info_span!(
        target: TARGET,
        "message",
        otel.name = format!("process {queue}"),
        otel.kind = "consumer",
        messaging.system = "aws_sqs",
        messaging.operation.name = "process",
        "messaging.operation.type" = "process",
        messaging.destination.name = queue,
        messaging.message.id = message.id,
        messaging.message.body.size = message.body.len() as i64,
        aws.sqs.queue.url = queue_url,
        longshore.receive_count = i64::from(message.receive_count),
        "error.type" = Empty,
        otel.status_description = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let header = message.trace_header.as_deref().and_then(TraceHeader::parse);
    if let Some(header) = header {
        follow(&span, header);
    }
    // From here on the span has its identity.
    let ours = span.context().span().span_context().clone();
    NEXT.take();
    if header.is_none() {
        let header = TraceHeader {
            trace: u128::from_be_bytes(ours.trace_id().to_bytes()),
            parent: Some(u64::from_be_bytes(ours.span_id().to_bytes())),
            sampled: Some(ours.is_sampled()),
        };
        message.trace_header = Some(header.to_string());
    }
    span
}

/// Puts a span that is not begun into the trace of a header.
fn follow(span: &Span, header: TraceHeader) {
    let remote = |parent: u64, sampled| {
        let flags = TraceFlags::default().with_sampled(sampled);
        SpanContext::new(header.trace.into(), parent.into(), flags, true, TraceState::NONE)
    };
    if let Some(parent) = header.parent {
        // The convention for consumers: linked to where the message was made, whosever child it is.
        span.add_link(remote(parent, header.sampled == Some(true)));
    }
    match (header.parent, header.sampled) {
        (Some(parent), Some(sampled)) => set_parent(span, remote(parent, sampled)),
        // Nobody shall see this trace; any parent says so.
        (None, Some(false)) => set_parent(span, remote(1, false)),
        // Whether it is seen is for us to say, as of a trace that begins here.
        _ => NEXT.set(Some(header.trace.into())),
    }
}

fn set_parent(span: &Span, parent: SpanContext) {
    // Err: somebody else has begun it; then it is in a trace of its own.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// A span of what is done for a record.
pub fn record(created: Option<&Created>) -> Span {
    info_span!(
        target: TARGET,
        "record",
        aws.s3.bucket = created.map(|c| c.bucket.as_str()),
        aws.s3.key = created.map(|c| c.key.as_str()),
        longshore.outcome = Empty,
        "error.type" = Empty,
        otel.status_description = Empty,
    )
}

/// How a record ended.
pub fn record_ended(span: &Span, outcome: &Outcome) {
    if span.is_disabled() {
        return;
    }
    let (name, reason) = outcome.names();
    span.record("longshore.outcome", name);
    match outcome {
        Outcome::Rejected(rejection) => failed(span, reason, &rejection.detail),
        Outcome::Retry(error) => failed(span, "retry", error),
        Outcome::Blocked(_, error) => failed(span, reason, error),
        Outcome::Done(_) | Outcome::Superseded | Outcome::Ignored(_) | Outcome::Gone(_) | Outcome::Left => {}
    }
}

pub fn download(source: &Location) -> Span {
    info_span!(
        target: TARGET,
        "download",
        otel.kind = "client",
        aws.s3.bucket = source.bucket,
        aws.s3.key = source.key,
        "error.type" = Empty,
        otel.status_description = Empty,
    )
}

pub fn render() -> Span {
    info_span!(target: TARGET, "render", "error.type" = Empty, otel.status_description = Empty)
}

pub fn upload(rendition: &str, output: &Location) -> Span {
    info_span!(
        target: TARGET,
        "upload",
        otel.kind = "client",
        longshore.rendition = rendition,
        aws.s3.bucket = output.bucket,
        aws.s3.key = output.key,
        "error.type" = Empty,
        otel.status_description = Empty,
    )
}

/// A span of an attempt of a row.
pub fn row(ticket: &Ticket, attempt: u32) -> Span {
    info_span!(
        target: TARGET,
        "row",
        longshore.job = ticket.job,
        longshore.row = ticket.row as i64,
        longshore.attempt = i64::from(attempt),
        "error.type" = Empty,
        otel.status_description = Empty,
    )
}

/// A span of a step of a row.
pub fn step(name: &str, ticket: &Ticket) -> Span {
    info_span!(
        target: TARGET,
        "step",
        otel.name = name,
        longshore.job = ticket.job,
        longshore.row = ticket.row as i64,
        "error.type" = Empty,
        otel.status_description = Empty,
    )
}

/// Runs a step of a job in its span, which says why if it fails.
pub async fn within<T>(span: Span, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let result = step.instrument(span.clone()).await;
    if let Err(failure) = &result {
        failed(&span, failure.slug(), failure);
    }
    result
}

/// Says on a span why it came to nothing.
pub fn failed(span: &Span, slug: &str, why: impl fmt::Display) {
    if !span.is_disabled() {
        span.record("error.type", slug);
        span.record("otel.status_description", Printable(&why.to_string()).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{Sampler, SpanData, SpanExporter};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    fn of(header: Option<&str>) -> Message {
        Message {
            id: "m".into(),
            receipt: "r".into(),
            body: "{}".into(),
            receive_count: 1,
            sent_at: None,
            first_received_at: None,
            trace_header: header.map(str::to_owned),
            received_at: Instant::now(),
        }
    }

    /// The spans that a message with such a header makes, and the message.
    fn spans(header: Option<&str>, otherwise: Sampler) -> (Vec<SpanData>, Message) {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(otherwise)))
            .with_id_generator(Followed(RandomIdGenerator::default()))
            .with_simple_exporter(kept.clone())
            .build();
        let collector = Collector::default();
        let traces = Traces { provider, collector };
        let mut message = of(header);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(traces.layer()), || {
            let span = super::message(&mut message, "https://sqs/1/uploads");
            span.in_scope(|| drop(record(None)));
        });
        let spans = kept.0.lock().unwrap().clone();
        (spans, message)
    }

    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";
    const TRACE: &str = "5759e988bd862e3fe1be46a994272793";

    #[test]
    fn a_message_belongs_to_the_trace_that_its_header_names_whatever_else_it_says() {
        for (rest, parent, links) in [
            (";Parent=53995c3f42cd8ad8;Sampled=1", "53995c3f42cd8ad8", 1),
            (";Parent=53995c3f42cd8ad8", "0000000000000000", 1),
            (";Sampled=?", "0000000000000000", 0),
            ("", "0000000000000000", 0),
        ] {
            let header = format!("{ROOT}{rest}");
            let (spans, message) = spans(Some(&header), Sampler::AlwaysOn);
            let [record, process] = &spans[..] else { panic!("{header}: {spans:?}") };
            assert_eq!(process.span_context.trace_id().to_string(), TRACE, "{header}");
            assert_eq!(record.span_context.trace_id().to_string(), TRACE, "{header}");
            assert_eq!(process.parent_span_id.to_string(), parent, "{header}");
            assert_eq!(record.parent_span_id, process.span_context.span_id(), "{header}");
            assert_eq!(process.links.len(), links, "{header}");
            assert_eq!(message.trace_header.unwrap(), header, "the copy keeps what was sent");
        }
    }

    #[test]
    fn a_trace_that_nobody_shall_see_is_not_made_and_an_undecided_one_is_ours_to_decide() {
        for rest in [";Parent=53995c3f42cd8ad8;Sampled=0", ";Sampled=0"] {
            let (spans, message) = spans(Some(&format!("{ROOT}{rest}")), Sampler::AlwaysOn);
            assert!(spans.is_empty(), "{rest}: {spans:?}");
            assert_eq!(message.trace_id().unwrap(), TRACE, "it is in the log all the same");
        }
        for rest in [";Parent=53995c3f42cd8ad8", ""] {
            assert!(spans(Some(&format!("{ROOT}{rest}")), Sampler::AlwaysOff).0.is_empty(), "{rest}");
        }
    }

    #[test]
    fn a_message_without_a_trace_gets_one_that_its_copy_leads_back_to() {
        for header in [None, Some("Self=nothing")] {
            let (spans, message) = spans(header, Sampler::AlwaysOn);
            let process = &spans[1];
            let given = TraceHeader::parse(message.trace_header.as_deref().unwrap()).unwrap();
            assert_eq!(given.trace_id(), process.span_context.trace_id().to_string());
            assert_eq!(given.parent, Some(u64::from_be_bytes(process.span_context.span_id().to_bytes())));
            assert_eq!(given.sampled, Some(true));
        }
        let (one, other) = (spans(None, Sampler::AlwaysOn).1, spans(None, Sampler::AlwaysOff).1);
        assert_ne!(one.trace_id(), other.trace_id());
        assert!(other.trace_header.unwrap().ends_with("Sampled=0"));
    }
}
