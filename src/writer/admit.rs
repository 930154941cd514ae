//! Handing over what newcomers of sealed rooms need, to where it is kept for them.

use super::Parts;
use crate::{
    bus::{
        Admissions as _,
        admissions::{Kept, Place},
    },
    room::{Admitted, RoomId},
};
use std::time::Duration;
use tokio::time::timeout;

/// How long one handing over may take. What fails is tried again with the room's next snapshot.
const DEADLINE: Duration = Duration::from_secs(10);

impl Parts {
    /// Hands over what is owed; what is owed still. The same again changes nothing: whoever opens
    /// the room puts again what may not be kept yet.
    pub(super) async fn admit(&self, room: &RoomId, owed: Vec<Admitted>) -> Vec<Admitted> {
        let mut left = Vec::new();
        for admitted in owed {
            let place = Place {
                room: room.clone(),
                seq: admitted.seq,
                epoch: admitted.epoch,
            };
            let Admitted {
                by,
                recipients,
                admission,
                at,
                ..
            } = &admitted;
            let put = self
                .bus
                .put_admission(&place, by, recipients, admission, *at);
            let why = match timeout(DEADLINE, put).await {
                Ok(Ok(kept)) => {
                    let full = [Kept::TooMany, Kept::Superseded];
                    let refused = kept.iter().filter(|kept| full.contains(kept)).count();
                    if refused > 0 {
                        // Counted by `safechat_welcomes_total`: a flood must not fill the log.
                        tracing::debug!(%room, seq = %place.seq, refused, "welcomes were refused: too many wait for these devices");
                    }
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "not in time".into(),
            };
            tracing::warn!(%room, seq = %place.seq, why, "a welcome is not kept yet; it is tried again");
            left.push(admitted);
        }
        left
    }
}
