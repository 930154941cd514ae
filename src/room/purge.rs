//! A purge: an operator has what was said in a room forgotten, and who said it. The room goes on
//! behind an event of its own ([`super::Kind::Purged`]), with who is here, and with what it was set
//! to: its policy, how much of its past is kept, and the group of a sealed one. Pure.
//!
//! | of the state | behind the event |
//! |---|---|
//! | members, open sessions | as before: nobody is sent away |
//! | keys | of members, of users with a session, of holders in the group; any other name is free |
//! | records of keys | count for nothing, and are removed |
//! | when keys were taken away from names | forgotten |
//! | messages of the dedupe window | known by a digest, for a day, to their keys alone |
//! | ended sessions, producers | as before: they have no names |
//! | erasures of content | there is nothing left to erase |
//! | the group of a sealed room | as before: who is in it, its commits say; welcomes go |

use super::{Change, Erasures, Group, MessageKey, Millis, Pin, Seq, State, UserId};
use std::collections::HashSet;

/// How long after a purge the messages of before are known, in milliseconds: far longer than
/// gateways submit again, and than a successor reads back.
const KNOWN_MS: u64 = 24 * 60 * 60 * 1000;

/// The last purge of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// The place of its event.
    pub seq: Seq,
    /// The stored time of its command: what is older was decided before it.
    pub at: Millis,
}

impl State {
    /// The event of a purge: everything of before that has a name goes.
    pub(super) fn purge(&mut self, purge: Purge) {
        self.release_all();
        let kept = self.kept_names();
        self.pins.retain(|user, _| kept.contains(user));
        self.unpinned.clear();
        self.forget_away();
        self.kept.purge(purge);
        self.erasures = Erasures::default();
        self.take_owed();
    }

    /// The names that keep their keys. Whoever is in the group may be away for a moment, and must
    /// not find the name with somebody else.
    fn kept_names(&self) -> HashSet<UserId> {
        let holders = self.group.as_ref().map(Group::holders).unwrap_or_default();
        let is_in = |user: &UserId, pin: &Pin| {
            holders.contains(&(user.to_string(), pin.key.as_str().to_owned()))
        };
        let pins = self.pins.iter().filter(|(user, pin)| {
            let is_here = self.members.contains(*user) || !self.sessions.of(user).is_empty();
            is_here || is_in(user, pin)
        });
        pins.map(|(user, _)| user.clone()).collect()
    }

    /// Messages of before the last purge are not known for ever.
    pub(super) fn forget_before_purge(&mut self, now: Millis) {
        let purged = self.kept.purge.map_or(0, |purge| purge.at.0);
        while now.0 > purged.saturating_add(KNOWN_MS)
            && self.sent.oldest().is_some_and(MessageKey::is_digest)
        {
            self.sent.drop_oldest();
        }
    }

    /// What waits for an event, as that of a purge carries it: without the names of those who are
    /// not here.
    pub(super) fn leave_names_out(&mut self) {
        let (kept, mut changes) = (self.kept_names(), std::mem::take(&mut self.unjournaled));
        changes.retain(|change| match change {
            Change::Opened { session, .. } => self.sessions.contains(*session),
            Change::Pinned { user, .. } | Change::Recalled { user, .. } => kept.contains(user),
            _ => true,
        });
        self.unjournaled = changes;
    }
}
