//! What a generation finds out: how far the room goes and who is there, of its owner; what was
//! missed, and whether this is the room still, in the journal. One thing at a time.

use super::{
    super::{
        Replica,
        asking::{GRACE, Whole, ask, ask_whole},
        evidence::same,
    },
    Ended, Generation,
};
use crate::{
    bus::{Ask, RoomView},
    gateway::{core::Core, history_cache::Page, metrics},
    room::Seq,
    wire::SharedEvent,
};
use futures::{FutureExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// After an interruption all rooms of a node ask their owners; they spread that over this time.
const SPREAD: Duration = Duration::from_millis(250);

/// How long a new owner may take to publish what it has journaled, before a head below the one here
/// means that the room has gone back.
const UNPUBLISHED: Duration = Duration::from_secs(3);
/// How long an owner of before may answer for a room. Longer than it takes one that was frozen to
/// learn that it is none; after that the epochs themselves have gone back.
const OUTDATED: Duration = Duration::from_secs(12);

/// What was found out.
pub(super) enum Found {
    /// Where the room is; who is there was not asked.
    Head(RoomView),
    View(Whole),
    /// With the last place that it might have held.
    Page(Arc<Page>, Seq),
    /// The newest event that was taken, as it is stored now.
    Newest(Arc<Page>),
    /// What is stored at a place at which something else was heard than was taken.
    Disputed(Arc<Page>, Seq),
    /// What is stored where the owner says that the room ends.
    Lower(Arc<Page>, Seq),
}

/// Reads a page, however long it takes.
async fn read(
    core: Arc<Core>,
    replica: Arc<Replica>,
    first: Seq,
    last: Seq,
    found: impl Fn(Arc<Page>) -> Found,
) -> Found {
    let mut pauses = core.pauses();
    loop {
        match core.history_cache.page(&replica.room, first, last).await {
            Ok(page) => return found(page),
            Err(error) => {
                tracing::warn!(
                    room = %replica.room, %first, %error,
                    "missed events cannot be read yet; trying again"
                )
            }
        }
        sleep(pauses.next().unwrap_or(GRACE)).await;
    }
}

impl Generation<'_> {
    /// What has to be found out now, if anything.
    pub(super) fn next_work(&mut self) -> Option<BoxFuture<'static, Found>> {
        let (core, replica) = (self.core.clone(), self.replica.clone());
        if let Some(place) = self.lower.take() {
            let found = move |page| Found::Lower(page, place);
            return Some(read(core, replica, place, place, found).boxed());
        }
        let interrupted = std::mem::take(&mut self.interrupted);
        if std::mem::take(&mut self.suspected) || interrupted {
            self.asking = true;
            let pause = match interrupted {
                true => {
                    metrics::interrupted();
                    core.jitter(SPREAD)
                }
                false => Duration::ZERO,
            };
            let wants_members = self.skipped;
            return Some(
                async move {
                    sleep(pause).await;
                    match wants_members {
                        true => Found::View(ask_whole(&core, &replica).await),
                        false => Found::Head(ask(&core, &Ask::head(replica.room.clone())).await),
                    }
                }
                .boxed(),
            );
        }
        if let Some(place) = self.disputed {
            let found = move |page| Found::Disputed(page, place);
            return Some(read(core, replica, place, place, found).boxed());
        }
        if let Some(newest) = self.log.recent.last().filter(|_| self.doubted) {
            let newest = newest.event().seq;
            return Some(read(core, replica, newest, newest, Found::Newest).boxed());
        }
        let Some(missing) = self.log.reach.missing() else {
            self.overdue = None;
            return None;
        };
        if *self.overdue.get_or_insert_with(|| Instant::now() + GRACE) > Instant::now() {
            return None;
        }
        let (first, last) = (Seq(*missing.start()), Seq(*missing.end()));
        let found = move |page| Found::Page(page, last);
        Some(read(core, replica, first, last, found).boxed())
    }

    pub(super) fn found(&mut self, found: Found) -> Result<(), Ended> {
        self.asking &= !matches!(found, Found::View(_) | Found::Head(_));
        match found {
            Found::Head(view) => self.told(view).map(drop)?,
            Found::View(Whole { mut view, reached }) => {
                let members = std::mem::take(&mut view.members);
                if self.told(view)? {
                    self.log.reach.told(reached);
                    self.vouched = self.vouched.max(reached);
                    // What follows is applied once more, up to that place, and gives the same
                    // members.
                    self.members = members.into_iter().collect();
                    self.skipped = false;
                }
            }
            Found::Newest(page) => {
                self.doubted = false;
                let newest = self.log.recent.last().map(SharedEvent::event);
                let stored = newest.and_then(|event| page.at(event.seq));
                // What is not there any more proves nothing: an operator may have removed it.
                if stored.is_some_and(|stored| newest.is_some_and(|seen| !same(seen, stored))) {
                    return Err(self.anew(stored).unwrap_or_else(|| self.contradicted()));
                }
                self.proven = newest.map_or(self.proven, |newest| newest.seq);
            }
            Found::Disputed(page, place) => {
                self.disputed = None;
                let taken = self.log.recent.from(place).and_then(|mut kept| kept.next());
                let stored = page.at(place);
                if let Some(ended) = self.anew(stored) {
                    return Err(ended);
                }
                match (taken.map(SharedEvent::event), stored) {
                    (Some(taken), Some(stored)) if same(taken, stored) => {
                        self.rumour("another event than the journal has");
                    }
                    (None, _) => {} // Nothing says any more what was taken.
                    _ => return Err(self.contradicted()),
                }
            }
            Found::Lower(page, place) => {
                if let Some(ended) = self.anew(page.at(place)) {
                    return Err(ended);
                }
            }
            Found::Page(page, last) => {
                let next = self.log.reach.head().next();
                let Some(events) = page.from(next) else {
                    self.not_there(page.first(), last);
                    return Ok(());
                };
                if self.may_be_of_another(events[0].event().at) {
                    self.doubted = true;
                    return Ok(());
                }
                let epoch = self.log.reach.epoch();
                let last = Seq(self.log.reach.head().0 + events.len() as u64);
                self.log.reach.hear(next, last, epoch);
                tracing::debug!(room = %self.replica.room, %next, %last, "read what was missed");
                metrics::repaired(events.len());
                self.take(events.to_vec());
            }
        }
        Ok(())
    }

    /// The owner has answered; whether this is the room as it is here, or further on.
    fn told(&mut self, view: RoomView) -> Result<bool, Ended> {
        if let Some(rejection) = view.refused {
            return Err(Ended::Refused(rejection));
        }
        // An owner of before, which does not know yet that it is none; or one that does not know
        // yet that its last commit is stored. Or a new one: it found all that was published before,
        // but what it journaled itself, and clients here were told of, may not be published yet.
        // Ask again.
        if view.epoch < self.log.reach.epoch() || view.head < self.log.reach.head() {
            if view.epoch >= self.log.reach.epoch() {
                if let Some(ended) = self.removed(view.head) {
                    return Err(ended);
                }
                self.lower = Some(view.head).filter(|head| *head > Seq::ZERO);
            }
            let since = *self.outdated.get_or_insert_with(Instant::now);
            let patience = match view.epoch > self.log.reach.epoch() {
                true => UNPUBLISHED,
                false => OUTDATED,
            };
            if since.elapsed() >= patience {
                // What was heard of a higher epoch came from no owner that anybody knows of.
                let is_rumour = view.epoch >= self.owned && view.head >= self.log.reach.head();
                if !is_rumour {
                    return Err(self.gone_back(&view));
                }
                self.rumour("an epoch that no owner has");
                self.log.reach.disown(view.epoch);
                (self.outdated, self.doubted) = (None, true);
            }
            self.interrupted = true;
            return Ok(false);
        }
        self.outdated = None;
        self.doubted |= view.epoch > self.log.reach.epoch();
        self.owned = self.owned.max(view.epoch);
        self.log.reach.owned(view.epoch);
        self.replica.policy.send_replace(view.policy);
        self.log.reach.told(view.head);
        // Its event may be gone.
        if view.purged <= self.log.reach.head() {
            self.purged(view.purged);
        }
        self.erase(view.erasing);
        self.vouched = self.vouched.max(view.head);
        self.overdue = Some(Instant::now());
        Ok(true)
    }

    /// The journal does not have the next events, of those up to `last`; `left` is the first that
    /// it has. With none at all they may never have been there, unless the owner vouches for them:
    /// it is asked how far the room goes.
    fn not_there(&mut self, left: Option<Seq>, last: Seq) {
        match left {
            Some(left) => self.skip_to(left),
            None if last <= self.vouched => self.skip_to(last.next()),
            None => {
                self.log.reach.known(self.vouched);
                self.interrupted = true;
            }
        }
    }

    fn gone_back(&self, view: &RoomView) -> Ended {
        let room = &self.replica.room;
        let (ours, theirs) = (self.log.reach.epoch(), view.epoch);
        let (head, told) = (self.log.reach.head(), view.head);
        tracing::error!(
            %room, %ours, %theirs, %head, %told,
            "the room has gone back: the bus lost what it had stored; its clients start again"
        );
        Ended::Lost
    }

    fn contradicted(&self) -> Ended {
        tracing::error!(
            room = %self.replica.room, head = %self.log.reach.head(),
            "the room has other events than were shown: the bus lost what it had stored; its \
             clients start again"
        );
        Ended::Lost
    }
}
