//! What the driver hears, and what it changes in the picture.

use super::Driver;
use crate::{
    bus::{Error, NodeSeen, ShardSeen},
    cluster::{
        Ended, LeaseError,
        jobs::{self, Done},
        membership::Change,
        table::Hold,
    },
    metric,
    room::{Incarnation, ShardId},
};
use std::{mem, sync::Arc, time::Duration};
use tokio::time::Instant;

impl Driver {
    pub(super) fn drain(&mut self, now: Instant) {
        tracing::info!("handing all shards over");
        self.me.draining = true;
        self.beat_due = now;
        self.nodes_changed();
    }

    pub(super) fn see_node(&mut self, now: Instant, seen: NodeSeen) {
        let left = matches!(seen, NodeSeen::Forgotten(_) | NodeSeen::Downed(_));
        match self.membership.see(now, seen) {
            Change::None => {}
            Change::Nodes => {
                self.nodes_changed();
                if left {
                    self.sweep_all();
                }
            }
            Change::Forgotten => self.taken_for_dead("its record was removed", now),
            // Its address was empty for a while, or it was silent for too long; if neither, nobody
            // took it for dead.
            Change::Away(away)
                if self.cut_off.is_some_and(|at| now - at <= away)
                    || away >= self.config.timing().dead =>
            {
                self.taken_for_dead("it was away for too long", now);
            }
            Change::Away(_) => {}
            Change::Downed => self.declared_down(now),
        }
    }

    fn taken_for_dead(&mut self, why: &str, now: Instant) {
        tracing::warn!(
            why,
            "others took this node for dead, or may have; it comes back"
        );
        self.deaths += 1;
        self.beat_due = now;
        self.view_changed = true;
    }

    /// Others have its shards already, or take them now: what it still does is fenced by the
    /// journal.
    fn declared_down(&mut self, now: Instant) {
        if self.downed {
            return;
        }
        tracing::warn!("an operator declared this node down: it gives up what it has, and ends");
        self.downed = true;
        if !self.me.draining {
            self.drain(now);
        }
        self.view_changed = true;
    }

    pub(super) fn see_shard(&mut self, seen: ShardSeen) {
        match seen {
            ShardSeen::Stored {
                shard,
                record,
                revision,
            } => {
                if self.table.see(shard, record, revision) {
                    self.dirty.insert(shard);
                    // A node that stops is leaving until it has no shard left.
                    self.view_changed |= self.membership.others().any(|node| node.draining);
                }
            }
            ShardSeen::Plan(plan) => {
                self.plan = plan;
                self.nodes_changed();
            }
            ShardSeen::Current => {
                self.records_current = true;
                self.nodes_changed();
            }
        }
    }

    pub(super) fn ended(&mut self, now: Instant, ended: Ended) {
        tracing::debug!(shard = %ended.shard, epoch = %ended.epoch, "does not write the shard any more");
        self.table.must_exceed(ended.shard, ended.seen);
        let hold = self.table.hold(ended.shard);
        let orderly = hold == Some(Hold::Releasing);
        // One that is being lost is noted already.
        if ended.seen > ended.epoch && hold != Some(Hold::Losing) {
            self.lost.note(now, ended.shard);
        }
        self.look(
            ended.shard,
            if orderly { Duration::ZERO } else { jobs::PAUSE },
        );
    }

    pub(super) fn done(&mut self, now: Instant, done: Done) {
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
                tracing::debug!(%shard, epoch = %record.epoch, "writes the shard");
                self.take_failed = false;
                metric::SHARDS_TAKEN.increment(1);
                self.table.stored(shard, record, revision);
                self.set(shard, Some(Hold::Starting));
                self.to_sweep.insert(shard);
                let owner = Arc::clone(
                    self.owner
                        .as_ref()
                        .expect("a node without an owner takes no shard"),
                );
                self.run_beside(jobs::start(owner, lease));
            }
            Done::Taken(shard, Err(error)) => {
                // Told once: it is the same for all shards, and ready says how many are missing.
                if matches!(error, LeaseError::Unavailable(_))
                    && !mem::replace(&mut self.take_failed, true)
                {
                    tracing::warn!(%shard, %error, "shards cannot be taken now; trying again");
                }
                self.look(shard, Duration::ZERO)
            }
            Done::Started(shard) if self.table.hold(shard) == Some(Hold::Starting) => {
                self.set(shard, Some(Hold::Held))
            }
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

    fn beaten(&mut self, result: Result<(), Error>) {
        self.beating = false;
        match result {
            Ok(()) if mem::take(&mut self.beat_failed) => {
                tracing::info!("heartbeats are stored again")
            }
            Err(error) if !mem::replace(&mut self.beat_failed, true) => {
                tracing::warn!(%error, "the heartbeat cannot be stored: this node takes no shards until it can");
            }
            Ok(()) | Err(_) => {}
        }
    }

    pub(super) fn died(&mut self, node: Incarnation, how: &str) {
        tracing::warn!(%node, how, "a node is dead");
        metric::DEATHS.increment(1);
        self.sweep_all();
    }

    pub(super) fn nodes_changed(&mut self) {
        self.dirty = self.shards.all().collect();
        self.view_changed = true;
    }

    pub(super) fn sweep_all(&mut self) {
        self.to_sweep.extend(self.table.leased());
    }

    pub(super) fn set(&mut self, shard: ShardId, hold: Option<Hold>) {
        self.table.set(shard, hold);
        self.dirty.insert(shard);
        self.view_changed = true;
    }

    pub(super) fn look(&mut self, shard: ShardId, pause: Duration) {
        self.set(shard, Some(Hold::Looking));
        self.run_beside(jobs::look(self.bus(), shard, pause));
    }
}
