//! The rooms that are open for appending, and which commit of each has no definite outcome yet.

use super::Error;
use crate::{
    bus::Commit,
    room::{Epoch, RoomId, Seq},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The open rooms of this process. `T`: what the adapter keeps of the end of each.
pub(super) struct Rooms<T>(Mutex<HashMap<RoomId, Open<T>>>);

struct Open<T> {
    epoch: Epoch,
    head: Seq,
    at: T,
    /// The commit that was sent and has no definite outcome.
    pending: Option<Commit>,
}

/// A commit that is about to be sent.
#[derive(Clone, Copy)]
pub(super) struct Begun<T> {
    /// It is the first of its room.
    pub(super) is_first: bool,
    /// What the adapter keeps of the end before it.
    pub(super) at: T,
    /// It was sent before, without a definite outcome.
    is_repeated: bool,
}

impl<T> Default for Rooms<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Rooms<T> {
    /// Refuses a room that was given up under this very epoch while the outcome of a commit was not
    /// known: what that commit wrote may still appear, and one (place, epoch) has one content only.
    pub(super) fn check_openable(&self, room: &RoomId, epoch: Epoch) -> Result<(), Error> {
        match self.lock().get(room) {
            Some(open) if open.epoch == epoch && open.pending.is_some() => {
                Err(Error::Fenced { seen: epoch })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn opened(&self, room: &RoomId, epoch: Epoch, head: Seq, at: T) {
        self.lock().insert(
            room.clone(),
            Open {
                epoch,
                head,
                at,
                pending: None,
            },
        );
    }

    pub(super) fn close(&self, room: &RoomId) {
        let mut rooms = self.lock();
        if rooms.get(room).is_some_and(|open| open.pending.is_none()) {
            rooms.remove(room);
        }
    }

    /// Forgets rooms by name and epoch.
    pub(super) fn forget(&self, which: impl Fn(&RoomId, Epoch) -> bool) {
        self.lock().retain(|room, open| !which(room, open.epoch));
    }

    /// The end of a room that is open under an epoch: its head, and what the adapter keeps of it.
    pub(super) fn end_of(&self, room: &RoomId, epoch: Epoch) -> Result<(Seq, T), Error> {
        let rooms = self.lock();
        rooms
            .get(room)
            .filter(|open| open.epoch == epoch)
            .map(|open| (open.head, open.at))
            .ok_or(Error::Fenced { seen: epoch })
    }

    /// Refuses unless a room is open under an epoch, ends at `head`, and has no commit on its way.
    pub(super) fn check_quiet(&self, room: &RoomId, epoch: Epoch, head: Seq) -> Result<(), Error> {
        let (end, _) = self.end_of(room, epoch)?;
        match end == head && !self.is_beyond(room, head) {
            true => Ok(()),
            false => Err(Error::Unavailable(format!(
                "room {room} does not end at event {head} any more"
            ))),
        }
    }

    /// Whether a room has a commit beyond a place, or one may be on its way.
    pub(super) fn is_beyond(&self, room: &RoomId, seq: Seq) -> bool {
        let rooms = self.lock();
        rooms
            .get(room)
            .is_some_and(|open| open.head > seq || open.pending.is_some())
    }

    /// Notes where the end of an empty room is now. A commit that is under way notes its own end.
    pub(super) fn anchored(&self, room: &RoomId, epoch: Epoch, at: T) {
        let mut rooms = self.lock();
        let empty = |open: &&mut Open<T>| {
            open.epoch == epoch && open.head == Seq::ZERO && open.pending.is_none()
        };
        if let Some(open) = rooms.get_mut(room).filter(empty) {
            open.at = at;
        }
    }

    /// Notes that a commit is sent. It stays noted until [`Rooms::end`], also when the sender stops
    /// waiting. [`Error::Fenced`] when the room is not open under the commit's epoch (any more).
    pub(super) fn begin(
        &self,
        room: &RoomId,
        epoch: Epoch,
        commit: &Commit,
    ) -> Result<Begun<T>, Error> {
        assert_eq!(commit.epoch, epoch, "a commit is of its owner's epoch");
        let mut rooms = self.lock();
        let Some(open) = rooms.get_mut(room) else {
            return Err(Error::Fenced { seen: commit.epoch });
        };
        if open.epoch != commit.epoch {
            return Err(Error::Fenced {
                seen: open.epoch.max(commit.epoch),
            });
        }
        assert_eq!(
            commit.first(),
            open.head.next(),
            "a commit follows the last one"
        );
        let is_repeated = open.pending.is_some();
        assert!(
            open.pending
                .as_ref()
                .is_none_or(|pending| pending == commit),
            "one (place, epoch) has one content only"
        );
        open.pending = Some(commit.clone());
        Ok(Begun {
            is_first: open.head == Seq::ZERO,
            at: open.at,
            is_repeated,
        })
    }

    /// Notes what became of a commit.
    pub(super) fn end(
        &self,
        room: &RoomId,
        commit: &Commit,
        begun: Begun<T>,
        written: Result<T, Error>,
    ) -> Result<(), Error> {
        let mut rooms = self.lock();
        // A new claim of the shard has forgotten the room: the epoch is over.
        let Some(open) = rooms
            .get_mut(room)
            .filter(|open| open.epoch == commit.epoch)
        else {
            return written.and(Err(Error::Fenced { seen: commit.epoch }));
        };
        match written {
            Ok(at) => {
                open.head = commit.last();
                open.at = at;
                open.pending = None;
                Ok(())
            }
            Err(error @ (Error::Unknown(_) | Error::Fenced { .. })) => Err(error),
            // No repetition can happen any more, and whether the attempt before did, the next
            // opening finds; its claim keeps a late one out.
            Err(Error::TooLarge(_)) if begun.is_repeated => {
                Err(Error::Fenced { seen: commit.epoch })
            }
            // This attempt did not happen, but the one before may have.
            Err(error) if begun.is_repeated => Err(Error::Unknown(error.to_string())),
            Err(error) => {
                open.pending = None;
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Open<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Event, Kind, Millis, UserId};

    fn commit(seq: u64, user: &str) -> Commit {
        let kind = Kind::Left {
            user: UserId::parse(user).unwrap(),
        };
        Commit {
            epoch: Epoch(1),
            events: vec![Event {
                seq: Seq(seq),
                at: Millis(0),
                kind,
                changes: vec![],
            }],
        }
    }

    fn opened() -> (Rooms<()>, RoomId) {
        let (rooms, room) = (Rooms::default(), RoomId::parse("r").unwrap());
        rooms.opened(&room, Epoch(1), Seq::ZERO, ());
        (rooms, room)
    }

    #[test]
    fn an_attempt_that_did_not_happen_leaves_an_earlier_one_unknown() {
        let (rooms, room) = opened();
        let first = commit(1, "harry");
        let unknown = rooms.end(
            &room,
            &first,
            rooms.begin(&room, Epoch(1), &first).unwrap(),
            Err(Error::Unknown("lost".into())),
        );
        assert!(matches!(unknown, Err(Error::Unknown(_))));
        let refused = rooms.end(
            &room,
            &first,
            rooms.begin(&room, Epoch(1), &first).unwrap(),
            Err(Error::Unavailable("refused".into())),
        );
        assert!(matches!(refused, Err(Error::Unknown(_))), "{refused:?}");
    }

    #[test]
    fn a_repetition_that_does_not_fit_ends_the_ownership() {
        let (rooms, room) = opened();
        let first = commit(1, "harry");
        let too_large = || Err(Error::TooLarge("limit".into()));
        let begin = || rooms.begin(&room, Epoch(1), &first).unwrap();
        let refused = rooms.end(&room, &first, begin(), too_large());
        assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
        let unknown = Err(Error::Unknown("lost".into()));
        rooms.end(&room, &first, begin(), unknown).unwrap_err();
        let given_up = rooms.end(&room, &first, begin(), too_large());
        assert!(matches!(given_up, Err(Error::Fenced { seen: Epoch(1) })));
        rooms.check_openable(&room, Epoch(2)).unwrap();
    }

    #[test]
    #[should_panic(expected = "one content only")]
    fn after_an_unknown_outcome_no_other_commit_is_sent() {
        let (rooms, room) = opened();
        rooms.begin(&room, Epoch(1), &commit(1, "harry")).unwrap();
        rooms.begin(&room, Epoch(1), &commit(1, "charly")).ok();
    }

    #[test]
    fn a_room_given_up_with_an_unknown_outcome_needs_a_new_epoch() {
        let (rooms, room) = opened();
        rooms.begin(&room, Epoch(1), &commit(1, "harry")).unwrap();
        rooms.close(&room);
        assert!(matches!(
            rooms.check_openable(&room, Epoch(1)),
            Err(Error::Fenced { seen: Epoch(1) })
        ));
        rooms.check_openable(&room, Epoch(2)).unwrap();
    }
}
