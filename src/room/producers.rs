//! How far the batches of each gateway are decided. Part of the replayed state, so that every owner
//! knows which batch comes next, and none is decided twice.

use super::{Incarnation, Limits, Producer, ProducerSeq, Seq};
use std::collections::BTreeMap;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that follows, or the first of a newer generation.
    Next,
    /// It was decided, or is of a generation that its gateway has left.
    Duplicate,
    /// One before it is missing.
    OutOfOrder {
        /// The number of the first that is missing.
        expected: u64,
    },
}

/// What is remembered of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Last {
    generation: u64,
    sequence: u64,
    /// Messages that were there before, by batch and index: where. The newest
    /// [`Limits::REPEATS`].
    repeats: BTreeMap<(u64, u32), Seq>,
}

/// The newest [`Limits::PRODUCERS`] gateways by their last batch, oldest first. What is forgotten
/// may be submitted again without harm: the sessions of its messages know how far they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers(Vec<(Incarnation, Last)>);

impl Producers {
    /// Where a batch stands.
    pub fn standing(&self, from: ProducerSeq) -> Standing {
        let Producer {
            gateway,
            generation,
        } = from.producer;
        let expected = match self.get(gateway) {
            Some(last) if generation < last.generation => return Standing::Duplicate,
            Some(last) if generation == last.generation => last.sequence + 1,
            _ => 1,
        };
        match from.sequence {
            sequence if sequence == expected => Standing::Next,
            sequence if sequence < expected => Standing::Duplicate,
            _ => Standing::OutOfOrder { expected },
        }
    }

    /// Where a message is that was there before its batch.
    pub fn repeat(&self, from: ProducerSeq, index: u32) -> Option<Seq> {
        let last = self.get(from.producer.gateway)?;
        let of_this = last.generation == from.producer.generation;
        let place = last.repeats.get(&(from.sequence, index));
        place.copied().filter(|_| of_this)
    }

    /// A batch was decided.
    pub(super) fn take(&mut self, from: ProducerSeq, repeats: &[(u32, Seq)]) {
        let Producer {
            gateway,
            generation,
        } = from.producer;
        let known = self.0.iter().position(|(known, _)| *known == gateway);
        let mut last = match known.map(|at| self.0.remove(at).1) {
            Some(last) if last.generation >= generation => last,
            _ => Last {
                generation,
                sequence: 0,
                repeats: BTreeMap::new(),
            },
        };
        if last.generation == generation && last.sequence < from.sequence {
            last.sequence = from.sequence;
            let repeats = repeats.iter();
            let repeats = repeats.map(|(index, seq)| ((from.sequence, *index), *seq));
            last.repeats.extend(repeats);
            while last.repeats.len() > Limits::REPEATS {
                last.repeats.pop_first();
            }
        }
        self.0.push((gateway, last));
        if self.0.len() > Limits::PRODUCERS {
            self.0.remove(0);
        }
    }

    /// All, oldest first: the last batch of each and the messages that were there before, by batch
    /// and index.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (ProducerSeq, impl Iterator<Item = (u64, u32, Seq)> + '_)> {
        self.0.iter().map(|(gateway, last)| {
            let producer = Producer {
                gateway: *gateway,
                generation: last.generation,
            };
            let from = ProducerSeq {
                producer,
                sequence: last.sequence,
            };
            let repeats = last.repeats.iter();
            (
                from,
                repeats.map(|((batch, index), seq)| (*batch, *index, *seq)),
            )
        })
    }

    /// Adds one behind those that are there, as [`Self::iter`] told it.
    pub fn restore(
        &mut self,
        from: ProducerSeq,
        repeats: impl IntoIterator<Item = (u64, u32, Seq)>,
    ) {
        self.take(from, &[]);
        if let Some((_, last)) = self.0.last_mut() {
            let repeats = repeats.into_iter();
            last.repeats = repeats
                .map(|(batch, index, seq)| ((batch, index), seq))
                .collect();
        }
    }

    /// Whether these are the same, or know more: batches that made no event.
    pub fn extend(&self, before: &Self) -> bool {
        let is_full = self.0.len() == Limits::PRODUCERS;
        before.0.iter().all(|(gateway, before)| {
            let Some(last) = self.get(*gateway) else {
                return is_full;
            };
            let has = |(place, seq): (&(u64, u32), &Seq)| {
                let oldest = last.repeats.keys().next();
                let is_forgotten = last.repeats.len() == Limits::REPEATS && oldest > Some(place);
                is_forgotten || last.repeats.get(place) == Some(seq)
            };
            last.generation > before.generation
                || (last.generation == before.generation
                    && last.sequence >= before.sequence
                    && before.repeats.iter().all(has))
        })
    }

    fn get(&self, gateway: Incarnation) -> Option<&Last> {
        let mut newest_first = self.0.iter().rev();
        newest_first
            .find(|(known, _)| *known == gateway)
            .map(|(_, last)| last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn batch(gateway: u128, generation: u64, sequence: u64) -> ProducerSeq {
        let gateway = Incarnation::new(Uuid::from_u128(gateway));
        let producer = Producer {
            gateway,
            generation,
        };
        ProducerSeq { producer, sequence }
    }

    #[test]
    fn a_batch_is_next_a_duplicate_or_out_of_order() {
        let mut producers = Producers::default();
        let missing = |expected| Standing::OutOfOrder { expected };
        assert_eq!(producers.standing(batch(1, 4, 1)), Standing::Next);
        assert_eq!(producers.standing(batch(1, 4, 2)), missing(1));
        (1..=3).for_each(|n| producers.take(batch(1, 4, n), &[]));
        for (generation, sequence, standing) in [
            (4, 3, Standing::Duplicate),
            (4, 4, Standing::Next),
            (4, 6, missing(4)),
            (3, 4, Standing::Duplicate),
            (5, 1, Standing::Next),
            (5, 2, missing(1)),
        ] {
            let batch = batch(1, generation, sequence);
            assert_eq!(producers.standing(batch), standing, "{batch:?}");
        }
        assert_eq!(producers.standing(batch(2, 4, 4)), missing(1));
        producers.take(batch(1, 5, 1), &[]);
        assert_eq!(producers.standing(batch(1, 4, 4)), Standing::Duplicate);
    }

    #[test]
    fn the_longest_unused_producer_is_forgotten() {
        let mut producers = Producers::default();
        producers.take(batch(0, 1, 1), &[]);
        (1..Limits::PRODUCERS as u128).for_each(|n| producers.take(batch(n, 1, 1), &[]));
        producers.take(batch(0, 1, 2), &[]);
        producers.take(batch(999, 1, 1), &[]);
        assert_eq!(producers.standing(batch(0, 1, 3)), Standing::Next);
        let of_forgotten = producers.standing(batch(1, 1, 2));
        assert_eq!(of_forgotten, Standing::OutOfOrder { expected: 1 });
    }

    #[test]
    fn repeats_are_of_their_batch_and_generation() {
        let mut producers = Producers::default();
        producers.take(batch(1, 1, 1), &[(2, Seq(9))]);
        assert_eq!(producers.repeat(batch(1, 1, 1), 2), Some(Seq(9)));
        assert_eq!(producers.repeat(batch(1, 1, 2), 2), None);
        producers.take(batch(1, 2, 1), &[]);
        assert_eq!(producers.repeat(batch(1, 1, 1), 2), None);
    }

    #[test]
    fn what_a_snapshot_knows_extends_what_the_events_tell_and_not_the_other_way_round() {
        let mut before = Producers::default();
        before.take(batch(1, 1, 1), &[(0, Seq(3))]);
        before.take(batch(2, 1, 5), &[]);
        let mut after = before.clone();
        assert!(after.extend(&before));
        after.take(batch(1, 1, 2), &[(4, Seq(9))]);
        after.take(batch(3, 1, 1), &[]);
        assert!(after.extend(&before));
        assert!(!before.extend(&after), "a later batch, and a gateway");
        let mut other = after.clone();
        other.take(batch(1, 1, 3), &[(1, Seq(10))]);
        assert!(other.extend(&after) && !after.extend(&other));
        let mut without = Producers::default();
        without.take(batch(1, 1, 9), &[]);
        without.take(batch(2, 1, 9), &[]);
        assert!(!without.extend(&before), "a repeat is gone");
        without.take(batch(1, 2, 1), &[]);
        assert!(without.extend(&before), "of a generation before");
    }
}
