//! Snapshots in chunks. The chunks are written first, then the row that makes them known.

use super::store::{Tables, all, number};
use crate::{
    journal::{
        Error,
        readback::{SnapshotKey, StoredSnapshot},
    },
    room::{Epoch, RoomId, Seq},
};
use bytes::{Bytes, BytesMut};

/// Bytes in a chunk: well below what Cassandra warns about in a cell.
const CHUNK: usize = 64 * 1024;

/// The chunk that is what was put beside a snapshot: before all others.
const CARRIED: i32 = -1;

type Key<'a> = (&'a str, i64, i64, i64);

fn bound(room: &RoomId, key: SnapshotKey) -> Key<'_> {
    (
        room.as_str(),
        number(key.seq.0),
        number(key.epoch.0),
        number(key.number),
    )
}

impl Tables {
    /// The newest snapshots. Not all: behind the newest lie the tombstones of all older ones.
    pub(super) async fn snapshot_keys(
        &self,
        room: &RoomId,
        limit: usize,
    ) -> Result<Vec<SnapshotKey>, Error> {
        let found = self
            .select(&self.statements.snapshots, (room.as_str(), limit as i32))
            .await?;
        let keys = all::<(i64, i64, i64)>(&found)?.into_iter();
        Ok(keys
            .map(|(seq, epoch, number)| SnapshotKey {
                seq: Seq(seq as u64),
                epoch: Epoch(epoch as u64),
                number: number as u64,
            })
            .collect())
    }

    pub(super) async fn read_snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
    ) -> Result<Option<StoredSnapshot>, Error> {
        let found = self
            .select(&self.statements.snapshot, bound(room, key))
            .await?;
        let Some((version, count)) = all::<(i32, i32)>(&found)?.into_iter().next() else {
            return Ok(None);
        };
        let found = self
            .select(&self.statements.chunks, bound(room, key))
            .await?;
        let mut chunks = all::<(i32, Vec<u8>)>(&found)?;
        let carried = chunks.extract_if(.., |(chunk, _)| *chunk == CARRIED);
        let carried = carried.last().map(|(_, content)| content.into());
        // Fewer: it is being dropped.
        if chunks.len() != count as usize {
            return Ok(None);
        }
        let content = chunks
            .iter()
            .fold(BytesMut::new(), |mut content, (_, chunk)| {
                content.extend_from_slice(chunk);
                content
            });
        Ok(Some(StoredSnapshot {
            version: version as u32,
            content: content.freeze(),
            carried,
        }))
    }

    /// The number is the time of writing, so that the greatest one stays, whoever is late.
    pub(super) async fn write_carried(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        nth: u64,
        content: Bytes,
    ) -> Result<(), Error> {
        let (name, seq, epoch, n) = bound(room, key);
        let values = (name, seq, epoch, n, CARRIED, content, number(nth));
        self.execute(&self.statements.put_carried, values).await
    }

    pub(super) async fn write_snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        version: u32,
        content: Bytes,
    ) -> Result<(), Error> {
        let (name, seq, epoch, n) = bound(room, key);
        for (chunk, content) in content.chunks(CHUNK).enumerate() {
            self.execute(
                &self.statements.put_chunk,
                (name, seq, epoch, n, chunk as i32, content),
            )
            .await?;
        }
        let chunks = content.len().div_ceil(CHUNK) as i32;
        self.execute(
            &self.statements.put_snapshot,
            (name, seq, epoch, n, version as i32, chunks),
        )
        .await
    }

    pub(super) async fn remove_snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
    ) -> Result<(), Error> {
        self.execute(&self.statements.drop_snapshot, bound(room, key))
            .await?;
        self.execute(&self.statements.drop_chunks, bound(room, key))
            .await
    }
}
