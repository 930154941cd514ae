//! The prepared statements.

use super::{Config, errors};
use crate::journal::Error;
use scylla::{
    client::session::Session,
    errors::ExecutionError,
    statement::{Consistency, prepared::PreparedStatement},
};

/// Records in a page.
pub(super) const PINS: usize = 1000;

/// Every statement that runs more than once. All keys are bound, so that the driver sends each to a
/// replica.
pub(super) struct Statements {
    pub(super) fence: PreparedStatement,
    pub(super) fence_serial: PreparedStatement,
    pub(super) first_claim: PreparedStatement,
    pub(super) raise: PreparedStatement,
    pub(super) write: PreparedStatement,
    pub(super) rows: PreparedStatement,
    pub(super) first_row: PreparedStatement,
    pub(super) last_row: PreparedStatement,
    pub(super) trimmed: PreparedStatement,
    pub(super) put_start: PreparedStatement,
    pub(super) put_removed: PreparedStatement,
    pub(super) drop_partition: PreparedStatement,
    pub(super) drop_rows: PreparedStatement,
    pub(super) pin: PreparedStatement,
    pub(super) pins: PreparedStatement,
    pub(super) put_pin: PreparedStatement,
    pub(super) drop_pins: PreparedStatement,
    pub(super) copied: PreparedStatement,
    pub(super) put_copied_first: PreparedStatement,
    pub(super) put_copied_below: PreparedStatement,
    pub(super) put_copied_epoch: PreparedStatement,
    pub(super) put_copied_removed: PreparedStatement,
    pub(super) put_copy: PreparedStatement,
    pub(super) copy_epoch: PreparedStatement,
    pub(super) copies: PreparedStatement,
    pub(super) first_copy: PreparedStatement,
    pub(super) last_copy: PreparedStatement,
    pub(super) drop_copies: PreparedStatement,
    pub(super) drop_copies_before: PreparedStatement,
    pub(super) drop_copies_below: PreparedStatement,
    pub(super) note: PreparedStatement,
    pub(super) unnote: PreparedStatement,
    pub(super) rooms: PreparedStatement,
    pub(super) rooms_after: PreparedStatement,
    pub(super) snapshots: PreparedStatement,
    pub(super) snapshot: PreparedStatement,
    pub(super) put_snapshot: PreparedStatement,
    pub(super) drop_snapshot: PreparedStatement,
    pub(super) chunks: PreparedStatement,
    pub(super) put_chunk: PreparedStatement,
    pub(super) put_carried: PreparedStatement,
    pub(super) drop_chunks: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, config: &Config) -> Result<Self, Error> {
        let keyspace = &config.keyspace;
        let prepare = async |text: &str| {
            let text = text.replace("{ks}", keyspace);
            session
                .prepare(text)
                .await
                .map_err(|error| errors::reading(ExecutionError::PrepareError(error)))
        };
        let bucket = "room = ? AND generation = ? AND bucket = ?";
        let copies = "room = ? AND partition_nr = ? AND epoch = ? AND seq >= ? AND seq <= ?";
        let key = "room = ? AND seq = ? AND epoch = ? AND number = ?";
        let mut fence_serial =
            prepare("SELECT epoch, owner FROM {ks}.fence WHERE shard = ?").await?;
        fence_serial.set_consistency(Consistency::LocalSerial);
        Ok(Self {
            fence: prepare("SELECT epoch, owner FROM {ks}.fence WHERE shard = ?").await?,
            fence_serial,
            first_claim: prepare(
                "INSERT INTO {ks}.fence (epoch, owner, shard) VALUES (?, ?, ?) IF NOT EXISTS",
            )
            .await?,
            raise: prepare(
                "UPDATE {ks}.fence SET epoch = ?, owner = ? WHERE shard = ? IF epoch = ?",
            )
            .await?,
            write: prepare(
                "INSERT INTO {ks}.journal (room, partition_nr, seq, epoch, first_seq, at, event, \
                 version, payload, changes) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .await?,
            rows: prepare(
                "SELECT seq, epoch, first_seq, at, event, version, payload, changes FROM \
                 {ks}.journal \
                 WHERE room = ? AND partition_nr = ? AND seq >= ? AND seq <= ?",
            )
            .await?,
            first_row: prepare(
                "SELECT seq FROM {ks}.journal \
                 WHERE room = ? AND partition_nr = ? AND seq >= ? AND seq <= ? \
                 ORDER BY seq ASC, epoch DESC LIMIT 1",
            )
            .await?,
            last_row: prepare(
                "SELECT seq FROM {ks}.journal \
                 WHERE room = ? AND partition_nr = ? AND seq >= ? AND seq <= ? \
                 ORDER BY seq DESC, epoch ASC LIMIT 1",
            )
            .await?,
            trimmed: prepare("SELECT start, removed FROM {ks}.trims WHERE room = ?").await?,
            // The place is the time of writing, so that the highest one stays, whoever is late.
            put_start: prepare("UPDATE {ks}.trims USING TIMESTAMP ? SET start = ? WHERE room = ?")
                .await?,
            put_removed: prepare(
                "UPDATE {ks}.trims USING TIMESTAMP ? SET removed = ? WHERE room = ?",
            )
            .await?,
            drop_partition: prepare(
                "DELETE FROM {ks}.journal USING TIMESTAMP ? WHERE room = ? AND partition_nr = ?",
            )
            .await?,
            drop_rows: prepare(
                "DELETE FROM {ks}.journal USING TIMESTAMP ? WHERE room = ? AND partition_nr = ? \
                 AND seq < ?",
            )
            .await?,
            pin: prepare(&format!(
                "SELECT record FROM {{ks}}.pins WHERE {bucket} AND name = ? LIMIT 1"
            ))
            .await?,
            pins: prepare(&format!(
                "SELECT record FROM {{ks}}.pins WHERE {bucket} AND name > ? PER PARTITION LIMIT \
                 {PINS}"
            ))
            .await?,
            put_pin: prepare(
                "INSERT INTO {ks}.pins (room, generation, bucket, name, epoch, record) VALUES (?, \
                 ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            drop_pins: prepare(&format!(
                "DELETE FROM {{ks}}.pins USING TIMESTAMP ? WHERE {bucket}"
            ))
            .await?,
            copied: prepare("SELECT first, below, removed, epoch FROM {ks}.copied WHERE room = ?")
                .await?,
            put_copied_first: prepare(
                "UPDATE {ks}.copied USING TIMESTAMP ? SET first = ? WHERE room = ?",
            )
            .await?,
            put_copied_below: prepare(
                "UPDATE {ks}.copied USING TIMESTAMP ? SET below = ? WHERE room = ?",
            )
            .await?,
            put_copied_epoch: prepare(
                "UPDATE {ks}.copied USING TIMESTAMP ? SET epoch = ? WHERE room = ?",
            )
            .await?,
            put_copied_removed: prepare(
                "UPDATE {ks}.copied USING TIMESTAMP ? SET removed = ? WHERE room = ?",
            )
            .await?,
            put_copy: prepare(
                "INSERT INTO {ks}.copies (room, partition_nr, epoch, seq, at, event, version, \
                 payload, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            copy_epoch: prepare(
                "SELECT epoch FROM {ks}.copies WHERE room = ? AND partition_nr = ? AND epoch < ? \
                 LIMIT 1",
            )
            .await?,
            copies: prepare(&format!(
                "SELECT seq, at, epoch, event, version, payload, changes FROM {{ks}}.copies WHERE \
                 {copies}"
            ))
            .await?,
            first_copy: prepare(&format!(
                "SELECT seq FROM {{ks}}.copies WHERE {copies} LIMIT 1"
            ))
            .await?,
            last_copy: prepare(&format!(
                "SELECT seq FROM {{ks}}.copies WHERE {copies} ORDER BY epoch ASC, seq DESC LIMIT \
                 1"
            ))
            .await?,
            drop_copies: prepare(
                "DELETE FROM {ks}.copies USING TIMESTAMP ? WHERE room = ? AND partition_nr = ?",
            )
            .await?,
            drop_copies_before: prepare(
                "DELETE FROM {ks}.copies USING TIMESTAMP ? WHERE room = ? AND partition_nr = ? \
                 AND epoch < ?",
            )
            .await?,
            drop_copies_below: prepare(
                "DELETE FROM {ks}.copies USING TIMESTAMP ? WHERE room = ? AND partition_nr = ? \
                 AND epoch = ? AND seq < ?",
            )
            .await?,
            note: prepare("INSERT INTO {ks}.all_persistence_ids (room) VALUES (?)").await?,
            // As of a time before: what is noted since stays.
            unnote: prepare(
                "DELETE FROM {ks}.all_persistence_ids USING TIMESTAMP ? WHERE room = ?",
            )
            .await?,
            rooms: prepare("SELECT room FROM {ks}.all_persistence_ids LIMIT ?").await?,
            rooms_after: prepare(
                "SELECT room FROM {ks}.all_persistence_ids WHERE token(room) > token(?) LIMIT ?",
            )
            .await?,
            snapshots: prepare(
                "SELECT seq, epoch, number FROM {ks}.snapshots WHERE room = ? LIMIT ?",
            )
            .await?,
            snapshot: prepare(&format!(
                "SELECT version, chunks FROM {{ks}}.snapshots WHERE {key}"
            ))
            .await?,
            put_snapshot: prepare(
                "INSERT INTO {ks}.snapshots (room, seq, epoch, number, version, chunks) VALUES \
                 (?, ?, ?, ?, ?, ?)",
            )
            .await?,
            drop_snapshot: prepare(&format!("DELETE FROM {{ks}}.snapshots WHERE {key}")).await?,
            chunks: prepare(&format!(
                "SELECT chunk, content FROM {{ks}}.snapshot_chunks WHERE {key}"
            ))
            .await?,
            put_chunk: prepare(
                "INSERT INTO {ks}.snapshot_chunks (room, seq, epoch, number, chunk, content) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .await?,
            put_carried: prepare(
                "INSERT INTO {ks}.snapshot_chunks (room, seq, epoch, number, chunk, content) \
                 VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            drop_chunks: prepare(&format!("DELETE FROM {{ks}}.snapshot_chunks WHERE {key}"))
                .await?,
        })
    }
}
