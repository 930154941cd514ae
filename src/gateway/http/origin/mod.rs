//! Which web pages may read rooms, open sessions and send messages here. A browser says with each
//! WebSocket and each request across sites which page asked for it, and asks nobody whether the page
//! may: without this check any page that a user visits could act with what the user's browser
//! reaches (cross-site WebSocket hijacking). Programs other than browsers send no Origin, or
//! whichever they like: this protects users, not the service.
//!
//! A page whose own name leads here shows it by that name ([`names`]).
//!
//! What a page may read is said by CORS (Fetch, 3.2): [`check`] adds it to answers, and
//! [`preflight`] answers the questions that browsers ask before.

mod names;
mod site;
mod told;

pub(super) use names::Names;
pub(in crate::gateway) use site::Origins;
pub(super) use told::Told;

use super::{answer::refuse, guard::Guard, upgrade};
use crate::{
    gateway::metrics,
    room::{Reason, Rejection},
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
            ALLOW, HOST, ORIGIN, REFERER, VARY,
        },
        request::Parts,
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};
use site::Site;
use std::sync::Arc;

/// What pages may send besides what every page may.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, chat-key, content-type, last-event-id, safe-chat-proof",
);
/// Seconds that a browser may remember the answer to its question.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// What is wrong with a request that may not come in.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// It is of a page of this other site.
    Page(String),
    /// It calls this server by a name that is not its own.
    Name,
}

/// What is wrong with a request, if it may not come in.
fn fault(origins: &Origins, names: &Names, request: &Parts) -> Option<Fault> {
    if origins.are_any() {
        return None;
    }
    let here = here(request);
    let of_name = || (!names.include(here)).then_some(Fault::Name);
    let mut all = request.headers.get_all(ORIGIN).iter();
    let (first, more) = (all.next(), all.next());
    let Some(origin) = first else {
        return match asked_from(request) {
            Some(site) if origins.name(&site) => None,
            Some(site) if !Site::is_own(&site, here) => Some(Fault::Page(site)),
            _ => of_name(),
        };
    };
    match origin.to_str().ok().filter(|_| more.is_none()) {
        Some(origin) if origins.name(origin) => None,
        Some(origin) if Site::is_own(origin, here) => of_name(),
        text => Some(Fault::Page(text.unwrap_or("?").to_owned())),
    }
}

/// The site of the page that asks for a session without opening one: then a browser sends no Origin
/// to the page's own server, although it will with the WebSocket. To the browser it may be another
/// one than to us: a proxy between may rewrite Host. What else stands in the page's address is its
/// visitor's affair, and is not kept.
fn asked_from(request: &Parts) -> Option<String> {
    let page = request.headers.get(REFERER)?.to_str().ok()?;
    let asks = request.method == Method::GET && !upgrade::is_wanted(request);
    Site::of_page(page).filter(|_| asks && is_of_session(request))
}

/// Whether it is about a session. A link of another site may lead to a room's history, which that
/// site does not see.
fn is_of_session(request: &Parts) -> bool {
    request.uri.path().starts_with("/chat/")
}

/// What the client calls this server.
fn here(request: &Parts) -> &str {
    let host = request.headers.get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    request.uri.authority().map_or(host, Authority::as_str)
}

/// Refuses requests that a page of another site asks for, and lets pages that may come in read
/// their answers.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = may(&guard, &parts) {
        return *refusal;
    }
    let shown = shown_to(&guard, &parts.headers);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(origin) = shown
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        show(&mut response, origin);
    }
    response
}

/// Answers a browser that asks whether a page may send a request that is out of the ordinary.
pub(super) async fn preflight(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    if let Err(refusal) = may(&guard, &parts) {
        return *refusal;
    }
    let shown = shown_to(&guard, &parts.headers);
    let answer = next.run(Request::from_parts(parts, body)).await;
    // A path that has no OPTIONS says which methods it has.
    let (Some(allow), Some(origin)) = (answer.headers().get(ALLOW).cloned(), shown) else {
        return answer;
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    show(&mut response, origin);
    response
}

/// Whether a request may come in; else its refusal, of which the log is told once in a while.
fn may(guard: &Guard, parts: &Parts) -> Result<(), Box<Response>> {
    let Some(fault) = fault(guard.origins(), guard.names(), parts) else {
        return Ok(());
    };
    metrics::limited("origin");
    guard.told.tell(&fault, here(parts));
    let message = match fault {
        Fault::Page(_) => {
            "a page of this origin may not come in: the operator names others than the server's \
             own in gateway.allowed_origins (a proxy must pass Host on)"
        }
        Fault::Name => {
            "this server is not known by the name that the request calls it: the operator names \
             it in gateway.public_hosts"
        }
    };
    Err(Box::new(refuse(&Rejection::new(
        Reason::BadOrigin,
        message,
    ))))
}

/// Which pages may read the answer to a page that may come in.
fn shown_to(guard: &Guard, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    match guard.origins().are_any() {
        true => Some(HeaderValue::from_static("*")),
        false => Some(origin.clone()),
    }
}

fn show(response: &mut Response, origin: HeaderValue) {
    let headers = response.headers_mut();
    // A refusal may be read by all.
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // A cache must not give it to others.
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Config;
    use axum::http::HeaderName;

    fn names(listens: &str) -> Names {
        Names::of(&Config {
            host: listens.into(),
            ..Config::default()
        })
    }

    fn request(host: &'static str) -> Parts {
        let path = axum::http::Request::get("/chat/aaa/user/harry");
        let (mut parts, ()) = path.body(()).unwrap().into_parts();
        parts.headers.insert(HOST, HeaderValue::from_static(host));
        parts
    }

    #[test]
    fn a_question_of_a_page_is_from_where_the_page_is() {
        let origins = Origins::parse(&["https://app.example".into()]).unwrap();
        let fault = |request: &Parts| fault(&origins, &names("0.0.0.0"), request).is_some();
        assert!(!fault(&request("chat.example")), "a program");
        for (page, allowed) in [
            ("http://chat.example/room?x=1", true),
            ("https://app.example/", true),
            ("http://public.example/", false),
            ("about:blank", true),
        ] {
            let mut parts = request("chat.example");
            parts
                .headers
                .insert(REFERER, HeaderValue::from_static(page));
            assert_eq!(!fault(&parts), allowed, "{page}");
            parts.uri = "/rooms/aaa/history".parse().unwrap();
            assert!(!fault(&parts), "a link on {page}");
        }
        let mut elsewhere = request("backend:8080");
        elsewhere.uri = "http://chat.example/x".parse().unwrap();
        let origin = HeaderValue::from_static("http://chat.example");
        elsewhere.headers.insert(ORIGIN, origin.clone());
        assert!(!fault(&elsewhere), "the target counts, not Host");
        elsewhere.headers.append(ORIGIN, origin);
        assert!(fault(&elsewhere), "two of them");
    }

    #[test]
    fn nothing_is_kept_of_a_page_but_its_site() {
        let mut parts = request("chat.example");
        let page = HeaderValue::from_static("https://other.example:81/private?token=secret");
        parts.headers.insert(REFERER, page);
        let found = fault(&Origins::default(), &names("0.0.0.0"), &parts);
        assert_eq!(found, Some(Fault::Page("https://other.example:81".into())));
    }

    #[test]
    fn a_page_whose_own_name_leads_here_is_of_another_site() {
        let origins = Origins::parse(&["https://app.example".into()]).unwrap();
        let with = |name: HeaderName, page: &'static str| {
            let mut parts = request("evil.example:8080");
            parts.headers.insert(name, HeaderValue::from_static(page));
            parts
        };
        let (page, here) = ("http://evil.example:8080", names("127.0.0.1"));
        let is_in = |request: &Parts| fault(&origins, &here, request).is_none();
        for rebound in [
            // What it reads says nothing of a page.
            request("evil.example:8080"),
            with(ORIGIN, page),
            with(REFERER, page),
        ] {
            let found = fault(&origins, &here, &rebound);
            assert_eq!(found, Some(Fault::Name), "{rebound:?}");
        }
        assert!(is_in(&with(ORIGIN, "https://app.example")), "it is named");
        assert!(is_in(&request("127.0.0.1:8080")) && is_in(&request("localhost")));
    }
}
