//! Snapshots on the bus: two slots per room, the older one is replaced. A large one lies in several parts.
//!
//! A slot is used only when all its parts belong to the same snapshot, and when the message that holds its head is still the one that it was taken
//! from: a stream that lost its tail gives positions and places a second time. Replacing is a compare-and-set, and a snapshot of a
//! higher epoch is never replaced by a lower one.

use super::{ATTEMPTS, BusError, Error, reading};
use crate::{
    bus::{BLOB, Bus, Position, Published},
    journal::codec,
    proto::journal::v1::SnapshotPart,
    room::{Epoch, RoomId, Seq, State},
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::{
    cmp::Reverse,
    sync::atomic::{AtomicU64, Ordering},
};

/// Two: while one is replaced, the other stays.
const SLOTS: u32 = 2;
/// Bytes of a part beside its content, more than enough.
const ENVELOPE: usize = 512;

/// Bytes of content in a part: what a blob holds, or less where the servers take only smaller
/// messages.
fn part_bytes(bus: &dyn Bus) -> usize {
    BLOB.min(bus.health().borrow().largest)
        .saturating_sub(ENVELOPE)
        .max(1)
}

/// Where a snapshot belongs: the message that holds its head, and the epoch of that message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    position: Position,
    epoch: Epoch,
}

fn name(room: &RoomId, slot: u32, part: u32) -> String {
    format!("snapshot.{room}.{slot}.{part}")
}

/// Finds the message that holds a head. `end`: head, position and epoch of the room's last message.
pub(super) async fn place(
    bus: &dyn Bus,
    room: &RoomId,
    head: Seq,
    end: (Seq, Position, Epoch),
) -> Result<Place, Error> {
    if head == end.0 {
        return Ok(Place {
            position: end.1,
            epoch: end.2,
        });
    }
    let missing = || {
        Error::Damaged(format!(
            "room {room}: event {head} is not stored, though it was journaled"
        ))
    };
    let position = bus
        .find(room, head)
        .await
        .map_err(reading)?
        .ok_or_else(missing)?;
    let message = bus
        .stored(room, position, 1)
        .await
        .map_err(reading)?
        .into_iter()
        .next()
        .ok_or_else(missing)?;
    Ok(Place {
        position: message.position,
        epoch: message.epoch,
    })
}

/// The newest snapshot that belongs to this room as it is stored, and the message from which to read on.
pub(super) async fn newest(
    bus: &dyn Bus,
    room: &RoomId,
    end: &Published,
) -> Result<(State, Position), Error> {
    let mut found = Vec::new();
    for slot in 0..SLOTS {
        found.extend(read(bus, room, slot).await?);
    }
    found.sort_by_key(|part| Reverse(age(part)));
    for part in found {
        if !belongs(bus, room, end, &part).await? {
            continue;
        }
        if part.version != codec::SNAPSHOT_VERSION {
            return Err(Error::Unsupported {
                seq: Seq(part.head),
                name: "snapshot".into(),
                version: part.version,
            });
        }
        return Ok((
            codec::decode_snapshot(part.payload)?,
            Position(part.position),
        ));
    }
    Ok((State::default(), Position::ZERO))
}

/// Greater is newer: an epoch belongs to one process, which counts.
fn age(part: &SnapshotPart) -> (u64, u64) {
    (part.epoch, part.number)
}

async fn belongs(
    bus: &dyn Bus,
    room: &RoomId,
    end: &Published,
    part: &SnapshotPart,
) -> Result<bool, Error> {
    let position = Position(part.position);
    if part.head > end.seq.0 || position > end.position {
        return Ok(false);
    }
    let message = bus
        .stored(room, position, 1)
        .await
        .map_err(reading)?
        .into_iter()
        .next();
    Ok(message.is_some_and(|message| {
        message.position == position && message.epoch.0 == part.published_under
    }))
}

/// A whole snapshot, all of its content in one part; `None`: the slot is empty or half replaced.
async fn read(bus: &dyn Bus, room: &RoomId, slot: u32) -> Result<Option<SnapshotPart>, Error> {
    let Some((first, _)) = part(bus, &name(room, slot, 0)).await? else {
        return Ok(None);
    };
    let mut content = BytesMut::from(&*first.payload);
    for index in 1..first.parts {
        match part(bus, &name(room, slot, index)).await? {
            Some((part, _)) if age(&part) == age(&first) => {
                content.extend_from_slice(&part.payload)
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(SnapshotPart {
        payload: content.freeze(),
        ..first
    }))
}

async fn part(bus: &dyn Bus, name: &str) -> Result<Option<(SnapshotPart, u64)>, Error> {
    let Some((value, revision)) = bus.get(name).await.map_err(reading)? else {
        return Ok(None);
    };
    let part =
        SnapshotPart::decode(value).map_err(|error| Error::Damaged(format!("{name}: {error}")))?;
    Ok(Some((part, revision)))
}

/// Replaces the older slot. [`Error::Fenced`] when there is a snapshot of a higher epoch.
pub(super) async fn save(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    counter: &AtomicU64,
    state: &State,
    place: Place,
) -> Result<(), Error> {
    let mut slots = Vec::new();
    for slot in 0..SLOTS {
        let found = read(bus, room, slot).await?;
        slots.push((found.as_ref().map(age), slot));
    }
    let (_, slot) = slots.into_iter().min().expect("there are slots");
    let content = codec::encode_snapshot(state);
    let size = part_bytes(bus);
    let whole = SnapshotPart {
        version: codec::SNAPSHOT_VERSION,
        epoch: epoch.0,
        number: counter.fetch_add(1, Ordering::Relaxed),
        head: state.head.0,
        position: place.position.0,
        published_under: place.epoch.0,
        parts: content.len().div_ceil(size).max(1) as u32,
        payload: Bytes::new(),
    };
    for index in 0..whole.parts {
        let from = index as usize * size;
        let payload = content.slice(from..content.len().min(from + size));
        put(
            bus,
            &name(room, slot, index),
            &SnapshotPart {
                payload,
                ..whole.clone()
            },
        )
        .await?;
    }
    Ok(())
}

async fn put(bus: &dyn Bus, name: &str, wanted: &SnapshotPart) -> Result<(), Error> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let stored = part(bus, name).await?;
        let revision = match &stored {
            Some((stored, _)) if stored == wanted => return Ok(()),
            Some((stored, _)) if stored.epoch > wanted.epoch => {
                return Err(Error::Fenced {
                    seen: Epoch(stored.epoch),
                });
            }
            Some((_, revision)) => *revision,
            None => 0,
        };
        match bus.put(name, wanted.encode_to_vec().into(), revision).await {
            Ok(_) => return Ok(()),
            Err(BusError::Conflict(reason) | BusError::Unknown(reason)) => why = reason,
            Err(error) => return Err(reading(error)),
        }
    }
    Err(Error::Unavailable(format!(
        "{name} could not be stored in {ATTEMPTS} attempts: {why}"
    )))
}
