//! The routes of Akka Management, which operators have in their scripts: paths, bodies and answers
//! to the letter.

use super::{
    Answer, ApiError, DomainEvent, OperatorSlot,
    operation::{self, Operation},
    operator,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, put},
};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use std::{convert::Infallible, time::Duration};

/// The one kind of entity that is spread over shards.
const ROOMS: &str = "chat-rooms";
/// Between two signs of life of an event stream without events; as in Akka.
const QUIET: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Router<OperatorSlot> {
    let member = get(member).put(operate).delete(leave);
    let all = get(members).post(unsupported);
    Router::new()
        .route("/cluster", put(unsupported))
        .route("/cluster/", put(unsupported))
        .route("/cluster/members", all.clone())
        .route("/cluster/members/", all)
        .route("/cluster/members/{*member}", member)
        .route("/cluster/shards", get(entity_types))
        .route("/cluster/shards/", get(entity_types))
        .route("/cluster/shards/{region}", get(region))
        .route("/cluster/shards/{region}/stats", get(stats))
        .route("/cluster/domain-events", get(events))
        .route("/cluster/domain-events/", get(events))
        .route("/bootstrap/seed-nodes", get(seed_nodes))
}

async fn members(State(slot): State<OperatorSlot>) -> Answer {
    Ok(Json(operator(&slot)?.members()))
}

async fn member(State(slot): State<OperatorSlot>, Path(member): Path<String>) -> Answer {
    Ok(Json(operator(&slot)?.member(&member)?))
}

async fn operate(
    State(slot): State<OperatorSlot>,
    Path(member): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let operator = operator(&slot)?;
    // Whether there is such a member comes first.
    operator.member(&member)?;
    match operation::read(&headers, body).await {
        Some(Operation::Leave) => Ok(Json(operator.leave(&member).await?)),
        Some(Operation::Down) => Ok(Json(operator.down(&member).await?)),
        None => Err(not_supported()),
    }
}

async fn leave(State(slot): State<OperatorSlot>, Path(member): Path<String>) -> Answer {
    Ok(Json(operator(&slot)?.leave(&member).await?))
}

/// Nodes find each other, and stop one by one.
async fn unsupported() -> ApiError {
    not_supported()
}

fn not_supported() -> ApiError {
    ApiError::akka(StatusCode::BAD_REQUEST, "Operation not supported")
}

async fn entity_types() -> Response {
    Json(json!({"entityTypeKeys": [ROOMS]})).into_response()
}

async fn region(State(slot): State<OperatorSlot>, Path(region): Path<String>) -> Answer {
    check(&region)?;
    Ok(Json(operator(&slot)?.region()))
}

async fn stats(State(slot): State<OperatorSlot>, Path(region): Path<String>) -> Answer {
    check(&region)?;
    Ok(Json(operator(&slot)?.stats().await?))
}

fn check(region: &str) -> Result<(), ApiError> {
    let unknown = || {
        let message = format!("Shard Region {region} is not started");
        ApiError::akka(StatusCode::NOT_FOUND, message)
    };
    (region == ROOMS).then_some(()).ok_or_else(unknown)
}

async fn events(
    State(slot): State<OperatorSlot>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let types: Vec<_> = query
        .into_iter()
        .filter(|(name, _)| name == "type")
        .flat_map(|(_, types)| types.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let event = |DomainEvent { kind, data }| {
        let event = Event::default().event(kind).data(data.to_string());
        Ok::<_, Infallible>(event)
    };
    let events = operator(&slot)?.domain_events(&types)?.map(event);
    let alive = KeepAlive::new().interval(QUIET);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

async fn seed_nodes(State(slot): State<OperatorSlot>) -> Answer {
    Ok(Json(operator(&slot)?.seed_nodes()))
}
