//! The open sessions of a room, by id and by user.

use super::{DeviceId, Incarnation, Limits, Seq, SessionId, Turn, UserId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user: UserId,
    /// Its device, if it named one.
    pub device: Option<DeviceId>,
    /// The node that holds the connection.
    pub gateway: Incarnation,
    /// The number of its last message that is in the room; 0: none is.
    pub last: u64,
    /// Of its messages that were there before, by number: where. The newest [`Limits::REPEATS`].
    pub repeats: BTreeMap<u64, Seq>,
    /// Numbers below `last`, first to last, of messages that are not in the room: they were
    /// refused, or their events are gone. The newest [`Limits::SKIPPED`] ranges.
    pub skipped: VecDeque<(u64, u64)>,
}

impl Session {
    /// A message with this number is in the room; those that it passes over will never be.
    fn reaches(&mut self, number: u64) {
        if number <= self.last {
            return;
        }
        if number > self.last + 1 {
            self.skipped.push_back((self.last + 1, number - 1));
            if self.skipped.len() > Limits::SKIPPED {
                self.skipped.pop_front();
            }
        }
        self.last = number;
    }

    /// Whether a later message was placed and this one was not.
    pub(super) fn has_skipped(&self, number: u64) -> bool {
        let holds = |(first, last): &(u64, u64)| (*first..=*last).contains(&number);
        self.skipped.iter().any(holds)
    }
}

/// The open sessions of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    by_user: HashMap<UserId, Vec<SessionId>>,
}

impl Sessions {
    /// Adds an open session; one that is there already stays as it is.
    pub fn insert(&mut self, id: SessionId, session: Session) {
        if self.by_id.contains_key(&id) {
            return;
        }
        self.by_user
            .entry(session.user.clone())
            .or_default()
            .push(id);
        self.by_id.insert(id, session);
    }

    /// Removes a session; one that is not there is left alone.
    pub fn remove(&mut self, id: SessionId) {
        let Some(session) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(ids) = self.by_user.get_mut(&session.user) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_user.remove(&session.user);
            }
        }
    }

    /// A message of a session was in the room before, at this place; one that is not open is left
    /// alone.
    pub fn repeated(&mut self, turn: Turn, seq: Seq) {
        self.said(turn);
        if let Some(session) = self.by_id.get_mut(&turn.session) {
            session.repeats.insert(turn.number, seq);
            if session.repeats.len() > Limits::REPEATS {
                session.repeats.pop_first();
            }
        }
    }

    /// A message of a session is in the room; one that is not open is left alone.
    pub fn said(&mut self, turn: Turn) {
        if let Some(session) = self.by_id.get_mut(&turn.session) {
            session.reaches(turn.number);
        }
    }

    /// An open session.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// Whether a session is open.
    pub fn contains(&self, id: SessionId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The open sessions of a user, oldest first.
    pub fn of(&self, user: &UserId) -> &[SessionId] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }

    /// All open sessions, by id.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.by_id.iter().map(|(id, session)| (*id, session))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
