//! Which writer should own a shard: rendezvous hashing, so that nodes which see the same writers agree without asking each other.
//!
//! Source: Thaler, Ravishankar, "Using name-based mappings to increase hit rates" (1998). When a writer joins or leaves, only shards that
//! it gets or had change hands, about 1/n of them.

use crate::room::{Incarnation, ShardId};

/// The writer with the highest weight for the shard; `None` when there is no writer. The order of the writers does not matter.
pub fn assignee(shard: ShardId, writers: &[Incarnation]) -> Option<Incarnation> {
    writers
        .iter()
        .copied()
        .max_by_key(|writer| (weight(shard, *writer), *writer))
}

fn weight(shard: ShardId, writer: Incarnation) -> u64 {
    let id = u128::from_be_bytes(writer.to_bytes());
    // Incarnations are ordered by time: their upper halves hardly differ, so every part is mixed on its own.
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

    #[test]
    fn without_a_writer_nobody_is_assigned() {
        assert_eq!(assignee(ShardId(0), &[]), None);
    }
}
