//! What a request brings to say who it is from. Keys and tokens do not have to stand in an address,
//! which others log: a header carries them, or the name of a subprotocol, for a browser can send no
//! other header with a WebSocket.

use super::request::Parameters;
use crate::{
    access::Credentials,
    gateway::Handle,
    room::{Key, Reason, Rejection, RoomId, Token},
    wire,
};
use axum::http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};

/// The header of the key.
pub(super) const KEY: HeaderName = HeaderName::from_static("chat-key");
/// What names of subprotocols begin with that are a key or a token.
const KEY_PROTOCOL: &str = "safechat.key.";
const TOKEN_PROTOCOL: &str = "safechat.token.";

/// What a request brings for the policy of a room. Whether its key is proven is known elsewhere.
pub(super) fn brought(
    handle: &Handle,
    headers: &HeaderMap,
    parameters: &Parameters,
    proven: bool,
) -> Credentials {
    let in_url = handle.0.access.takes_urls();
    let token = bearer(headers)
        .or_else(|| subprotocol(headers, TOKEN_PROTOCOL))
        .or_else(|| parameters.token().filter(|_| in_url));
    Credentials {
        token: token.map(Token::new),
        proven,
    }
}

/// The key of a request for a room. Where a token says who somebody is, none is looked at.
pub(super) fn key(
    handle: &Handle,
    room: &RoomId,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<Key, Rejection> {
    match handle.0.access.key_of_all(room) {
        Some(key) => Ok(key),
        None => named_key(headers, parameters),
    }
}

/// The key that a request names, whatever its room asks for.
pub(super) fn named_key(headers: &HeaderMap, parameters: &Parameters) -> Result<Key, Rejection> {
    let header = headers.get_all(KEY).iter().next_back();
    let header = header.map(|value| value.to_str().unwrap_or("?"));
    let bad = |why: &str| Rejection::new(Reason::BadPub, why);
    let key = match header.or_else(|| subprotocol(headers, KEY_PROTOCOL)) {
        Some(text) => Key::parse(text).map_err(|why| bad(&why.to_string())),
        None => parameters.key(),
    };
    key.and_then(|key| match key.is_vouched() {
        true => Err(bad(
            "this key stands for those who have a token: bring another one",
        )),
        false => Ok(key),
    })
}

/// The token of the last `Authorization` that has one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(AUTHORIZATION).iter();
    let mut bearers = all.filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    bearers.next_back()
}

fn subprotocol<'a>(headers: &'a HeaderMap, beginning: &str) -> Option<&'a str> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    wire::brought(offered.filter_map(|value| value.to_str().ok()), beginning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_stands_in_a_header_or_in_the_name_of_a_subprotocol() {
        for (lines, token) in [
            (&[("authorization", "Bearer a.b.c")][..], Some("a.b.c")),
            (&[("authorization", "bearer  a.b.c ")], Some("a.b.c")),
            (&[("authorization", "Basic aGk6aG8=")], None),
            (
                &[
                    ("authorization", "Basic aGk="),
                    ("authorization", "Bearer x"),
                ],
                Some("x"),
            ),
            (&[("authorization", "Bearer")], None),
        ] {
            assert_eq!(bearer(&headers(lines)), token, "{lines:?}");
        }
        let offered = headers(&[
            (
                "sec-websocket-protocol",
                "safechat.v1+json, safechat.token.a.b.c",
            ),
            ("sec-websocket-protocol", "safechat.key.K"),
        ]);
        assert_eq!(subprotocol(&offered, TOKEN_PROTOCOL), Some("a.b.c"));
        assert_eq!(subprotocol(&offered, KEY_PROTOCOL), Some("K"));
    }
}
