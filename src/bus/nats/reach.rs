//! Whether what a node publishes reaches the streams. Where its account is another one than theirs,
//! that account must import each call (`accounts.rs`); one that it lacks has no responders, like a
//! server without JetStream.

use super::{
    link::{Failure, Link},
    subjects::{Subjects, token},
};
use crate::bus::Error;
use async_nats::{HeaderMap, header::NATS_EXPECTED_STREAM};
use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;

/// The name of no stream, and of no room, run or key that there is.
const NONE: &str = "none";

/// What to do when nothing answers a call.
pub(super) const REMEDY: &str = "is JetStream on (nats-server --jetstream), and does the account \
     of this login have the streams, or import that (`safe-chat permissions --print imports`)?";

/// The calls of a gateway that nothing answers, of those by which it stores and reads. Nothing is
/// stored: the messages are for a stream that there is not, which the server says.
pub(super) async fn unanswered(link: &Link, subjects: &Subjects) -> Vec<String> {
    let name = token(&link.node);
    let stores = [
        format!("{}.cmd.0.{NONE}.{name}", subjects.prefix()),
        subjects.key("NODES", &format!("gateway.{name}.{NONE}")),
        subjects.key("SESSIONS", &format!("{name}.{NONE}.0.{NONE}")),
    ];
    let reads = [
        subjects.stream("EVT"),
        subjects.bucket("NODES"),
        subjects.bucket("SHARDS"),
        subjects.bucket("SESSIONS"),
    ]
    .map(|stream| format!("$JS.API.STREAM.MSG.GET.{stream}"));
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_STREAM, NONE);
    let nothing = Bytes::from(json!({ "last_by_subj": NONE }).to_string());
    let stores = stores.map(|subject| (subject, headers.clone(), Bytes::new()));
    let reads = reads.map(|subject| (subject, HeaderMap::new(), nothing.clone()));
    let asked = stores.into_iter().chain(reads);
    let asked = asked.map(async |(subject, headers, payload)| {
        let answer = link.request(subject.clone(), headers, payload).await;
        matches!(answer, Err(Failure::NoResponders)).then_some(subject)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// [`Error::Denied`]: what this node publishes does not reach the streams. That may change: in
/// a cluster the servers learn one after the other where a new stream is.
pub(super) async fn check(link: &Link, subjects: &Subjects) -> Result<(), Error> {
    match &*unanswered(link, subjects).await {
        [] => Ok(()),
        missing => Err(Error::Denied(told(missing))),
    }
}

/// What is missing, in words.
pub(super) fn told(missing: &[String]) -> String {
    format!("nothing answers {}: {REMEDY}", missing.join(", "))
}
