//! What a room remembers, and how events and changes alter it.

use super::{
    Attempt, Away, Body, Change, Erasures, Event, Group, Identity, Incarnation, Kept, Key, Kind,
    Limits, Maker, MessageKey, Millis, Pin, Policy, Producers, Purge, Reason, Sent, Seq, Session,
    SessionId, Sessions, UserId, Window,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was open once.
    Closed,
    /// It was never admitted, for this reason.
    Refused(Reason),
}

/// The state of a room: everything that deciding needs, rebuilt by replay.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The last place taken.
    pub head: Seq,
    /// Users who are here, by name.
    pub members: BTreeSet<UserId>,
    /// Open sessions.
    pub sessions: Sessions,
    /// Whose each name is.
    pub pins: HashMap<UserId, Pin>,
    /// Which of them are in records of their own.
    pub away: Away,
    /// When the key was last taken away from a name; the newest [`Limits::UNPINNED`].
    pub unpinned: HashMap<UserId, Millis>,
    /// The messages of the dedupe window.
    pub sent: Window<MessageKey, Sent>,
    /// Sessions that are over, the newest [`Limits::ENDED_SESSIONS`].
    pub ended: Window<SessionId, Ended>,
    /// Commands that ended the sessions of a node, by node and stored time; the newest
    /// [`Limits::ABANDONS`].
    pub abandoned: Window<(Incarnation, Millis), ()>,
    /// How far each gateway's batches are decided.
    pub producers: Producers,
    /// What it asks of those who come and of what is said.
    pub policy: Policy,
    /// Of a sealed room: who made it.
    pub maker: Option<Maker>,
    /// Of a sealed room: its group, once somebody has founded it.
    pub group: Option<Group>,
    /// How much of the past there is, and is to be.
    pub kept: Kept,
    /// Whose content was erased, and is being erased.
    pub erasures: Erasures,
    /// Changes since the last event, in order. The next event takes them along.
    pub unjournaled: Vec<Change>,
    /// What is stored of them for a later head ([`State::carried`]); gone once a replay is there.
    pub beside: Option<Carried>,
}

/// What the event behind a head is to take along, stored beside a snapshot of that head or of an
/// earlier one.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// The head.
    pub seq: Seq,
    /// All changes since that.
    pub changes: Vec<Change>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            head: Seq::ZERO,
            members: BTreeSet::new(),
            sessions: Sessions::default(),
            pins: HashMap::new(),
            away: Away::default(),
            unpinned: HashMap::new(),
            sent: Window::new(Limits::WINDOW),
            ended: Window::new(Limits::ENDED_SESSIONS),
            abandoned: Window::new(Limits::ABANDONS),
            producers: Producers::default(),
            policy: Policy::default(),
            maker: None,
            group: None,
            kept: Kept::default(),
            erasures: Erasures::default(),
            unjournaled: Vec::new(),
            beside: None,
        }
    }
}

impl State {
    /// How many records it consists of: what a snapshot of it costs.
    pub fn records(&self) -> usize {
        self.members.len()
            + self.sessions.len()
            + self.pins.len()
            + self.away.freed.len()
            + self.unpinned.len()
            + self.sent.len()
            + self.ended.len()
            + self.abandoned.len()
            + self.erasures.len()
    }

    /// Applies the next event: first its changes, unless those that wait here are the first of them
    /// and so applied already; then what it is.
    ///
    /// # Panics
    /// When the event is not the next one: the sequence is dense.
    pub fn evolve(&mut self, event: &Event) {
        assert_eq!(
            event.seq,
            self.head.next(),
            "the sequence of a room is dense"
        );
        if let Some(carried) = self.beside.take_if(|carried| carried.seq < event.seq) {
            self.take_up(carried);
        }
        let applied = if event.changes.starts_with(&self.unjournaled) {
            self.unjournaled.len()
        } else {
            0
        };
        for change in &event.changes[applied..] {
            self.apply(change);
        }
        self.unjournaled.clear();
        self.head = event.seq;
        self.kept.add(event);
        self.erasures.add(event);
        self.forget_before_purge(event.at);
        match &event.kind {
            Kind::Joined { user } => {
                self.members.insert(user.clone());
            }
            Kind::Left { user } => {
                self.members.remove(user);
            }
            Kind::Unpinned { user, .. } => self.unpin(user, event.at),
            Kind::Purged => self.purge(Purge {
                seq: event.seq,
                at: event.at,
            }),
            Kind::Erased { user, through } => self.erase(user, *through, event.at),
            Kind::Message {
                from,
                id,
                turn,
                request,
                body,
                ..
            } => {
                if let Body::Handshake(bytes) = body {
                    self.handshake(from, bytes, event.at, event.seq);
                }
                if let Some(id) = id {
                    let sent = Sent::new(event.seq, Attempt::of(*turn, *request));
                    self.placed(from, id, sent);
                }
                if let Some(turn) = turn {
                    self.sessions.said(*turn);
                }
            }
        }
    }

    /// Goes on at a later place, or stays at this one: the events between are gone from the
    /// journal, and what they changed is not known.
    pub fn skip_to(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// Ends a replay at a place, or where it is already: what is stored for this head applies, also
    /// if events before it are gone.
    pub fn end_at(&mut self, head: Seq) {
        self.skip_to(head);
        if let Some(carried) = self.beside.take() {
            self.take_up(carried);
        }
    }

    fn take_up(&mut self, carried: Carried) {
        carried.changes.iter().for_each(|change| self.apply(change));
        self.unjournaled = carried.changes;
    }

    /// What the next event is to take along, to be stored beside a snapshot.
    pub fn carried(&self) -> Carried {
        Carried {
            seq: self.head,
            changes: self.unjournaled.clone(),
        }
    }

    /// Applies a change that waits for the next event to carry it.
    pub fn change(&mut self, change: Change) {
        self.apply(&change);
        self.unjournaled.push(change);
    }

    /// The first `count` changes that wait for an event are in a stored snapshot: the next event
    /// needs not carry them. Changes are all different, so the next event does not look as if it
    /// carried them. What an operator set waits all the same, if it `may_wait`: events outlive a
    /// database that is put back to an earlier state, and its snapshots do not.
    pub fn saved(&mut self, count: usize, may_wait: bool) {
        let saved: Vec<Change> = self.unjournaled.drain(..count).collect();
        let is_set = |change: &Change| may_wait && matches!(change, Change::RetentionSet { .. });
        let newest = saved.into_iter().rfind(is_set);
        self.unjournaled.splice(..0, newest);
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Opened {
                session,
                user,
                device,
                gateway,
            } => {
                let (user, device, gateway) = (user.clone(), device.clone(), *gateway);
                let opened = Session {
                    user,
                    device,
                    gateway,
                    last: 0,
                    repeats: BTreeMap::new(),
                    skipped: VecDeque::new(),
                };
                self.sessions.insert(*session, opened);
            }
            Change::Closed { session } => {
                self.sessions.remove(*session);
                self.ended.insert(*session, Ended::Closed);
            }
            Change::Refused { session, reason } => {
                self.ended.insert(*session, Ended::Refused(*reason))
            }
            Change::Abandoned { gateway, at } => self.abandoned.insert((*gateway, *at), ()),
            Change::DuplicateRecorded { turn, seq } => self.sessions.repeated(*turn, *seq),
            Change::BatchTaken { from, repeats } => self.producers.take(*from, repeats),
            Change::Pinned {
                user,
                key,
                identity,
            } => self.pin(user, key, *identity),
            Change::Recalled {
                user,
                key,
                identity,
            } => self.recall(user, key, *identity),
            Change::PolicySet { policy, maker } => {
                (self.policy, self.maker) = (*policy, maker.clone());
            }
            Change::RetentionSet { own, at } => self.kept.say(*own, *at),
            Change::Trimmed {
                start,
                since,
                bytes,
            } => self.kept.trim(*start, *since, *bytes),
        }
    }

    fn pin(&mut self, user: &UserId, key: &Key, identity: Identity) {
        // An owner of an older version takes what stands for a token for a key.
        if key.is_vouched() {
            return;
        }
        let known = self.pins.get(user);
        let pin = Pin::after(known.cloned(), key, identity);
        // Who shows more of the key need not be who has shown less.
        if known.is_some_and(|known| known.identity < pin.identity) {
            self.release(user);
        }
        self.pins.insert(user.clone(), pin);
        self.away.freed.remove(user);
    }

    fn unpin(&mut self, user: &UserId, at: Millis) {
        self.release(user);
        self.pins.remove(user);
        if self.away.is_used {
            self.away.freed.insert(user.clone());
        }
        let last = self.unpinned.entry(user.clone()).or_default();
        *last = at.max(*last);
        if self.unpinned.len() > Limits::UNPINNED {
            let oldest = self.unpinned.iter().min_by_key(|(user, at)| (*at, *user));
            if let Some(oldest) = oldest.map(|(user, _)| user.clone()) {
                self.unpinned.remove(&oldest);
            }
        }
    }

    /// Whether a command of this time came before an operator took the key away from the name, so
    /// that it was decided when it was first read.
    pub(super) fn precedes_unpin(&self, user: &UserId, at: Millis) -> bool {
        self.unpinned.get(user).is_some_and(|last| at <= *last)
    }
}
