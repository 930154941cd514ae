//! What the events of a sealed room say of the epochs of its group. A commit for an epoch that
//! ended is refused here: it takes no place in the lane, so it holds up nobody.

use crate::room::{Body, CommandId, Event, Kind, Rejection, Seq, UserId, stale_epoch};
use seal::Handshake;
use std::collections::VecDeque;

/// Epochs whose end is remembered, the newest. An older commit goes to the owner, which refuses it.
const EPOCHS: usize = 16;

/// The newest epochs that ended, ascending.
#[derive(Debug, Default)]
pub(super) struct Epochs(VecDeque<Ended>);

/// The commit that ended an epoch.
#[derive(Debug)]
struct Ended {
    epoch: u64,
    seq: Seq,
    from: UserId,
    id: Option<CommandId>,
}

impl Epochs {
    /// The next event of the room.
    pub(super) fn take(&mut self, event: &Event) {
        let Kind::Message {
            body: Body::Handshake(bytes),
            from,
            id,
            ..
        } = &event.kind
        else {
            return;
        };
        let epoch = Handshake::decode(bytes).and_then(|handshake| handshake.look());
        let Ok(Some(epoch)) = epoch else { return };
        self.0.push_back(Ended {
            epoch,
            seq: event.seq,
            from: from.clone(),
            id: id.clone(),
        });
        if self.0.len() > EPOCHS {
            self.0.pop_front();
        }
    }

    /// The room may be another one now.
    pub(super) fn reset(&mut self) {
        self.0.clear();
    }

    /// Refuses a commit for an epoch that another one ended. The one that did, sent again, is its
    /// owner's to answer.
    pub(super) fn check(
        &self,
        epoch: u64,
        from: &UserId,
        id: Option<&CommandId>,
    ) -> Result<(), Rejection> {
        let ended = self.0.iter().find(|ended| ended.epoch == epoch);
        let is_another = |ended: &Ended| (&ended.from, ended.id.as_ref()) != (from, id);
        match (ended, self.0.back()) {
            (Some(ended), Some(last)) if is_another(ended) => {
                Err(stale_epoch(last.epoch.saturating_add(1), last.seq))
            }
            _ => Ok(()),
        }
    }
}
