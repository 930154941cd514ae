//! Which writer should own a shard, computed by every node alike, so that nobody has to ask.
//!
//! Rendezvous hashing: when a writer joins or leaves, only shards that it gets or had change hands,
//! about 1/n of them. Source: Thaler, Ravishankar, "Using name-based mappings to increase hit
//! rates" (1998).
//!
//! While writers of several versions are there, which is a rolling upgrade, nothing is balanced: a
//! shard stays with its owner until that one leaves, and goes to a writer of the newest version. So
//! it does not go to an old writer that will leave soon, and not back and forth meanwhile. Akka
//! Cluster Sharding allocates by `app-version` in the same way.

use crate::{
    bus::Plan,
    room::{Incarnation, ShardId},
};
use semver::Version;
use std::{cmp::Reverse, collections::BTreeMap, iter::repeat_n};

/// The nodes that shards may be given to.
#[derive(Debug)]
pub(super) struct Writers {
    /// All of them, ascending.
    all: Vec<Incarnation>,
    /// Those of the newest version.
    newest: Vec<Incarnation>,
}

impl Writers {
    /// Writers and their versions. What is no semantic version counts as older than any.
    pub(super) fn new<'a>(writers: impl IntoIterator<Item = (Incarnation, &'a str)>) -> Self {
        let mut writers: Vec<_> = writers
            .into_iter()
            .map(|(writer, version)| (writer, Version::parse(version).ok()))
            .collect();
        writers.sort_unstable_by_key(|(writer, _)| *writer);
        let newest = writers.iter().map(|(_, version)| version).max();
        Self {
            newest: writers
                .iter()
                .filter(|(_, version)| Some(version) == newest)
                .map(|(writer, _)| *writer)
                .collect(),
            all: writers.iter().map(|(writer, _)| *writer).collect(),
        }
    }

    /// Whether this writer is the first of all: one node does what needs to be done once.
    pub(super) fn is_first(&self, writer: Incarnation) -> bool {
        self.all.first() == Some(&writer)
    }

    /// The writer that should own a shard which `owner` owns; `None` when there is no writer. An
    /// operator's plan moves nothing during an upgrade.
    pub(super) fn assignee(
        &self,
        plan: &Plan,
        shard: ShardId,
        owner: Option<Incarnation>,
    ) -> Option<Incarnation> {
        let upgrading = self.newest.len() < self.all.len();
        owner
            .filter(|owner| upgrading && self.all.contains(owner))
            .or_else(|| planned(plan, shard, &self.newest))
    }
}

/// The writer with the highest weight for the shard; `None` when there is no writer. The order of
/// the writers does not matter.
pub fn assignee(shard: ShardId, writers: &[Incarnation]) -> Option<Incarnation> {
    writers
        .iter()
        .copied()
        .max_by_key(|writer| (weight(shard, *writer), *writer))
}

/// The writer of a shard when a plan counts: the one that it names, as long as that one is there,
/// and unless the shard would go to a writer that has come since the plan was made.
pub(super) fn planned(plan: &Plan, shard: ShardId, writers: &[Incarnation]) -> Option<Incarnation> {
    let by_weight = assignee(shard, writers)?;
    let to = plan.moved.get(&shard).copied();
    let counts = |to: &Incarnation| writers.contains(to) && plan.writers.contains(&by_weight);
    Some(to.filter(counts).unwrap_or(by_weight))
}

/// The moves that spread shards evenly over the writers: as few as that takes. `owners`: who has
/// which now; shards that no writer has are left to the assignment.
pub fn even(
    owners: &BTreeMap<ShardId, Incarnation>,
    writers: &[Incarnation],
) -> Vec<(ShardId, Incarnation, Incarnation)> {
    let mut of: BTreeMap<_, Vec<ShardId>> = writers.iter().map(|one| (*one, Vec::new())).collect();
    for (shard, owner) in owners {
        if let Some(shards) = of.get_mut(owner) {
            shards.push(*shard);
        }
    }
    let owned = of.values().map(Vec::len).sum::<usize>();
    let (part, mut extra) = (owned / of.len().max(1), owned % of.len().max(1));
    // Who has most keeps one of those that do not divide.
    let mut by_count: Vec<_> = of
        .iter()
        .map(|(one, shards)| (shards.len(), *one))
        .collect();
    by_count.sort_unstable_by_key(|(count, one)| (Reverse(*count), *one));
    let (mut spare, mut wanting) = (Vec::new(), Vec::new());
    for (count, one) in by_count {
        let quota = part + usize::from(extra > 0);
        extra = extra.saturating_sub(1);
        let surplus = of[&one].iter().skip(quota);
        spare.extend(surplus.map(|shard| (*shard, one)));
        wanting.extend(repeat_n(one, quota.saturating_sub(count)));
    }
    let pairs = spare.into_iter().zip(wanting);
    pairs.map(|((shard, from), to)| (shard, from, to)).collect()
}

fn weight(shard: ShardId, writer: Incarnation) -> u64 {
    let id = u128::from_be_bytes(writer.to_bytes());
    // Incarnations are ordered by time: their upper halves hardly differ, so every part is mixed on
    // its own.
    mix(mix(mix((id >> 64) as u64) ^ id as u64) ^ u64::from(shard.0))
}

/// The finaliser of splitmix64: every bit of the input changes about half of the output.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const SHARDS: u16 = 1024;

    fn writers() -> impl Strategy<Value = Vec<Incarnation>> {
        // As they are in practice: nearly the same time in the upper half, any lower half.
        prop::collection::btree_set((0_u64..100, any::<u64>()), 2..8).prop_map(|ids| {
            ids.into_iter()
                .map(|(hi, lo)| {
                    Incarnation::new(Uuid::from_u64_pair(0x0193_0000_0000_7000 + hi, lo))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn nodes_that_see_the_same_writers_agree(writers in writers()) {
            let reversed: Vec<_> = writers.iter().rev().copied().collect();
            for shard in (0..SHARDS).map(ShardId) {
                prop_assert_eq!(assignee(shard, &writers), assignee(shard, &reversed));
            }
        }

        #[test]
        fn a_writer_that_leaves_moves_only_its_own_shards(writers in writers()) {
            let left = &writers[1..];
            for shard in (0..SHARDS).map(ShardId) {
                let before = assignee(shard, &writers);
                if before != Some(writers[0]) {
                    prop_assert_eq!(assignee(shard, left), before);
                }
            }
        }

        #[test]
        fn every_writer_gets_about_its_part(writers in writers()) {
            let part = usize::from(SHARDS) / writers.len();
            for writer in &writers {
                let mine = (0..SHARDS).filter(|shard| assignee(ShardId(*shard), &writers) == Some(*writer)).count();
                prop_assert!((part / 2..part * 2).contains(&mine), "{} of {} shards, {} writers", mine, SHARDS, writers.len());
            }
        }
    }

    proptest! {
        #[test]
        fn moves_make_it_even_and_are_as_few_as_that_takes(
            writers in writers(),
            owned in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let owned = owned.iter().enumerate();
            let mut owners: BTreeMap<_, _> = owned
                .map(|(shard, owner)| (ShardId(shard as u16), *owner.get(&writers)))
                .collect();
            let count = |owners: &BTreeMap<ShardId, Incarnation>, one: &Incarnation| {
                owners.values().filter(|owner| *owner == one).count()
            };
            let most = owners.len().div_ceil(writers.len());
            let least = owners.len() / writers.len();
            let surplus = |one: &Incarnation| count(&owners, one).saturating_sub(most);
            let lack = |one: &Incarnation| least.saturating_sub(count(&owners, one));
            let needed: usize = writers.iter().map(surplus).sum();
            let wanted: usize = writers.iter().map(lack).sum();
            let moves = even(&owners, &writers);
            prop_assert_eq!(moves.len(), needed.max(wanted));
            for (shard, from, to) in moves {
                prop_assert_eq!(owners.insert(shard, to), Some(from));
            }
            for one in &writers {
                prop_assert!((least..=most).contains(&count(&owners, one)));
            }
        }

        #[test]
        fn a_plan_counts_for_the_writers_that_it_was_made_for(writers in writers()) {
            let (newcomer, planned_for) = writers.split_last().unwrap();
            let shards = || (0..SHARDS).map(ShardId);
            let plan = Plan {
                writers: planned_for.to_vec(),
                moved: shards().map(|shard| (shard, planned_for[0])).collect(),
            };
            for shard in shards() {
                prop_assert_eq!(planned(&plan, shard, planned_for), Some(planned_for[0]));
                let by_weight = assignee(shard, &writers);
                let expected = match by_weight == Some(*newcomer) {
                    true => *newcomer,
                    false => planned_for[0],
                };
                prop_assert_eq!(planned(&plan, shard, &writers), Some(expected));
                // Whom the plan names has gone.
                let left = &writers[1..];
                prop_assert_eq!(planned(&plan, shard, left), assignee(shard, left));
            }
        }
    }

    #[test]
    fn without_a_writer_nobody_is_assigned() {
        assert_eq!(assignee(ShardId(0), &[]), None);
    }

    /// A cluster under a rolling upgrade: who owns each shard, and how often it has moved.
    struct Upgrade {
        writers: Vec<(Incarnation, &'static str)>,
        owners: Vec<(Option<Incarnation>, u32)>,
    }

    impl Upgrade {
        fn of(old: &[Incarnation]) -> Self {
            let mut upgrade = Self {
                writers: old.iter().map(|writer| (*writer, "1.9.0")).collect(),
                owners: vec![(None, 0); SHARDS.into()],
            };
            upgrade.settle();
            upgrade.owners.iter_mut().for_each(|(_, moves)| *moves = 0);
            upgrade
        }

        fn settle(&mut self) {
            let writers = Writers::new(self.writers.iter().copied());
            for (shard, (owner, moves)) in (0..).map(ShardId).zip(&mut self.owners) {
                let next = writers.assignee(&Plan::default(), shard, *owner);
                *moves += u32::from(next != *owner);
                *owner = next;
            }
        }

        fn joins(&mut self, writer: Incarnation) {
            self.writers.push((writer, "1.10.0"));
            self.settle();
        }

        fn leaves(&mut self, writer: Incarnation) {
            self.writers.retain(|(other, _)| *other != writer);
            self.settle();
        }

        fn most_moves(&self) -> u32 {
            self.owners.iter().map(|(_, moves)| *moves).max().unwrap()
        }

        /// Moves per shard.
        fn moves(&self) -> f64 {
            let moves: u32 = self.owners.iter().map(|(_, moves)| moves).sum();
            f64::from(moves) / f64::from(SHARDS)
        }

        /// At the end every shard is where it would be had there never been another version.
        fn is_balanced(&self) -> bool {
            let writers: Vec<_> = self.writers.iter().map(|(writer, _)| *writer).collect();
            (0..)
                .map(ShardId)
                .zip(&self.owners)
                .all(|(shard, (owner, _))| *owner == assignee(shard, &writers))
        }
    }

    proptest! {
        #[test]
        fn an_upgrade_with_all_new_nodes_beside_the_old_moves_each_shard_once(writers in writers()) {
            let (old, new) = writers.split_at(writers.len() / 2);
            let mut upgrade = Upgrade::of(old);
            new.iter().for_each(|writer| upgrade.joins(*writer));
            prop_assert_eq!(upgrade.most_moves(), 0, "new nodes take nothing from the living");
            old.iter().for_each(|writer| upgrade.leaves(*writer));
            prop_assert_eq!((upgrade.most_moves(), upgrade.moves()), (1, 1.0));
            prop_assert!(upgrade.is_balanced());
        }

        #[test]
        fn an_upgrade_one_by_one_moves_a_shard_once_and_once_more_to_balance(writers in writers()) {
            let (old, new) = writers.split_at(writers.len() / 2);
            let mut upgrade = Upgrade::of(old);
            for (old, new) in old.iter().zip(new) {
                prop_assert_eq!(upgrade.most_moves() <= 1, true, "before the last one leaves");
                upgrade.joins(*new);
                upgrade.leaves(*old);
            }
            prop_assert!(upgrade.most_moves() <= 2);
            prop_assert!(upgrade.moves() < 1.75, "{} moves per shard", upgrade.moves());
        }

        #[test]
        fn an_upgrade_in_place_moves_no_shard_more_than_twice_before_the_last_node(writers in writers()) {
            let (old, new) = writers.split_at(writers.len() / 2);
            let mut upgrade = Upgrade::of(old);
            let (last, others) = old.split_last().unwrap();
            for (old, new) in others.iter().zip(new) {
                upgrade.leaves(*old);
                upgrade.joins(*new);
            }
            // Twice: shards of the first node, for which no new one was there yet.
            prop_assert!(upgrade.most_moves() <= 2);
            upgrade.leaves(*last);
            upgrade.joins(new[others.len()]);
            prop_assert!(upgrade.most_moves() <= 4);
            prop_assert!(upgrade.is_balanced());
        }
    }

    #[test]
    fn versions_are_compared_as_numbers_and_what_is_none_is_oldest() {
        let (old, new) = (
            Incarnation::new(Uuid::from_u128(1)),
            Incarnation::new(Uuid::from_u128(2)),
        );
        for (older, newer) in [
            ("0.9.9", "0.10.0"),
            ("1.0.0-rc.1", "1.0.0"),
            ("today", "0.0.1"),
        ] {
            let writers = Writers::new([(new, newer), (old, older)]);
            for shard in (0..SHARDS).map(ShardId) {
                let assignee = |owner| writers.assignee(&Plan::default(), shard, owner);
                assert_eq!(assignee(None), Some(new));
                assert_eq!(assignee(Some(old)), Some(old));
            }
            assert!(writers.is_first(old) && !writers.is_first(new));
        }
    }
}
