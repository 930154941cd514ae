//! What the gateway counts. A room or a user is never a label.

use metrics::{counter, gauge};

/// Sessions that are open here now.
pub(super) fn sessions(count: usize) {
    gauge!("safechat_sessions").set(count as f64);
}

/// Rooms that have a replica here now.
pub(super) fn rooms(count: usize) {
    gauge!("safechat_rooms").set(count as f64);
}

/// Something was refused because of a limit.
pub(super) fn limited(limit: &'static str) {
    counter!("safechat_rate_limited_total", "limit" => limit).increment(1);
}

/// Bytes that wait for the clients of sessions.
pub(super) fn waiting(bytes: usize) {
    gauge!("safechat_waiting_bytes").set(bytes as f64);
}

/// A join ended: `joined`, or the reason of its refusal.
pub(super) fn join(outcome: &'static str) {
    counter!("safechat_joins_total", "outcome" => outcome).increment(1);
}

/// A join asked for what follows a place, and got it or not.
pub(super) fn resume(recovered: bool) {
    counter!("safechat_resumes_total", "recovered" => if recovered { "true" } else { "false" })
        .increment(1);
}

/// Events were put into the outboxes of live clients.
pub(super) fn fanned_out(events: usize, clients: usize) {
    counter!("safechat_events_total").increment(events as u64);
    counter!("safechat_events_fanned_out_total").increment((events * clients) as u64);
}

/// Frames were written to a socket with one flush.
pub(super) fn written(frames: usize) {
    counter!("safechat_frames_written_total").increment(frames as u64);
    counter!("safechat_flushes_total").increment(1);
}

/// A client was closed because its backlog passed the limit.
pub(super) fn slow() {
    counter!("safechat_backlog_closes_total").increment(1);
}

/// A session was ended by the server.
pub(super) fn closed(code: u16) {
    counter!("safechat_closes_total", "code" => code.to_string()).increment(1);
}

/// A replica had to read from the journal what it did not hear.
pub(super) fn repaired(events: usize) {
    counter!("safechat_repaired_events_total").increment(events as u64);
}

/// A page of events was read from the journal.
pub(super) fn page_read() {
    counter!("safechat_journal_pages_read_total").increment(1);
}
