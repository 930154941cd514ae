//! Where a message is in its trace: a header, which only messages of a trace have.

use crate::telemetry::trace::{Context, HEADER};
use async_nats::HeaderMap;
use tracing::Span;

/// Says that a message comes from a span, if it is traced.
pub(super) fn write(headers: &mut HeaderMap, span: &Span) {
    if let Some(value) = Context::of(span).header() {
        headers.insert(HEADER, value.as_str());
    }
}

/// From which span a message comes.
pub(super) fn read(headers: Option<&HeaderMap>) -> Context {
    let header = headers.and_then(|headers| headers.get(HEADER));
    header.map_or_else(Context::default, |value| Context::read(value.as_str()))
}
