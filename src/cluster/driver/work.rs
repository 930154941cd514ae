//! What the driver does after every input, from the picture that it has then.

use super::{Driver, RECHECK, RELEASES, SWEEPS, TAKES};
use crate::{
    cluster::{
        Member, Status, View, abandon,
        assignment::Writers,
        jobs::{self, Done},
        membership::Standing,
        table::{Hold, Step},
    },
    metric,
    room::{Incarnation, ShardId},
};
use std::{collections::BTreeSet, mem, time::Duration};
use tokio::time::Instant;

impl Driver {
    pub(super) fn work(&mut self, now: Instant) {
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
        self.lost.tell(now);
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
        for node in self.membership.long_down(now) {
            self.run_beside(jobs::clear_down(self.bus(), node));
        }
    }

    fn beat(&mut self, now: Instant) {
        let unreachable = self.membership.missed();
        if self.me.unreachable != unreachable {
            self.me.unreachable = unreachable;
            self.beat_due = now;
        }
        if now >= self.beat_due && !self.beating {
            self.beat_due = now + Duration::from_millis(self.config.beat_ms);
            self.beating = true;
            self.run_beside(jobs::beat(self.bus(), self.me.clone()));
        }
    }

    /// One writer removes the records of dead nodes. That is also how a node that only seemed dead
    /// learns of it.
    fn forget(&mut self, now: Instant) {
        if !self.membership.fresh(now) || !self.writers().is_first(self.me.incarnation) {
            return;
        }
        let dead: Vec<_> = self
            .membership
            .dead()
            .filter(|node| !self.forgetting.contains(node))
            .collect();
        for node in dead {
            self.forgetting.insert(node);
            self.run_beside(jobs::forget(self.bus(), node));
        }
    }

    /// The nodes that shards may be given to.
    fn writers(&self) -> Writers {
        let me = self.owner.is_some() && !self.me.draining;
        let writers = self
            .membership
            .other_writers()
            .chain(me.then_some(&self.me));
        Writers::new(writers.map(|node| (node.incarnation, &*node.version)))
    }

    fn assign(&mut self, now: Instant) {
        let writers = self.writers();
        let may_take = self.records_current && self.membership.fresh(now);
        for shard in mem::take(&mut self.dirty) {
            let owner = self.table.owner(shard);
            let assignee = writers.assignee(&self.plan, shard, owner);
            let step = self
                .table
                .step(self.me.incarnation, shard, assignee, |node| {
                    self.membership.gone(node)
                });
            let later = match step {
                Step::Take(..) => {
                    !may_take
                        || self.table.count(Hold::Taking) + self.table.count(Hold::Starting)
                            >= TAKES
                }
                Step::Return(..) => !may_take,
                Step::Release => self.table.count(Hold::Releasing) >= RELEASES,
                Step::Lose | Step::Nothing => false,
            };
            if later {
                self.dirty.insert(shard);
            } else {
                self.perform(now, shard, step);
            }
        }
    }

    fn perform(&mut self, now: Instant, shard: ShardId, step: Step) {
        let Some(owner) = self.owner.clone() else {
            return;
        };
        let hold = match step {
            Step::Nothing => return,
            Step::Take(found, above) => {
                self.run_beside(jobs::take(
                    self.bus(),
                    self.ends.clone(),
                    self.me.incarnation,
                    shard,
                    found,
                    above,
                ));
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
                tracing::debug!(%shard, "another node has the shard");
                self.lost.note(now, shard);
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
            if self.table.hold(shard).is_none()
                && writers.assignee(&self.plan, shard, self.table.owner(shard))
                    == Some(self.me.incarnation)
            {
                self.look(shard, Duration::ZERO);
            }
        }
    }

    fn sweep(&mut self, now: Instant) {
        if !self.membership.fresh(now) {
            return;
        }
        let free = SWEEPS.saturating_sub(self.sweeping.len());
        let due: Vec<_> = self
            .to_sweep
            .difference(&self.sweeping)
            .copied()
            .take(free)
            .collect();
        if due.is_empty() {
            return;
        }
        self.publish(now);
        for shard in due {
            self.to_sweep.remove(&shard);
            if matches!(self.table.hold(shard), Some(Hold::Starting | Hold::Held)) {
                self.sweeping.insert(shard);
                let (bus, view) = (self.bus(), self.view.subscribe());
                self.run_beside(async move {
                    Done::Swept(shard, abandon::sweep(bus, view, shard).await)
                });
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        let fresh = self.membership.fresh(now);
        if !mem::take(&mut self.view_changed) && fresh == self.view.borrow().fresh {
            return;
        }
        let mut nodes: Vec<_> = self
            .membership
            .others()
            .cloned()
            .chain([self.me.clone()])
            .collect();
        nodes.sort_unstable_by_key(|node| node.incarnation);
        let writers = self.writers();
        let waits = |shard: &ShardId| {
            writers.assignee(&self.plan, *shard, self.table.owner(*shard))
                == Some(self.me.incarnation)
                && self.table.hold(*shard) != Some(Hold::Held)
        };
        self.joined |= fresh;
        let view = View {
            nodes,
            members: self.members(),
            owned: self.table.leased().collect(),
            waiting: self.shards.all().filter(waits).count(),
            draining: self.me.draining,
            fresh,
            deaths: self.deaths,
            downed: self.downed,
        };
        metric::SHARDS.set(f64::from(self.shards.count()));
        metric::NODES.set(view.nodes.len() as f64);
        metric::SHARDS_OWNED.set(view.owned.len() as f64);
        metric::SHARDS_WAITING.set(view.waiting as f64);
        self.view.send_replace(view);
    }

    /// All nodes that this one knows of, ascending.
    fn members(&self) -> Vec<Member> {
        let missed_by = |node: Incarnation, missed: bool| {
            let others = self.membership.known().filter_map(|(record, standing, _)| {
                let counts = standing != Standing::Dead && record.unreachable.contains(&node);
                counts.then_some(record.incarnation)
            });
            let me = missed.then_some(self.me.incarnation);
            others
                .chain(me)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        let me = Member {
            node: self.me.clone(),
            status: match (self.downed, self.me.draining, self.joined) {
                (true, ..) => Status::Down,
                (_, true, _) => Status::stopping(self.table.leased().next().is_some()),
                (.., true) => Status::Up,
                (.., false) => Status::Joining,
            },
            observers: missed_by(self.me.incarnation, false),
        };
        let others = self.membership.known().map(|(record, standing, missed)| {
            let owns = self.table.owns(record.incarnation);
            Member {
                node: record.clone(),
                status: Status::of(standing, record, owns),
                observers: missed_by(record.incarnation, missed),
            }
        });
        let mut members: Vec<_> = others.chain([me]).collect();
        members.sort_unstable_by_key(|member| member.node.incarnation);
        members
    }
}
