//! The page at `/` and its files, out of the binary.

use super::Origins;
use crate::gateway::{Config, Handle};
use axum::{
    Router,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Nothing but the page's own files and its own server. Its module of wasm runs, but no text does.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors";

/// Whether it can be named as a site that may show the page in a frame: `self`, `*` or an origin,
/// whose host may begin with `*.`.
pub(in crate::gateway) fn may_embed(site: &str) -> bool {
    let is_web = site.starts_with("http://") || site.starts_with("https://");
    let is_origin = || site.is_ascii() && Origins::parse(&[site.to_owned()]).is_ok();
    site == "self" || site == "*" || (is_web && is_origin())
}

/// The policy that a browser applies to the page.
fn policy(frame_ancestors: &[String]) -> HeaderValue {
    let sources: Vec<_> = match frame_ancestors {
        [] => vec!["'none'"],
        sites => sites
            .iter()
            .map(|site| if site == "self" { "'self'" } else { site })
            .collect(),
    };
    // What is no source is refused when the configuration is loaded.
    HeaderValue::from_str(&format!("{POLICY} {}", sources.join(" ")))
        .expect("origins are visible ASCII characters")
}

#[derive(Clone, Copy)]
struct File {
    kind: &'static str,
    /// How it is packed; every browser takes that.
    encoding: Option<&'static str>,
    content: &'static [u8],
}

macro_rules! file {
    ($path:literal = $file:literal, $kind:literal) => {
        (
            $path,
            File {
                kind: $kind,
                encoding: None,
                content: include_bytes!(concat!("../../../web", $file)),
            },
        )
    };
    ($script:literal) => {
        file!($script = $script, "text/javascript; charset=utf-8")
    };
}

const FILES: [(&str, File); 34] = [
    file!("/" = "/index.html", "text/html; charset=utf-8"),
    file!("/style.css" = "/style.css", "text/css; charset=utf-8"),
    file!("/favicon.svg" = "/favicon.svg", "image/svg+xml"),
    (
        "/seal_bg.wasm",
        File {
            kind: "application/wasm",
            encoding: Some("gzip"),
            content: include_bytes!("../../../web/seal_bg.wasm.gz"),
        },
    ),
    file!("/alone.js"),
    file!("/app.js"),
    file!("/asks.js"),
    file!("/card.js"),
    file!("/carry.js"),
    file!("/composer.js"),
    file!("/device.js"),
    file!("/drafts.js"),
    file!("/group.js"),
    file!("/identity.js"),
    file!("/journal.js"),
    file!("/keys.js"),
    file!("/link.js"),
    file!("/log.js"),
    file!("/notes.js"),
    file!("/outbox.js"),
    file!("/pending.js"),
    file!("/publishing.js"),
    file!("/qr.js"),
    file!("/refusals.js"),
    file!("/room.js"),
    file!("/rows.js"),
    file!("/screen.js"),
    file!("/seal.js"),
    file!("/sealed.js"),
    file!("/token.js"),
    file!("/tools.js"),
    file!("/turn.js"),
    file!("/vault.js"),
    file!("/wasm.js"),
];

pub(super) fn routes(config: &Config) -> Router<Handle> {
    let policy = policy(&config.frame_ancestors);
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, file)| {
            let policy = policy.clone();
            router.route(
                path,
                get(async move |headers| answer(file, policy, &headers)),
            )
        })
}

/// A browser asks each time whether a file is still the same, so that a new version is seen at
/// once.
fn answer(file: File, policy: HeaderValue, headers: &HeaderMap) -> Response {
    let mut hash = DefaultHasher::new();
    file.content.hash(&mut hash);
    let tag = format!("\"{:016x}\"", hash.finish());
    let same = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.content.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    if let Some(encoding) = file.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page that opened this one may not send it elsewhere.
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        ETAG,
        HeaderValue::from_str(&tag).expect("hexadecimal digits fit into a header"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn who_may_embed_the_page_is_named_by_origin() {
        for site in [
            "self",
            "*",
            "https://app.example",
            "https://*.app.example:8443",
        ] {
            assert!(may_embed(site), "{site}");
        }
        for site in [
            "",
            "none",
            "app.example",
            "https://app.example/path",
            "https://a;script-src *",
            "https://a b",
        ] {
            assert!(!may_embed(site), "{site}");
        }
        assert!(POLICY.ends_with("frame-ancestors"));
        let sites = ["self".to_owned(), "https://app.example".to_owned()];
        let policy = policy(&sites);
        assert!(
            policy
                .to_str()
                .unwrap()
                .ends_with("; frame-ancestors 'self' https://app.example")
        );
    }

    #[test]
    fn every_file_of_the_page_is_served_as_it_is() {
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/web")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if name == "index.html" {
                String::new()
            } else {
                name
            };
            let served = path.strip_suffix(".gz").unwrap_or(&path);
            let (_, file) = FILES
                .iter()
                .find(|(known, _)| &known[1..] == served)
                .unwrap_or_else(|| panic!("/{path} is not served"));
            let is_packed = file.encoding == Some("gzip");
            assert_eq!(is_packed, path.ends_with(".gz"), "/{path}");
            assert!(file.content == fs::read(entry.path()).unwrap(), "/{path}");
        }
    }
}
