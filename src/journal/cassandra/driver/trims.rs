//! Letting the past of a room go: partitions that lie below the start are dropped whole, with one
//! tombstone each, and of the one that holds it a range.

use super::store::{Tables, all, number};
use crate::{
    journal::{Error, readback::Store},
    room::{RoomId, Seq},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A deletion is so much later than it is, a year in microseconds: it also covers what a clock wrote
/// that is ahead, and what an owner writes that was frozen and wakes up. Nothing else is ever written
/// below a start.
const AHEAD: i64 = 31_536_000_000_000;

pub(super) fn ahead() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_micros() as i64 + AHEAD
}

/// How far a room is trimmed.
#[derive(Default)]
pub(super) struct Trims {
    /// Below it nothing is read.
    pub(super) start: Seq,
    /// Below it nothing is.
    removed: Seq,
}

impl Tables {
    pub(super) async fn trims(&self, room: &RoomId) -> Result<Trims, Error> {
        let found = self
            .select(&self.statements.trimmed, (room.as_str(),))
            .await?;
        let row = all::<(Option<i64>, Option<i64>)>(&found)?
            .into_iter()
            .next();
        let place = |place: Option<i64>| Seq(place.unwrap_or_default().max(0) as u64);
        Ok(row.map_or_else(Trims::default, |(start, removed)| Trims {
            start: place(start),
            removed: place(removed),
        }))
    }

    /// Removes the rows below a place that are not removed yet. What fails is repeated from there on
    /// where it is known to be done.
    pub(super) async fn remove_below(&self, room: &RoomId, below: Seq) -> Result<(), Error> {
        let Trims { start, removed } = self.trims(room).await?;
        if removed >= below {
            return Ok(());
        }
        let (name, at) = (room.as_str(), number(below.0));
        if start < below {
            self.execute(&self.statements.put_start, (at, at, name))
                .await?;
        }
        let partitions = self.partitions();
        let (first, last) = (partitions.of(removed.max(Seq(1))), partitions.of(below));
        for partition in first..last {
            let key = (ahead(), name, number(partition));
            self.execute(&self.statements.drop_partition, key).await?;
        }
        if below.0 > last * partitions.size() + 1 {
            let range = (ahead(), name, number(last), at);
            self.execute(&self.statements.drop_rows, range).await?;
        }
        self.execute(&self.statements.put_removed, (at, at, name))
            .await
    }
}
