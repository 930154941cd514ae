//! HTTP: the upgrade to a WebSocket, what works without one, and the page. Every refusal is a JSON answer.

mod answer;
mod chat;
mod events;
mod guard;
mod origin;
mod page;
pub mod request;
mod rooms;

pub(super) use origin::Origins;

use super::Handle;
use crate::{
    door::Door,
    room::{Reason, Rejection},
};
use answer::refuse;
use axum::{
    Router,
    http::{HeaderValue, header::ACCESS_CONTROL_ALLOW_ORIGIN},
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::{get, post},
};
use guard::Guard;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves clients until `shutdown`; then drains, while new ones are refused with an answer, and ends.
pub(super) async fn serve(handle: Handle, listener: TcpListener, shutdown: CancellationToken) {
    let guard = Guard::new(handle.clone());
    let routes =
        router(handle.clone(), &guard).layer(from_fn_with_state(guard.clone(), guard::guard));
    let door = Door::new(routes, |peer| guard.judge(peer), handle.0.halt.clone());
    // Connections are accepted until the drain is over: a client gets its `draining` as an answer.
    door.serve(listener, async {
        shutdown.cancelled().await;
        handle.drain().await
    })
    .await;
}

fn router(handle: Handle, guard: &Arc<Guard>) -> Router {
    // What can be read without a key can be read by any page.
    let open = Router::new()
        .route("/rooms/{room}/events", get(events::events))
        .route("/rooms/{room}/history", get(rooms::history))
        .layer(map_response(any_origin));
    // What is done in somebody's name only by pages that may.
    let named = Router::new()
        .route("/chat/{room}/user/{user}", get(chat::chat))
        .route("/rooms/{room}/messages", post(rooms::message))
        .route_layer(from_fn_with_state(guard.clone(), origin::check));
    Router::new()
        .merge(named)
        .merge(open)
        .merge(page::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(handle)
}

async fn any_origin(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn not_found() -> Response {
    refuse(&Rejection::new(
        Reason::NotFound,
        "there is nothing at this path: try /, or /chat/{room}/user/{user}?pub={key}",
    ))
}

async fn wrong_method() -> Response {
    refuse(&Rejection::new(
        Reason::MethodNotAllowed,
        "this path has no such method: see the header Allow",
    ))
}
