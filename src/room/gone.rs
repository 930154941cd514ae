//! Whether a room is gone: whether its state says no more than that of a room that was never
//! written, but for how far it went. Pure; when its last event was stored, its journal knows.
//!
//! | of the state | of a room that is gone |
//! |---|---|
//! | members, open sessions | none |
//! | keys, also in records that are to be removed | none: no name with a key is free by itself |
//! | policy, group, own retention | none was set |
//! | changes that wait for an event | none but of what is kept, which the rest of the state says |
//! | events | all below the start, or the last one is a purge |
//! | erasures that go on | none |
//! | ids, ended sessions, producers, times | any: they are no newer than the last event |

use super::{Change, Kept, Policy, Seq, State};

impl State {
    /// Whether nothing would be missed of the room if its name had never been used.
    pub fn is_gone(&self) -> bool {
        self.shows_nothing() && self.belongs_to_nobody() && self.has_no_settings()
    }

    /// What is kept of a room that is gone where its places must not be given again: how far it
    /// went, and nothing of whom or what was in it.
    pub fn remains(&self) -> Self {
        let start = self.head.next();
        Self {
            head: self.head,
            kept: Kept {
                start,
                purge: self.kept.purge,
                ..Kept::default()
            },
            ..Self::default()
        }
    }

    /// Whether no event is left that anybody is told of, but that the room was purged.
    fn shows_nothing(&self) -> bool {
        let purged = self.kept.purge.map(|purge| purge.seq);
        self.head == Seq::ZERO || self.kept.start > self.head || purged == Some(self.head)
    }

    fn belongs_to_nobody(&self) -> bool {
        let away = &self.away;
        self.members.is_empty()
            && self.sessions.is_empty()
            && self.pins.is_empty()
            && !away.is_used
            && away.stale.is_empty()
    }

    fn has_no_settings(&self) -> bool {
        self.policy == Policy::default()
            && self.maker.is_none()
            && self.group.is_none()
            && self.kept.own.is_none()
            && self.erasures.pending.is_empty()
            && self.unjournaled.iter().all(is_of_what_is_kept)
    }
}

fn is_of_what_is_kept(change: &Change) -> bool {
    matches!(
        change,
        Change::Trimmed { .. } | Change::Rewritten { .. } | Change::RetentionSet { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{
        Event, Identity, Incarnation, Key, Kind, Maker, Millis, Retention, SessionId, UserId,
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
        let mut recorded = purged();
        recorded.away.is_used = true;
        assert!(!recorded.is_gone());
        let mut stale = purged();
        stale.away.stale.push(Seq::ZERO);
        assert!(!stale.is_gone());
    }
}
