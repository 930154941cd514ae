//! The routes of Akka Management, which operators have in their scripts: paths, bodies and answers
//! to the letter.

use super::{
    Answer, ApiError, By, DomainEvent, OperatorSlot,
    extract::{Path, Query, body},
    operation::{self, Operate, Operation},
    operator,
};
use crate::ops::{
    answer::{
        self, EntityTypes, EventType, Member, Members, Message, Refusal, Region, SeedNodes, Stats,
    },
    audit::Named,
};
use axum::{
    Extension, Json,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, put},
};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use std::{convert::Infallible, time::Duration};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The one kind of entity that is spread over shards.
const ROOMS: &str = "chat-rooms";
/// Between two signs of life of an event stream without events; as in Akka.
const QUIET: Duration = Duration::from_secs(10);

pub(super) fn routes() -> OpenApiRouter<OperatorSlot> {
    OpenApiRouter::default()
        .routes(routes!(members, join))
        .routes(routes!(member, operate, leave))
        .routes(routes!(stop_all))
        .routes(routes!(entity_types))
        .routes(routes!(region))
        .routes(routes!(stats))
        .routes(routes!(domain_events))
        .routes(routes!(seed_nodes))
        // The same with a slash behind, which Akka takes too.
        .route("/cluster/", put(stop_all))
        .route("/cluster/members/", get(members).post(join))
        .route("/cluster/shards/", get(entity_types))
        .route("/cluster/domain-events/", get(domain_events))
}

/// The members of the cluster
///
/// As the node that is asked sees them.
#[utoipa::path(
    get, path = "/cluster/members", tag = "cluster", responses((status = 200, body = Members))
)]
async fn members(State(slot): State<OperatorSlot>) -> Answer<Members> {
    Ok(Json(operator(&slot)?.members()))
}

/// Joining, which Akka Management offers: not supported
///
/// Nodes find each other.
#[utoipa::path(
    post, path = "/cluster/members", tag = "cluster",
    responses((status = 400, body = Refusal, description = "Operation not supported"))
)]
async fn join() -> ApiError {
    not_supported()
}

/// Stopping a whole cluster, which Akka Management offers: not supported
///
/// Nodes stop one by one.
#[utoipa::path(
    put, path = "/cluster", tag = "cluster",
    responses((status = 400, body = Refusal, description = "Operation not supported"))
)]
async fn stop_all() -> ApiError {
    not_supported()
}

/// A member.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Of {
    /// Its address, with or without `akka://` and `safe-chat@`; its name; or its incarnation.
    #[param(example = "safe-chat@10.0.0.7:8558", min_length = 1, max_length = 300)]
    member: String,
}

/// One member
// A path's last part may have slashes (akka://...): axum writes that `{*member}`.
#[utoipa::path(
    get, path = "/cluster/members/{*member}", tag = "cluster", params(Of),
    responses(
        (status = 200, body = Member),
        (status = 404, body = Refusal, description = "Member [...] not found"),
    )
)]
async fn member(State(slot): State<OperatorSlot>, Path(of): Path<Of>) -> Answer<Member> {
    Ok(Json(operator(&slot)?.member(&of.member)?))
}

/// Makes a member leave, or declares it down
///
/// Leave: it stops in order, as at SIGTERM. Down: it is dead, frozen or cut off, and others take
/// its shards at once.
#[utoipa::path(
    put, path = "/cluster/members/{*member}", tag = "cluster", params(Of),
    request_body(content(
        (Operate = "application/x-www-form-urlencoded"),
        (Operate = "multipart/form-data"),
        (Operate = "application/json"),
    )),
    responses(
        (status = 200, body = Message, description = "Leaving ..., or Downing ..."),
        (status = 400, body = Refusal, description = "Operation not supported"),
        (status = 404, body = Refusal, description = "Member [...] not found"),
        (status = 409, body = Refusal, description = "Several that live go by that."),
        (status = 413, body = Refusal, description = "The body is longer than any operation."),
        (status = 501, body = Refusal, description = "The version of the node cannot do that."),
    )
)]
async fn operate(
    State(slot): State<OperatorSlot>,
    Extension(By(by)): Extension<By>,
    Path(of): Path<Of>,
    headers: HeaderMap,
    received: Result<Bytes, BytesRejection>,
) -> Result<(Extension<Named>, Answer<Message>), ApiError> {
    let operator = operator(&slot)?;
    // Whether there is such a member comes first.
    operator.member(&of.member)?;
    Ok(match operation::read(&headers, body(received)?).await {
        Some(Operation::Leave) => {
            let answer = operator.leave(&of.member, &by).await.map(Json);
            (Extension(Named("leave")), answer)
        }
        Some(Operation::Down) => {
            let answer = operator.down(&of.member).await.map(Json);
            (Extension(Named("down")), answer)
        }
        None => return Err(not_supported()),
    })
}

/// Makes a member leave
#[utoipa::path(
    delete, path = "/cluster/members/{*member}", tag = "cluster", params(Of),
    responses(
        (status = 200, body = Message, description = "Leaving ..."),
        (status = 404, body = Refusal, description = "Member [...] not found"),
        (status = 409, body = Refusal, description = "Several that live go by that."),
        (status = 501, body = Refusal, description = "The version of the node cannot do that."),
    )
)]
async fn leave(
    State(slot): State<OperatorSlot>,
    Extension(By(by)): Extension<By>,
    Path(of): Path<Of>,
) -> (Extension<Named>, Answer<Message>) {
    let left = async { Ok(Json(operator(&slot)?.leave(&of.member, &by).await?)) };
    (Extension(Named("leave")), left.await)
}

fn not_supported() -> ApiError {
    ApiError::akka(StatusCode::BAD_REQUEST, "Operation not supported")
}

/// The kinds of entities that are spread over shards
#[utoipa::path(
    get, path = "/cluster/shards", tag = "cluster", responses((status = 200, body = EntityTypes))
)]
async fn entity_types() -> Json<EntityTypes> {
    Json(EntityTypes {
        entity_type_keys: vec![ROOMS],
    })
}

/// A kind of entities.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Kind {
    /// `chat-rooms`.
    #[param(example = "chat-rooms", pattern = "^chat-rooms$")]
    region: String,
}

/// The shards that this node writes
///
/// With how many rooms of each are in memory.
#[utoipa::path(
    get, path = "/cluster/shards/{region}", tag = "cluster", params(Kind),
    responses(
        (status = 200, body = Region),
        (status = 404, body = Refusal, description = "Shard Region ... is not started"),
    )
)]
async fn region(State(slot): State<OperatorSlot>, Path(of): Path<Kind>) -> Answer<Region> {
    check(&of.region)?;
    Ok(Json(operator(&slot)?.region()))
}

/// The shards that all nodes write
#[utoipa::path(
    get, path = "/cluster/shards/{region}/stats", tag = "cluster", params(Kind),
    responses(
        (status = 200, body = Stats),
        (status = 404, body = Refusal, description = "Shard Region ... is not started"),
    )
)]
async fn stats(State(slot): State<OperatorSlot>, Path(of): Path<Kind>) -> Answer<Stats> {
    check(&of.region)?;
    Ok(Json(operator(&slot)?.stats().await))
}

fn check(region: &str) -> Result<(), ApiError> {
    let unknown = || {
        let message = format!("Shard Region {region} is not started");
        ApiError::akka(StatusCode::NOT_FOUND, message)
    };
    (region == ROOMS).then_some(()).ok_or_else(unknown)
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "serde reads no list from a query; this describes what is read"
)]
struct Types {
    /// Types of events, or groups of types; none: all.
    #[param(rename = "type", nullable = false, inline, example = json!(["MemberUp"]))]
    types: Option<Vec<EventType>>,
}

/// What changes in the cluster, as it happens
///
/// Server-sent events: Akka's cluster domain events, beginning with those that lead to how it is
/// now. Ends when this node has left.
#[utoipa::path(
    get, path = "/cluster/domain-events", tag = "cluster",
    params(Types),
    responses((
        status = 200, body = answer::Event, content_type = "text/event-stream",
        description = "Events, each with its type and with its data as JSON."
    ))
)]
async fn domain_events(
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

/// The members that a new one could turn to
#[utoipa::path(
    get, path = "/bootstrap/seed-nodes", tag = "cluster",
    responses((status = 200, body = SeedNodes))
)]
async fn seed_nodes(State(slot): State<OperatorSlot>) -> Answer<SeedNodes> {
    Ok(Json(operator(&slot)?.seed_nodes()))
}
