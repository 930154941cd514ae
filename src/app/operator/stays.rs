//! Why a room is not removed with its name, and when it will be.

use super::NodeOperator;
use crate::{
    bus::{NodeRecord, RoomView, Stays},
    journal,
    ops::answer,
    room::{Hold, Incarnation, Millis, RoomId, Seq},
};

/// A room as it was found.
pub(super) struct Looked<'a> {
    pub(super) room: &'a RoomId,
    /// What its owner says.
    pub(super) view: &'a RoomView,
    pub(super) owner: Option<Incarnation>,
    /// When its last event was stored; `None`: that is not there.
    pub(super) last: Option<Millis>,
}

impl NodeOperator {
    /// `None`: it was never written, or its owner is of a version that does not say.
    pub(super) async fn stays(&self, looked: &Looked<'_>) -> Option<answer::Stays> {
        let Stays {
            holds,
            gone_after_s,
        } = looked.view.stays.as_ref()?;
        if looked.view.head == Seq::ZERO {
            return None;
        }
        let goes = self.lets_go(looked);
        let mut because: Vec<_> = holds
            .iter()
            .map(|hold| of_room(*hold, looked, goes))
            .collect();
        because.extend(self.of_cluster(looked, *gone_after_s).await);
        // Events that retention lets go keep the room for a time, anything else for ever.
        let from = match (&holds[..], because.len()) {
            ([], 0) => looked.last,
            ([Hold::Events], 1) => goes,
            _ => None,
        };
        let after = gone_after_s.saturating_mul(1000);
        let until = looked.last.zip(from);
        let until = until.map(|(last, from)| from.0.max(last.0.saturating_add(after)));
        Some(answer::Stays { because, until })
    }

    /// When retention lets the last event go; `None`: never.
    fn lets_go(&self, looked: &Looked<'_>) -> Option<Millis> {
        let nodes = self.cluster.view().nodes;
        let owner = nodes
            .iter()
            .find(|node| Some(node.incarnation) == looked.owner);
        let wanted = looked.view.retention.or(owner.and_then(|node| node.keeps));
        let longest = wanted?.longest()?;
        Some(Millis(looked.last?.0.saturating_add(longest)))
    }

    /// What keeps a room whatever is in it.
    async fn of_cluster(&self, looked: &Looked<'_>, gone_after_s: u64) -> Vec<answer::Because> {
        let mut because = Vec::new();
        let mut add = |reason: &str, message: String| because.push(told(reason, message));
        if gone_after_s == 0 {
            let message = "its owner removes no rooms: writer.gone_after_s is 0 there";
            add("never", message.into());
        }
        let all_read = self.check_all_read(NodeRecord::reads_retirements, "that rooms are removed");
        if let Err(old) = all_read {
            add("old_node", old.message);
        }
        if let Err(journal::Error::Denied(why)) = self.journal.trims().await {
            add("journal", why);
        }
        let is_gone = looked
            .view
            .stays
            .as_ref()
            .is_some_and(|it| it.holds.is_empty());
        if is_gone && looked.last.is_none() {
            let message = "nothing of it is stored but how far it went: it was removed, or is \
                           within some hours";
            add("removed", message.into());
        }
        if self.is_kept_on_bus(looked.room).await {
            let message = "its last message is in the stream of events, which allows no purge: it \
                           goes once the stream's bounds have dropped that";
            add("stream", message.into());
        }
        because
    }

    /// Whether what was published stays, where that is not the journal.
    async fn is_kept_on_bus(&self, room: &RoomId) -> bool {
        let removal = self.bus.removal();
        !self.journal.publishes()
            && removal.await.is_ok_and(|removal| removal.refused.is_some())
            && self.bus.last(room).await.is_ok_and(|last| last.is_some())
    }
}

/// Why its state keeps a room, and what to do.
fn of_room(hold: Hold, looked: &Looked<'_>, goes: Option<Millis>) -> answer::Because {
    let view = looked.view;
    let message = match hold {
        Hold::Members => "users are in it: wait until they leave, or `admin kick` them".into(),
        Hold::Sessions => "sessions are open: they end with their clients, or their node".into(),
        Hold::Keys => "names in it have keys, which no time takes away: `admin purge` frees the \
                       names of all who are not in it"
            .into(),
        Hold::Records => "keys of names from before its purge are still to be removed: within a \
                          minute, where the login of writers may (docs/operations.md, Purging)"
            .into(),
        Hold::Events if looked.last.is_none() => {
            let message = "its last events are lost: `admin purge` lets it go on behind them";
            return told("hole", message.into());
        }
        Hold::Events => {
            let first = view.first.max(Seq(1));
            match goes {
                Some(_) => format!("events from {first} on are kept, until retention lets them go"),
                None => format!(
                    "events from {first} on are kept: no retention with an age lets the last one \
                     go (`admin retain --age`), `admin purge` does"
                ),
            }
        }
        Hold::Policy => format!(
            "its policy is {}, which it was made with",
            view.policy.as_str()
        ),
        Hold::Group => "its group has the names of those who may read".into(),
        Hold::Retention => {
            "an operator said what it keeps: `admin retain --default` ends that".into()
        }
        Hold::Erasure => "what somebody said is being erased".into(),
        Hold::Unsaved => "something that happened in it waits for a snapshot: some seconds".into(),
        Hold::Other => "its owner is of a newer version, and knows a reason that this node does \
                        not: ask a newer node"
            .into(),
    };
    told(hold.as_str(), message)
}

fn told(reason: &str, message: String) -> answer::Because {
    answer::Because {
        reason: reason.into(),
        message,
    }
}
