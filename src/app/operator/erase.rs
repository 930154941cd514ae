//! Erasing what a user said in a room, as operators ask for it.

use super::{
    NodeOperator,
    rooms::{EXPEL, LOOK, parse_room, parse_user},
    unavailable,
};
use crate::{
    bus::{Ask, NodeRecord},
    ops::{ApiError, answer},
    room::{Action, Kind, Limits, RoomId, Seq, UserId},
};
use axum::http::StatusCode;
use tokio::time::{Instant, sleep};

impl NodeOperator {
    /// The command is submitted once; read again it does nothing more.
    pub(super) async fn erase_content_of(
        &self,
        room: &str,
        user: &str,
    ) -> Result<answer::Erased, ApiError> {
        let (name, who) = (parse_room(room)?, parse_user(user)?);
        let what = "that what somebody said was erased";
        self.check_all_read(NodeRecord::reads_erasures, what)?;
        self.check_trims().await?;
        let before = self.asked(Ask::head(name.clone())).await?;
        if before.head == Seq::ZERO {
            let message = format!("nothing was ever written to room {room}");
            return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
        }
        let (pending, is_known) = before
            .erasing
            .iter()
            .fold((0, false), |(count, known), (user, _)| {
                (count + 1, known || *user == who)
            });
        if pending >= Limits::ERASING && !is_known {
            let message = format!(
                "room {room} is erasing what {pending} users said: try again when the first of it \
                 is gone"
            );
            return Err(ApiError::unavailable(message));
        }
        let action = Action::Erase { user: who.clone() };
        self.command(&name, action).await?;
        let (until, mut next) = (Instant::now() + EXPEL, before.head.next());
        loop {
            let head = self.asked(Ask::head(name.clone())).await?.head;
            if let Some(seq) = self.find_erased(&name, &who, &mut next, head).await? {
                return Ok(answer::Erased {
                    room: room.to_owned(),
                    user: user.to_owned(),
                    seq: seq.0,
                });
            }
            if Instant::now() >= until {
                let message = format!(
                    "the owner of room {room} has not erased it yet, and may still do it: look \
                     at the room's last events, and if none says so, try again"
                );
                return Err(ApiError::unavailable(message));
            }
            sleep(LOOK).await;
        }
    }

    /// The place of the event that says that it is erased, among those from `next` to the head.
    async fn find_erased(
        &self,
        room: &RoomId,
        who: &UserId,
        next: &mut Seq,
        head: Seq,
    ) -> Result<Option<Seq>, ApiError> {
        while *next <= head {
            let page = self.journal.read(room, *next, head).await;
            let page = page.map_err(unavailable)?;
            let Some(last) = page.last() else {
                break;
            };
            *next = last.seq.next();
            let says_so = |kind: &Kind| matches!(kind, Kind::Erased { user, .. } if user == who);
            if let Some(event) = page.iter().find(|event| says_so(&event.kind)) {
                return Ok(Some(event.seq));
            }
        }
        Ok(None)
    }
}
