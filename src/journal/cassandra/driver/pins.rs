//! Records of names' keys: a row for each name and epoch, in so many partitions for a room.

use super::{
    statements::PINS,
    store::{Tables, all, number},
    trims::ahead,
};
use crate::{
    journal::{
        Error,
        codec::{Record, decode_record, encode_record},
    },
    room::{RoomId, Seq, UserId},
};
use futures::{StreamExt, TryStreamExt, stream};

/// Partitions of a room: with 10 million names each has some 20 MB.
const BUCKETS: i32 = 64;

/// Names that are read at a time.
const AT_ONCE: usize = 64;

/// FNV-1a-32 of a name. Stored: it never changes.
fn bucket(user: &UserId) -> i32 {
    let hash = user.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash % BUCKETS as u32) as i32
}

type Bytes = Vec<u8>;

impl Tables {
    pub(super) async fn read_pins(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Record>, Error> {
        let read = async |user: &UserId| {
            let of = (
                room.as_str(),
                number(generation.0),
                bucket(user),
                user.as_str(),
            );
            let found = self.select(&self.statements.pin, of).await?;
            let record = all::<(Bytes,)>(&found)?.into_iter().next();
            record
                .map(|(record,)| decode_record(record.into()))
                .transpose()
        };
        let found: Vec<Option<Record>> = stream::iter(names.iter().map(read))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn read_all_pins(
        &self,
        room: &RoomId,
        generation: Seq,
    ) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = Vec::new();
        for bucket in 0..BUCKETS {
            let mut after = String::new();
            loop {
                let from = (room.as_str(), number(generation.0), bucket, after.as_str());
                let found = self.select(&self.statements.pins, from).await?;
                let page = all::<(Bytes,)>(&found)?;
                let is_last = page.len() < PINS;
                for (record,) in page {
                    let record = decode_record(record.into())?;
                    // Of a name the highest epoch comes first; a page may end between two.
                    if record.user.as_str() != after {
                        after = record.user.to_string();
                        records.push(record);
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(records)
    }

    pub(super) async fn write_pin(
        &self,
        room: &RoomId,
        generation: Seq,
        record: &Record,
    ) -> Result<(), Error> {
        let (epoch, nth) = record.age;
        let values = (
            room.as_str(),
            number(generation.0),
            bucket(&record.user),
            record.user.as_str(),
            number(epoch.0),
            encode_record(record).to_vec(),
            number(nth),
        );
        self.execute(&self.statements.put_pin, values).await
    }

    pub(super) async fn remove_pins(&self, room: &RoomId, generation: Seq) -> Result<(), Error> {
        for bucket in 0..BUCKETS {
            let of = (ahead(), room.as_str(), number(generation.0), bucket);
            self.execute(&self.statements.drop_pins, of).await?;
        }
        Ok(())
    }
}
