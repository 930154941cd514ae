//! The page at `/` and its files, out of the binary.

use crate::gateway::Handle;
use axum::{
    Router,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Nothing but the page's own files and its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone, Copy)]
struct File {
    kind: &'static str,
    content: &'static str,
}

const FILES: [(&str, File); 4] = [
    ("/", File { kind: "text/html; charset=utf-8", content: include_str!("../../../web/index.html") }),
    ("/app.js", File { kind: "text/javascript; charset=utf-8", content: include_str!("../../../web/app.js") }),
    ("/style.css", File { kind: "text/css; charset=utf-8", content: include_str!("../../../web/style.css") }),
    ("/favicon.svg", File { kind: "image/svg+xml", content: include_str!("../../../web/favicon.svg") }),
];

pub(super) fn routes() -> Router<Handle> {
    FILES.into_iter().fold(Router::new(), |router, (path, file)| router.route(path, get(async move |headers| answer(file, &headers))))
}

/// A browser asks each time whether a file is still the same, so that a new version is seen at once.
fn answer(file: File, headers: &HeaderMap) -> Response {
    let mut hash = DefaultHasher::new();
    file.content.hash(&mut hash);
    let tag = format!("\"{:016x}\"", hash.finish());
    let same = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if same { StatusCode::NOT_MODIFIED.into_response() } else { file.content.into_response() };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits fit into a header"));
    response
}
