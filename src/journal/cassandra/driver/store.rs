//! The tables as the read-back journal uses them.

use super::{
    Config,
    connect::{applied, release, unreadable},
    errors,
    identity::Identity,
    settings::{self, Belongs},
    statements::Statements,
    watch,
};
use crate::{
    bus::ClusterId,
    journal::{
        Error,
        codec::Record,
        readback::{Copied, Fence, Partitions, Reading, Row, SnapshotKey, Store, StoredSnapshot},
    },
    metric,
    proto::journal::v1::{Change, StoredEvent},
    room::{Epoch, Incarnation, Millis, RoomId, Seq, ShardId, UserId},
};
use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;
use scylla::{
    client::session::Session,
    deserialize::row::DeserializeRow,
    errors::ExecutionError,
    response::query_result::{QueryResult, QueryRowsResult},
    serialize::row::SerializeRow,
    statement::{
        Consistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
    value::MaybeUnset,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// How long a failed request counts as a reason not to be ready: a little more than the pause
/// between two retries.
const RECENT: Duration = Duration::from_secs(10);

pub(super) type JournalRow = (
    i64,
    i64,
    i64,
    i64,
    String,
    i32,
    Vec<u8>,
    Option<Vec<Vec<u8>>>,
);
type Values<'a> = (
    &'a str,
    i64,
    i64,
    i64,
    i64,
    i64,
    &'a str,
    i32,
    &'a [u8],
    MaybeUnset<Vec<Vec<u8>>>,
);

/// A connection to the tables.
pub struct Tables {
    pub(super) session: Arc<Session>,
    pub(super) statements: Statements,
    partitions: Partitions,
    identity: Arc<Identity>,
    failed: Mutex<Option<(Instant, String)>>,
}

impl Tables {
    pub(super) async fn new(
        session: Session,
        config: &Config,
        partitions: Partitions,
    ) -> Result<Self, Error> {
        let statements = Statements::prepare(&session, config).await?;
        let session = Arc::new(session);
        let identity = Arc::new(Identity::new(config.keyspace.clone()));
        watch::start(&session, &identity);
        Ok(Self {
            session,
            statements,
            partitions,
            identity,
            failed: Mutex::default(),
        })
    }

    /// Notes that the keyspace is a cluster's, if it is nobody's yet; which it is, and whose.
    /// `expected`: the one that the cluster has already.
    pub async fn claim_keyspace(
        &self,
        config: &Config,
        cluster: ClusterId,
        expected: Option<Uuid>,
    ) -> Result<Belongs, Error> {
        let belongs = settings::claim(&self.session, config, cluster, expected).await?;
        if belongs.cluster == Some(cluster) {
            self.identity.expect(belongs.keyspace);
        }
        Ok(belongs)
    }

    /// Makes the keyspace that of another cluster, if it is `from`'s, or is `to`'s already.
    pub async fn hand_over_keyspace(
        &self,
        config: &Config,
        from: ClusterId,
        to: ClusterId,
    ) -> Result<(), Error> {
        settings::hand_over(&self.session, config, from, to).await
    }

    /// The version of the server, for people.
    pub async fn release(&self) -> Result<String, Error> {
        release(&self.session).await
    }

    pub(super) async fn select(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, Error> {
        let result = self.noted(
            self.session.execute_unpaged(statement, values).await,
            errors::reading,
        )?;
        result.into_rows_result().map_err(unreadable)
    }

    async fn place(
        &self,
        statement: &PreparedStatement,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Option<Seq>, Error> {
        let partition = number(self.partitions.of(first));
        let range = (room.as_str(), partition, number(first.0), number(last.0));
        let found = self.select(statement, range).await?;
        let row = found.maybe_first_row::<(i64,)>().map_err(unreadable)?;
        Ok(row.map(|(seq,)| Seq(seq as u64)))
    }

    pub(super) async fn execute(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), Error> {
        self.noted(
            self.session.execute_unpaged(statement, values).await,
            errors::write,
        )
        .map(|_| ())
    }

    /// Statements of one partition, so that they are one mutation.
    pub(super) async fn run_batch(
        &self,
        batch: &Batch,
        values: Vec<impl SerializeRow>,
    ) -> Result<(), Error> {
        self.noted(self.session.batch(batch, values).await, errors::write)
            .map(drop)
    }

    /// Remembers the last failure, for [`Store::ready`].
    fn noted(
        &self,
        result: Result<QueryResult, ExecutionError>,
        meaning: fn(ExecutionError) -> Error,
    ) -> Result<QueryResult, Error> {
        let result = result.map_err(meaning);
        let failed = result
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.to_string()));
        if failed.is_some() {
            metric::CASSANDRA_FAILURES.increment(1);
        }
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        result
    }

    fn values<'a>(&self, room: &'a RoomId, row: &'a Row) -> Values<'a> {
        let changes: Vec<_> = row
            .event
            .changes
            .iter()
            .map(Message::encode_to_vec)
            .collect();
        (
            room.as_str(),
            number(self.partitions.of(row.seq())),
            number(row.event.seq),
            number(row.epoch.0),
            number(row.first.0),
            number(row.event.at),
            &row.event.name,
            row.event.version as i32,
            &row.event.payload,
            if changes.is_empty() {
                MaybeUnset::Unset
            } else {
                MaybeUnset::Set(changes)
            },
        )
    }
}

/// The rows of an answer.
pub(super) fn all<T>(result: &QueryRowsResult) -> Result<Vec<T>, Error>
where
    T: for<'a> DeserializeRow<'a, 'a>,
{
    result
        .rows::<T>()
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}

/// A number as Cassandra keeps it. None of ours reaches 2^63: they count events, epochs and
/// milliseconds.
pub(super) fn number(value: u64) -> i64 {
    value as i64
}

pub(super) fn row(
    (seq, epoch, first, at, name, version, payload, changes): JournalRow,
) -> Result<Row, Error> {
    let changes = changes
        .unwrap_or_default()
        .iter()
        .map(|change| Change::decode(&**change))
        .collect::<Result<_, _>>();
    let changes = changes
        .map_err(|error| Error::Damaged(format!("event {seq} under epoch {epoch}: {error}")))?;
    let event = StoredEvent {
        seq: seq as u64,
        at: at as u64,
        name,
        version: version as u32,
        payload: payload.into(),
        changes,
    };
    Ok(Row {
        epoch: Epoch(epoch as u64),
        first: Seq(first as u64),
        event,
    })
}

fn rooms(names: Vec<(String,)>) -> Result<Vec<RoomId>, Error> {
    names
        .iter()
        .map(|(name,)| {
            RoomId::parse(name).map_err(|bad| Error::Damaged(format!("all_persistence_ids: {bad}")))
        })
        .collect()
}

#[async_trait]
impl Store for Tables {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    async fn fence(&self, shard: ShardId, reading: Reading) -> Result<Option<Fence>, Error> {
        let statement = match reading {
            Reading::Quorum => &self.statements.fence,
            Reading::Serial => &self.statements.fence_serial,
        };
        let found = self.select(statement, (i32::from(shard.0),)).await?;
        let Some((epoch, owner)) = found
            .maybe_first_row::<(i64, Vec<u8>)>()
            .map_err(unreadable)?
        else {
            return Ok(None);
        };
        let owner = Incarnation::from_slice(&owner)
            .ok_or_else(|| Error::Damaged(format!("the fence of shard {shard} has no owner")))?;
        Ok(Some(Fence {
            epoch: Epoch(epoch as u64),
            owner,
        }))
    }

    async fn raise(
        &self,
        shard: ShardId,
        expected: Option<Epoch>,
        fence: &Fence,
    ) -> Result<bool, Error> {
        // Claims of before are not there: nobody writes into a keyspace that took its place.
        self.identity.check(&self.session).await?;
        let (epoch, owner, shard) = (
            number(fence.epoch.0),
            fence.owner.to_bytes(),
            i32::from(shard.0),
        );
        let result = match expected {
            None => {
                self.session
                    .execute_unpaged(&self.statements.first_claim, (epoch, &owner[..], shard))
                    .await
            }
            Some(expected) => {
                self.session
                    .execute_unpaged(
                        &self.statements.raise,
                        (epoch, &owner[..], shard, number(expected.0)),
                    )
                    .await
            }
        };
        applied(
            &self
                .noted(result, errors::conditional)?
                .into_rows_result()
                .map_err(unreadable)?,
        )
    }

    async fn write(&self, room: &RoomId, rows: &[Row]) -> Result<(), Error> {
        // One partition, so the batch is one mutation: unlogged, and all or nothing.
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_consistency(Consistency::LocalQuorum);
        rows.iter()
            .for_each(|_| batch.append_statement(self.statements.write.clone()));
        let values = rows.iter().map(|row| self.values(room, row)).collect();
        self.run_batch(&batch, values).await
    }

    async fn rows(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Row>, Error> {
        let partition = number(self.partitions.of(first));
        let found = self
            .select(
                &self.statements.rows,
                (room.as_str(), partition, number(first.0), number(last.0)),
            )
            .await?;
        all::<JournalRow>(&found)?.into_iter().map(row).collect()
    }

    async fn first_row(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Option<Seq>, Error> {
        self.place(&self.statements.first_row, room, first, last)
            .await
    }

    async fn last_row(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Option<Seq>, Error> {
        self.place(&self.statements.last_row, room, first, last)
            .await
    }

    async fn trim(&self, room: &RoomId, below: Seq) -> Result<(), Error> {
        self.remove_below(room, below).await
    }

    async fn trimmed(&self, room: &RoomId) -> Result<Seq, Error> {
        Ok(self.trims(room).await?.start)
    }

    async fn note(&self, room: &RoomId) -> Result<(), Error> {
        self.execute(&self.statements.note, (room.as_str(),)).await
    }

    async fn unnote(&self, room: &RoomId, before: Millis) -> Result<(), Error> {
        let at = number(before.0.saturating_mul(1000));
        self.execute(&self.statements.unnote, (at, room.as_str()))
            .await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let found = match after {
            None => self.select(&self.statements.rooms, (limit,)).await?,
            Some(after) => {
                self.select(&self.statements.rooms_after, (after.as_str(), limit))
                    .await?
            }
        };
        rooms(all(&found)?)
    }

    async fn snapshots(&self, room: &RoomId, limit: usize) -> Result<Vec<SnapshotKey>, Error> {
        self.snapshot_keys(room, limit).await
    }

    async fn snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
    ) -> Result<Option<StoredSnapshot>, Error> {
        self.read_snapshot(room, key).await
    }

    async fn put_carried(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        number: u64,
        content: Bytes,
    ) -> Result<(), Error> {
        self.write_carried(room, key, number, content).await
    }

    async fn put_snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        version: u32,
        content: Bytes,
    ) -> Result<(), Error> {
        self.write_snapshot(room, key, version, content).await
    }

    async fn pins(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Record>, Error> {
        self.read_pins(room, generation, names).await
    }

    async fn all_pins(&self, room: &RoomId, generation: Seq) -> Result<Vec<Record>, Error> {
        self.read_all_pins(room, generation).await
    }

    async fn put_pin(&self, room: &RoomId, generation: Seq, record: &Record) -> Result<(), Error> {
        self.write_pin(room, generation, record).await
    }

    async fn drop_pins(&self, room: &RoomId, generation: Seq) -> Result<(), Error> {
        self.remove_pins(room, generation).await
    }

    async fn copied(&self, room: &RoomId) -> Result<Copied, Error> {
        self.read_copied(room).await
    }

    async fn put_copies(&self, room: &RoomId, number: u64, rows: &[Row]) -> Result<(), Error> {
        self.write_copies(room, number, rows).await
    }

    async fn copies(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Row>, Error> {
        self.read_copies(room, first, last).await
    }

    async fn ends_of_copies(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Option<(Seq, Seq)>, Error> {
        self.ends_of(room, first, last).await
    }

    async fn note_copies(&self, room: &RoomId, epoch: Epoch, below: Seq) -> Result<(), Error> {
        self.note_copied(room, epoch, below).await
    }

    async fn drop_copies(&self, room: &RoomId, epoch: Epoch, below: Seq) -> Result<(), Error> {
        self.remove_copies(room, epoch, below).await
    }

    async fn drop_snapshot(&self, room: &RoomId, key: SnapshotKey) -> Result<(), Error> {
        self.remove_snapshot(room, key).await
    }

    fn ready(&self) -> Result<(), String> {
        self.identity.ready()?;
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, why)) if at.elapsed() < RECENT => return Err(why.clone()),
            _ => {}
        }
        let (connected, _) = watch::nodes(&self.session);
        (connected > 0)
            .then_some(())
            .ok_or_else(|| "no node of Cassandra is connected".into())
    }
}
