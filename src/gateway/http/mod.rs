//! HTTP: the upgrade to a WebSocket, what works without one, and the page. Every refusal is a JSON
//! answer.

mod answer;
mod chat;
mod credentials;
mod events;
mod gate;
mod guard;
mod handshake;
mod hosts;
mod keys;
mod origin;
mod page;
pub mod request;
mod rooms;
mod signed;
mod upgrade;
mod welcomes;

pub(super) use origin::Origins;
pub(super) use page::may_embed;

use super::{Handle, Port, websocket::Loops};
use crate::{
    listener::Listener,
    room::{Reason, Rejection},
};
use answer::{come_back, is_event_source, refuse};
use axum::{
    Router,
    extract::{Extension, Request},
    http::Uri,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{Redirect, Response},
    routing::{get, post},
};
use guard::Guard;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Serves clients until `shutdown`; then drains, while new ones are refused with an answer, and
/// ends.
pub(super) async fn serve(handle: Handle, port: Port, shutdown: CancellationToken) {
    let guard = Guard::new(handle.clone());
    // As a service, so that its answers say which methods a path has before they are looked at.
    let mut routes = Router::new()
        .fallback_service(router(handle.clone(), &guard))
        .layer(from_fn_with_state(guard.clone(), origin::preflight))
        .layer(from_fn_with_state(guard.clone(), guard::guard))
        .layer(from_fn(patient));
    // Until this function ends.
    let running = match Loops::start(handle.0.config.loops()) {
        Ok(running) => Some(running),
        Err(error) => {
            tracing::error!(%error, "no threads for WebSockets: each gets a task, which is slower");
            None
        }
    };
    if let Some(running) = &running {
        routes = routes.layer(Extension(running.loops()));
    }
    let keep_alive = handle.0.config.keep_alive();
    let halt = handle.0.halt.clone();
    let judge = move |peer| guard.judge(peer);
    let server = Listener::new(routes, judge, keep_alive, port.tls(), halt);
    // Connections are accepted until the drain is over: a client gets its `draining` as an answer.
    server
        .serve(port.listener, async {
            shutdown.cancelled().await;
            handle.drain().await
        })
        .await;
}

/// What an `EventSource` may try again is no refusal to it.
async fn patient(request: Request, next: Next) -> Response {
    let source = is_event_source(request.method(), request.headers());
    let response = next.run(request).await;
    if source {
        come_back(response)
    } else {
        response
    }
}

fn router(handle: Handle, guard: &Arc<Guard>) -> Router {
    let base = handle.0.config.base_path.clone();
    let internal_port = handle.0.config.internal_port;
    // What is of a room, or of a person, only for pages that may.
    let of_rooms = Router::new()
        .route("/rooms/{room}/events", get(events::events))
        .route("/rooms/{room}/history", get(rooms::history))
        .route("/rooms/{room}/group", get(rooms::group))
        .route("/chat/{room}/user/{user}", get(chat::chat))
        .route("/rooms/{room}/messages", post(rooms::message))
        .merge(keys::routes())
        .merge(welcomes::routes())
        .route_layer(from_fn_with_state(guard.clone(), origin::check));
    let routes = Router::new()
        .merge(of_rooms)
        .merge(page::routes(&handle.0.config));
    below(&base, routes)
        .fallback(async move |uri: Uri| not_found(&base, internal_port, &uri))
        .method_not_allowed_fallback(wrong_method)
        .with_state(handle)
}

/// The routes below a path. They see their paths without it. Links of the page are relative, so a
/// browser must ask for the page with a slash at the end.
fn below(base: &str, routes: Router<Handle>) -> Router<Handle> {
    if base.is_empty() {
        return routes;
    }
    let page = format!("{base}/");
    Router::new()
        .nest(&page, routes)
        .route(base, get(async move || Redirect::temporary(&page)))
}

/// Paths of the internal port, by their first part.
const INTERNAL: [&str; 14] = [
    "cluster",
    "bootstrap",
    "health",
    "ready",
    "live",
    "metrics",
    "nodes",
    "shards",
    "rooms",
    "drain",
    "trace",
    "dashboard",
    "overview",
    "openapi.json",
];

fn not_found(base: &str, internal_port: Option<u16>, uri: &Uri) -> Response {
    let first = uri.path().split('/').nth(1).unwrap_or_default();
    let message = match internal_port {
        Some(port) if INTERNAL.contains(&first) => format!(
            "this is the port for clients: the node is managed on its internal port, {port}, \
             at the same path"
        ),
        _ => format!(
            "there is nothing at this path: try {base}/, or \
             {base}/chat/{{room}}/user/{{user}}?pub={{key}}"
        ),
    };
    refuse(&Rejection::new(Reason::NotFound, message))
}

async fn wrong_method() -> Response {
    refuse(&Rejection::new(
        Reason::MethodNotAllowed,
        "this path has no such method: see the header Allow",
    ))
}
