//! The reader's rule: which of the stored rows count. Pure.
//!
//! Rows of several epochs may lie at one place: an owner that was replaced may still have written.
//! At each place the row of the highest epoch counts; reading on stops where the epoch decreases.
//! What lies behind was never confirmed, because a new owner writes the last commit that it finds
//! again under its own, higher epoch before it does anything else.
//!
//! Where a place is missing, reading goes on only if the next row has no lower epoch. An owner
//! writes a commit after it has seen all before it at a quorum, so what is missing below such a row
//! was confirmed and is lost: a hole. Below a row of a lower epoch it was never confirmed.

use crate::{
    proto::journal::v1::StoredEvent,
    room::{Epoch, Seq},
};
use std::cmp::Reverse;

/// A stored event, and who wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Under which epoch.
    pub epoch: Epoch,
    /// The first place of its commit.
    pub first: Seq,
    /// The event, as it is stored.
    pub event: StoredEvent,
}

impl Row {
    /// Its place.
    pub fn seq(&self) -> Seq {
        Seq(self.event.seq)
    }
}

/// The row of the highest epoch at each place, ascending. Below the published head these are the
/// published events.
pub fn winners(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| (row.seq(), Reverse(row.epoch)));
    rows.dedup_by_key(|row| row.seq());
    rows
}

/// Of [`winners`], those whose epoch is not below that of one before them: without the rows that an
/// owner wrote after it was replaced, where those of its successor are gone.
pub fn counting(winners: Vec<Row>) -> Vec<Row> {
    let mut highest = Epoch::default();
    let mut rows = winners;
    rows.retain(|row| {
        let counts = row.epoch >= highest;
        highest = highest.max(row.epoch);
        counts
    });
    rows
}

/// The rows that count from the place `from` on, when the row before it has the epoch `before`.
pub fn walk(rows: Vec<Row>, from: Seq, before: Epoch) -> Vec<Row> {
    let mut walked: Vec<Row> = Vec::new();
    for row in winners(rows).into_iter().filter(|row| row.seq() >= from) {
        let (expected, epoch) = walked
            .last()
            .map_or((from, before), |last| (last.seq().next(), last.epoch));
        if row.seq() != expected || row.epoch < epoch {
            break;
        }
        walked.push(row);
    }
    walked
}

/// The whole last commit of what [`walk`] gave.
pub fn last_commit(walked: &[Row]) -> &[Row] {
    let Some(last) = walked.last() else {
        return &[];
    };
    &walked[walked.partition_point(|row| row.seq() < last.first)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::RangeInclusive;

    fn row(seq: u64, epoch: u64, first: u64) -> Row {
        Row {
            epoch: Epoch(epoch),
            first: Seq(first),
            event: StoredEvent {
                seq,
                ..StoredEvent::default()
            },
        }
    }

    fn places(rows: &[Row]) -> Vec<(u64, u64)> {
        rows.iter()
            .map(|row| (row.event.seq, row.epoch.0))
            .collect()
    }

    fn walked(rows: Vec<Row>) -> Vec<(u64, u64)> {
        places(&walk(rows, Seq(1), Epoch::default()))
    }

    #[test]
    fn the_highest_epoch_at_each_place_counts() {
        assert_eq!(
            walked(vec![
                row(1, 1, 1),
                row(2, 1, 2),
                row(2, 3, 2),
                row(2, 2, 2),
                row(3, 3, 3)
            ]),
            [(1, 1), (2, 3), (3, 3)]
        );
    }

    #[test]
    fn the_walk_stops_where_the_epoch_decreases() {
        assert_eq!(
            walked(vec![row(1, 1, 1), row(2, 2, 2), row(3, 1, 3), row(4, 2, 4)]),
            [(1, 1), (2, 2)]
        );
        assert_eq!(places(&walk(vec![row(3, 1, 3)], Seq(3), Epoch(2))), []);
    }

    #[test]
    fn the_walk_stops_where_a_place_is_missing() {
        assert_eq!(walked(vec![row(1, 1, 1), row(3, 1, 3)]), [(1, 1)]);
        assert_eq!(walked(vec![row(2, 1, 2)]), []);
    }

    #[test]
    fn the_last_commit_is_all_rows_from_its_first_place() {
        let rows = walk(
            vec![
                row(1, 1, 1),
                row(2, 1, 1),
                row(3, 1, 3),
                row(4, 1, 3),
                row(5, 1, 3),
            ],
            Seq(1),
            Epoch::default(),
        );
        assert_eq!(places(last_commit(&rows)), [(3, 1), (4, 1), (5, 1)]);
        assert_eq!(last_commit(&[]), []);
    }

    /// Commits of one owner after the other: each opens (rewrites the last commit that it sees),
    /// writes commits, and leaves one last commit that nobody saw when the next owner opened.
    fn history() -> impl Strategy<Value = (Vec<Row>, Vec<(u64, u64)>)> {
        let commits = prop::collection::vec(1..4_u64, 0..4);
        prop::collection::vec((commits, 0..4_u64), 1..6).prop_map(|owners| {
            let (mut rows, mut head, mut last) = (Vec::new(), 0, RangeInclusive::new(1, 0));
            let mut truth: Vec<(u64, u64)> = Vec::new();
            for (owner, (commits, late)) in owners.into_iter().enumerate() {
                let epoch = owner as u64 + 1;
                let mut write =
                    |range: RangeInclusive<u64>, truth: Option<&mut Vec<(u64, u64)>>| {
                        rows.extend(range.clone().map(|seq| row(seq, epoch, *range.start())));
                        if let Some(truth) = truth {
                            truth.truncate(*range.start() as usize - 1);
                            truth.extend(range.map(|seq| (seq, epoch)));
                        }
                    };
                write(last.clone(), Some(&mut truth));
                for size in commits {
                    last = head + 1..=head + size;
                    head += size;
                    write(last.clone(), Some(&mut truth));
                }
                if late > 0 && !truth.is_empty() {
                    write(head + 1..=head + late, None);
                }
            }
            // The last owner's own unseen commit is no zombie's: it counts.
            let newest = truth.last().map_or(0, |last| last.1);
            let tail: Vec<_> = rows
                .iter()
                .filter(|row| row.event.seq > head && row.epoch.0 >= newest)
                .map(|row| (row.event.seq, row.epoch.0))
                .collect();
            truth.extend(tail);
            (rows, truth)
        })
    }

    proptest! {
        #[test]
        fn late_rows_of_former_owners_are_never_seen(
            (rows, truth) in history().prop_flat_map(|(rows, truth)| (Just(rows).prop_shuffle(), Just(truth)))
        ) {
            prop_assert_eq!(walked(rows), truth);
        }

        #[test]
        fn what_is_walked_is_dense_and_its_epochs_never_decrease(
            rows in prop::collection::vec((1..20_u64, 1..5_u64), 0..60), from in 1..10_u64, before in 0..3_u64
        ) {
            let all: Vec<_> = rows.iter().map(|(seq, epoch)| row(*seq, *epoch, *seq)).collect();
            let walked = walk(all.clone(), Seq(from), Epoch(before));
            for (i, row) in walked.iter().enumerate() {
                prop_assert_eq!(row.event.seq, from + i as u64);
                let least = if i == 0 { Epoch(before) } else { walked[i - 1].epoch };
                prop_assert!(row.epoch >= least);
                prop_assert!(all.iter().all(|other| other.seq() != row.seq() || other.epoch <= row.epoch));
            }
        }
    }
}
