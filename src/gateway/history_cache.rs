//! Old events, read from the journal in aligned pages. Readers who want the same page at the same
//! time share one read and the encoded events: a thousand clients that come back at once cost one.

use super::metrics;
use crate::{
    journal::{self, Journal},
    room::{Event, RoomId, Seq},
    wire::SharedEvent,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// Places in a page, some 50 KiB with usual messages; one with large messages ends earlier
/// ([`journal::Limits::PAGE_BYTES`]).
const PAGE: u64 = 128;
/// Reads of the journal at a time: they are for those who come back, and leave room for the
/// writers' own.
const READS: usize = 16;
/// How long a read may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads of old events.
pub(super) struct HistoryCache {
    journal: Arc<dyn Journal>,
    reads: Arc<Semaphore>,
    running: Mutex<HashMap<Key, WeakShared<Read>>>,
}

/// The room, the first place and the last.
type Key = (RoomId, u64, u64);
type Read = BoxFuture<'static, Result<Arc<Page>, String>>;

/// Events of adjoining places, ascending; none, or not those of the first places that were asked
/// for, when these are gone.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) events: Vec<SharedEvent>,
}

impl Page {
    /// The place of the first event.
    pub(super) fn first(&self) -> Option<Seq> {
        self.events.first().map(|event| event.event().seq)
    }

    /// The place of the last event.
    pub(super) fn last(&self) -> Option<Seq> {
        self.events.last().map(|event| event.event().seq)
    }

    /// The events from a place on.
    pub(super) fn not_before(&self, place: Seq) -> &[SharedEvent] {
        let is_before = |event: &SharedEvent| event.event().seq < place;
        &self.events[self.events.partition_point(is_before)..]
    }

    /// The events from `from` on; `None` when that place is not in the page.
    pub(super) fn from(&self, from: Seq) -> Option<&[SharedEvent]> {
        let skip = from.0.checked_sub(self.first()?.0)? as usize;
        self.events.get(skip..).filter(|rest| !rest.is_empty())
    }

    /// The event at a place, if it is here.
    pub(super) fn at(&self, place: Seq) -> Option<&Event> {
        self.from(place).map(|events| events[0].event())
    }
}

impl HistoryCache {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            reads: Arc::new(Semaphore::new(READS)),
            running: Mutex::default(),
        }
    }

    /// The page that holds `seq`, up to `last` at most, which is published. When that place is
    /// gone, the page begins with the first place after it that is still there; it is empty when
    /// there is none. Pages begin at the same places for all who read, unless large messages or a
    /// hole make them end before `seq`. The error says why it cannot be read now.
    pub(super) async fn page(
        &self,
        room: &RoomId,
        seq: Seq,
        last: Seq,
    ) -> Result<Arc<Page>, String> {
        let first = (seq.0 - 1) / PAGE * PAGE + 1;
        let end = last.min(Seq(first + PAGE - 1));
        let mut page = self.read(room, Seq(first), end).await?;
        if page.last().is_some_and(|end| end < seq) {
            page = self.read(room, seq, end).await?;
        }
        if page.last().is_none() && end < last {
            page = self.read(room, end.next(), last).await?;
        }
        Ok(page)
    }

    /// The last place below `below` that is still there; `None`: there is none.
    pub(super) async fn last_below(
        &self,
        room: &RoomId,
        below: Seq,
    ) -> Result<Option<Seq>, String> {
        let read = async {
            let _permit = self.reads.acquire().await.expect("never closed");
            self.journal.last_below(room, below).await
        };
        match timeout(DEADLINE, read).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err("the journal did not answer in time".into()),
        }
    }

    /// The events from the first place at or after `first` on that is still there, at most up to
    /// `last`, which is published; it may end earlier.
    pub(super) async fn read(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Arc<Page>, String> {
        let key = (room.clone(), first.0, last.0);
        let read = self.share(&key);
        let page = read.await;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // The read is over: the first of its readers to get here makes room for a new one.
        if running
            .get(&key)
            .is_some_and(|read| read.upgrade().is_none_or(|read| read.peek().is_some()))
        {
            running.remove(&key);
        }
        page
    }

    fn share(&self, key: &Key) -> Shared<Read> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = running.get(key).and_then(WeakShared::upgrade) {
            return read;
        }
        running.retain(|_, read| read.upgrade().is_some());
        let (journal, reads, key) = (self.journal.clone(), self.reads.clone(), key.clone());
        let again = key.clone();
        let read = async move { read(&*journal, &reads, &key).await }
            .boxed()
            .shared();
        if let Some(weak) = read.downgrade() {
            running.insert(again, weak);
        }
        read
    }
}

async fn read(
    journal: &dyn Journal,
    reads: &Semaphore,
    (room, first, last): &Key,
) -> Result<Arc<Page>, String> {
    let read = async {
        let _permit = reads.acquire().await.expect("never closed");
        journal.read(room, Seq(*first), Seq(*last)).await
    };
    let events = match timeout(DEADLINE, read).await {
        Ok(Ok(events)) => events,
        Ok(Err(error @ journal::Error::Damaged(_))) => {
            tracing::error!(%room, first, last, %error, "old events cannot be read: look at the room with `safe-chat journal verify`");
            return Err(error.to_string());
        }
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the journal did not answer in time".into()),
    };
    metrics::page_read();
    Ok(Arc::new(Page {
        events: events
            .into_iter()
            .map(|event| SharedEvent::new(room.clone(), event))
            .collect(),
    }))
}
