//! Nodes and shards: what is where, and sending clients or shards elsewhere.

use super::{Answer, ApiError, By, OperatorSlot, Whom, extract::Query, operator};
use crate::ops::answer::{
    Disconnecting, Draining, Nodes, Overview, Rebalance, Refusal, Shards, TraceLine,
};
use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde::Deserialize;
use std::convert::Infallible;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<OperatorSlot> {
    OpenApiRouter::default()
        .routes(routes!(nodes))
        .routes(routes!(overview))
        .routes(routes!(shards))
        .routes(routes!(disconnect))
        .routes(routes!(rebalance))
        .routes(routes!(trace))
        .routes(routes!(drain))
}

/// All nodes, with whether each is reachable
///
/// And the shards of the node that is asked.
#[utoipa::path(get, path = "/nodes", tag = "nodes", responses((status = 200, body = Nodes)))]
async fn nodes(State(slot): State<OperatorSlot>) -> Answer<Nodes> {
    Ok(Json(operator(&slot)?.nodes()))
}

/// What every node says of itself: what the dashboard shows
///
/// Nodes are asked at the same time, and not longer than for a second; each takes its figures once
/// a second, however many ask.
#[utoipa::path(
    get, path = "/overview", tag = "nodes", responses((status = 200, body = Overview))
)]
async fn overview(State(slot): State<OperatorSlot>) -> Answer<Overview> {
    Ok(Json(operator(&slot)?.overview().await))
}

/// Owner, epoch and low watermark of every shard
#[utoipa::path(get, path = "/shards", tag = "nodes", responses((status = 200, body = Shards)))]
async fn shards(State(slot): State<OperatorSlot>) -> Answer<Shards> {
    Ok(Json(operator(&slot)?.shards().await?))
}

/// Whose sessions, and how many per second.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Disconnect {
    /// Those of this node: its address or its name.
    #[param(
        nullable = false,
        example = "safe-chat@10.0.0.7:8558",
        min_length = 1,
        max_length = 300
    )]
    node: Option<String>,
    /// Those of all nodes.
    #[serde(default)]
    all: bool,
    /// How many per second, of all nodes together.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 10_000, default = 100)]
    rate: u32,
}

fn hundred() -> u32 {
    100
}

/// Sends clients elsewhere, so many per second
///
/// They are told when to come back, and resume. Either `node` or `all=true` says whose. The rate is
/// that of all nodes together: each gateway does its part of it.
#[utoipa::path(
    post, path = "/disconnect", tag = "nodes", params(Disconnect),
    responses(
        (status = 200, body = Disconnecting, description = "It has begun."),
        (status = 404, body = Refusal, description = "There is no such node."),
        (status = 409, body = Refusal, description = "The node is doing that already."),
        (status = 501, body = Refusal, description = "The version of the node cannot do that."),
    )
)]
async fn disconnect(
    State(slot): State<OperatorSlot>,
    Extension(By(by)): Extension<By>,
    Query(asked): Query<Disconnect>,
) -> Answer<Disconnecting> {
    let Disconnect { node, all, rate } = asked;
    let whom = match (node, all) {
        (Some(node), false) => Whom::Node(node),
        (None, true) => Whom::All,
        _ => {
            let message = "say whose sessions: ?node=NODE, or ?all=true";
            return Err(ApiError::bad("bad_query", message));
        }
    };
    Ok(Json(operator(&slot)?.disconnect(whom, rate, &by).await?))
}

/// How many shards per second, and whether they are moved or only named.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Rebalancing {
    /// How many moves begin per second.
    #[serde(default = "four")]
    #[param(minimum = 1, maximum = 100, default = 4)]
    rate: u32,
    /// Only say which shards would be moved.
    #[serde(default)]
    dry_run: bool,
}

fn four() -> u32 {
    4
}

/// Moves shards to an even assignment, so many per second
#[utoipa::path(
    post, path = "/rebalance", tag = "nodes", params(Rebalancing),
    responses(
        (status = 200, body = Rebalance),
        (status = 409, body = Refusal, description = "The node is moving shards already."),
    )
)]
async fn rebalance(
    State(slot): State<OperatorSlot>,
    Query(asked): Query<Rebalancing>,
) -> Answer<Rebalance> {
    let Rebalancing { rate, dry_run } = asked;
    Ok(Json(operator(&slot)?.rebalance(rate, dry_run).await?))
}

/// Whose messages, and for how long.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Trace {
    /// Those of this room.
    #[param(example = "aaa", pattern = "^[A-Za-z0-9_-]{1,64}$")]
    room: Option<String>,
    /// Those of this user.
    #[param(example = "harry", pattern = "^[A-Za-z0-9_-]{1,64}$")]
    user: Option<String>,
    /// For so many seconds.
    #[serde(default = "sixty")]
    #[param(minimum = 1, maximum = 600, default = 60)]
    seconds: u64,
}

fn sixty() -> u64 {
    60
}

/// Hops of messages through all nodes, as they happen
///
/// Of a room, of a user, or of a user in a room. One JSON object per line; never what a message
/// says. Ends after its time.
#[utoipa::path(
    get, path = "/trace", tag = "nodes", params(Trace),
    responses((
        status = 200, body = TraceLine, content_type = "application/x-ndjson",
        description = "Lines, each of them an object."
    ))
)]
async fn trace(
    State(slot): State<OperatorSlot>,
    Query(asked): Query<Trace>,
) -> Result<Response, ApiError> {
    let Trace {
        room,
        user,
        seconds,
    } = asked;
    let lines = operator(&slot)?.trace(room.as_deref(), user.as_deref(), seconds)?;
    let lines = lines.map(|line| {
        let line = serde_json::to_string(&line).expect("a line of a trace becomes JSON");
        Ok::<_, Infallible>(line + "\n")
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// This node leaves
///
/// As at SIGTERM: it hands its shards over, sends its clients elsewhere, and ends.
#[utoipa::path(
    post, path = "/drain", tag = "nodes",
    responses((status = 202, body = Draining, description = "It has begun."))
)]
async fn drain(State(slot): State<OperatorSlot>) -> Result<(StatusCode, Json<Draining>), ApiError> {
    Ok((StatusCode::ACCEPTED, Json(operator(&slot)?.drain())))
}
