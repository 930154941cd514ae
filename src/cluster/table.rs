//! The shards as one node sees them: their records, and what this node is doing with each. Says
//! what to do next; does nothing itself.

use crate::{
    bus::ShardRecord,
    room::{Epoch, Incarnation, ShardId},
};
use std::collections::BTreeMap;

/// What this node is doing with a shard. At most one lease of a shard exists from `Taking` until
/// its holder tells its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// The record is being changed to name this node.
    Taking,
    /// The lease is being given to the owner.
    Starting,
    /// The owner writes it.
    Held,
    /// The owner is finishing, to hand it over.
    Releasing,
    /// The owner is stopping at once, because the record names another.
    Losing,
    /// A lease has ended, or taking it failed: the record is being read before anything else is
    /// done.
    Looking,
}

/// What to do with a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until something changes.
    Nothing,
    /// Take it: the record found, and the epoch to be above.
    Take(Option<(ShardRecord, u64)>, Epoch),
    /// The record names this node, which has no lease and should not have one: give it back.
    Return(ShardRecord, u64),
    /// Hand it over.
    Release,
    /// It is another's already.
    Lose,
}

/// What is known of a shard's record.
#[derive(Debug, Clone)]
struct Known {
    record: ShardRecord,
    revision: u64,
    /// Whether the watch has come as far as this. What it tells after that is newer, whatever its
    /// revision: a bucket that was made anew counts from 1 again.
    told: bool,
}

/// The shards.
#[derive(Debug, Default)]
pub(super) struct Table {
    records: BTreeMap<ShardId, Known>,
    holds: BTreeMap<ShardId, Hold>,
    seen: BTreeMap<ShardId, Epoch>,
}

impl Table {
    /// Takes in a record that the watch tells, in the order in which they were stored. Whether it
    /// is news: the watch may be behind what was read or stored by this node.
    pub(super) fn see(&mut self, shard: ShardId, record: ShardRecord, revision: u64) -> bool {
        match self.records.get_mut(&shard) {
            Some(known) if (&known.record, known.revision) == (&record, revision) => {
                known.told = true;
                false
            }
            Some(known) if !known.told && revision < known.revision => false,
            _ => {
                let told = true;
                self.replace(
                    shard,
                    Some(Known {
                        record,
                        revision,
                        told,
                    }),
                );
                true
            }
        }
    }

    /// Takes in a record that this node has stored; others may have replaced it since.
    pub(super) fn stored(&mut self, shard: ShardId, record: ShardRecord, revision: u64) {
        let known = self.records.get(&shard);
        if known.is_none_or(|known| revision > known.revision) {
            self.correct(shard, Some((record, revision)));
        }
    }

    /// Takes in a record as the registry's leader has it, which counts more than anything seen
    /// before: a bus that lost its unsynced tail has gone back to an earlier revision.
    pub(super) fn correct(&mut self, shard: ShardId, found: Option<(ShardRecord, u64)>) {
        let found = found.map(|(record, revision)| Known {
            record,
            revision,
            told: false,
        });
        self.replace(shard, found);
    }

    /// Epochs only go up, whatever becomes of the records: what is lost stays in mind.
    fn replace(&mut self, shard: ShardId, found: Option<Known>) {
        let epoch = found.as_ref().map(|found| found.record.epoch);
        let epoch = epoch.unwrap_or_default();
        let before = match found {
            Some(found) => self.records.insert(shard, found),
            None => self.records.remove(&shard),
        };
        if let Some(lost) = before.filter(|before| before.record.epoch > epoch) {
            self.must_exceed(shard, lost.record.epoch);
        }
    }

    /// Notes the epoch that the next lease of a shard must be above.
    pub(super) fn must_exceed(&mut self, shard: ShardId, epoch: Epoch) {
        let seen = self.seen.entry(shard).or_default();
        *seen = epoch.max(*seen);
    }

    /// Whether the record of a shard names a node.
    pub(super) fn owns(&self, node: Incarnation) -> bool {
        let mut records = self.records.values();
        records.any(|known| known.record.owner == Some(node))
    }

    /// What this node is doing with a shard.
    pub(super) fn hold(&self, shard: ShardId) -> Option<Hold> {
        self.holds.get(&shard).copied()
    }

    /// Notes what this node is doing with a shard.
    pub(super) fn set(&mut self, shard: ShardId, hold: Option<Hold>) {
        match hold {
            Some(hold) => self.holds.insert(shard, hold),
            None => self.holds.remove(&shard),
        };
    }

    /// Who owns a shard, as its record says.
    pub(super) fn owner(&self, shard: ShardId) -> Option<Incarnation> {
        self.records
            .get(&shard)
            .and_then(|known| known.record.owner)
    }

    /// The shards that have, or are about to have, a lease of this node.
    pub(super) fn leased(&self) -> impl Iterator<Item = ShardId> {
        self.holds
            .iter()
            .filter(|(_, hold)| **hold != Hold::Looking)
            .map(|(shard, _)| *shard)
    }

    /// How many shards this node is doing something of a kind with.
    pub(super) fn count(&self, hold: Hold) -> usize {
        self.holds.values().filter(|other| **other == hold).count()
    }

    /// What to do with a shard that is assigned to `assignee` (`None`: to nobody). `gone`: whether
    /// a node is dead.
    pub(super) fn step(
        &self,
        me: Incarnation,
        shard: ShardId,
        assignee: Option<Incarnation>,
        gone: impl Fn(Incarnation) -> bool,
    ) -> Step {
        let found = self.records.get(&shard);
        let found = || found.map(|known| (known.record.clone(), known.revision));
        let owner = self.owner(shard);
        let mine = assignee == Some(me);
        match self.hold(shard) {
            Some(Hold::Held) if owner != Some(me) => Step::Lose,
            Some(Hold::Held) if !mine => Step::Release,
            Some(_) => Step::Nothing,
            None if mine && owner.is_none_or(|owner| owner == me || gone(owner)) => {
                Step::Take(found(), self.seen.get(&shard).copied().unwrap_or_default())
            }
            None => match found() {
                Some((record, revision)) if owner == Some(me) => Step::Return(record, revision),
                _ => Step::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Position;
    use uuid::Uuid;

    const SHARD: ShardId = ShardId(7);

    fn node(n: u128) -> Incarnation {
        Incarnation::new(Uuid::from_u128(n))
    }

    fn owned_by(owner: Option<Incarnation>) -> ShardRecord {
        ShardRecord {
            owner,
            epoch: Epoch(3),
            floor: Position(9),
            ..ShardRecord::default()
        }
    }

    fn step(table: &Table, assignee: Option<Incarnation>, gone: Option<Incarnation>) -> Step {
        table.step(node(1), SHARD, assignee, |other| Some(other) == gone)
    }

    #[test]
    fn an_epoch_that_was_seen_is_exceeded_even_when_its_record_is_lost() {
        let above = |found| {
            let mut table = Table::default();
            table.see(SHARD, owned_by(None), 9);
            table.correct(SHARD, found);
            match step(&table, Some(node(1)), None) {
                Step::Take(_, above) => above,
                other => panic!("{other:?}"),
            }
        };
        let older = ShardRecord {
            epoch: Epoch(2),
            ..owned_by(None)
        };
        assert_eq!(above(None), Epoch(3));
        assert_eq!(above(Some((older, 4))), Epoch(3));
        assert_eq!(above(Some((owned_by(None), 10))), Epoch(0));
    }

    #[test]
    fn a_record_of_a_bucket_that_was_made_anew_is_news() {
        let mut table = Table::default();
        table.see(SHARD, owned_by(Some(node(2))), 57);
        assert!(table.see(SHARD, owned_by(Some(node(2))), 1));
        assert!(table.see(SHARD, owned_by(None), 2));
        assert_eq!(
            step(&table, Some(node(1)), None),
            Step::Take(Some((owned_by(None), 2)), Epoch(0))
        );
    }

    #[test]
    fn a_free_shard_is_taken_by_its_assignee_only() {
        let mut table = Table::default();
        assert_eq!(
            step(&table, Some(node(1)), None),
            Step::Take(None, Epoch(0))
        );
        assert_eq!(step(&table, Some(node(2)), None), Step::Nothing);
        table.see(SHARD, owned_by(None), 5);
        assert_eq!(
            step(&table, Some(node(1)), None),
            Step::Take(Some((owned_by(None), 5)), Epoch(0))
        );
    }

    #[test]
    fn a_shard_is_taken_from_the_dead_and_never_from_the_living() {
        let mut table = Table::default();
        table.see(SHARD, owned_by(Some(node(2))), 5);
        assert_eq!(step(&table, Some(node(1)), None), Step::Nothing);
        assert_eq!(
            step(&table, Some(node(1)), Some(node(2))),
            Step::Take(Some((owned_by(Some(node(2))), 5)), Epoch(0))
        );
    }

    #[test]
    fn a_held_shard_is_kept_until_another_should_have_it_or_has_it() {
        let mut table = Table::default();
        table.see(SHARD, owned_by(Some(node(1))), 5);
        table.set(SHARD, Some(Hold::Held));
        assert_eq!(step(&table, Some(node(1)), None), Step::Nothing);
        assert_eq!(step(&table, Some(node(2)), None), Step::Release);
        assert_eq!(
            step(&table, None, None),
            Step::Release,
            "the last node of a cluster hands over to nobody"
        );
        table.see(SHARD, owned_by(Some(node(2))), 6);
        assert_eq!(step(&table, Some(node(1)), None), Step::Lose);
    }

    #[test]
    fn a_record_that_names_this_node_without_a_lease_is_mended() {
        let mut table = Table::default();
        table.see(SHARD, owned_by(Some(node(1))), 5);
        table.must_exceed(SHARD, Epoch(8));
        assert_eq!(
            step(&table, Some(node(1)), None),
            Step::Take(Some((owned_by(Some(node(1))), 5)), Epoch(8))
        );
        assert_eq!(
            step(&table, Some(node(2)), None),
            Step::Return(owned_by(Some(node(1))), 5)
        );
        assert_eq!(
            step(&table, None, None),
            Step::Return(owned_by(Some(node(1))), 5)
        );
    }

    #[test]
    fn what_the_leader_has_counts_more_than_what_was_seen() {
        let mut table = Table::default();
        table.see(SHARD, owned_by(Some(node(2))), 6);
        table.correct(SHARD, Some((owned_by(None), 4)));
        assert_eq!(
            step(&table, Some(node(1)), None),
            Step::Take(Some((owned_by(None), 4)), Epoch(0))
        );
    }

    #[test]
    fn a_watch_that_is_behind_what_was_read_or_stored_changes_nothing() {
        let mut table = Table::default();
        table.correct(SHARD, Some((owned_by(None), 4)));
        table.stored(SHARD, owned_by(Some(node(2))), 6);
        table.stored(SHARD, owned_by(None), 5);
        assert!(!table.see(SHARD, owned_by(None), 5));
        assert!(!table.see(SHARD, owned_by(Some(node(2))), 6));
        assert_eq!(step(&table, Some(node(1)), None), Step::Nothing);
    }
}
