//! The opening handshake of a WebSocket (RFC 6455, 4.2). Headers that are lists may be one line or
//! many; those that are not may be there once.

use crate::{
    listener::{has_body, lists},
    room::{Reason, Rejection},
};
use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Version,
        header::{
            CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
            UPGRADE,
        },
        request::Parts,
    },
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The version of the protocol.
const VERSION: &str = "13";
/// Bytes of a key.
const KEY: usize = 16;

/// Whether a request wants a WebSocket. If not, it only asks whether it might have one.
pub(super) fn is_wanted(request: &Parts) -> bool {
    let headers = &request.headers;
    request.method == Method::GET
        && request.version >= Version::HTTP_11
        && lists(headers, &CONNECTION, "upgrade")
        && lists(headers, &UPGRADE, "websocket")
}

/// The answer that begins the WebSocket, or why there is none.
pub(super) fn accept(request: &Parts) -> Result<Response, Rejection> {
    let headers = &request.headers;
    if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(required());
    }
    let bad = |message: &str| Rejection::new(Reason::BadRequest, message);
    let key = only(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| {
            BASE64_STANDARD
                .decode(key)
                .is_ok_and(|key| key.len() == KEY)
        })
        .ok_or_else(|| bad("a WebSocket needs one Sec-WebSocket-Key, of 16 bytes in base64"))?;
    if has_body(headers) {
        return Err(bad("a request for a WebSocket has no body"));
    }
    let accepted = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| bad("the Sec-WebSocket-Key cannot be answered"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    Ok(response)
}

/// That there is nothing here without a WebSocket.
pub(super) fn required() -> Rejection {
    let message = "connect with a WebSocket (version 13); \
                   without one there are /rooms/{room}/events and /rooms/{room}/messages";
    Rejection::new(Reason::UpgradeRequired, message)
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
