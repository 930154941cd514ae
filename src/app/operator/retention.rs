//! How much of a room's past is kept, as operators say it.

use super::{
    NodeOperator,
    rooms::{EXPEL, LOOK, parse_room},
    unavailable,
};
use crate::{
    bus::{Ask, NodeRecord},
    journal,
    ops::{ApiError, answer},
    room::{Action, Retention, Seq},
};
use axum::http::StatusCode;
use std::ops::RangeInclusive;
use tokio::time::{Instant, sleep};

/// As operators see it.
pub(super) fn shown(retention: Retention) -> answer::Retention {
    let Retention { age, events, bytes } = retention;
    answer::Retention { age, events, bytes }
}

/// What a bound can be, as the document of the internal port has numbers.
const BOUNDS: RangeInclusive<u64> = 1..=i64::MAX as u64;

/// Seconds that an age can be: a century. More is a mistake of the unit.
const AGES: RangeInclusive<u64> = 1..=100 * 365 * 86_400;

/// Seconds of a day, in which people say ages.
const DAY_S: u64 = 24 * 60 * 60;

/// Refuses bounds that nobody can mean.
fn check(wanted: Retention) -> Result<(), ApiError> {
    let Retention { age, events, bytes } = wanted;
    for (bound, may_be) in [(age, AGES), (events, BOUNDS), (bytes, BOUNDS)] {
        if let Some(bound) = bound.filter(|bound| !may_be.contains(bound)) {
            let most = may_be.end();
            let message = match may_be == AGES {
                true => format!(
                    "an age is 1 to {most} seconds ({} days), not {bound} ({} days): leave it out \
                     to have none",
                    most / DAY_S,
                    bound / DAY_S
                ),
                false => {
                    format!("such a bound is 1 to {most}, not {bound}: leave it out to have none")
                }
            };
            return Err(ApiError::bad("bad_bound", message));
        }
    }
    Ok(())
}

impl NodeOperator {
    /// Refuses where the journal lets nothing go.
    pub(super) async fn check_trims(&self) -> Result<(), ApiError> {
        match self.journal.trims().await {
            Err(journal::Error::Denied(why)) => {
                Err(ApiError::new(StatusCode::CONFLICT, "keeps_all", why))
            }
            trims => trims.map_err(unavailable),
        }
    }

    /// The command is submitted once; read again it changes nothing more.
    pub(super) async fn keep_past_of(
        &self,
        room: &str,
        own: Option<answer::Retention>,
    ) -> Result<answer::Retained, ApiError> {
        let name = parse_room(room)?;
        let wanted =
            own.map(|answer::Retention { age, events, bytes }| Retention { age, events, bytes });
        wanted.map_or(Ok(()), check)?;
        self.check_all_read(NodeRecord::reads_retention, "how much is kept")?;
        self.check_trims().await?;
        // It would be in no export, and hardly ever be what was meant.
        if self.asked(Ask::head(name.clone())).await?.head == Seq::ZERO {
            let message = format!(
                "nothing was ever written to room {room}: look at its name, or say it again when \
                 somebody has come"
            );
            return Err(ApiError::new(StatusCode::NOT_FOUND, "no_room", message));
        }
        self.command(&name, Action::Retain { own: wanted }).await?;
        let until = Instant::now() + EXPEL;
        while self.asked(Ask::head(name.clone())).await?.retention != wanted {
            if Instant::now() >= until {
                let message = format!(
                    "the owner of room {room} has not taken it yet, or somebody else said \
                     otherwise: look at the room, and try again"
                );
                return Err(ApiError::unavailable(message));
            }
            sleep(LOOK).await;
        }
        Ok(answer::Retained {
            room: room.to_owned(),
            retention: own,
        })
    }
}
