//! The clients of one room on this gateway: who gets which event, and whose session is over.

use super::{Attach, CatchUp, log::Recent};
use crate::{
    bus::{PART, members_after},
    gateway::{Close, Outbox, history_cache::Page, metrics, outbox::Form, websocket::Feeds},
    room::{Change, DeviceId, Epoch, Event, Identity, Policy, Seq, SessionId, UserId, Window},
    wire::{Encoded, ServerFrame, SharedEvent},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Sessions that ended lately, in case one of them is about to be added: more than may join at a
/// time.
const ENDED: usize = 4096;

/// Names a subscriber within its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::gateway) struct SubscriberId(pub(super) u64);

/// Whose session a subscriber is.
#[derive(Clone)]
pub(in crate::gateway) struct SessionRef {
    pub(in crate::gateway) id: SessionId,
    pub(in crate::gateway) user: UserId,
    pub(in crate::gateway) identity: Identity,
    pub(in crate::gateway) device: Option<DeviceId>,
}

struct Subscriber {
    outbox: Outbox,
    /// The next place that it needs; `None`: it is live.
    next: Option<Seq>,
    session: Option<SessionRef>,
}

/// The clients of one room on this gateway.
pub(super) struct Subscribers {
    all: BTreeMap<SubscriberId, Subscriber>,
    /// Those who are live and whose sockets loops own.
    feeds: Feeds,
    /// All others who are live.
    copied: BTreeSet<SubscriberId>,
    sessions: HashMap<SessionId, SubscriberId>,
    ended: Window<SessionId, Close>,
}

impl Subscribers {
    pub(super) fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            feeds: Feeds::default(),
            copied: BTreeSet::new(),
            sessions: HashMap::new(),
            ended: Window::new(ENDED),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds a subscriber that needs `first` next. One whose session is over already is closed
    /// instead.
    pub(super) fn add(&mut self, id: SubscriberId, attach: &Attach, first: Seq) {
        if let Some(session) = &attach.session {
            if let Some(close) = self.ended.get(&session.id) {
                return attach.outbox.close(*close);
            }
            self.sessions.insert(session.id, id);
        }
        self.all.insert(
            id,
            Subscriber {
                outbox: attach.outbox.clone(),
                next: Some(first),
                session: attach.session.clone(),
            },
        );
    }

    pub(super) fn remove(&mut self, id: SubscriberId) {
        let Some(subscriber) = self.all.remove(&id) else {
            return;
        };
        if subscriber.next.is_none() && !self.copied.remove(&id) {
            subscriber.outbox.way().inspect(|way| self.feeds.leave(way));
        }
        let Some(session) = subscriber.session else {
            return;
        };
        self.sessions.remove(&session.id);
    }

    /// A subscriber that needs something before `left` goes on there: the rest is gone.
    pub(super) fn skip(&mut self, id: SubscriberId, left: Seq) {
        if let Some(subscriber) = self.all.get_mut(&id)
            && subscriber.next.is_some_and(|next| next < left)
        {
            subscriber.next = Some(left);
            subscriber.outbox.push(&reset(left));
        }
    }

    /// All who need something before `left` go on there: the rest is gone.
    pub(super) fn skip_late(&mut self, left: Seq) {
        let ids: Vec<_> = self.all.keys().copied().collect();
        ids.into_iter().for_each(|id| self.skip(id, left));
    }

    /// All who are live go on at `left`: what is before it and was not given yet is gone.
    pub(super) fn skip_live(&self, left: Seq) {
        let live = self
            .all
            .values()
            .filter(|subscriber| subscriber.next.is_none());
        live.for_each(|subscriber| subscriber.outbox.push(&reset(left)));
    }

    /// Gives a subscriber what it needs of a page and of the recent events, as far as there is
    /// space; returns what it still needs, `None` when it is live (or gone).
    pub(super) fn feed(
        &mut self,
        id: SubscriberId,
        page: Option<&Page>,
        recent: &Recent,
        head: Seq,
    ) -> Option<CatchUp> {
        let subscriber = self.all.get_mut(&id)?;
        while let Some(next) = subscriber.next {
            if next > head {
                subscriber.next = None;
                match subscriber.outbox.way() {
                    Some(way) => self.feeds.join(way),
                    None => drop(self.copied.insert(id)),
                }
                break;
            }
            let taken = match (page.and_then(|page| page.from(next)), recent.from(next)) {
                (Some(events), _) => subscriber.outbox.fill(events.iter()),
                (None, Some(events)) => subscriber.outbox.fill(events),
                (None, None) => {
                    return Some(CatchUp {
                        next,
                        head,
                        recent: false,
                    });
                }
            };
            subscriber.next = Some(Seq(next.0 + taken as u64));
            if taken == 0 {
                return Some(CatchUp {
                    next,
                    head,
                    recent: true,
                });
            }
        }
        None
    }

    /// Gives new events to all who are live; how many those are.
    pub(super) fn fan_out(&self, events: &[SharedEvent]) -> usize {
        self.feeds.send(events);
        let mut encoded: Vec<(Form, Vec<Encoded>)> = Vec::new();
        for subscriber in self.copied.iter().map(|id| &self.all[id]) {
            let form = subscriber.outbox.form();
            let known = encoded.iter().position(|(known, _)| *known == form);
            let at = known.unwrap_or_else(|| {
                encoded.push((form, events.iter().map(|event| form.event(event)).collect()));
                encoded.len() - 1
            });
            subscriber.outbox.extend(&encoded[at].1);
        }
        let live = self.feeds.len() + self.copied.len();
        metrics::fanned_out(events.len(), live);
        live
    }

    /// Whether a loop of sockets is so late that new events should wait.
    pub(super) fn are_late(&self) -> bool {
        self.feeds.is_late()
    }

    /// Waits until no loop is late.
    pub(super) async fn caught_up(&self) {
        self.feeds.caught_up().await;
    }

    /// Ends the sessions that the room does not know any more.
    pub(super) fn notice(&mut self, event: &Event) {
        for (at, change) in event.changes.iter().enumerate() {
            let Change::Closed { session } = change else {
                continue;
            };
            let close = self.why(*session, &event.changes[at..]);
            self.ended.insert(*session, close);
            if let Some(subscriber) = self.sessions.get(session) {
                self.all[subscriber].outbox.close(close);
            }
        }
    }

    /// A session that was replaced is closed in one decision with the opening of the one that took
    /// its place. Any other end that this gateway did not ask for means that the node was judged
    /// dead: the client comes back.
    fn why(&self, session: SessionId, changes: &[Change]) -> Close {
        let session = self
            .sessions
            .get(&session)
            .and_then(|subscriber| self.all[subscriber].session.as_ref());
        let replaces = |change: &Change| match (change, session) {
            (Change::Opened { user, device, .. }, Some(session)) => {
                device.is_some() && *user == session.user && *device == session.device
            }
            _ => false,
        };
        if changes.iter().any(replaces) {
            Close::Replaced
        } else {
            Close::Unavailable
        }
    }

    /// Who reads without a session is told that the room begins anew, whichever gateway it comes
    /// back to.
    pub(super) fn begin_anew(&self) {
        let all = self.all.values();
        let readers = all.filter(|subscriber| subscriber.session.is_none());
        readers.for_each(|subscriber| subscriber.outbox.push(&reset(Seq(1))));
    }

    /// Ends all.
    pub(super) fn close_all(&self, close: Close) {
        self.all
            .values()
            .for_each(|subscriber| subscriber.outbox.close(close));
    }
}

impl Attach {
    /// What a subscriber is told first.
    pub(super) fn greet(
        &self,
        members: &BTreeSet<UserId>,
        head: Seq,
        first: Seq,
        epoch: Epoch,
        policy: Policy,
        node: &str,
    ) {
        if let Some(session) = &self.session {
            let (told, _) = members_after(members, None, PART);
            let left_out = members.len() - told.len();
            self.outbox.push(&ServerFrame::Welcome {
                user: session.user.clone(),
                session: session.id,
                seq: head,
                recovered: self.recovered,
                members: told,
                left_out,
                epoch,
                node: node.to_owned(),
                identity: session.identity,
                policy,
            });
        }
        if !self.recovered {
            self.outbox.push(&reset(first));
        } else if first > head {
            self.outbox.begin_after(head);
        }
    }
}

/// Tells a client that it goes on at a place without what it should have got before.
fn reset(seq: Seq) -> ServerFrame {
    ServerFrame::Reset {
        seq,
        reason: "what followed the wanted place is not known any more".into(),
    }
}
