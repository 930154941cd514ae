//! Management over HTTP: what operators may ask, and the little that they may do. What stands
//! behind it is an [`Operator`], which is there once the node runs.

mod cluster;
mod error;
mod operation;
mod rooms;

pub use error::ApiError;

use super::auth::Guard;
use crate::metric;
use async_trait::async_trait;
use axum::{
    Json, Router,
    body::Body,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use futures::{StreamExt, stream::BoxStream};
use serde::Deserialize;
use serde_json::Value;
use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

/// What a node can be asked and told by those who operate it. Every call returns within a bounded
/// time. Nodes go by their address (with or without `akka://` and `safe-chat@`), or by their name.
#[async_trait]
pub trait Operator: Send + Sync {
    /// The members of the cluster, as this one sees it.
    fn members(&self) -> Value;
    /// One of them.
    fn member(&self, member: &str) -> Result<Value, ApiError>;
    /// Tells a member to stop in order: its shards and clients go elsewhere first.
    async fn leave(&self, member: &str) -> Result<Value, ApiError>;
    /// Declares a member gone, so that others take its shards at once.
    async fn down(&self, member: &str) -> Result<Value, ApiError>;
    /// The shards that this node writes, with how many rooms of each are in memory.
    fn region(&self) -> Value;
    /// The same of all nodes.
    async fn stats(&self) -> Result<Value, ApiError>;
    /// What changes in the cluster, beginning with how it is now; of these types, or of all.
    fn domain_events(&self, types: &[String]) -> Result<BoxStream<'static, DomainEvent>, ApiError>;
    /// The members that a new one could turn to.
    fn seed_nodes(&self) -> Value;
    /// The nodes of the cluster, as this one sees it.
    fn nodes(&self) -> Value;
    /// Who writes which shard.
    async fn shards(&self) -> Result<Value, ApiError>;
    /// A page of the rooms that were ever written: those after one, at most `limit`.
    async fn rooms(&self, after: Option<&str>, limit: usize) -> Result<Value, ApiError>;
    /// Where a room is, how far it goes, who is there, and what is stored of it.
    async fn room(&self, room: &str) -> Result<Value, ApiError>;
    /// The sessions that this node has in a room.
    fn sessions(&self, room: &str) -> Result<Value, ApiError>;
    /// Ends all sessions of a user in a room, at whichever nodes they are. `Ok` when the user has
    /// left.
    async fn expel(&self, room: &str, user: &str) -> Result<Value, ApiError>;
    /// Begins to send sessions elsewhere, so many per second in all; they are told to come back.
    async fn disconnect(&self, whom: Whom, per_second: u32) -> Result<Value, ApiError>;
    /// Begins to move shards to an even assignment, so many per second. `dry`: only says which.
    async fn rebalance(&self, per_second: u32, dry: bool) -> Result<Value, ApiError>;
    /// What happens to the messages of a room or a user from now on, for so many seconds.
    fn trace(
        &self,
        room: Option<&str>,
        user: Option<&str>,
        seconds: u64,
    ) -> Result<BoxStream<'static, Value>, ApiError>;
    /// Begins to stop this node in order.
    fn drain(&self) -> Value;
}

/// Whose sessions are sent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those of one node.
    Node(String),
    /// Those of all.
    All,
}

/// Something that happened to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainEvent {
    /// Its type.
    pub kind: &'static str,
    /// All about it, its type too.
    pub data: Value,
}

/// Where the node's operator appears.
pub type OperatorSlot = Arc<OnceLock<Arc<dyn Operator>>>;

pub(super) fn routes(guard: Guard, slot: OperatorSlot) -> Router {
    Router::new()
        .merge(cluster::routes())
        .route("/nodes", get(nodes))
        .route("/shards", get(shards))
        .route("/rooms", get(rooms::page))
        .route("/rooms/{room}", get(rooms::room))
        .route("/rooms/{room}/sessions", get(rooms::sessions))
        .route("/rooms/{room}/users/{user}", delete(rooms::expel))
        .route("/disconnect", post(disconnect))
        .route("/rebalance", post(rebalance))
        .route("/trace", get(trace))
        .route("/drain", post(drain))
        .with_state(slot)
        .route_layer(from_fn_with_state(Arc::new(guard), check))
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            metric::MANAGEMENT_REFUSED.of(error.reason).increment(1);
            error.into_response()
        }
    }
}

fn operator(slot: &OperatorSlot) -> Result<&dyn Operator, ApiError> {
    slot.get()
        .map(|operator| &**operator)
        .ok_or_else(|| ApiError::unavailable("the node is starting: see /ready"))
}

type Answer = Result<Json<Value>, ApiError>;

async fn nodes(State(slot): State<OperatorSlot>) -> Answer {
    Ok(Json(operator(&slot)?.nodes()))
}

async fn shards(State(slot): State<OperatorSlot>) -> Answer {
    Ok(Json(operator(&slot)?.shards().await?))
}

/// Whose sessions, and how many per second.
#[derive(Deserialize)]
struct Disconnect {
    node: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default = "hundred")]
    rate: u32,
}

fn hundred() -> u32 {
    100
}

async fn disconnect(State(slot): State<OperatorSlot>, asked: Asked<Disconnect>) -> Answer {
    let Disconnect { node, all, rate } = query(asked)?;
    let whom = match (node, all) {
        (Some(node), false) => Whom::Node(node),
        (None, true) => Whom::All,
        _ => {
            let message = "say whose sessions: ?node=NODE, or ?all=true";
            return Err(ApiError::bad("bad_query", message));
        }
    };
    Ok(Json(operator(&slot)?.disconnect(whom, rate).await?))
}

/// How many shards per second, and whether they are moved or only named.
#[derive(Deserialize)]
struct Rebalance {
    #[serde(default = "four")]
    rate: u32,
    #[serde(default)]
    dry_run: bool,
}

fn four() -> u32 {
    4
}

async fn rebalance(State(slot): State<OperatorSlot>, asked: Asked<Rebalance>) -> Answer {
    let Rebalance { rate, dry_run } = query(asked)?;
    Ok(Json(operator(&slot)?.rebalance(rate, dry_run).await?))
}

/// Whose messages, and for how long.
#[derive(Deserialize)]
struct Trace {
    room: Option<String>,
    user: Option<String>,
    #[serde(default = "sixty")]
    seconds: u64,
}

fn sixty() -> u64 {
    60
}

/// One JSON object per line, as it happens.
async fn trace(
    State(slot): State<OperatorSlot>,
    asked: Asked<Trace>,
) -> Result<Response, ApiError> {
    let Trace {
        room,
        user,
        seconds,
    } = query(asked)?;
    let steps = operator(&slot)?.trace(room.as_deref(), user.as_deref(), seconds)?;
    let lines = steps.map(|step| Ok::<_, Infallible>(format!("{step}\n")));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// A query, or why it makes no sense.
type Asked<T> = Result<Query<T>, QueryRejection>;

fn query<T>(asked: Asked<T>) -> Result<T, ApiError> {
    let Query(asked) = asked.map_err(|why| ApiError::bad("bad_query", why.body_text()))?;
    Ok(asked)
}

async fn drain(State(slot): State<OperatorSlot>) -> Result<(StatusCode, Json<Value>), ApiError> {
    Ok((StatusCode::ACCEPTED, Json(operator(&slot)?.drain())))
}
