//! Whether a room is gone: whether its state says no more than that of a room that was never
//! written, but for how far it went. Pure; when its last event was stored, its journal knows.
//!
//! | of the state | of a room that is gone |
//! |---|---|
//! | members, open sessions | none |
//! | keys, also in records | none: no name with a key is free by itself |
//! | records of names | none that are to be removed; those of now say that names are free |
//! | policy, group, own retention | none was set |
//! | changes that wait for an event | none but of what is kept, which the rest of the state says |
//! | events | all below the start, or the last one is a purge |
//! | erasures that go on | none |
//! | ids, ended sessions, producers, times | any: they are no newer than the last event |

use super::{Away, Change, Kept, Kind, Millis, Policy, Purge, Seq, State};

/// Something that keeps a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Users are in it.
    Members,
    /// Sessions are open.
    Sessions,
    /// Names have keys.
    Keys,
    /// Records of names from before a purge are still to be removed.
    Records,
    /// Events are told.
    Events,
    /// It has a policy.
    Policy,
    /// It has a group.
    Group,
    /// An operator said what it keeps.
    Retention,
    /// Something is being erased.
    Erasure,
    /// A change waits for an event or a snapshot.
    Unsaved,
    /// Something that only a later version knows.
    Other,
}

impl Hold {
    const ALL: [Self; 11] = [
        Self::Members,
        Self::Sessions,
        Self::Keys,
        Self::Records,
        Self::Events,
        Self::Policy,
        Self::Group,
        Self::Retention,
        Self::Erasure,
        Self::Unsaved,
        Self::Other,
    ];

    /// As nodes and operators name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Sessions => "sessions",
            Self::Keys => "keys",
            Self::Records => "records",
            Self::Events => "events",
            Self::Policy => "policy",
            Self::Group => "group",
            Self::Retention => "retention",
            Self::Erasure => "erasure",
            Self::Unsaved => "unsaved",
            Self::Other => "other",
        }
    }

    /// By its name, also one of a later version.
    pub fn of(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|hold| hold.as_str() == name);
        known.unwrap_or(Self::Other)
    }
}

impl State {
    /// Whether nothing would be missed of the room if its name had never been used.
    pub fn is_gone(&self) -> bool {
        self.holds().next().is_none()
    }

    /// What would be missed.
    pub fn holds(&self) -> impl Iterator<Item = Hold> {
        let away = &self.away;
        let waits = |change: &Change| !is_of_what_is_kept(change);
        let holds = [
            (Hold::Members, !self.members.is_empty()),
            (Hold::Sessions, !self.sessions.is_empty()),
            (Hold::Keys, self.names() > 0),
            (Hold::Records, !away.stale.is_empty() || !self.may_renew()),
            (Hold::Events, !self.shows_nothing()),
            (
                Hold::Policy,
                self.policy != Policy::default() || self.maker.is_some(),
            ),
            (Hold::Group, self.group.is_some()),
            (Hold::Retention, self.kept.own.is_some()),
            (Hold::Erasure, !self.erasures.pending.is_empty()),
            (Hold::Unsaved, self.unjournaled.iter().any(waits)),
        ];
        holds
            .into_iter()
            .filter_map(|(hold, is_so)| is_so.then_some(hold))
    }

    /// What is kept of a room that is gone where its places must not be given again: how far it
    /// went, and nothing of whom or what was in it. Its records are of a generation that is over,
    /// and to be removed.
    pub fn remains(&self) -> Self {
        let (start, before) = (self.head.next(), self.kept.purge);
        let renewed = Purge {
            seq: self.head,
            at: before.map_or(Millis(0), |purge| purge.at),
        };
        let (purge, stale) = match self.away.is_used {
            true => (Some(renewed), vec![self.generation()]),
            false => (before, Vec::new()),
        };
        Self {
            head: self.head,
            kept: Kept {
                start,
                purge,
                ..Kept::default()
            },
            away: Away {
                stale,
                ..Away::default()
            },
            ..Self::default()
        }
    }

    /// Whether what [`Self::remains`] has another generation than its records.
    fn may_renew(&self) -> bool {
        !self.away.is_used || self.generation() < self.head
    }

    /// Has the next event, if one of these comes, say that nothing of before is told any more: a
    /// journal that is put back to before that has it, and the bus may have nothing that says so,
    /// once the room was removed.
    pub(super) fn begin_anew(&mut self, kinds: &[Kind]) {
        let is_said = |change: &Change| matches!(change, Change::Trimmed { .. });
        let begins = self.head > Seq::ZERO && self.shows_nothing();
        if !kinds.is_empty() && begins && !self.unjournaled.iter().any(is_said) {
            self.change(Change::Trimmed {
                start: self.kept.first(),
                since: self.kept.since,
                bytes: 0,
            });
        }
    }

    /// Whether no event is left that anybody is told of, but that the room was purged.
    fn shows_nothing(&self) -> bool {
        let purged = self.kept.purge.map(|purge| purge.seq);
        self.head == Seq::ZERO || self.kept.start > self.head || purged == Some(self.head)
    }
}

fn is_of_what_is_kept(change: &Change) -> bool {
    matches!(change, Change::Trimmed { .. } | Change::RetentionSet { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{
        Event, Identity, Incarnation, Key, Kind, Maker, Retention, SessionId, UserId,
    };
    use uuid::Uuid;

    fn harry() -> UserId {
        UserId::parse("harry").unwrap()
    }

    fn event(seq: u64, kind: Kind) -> Event {
        Event {
            seq: Seq(seq),
            at: Millis(seq),
            kind,
            changes: Vec::new(),
        }
    }

    /// Somebody came and left, and the room was purged.
    fn purged() -> State {
        let mut state = State::default();
        state.evolve(&event(1, Kind::Joined { user: harry() }));
        state.evolve(&event(2, Kind::Left { user: harry() }));
        state.evolve(&event(3, Kind::Purged));
        state
    }

    fn after(change: Change) -> State {
        let mut state = purged();
        state.change(change);
        state.unjournaled.clear();
        state
    }

    #[test]
    fn a_room_is_gone_when_it_was_purged_trimmed_or_never_written() {
        assert!(purged().is_gone());
        assert!(State::default().is_gone());
        let mut trimmed = State::default();
        trimmed.evolve(&event(1, Kind::Joined { user: harry() }));
        trimmed.evolve(&event(2, Kind::Left { user: harry() }));
        assert!(!trimmed.is_gone(), "that somebody left is shown");
        trimmed.kept.start = Seq(2);
        assert!(!trimmed.is_gone());
        // As retention notes it, for no event to carry.
        trimmed.change(Change::Trimmed {
            start: Seq(3),
            since: Millis(0),
            bytes: 0,
        });
        assert!(trimmed.is_gone());
    }

    /// Somebody came and left, and retention let all of that go.
    fn trimmed() -> State {
        let mut state = State::default();
        state.evolve(&event(1, Kind::Joined { user: harry() }));
        state.evolve(&event(2, Kind::Left { user: harry() }));
        state.kept.start = Seq(3);
        state
    }

    /// Whoever comes later has records of another generation.
    #[test]
    fn records_without_a_key_keep_no_room_and_go_with_it() {
        let mut recorded = trimmed();
        recorded.away.is_used = true;
        recorded.away.freed.insert(harry());
        assert!(recorded.is_gone());
        let remains = recorded.remains();
        assert_eq!((remains.head, remains.generation()), (Seq(2), Seq(2)));
        assert_eq!(
            (remains.away.is_used, &*remains.away.stale),
            (false, &[Seq(0)][..])
        );
        let mut purged = purged();
        purged.away.is_used = true;
        assert!(
            !purged.is_gone(),
            "what remains would have the same generation"
        );
    }

    #[test]
    fn what_was_set_and_taken_back_keeps_no_room() {
        let mut state = purged();
        for own in [Some(Retention::default()), None] {
            let at = Millis(9 + u64::from(own.is_none()));
            state.change(Change::RetentionSet { own, at });
            assert_eq!(state.is_gone(), own.is_none());
        }
    }

    #[test]
    fn what_remains_is_gone_and_goes_on_behind() {
        let mut remains = purged().remains();
        assert!(remains.is_gone());
        assert_eq!((remains.head, remains.generation()), (Seq(3), Seq(3)));
        assert_eq!(remains.ended.len() + remains.sent.len(), 0);
        remains.evolve(&event(4, Kind::Joined { user: harry() }));
        assert!(!remains.is_gone());
        assert_eq!(
            (remains.kept.first(), remains.kept.since),
            (Seq(4), Millis(4))
        );
    }

    #[test]
    fn what_comes_after_a_purge_is_shown() {
        let mut state = purged();
        state.evolve(&event(4, Kind::Joined { user: harry() }));
        assert!(!state.is_gone());
        state.evolve(&event(5, Kind::Left { user: harry() }));
        assert!(!state.is_gone());
        state.evolve(&event(6, Kind::Purged));
        assert!(state.is_gone());
    }

    #[test]
    fn a_room_is_not_gone_while_anything_is_set_or_owned_or_waits() {
        let mut waits = purged();
        waits.change(Change::Closed {
            session: SessionId::new(Uuid::nil()),
        });
        assert!(!waits.is_gone());
        let opened = after(Change::Opened {
            session: SessionId::new(Uuid::nil()),
            user: harry(),
            device: None,
            gateway: Incarnation::new(Uuid::nil()),
        });
        assert!(!opened.is_gone());
        let pinned = after(Change::Pinned {
            user: harry(),
            key: Key::parse("key").unwrap(),
            identity: Identity::Claimed,
        });
        assert!(!pinned.is_gone());
        let kept = after(Change::RetentionSet {
            own: Some(Retention::default()),
            at: Millis(9),
        });
        assert!(!kept.is_gone());
        let sealed = after(Change::PolicySet {
            policy: Policy::Sealed,
            maker: None::<Maker>,
        });
        assert!(!sealed.is_gone());
        let mut recorded = trimmed();
        recorded.away.is_used = true;
        recorded.away.count = 1;
        assert!(!recorded.is_gone(), "a record has a key");
        let mut stale = purged();
        stale.away.stale.push(Seq::ZERO);
        assert!(!stale.is_gone());
    }
}
