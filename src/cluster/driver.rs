//! The one task that owns a node's picture of the cluster. It reacts to heartbeats, records and ends of leases, and to a tick for what
//! happens when nothing is heard. It never waits for a call: calls run beside it and report back (`jobs`).

use super::{
    Config, Ended, Ends, LeaseError, Owner, View, abandon, assignee,
    jobs::{self, Done},
    membership::{Change, Membership},
    table::{Hold, Step, Table},
};
use crate::{
    bus::{Bus, NodeRecord, NodeSeen, ShardSeen},
    room::{Incarnation, ShardId, Shards},
};
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How late silence is noticed at most.
const TICK: Duration = Duration::from_millis(100);
/// Shards that are being taken at once: each loads its rooms' tails when it starts, all at once would be slower for every one of them.
const TAKES: usize = 16;
/// Shards that are being handed over at once, so that each has only a short gap.
const RELEASES: usize = 16;
/// Shards that are searched for sessions of gone nodes at once: it is not urgent and competes with the traffic of clients.
const SWEEPS: usize = 4;

/// How often the records of shards that this node waits for are read, should the news of one have been lost.
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
    /// When the connection was last seen to be away.
    cut_off: Option<Instant>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    view: watch::Sender<View>,
    view_changed: bool,
    deaths: u64,
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
            records_current: false,
            dirty: BTreeSet::new(),
            to_sweep: BTreeSet::new(),
            sweeping: BTreeSet::new(),
            forgetting: BTreeSet::new(),
            recheck_due: Instant::now() + RECHECK,
            beat_due: Instant::now(),
            beating: false,
            beat_failed: false,
            cut_off: None,
            jobs: FuturesUnordered::new(),
            view,
            view_changed: true,
            deaths: 0,
        }
    }

    /// Runs until `shutdown`, then until the shards are handed over or the time for that is over.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop_at = None;
        loop {
            let now = Instant::now();
            self.work(now);
            let left = self.table.leased().count();
            if stop_at.is_some_and(|at| left == 0 || now >= at) {
                if left > 0 {
                    tracing::warn!(shards = left, "stopped before all shards were handed over; others take them");
                }
                return;
            }
            // In this order: stopping first, then what frees a shard, then news, then what calls report; the tick comes when nothing else does, and
            // what it is for (the clock) is looked at in every round anyway.
            tokio::select! {
                biased;
                () = inputs.shutdown.cancelled(), if stop_at.is_none() => {
                    stop_at = Some(now + Duration::from_millis(self.config.drain_ms));
                    inputs.drain.cancel();
                }
                () = inputs.drain.cancelled(), if !self.me.draining => self.drain(now),
                Some(ended) = inputs.ends.recv() => self.ended(ended),
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

    // What comes in.

    fn drain(&mut self, now: Instant) {
        tracing::info!("handing all shards over");
        self.me.draining = true;
        self.beat_due = now;
        self.nodes_changed();
    }

    fn see_node(&mut self, now: Instant, seen: NodeSeen) {
        let left = matches!(seen, NodeSeen::Forgotten(_));
        match self.membership.see(now, seen) {
            Change::None => {}
            Change::Nodes => {
                self.nodes_changed();
                if left {
                    self.sweep_all();
                }
            }
            Change::Forgotten => self.taken_for_dead("its record was removed", now),
            // Its address was empty for a while, or it was silent for too long; if neither, nobody took it for dead.
            Change::Away(away) if self.cut_off.is_some_and(|at| now - at <= away) || away >= self.config.timing().dead => {
                self.taken_for_dead("it was away for too long", now);
            }
            Change::Away(_) => {}
        }
    }

    fn taken_for_dead(&mut self, why: &str, now: Instant) {
        tracing::warn!(why, "others took this node for dead, or may have; it comes back");
        self.deaths += 1;
        self.beat_due = now;
        self.view_changed = true;
    }

    fn see_shard(&mut self, seen: ShardSeen) {
        match seen {
            ShardSeen::Stored { shard, record, revision } => {
                if self.table.see(shard, record, revision) {
                    self.dirty.insert(shard);
                }
            }
            ShardSeen::Current => {
                self.records_current = true;
                self.nodes_changed();
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        tracing::info!(shard = %ended.shard, epoch = %ended.epoch, "does not write the shard any more");
        self.table.must_exceed(ended.shard, ended.seen);
        let orderly = self.table.hold(ended.shard) == Some(Hold::Releasing);
        self.look(ended.shard, if orderly { Duration::ZERO } else { jobs::PAUSE });
    }

    fn done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Beaten(result) => self.beaten(result),
            Done::Probed(probe, there) => {
                if self.membership.probed(now, probe, there) {
                    if self.membership.gone(probe.node) {
                        self.died(probe.node, "its connection is gone");
                    }
                    self.nodes_changed();
                }
            }
            Done::Forgotten(node) => {
                self.forgetting.remove(&node);
            }
            Done::Taken(shard, Ok(lease)) => {
                let (record, revision) = lease.record();
                tracing::info!(%shard, epoch = %record.epoch, "writes the shard");
                metrics::counter!("safechat_cluster_shards_taken_total").increment(1);
                self.table.see(shard, record, revision);
                self.set(shard, Some(Hold::Starting));
                self.to_sweep.insert(shard);
                let owner = Arc::clone(self.owner.as_ref().expect("a node without an owner takes no shard"));
                self.run_beside(jobs::start(owner, lease));
            }
            Done::Taken(shard, Err(LeaseError::Lost { .. } | LeaseError::Unavailable(_))) => self.look(shard, Duration::ZERO),
            Done::Started(shard) if self.table.hold(shard) == Some(Hold::Starting) => self.set(shard, Some(Hold::Held)),
            Done::Started(_) | Done::Stopped => {}
            Done::Looked(shard, found) => {
                self.table.correct(shard, found);
                self.set(shard, None);
            }
            Done::Swept(shard, clean) => {
                self.sweeping.remove(&shard);
                if !clean {
                    self.to_sweep.insert(shard);
                }
            }
        }
    }

    fn beaten(&mut self, result: Result<(), crate::bus::Error>) {
        self.beating = false;
        match result {
            Ok(()) if mem::take(&mut self.beat_failed) => tracing::info!("heartbeats are stored again"),
            Err(error) if !mem::replace(&mut self.beat_failed, true) => {
                tracing::warn!(%error, "the heartbeat cannot be stored: this node takes no shards until it can");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn died(&mut self, node: Incarnation, how: &str) {
        tracing::warn!(%node, how, "a node is dead");
        metrics::counter!("safechat_cluster_deaths_total").increment(1);
        self.sweep_all();
    }

    fn nodes_changed(&mut self) {
        self.dirty = self.shards.all().collect();
        self.view_changed = true;
    }

    fn sweep_all(&mut self) {
        self.to_sweep.extend(self.table.leased());
    }

    fn set(&mut self, shard: ShardId, hold: Option<Hold>) {
        self.table.set(shard, hold);
        self.dirty.insert(shard);
        self.view_changed = true;
    }

    fn look(&mut self, shard: ShardId, pause: Duration) {
        self.set(shard, Some(Hold::Looking));
        self.run_beside(jobs::look(self.bus(), shard, pause));
    }

    // What goes out, after every input.

    fn work(&mut self, now: Instant) {
        if self.bus.ready().is_err() {
            self.cut_off = Some(now);
        }
        self.judge(now);
        self.beat(now);
        if self.owner.is_some() {
            self.forget(now);
            self.recheck(now);
            self.assign(now);
            self.sweep(now);
        }
        self.publish(now);
    }

    fn judge(&mut self, now: Instant) {
        let judged = self.membership.judge(now);
        for probe in judged.probes {
            self.run_beside(jobs::probe(self.bus(), probe));
        }
        if !judged.died.is_empty() {
            self.nodes_changed();
        }
        for node in judged.died {
            self.died(node, "it is silent");
        }
    }

    fn beat(&mut self, now: Instant) {
        if now >= self.beat_due && !self.beating {
            self.beat_due = now + Duration::from_millis(self.config.beat_ms);
            self.beating = true;
            self.run_beside(jobs::beat(self.bus(), self.me.clone()));
        }
    }

    /// One writer removes the records of dead nodes. That is also how a node that only seemed dead learns of it.
    fn forget(&mut self, now: Instant) {
        if !self.membership.fresh(now) || self.writers().first() != Some(&self.me.incarnation) {
            return;
        }
        let dead: Vec<_> = self.membership.dead().filter(|node| !self.forgetting.contains(node)).collect();
        for node in dead {
            self.forgetting.insert(node);
            self.run_beside(jobs::forget(self.bus(), node));
        }
    }

    /// The nodes that shards may be given to, ascending.
    fn writers(&self) -> Vec<Incarnation> {
        let mut writers: Vec<_> = self.membership.other_writers().collect();
        if self.owner.is_some() && !self.me.draining {
            writers.push(self.me.incarnation);
            writers.sort_unstable();
        }
        writers
    }

    fn assign(&mut self, now: Instant) {
        let writers = self.writers();
        let may_take = self.records_current && self.membership.fresh(now);
        for shard in mem::take(&mut self.dirty) {
            let step = self.table.step(self.me.incarnation, shard, assignee(shard, &writers), |node| self.membership.gone(node));
            let later = match step {
                Step::Take(..) => !may_take || self.table.count(Hold::Taking) + self.table.count(Hold::Starting) >= TAKES,
                Step::Return(..) => !may_take,
                Step::Release => self.table.count(Hold::Releasing) >= RELEASES,
                Step::Lose | Step::Nothing => false,
            };
            if later {
                self.dirty.insert(shard);
            } else {
                self.perform(shard, step);
            }
        }
    }

    fn perform(&mut self, shard: ShardId, step: Step) {
        let Some(owner) = self.owner.clone() else { return };
        let hold = match step {
            Step::Nothing => return,
            Step::Take(found, above) => {
                self.run_beside(jobs::take(self.bus(), self.ends.clone(), self.me.incarnation, shard, found, above));
                Hold::Taking
            }
            Step::Return(record, revision) => {
                self.run_beside(jobs::give_back(self.bus(), shard, record, revision));
                Hold::Looking
            }
            Step::Release => {
                self.run_beside(jobs::release(owner, shard));
                Hold::Releasing
            }
            Step::Lose => {
                tracing::warn!(%shard, "another node has the shard");
                self.run_beside(jobs::lose(owner, shard));
                Hold::Losing
            }
        };
        self.table.set(shard, Some(hold));
        self.view_changed = true;
    }

    fn recheck(&mut self, now: Instant) {
        if now < self.recheck_due {
            return;
        }
        self.recheck_due = now + RECHECK;
        let writers = self.writers();
        for shard in self.shards.all() {
            if self.table.hold(shard).is_none() && assignee(shard, &writers) == Some(self.me.incarnation) {
                self.look(shard, Duration::ZERO);
            }
        }
    }

    fn sweep(&mut self, now: Instant) {
        if !self.membership.fresh(now) {
            return;
        }
        let free = SWEEPS.saturating_sub(self.sweeping.len());
        let due: Vec<_> = self.to_sweep.difference(&self.sweeping).copied().take(free).collect();
        if due.is_empty() {
            return;
        }
        self.publish(now);
        for shard in due {
            self.to_sweep.remove(&shard);
            if matches!(self.table.hold(shard), Some(Hold::Starting | Hold::Held)) {
                self.sweeping.insert(shard);
                let (bus, view) = (self.bus(), self.view.subscribe());
                self.run_beside(async move { Done::Swept(shard, abandon::sweep(bus, view, shard).await) });
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        let fresh = self.membership.fresh(now);
        if !mem::take(&mut self.view_changed) && fresh == self.view.borrow().fresh {
            return;
        }
        let mut nodes: Vec<_> = self.membership.others().cloned().chain([self.me.clone()]).collect();
        nodes.sort_unstable_by_key(|node| node.incarnation);
        let writers = self.writers();
        let waits =
            |shard: &ShardId| assignee(*shard, &writers) == Some(self.me.incarnation) && self.table.hold(*shard) != Some(Hold::Held);
        let view = View {
            nodes,
            owned: self.table.leased().collect(),
            waiting: self.shards.all().filter(waits).count(),
            draining: self.me.draining,
            fresh,
            deaths: self.deaths,
        };
        metrics::gauge!("safechat_cluster_nodes").set(view.nodes.len() as f64);
        metrics::gauge!("safechat_cluster_shards_owned").set(view.owned.len() as f64);
        self.view.send_replace(view);
    }
}
