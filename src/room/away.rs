//! Names whose pins are not in the state but in records of their own: a room that a million people
//! visited once does not carry a million keys. The state has the pins of those whom it needs, and
//! of who came lately. Pure; an owner moves pins out, and reads records before it decides.
//!
//! A pin in the state counts more than a record, so a pin may be in both. What is decided with the
//! help of a record says so ([`Change::Recalled`]): a replay needs none.

use super::{
    Action, Change, Identity, Key, MessageKey, Pin, Policy, Reason, Rejection, Seq, State, UserId,
};
use std::collections::{BTreeSet, HashSet};

/// Purges whose records may be left, at most: each takes longer than to remove them.
const STALE: usize = 16;

/// When somebody may ask again whom a full room refused, in milliseconds.
const FULL_RETRY_MS: u64 = 3_600_000;

/// What is not in a state because it is in records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Away {
    /// Whether there may be records of this generation.
    pub is_used: bool,
    /// How many names have their pins only there.
    pub count: u64,
    /// Names that are free, whatever a record says.
    pub freed: BTreeSet<UserId>,
    /// Generations of before, whose records are to be removed.
    pub stale: Vec<Seq>,
}

/// Pins on their way into records; `None`: the name is free.
pub type Moving = Vec<(UserId, Option<Pin>)>;

/// What an owner knows beside the state when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What the record says of the name that [`State::lacks`] told.
    pub recorded: Option<&'a Pin>,
    /// Names that a room has at most.
    pub most_names: u64,
}

impl Default for Known<'_> {
    fn default() -> Self {
        Self {
            recorded: None,
            most_names: u64::MAX,
        }
    }
}

impl State {
    /// The name of whose record a command must know what it says, if there is one: what is decided
    /// without it could give the name to a stranger.
    pub fn lacks<'a>(&self, action: &'a Action) -> Option<&'a UserId> {
        let user = match action {
            Action::Open { user, .. } | Action::Unpin { user } => user,
            Action::Send {
                user, turn: None, ..
            } => user,
            // Whoever has a session is known.
            Action::Send { .. }
            | Action::Batch { .. }
            | Action::Close { .. }
            | Action::Abandon { .. }
            | Action::Retain { .. }
            | Action::Purge
            | Action::Erase { .. } => return None,
        };
        self.may_be_away(user).then_some(user)
    }

    /// Whether the pin of a name may be in a record alone.
    pub fn may_be_away(&self, user: &UserId) -> bool {
        self.away.is_used && !self.pins.contains_key(user) && !self.away.freed.contains(user)
    }

    /// Of which generation its records are: the place of the last purge.
    pub fn generation(&self) -> Seq {
        self.kept.purge.map_or(Seq::ZERO, |purge| purge.seq)
    }

    /// How many names have an owner.
    pub fn names(&self) -> u64 {
        self.pins.len() as u64 + self.away.count
    }

    /// Whether it would be one name more if somebody came under it with a key. Keys that a token
    /// vouches for are pinned to none.
    pub fn is_new_name(&self, user: &UserId, key: &Key, known: Known<'_>) -> bool {
        !key.is_vouched() && self.pin_of(user, known).0.is_none()
    }

    /// The pin of a name, wherever it is. If it is in a record alone, also the change that brings
    /// it back, which whatever is decided with it begins with.
    pub(super) fn pin_of<'a>(
        &'a self,
        user: &UserId,
        known: Known<'a>,
    ) -> (Option<&'a Pin>, Option<Change>) {
        if let Some(pin) = self.pins.get(user) {
            return (Some(pin), None);
        }
        let recorded = known.recorded.filter(|_| self.may_be_away(user));
        let recalled = recorded.map(|pin| Change::Recalled {
            user: user.clone(),
            key: pin.key.clone(),
            identity: pin.identity,
        });
        (recorded, recalled)
    }

    /// A pin is back from its record.
    pub(super) fn recall(&mut self, user: &UserId, key: &Key, identity: Identity) {
        if key.is_vouched() || self.pins.contains_key(user) {
            return;
        }
        let key = key.clone();
        self.pins.insert(user.clone(), Pin { key, identity });
        self.away.freed.remove(user);
        self.away.count = self.away.count.saturating_sub(1);
    }

    /// Every pin is in the state again; what of it is in records counts no more.
    pub fn recall_all(&mut self, recorded: impl IntoIterator<Item = (UserId, Pin)>) {
        for (user, pin) in recorded {
            if self.may_be_away(&user) {
                self.pins.insert(user, pin);
            }
        }
        self.away = Away {
            stale: std::mem::take(&mut self.away.stale),
            ..Away::default()
        };
    }

    /// There are records of these names, of this generation, and every pin is in the state.
    pub fn overrule(&mut self, recorded: impl IntoIterator<Item = UserId>) {
        self.away.is_used = true;
        let free = recorded.into_iter();
        let free = free.filter(|user| !self.pins.contains_key(user));
        self.away.freed.extend(free.collect::<Vec<_>>());
    }

    /// Records of these generations are to be removed as well.
    pub fn forgets_records(&mut self, generations: &[Seq]) {
        let stale = &mut self.away.stale;
        for generation in generations {
            if !stale.contains(generation) && stale.len() < STALE {
                stale.push(*generation);
            }
        }
    }

    /// What can move into records, by name, when there are more than so many pins that nobody needs
    /// now, about `most` of it; else only what records must not say any longer.
    pub fn movable(&self, more_than: usize, most: usize) -> Moving {
        let is_sealed = self.policy == Policy::Sealed || self.group.is_some();
        let has_few = self.pins.len() <= more_than;
        if is_sealed || (has_few && self.away.freed.is_empty()) {
            return Moving::new();
        }
        let mut moving = Moving::new();
        if !has_few {
            let needed = self.needed();
            let pins = self.pins.iter();
            let pins = pins.filter(|(user, _)| !needed.contains(user));
            let pins = pins.take(most.max(more_than.saturating_add(1)));
            moving.extend(pins.map(|(user, pin)| (user.clone(), Some(pin.clone()))));
            if moving.len() <= more_than {
                moving.clear();
            }
            moving.truncate(most);
        }
        let freed = self.away.freed.iter().cloned();
        moving.extend(freed.map(|user| (user, None)));
        // So that a simulation repeats exactly.
        moving.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        moving
    }

    /// Lets go of what is in records of this generation by now, unless something else is true
    /// since, or somebody needs it. Whether it let go of anything.
    pub fn let_go(&mut self, moved: &Moving) -> bool {
        let needed = self.needed();
        let goes = |(user, pin): &&(UserId, Option<Pin>)| match pin {
            Some(pin) => self.pins.get(user) == Some(pin) && !needed.contains(user),
            None => self.away.freed.contains(user),
        };
        let gone: Vec<_> = moved.iter().filter(goes).collect();
        let gone: Vec<_> = gone.into_iter().map(|(user, _)| user.clone()).collect();
        for user in &gone {
            if !self.away.freed.remove(user) && self.pins.remove(user).is_some() {
                self.away.count += 1;
            }
        }
        !gone.is_empty()
    }

    /// Whose pins events may ask for without saying them: who is here; whose messages of the dedupe
    /// window are to be marked when the name gets another owner; whom changes name that wait for an
    /// event.
    fn needed(&self) -> HashSet<UserId> {
        let mut needed: HashSet<UserId> = self.members.iter().cloned().collect();
        needed.extend(
            self.sessions
                .iter()
                .map(|(_, session)| session.user.clone()),
        );
        let senders = self.sent.iter().filter_map(|(message, _)| match message {
            MessageKey::Named(user, _) => Some(user.clone()),
            MessageKey::Digest(_) => None,
        });
        needed.extend(senders);
        let waiting = self.unjournaled.iter().filter_map(|change| match change {
            Change::Pinned { user, .. } | Change::Recalled { user, .. } => Some(user.clone()),
            _ => None,
        });
        needed.extend(waiting);
        needed
    }

    /// Every record of before the purge that comes now counts for nothing.
    pub(super) fn forget_away(&mut self) {
        let generation = self.generation();
        let mut away = std::mem::take(&mut self.away);
        if away.is_used && away.stale.len() < STALE {
            away.stale.push(generation);
        }
        self.away.stale = away.stale;
    }
}

/// Why a name that is new to a full room is refused.
pub(super) fn is_full() -> Rejection {
    let message = "this room has as many names as it may: take one that you had here, or another \
                   room; its operator may allow more (writer.max_names_per_room)";
    Rejection::retry(Reason::RateLimited, message, FULL_RETRY_MS)
}
