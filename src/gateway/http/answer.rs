//! Answers: JSON, and refusals in the words of the client protocol.

use crate::{
    room::{Reason, Rejection},
    wire::{Utf8, http},
};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, UPGRADE},
    },
    response::Response,
};

/// A JSON answer that no cache keeps.
pub(super) fn json(status: StatusCode, body: Utf8) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal with its own body: the status, and when to come back.
pub(super) fn refuse_with(rejection: &Rejection, body: Utf8) -> Response {
    let status = StatusCode::from_u16(http::status(rejection.reason))
        .expect("a status of the protocol is one of HTTP");
    let mut response = json(status, body);
    if let Some(seconds) = http::retry_after(rejection) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if rejection.reason == Reason::UpgradeRequired {
        response
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

/// A refusal: `{"error":{"reason":"bad_room","message":"..."}}`.
pub(super) fn refuse(rejection: &Rejection) -> Response {
    refuse_with(rejection, http::refusal(rejection))
}
