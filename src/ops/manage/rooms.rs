//! Rooms: which there are, what is known of one, and ending somebody's sessions in it.

use super::{Answer, Asked, OperatorSlot, operator, query};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;

/// Which page.
#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<String>,
    #[serde(default = "hundred")]
    limit: usize,
}

fn hundred() -> usize {
    100
}

pub(super) async fn page(State(slot): State<OperatorSlot>, asked: Asked<Page>) -> Answer {
    let Page { after, limit } = query(asked)?;
    let page = operator(&slot)?.rooms(after.as_deref(), limit).await;
    Ok(Json(page?))
}

pub(super) async fn room(State(slot): State<OperatorSlot>, Path(room): Path<String>) -> Answer {
    Ok(Json(operator(&slot)?.room(&room).await?))
}

pub(super) async fn sessions(State(slot): State<OperatorSlot>, Path(room): Path<String>) -> Answer {
    Ok(Json(operator(&slot)?.sessions(&room)?))
}

pub(super) async fn expel(
    State(slot): State<OperatorSlot>,
    Path((room, user)): Path<(String, String)>,
) -> Answer {
    Ok(Json(operator(&slot)?.expel(&room, &user).await?))
}
