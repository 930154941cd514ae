//! Traces: what became of some of the messages, from their frames to their deliveries, as spans of
//! OpenTelemetry that go to a collector (OTLP). Off unless an endpoint is configured.
//!
//! A gateway decides once whether it traces what a client sends (`sampler`). From then on a
//! [`Context`] says in which span something happened; it travels between nodes in a header, and
//! where it is empty nothing is measured, made or sent. [`hop`] has every span that there is.
//! Spans wait in a bounded queue for a thread of their own (`export`, `collector`): a collector
//! that is slow or away costs spans, and holds nothing up.

mod collector;
mod config;
mod export;
pub mod hop;
mod sampler;

pub use config::Config;
pub(super) use export::layer;
pub use export::{Counts, counts, finish, start};

use export::PIPELINE;
use opentelemetry::{
    Context as Active,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of all spans, which tells them from the lines of the log.
const TARGET: &str = "trace";

/// Whether something that is logged or measured is none of a trace.
pub(super) fn is_none_of_it(metadata: &Metadata<'_>) -> bool {
    metadata.target() != TARGET
}

/// The header with which a context travels (W3C Trace Context).
pub const HEADER: &str = "traceparent";

/// A span of a trace, where what follows belongs; empty for whatever is not traced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(Option<Box<SpanContext>>);

impl Context {
    /// Where the running task is.
    pub fn current() -> Self {
        match PIPELINE.get() {
            None => Self::default(),
            Some(_) => Active::map_current(|active| Self::sampled(active.span().span_context())),
        }
    }

    /// A span, from now on.
    pub fn of(span: &Span) -> Self {
        match span.is_none() {
            true => Self::default(),
            false => Self::sampled(span.context().span().span_context()),
        }
    }

    /// As another node sent it. Empty when this node does not trace.
    pub fn read(header: &str) -> Self {
        match PIPELINE.get() {
            None => Self::default(),
            Some(_) => parse(header).map_or_else(Self::default, |context| Self::sampled(&context)),
        }
    }

    /// What is sent to other nodes; nothing for what is not traced.
    pub fn header(&self) -> Option<String> {
        let active = Active::new().with_remote_span_context(self.0.as_deref()?.clone());
        let mut header = OneHeader(String::new());
        TraceContextPropagator::new().inject_context(&active, &mut header);
        Some(header.0)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn sampled(context: &SpanContext) -> Self {
        let is_traced = context.is_valid() && context.is_sampled();
        Self(is_traced.then(|| Box::new(context.clone())))
    }
}

/// The trace in which a client says that its request belongs. It never makes this node trace: a
/// trace that begins here has an identity of its own, and is linked to the client's.
#[derive(Debug, Clone, Default)]
pub struct Origin(Option<Box<SpanContext>>);

impl Origin {
    /// What the client's header says. What is no trace context counts as none.
    pub fn read(header: Option<&str>) -> Self {
        let known = header.filter(|_| PIPELINE.get().is_some());
        Self(known.and_then(parse).map(Box::new))
    }

    /// For what comes later over the same connection: linked to the same trace, if the client's is
    /// one, and else like any other.
    pub fn linked(&self) -> Self {
        let sampled = self.0.as_ref().filter(|context| context.is_sampled());
        Self(sampled.cloned())
    }
}

/// The trace that the running task is in, for its lines in the log.
pub(super) fn id() -> Option<String> {
    let context = Context::current().0?;
    Some(context.trace_id().to_string())
}

fn parse(header: &str) -> Option<SpanContext> {
    let header = OneHeader(header.to_owned());
    let active = TraceContextPropagator::new().extract_with_context(&Active::new(), &header);
    let context = active.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// The value of [`HEADER`], as the library reads and writes headers. The other header, of data that
/// vendors add, is neither taken nor sent.
struct OneHeader(String);

impl Extractor for OneHeader {
    fn get(&self, key: &str) -> Option<&str> {
        (key == HEADER).then_some(&self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![HEADER]
    }
}

impl Injector for OneHeader {
    fn set(&mut self, key: &str, value: String) {
        if key == HEADER {
            self.0 = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_sent_as_it_was_read_and_only_when_it_is_sampled() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = Context::sampled(&parse(header).unwrap());
        assert_eq!(context.header().as_deref(), Some(header));
        let unsampled = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap();
        assert!(Context::sampled(&unsampled).is_empty());
        assert_eq!(Context::default().header(), None);
        for odd in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-\u{e9}",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn nothing_is_traced_by_a_process_that_exports_nothing() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(Context::read(header).is_empty());
        assert!(Origin::read(Some(header)).0.is_none());
        assert!(hop::message(&Origin::default(), 1).is_none());
        assert!(hop::store(|| 0, 1).is_none());
    }
}
