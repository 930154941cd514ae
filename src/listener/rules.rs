//! What HTTP itself asks of a request, before anybody looks at what it wants; and what is the same
//! for every path: letters that are percent-encoded, and the methods that a path has.

use axum::{body::Body, response::Response};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri, Version,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName,
        HeaderValue, TRANSFER_ENCODING,
    },
    http::uri::{Authority, PathAndQuery},
};

/// The methods that this server knows, for a question about the server as a whole.
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,POST,DELETE,OPTIONS");

/// Why a request is no proper one, for a person.
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() >= Version::HTTP_11 => {
            return Some("the request has no Host: HTTP/1.1 needs one");
        }
        (Some(_), Some(_)) => return Some("the request has more than one Host"),
        (Some(host), None) if !is_host(host) => {
            return Some("the Host is not HOST or HOST:PORT");
        }
        _ => {}
    }
    let coded = headers.get(TRANSFER_ENCODING);
    if coded.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("of all transfer encodings only chunked is understood");
    }
    None
}

fn is_host(host: &HeaderValue) -> bool {
    let authority = host.to_str().ok().map(str::parse::<Authority>);
    authority.is_some_and(|parsed| parsed.is_ok_and(|host| !host.as_str().contains('@')))
}

/// How long the body is, if the head says that.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a body follows the head.
pub(crate) fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || content_length(headers).is_some_and(|length| length > 0)
}

/// Whether a header that is a list has an element, in any case: a list may be one line or many.
/// Parameters of an element (`;q=1`) are not part of it.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    elements(headers, name).any(|other| {
        let bare = other.split(';').next().unwrap_or_default();
        bare.trim().eq_ignore_ascii_case(element)
    })
}

/// The elements of a header that is a list, on one line or many. Empty ones do not count.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// An answer to a request that is no proper one; the connection ends with it.
pub(super) fn malformed(message: &str) -> Response {
    // Errors of the internal port have the message outside, too.
    let body = format!(
        r#"{{"message":"{message}","error":{{"reason":"bad_request","message":"{message}"}}}}"#
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// `OPTIONS *`: which methods the server has at all.
pub(super) fn asks_for_methods<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.uri().path() == "*"
}

/// The answer to that.
pub(super) fn methods() -> Response {
    no_content(METHODS)
}

/// A path that has no such method says which it has. OPTIONS asks for just that.
pub(super) fn finish(is_options: bool, mut response: Response) -> Response {
    let Some(allow) = response.headers().get(ALLOW) else {
        return response;
    };
    let mut allow = allow.as_bytes().to_vec();
    if !allow.is_empty() {
        allow.push(b',');
    }
    allow.extend(b"OPTIONS");
    let Ok(allow) = HeaderValue::from_bytes(&allow) else {
        return response;
    };
    if is_options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        return no_content(allow);
    }
    response.headers_mut().insert(ALLOW, allow);
    response
}

fn no_content(allow: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// The same address with letters, digits, `-`, `.`, `_` and `~` as themselves where they were
/// percent-encoded in the path (RFC 3986, 6.2.2.2); what is encoded for a reason stays so.
pub(super) fn normal(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains('%') {
        return None;
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        normal.push_str(plain);
        let byte = encoded
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => {
                normal.push(c);
                rest = &encoded[2..];
            }
            _ => {
                normal.push('%');
                rest = encoded;
            }
        }
    }
    normal.push_str(rest);
    if let Some(query) = uri.query() {
        normal = format!("{normal}?{query}");
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(normal).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_no_encoding_is_decoded_and_only_in_the_path() {
        for (from, to) in [
            ("/rooms/%61%61a/%68istory?x=%61", "/rooms/aaa/history?x=%61"),
            ("/a%2Fb%00%zz%6", "/a%2Fb%00%zz%6"),
            ("/%2561", "/%2561"),
            ("/a%7eb%2D%5f%2e", "/a~b-_."),
            ("http://host/%61?%61", "http://host/a?%61"),
        ] {
            let decoded = normal(&from.parse().unwrap());
            assert_eq!(
                decoded.map(|uri| uri.to_string()).as_deref(),
                Some(to),
                "{from}"
            );
        }
        assert_eq!(normal(&"/rooms/aaa".parse().unwrap()), None);
    }

    #[test]
    fn a_list_may_be_one_line_or_many() {
        let mut headers = HeaderMap::new();
        for line in ["keep-alive, ", "foo ,UPGRADE;q=1", "x"] {
            headers.append(CONNECTION, HeaderValue::from_static(line));
        }
        assert!(lists(&headers, &CONNECTION, "upgrade") && lists(&headers, &CONNECTION, "x"));
        assert!(!lists(&headers, &CONNECTION, "keep"));
        assert_eq!(elements(&headers, &CONNECTION).count(), 4);
    }
}
