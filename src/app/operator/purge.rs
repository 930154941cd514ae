//! Purging a room, as operators ask for it.

use super::{
    NodeOperator,
    rooms::{EXPEL, LOOK, parse_room},
};
use crate::{
    bus::{Ask, NodeRecord},
    ops::{ApiError, answer},
    room::{Action, RoomId, Seq},
};
use axum::http::StatusCode;
use tokio::time::{Instant, sleep};

impl NodeOperator {
    /// Refuses a room to which nothing was ever written; its head.
    pub(super) async fn check_written(&self, room: &RoomId) -> Result<Seq, ApiError> {
        let head = self.asked(Ask::head(room.clone())).await?.head;
        if head == Seq::ZERO {
            let message = format!("nothing was ever written to room {room}");
            return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
        }
        Ok(head)
    }

    /// The command is submitted once; read again it does nothing more.
    pub(super) async fn forget_past_of(&self, room: &str) -> Result<answer::Purged, ApiError> {
        let name = parse_room(room)?;
        self.check_all_read(NodeRecord::reads_purges, "that a room was purged")?;
        self.check_trims().await?;
        let head = self.check_written(&name).await?;
        self.command(&name, Action::Purge).await?;
        let until = Instant::now() + EXPEL;
        loop {
            let purged = self.asked(Ask::head(name.clone())).await?.purged;
            if purged > head {
                return Ok(answer::Purged {
                    room: room.to_owned(),
                    seq: purged.0,
                });
            }
            if Instant::now() >= until {
                let message = format!(
                    "the owner of room {room} has not purged it yet, and will: look at the room, \
                     and if its first event does not move, try again"
                );
                return Err(ApiError::unavailable(message));
            }
            sleep(LOOK).await;
        }
    }
}
