//! The one task that owns a node's picture of the cluster. It reacts to heartbeats, records and
//! ends of leases, and to a tick for what happens when nothing is heard (`inputs`), and after each
//! of them does what is due (`work`). It never waits for a call: calls run beside it and report
//! back (`jobs`).

mod inputs;
mod lost;
mod work;

use super::{Config, Ended, Ends, Owner, View, jobs::Done, membership::Membership, table::Table};
use crate::{
    bus::{Bus, NodeRecord, NodeSeen, Plan, ShardSeen},
    room::{Incarnation, ShardId, Shards},
};
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use lost::Lost;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How late silence is noticed at most.
const TICK: Duration = Duration::from_millis(100);
/// Shards that are being taken at once: each loads its rooms' tails when it starts, all at once
/// would be slower for every one of them.
const TAKES: usize = 16;
/// Shards that are being handed over at once, so that each has only a short gap.
const RELEASES: usize = 16;
/// Shards that are searched for sessions of gone nodes at once: it is not urgent and competes with
/// the traffic of clients.
const SWEEPS: usize = 4;

/// How often the records of shards that this node waits for are read, should the news of one have
/// been lost.
const RECHECK: Duration = Duration::from_secs(5);

/// What the driver listens to.
pub(super) struct Inputs {
    pub(super) nodes: BoxStream<'static, NodeSeen>,
    pub(super) shards: BoxStream<'static, ShardSeen>,
    pub(super) ends: mpsc::UnboundedReceiver<Ended>,
    pub(super) drain: CancellationToken,
    pub(super) shutdown: CancellationToken,
}

pub(super) struct Driver {
    config: Config,
    shards: Shards,
    me: NodeRecord,
    bus: Arc<dyn Bus>,
    /// `None`: this node writes no shards.
    owner: Option<Arc<dyn Owner>>,
    ends: Ends,
    membership: Membership,
    table: Table,
    plan: Plan,
    /// Whether all shard records that were there at the beginning have been seen.
    records_current: bool,
    /// Shards to think about.
    dirty: BTreeSet<ShardId>,
    /// Shards in which gone nodes may have left sessions, and those that are being searched.
    to_sweep: BTreeSet<ShardId>,
    sweeping: BTreeSet<ShardId>,
    forgetting: BTreeSet<Incarnation>,
    recheck_due: Instant,
    beat_due: Instant,
    beating: bool,
    beat_failed: bool,
    /// Whether the last attempt to take a shard failed.
    take_failed: bool,
    lost: Lost,
    /// When the connection was last seen to be away.
    cut_off: Option<Instant>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    view: watch::Sender<View>,
    view_changed: bool,
    deaths: u64,
    /// Whether this node has been heard of by itself once.
    joined: bool,
    downed: bool,
}

impl Driver {
    pub(super) fn new(
        config: Config,
        shards: Shards,
        me: NodeRecord,
        bus: Arc<dyn Bus>,
        owner: Option<Arc<dyn Owner>>,
        ends: Ends,
        view: watch::Sender<View>,
    ) -> Self {
        let membership = Membership::new(me.incarnation, config.timing());
        Self {
            config,
            shards,
            me,
            bus,
            owner,
            ends,
            membership,
            table: Table::default(),
            plan: Plan::default(),
            records_current: false,
            dirty: BTreeSet::new(),
            to_sweep: BTreeSet::new(),
            sweeping: BTreeSet::new(),
            forgetting: BTreeSet::new(),
            recheck_due: Instant::now() + RECHECK,
            beat_due: Instant::now(),
            beating: false,
            beat_failed: false,
            take_failed: false,
            lost: Lost::default(),
            cut_off: None,
            jobs: FuturesUnordered::new(),
            view,
            view_changed: true,
            deaths: 0,
            joined: false,
            downed: false,
        }
    }

    /// Runs until `shutdown`, then until the shards are handed over or the time for that is over.
    /// Whether this node was declared down.
    pub(super) async fn run(mut self, mut inputs: Inputs) -> bool {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop_at = None;
        loop {
            let now = Instant::now();
            self.work(now);
            let left = self.table.leased().count();
            if stop_at.is_some_and(|at| left == 0 || now >= at) {
                self.lost.tell_now();
                if left > 0 {
                    tracing::warn!(
                        shards = left,
                        "stopped before all shards were handed over; others take them"
                    );
                }
                return self.downed;
            }
            // In this order: stopping first, then what frees a shard, then news, then what calls
            // report; the tick comes when nothing else does, and what it is for (the clock) is
            // looked at in every round anyway.
            tokio::select! {
                biased;
                () = inputs.shutdown.cancelled(), if stop_at.is_none() => {
                    stop_at = Some(now + Duration::from_millis(self.config.drain_ms));
                    inputs.drain.cancel();
                }
                () = inputs.drain.cancelled(), if !self.me.draining => self.drain(now),
                Some(ended) = inputs.ends.recv() => self.ended(Instant::now(), ended),
                Some(seen) = inputs.nodes.next() => self.see_node(Instant::now(), seen),
                Some(seen) = inputs.shards.next() => self.see_shard(seen),
                Some(done) = self.jobs.next() => self.done(Instant::now(), done),
                _ = tick.tick() => {}
            }
        }
    }

    fn run_beside(&mut self, job: impl Future<Output = Done> + Send + 'static) {
        self.jobs.push(Box::pin(job));
    }

    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.bus)
    }
}
