//! Rooms: which there are, what is known of one, and ending somebody's sessions in it.

use super::{
    Answer, OperatorSlot,
    extract::{Path, Query},
    operator,
};
use crate::ops::answer::{
    Erased, Kicked, Purged, Refusal, Retained, Retention, Room, Rooms, Sessions, Unpinned,
};
use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<OperatorSlot> {
    OpenApiRouter::default()
        .routes(routes!(rooms))
        .routes(routes!(room, purge))
        .routes(routes!(sessions))
        .routes(routes!(kick))
        .routes(routes!(unpin))
        .routes(routes!(erase))
        .routes(routes!(retain, forget_retention))
}

/// A room.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Named {
    /// The room.
    #[param(example = "aaa", pattern = "^[A-Za-z0-9_-]{1,64}$")]
    room: String,
}

/// A user in a room.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Member {
    /// The room.
    #[param(example = "aaa", pattern = "^[A-Za-z0-9_-]{1,64}$")]
    room: String,
    /// The user.
    #[param(example = "harry", pattern = "^[A-Za-z0-9_-]{1,64}$")]
    user: String,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// The room after which it begins.
    #[param(example = "aaa", pattern = "^[A-Za-z0-9_-]{0,64}$")]
    after: Option<String>,
    /// How many rooms, at most.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
}

/// How much is kept; without any bound everything is.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Bounds {
    /// Seconds since an event was stored.
    #[param(minimum = 1, maximum = 3_153_600_000_u64)]
    age: Option<u64>,
    /// About so many of the last events.
    #[param(minimum = 1)]
    events: Option<u64>,
    /// About so many bytes of content.
    #[param(minimum = 1)]
    bytes: Option<u64>,
}

fn hundred() -> usize {
    100
}

/// A page of the rooms that were ever written
#[utoipa::path(
    get, path = "/rooms", tag = "rooms", params(Page), responses((status = 200, body = Rooms))
)]
async fn rooms(State(slot): State<OperatorSlot>, Query(page): Query<Page>) -> Answer<Rooms> {
    let Page { after, limit } = page;
    let page = operator(&slot)?.rooms(after.as_deref(), limit).await;
    Ok(Json(page?))
}

/// Where a room is, how far it goes, who is there, and what is stored of it
///
/// A room that nobody ever used is answered as an empty one.
#[utoipa::path(
    get, path = "/rooms/{room}", tag = "rooms", params(Named),
    responses((status = 200, body = Room))
)]
async fn room(State(slot): State<OperatorSlot>, Path(of): Path<Named>) -> Answer<Room> {
    Ok(Json(operator(&slot)?.room(&of.room).await?))
}

/// Has everything forgotten that was said in a room, and who said it
///
/// Sessions go on, and so does the numbering. Answers when nothing of before is told any more; it
/// is removed within a minute. Nothing brings it back.
#[utoipa::path(
    delete, path = "/rooms/{room}", tag = "rooms", params(Named),
    responses(
        (status = 200, body = Purged),
        (status = 404, body = Refusal, description = "Nothing was ever written to it."),
        (status = 409, body = Refusal, description = "A node cannot read it, or the journal keeps everything."),
    )
)]
async fn purge(State(slot): State<OperatorSlot>, Path(of): Path<Named>) -> Answer<Purged> {
    Ok(Json(operator(&slot)?.purge(&of.room).await?))
}

/// The sessions that this node has in a room
#[utoipa::path(
    get, path = "/rooms/{room}/sessions", tag = "rooms", params(Named),
    responses((status = 200, body = Sessions))
)]
async fn sessions(State(slot): State<OperatorSlot>, Path(of): Path<Named>) -> Answer<Sessions> {
    Ok(Json(operator(&slot)?.sessions(&of.room)?))
}

/// Ends all sessions of a user in a room
///
/// At whichever nodes they are (close code 4001). Answers when the user has left.
#[utoipa::path(
    delete, path = "/rooms/{room}/users/{user}", tag = "rooms", params(Member),
    responses((status = 200, body = Kicked))
)]
async fn kick(State(slot): State<OperatorSlot>, Path(of): Path<Member>) -> Answer<Kicked> {
    Ok(Json(operator(&slot)?.expel(&of.room, &of.user).await?))
}

/// Takes the key away from a name in a room
///
/// Its sessions end (close code 4001), the room is told (an event of kind `unpinned`), and the next
/// key that comes with the name is pinned: the owner should be the first to come. Answers when the
/// name has no key.
#[utoipa::path(
    delete, path = "/rooms/{room}/users/{user}/key", tag = "rooms", params(Member),
    responses(
        (status = 200, body = Unpinned),
        (status = 404, body = Refusal, description = "Nothing was ever written to it."),
        (status = 409, body = Refusal, description = "A node cannot read that a key was taken away."),
    )
)]
async fn unpin(State(slot): State<OperatorSlot>, Path(of): Path<Member>) -> Answer<Unpinned> {
    Ok(Json(operator(&slot)?.unpin(&of.room, &of.user).await?))
}

/// Has the content of what a user said in a room so far erased
///
/// That there were messages stays, of whom, when and for whom. The room is told (an event of kind
/// `erased`). Answers when the content is told to nobody any more; it is removed within minutes.
/// Nothing brings it back.
#[utoipa::path(
    delete, path = "/rooms/{room}/users/{user}/messages", tag = "rooms", params(Member),
    responses(
        (status = 200, body = Erased),
        (status = 404, body = Refusal, description = "Nothing was ever written to it."),
        (status = 409, body = Refusal, description = "A node cannot read it, or the journal keeps everything."),
    )
)]
async fn erase(State(slot): State<OperatorSlot>, Path(of): Path<Member>) -> Answer<Erased> {
    Ok(Json(operator(&slot)?.erase(&of.room, &of.user).await?))
}

/// Says how much of a room's past is kept
///
/// Whatever is beyond one of the bounds goes, within minutes and for good: events, never a member,
/// a key or a number. Answers when the room's owner knows it. A room that was never written has
/// none.
#[utoipa::path(
    put, path = "/rooms/{room}/retention", tag = "rooms", params(Named, Bounds),
    responses(
        (status = 200, body = Retained),
        (status = 404, body = Refusal, description = "Nothing was ever written to the room."),
        (status = 409, body = Refusal, description = "A node cannot read it, or the journal keeps everything."),
    )
)]
async fn retain(
    State(slot): State<OperatorSlot>,
    Path(of): Path<Named>,
    Query(bounds): Query<Bounds>,
) -> Answer<Retained> {
    let Bounds { age, events, bytes } = bounds;
    let own = Retention { age, events, bytes };
    Ok(Json(operator(&slot)?.retain(&of.room, Some(own)).await?))
}

/// Has a room's past kept as that of all rooms (`writer.keep_...`)
#[utoipa::path(
    delete, path = "/rooms/{room}/retention", tag = "rooms", params(Named),
    responses(
        (status = 200, body = Retained),
        (status = 404, body = Refusal, description = "Nothing was ever written to the room."),
        (status = 409, body = Refusal, description = "A node cannot read it, or the journal keeps everything."),
    )
)]
async fn forget_retention(
    State(slot): State<OperatorSlot>,
    Path(of): Path<Named>,
) -> Answer<Retained> {
    Ok(Json(operator(&slot)?.retain(&of.room, None).await?))
}
