//! What the gateway counts, and when. A room or a user is never a label.

use super::Close;
use crate::{
    metric,
    room::{Millis, Reason, Rejection},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sessions that are open here now.
pub(super) fn sessions(count: usize) {
    metric::SESSIONS.set(count as f64);
}

/// Rooms that have a replica here now.
pub(super) fn rooms(count: usize) {
    metric::ROOMS.set(count as f64);
}

/// An answer came for which nothing waits.
pub(super) fn answer_unasked() {
    metric::ANSWERS_UNASKED.increment(1);
}

/// Something was heard of a room that its journal or its owner does not have.
pub(super) fn rumour() {
    metric::RUMOURS.increment(1);
}

/// Something was refused because of a limit.
pub(super) fn limited(limit: &'static str) {
    metric::RATE_LIMITED.of(limit).increment(1);
}

/// Bytes that wait for the clients of sessions.
pub(super) fn waiting(bytes: usize) {
    metric::WAITING_BYTES.set(bytes as f64);
}

/// A join ended after so long.
pub(super) fn join(refused: Option<Reason>, took: Duration) {
    let outcome = refused.map_or("joined", Reason::as_str);
    metric::JOINS.of(outcome).increment(1);
    if refused.is_none() {
        metric::JOIN_SECONDS.record(took.as_secs_f64());
    }
}

/// A join asked for what follows a place, and gets so many events; `None`: not from there on.
pub(super) fn resume(missed: Option<u64>) {
    let Some(missed) = missed else {
        return metric::RESUMES.of("reset").increment(1);
    };
    metric::RESUMES.of("recovered").increment(1);
    metric::RESUME_EVENTS.record(missed as f64);
}

/// A join asked for what follows a place, and got nothing. Only what the service is to blame for
/// counts: not a limit, a wrong key, or a node that says that it stops.
pub(super) fn resume_failed(why: &Rejection) {
    if matches!(why.reason, Reason::Unavailable | Reason::Busy) {
        metric::RESUMES.of("failed").increment(1);
    }
}

/// A message was stored on the bus for the first time.
pub(super) fn accepted() {
    metric::MESSAGES_ACCEPTED.increment(1);
}

/// A message that was stored is submitted once more.
pub(super) fn resubmitted() {
    metric::MESSAGES_RESUBMITTED.increment(1);
}

/// A message was journaled, so long after it came.
pub(super) fn journaled(duplicate: bool, since_frame: Duration) {
    let outcome = if duplicate { "duplicate" } else { "journaled" };
    metric::MESSAGES.of(outcome).increment(1);
    metric::FRAME_TO_JOURNALED.record(since_frame.as_secs_f64());
}

/// An accepted message was journaled, or had no answer when it was submitted again.
pub(super) fn waited(since_accepted: Duration) {
    metric::ACCEPTED_TO_JOURNALED.record(since_accepted.as_secs_f64());
}

/// A message was refused.
pub(super) fn refused(why: &Rejection) {
    metric::MESSAGES.of(why.reason.as_str()).increment(1);
}

/// A message was refused after it had been accepted. Only what the service is to blame for counts:
/// not a wrong key.
pub(super) fn accepted_refused(why: &Rejection) {
    if matches!(
        why.reason,
        Reason::Unavailable | Reason::Busy | Reason::NotMember
    ) {
        metric::ACCEPTED_REFUSED.increment(1);
    }
}

/// Events were put into the outboxes of live clients.
pub(super) fn fanned_out(events: usize, clients: usize) {
    metric::EVENTS.increment(events as u64);
    metric::EVENTS_FANNED_OUT.increment((events * clients) as u64);
}

/// A commit that was heard is before its clients; its first command was stored at a time.
pub(super) fn delivered(stored: Millis) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = now
        .unwrap_or_default()
        .saturating_sub(Duration::from_millis(stored.0));
    metric::ACCEPTED_TO_DELIVERED.record(since.as_secs_f64());
}

/// Frames were written to sockets with so many flushes.
pub(super) fn written(frames: usize, flushes: usize) {
    metric::FRAMES_WRITTEN.increment(frames as u64);
    metric::FLUSHES.increment(flushes as u64);
}

/// A client answered a ping.
pub(super) fn ponged(after: Duration) {
    metric::PING_SECONDS.record(after.as_secs_f64());
}

/// A client was closed because its backlog passed the limit.
pub(super) fn slow() {
    metric::BACKLOG_CLOSES.increment(1);
}

/// A loop of sockets broke, and another one took its place.
pub(super) fn loop_replaced() {
    metric::LOOPS_REPLACED.increment(1);
}

/// A session was ended by the server.
pub(super) fn closed(close: Close) {
    metric::CLOSES.of(&close.code().to_string()).increment(1);
}

/// What became of a proof of possession.
pub(super) fn proof(outcome: &'static str) {
    metric::PROOFS.of(outcome).increment(1);
}

/// What became of key packages that were published or asked for.
pub(super) fn key_packages(outcome: &'static str) {
    metric::KEY_PACKAGES.of(outcome).increment(1);
}

/// What became of welcomes.
pub(super) fn welcomes(outcome: &'static str) {
    metric::WELCOMES.of(outcome).increment(1);
}

/// A replica had to read from the journal what it did not hear.
pub(super) fn repaired(events: usize) {
    metric::GAPS_REPAIRED.increment(1);
    metric::EVENTS_REPAIRED.increment(events as u64);
}

/// A replica asks its owner again, because it may have missed something.
pub(super) fn interrupted() {
    metric::RESYNCS.of("interrupted").increment(1);
}

/// A replica begins anew, and its clients with it.
pub(super) fn lost() {
    metric::RESYNCS.of("lost").increment(1);
}

/// Events are gone that were not shown yet.
pub(super) fn hole_skipped() {
    metric::HOLES.increment(1);
}

/// A page of events was read from the journal.
pub(super) fn page_read() {
    metric::PAGES_READ.increment(1);
}
