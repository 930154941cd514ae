//! Copies of events: rows by epoch, then place, so that whatever was written under an epoch that is
//! over goes with one tombstone for a partition, also what comes late.

use super::{
    store::{Tables, all, number, row},
    trims::ahead,
};
use crate::{
    journal::{
        Error,
        readback::{Copied, Row, Store},
    },
    room::{Epoch, RoomId, Seq},
};
use prost::Message;
use scylla::statement::{
    Consistency,
    batch::{Batch, BatchType},
};
use std::collections::HashSet;

type Values<'a> = (
    &'a str,
    i64,
    i64,
    i64,
    i64,
    &'a str,
    i32,
    &'a [u8],
    Vec<Vec<u8>>,
    i64,
);
type Columns = (i64, i64, i64, String, i32, Vec<u8>, Option<Vec<Vec<u8>>>);
type NotedColumns = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);

/// What is noted of the copies of a room.
#[derive(Default)]
struct Noted {
    places: Copied,
    /// Below it none is.
    removed: Seq,
    /// None of an epoch below this one is, up to the last place that counts.
    epoch: Epoch,
}

impl Tables {
    async fn noted_copies(&self, room: &RoomId) -> Result<Noted, Error> {
        let found = self
            .select(&self.statements.copied, (room.as_str(),))
            .await?;
        let row = all::<NotedColumns>(&found)?.into_iter().next();
        let number = |stored: Option<i64>| stored.unwrap_or_default().max(0) as u64;
        Ok(
            row.map_or_else(Noted::default, |(first, below, removed, epoch)| Noted {
                places: Copied {
                    first: Seq(number(first)),
                    below: Seq(number(below)),
                },
                removed: Seq(number(removed)),
                epoch: Epoch(number(epoch)),
            }),
        )
    }

    pub(super) async fn read_copied(&self, room: &RoomId) -> Result<Copied, Error> {
        Ok(self.noted_copies(room).await?.places)
    }

    /// The number is the time of writing, so that the greatest one stays, whoever is late.
    pub(super) async fn write_copies(
        &self,
        room: &RoomId,
        nth: u64,
        rows: &[Row],
    ) -> Result<(), Error> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_consistency(Consistency::LocalQuorum);
        rows.iter()
            .for_each(|_| batch.append_statement(self.statements.put_copy.clone()));
        let values = rows.iter().map(|row| self.copy_values(room, nth, row));
        self.run_batch(&batch, values.collect()).await
    }

    fn copy_values<'a>(&self, room: &'a RoomId, nth: u64, row: &'a Row) -> Values<'a> {
        let changes = row.event.changes.iter().map(Message::encode_to_vec);
        (
            room.as_str(),
            number(self.partitions().of(row.seq())),
            number(row.epoch.0),
            number(row.event.seq),
            number(row.event.at),
            &row.event.name,
            row.event.version as i32,
            &row.event.payload,
            changes.collect(),
            number(nth),
        )
    }

    /// The epochs under which a partition has copies, the highest first: one by one, since there is
    /// hardly ever more than one.
    async fn epoch_below(
        &self,
        room: &RoomId,
        partition: i64,
        below: i64,
    ) -> Result<Option<i64>, Error> {
        let key = (room.as_str(), partition, below);
        let found = self.select(&self.statements.copy_epoch, key).await?;
        let epoch = all::<(i64,)>(&found)?.into_iter().next();
        Ok(epoch.map(|(epoch,)| epoch))
    }

    pub(super) async fn read_copies(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Row>, Error> {
        let partition = number(self.partitions().of(first));
        let (mut rows, mut places): (Vec<Row>, HashSet<Seq>) = Default::default();
        let mut below = i64::MAX;
        while let Some(epoch) = self.epoch_below(room, partition, below).await? {
            below = epoch;
            let range = (
                room.as_str(),
                partition,
                epoch,
                number(first.0),
                number(last.0),
            );
            let found = self.select(&self.statements.copies, range).await?;
            for (seq, at, epoch, name, version, payload, changes) in all::<Columns>(&found)? {
                let stored = (seq, epoch, seq, at, name, version, payload, changes);
                rows.push(row(stored)?);
            }
            places.extend(rows.iter().map(Row::seq));
            if places.len() as u64 > last.0 - first.0 {
                break;
            }
        }
        Ok(rows)
    }

    pub(super) async fn ends_of(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Option<(Seq, Seq)>, Error> {
        let partition = number(self.partitions().of(first));
        let mut ends: Option<(Seq, Seq)> = None;
        let mut below = i64::MAX;
        while let Some(epoch) = self.epoch_below(room, partition, below).await? {
            below = epoch;
            let (first, last) = (number(first.0), number(last.0));
            let range = (room.as_str(), partition, epoch, first, last);
            for statement in [&self.statements.first_copy, &self.statements.last_copy] {
                let found = self.select(statement, range).await?;
                for (seq,) in all::<(i64,)>(&found)? {
                    let seq = Seq(seq as u64);
                    ends = Some(
                        ends.map_or((seq, seq), |(first, last)| (first.min(seq), last.max(seq))),
                    );
                }
            }
        }
        Ok(ends)
    }

    pub(super) async fn note_copied(
        &self,
        room: &RoomId,
        epoch: Epoch,
        below: Seq,
    ) -> Result<(), Error> {
        let (name, partitions) = (room.as_str(), self.partitions());
        let (at, nth) = (number(below.0), number(epoch.0));
        self.execute(&self.statements.put_copied_below, (at, at, name))
            .await?;
        self.execute(&self.statements.put_copied_epoch, (nth, nth, name))
            .await?;
        let first = self.read_copied(room).await?.first.max(Seq(1));
        let last = Seq(below.0.saturating_sub(1));
        if first > last {
            return Ok(());
        }
        for partition in partitions.of(first)..=partitions.of(last) {
            let before = (ahead(), name, number(partition), nth);
            self.execute(&self.statements.drop_copies_before, before)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn remove_copies(
        &self,
        room: &RoomId,
        epoch: Epoch,
        below: Seq,
    ) -> Result<(), Error> {
        let noted = self.noted_copies(room).await?;
        let (name, at) = (room.as_str(), number(below.0));
        if noted.places.first < below {
            self.execute(&self.statements.put_copied_first, (at, at, name))
                .await?;
        }
        let is_all = below >= noted.places.below;
        if noted.removed >= below {
            return Ok(());
        }
        let partitions = self.partitions();
        let (first, last) = (
            partitions.of(noted.removed.max(Seq(1))),
            partitions.of(below),
        );
        for partition in first..last {
            let key = (ahead(), name, number(partition));
            self.execute(&self.statements.drop_copies, key).await?;
        }
        if below.0 > last * partitions.size() + 1 {
            let over = if is_all { epoch } else { noted.epoch };
            let before = (ahead(), name, number(last), number(over.0));
            self.execute(&self.statements.drop_copies_before, before)
                .await?;
            let mut under = i64::MAX;
            while let Some(epoch) = self.epoch_below(room, number(last), under).await? {
                under = epoch;
                let range = (ahead(), name, number(last), epoch, number(below.0));
                self.execute(&self.statements.drop_copies_below, range)
                    .await?;
            }
        }
        let removed = number(below.0);
        self.execute(
            &self.statements.put_copied_removed,
            (removed, removed, name),
        )
        .await
    }
}
