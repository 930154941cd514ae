//! The way of spans to the collector: a bounded queue before a thread of its own. What does not
//! fit, or is not taken, is dropped and counted; nothing waits for it.

use super::{Config, TARGET, collector::Collector, sampler::Sampler};
use opentelemetry::{Context, KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter,
        SpanProcessor,
    },
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

/// How long a span waits for others that go with it.
const DELAY: Duration = Duration::from_secs(1);
/// Spans in one request.
const BATCH: usize = 512;
/// A commit links to its commands, of which there are as many as events at most.
const LINKS: u32 = 256;

/// All that tracing needs, once it has started; until then nothing is traced.
pub(super) static PIPELINE: OnceLock<Pipeline> = OnceLock::new();

pub(super) struct Pipeline {
    provider: SdkTracerProvider,
    pub(super) sampler: Sampler,
    spans: Arc<Spans>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Spans {
    /// In the queue, or on their way to the collector.
    waiting: AtomicUsize,
    exported: AtomicU64,
    /// For which there was no room in the queue.
    dropped: AtomicU64,
    /// Which the collector did not take.
    failed: AtomicU64,
}

/// What tracing did so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Traces that this node began.
    pub begun: u64,
    /// Traces that would have begun, had there not been enough of them in that second.
    pub capped: u64,
    /// Spans that the collector took.
    pub exported: u64,
    /// Spans for which there was no room in the queue.
    pub dropped: u64,
    /// Spans that the collector did not take.
    pub failed: u64,
}

/// What tracing did so far; nothing when it is off.
pub fn counts() -> Option<Counts> {
    let Pipeline { sampler, spans, .. } = PIPELINE.get()?;
    Some(Counts {
        begun: sampler.begun.load(Relaxed),
        capped: sampler.capped.load(Relaxed),
        exported: spans.exported.load(Relaxed),
        dropped: spans.dropped.load(Relaxed),
        failed: spans.failed.load(Relaxed),
    })
}

/// Starts tracing for the rest of the process, if it is configured. Called once, by a node, before
/// its log starts.
pub fn start(config: &Config, node: &str) -> Result<(), String> {
    if !config.is_on() {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| format!("traces cannot be sent: {error}");
    let url = config.url()?;
    let collector = Collector::new(&url, config.timeout()).map_err(|error| failed(&error))?;
    let exporter = Otlp::builder()
        .with_http()
        .with_http_client(collector)
        .with_endpoint(url)
        .with_headers(config.headers()?)
        .with_timeout(config.timeout())
        .build()
        .map_err(|error| failed(&error))?;
    let spans = Arc::new(Spans::default());
    let queue = BatchConfigBuilder::default()
        .with_max_queue_size(config.queue)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let counted = Counted {
        to: exporter,
        spans: spans.clone(),
    };
    let bounded = Bounded {
        to: BatchSpanProcessor::new(counted, queue),
        spans: spans.clone(),
        most: config.queue,
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(bounded)
        .with_max_links_per_span(LINKS)
        .with_resource(resource(node))
        .build();
    let pipeline = Pipeline {
        provider,
        sampler: Sampler::new(config),
        spans,
    };
    let started = PIPELINE.set(pipeline);
    started.map_err(|_| "traces were started before".to_owned())
}

/// What makes spans of OpenTelemetry of those of this program, and of nothing else: a line of the
/// log may name a room.
pub(in crate::telemetry) fn layer<S>() -> Option<impl Layer<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let tracer = PIPELINE.get()?.provider.tracer("safe-chat");
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    Some(spans.with_filter(Targets::new().with_target(TARGET, Level::INFO)))
}

/// Sends what waits, for at most `patience`. The process ends next. Blocks.
pub fn finish(patience: Duration) {
    let Some(Pipeline {
        provider, spans, ..
    }) = PIPELINE.get()
    else {
        return;
    };
    if let Err(error) = provider.shutdown_with_timeout(patience) {
        let lost = spans.waiting.load(Relaxed);
        tracing::warn!(%error, lost, "the collector did not take the last spans in time");
    }
}

fn resource(node: &str) -> Resource {
    // `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count too.
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    let builder = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", node.to_owned()),
        KeyValue::new("chat.node", node.to_owned()),
    ]);
    match named {
        true => builder.build(),
        false => builder.with_service_name("safe-chat").build(),
    }
}

/// The bound of the queue. The library has one too, but does not say what it drops: this one is
/// never above it.
#[derive(Debug)]
struct Bounded<P> {
    to: P,
    spans: Arc<Spans>,
    most: usize,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.to.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.spans.waiting.fetch_add(1, Relaxed) < self.most {
            self.to.on_end(span);
        } else {
            self.spans.waiting.fetch_sub(1, Relaxed);
            self.spans.dropped.fetch_add(1, Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}

/// Counts what the collector took, and what it did not.
#[derive(Debug)]
struct Counted<E> {
    to: E,
    spans: Arc<Spans>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exported = self.to.export(batch).await;
        let counter = match exported {
            Ok(()) => &self.spans.exported,
            Err(_) => &self.spans.failed,
        };
        counter.fetch_add(count as u64, Relaxed);
        self.spans.waiting.fetch_sub(count, Relaxed);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::Tracer;
    use std::sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    };

    /// A collector that takes each batch when the test says so, or refuses it.
    #[derive(Debug)]
    struct Slow(Mutex<Receiver<bool>>, Sender<usize>);

    impl SpanExporter for Slow {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.1.send(batch.len()).expect("the test waits");
            match self.0.lock().expect("one thread").recv() {
                Ok(true) => Ok(()),
                _ => Err(opentelemetry_sdk::error::OTelSdkError::InternalFailure(
                    "refused".into(),
                )),
            }
        }
    }

    #[test]
    fn a_collector_that_takes_nothing_costs_spans_and_holds_nobody_up() {
        const QUEUE: usize = 8;
        let (verdict, verdicts) = channel();
        let (asked, asks) = channel();
        let spans = Arc::new(Spans::default());
        let counted = Counted {
            to: Slow(Mutex::new(verdicts), asked),
            spans: spans.clone(),
        };
        let queue = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(1)
            .with_scheduled_delay(Duration::from_millis(1))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded {
                to: BatchSpanProcessor::new(counted, queue),
                spans: spans.clone(),
                most: QUEUE,
            })
            .build();
        let tracer = provider.tracer("test");
        // The first is on its way, and stays there.
        drop(tracer.start("first"));
        assert_eq!(asks.recv(), Ok(1));
        for _ in 0..100 {
            drop(tracer.start("more"));
        }
        assert_eq!(spans.waiting.load(Relaxed), QUEUE);
        assert_eq!(spans.dropped.load(Relaxed), 101 - QUEUE as u64);
        verdict.send(false).expect("it waits");
        for _ in 1..QUEUE {
            assert_eq!(asks.recv(), Ok(1));
            verdict.send(true).expect("it waits");
        }
        provider.shutdown().expect("nothing waits any more");
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        assert_eq!(
            (count(&spans.exported), count(&spans.failed)),
            (QUEUE as u64 - 1, 1)
        );
    }
}
