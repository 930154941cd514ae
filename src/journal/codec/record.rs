//! Stored form of the record of a name's key.

use super::{
    Error,
    change::{Bad, decode_pinned, encode_pinned, user},
};
use crate::{
    proto::journal::v1::{PinRecord, change},
    room::{Epoch, Moving, Pin, UserId},
};
use bytes::Bytes;
use prost::Message;

/// What the record of a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who wrote it, and its how manieth: a greater one counts.
    pub age: (Epoch, u64),
    /// The name.
    pub user: UserId,
    /// Its pin; `None`: it is free.
    pub pin: Option<Pin>,
}

impl Record {
    /// The records of names whose keys move.
    pub fn all(age: (Epoch, u64), moving: &Moving) -> impl Iterator<Item = Self> {
        moving.iter().map(move |(user, pin)| Self {
            age,
            user: user.clone(),
            pin: pin.clone(),
        })
    }

    /// Whose the name is, if it is anybody's.
    pub fn owned(self) -> Option<(UserId, Pin)> {
        Some((self.user, self.pin?))
    }
}

/// The stored form of a record (`v1::PinRecord`).
pub fn encode_record(record: &Record) -> Bytes {
    let user = &record.user;
    let free = || change::Pinned {
        user: user.to_string(),
        ..change::Pinned::default()
    };
    let pinned = record
        .pin
        .as_ref()
        .map_or_else(free, |pin| encode_pinned(user, &pin.key, pin.identity));
    let stored = PinRecord {
        epoch: record.age.0.0,
        number: record.age.1,
        pinned: Some(pinned),
    };
    stored.encode_to_vec().into()
}

/// Reads what [`encode_record`] gave.
pub fn decode_record(bytes: Bytes) -> Result<Record, Error> {
    let read = || -> Result<Record, Bad> {
        let stored = PinRecord::decode(bytes)?;
        let pinned = stored.pinned.ok_or_else(|| Bad("it names nobody".into()))?;
        let (user, pin) = match pinned.key.is_empty() {
            true => (user(&pinned.user)?, None),
            false => decode_pinned(&pinned).map(|(user, pin)| (user, Some(pin)))?,
        };
        Ok(Record {
            age: (Epoch(stored.epoch), stored.number),
            user,
            pin,
        })
    };
    read().map_err(|bad| Error::Damaged(format!("the record of a key: {bad}")))
}
