//! Traces for an OpenTelemetry collector.
//!
//! The trace context of a call is extracted from the metadata `traceparent`, and is
//! propagated to the other service in the same way. Spans hold the name of the RPC, the ids
//! of call, practice and product, and the code; never SQL.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tonic::{
    Code,
    metadata::{AsciiMetadataKey, MetadataMap},
};
use tracing::{Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

/// The timeout of exporting the last traces.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The prefixes of the crates whose spans and events are exported. Those of other crates may
/// hold data.
const OWN: [&str; 3] = ["records", "imports", "concord"];

/// Traces cannot be exported. This error does not quote the URL of the collector, which may
/// hold a secret; the exporter's error does.
#[derive(Debug, thiserror::Error)]
#[error(
    "traces cannot be sent to the collector of --otlp-endpoint (CONCORD_OTLP_ENDPOINT, \
     OTEL_EXPORTER_OTLP_ENDPOINT): write its URL as http://127.0.0.1:4317"
)]
pub struct TracesError;

/// The exporter to a collector.
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    pub(super) fn to(url: &str, service: &'static str) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(url).build();
        let exporter = exporter.map_err(|_: ExporterBuildError| TracesError)?;
        let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| service.to_owned());
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name(name).build())
            .build();
        Ok(Self { provider })
    }

    /// The layer that exports the spans of our own crates.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer: SdkTracer = self.provider.tracer("concord");
        let own = OWN.map(|name| (name, LevelFilter::INFO));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(Targets::new().with_targets(own))
    }

    pub(super) async fn stop(self) {
        // Blocks until the last traces are exported.
        let provider = self.provider;
        let stop = move || provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
        if !matches!(tokio::task::spawn_blocking(stop).await, Ok(Ok(()))) {
            tracing::warn!("exporting the last traces failed");
        }
    }
}

/// Continues the caller's trace, under the name of the RPC.
pub(crate) fn continue_trace(span: &Span, rpc: &'static str, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&Headers(headers));
    // Fails if traces are not exported.
    if span.set_parent(parent).is_ok() {
        span.record("otel.name", rpc).record("otel.kind", "server");
    }
}

/// Records the code of a call in its span. An error of the caller does not mark the span as
/// failed.
pub(crate) fn end_of_call(span: &Span, code: Code) {
    let number = i64::from(i32::from(code));
    span.set_attribute("rpc.grpc.status_code", number);
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable) {
        span.set_status(opentelemetry::trace::Status::error(""));
    }
}

/// Propagates the trace of the current span to a call of another service.
pub fn send_trace(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut Metadata(metadata));
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value: &HeaderValue| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Metadata<'m>(&'m mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse::<AsciiMetadataKey>(), value.parse()) {
            self.0.insert(key, value);
        }
    }
}
