//! Every span that there is, with all that it says. Places, epochs, shards, counts and sizes: never
//! a room, a user, a key, an id that a client chose, or what was said. Nothing else makes a span.
//!
//! Each function returns an empty span where its parent is not traced, which costs a comparison.

use super::{Context, Origin, TARGET, export::PIPELINE};
use opentelemetry::{Context as Active, trace::TraceContextExt};
use tracing::{Span, debug, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A message of a client, from its frame to its answer. The root of a trace, if one begins.
pub fn message(origin: &Origin, bytes: usize) -> Span {
    root(origin, || {
        info_span!(
            target: TARGET, parent: None, "chat.message",
            otel.kind = "server", chat.bytes = number(bytes),
            chat.outcome = Empty, chat.seq = Empty, chat.epoch = Empty,
        )
    })
}

/// A client that joins, from its request to its session. The root of a trace, if one begins.
pub fn join(origin: &Origin) -> Span {
    root(origin, || {
        info_span!(
            target: TARGET, parent: None, "chat.join",
            otel.kind = "server", chat.outcome = Empty, chat.seq = Empty, chat.epoch = Empty,
        )
    })
}

/// Storing a command on the bus: stored is accepted.
pub fn store(shard: impl FnOnce() -> u16, bytes: usize) -> Span {
    child(&Context::current(), || {
        let shard = shard();
        info_span!(
            target: TARGET, parent: None, "chat.store",
            otel.kind = "producer", messaging.system = "nats",
            chat.shard = i64::from(shard), chat.bytes = number(bytes),
        )
    })
}

/// A writer that decides a command.
pub fn decide(command: &Context, shard: u16, epoch: u64, position: u64) -> Span {
    child(command, || {
        info_span!(
            target: TARGET, parent: None, "chat.decide",
            otel.kind = "consumer", messaging.system = "nats",
            chat.shard = i64::from(shard), chat.epoch = number(epoch),
            chat.position = number(position),
        )
    })
}

/// What a commit is about.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The owner's epoch.
    pub epoch: u64,
    /// The place of its first event; 0: it has none, and only confirms.
    pub first: u64,
    /// The place of its last event.
    pub last: u64,
    /// The bytes of its events, about.
    pub bytes: usize,
}

impl Range {
    /// Of what has no events, and only confirms that an epoch still holds.
    pub fn confirming(epoch: u64) -> Self {
        Self {
            epoch,
            first: 0,
            last: 0,
            bytes: 0,
        }
    }

    fn events(self) -> u64 {
        match self.first {
            0 => 0,
            first => self.last + 1 - first,
        }
    }
}

/// A commit, from the journal to the bus. It has a place in the trace of its first command, and is
/// linked to the decisions about all of them that are traced.
pub fn commit(commands: &[Context], shard: u16, range: impl FnOnce() -> Range) -> Span {
    let Some(first) = commands.first() else {
        return Span::none();
    };
    let span = child(first, || {
        let range = range();
        info_span!(
            target: TARGET, parent: None, "chat.commit",
            otel.kind = "internal",
            chat.shard = i64::from(shard), chat.epoch = number(range.epoch),
            chat.seq = number(range.first), chat.last = number(range.last),
            chat.events = number(range.events()), chat.bytes = number(range.bytes),
            chat.traced = number(commands.len()),
        )
    });
    for command in commands {
        if let Some(command) = &command.0 {
            span.add_link((**command).clone());
        }
    }
    span
}

/// Appending a commit to the journal, and confirming it.
pub fn append() -> Span {
    child(
        &Context::current(),
        || info_span!(target: TARGET, parent: None, "chat.append", otel.kind = "client"),
    )
}

/// Confirming that an epoch is still its owner's, where that is a request of its own.
pub fn confirm() -> Span {
    child(
        &Context::current(),
        || info_span!(target: TARGET, parent: None, "chat.confirm", otel.kind = "client"),
    )
}

/// Publishing a commit to all gateways.
pub fn publish(about: impl FnOnce() -> (u16, Range)) -> Span {
    child(&Context::current(), || {
        let (shard, range) = about();
        info_span!(
            target: TARGET, parent: None, "chat.publish",
            otel.kind = "producer", messaging.system = "nats",
            chat.shard = i64::from(shard), chat.epoch = number(range.epoch),
            chat.seq = number(range.first), chat.last = number(range.last),
            chat.events = number(range.events()), chat.bytes = number(range.bytes),
        )
    })
}

/// A gateway that hands a commit to its clients: into their outboxes.
pub fn deliver(commit: &Context, range: Range, clients: usize) -> Span {
    child(commit, || {
        info_span!(
            target: TARGET, parent: None, "chat.deliver",
            otel.kind = "consumer", messaging.system = "nats",
            chat.epoch = number(range.epoch),
            chat.seq = number(range.first), chat.last = number(range.last),
            chat.events = number(range.events()), chat.clients = number(clients),
        )
    })
}

/// Ends the root of a trace with what became of what the client wanted.
pub fn answered(root: &Span, outcome: &str, place: Option<(u64, u64)>) {
    if root.is_none() {
        return;
    }
    root.record("chat.outcome", outcome);
    if let Some((seq, epoch)) = place {
        root.record("chat.seq", number(seq));
        root.record("chat.epoch", number(epoch));
    }
    // A span ends when it was last left. The line has the id of the trace, for who looks for one.
    root.in_scope(|| debug!(outcome, "what a client sent is answered, and traced"));
}

/// As OpenTelemetry has numbers: an unsigned one would become a text.
fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn root(origin: &Origin, span: impl FnOnce() -> Span) -> Span {
    match PIPELINE.get() {
        Some(pipeline) if pipeline.sampler.begins(origin) => {}
        _ => return Span::none(),
    }
    let span = span();
    // A new trace, whatever the caller is doing.
    let _ = span.set_parent(Active::new());
    if let Some(origin) = &origin.0 {
        span.add_link((**origin).clone());
    }
    span
}

fn child(parent: &Context, span: impl FnOnce() -> Span) -> Span {
    let Some(parent) = &parent.0 else {
        return Span::none();
    };
    let span = span();
    // It fails only for a span that nobody wanted: then there is none.
    let _ = span.set_parent(Active::new().with_remote_span_context((**parent).clone()));
    span
}
