//! Questions of a sealed room over HTTP, and what a person reads when there is no answer.

use super::{DEADLINE, Found, MOST, Sealed, Task, now_ms};
use crate::{chat::foreign::of_service, fetch::Client as Http};
use anyhow::Result;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use hyper::{Request, Response, header::RETRY_AFTER};
use rustls::ClientConfig;
use safe_chat_client::{
    Gateway, KeyPair,
    keys::{self, Keys},
};
use seal::Public;
use serde::{Deserialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// The longest time after which a service can have it asked again.
const MOST_AFTER: Duration = Duration::from_secs(60 * 60);

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum Unanswered {
    #[error("{host} does not answer: {why}")]
    Silent { host: String, why: String },
    /// It is asked too often, or cannot answer now.
    #[error("{why} (in {})", said(*.after))]
    Later { why: String, after: Duration },
    #[error("{0}")]
    Refused(String),
    /// There is nothing by which somebody's devices could be added.
    #[error(
        "{user} has not published what adds a device yet, which a terminal and the page do by \
         themselves in a sealed room, or has another key than {key}"
    )]
    NotThere { user: String, key: Public },
    /// Another program is there, or between.
    #[error(
        "what answers is no safe-chat ({0}): look at the address that this was started with, and \
         at proxies before it"
    )]
    Foreign(serde_json::Error),
}

/// Ticks until it is asked again how to come in: at first, and at most. Each time is twice as long.
const AGAIN: (u32, u32) = (5, 60);
/// Reasons that were told, and are not again.
const MOST_TOLD: usize = 8;

/// Why it is not known how to come in.
pub(super) struct NoWay {
    /// As it was told, the newest one last.
    told: Vec<String>,
    pause: u32,
}

impl Default for NoWay {
    fn default() -> Self {
        Self {
            told: Vec::new(),
            pause: AGAIN.0,
        }
    }
}

impl NoWay {
    pub(super) fn why(&self) -> Option<&str> {
        self.told.last().map(String::as_str)
    }

    /// Once more; ticks until it is asked again, and what there is to tell if that is news.
    fn takes(&mut self, error: &anyhow::Error) -> (u32, Option<String>) {
        // Not with the time that is left, which is another one each time.
        let why = match error.downcast_ref() {
            Some(Unanswered::Later { why, .. }) => why.clone(),
            _ => format!("{error:#}"),
        };
        let known = self.told.iter().position(|told| *told == why);
        if let Some(at) = known {
            self.told.remove(at);
        } else if self.told.len() == MOST_TOLD {
            self.told.remove(0);
        }
        let note = format!(
            "! the service does not say how to come into the group: {why}. It is asked again by \
             itself, each minute at last"
        );
        self.told.push(why);
        let pause = self.pause;
        self.pause = (pause * 2).min(AGAIN.1);
        (pause, known.is_none().then_some(note))
    }
}

/// How a refusal looks on the wire.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Reason,
}

#[derive(Default, Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// What asks at a gateway.
pub(super) fn http(tls: Option<&Arc<ClientConfig>>, gateway: &Gateway) -> Http {
    let tls = tls.filter(|_| gateway.is_secure()).cloned();
    Http::new(tls, DEADLINE, MOST)
}

impl Sealed {
    /// There are several gateways: which of them is to be asked the first session says.
    pub(in super::super) fn asks_later(&mut self) {
        self.publishing.waits();
    }

    /// The session is at this gateway: questions go there, too, for others may be down.
    pub(in super::super) fn asks_at(&mut self, gateway: &Gateway) {
        self.keys = Keys::new(KeyPair::from_seed(&self.identity.seed()), gateway);
        self.http = http(self.tls.as_ref(), gateway);
        self.publishing.begin();
    }

    /// It cannot be known now how to come in: it is asked again, less and less often.
    pub(super) fn has_no_way(&mut self, error: &anyhow::Error) -> Vec<Task> {
        self.conversation.disconnected();
        let (pause, note) = self.no_way.takes(error);
        self.again = Some(pause);
        note.map(Task::Note).into_iter().collect()
    }

    pub(super) fn group(&self) -> BoxFuture<'static, Found> {
        let asked = self.ask(self.keys.group(&self.room, &self.user, now_ms()));
        let group = async move {
            let body = asked.await?;
            Ok(body.map(|body| read(&body)).transpose()?)
        };
        group.map(Found::Group).boxed()
    }

    /// The newest welcome to this room.
    pub(super) fn welcome(&self) -> BoxFuture<'static, Found> {
        let (user, device) = (self.user.clone(), self.device.to_string());
        let (keys, http, room) = (self.keys.clone(), self.http.clone(), self.room.clone());
        let asked = self.ask(self.keys.welcomes(&user, &device, now_ms()));
        let welcome = async move {
            let Some(body) = asked.await? else {
                return Ok(None);
            };
            let all: keys::Welcomes = read(&body)?;
            let newest = all.welcomes.into_iter().filter(|one| one.room == room);
            let Some(newest) = newest.max_by_key(|one| one.seq) else {
                return Ok(None);
            };
            let request = keys.welcome(&user, &device, &newest.id, now_ms());
            let body = ask(http, request).await?;
            Ok(body.map(|body| read(&body)).transpose()?)
        };
        welcome.map(Found::Welcome).boxed()
    }

    pub(super) fn ask(&self, request: keys::Request) -> BoxFuture<'static, Result<Option<Bytes>>> {
        ask(self.http.clone(), request).boxed()
    }
}

/// What an answer says.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unanswered> {
    keys::read(body).map_err(Unanswered::Foreign)
}

/// The body of an answer; `None`: there is nothing.
pub(super) async fn ask(http: Http, request: keys::Request) -> Result<Option<Bytes>> {
    let built = Request::builder()
        .method(request.method)
        .uri(&request.url)
        .header(keys::PROOF_HEADER, request.proof)
        .header("content-type", "application/json")
        .body(Bytes::from(request.body))?;
    let host = built
        .uri()
        .authority()
        .map_or_else(String::new, ToString::to_string);
    let answer = http.send(built).await.map_err(|why| Unanswered::Silent {
        host,
        why: why.to_string(),
    })?;
    match answer.status().as_u16() {
        200 => Ok(Some(answer.into_body())),
        404 => Ok(None),
        _ => Err(refused(&answer).into()),
    }
}

fn refused(answer: &Response<Bytes>) -> Unanswered {
    let status = answer.status().as_u16();
    let Reason { reason, message } = serde_json::from_slice::<Refusal>(answer.body())
        .unwrap_or_default()
        .error;
    let why = match (message.is_empty(), reason.is_empty()) {
        (false, _) => message,
        (true, false) => reason,
        (true, true) => match status {
            300..400 => format!(
                "what answers sends this elsewhere (HTTP {status}), where nothing is asked: look \
                 at the address that this was started with, and at proxies before it"
            ),
            _ => format!("the server answers HTTP {status}"),
        },
    };
    let why = of_service(&why);
    let after = answer.headers().get(RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
    match after.map(|seconds| Duration::from_secs(seconds).min(MOST_AFTER)) {
        Some(after) => Unanswered::Later { why, after },
        None => Unanswered::Refused(why),
    }
}

/// 40 s, 3 min, 2 h
pub(super) fn said(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, after: Option<&str>, body: &'static str) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        if let Some(after) = after {
            answer = answer.header(RETRY_AFTER, after);
        }
        answer.body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn why_it_is_not_known_how_to_come_in_is_told_once_and_asked_less_and_less_often() {
        let mut no_way = NoWay::default();
        let moved = || refused(&answer(302, None, "<html>")).into();
        let busy =
            |after| refused(&answer(503, Some(after), r#"{"error":{"reason":"busy"}}"#)).into();
        let mut takes = |error: anyhow::Error| no_way.takes(&error);
        let (pause, note) = takes(moved());
        let note = note.unwrap();
        assert!(
            pause == 5 && note.contains("(HTTP 302)") && note.contains("proxies"),
            "{note}"
        );
        assert_eq!(takes(moved()), (10, None));
        // Another reason is news, but not each time that they take turns.
        assert!(takes(busy("9")).1.is_some());
        for _ in 0..100 {
            assert_eq!(takes(moved()).1, None);
            assert_eq!(takes(busy("8")).1, None);
        }
        assert_eq!(takes(moved()).0, 60);
        assert!(no_way.why().unwrap().contains("302"));
    }

    #[test]
    fn a_refusal_says_why_and_when_to_come_back_and_shows_no_address_nor_json() {
        let body = r#"{"error":{"reason":"rate_limited","message":"you have asked often"}}"#;
        for (answer, said) in [
            (
                answer(429, Some("179"), body),
                "you have asked often (in 3 min)",
            ),
            (
                answer(429, Some("99999999999"), body),
                "you have asked often (in 60 min)",
            ),
            (
                answer(503, Some("2"), "<html>"),
                "the server answers HTTP 503 (in 2 s)",
            ),
            (
                answer(403, None, r#"{"error":{"reason":"proof_failed"}}"#),
                "proof_failed",
            ),
        ] {
            assert_eq!(refused(&answer).to_string(), said);
        }
    }
}
