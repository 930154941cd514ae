//! An erasure: an operator has the content of a user's messages taken out of a room, up to an event
//! that says so ([`super::Kind::Erased`]). That there were messages, of whom, when and for whom
//! stays. Nothing journaled is changed: the owner keeps copies without the content, and then has
//! the journal remove what it copied. Until then nobody is told what is to go. Pure.

use super::{Body, Event, Kind, Limits, Millis, Seq, State, UserId};
use std::collections::BTreeMap;

/// How long after an erasure its command is known, in milliseconds: far longer than a successor
/// reads back.
const KNOWN_MS: u64 = 24 * 60 * 60 * 1000;

/// Whose content up to which place is to go, or is not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasing(BTreeMap<UserId, Seq>);

/// What was erased of a room, and is being erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasures {
    /// What is still stored, by name.
    pub pending: BTreeMap<UserId, Erasure>,
    /// When the others were asked for, so that a command that is read again takes nothing that came
    /// since; for a day, the newest [`Limits::ERASED`].
    pub done: BTreeMap<UserId, Millis>,
}

/// An erasure that is not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// The last place that it is about: the one before its event.
    pub through: Seq,
    /// The stored time of its command.
    pub at: Millis,
    /// Bytes of content that came since.
    pub bytes_since: u64,
}

impl Event {
    /// Without its content, if an erasure can take that out.
    pub fn erased(&self) -> Self {
        let mut event = self.clone();
        if let Kind::Message { body, .. } = &mut event.kind
            && !matches!(body, Body::Handshake(_))
        {
            *body = Body::Erased;
        }
        event
    }

    /// Whether both are the same event: what was erased in one may still be in the other.
    pub fn is_also(&self, other: &Self) -> bool {
        self == other || self.erased() == *other || *self == other.erased()
    }
}

impl Kind {
    /// Who said something that an erasure takes out; `None`: there is nothing to take.
    fn speaker(&self) -> Option<&UserId> {
        match self {
            Self::Message {
                from,
                body: Body::Text(_) | Body::Sealed(_),
                ..
            } => Some(from),
            _ => None,
        }
    }
}

impl Erasing {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name, and the last place that goes.
    pub fn iter(&self) -> impl Iterator<Item = (&UserId, Seq)> {
        self.0.iter().map(|(user, through)| (user, *through))
    }

    /// The last place that goes of anybody.
    pub fn last(&self) -> Seq {
        self.0.values().copied().max().unwrap_or_default()
    }

    /// Adds what a user said up to a place.
    pub fn add(&mut self, user: UserId, through: Seq) {
        let known = self.0.entry(user).or_default();
        *known = through.max(*known);
    }

    /// What went up to this place is done.
    pub fn done(&mut self, through: Seq) {
        self.0.retain(|_, last| *last > through);
    }

    /// Forgets all but the newest.
    pub fn keep_newest(&mut self, most: usize) {
        while self.0.len() > most {
            let oldest = self.0.iter().min_by_key(|(_, through)| **through);
            if let Some(user) = oldest.map(|(user, _)| user.clone()) {
                self.0.remove(&user);
            }
        }
    }

    /// Whether the content of an event goes.
    pub fn hides(&self, event: &Event) -> bool {
        !self.0.is_empty()
            && event
                .kind
                .speaker()
                .and_then(|from| self.0.get(from))
                .is_some_and(|through| event.seq <= *through)
    }

    /// Takes out what goes.
    pub fn apply(&self, events: &mut [Event]) {
        for event in events.iter_mut().filter(|event| self.hides(event)) {
            *event = event.erased();
        }
    }
}

impl FromIterator<(UserId, Seq)> for Erasing {
    fn from_iter<T: IntoIterator<Item = (UserId, Seq)>>(all: T) -> Self {
        let mut erasing = Self::default();
        for (user, through) in all {
            erasing.add(user, through);
        }
        erasing
    }
}

impl Erasures {
    /// What is still to go.
    pub fn erasing(&self) -> Erasing {
        let pending = self.pending.iter();
        pending
            .map(|(user, erasure)| (user.clone(), erasure.through))
            .collect()
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.pending.len() + self.done.len()
    }

    /// Whether there was none, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether another user's content can be erased now.
    pub(super) fn takes(&self, user: &UserId) -> bool {
        self.pending.len() < Limits::ERASING || self.pending.contains_key(user)
    }

    /// Whether a command of this time was decided when it was first read.
    pub(super) fn precedes(&self, user: &UserId, at: Millis) -> bool {
        let pending = self.pending.get(user).map(|erasure| erasure.at);
        let last = pending.or_else(|| self.done.get(user).copied());
        last.is_some_and(|last| at <= last)
    }

    /// An event was added.
    pub(super) fn add(&mut self, event: &Event) {
        if self.is_empty() {
            return;
        }
        for erasure in self.pending.values_mut() {
            erasure.bytes_since += event.size() as u64;
        }
        let is_known = |at: &Millis| event.at.0 <= at.0.saturating_add(KNOWN_MS);
        self.done.retain(|_, at| is_known(at));
    }

    fn begin(&mut self, user: &UserId, through: Seq, at: Millis) {
        self.done.remove(user);
        let erasure = Erasure {
            through,
            at,
            bytes_since: 0,
        };
        self.pending.insert(user.clone(), erasure);
    }

    /// Everything up to a place is copied and gone: the bytes since then.
    fn finish(&mut self, through: Seq) -> Option<u64> {
        let mut since = None;
        self.pending.retain(|user, erasure| {
            if erasure.through == through {
                since = Some(erasure.bytes_since);
            }
            if erasure.through <= through {
                self.done.insert(user.clone(), erasure.at);
            }
            erasure.through > through
        });
        while self.done.len() > Limits::ERASED {
            let oldest = self.done.iter().min_by_key(|(user, at)| (**at, *user));
            if let Some(oldest) = oldest.map(|(user, _)| user.clone()) {
                self.done.remove(&oldest);
            }
        }
        since
    }
}

impl State {
    /// The event of an erasure.
    pub(super) fn erase(&mut self, user: &UserId, through: Seq, at: Millis) {
        self.erasures.begin(user, through, at);
    }

    /// What was to go up to a place is gone from the journal, which leaves so many bytes up to
    /// there. Only a snapshot says so: it lies where the copies are, and is of the same time. An
    /// event does not, since it may come back from elsewhere into a journal that was put back to
    /// before. An owner that finds it nowhere does all of it again.
    pub fn rewritten(&mut self, through: Seq, bytes: u64) {
        let since = self.erasures.finish(through);
        if let Some(since) = since.filter(|_| self.kept.first() <= through) {
            self.kept.bytes = bytes.saturating_add(since);
        }
    }
}
