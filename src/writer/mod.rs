//! The writer: the single writer of each shard that this node owns.
//!
//! ```text
//! bus command -> shard -> room (decide, apply_decision) -> batch -> journal append + confirm -> answers
//!                                                                                  -> bus event -> floor
//! ```
//!
//! One task per owned shard ([`shard`](self)); its rooms are plain values in it. Per room one
//! commit is on its way to the journal; what is decided meanwhile forms the next one. Nothing is
//! answered or published before the journal confirmed it. A command is settled when its events are
//! published and its changes are stored; the shard's floor follows the oldest command that is not
//! settled, so that a successor reads again whatever may be unfinished.

mod admit;
mod answer;
mod batch;
mod config;
mod definite;
mod erase;
mod floor;
mod open;
mod past;
mod publish;
mod refill;
mod retire;
mod room;
mod shard;
mod trim;
mod warnings;
mod work;
mod write_back;

pub use config::Config;
pub use trim::Clock;

use crate::{
    bus::Bus,
    cluster::{Lease, Owner},
    journal::{Behind, Journal},
    pressure::Pressure,
    room::{Millis, ShardId},
    task,
    trace::Tracer,
};
use async_trait::async_trait;
use room::names::Bounds;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warnings::Warnings;

/// Snapshots that a node saves at a time: when thousands of rooms fall quiet at once, what is said
/// in others does not wait behind them.
const SAVES: usize = 32;

/// What every shard of a node shares.
struct Parts {
    config: Config,
    bus: Arc<dyn Bus>,
    journal: Arc<dyn Journal>,
    /// How old events are goes by it.
    clock: Clock,
    /// Snapshots that are saved at a time.
    saving: Semaphore,
    /// How short of memory this process is.
    pressure: Pressure,
    /// Where the hops of messages are noted.
    tracer: Tracer,
    /// The newest forms that every node reads, now and later.
    formats: AtomicU32,
    /// What somebody should act on.
    warnings: Warnings,
}

/// The forms in which it is stored what rooms let go.
const TRIMS: u32 = 5;

/// The forms in which it is stored that keys are in records.
const RECORDS: u32 = 6;

/// The forms in which it is known that rooms are removed: a name is noted again.
const REMOVALS: u32 = 8;

/// The forms in which something may be stored beside a snapshot.
const BESIDE: u32 = 9;

/// What the message of a commit has besides its events, at most: headers and the epoch.
const HEADERS: usize = 512;

impl Parts {
    /// The most bytes of events that a commit can carry over the bus as its servers are set up
    /// now.
    fn fits(&self) -> usize {
        self.bus.health().borrow().largest.saturating_sub(HEADERS)
    }

    fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Whether every node reads what rooms let go.
    fn may_trim(&self) -> bool {
        self.formats.load(Ordering::Relaxed) >= TRIMS
    }

    /// Whether every node reads what is stored beside a snapshot.
    fn may_save_beside(&self) -> bool {
        self.formats.load(Ordering::Relaxed) >= BESIDE
    }

    /// Whether every node knows that rooms are removed.
    fn may_retire(&self) -> bool {
        self.formats.load(Ordering::Relaxed) >= REMOVALS
    }

    /// How names are kept now: in records once every node knows of these.
    fn names(&self) -> Bounds {
        let has_records = self.formats.load(Ordering::Relaxed) >= RECORDS;
        Bounds {
            in_snapshot: has_records.then_some(self.config.names_in_snapshot),
            most: self.config.max_names_per_room,
        }
    }
}

/// The owned shards of this node. The cluster holds it as its [`Owner`].
#[derive(Clone)]
pub struct Handle {
    parts: Arc<Parts>,
    shards: Arc<Mutex<HashMap<ShardId, Running>>>,
    tasks: TaskTracker,
}

/// How a running shard is reached.
struct Running {
    release: mpsc::Sender<oneshot::Sender<()>>,
    lose: CancellationToken,
    /// How many rooms it has in memory.
    rooms: Arc<AtomicUsize>,
}

impl Handle {
    /// A writer without shards.
    pub fn new(config: Config, bus: Arc<dyn Bus>, journal: Arc<dyn Journal>) -> Self {
        Self::with_clock(config, bus, journal, Arc::new(trim::clock))
    }

    /// The same by another clock, where the bus has one of its own.
    pub fn with_clock(
        config: Config,
        bus: Arc<dyn Bus>,
        journal: Arc<dyn Journal>,
        clock: Clock,
    ) -> Self {
        Self {
            parts: Arc::new(Parts {
                config,
                bus,
                journal,
                clock,
                saving: Semaphore::new(SAVES),
                pressure: Pressure::default(),
                tracer: Tracer::default(),
                formats: AtomicU32::new(0),
                warnings: Warnings::default(),
            }),
            shards: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Where it is told how short of memory this process is.
    pub fn pressure(&self) -> Pressure {
        self.parts.pressure.clone()
    }

    /// Where the hops of messages are noted.
    pub fn tracer(&self) -> Tracer {
        self.parts.tracer.clone()
    }

    /// Every node reads these forms, now and later: what was not written before is.
    pub fn note_formats(&self, formats: u32) {
        self.parts.formats.store(formats, Ordering::Relaxed);
    }

    /// More of a room was published than the journal has: said as [`Self::warnings`] are.
    pub fn note_behind(&self, behind: Behind) {
        self.parts.warnings.behind(behind);
    }

    /// What works for the most part.
    pub fn warnings(&self) -> Vec<String> {
        self.parts.warnings.all()
    }

    /// The shards that are written here, ascending, with how many rooms of each are in memory.
    pub fn loaded(&self) -> Vec<(ShardId, usize)> {
        let rooms = |running: &Running| running.rooms.load(Ordering::Relaxed);
        let mut loaded: Vec<_> = self.with_shards(|shards| {
            let all = shards.iter();
            all.map(|(shard, running)| (*shard, rooms(running)))
                .collect()
        });
        loaded.sort_unstable();
        loaded
    }

    fn with_shards<T>(&self, f: impl FnOnce(&mut HashMap<ShardId, Running>) -> T) -> T {
        f(&mut self.shards.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Owner for Handle {
    async fn acquire(&self, lease: Lease) {
        let shard = lease.shard();
        let (release, releases) = mpsc::channel(1);
        let lose = CancellationToken::new();
        let running = Running {
            release: release.clone(),
            lose: lose.clone(),
            rooms: Arc::default(),
        };
        let rooms = running.rooms.clone();
        if let Some(before) = self.with_shards(|shards| shards.insert(shard, running)) {
            before.lose.cancel();
        }
        let this = self.clone();
        task::spawn(&self.tasks, async move {
            shard::run(this.parts.clone(), lease, rooms, releases, lose).await;
            this.with_shards(|shards| {
                // A later ownership of the same shard may have taken the place.
                if shards
                    .get(&shard)
                    .is_some_and(|running| running.release.same_channel(&release))
                {
                    shards.remove(&shard);
                }
            });
        });
    }

    async fn release(&self, shard: ShardId) {
        let Some(release) =
            self.with_shards(|shards| shards.get(&shard).map(|running| running.release.clone()))
        else {
            return;
        };
        let (done, released) = oneshot::channel();
        // A shard that has just ended drops its receiver, and with it `done`: then `released`
        // returns as well.
        if release.send(done).await.is_ok() {
            let _ = released.await;
        }
    }

    async fn lose(&self, shard: ShardId) {
        if let Some(running) = self.with_shards(|shards| shards.remove(&shard)) {
            running.lose.cancel();
        }
    }
}
