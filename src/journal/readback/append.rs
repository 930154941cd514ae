//! The rooms that are open for appending, and which commit of each has no definite outcome yet.

use super::{Error, Row};
use crate::{
    bus::Commit,
    journal::codec,
    room::{Epoch, RoomId, Seq},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The open rooms of this process.
#[derive(Default)]
pub(super) struct Rooms(Mutex<HashMap<RoomId, Open>>);

struct Open {
    epoch: Epoch,
    head: Seq,
    /// The commit that was sent and has no definite outcome.
    pending: Option<Commit>,
}

/// A commit that is about to be sent.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    /// It is the first of its room.
    pub(super) is_first: bool,
    /// It was sent before, without a definite outcome.
    is_repeated: bool,
}

/// The rows of a commit.
pub(super) fn rows(commit: &Commit) -> Vec<Row> {
    let (epoch, first) = (commit.epoch, commit.first());
    commit.events.iter().map(|event| Row { epoch, first, event: codec::encode_event(event) }).collect()
}

impl Rooms {
    /// Refuses a room that was given up under this very epoch while the outcome of a commit was not known: what that commit wrote may still appear,
    /// and one (place, epoch) has one content only.
    pub(super) fn check_openable(&self, room: &RoomId, epoch: Epoch) -> Result<(), Error> {
        match self.lock().get(room) {
            Some(open) if open.epoch == epoch && open.pending.is_some() => Err(Error::Fenced { seen: epoch }),
            _ => Ok(()),
        }
    }

    pub(super) fn opened(&self, room: &RoomId, epoch: Epoch, head: Seq) {
        self.lock().insert(room.clone(), Open { epoch, head, pending: None });
    }

    pub(super) fn close(&self, room: &RoomId) {
        let mut rooms = self.lock();
        if rooms.get(room).is_some_and(|open| open.pending.is_none()) {
            rooms.remove(room);
        }
    }

    /// Forgets rooms under whatever epoch: there is a new one.
    pub(super) fn forget(&self, which: impl Fn(&RoomId) -> bool) {
        self.lock().retain(|room, _| !which(room));
    }

    /// Notes that a commit is sent. It stays noted until [`Rooms::end`], also when the sender stops waiting. [`Error::Fenced`] when the room is not
    /// open under the commit's epoch (any more).
    pub(super) fn begin(&self, room: &RoomId, commit: &Commit) -> Result<Begun, Error> {
        let mut rooms = self.lock();
        let Some(open) = rooms.get_mut(room) else { return Err(Error::Fenced { seen: commit.epoch }) };
        if open.epoch != commit.epoch {
            return Err(Error::Fenced { seen: open.epoch.max(commit.epoch) });
        }
        assert_eq!(commit.first(), open.head.next(), "a commit follows the last one");
        let is_repeated = open.pending.is_some();
        assert!(open.pending.as_ref().is_none_or(|pending| pending == commit), "one (place, epoch) has one content only");
        open.pending = Some(commit.clone());
        Ok(Begun { is_first: open.head == Seq::ZERO, is_repeated })
    }

    pub(super) fn end(&self, room: &RoomId, commit: &Commit, begun: Begun, written: Result<(), Error>) -> Result<(), Error> {
        let mut rooms = self.lock();
        // A new claim of the shard has forgotten the room: the epoch is over.
        let Some(open) = rooms.get_mut(room).filter(|open| open.epoch == commit.epoch) else {
            return written.and(Err(Error::Fenced { seen: commit.epoch }));
        };
        match written {
            Ok(()) => {
                open.head = commit.last();
                open.pending = None;
                Ok(())
            }
            Err(Error::Unknown(why)) => Err(Error::Unknown(why)),
            // This attempt did not happen, but the one before may have.
            Err(error) if begun.is_repeated => Err(Error::Unknown(error.to_string())),
            Err(error) => {
                open.pending = None;
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
