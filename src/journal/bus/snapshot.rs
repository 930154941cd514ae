//! Snapshots on the bus: two slots per room, the older one is replaced. A large one lies in several
//! parts.
//!
//! A slot is used when all its parts belong to the same snapshot, and nothing stored contradicts
//! it: the message that holds its head, if it is still there, must be the one that it was taken
//! from. Replacing is a compare-and-set, and a snapshot of a higher epoch is never replaced by a
//! lower one.

use super::{ATTEMPTS, BusError, Error, reading};
use crate::{
    bus::{BLOB, Bus, Position, Stored},
    journal::codec,
    proto::journal::v1::SnapshotPart,
    room::{Carried, Epoch, RoomId, Seq, State},
};
use bytes::BytesMut;
use prost::Message;
use std::{
    cmp::Reverse,
    sync::atomic::{AtomicU64, Ordering},
};

/// Two: while one is replaced, the other stays.
const SLOTS: u32 = 2;
/// Where it is noted that a room is written beyond its newest snapshot.
const MARK: u32 = SLOTS;
/// Where it is kept what the next event is to take along, beside the newest snapshot.
const CARRIED: u32 = MARK + 1;
/// The version of what is kept there.
const CARRIED_VERSION: u32 = 1;
/// Bytes of a part beside its content, more than enough.
const ENVELOPE: usize = 512;

/// Bytes of content in a part where not even smaller parts are taken.
pub(super) const SMALLEST: usize = 64;

/// Bytes of content in a part: what a blob holds, or less where the servers take only smaller
/// messages.
pub(super) fn part_bytes(bus: &dyn Bus) -> usize {
    BLOB.min(bus.health().borrow().largest)
        .saturating_sub(ENVELOPE)
        .max(SMALLEST)
}

/// Where a snapshot belongs: the message that holds its head, and the epoch of that message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    position: Position,
    epoch: Epoch,
}

/// Under what all snapshots of a room lie, and its mark.
pub(super) fn all_of(room: &RoomId) -> String {
    format!("snapshot.{room}")
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
    let message = holder(bus, room, head).await?;
    Ok(match message.filter(|message| message.holds(head)) {
        Some(message) => Place {
            position: message.position,
            epoch: message.epoch,
        },
        // It is gone already; the snapshot is all the more needed.
        None => Place {
            position: end.1,
            epoch: end.2,
        },
    })
}

/// The first message with events that holds a place or a later one.
async fn holder(bus: &dyn Bus, room: &RoomId, seq: Seq) -> Result<Option<Stored>, Error> {
    match bus.find(room, seq).await.map_err(reading)? {
        Some(position) => at(bus, room, position).await,
        None => Ok(None),
    }
}

/// The room's first message at or after a position.
async fn at(bus: &dyn Bus, room: &RoomId, position: Position) -> Result<Option<Stored>, Error> {
    let messages = bus.stored(room, position, 1).await.map_err(reading)?;
    Ok(messages.into_iter().next())
}

/// The newest snapshot that fits to the room as it is stored, and the message from which to read
/// on; `None`: there is none.
pub(super) async fn newest(
    bus: &dyn Bus,
    room: &RoomId,
) -> Result<Option<(State, Position)>, Error> {
    let mut found = Vec::new();
    for slot in 0..SLOTS {
        found.extend(read(bus, room, slot).await?);
    }
    found.sort_by_key(|part| Reverse(age(part)));
    for part in found {
        let Some(from) = fits(bus, room, &part).await? else {
            continue;
        };
        if !codec::reads_snapshot(part.version) {
            return Err(Error::Unsupported {
                seq: Seq(part.head),
                name: "snapshot".into(),
                version: part.version,
            });
        }
        let age = age(&part);
        let mut state = codec::decode_snapshot(part.payload)?;
        let beside = head(bus, room, CARRIED).await?;
        let beside = beside.filter(|beside| self::age(beside) == age);
        let beside = beside.map(|beside| codec::decode_carried(beside.payload));
        state.beside = beside.transpose()?;
        return Ok(Some((state, from)));
    }
    Ok(None)
}

/// Age, head and position of the newest snapshot that fits.
pub(super) async fn newest_place(
    bus: &dyn Bus,
    room: &RoomId,
) -> Result<Option<((u64, u64), Seq, Position)>, Error> {
    let mut found = Vec::new();
    for slot in 0..SLOTS {
        found.extend(head(bus, room, slot).await?);
    }
    found.sort_by_key(|part| Reverse(age(part)));
    for part in found {
        if fits(bus, room, &part).await?.is_some() {
            let place = (age(&part), Seq(part.head), Position(part.position));
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The first message that an opening may read with any of the snapshots that are kept, which holds
/// the head of the older one: the newer one may turn out not to fit. `None`: there is none.
pub(super) async fn held(bus: &dyn Bus, room: &RoomId) -> Result<Option<Position>, Error> {
    let mut held = None;
    for slot in 0..SLOTS {
        let Some(part) = head(bus, room, slot).await? else {
            continue;
        };
        if let Some(from) = fits(bus, room, &part).await? {
            held = Some(held.map_or(from, |held: Position| held.min(from)));
        }
    }
    Ok(held)
}

/// Greater is newer: an epoch belongs to one process, which counts.
fn age(part: &SnapshotPart) -> (u64, u64) {
    (part.epoch, part.number)
}

/// From where to read on behind a snapshot; `None`: it is of events that the room does not have.
/// Positions and places may be given a second time by a stream that lost its tail, and whoever does
/// that does it under another epoch. That the message is gone contradicts nothing: the places of a
/// room go on behind every snapshot.
async fn fits(
    bus: &dyn Bus,
    room: &RoomId,
    part: &SnapshotPart,
) -> Result<Option<Position>, Error> {
    let (head, position) = (Seq(part.head), Position(part.position));
    let there = at(bus, room, position)
        .await?
        .filter(|message| message.position == position && message.holds(head));
    if let Some(message) = there {
        return Ok((message.epoch.0 == part.published_under).then_some(position));
    }
    let found = if head == Seq::ZERO {
        at(bus, room, Position::ZERO).await?
    } else {
        holder(bus, room, head).await?
    };
    Ok(match found {
        Some(message) if message.holds(head) && message.epoch.0 > part.published_under => None,
        Some(message) => Some(message.position),
        None => Some(Position(u64::MAX)),
    })
}

/// A whole snapshot, all of its content in one part; `None`: the slot is empty or half replaced.
async fn read(bus: &dyn Bus, room: &RoomId, slot: u32) -> Result<Option<SnapshotPart>, Error> {
    match head(bus, room, slot).await? {
        Some(first) => read_rest(bus, room, slot, first).await,
        None => Ok(None),
    }
}

/// All of a snapshot whose first part this is; `None`: it is half replaced.
async fn read_rest(
    bus: &dyn Bus,
    room: &RoomId,
    slot: u32,
    first: SnapshotPart,
) -> Result<Option<SnapshotPart>, Error> {
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

/// The first part of a snapshot. A slot that an operator purged holds a marker, without content.
async fn head(bus: &dyn Bus, room: &RoomId, slot: u32) -> Result<Option<SnapshotPart>, Error> {
    let found = part(bus, &name(room, slot, 0)).await?;
    Ok(found.map(|(part, _)| part).filter(|part| part.version > 0))
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
        let (mut found, mut parts) = (None, 0);
        if let Some(first) = head(bus, room, slot).await? {
            parts = first.parts;
            found = read_rest(bus, room, slot, first).await?;
        }
        slots.push((found.as_ref().map(age), slot, parts));
    }
    let (_, slot, parts) = slots.into_iter().min().expect("there are slots");
    let content = codec::encode_snapshot(state);
    let mut size = part_bytes(bus);
    loop {
        let whole = SnapshotPart {
            version: codec::snapshot_version(state),
            epoch: epoch.0,
            number: counter.fetch_add(1, Ordering::Relaxed),
            head: state.head.0,
            position: place.position.0,
            published_under: place.epoch.0,
            parts: content.len().div_ceil(size).max(1) as u32,
            payload: content.clone(),
        };
        // First, while the part that says how many there are is there: what they hold may have to
        // be forgotten.
        for index in whole.parts..parts {
            empty(bus, &name(room, slot, index), &whole).await?;
        }
        if state.kept.purge.is_some() {
            // Versions before this one left such parts where they were.
            for index in strays(bus, room, slot, whole.parts.max(parts)).await? {
                empty(bus, &name(room, slot, index), &whole).await?;
            }
        }
        match save_in_parts(bus, room, slot, &whole, size).await {
            // The servers take less than is known, or the bucket has a limit of its own.
            Err(Error::TooLarge(_)) if size > SMALLEST => size = (size / 2).max(SMALLEST),
            Err(error) => return Err(error),
            Ok(()) if head(bus, room, CARRIED).await?.is_some() => {
                return empty(bus, &name(room, CARRIED, 0), &whole).await;
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Leaves nothing of a part of the snapshot that this one replaces, which has fewer.
async fn empty(bus: &dyn Bus, name: &str, by: &SnapshotPart) -> Result<(), Error> {
    let marker = SnapshotPart {
        epoch: by.epoch,
        number: by.number,
        ..SnapshotPart::default()
    };
    put(bus, name, &marker).await
}

/// Parts of a slot from an index on that have content: of larger snapshots of before.
async fn strays(bus: &dyn Bus, room: &RoomId, slot: u32, from: u32) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for index in from.. {
        match part(bus, &name(room, slot, index)).await? {
            None => break,
            Some((part, _)) if part.payload.is_empty() => {}
            Some(_) => found.push(index),
        }
    }
    Ok(found)
}

/// Whether anything is kept of the room as it was below a place. What is half replaced may be that.
pub(super) async fn is_kept_below(bus: &dyn Bus, room: &RoomId, place: Seq) -> Result<bool, Error> {
    for slot in 0..SLOTS {
        let Some(first) = head(bus, room, slot).await? else {
            continue;
        };
        let is_of_before = first.head < place.0;
        let strays = strays(bus, room, slot, first.parts.max(1)).await?;
        if is_of_before || !strays.is_empty() || read_rest(bus, room, slot, first).await?.is_none()
        {
            return Ok(true);
        }
    }
    let beside = head(bus, room, CARRIED).await?;
    Ok(beside.is_some_and(|beside| beside.head < place.0))
}

/// Keeps what the next event is to take along beside the newest snapshot, under the age of that.
/// Only an owner's own one: nobody else writes beside it, and a successor never reads what a
/// predecessor keeps beside one that is not the newest any more.
pub(super) async fn save_carried(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    carried: &Carried,
) -> Result<bool, Error> {
    let payload = codec::encode_carried(carried);
    let newest = newest_place(bus, room).await?;
    let newest = newest.filter(|((of, _), ..)| *of == epoch.0 && payload.len() <= part_bytes(bus));
    let Some(((epoch, number), ..)) = newest else {
        return Ok(false);
    };
    let beside = SnapshotPart {
        version: CARRIED_VERSION,
        epoch,
        number,
        head: carried.seq.0,
        payload,
        ..SnapshotPart::default()
    };
    match put(bus, &name(room, CARRIED, 0), &beside).await {
        Err(Error::TooLarge(_)) => Ok(false),
        put => put.map(|()| true),
    }
}

/// Stores a snapshot in a slot, so many bytes of it in each part.
async fn save_in_parts(
    bus: &dyn Bus,
    room: &RoomId,
    slot: u32,
    whole: &SnapshotPart,
    size: usize,
) -> Result<(), Error> {
    let content = &whole.payload;
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

/// Notes that a room is written beyond its newest snapshot, under an age that is above that one's.
pub(super) async fn mark(bus: &dyn Bus, room: &RoomId, age: (Epoch, u64)) -> Result<(), Error> {
    let mark = SnapshotPart {
        epoch: age.0.0,
        number: age.1,
        ..SnapshotPart::default()
    };
    put(bus, &name(room, MARK, 0), &mark).await
}

/// The age of a room's mark.
pub(super) async fn marked(bus: &dyn Bus, room: &RoomId) -> Result<Option<(u64, u64)>, Error> {
    let found = part(bus, &name(room, MARK, 0)).await?;
    Ok(found.map(|(mark, _)| age(&mark)).filter(|age| age.0 > 0))
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
