//! `GET /dashboard`: what happens in the cluster, live, for a person. One file, put together from
//! those beside this one, that needs nothing from elsewhere and asks this node's own routes.

use axum::{
    http::{
        HeaderValue,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// One module: what `figures.js` exports, `page.js` uses.
const SCRIPT: &str = concat!(include_str!("figures.js"), include_str!("page.js"));

/// A page for people: nodes, shards, rates and rooms, live
#[utoipa::path(
    get, path = "/dashboard", tag = "nodes",
    responses((status = 200, body = String, content_type = "text/html; charset=utf-8"))
)]
pub(super) async fn dashboard() -> Response {
    // Only what this answer itself carries may run, so nothing that is shown could.
    let nonce = format!("{:032x}", rand::random::<u128>());
    let page = PAGE
        .replace("{nonce}", &nonce)
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = page.into_response();
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&policy).expect("a policy is visible ASCII characters");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
