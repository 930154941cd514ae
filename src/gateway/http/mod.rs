//! HTTP: the upgrade to a WebSocket, what works without one, and the page. One hyper connection per client with small buffers and
//! deadlines; every refusal is a JSON answer.

mod answer;
mod chat;
mod events;
mod page;
pub mod request;
mod rooms;

use super::Handle;
use crate::room::{Reason, Rejection};
use answer::refuse;
use axum::{
    Router,
    http::{HeaderValue, header::ACCESS_CONTROL_ALLOW_ORIGIN},
    middleware::map_response,
    response::Response,
    routing::{get, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a request's head may take to arrive.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request's head, at most.
const HEAD: usize = 16 * 1024;
/// How long open requests may take after the drain.
const FINISH: Duration = Duration::from_secs(5);
/// After an accept that failed (no file descriptors left), before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves clients until `shutdown`; then drains, while new ones are refused with an answer, and ends.
pub(super) async fn serve(handle: Handle, listener: TcpListener, shutdown: CancellationToken) {
    let connections = Connections {
        router: router(handle.clone()),
        permits: Arc::new(Semaphore::new(handle.0.config.max_connections)),
        tasks: TaskTracker::new(),
        finish: CancellationToken::new(),
        halt: handle.0.halt.clone(),
    };
    tokio::select! {
        biased; // Connections are accepted until the drain is over: a client gets its `draining` as an answer.
        () = async { shutdown.cancelled().await; handle.drain().await } => {}
        () = connections.accept(&listener) => {}
    }
    drop(listener);
    connections.finish.cancel();
    connections.tasks.close();
    if timeout(FINISH, connections.tasks.wait()).await.is_err() {
        tracing::debug!(left = connections.tasks.len(), "connections that were still open are dropped");
    }
}

struct Connections {
    router: Router,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    finish: CancellationToken,
    halt: CancellationToken,
}

impl Connections {
    async fn accept(&self, listener: &TcpListener) {
        loop {
            let permit = self.permits.clone().acquire_owned().await.expect("never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (connection, halt) = (connection(stream, self.router.clone(), self.finish.clone()), self.halt.clone());
                    self.tasks.spawn(async move {
                        halt.run_until_cancelled(connection).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, finish: CancellationToken) {
    // Without it small frames wait for acknowledgements. A connection that is gone already shows below.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades());
    let result = tokio::select! {
        biased; // The end is waited for only while nothing else is to do.
        result = serving.as_mut() => result,
        () = finish.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended");
    }
}

fn router(handle: Handle) -> Router {
    // What can be read without a key can be read by any page.
    let open = Router::new()
        .route("/rooms/{room}/events", get(events::events))
        .route("/rooms/{room}/history", get(rooms::history))
        .layer(map_response(any_origin));
    Router::new()
        .route("/chat/{room}/user/{user}", get(chat::chat))
        .route("/rooms/{room}/messages", post(rooms::message))
        .merge(open)
        .merge(page::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(handle)
}

async fn any_origin(mut response: Response) -> Response {
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn not_found() -> Response {
    refuse(&Rejection::new(Reason::NotFound, "there is nothing at this path: try /, or /chat/{room}/user/{user}?pub={key}"))
}

async fn wrong_method() -> Response {
    refuse(&Rejection::new(Reason::MethodNotAllowed, "this path has no such method: see the header Allow"))
}
