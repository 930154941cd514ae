//! Answers: JSON, and refusals in the words of the client protocol.

use crate::{
    listener::lists,
    room::{Reason, Rejection},
    wire::{Utf8, http},
};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL,
            CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
        },
    },
    response::Response,
};

/// The media type of server-sent events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// A JSON answer that no cache keeps.
pub(super) fn json(status: StatusCode, body: Utf8) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal with its own body: the status, and when to come back. Any page may read why it was
/// refused; what a page may not know, it is not told.
pub(super) fn refuse_with(rejection: &Rejection, body: Utf8) -> Response {
    let status = StatusCode::from_u16(http::status(rejection.reason))
        .expect("a status of the protocol is one of HTTP");
    let mut response = json(status, body);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Some(seconds) = http::retry_after(rejection) {
        headers.insert(RETRY_AFTER, seconds.into());
        let exposed = HeaderValue::from_static("Retry-After");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    if let Some(challenge) = http::challenge(rejection.reason) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if rejection.reason == Reason::UpgradeRequired {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// A refusal: `{"error":{"reason":"bad_room","message":"..."}}`.
pub(super) fn refuse(rejection: &Rejection) -> Response {
    refuse_with(rejection, http::refusal(rejection))
}

/// Whether it is an `EventSource` that asks.
pub(super) fn is_event_source(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && lists(headers, &ACCEPT, EVENT_STREAM)
}

/// A browser's `EventSource` takes every answer but 200 as final. Where trying again can help, it
/// gets a stream that says when, and ends.
pub(super) fn come_back(refused: Response) -> Response {
    let again = matches!(
        refused.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let after = refused.headers().get(RETRY_AFTER);
    let seconds = after.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let (true, Some(seconds)) = (again, seconds) else {
        return refused;
    };
    let ms = seconds.saturating_mul(1000);
    let body = format!(
        "retry: {ms}\n: not now, HTTP {}\n\n",
        refused.status().as_u16()
    );
    let mut response = event_stream(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// A stream of server-sent events.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
