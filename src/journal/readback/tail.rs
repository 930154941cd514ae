//! The rows at the end of a room that count, put together from slices. Pure.
//!
//! A slice may end within a commit. The next slice begins with the first place of that commit and
//! replaces what was read of it, so that every commit is taken from one reading: two readings may
//! see different halves of one that is just being written.

use super::{Limits, Partitions, Row, rule::walk};
use crate::room::{Epoch, Seq};

/// Places that are read at a time: two of the largest commits, so that each slice has a whole one
/// beyond the one that it started with.
pub(super) const SLICE: u64 = 2 * Limits::EVENTS as u64;

/// Why the rows cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// There is a row of a higher epoch than the reader's.
    Higher(Epoch),
    /// The row at the first place says that its commit begins at the second one, where it cannot.
    Commit(Seq, Seq),
}

/// The rows read so far.
pub(super) struct Tail {
    partitions: Partitions,
    epoch: Epoch,
    /// Where the next slice begins; `None`: the end was found.
    from: Option<Seq>,
    /// The place and the epoch before the first row.
    before: (Seq, Epoch),
    rows: Vec<Row>,
}

impl Tail {
    /// Nothing read yet; `from` is the first place of a commit, `epoch` the reader's.
    pub(super) fn new(partitions: Partitions, from: Seq, epoch: Epoch) -> Self {
        Self::behind(partitions, Seq(from.0 - 1), Epoch::default(), epoch)
    }

    /// Nothing read yet; what is at `before` is gone, and had at least the epoch `least`.
    pub(super) fn behind(partitions: Partitions, before: Seq, least: Epoch, epoch: Epoch) -> Self {
        Self {
            partitions,
            epoch,
            from: Some(before.next()),
            before: (before, least),
            rows: Vec::new(),
        }
    }

    /// The last place that was read, and the least epoch of what follows.
    pub(super) fn end(&self) -> (Seq, Epoch) {
        self.rows
            .last()
            .map_or(self.before, |last| (last.seq(), last.epoch))
    }

    /// Reads on at a place behind the end: what is between is a hole.
    pub(super) fn go_on(&mut self, from: Seq) {
        self.from = Some(from);
    }

    /// The first and the last place of the slice to read next; `None`: that is all.
    pub(super) fn next(&self) -> Option<(Seq, Seq)> {
        self.from.map(|from| {
            (
                from,
                Seq(from.0.saturating_add(SLICE - 1)).min(self.partitions.end(from)),
            )
        })
    }

    /// Takes the rows of the slice that [`Tail::next`] named.
    pub(super) fn take(&mut self, slice: Vec<Row>) -> Result<(), Problem> {
        let Some((from, end)) = self.next() else {
            return Ok(());
        };
        if let Some(seen) = slice
            .iter()
            .map(|row| row.epoch)
            .max()
            .filter(|seen| *seen > self.epoch)
        {
            return Err(Problem::Higher(seen));
        }
        self.rows.extend(walk(slice, from, self.end().1));
        self.from = match self
            .rows
            .last()
            .filter(|last| last.seq() == end)
            .map(|last| last.first)
        {
            None => None,
            Some(_) if end == self.partitions.end(from) => Some(end.next()),
            Some(first) if first > from && first <= end => {
                self.rows
                    .truncate(self.rows.partition_point(|row| row.seq() < first));
                Some(first)
            }
            Some(first) => return Err(Problem::Commit(end, first)),
        };
        Ok(())
    }

    /// The rows that count, ascending.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::journal::v1::StoredEvent;

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

    /// Another owner's rewrite of the last commit has reached one replica, which answers the first
    /// slice, and not yet the one that answers the second. If the slices were put together as they
    /// are, the epoch would decrease within the commit, and journaled events would be lost.
    #[test]
    fn a_commit_that_is_just_being_rewritten_is_not_cut_by_a_slice() {
        let (first, last) = (SLICE - 2, SLICE + 2);
        let journaled: Vec<Row> = (1..first)
            .map(|seq| row(seq, 1, seq))
            .chain((first..=last).map(|seq| row(seq, 1, first)))
            .collect();
        let rewritten = (first..=last).map(|seq| row(seq, 2, first));
        let mut replica: Vec<Row> = journaled.iter().cloned().chain(rewritten).collect();
        let mut tail = Tail::new(Partitions::new(50_000), Seq(1), Epoch(3));
        while let Some((from, to)) = tail.next() {
            tail.take(
                replica
                    .iter()
                    .filter(|row| (from..=to).contains(&row.seq()))
                    .cloned()
                    .collect(),
            )
            .unwrap();
            replica.clone_from(&journaled);
        }
        assert_eq!(tail.into_rows().last().map(Row::seq), Some(Seq(last)));
    }

    #[test]
    fn a_slice_never_crosses_a_partition() {
        let mut tail = Tail::new(Partitions::new(300), Seq(290), Epoch(1));
        assert_eq!(tail.next(), Some((Seq(290), Seq(300))));
        tail.take((290..=300).map(|seq| row(seq, 1, seq)).collect())
            .unwrap();
        assert_eq!(tail.next(), Some((Seq(301), Seq(600))));
        tail.take(vec![row(301, 2, 301)]).unwrap_err();
    }
}
