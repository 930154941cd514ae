//! What waits in a lane to be put into a batch. Messages wait in one queue. A handshake is dear and
//! ends its batch, so it waits in its session, and what the session says behind it waits there,
//! too: sessions take turns, one handshake in a batch, and one of a session under way. So a session
//! that floods the room with handshakes holds up itself.

use super::State;
use crate::room::{Body, SessionId, Turn};
use std::collections::VecDeque;

impl<T: Clone> State<T> {
    /// Adds a message behind all others of its session.
    pub(super) fn enqueue(&mut self, turn: Turn) {
        let is_handshake = self.is_handshake(turn);
        match self.sessions.get_mut(&turn.session) {
            Some(waiting) if is_handshake || !waiting.shut.is_empty() => {
                if waiting.shut.is_empty() {
                    self.changers.push_back(turn.session);
                }
                waiting.shut.push_back(turn.number);
                // It was in a batch that goes again.
                waiting.under_way.take_if(|number| *number == turn.number);
            }
            Some(_) => self.queue.push_back(turn),
            None => {}
        }
    }

    /// Takes the handshake whose turn it is, if it may go: the caller says so of its session and
    /// size.
    pub(super) fn take_handshake(
        &mut self,
        mut may_go: impl FnMut(SessionId, usize) -> bool,
    ) -> Option<Turn> {
        for _ in 0..self.changers.len() {
            let session = self.changers.pop_front()?;
            let Some(number) = self.open(session) else {
                continue;
            };
            let turn = Turn { session, number };
            let size = self.entries.get(&turn).map(|it| it.message.body.size());
            let waiting = self.sessions.get_mut(&session)?;
            // What it said before goes first.
            let is_next = waiting.under_way.is_none()
                && !self.queue.iter().any(|turn| turn.session == session);
            if !is_next {
                self.changers.push_back(session);
                continue;
            }
            if !may_go(session, size.unwrap_or_default()) {
                self.changers.push_front(session);
                return None;
            }
            waiting.shut.pop_front();
            waiting.under_way = Some(number);
            if self.open(session).is_some() {
                self.changers.push_back(session);
            }
            return Some(turn);
        }
        None
    }

    /// A handshake of a session was answered while it waited to go again: what is behind it goes
    /// on.
    pub(super) fn reopen(&mut self, session: SessionId) {
        if self.open(session).is_none() {
            self.changers.retain(|other| *other != session);
        }
    }

    /// Queues what a session said before its first handshake; the number of that.
    fn open(&mut self, session: SessionId) -> Option<u64> {
        loop {
            let number = *self.sessions.get(&session)?.shut.front()?;
            let turn = Turn { session, number };
            let is_there = self.entries.contains_key(&turn);
            if is_there && self.is_handshake(turn) {
                return Some(number);
            }
            let waiting = self.sessions.get_mut(&session)?;
            waiting.shut.pop_front();
            if is_there {
                self.queue.push_back(turn);
            }
        }
    }

    /// Takes all that waits, in the order in which it is to be queued again.
    pub(super) fn take_queue(&mut self) -> VecDeque<Turn> {
        let mut all = std::mem::take(&mut self.queue);
        for session in std::mem::take(&mut self.changers) {
            all.extend(self.shut(session));
        }
        for waiting in self.sessions.values_mut() {
            waiting.shut.clear();
        }
        self.is_due = false;
        all
    }

    /// What a session said from its first waiting handshake on.
    pub(super) fn shut(&self, session: SessionId) -> impl Iterator<Item = Turn> + '_ {
        let numbers = self.sessions.get(&session).into_iter();
        let numbers = numbers.flat_map(|waiting| &waiting.shut);
        numbers.map(move |number| Turn {
            session,
            number: *number,
        })
    }

    fn is_handshake(&self, turn: Turn) -> bool {
        let entry = self.entries.get(&turn);
        entry.is_some_and(|entry| matches!(entry.message.body, Body::Handshake(_)))
    }
}
