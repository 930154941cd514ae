//! Records of names' keys on the bus: one value per name, `pin.<room>.<generation>.<digest of the
//! name>`, in the bucket of the snapshots. A stream that loses its tail loses a snapshot that
//! relies on a record before it loses the record.

use super::{ATTEMPTS, BusError, Error, reading};
use crate::{
    bus::Bus,
    journal::{
        codec::{Record, decode_record, encode_record},
        unreadable,
    },
    room::{Epoch, Moving, Pin, RoomId, Seq, UserId},
};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

/// Records that are read or written at a time.
const AT_ONCE: usize = 64;

/// Under what all records of a room lie.
pub(super) fn all_of(room: &RoomId) -> String {
    format!("pin.{room}")
}

fn generation_of(room: &RoomId, generation: Seq) -> String {
    format!("pin.{room}.{generation}")
}

fn name(room: &RoomId, generation: Seq, user: &UserId) -> String {
    let digest = Sha256::digest(user.as_str());
    let digest = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
    let digest: String = digest.collect();
    format!("{}.{digest}", generation_of(room, generation))
}

pub(super) async fn recorded(
    bus: &dyn Bus,
    room: &RoomId,
    generation: Seq,
    names: &[UserId],
) -> Result<Vec<Option<Pin>>, Error> {
    let read = async |user: &UserId| {
        let name = name(room, generation, user);
        let found = get(bus, &name).await;
        let found = found.map(|found| found.map(|(record, _)| record));
        match found {
            Ok(Some(record)) if record.user != *user => {
                let other = Error::Damaged(format!("{name} is of another name"));
                Ok(Some(unreadable(room, &other)))
            }
            Ok(record) => Ok(record.and_then(|record| record.pin)),
            Err(error @ Error::Damaged(_)) => Ok(Some(unreadable(room, &error))),
            Err(error) => Err(error),
        }
    };
    stream::iter(names.iter().map(read))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

pub(super) async fn record(
    bus: &dyn Bus,
    room: &RoomId,
    age: (Epoch, u64),
    generation: Seq,
    pins: &Moving,
) -> Result<(), Error> {
    let write = async |record: Record| {
        let name = name(room, generation, &record.user);
        put(bus, &name, record).await
    };
    stream::iter(Record::all(age, pins).map(write))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

pub(super) async fn all(
    bus: &dyn Bus,
    room: &RoomId,
    generation: Seq,
) -> Result<Vec<(UserId, Pin)>, Error> {
    let under = generation_of(room, generation);
    let names = bus.names_under(&under).await.map_err(reading)?;
    let read = async |name: &String| get(bus, name).await;
    let found: Vec<_> = stream::iter(names.iter().map(read))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let records = found.into_iter().flatten().map(|(record, _)| record);
    Ok(records.filter_map(Record::owned).collect())
}

pub(super) async fn drop_all(bus: &dyn Bus, room: &RoomId, generation: Seq) -> Result<(), Error> {
    let dropped = bus.drop_under(&generation_of(room, generation)).await;
    dropped.map_err(reading)
}

async fn get(bus: &dyn Bus, name: &str) -> Result<Option<(Record, u64)>, Error> {
    match bus.get(name).await.map_err(reading)? {
        // An operator deleted it.
        Some((value, _)) if value.is_empty() => Ok(None),
        Some((value, revision)) => Ok(Some((decode_record(value)?, revision))),
        None => Ok(None),
    }
}

/// Most names have no record yet, so the first attempt does not look.
async fn put(bus: &dyn Bus, name: &str, record: Record) -> Result<(), Error> {
    let (value, mut expected, mut why) = (encode_record(&record), 0, String::new());
    for _ in 0..ATTEMPTS {
        match bus.put(name, value.clone(), expected).await {
            Ok(_) => return Ok(()),
            Err(BusError::Conflict(reason) | BusError::Unknown(reason)) => why = reason,
            Err(error) => return Err(reading(error)),
        }
        let found = bus.get(name).await.map_err(reading)?;
        expected = found.as_ref().map_or(0, |(_, revision)| *revision);
        let there = found.map(|(value, _)| decode_record(value)).transpose();
        match there {
            Ok(Some(there)) if there == record => return Ok(()),
            Ok(Some(there)) if there.age.0 > record.age.0 => {
                return Err(Error::Fenced { seen: there.age.0 });
            }
            Ok(Some(there)) if there.age > record.age => {
                return Err(Error::Unavailable(format!("{name} was written meanwhile")));
            }
            // What cannot be read is replaced.
            Ok(_) | Err(_) => {}
        }
    }
    Err(Error::Unavailable(format!(
        "{name} could not be stored in {ATTEMPTS} attempts: {why}"
    )))
}
