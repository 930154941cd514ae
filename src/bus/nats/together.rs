//! Stores messages of a stream together. Each message that is stored durably costs its server a
//! sync of the disk, one after the other; a batch costs a few in all. So a few messages go alone,
//! and what comes while these are on their way is collected: when that is enough to be worth it, it
//! goes as one atomic batch of JetStream (ADR-50 of NATS; nats-server 2.12 or newer). Such a batch
//! is stored whole or not at all, and its messages have consecutive positions.
//!
//! What a server does not take as a batch goes alone: nothing but speed depends on batches.

use super::{
    api::{Refusal, read},
    link::{Failure, Link},
};
use crate::{
    bus::{Error, Position},
    metric,
};
use async_nats::HeaderMap;
use bytes::Bytes;
use futures::future::join_all;
use serde::Deserialize;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

/// Requests that are on their way at a time.
const WAYS: usize = 4;
/// Messages below which a batch is not worth it: it syncs some files of its own (measured: as much
/// as four messages).
const LEAST: usize = 8;
/// The most messages of a batch; a server takes 1000.
const MOST: usize = 256;
/// The most bytes of a batch: the server keeps them twice until it is stored.
const MOST_BYTES: usize = 1024 * 1024;
/// Messages that wait; beyond them one is refused.
const QUEUE: usize = 16 * 1024;

/// The stream takes no batches.
const NO_BATCHES: [u64; 2] = [10174, 10198];
/// What keeps a batch from being stored before any of it is.
const BATCH_REFUSED: [u64; 7] = [10175, 10176, 10177, 10179, 10199, 10200, 10210];

/// Which batch a message is of, its place there from 1, and that it is the last one.
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// What is to be stored.
#[derive(Clone)]
pub(super) struct Storing {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// What became of a batch.
enum Batched {
    /// All of it is stored, the last message there.
    Stored(Position),
    /// Nothing of it is stored. `never`: nor will any other batch be.
    Nothing {
        /// The stream or the server takes no batches.
        never: bool,
    },
    /// It failed as a store of one message would have.
    Failed(Error),
}

/// Stores to one stream. Clones are the same one.
#[derive(Clone)]
pub(super) struct Together(Arc<Inner>);

struct Inner {
    link: Link,
    takes_batches: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    ways: usize,
}

struct Waiting {
    storing: Storing,
    since: Instant,
    done: oneshot::Sender<Result<Position, Error>>,
}

impl Together {
    pub(super) fn new(link: Link, takes_batches: bool) -> Self {
        Self(Arc::new(Inner {
            link,
            takes_batches: takes_batches.into(),
            queue: Mutex::default(),
        }))
    }

    /// Stores a message: alone or with others.
    pub(super) async fn store(&self, storing: Storing) -> Result<Position, Error> {
        let subject = storing.subject.clone();
        let (done, stored) = oneshot::channel();
        let waiting = Waiting {
            storing,
            since: Instant::now(),
            done,
        };
        if self.0.enter(waiting)? {
            let inner = self.0.clone();
            tokio::spawn(async move { inner.run().await });
        }
        let lost = |_| Error::Unknown(format!("storing to {subject}: its task has ended"));
        stored.await.map_err(lost)?
    }
}

impl Inner {
    /// Takes a message in. Whether there is a way free for it, which is taken.
    fn enter(&self, waiting: Waiting) -> Result<bool, Error> {
        let mut queue = self.queue();
        if queue.waiting.len() >= QUEUE {
            return Err(Error::Unavailable(format!(
                "storing to {}: {QUEUE} messages wait already for NATS to store them",
                waiting.storing.subject
            )));
        }
        queue.waiting.push_back(waiting);
        let is_free = queue.ways < WAYS;
        queue.ways += usize::from(is_free);
        Ok(is_free)
    }

    /// Stores what waits, until nothing does.
    async fn run(&self) {
        loop {
            let next = self.next();
            match next.len() {
                0 => return,
                1 => {
                    for one in next {
                        self.alone(one).await;
                    }
                }
                _ => self.batch(next).await,
            }
        }
    }

    /// What goes next; nothing: the way is free again.
    fn next(&self) -> Vec<Waiting> {
        let mut queue = self.queue();
        let mut bytes = 0;
        let batch = queue.waiting.iter().take(MOST).take_while(|waiting| {
            bytes += waiting.storing.size();
            bytes <= MOST_BYTES
        });
        let count = match batch.count() {
            count if count >= LEAST && self.takes_batches.load(Relaxed) => count,
            _ => queue.waiting.len().min(1),
        };
        if count == 0 {
            queue.ways -= 1;
            // Nothing waits; a burst must not stay in memory.
            queue.waiting.shrink_to(MOST);
        }
        queue.waiting.drain(..count).collect()
    }

    async fn alone(&self, waiting: Waiting) {
        let Waiting {
            storing,
            since,
            done,
        } = waiting;
        let Storing {
            subject,
            headers,
            payload,
        } = storing;
        let stored = if since.elapsed() > self.link.deadline {
            Err(Error::Unavailable(format!(
                "storing to {subject}: it waited for {:?} to be sent",
                self.link.deadline
            )))
        } else {
            self.link.store(subject, headers, payload, None).await
        };
        // Whoever wanted to know may be gone.
        let _ = done.send(stored);
    }

    async fn batch(&self, batch: Vec<Waiting>) {
        let messages: Vec<Storing> = batch.iter().map(|one| one.storing.clone()).collect();
        metric::BUS_BATCHES.increment(1);
        match self.link.store_all(messages).await {
            Batched::Stored(last) => {
                let first = last.0 + 1 - batch.len() as u64;
                for (position, waiting) in (first..).zip(batch) {
                    let _ = waiting.done.send(Ok(Position(position)));
                }
            }
            Batched::Nothing { never } => {
                if never && self.takes_batches.swap(false, Relaxed) {
                    tracing::info!("the stream of commands takes no batches: they go one by one");
                }
                join_all(batch.into_iter().map(|one| self.alone(one))).await;
            }
            Batched::Failed(error) => {
                for waiting in batch {
                    let _ = waiting.done.send(Err(error.clone()));
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storing {
    fn size(&self) -> usize {
        self.subject.len() + self.payload.len()
    }
}

impl Link {
    /// Stores messages as one atomic batch: all of them, or none. The headers are those of ADR-50
    /// of NATS.
    async fn store_all(&self, messages: Vec<Storing>) -> Batched {
        let (id, count) = (Uuid::now_v7().simple().to_string(), messages.len());
        let what = format!(
            "storing {count} messages to {} and others",
            messages[0].subject
        );
        let until = Instant::now() + self.deadline;
        let mut last = None;
        for (number, mut storing) in (1_usize..).zip(messages) {
            storing.headers.insert(BATCH_ID, id.as_str());
            storing
                .headers
                .insert(BATCH_SEQUENCE, number.to_string().as_str());
            if number == count {
                storing.headers.insert(BATCH_COMMIT, "1");
                last = Some(storing);
                break;
            }
            let sent =
                self.client
                    .publish_with_headers(storing.subject, storing.headers, storing.payload);
            // Without its last message nothing of a batch is stored.
            if !matches!(timeout_at(until, sent).await, Ok(Ok(()))) {
                return Batched::Nothing { never: false };
            }
        }
        let Some(last) = last else {
            return Batched::Nothing { never: false };
        };
        let Storing {
            subject,
            headers,
            payload,
        } = last;
        let asked = self.request_of_jetstream(self.deadline, subject, headers, payload);
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(Failure::Unanswered(why)) => {
                return Batched::Failed(Error::Unknown(format!("{what}: {why}")));
            }
            Err(_) => return Batched::Nothing { never: false },
        };
        let batched = read_all_acknowledged(&what, &id, count, &answer.payload);
        match &batched {
            Batched::Stored(last) => self.note_fullness(&Ok(*last)),
            Batched::Failed(error) => self.note_fullness(&Err(error.clone())),
            Batched::Nothing { .. } => {}
        }
        batched
    }
}

/// The answer to the last message of a batch.
#[derive(Deserialize)]
struct AllAcknowledged {
    seq: u64,
    #[serde(default)]
    batch: String,
    #[serde(default)]
    count: usize,
}

/// The answer to a batch.
fn read_all_acknowledged(what: &str, id: &str, count: usize, bytes: &[u8]) -> Batched {
    let unknown = |why: String| Batched::Failed(Error::Unknown(format!("{what}: {why}")));
    match read::<AllAcknowledged>(bytes) {
        Ok(Ok(all)) if all.batch == id && all.count == count => Batched::Stored(Position(all.seq)),
        Ok(Ok(_)) => unknown("it was not stored as a batch".into()),
        Ok(Err(Refusal { err_code, .. })) if NO_BATCHES.contains(&err_code) => {
            Batched::Nothing { never: true }
        }
        Ok(Err(Refusal { err_code, .. })) if BATCH_REFUSED.contains(&err_code) => {
            Batched::Nothing { never: false }
        }
        Ok(Err(refusal)) => Batched::Failed(refusal.of_publish(what)),
        Err(why) => unknown(why),
    }
}
