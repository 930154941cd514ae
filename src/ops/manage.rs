//! Management over HTTP: what operators may ask, and the little that they may do. What stands behind it is an [`Operator`], which is there once the
//! node runs.

use super::auth::Guard;
use crate::metric;
use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// What a node can be asked and told by those who operate it. Every call returns within a bounded time.
#[async_trait]
pub trait Operator: Send + Sync {
    /// The nodes of the cluster, as this one sees it.
    fn nodes(&self) -> Value;
    /// Who writes which shard.
    async fn shards(&self) -> Result<Value, Problem>;
    /// Where a room is, how far it goes, and who is there.
    async fn room(&self, room: &str) -> Result<Value, Problem>;
    /// The sessions that this node has in a room.
    fn sessions(&self, room: &str) -> Result<Value, Problem>;
    /// Ends all sessions of a user in a room, at whichever nodes they are. `Ok` when the user has left.
    async fn expel(&self, room: &str, user: &str) -> Result<Value, Problem>;
    /// Begins to stop this node in order.
    fn drain(&self) -> Value;
}

/// Why an operator does not get what was asked.
#[derive(Debug)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// The same in a word.
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// After how many seconds trying again may help.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem that trying again does not help.
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Something is away at the moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (
            self.status,
            Json(json!({"error": {"reason": self.reason, "message": self.message}})),
        )
            .into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"safe-chat\", charset=\"UTF-8\""),
            );
        }
        response
    }
}

/// The place where the node's operator appears.
pub type Desk = Arc<OnceLock<Arc<dyn Operator>>>;

pub(super) fn routes(guard: Guard, desk: Desk) -> Router {
    Router::new()
        .route("/cluster/nodes", get(nodes))
        .route("/cluster/shards", get(shards))
        .route("/rooms/{room}", get(room))
        .route("/rooms/{room}/sessions", get(sessions))
        .route("/rooms/{room}/users/{user}", delete(expel))
        .route("/drain", post(drain))
        .with_state(desk)
        .route_layer(from_fn_with_state(Arc::new(guard), check))
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            metric::MANAGEMENT_REFUSED.of(problem.reason).increment(1);
            problem.into_response()
        }
    }
}

fn operator(desk: &Desk) -> Result<&dyn Operator, Problem> {
    desk.get()
        .map(|operator| &**operator)
        .ok_or_else(|| Problem::unavailable("the node is starting: see /ready"))
}

type Answer = Result<Json<Value>, Problem>;

async fn nodes(State(desk): State<Desk>) -> Answer {
    Ok(Json(operator(&desk)?.nodes()))
}

async fn shards(State(desk): State<Desk>) -> Answer {
    Ok(Json(operator(&desk)?.shards().await?))
}

async fn room(State(desk): State<Desk>, Path(room): Path<String>) -> Answer {
    Ok(Json(operator(&desk)?.room(&room).await?))
}

async fn sessions(State(desk): State<Desk>, Path(room): Path<String>) -> Answer {
    Ok(Json(operator(&desk)?.sessions(&room)?))
}

async fn expel(State(desk): State<Desk>, Path((room, user)): Path<(String, String)>) -> Answer {
    Ok(Json(operator(&desk)?.expel(&room, &user).await?))
}

async fn drain(State(desk): State<Desk>) -> Result<(StatusCode, Json<Value>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(operator(&desk)?.drain())))
}
