//! Records of names' keys.

use super::{Error, Store};
use crate::{
    journal::{codec::Record, unreadable},
    room::{Epoch, Moving, Pin, RoomId, Seq, UserId},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::HashMap;

/// Records that are written at a time.
const AT_ONCE: usize = 64;

pub(super) async fn recorded(
    store: &impl Store,
    room: &RoomId,
    generation: Seq,
    names: &[UserId],
) -> Result<Vec<Option<Pin>>, Error> {
    match store.pins(room, generation, names).await {
        Ok(found) => {
            let found = found.into_iter().map(|record| (record.user, record.pin));
            let mut found: HashMap<UserId, Option<Pin>> = found.collect();
            let mut pin = |user| found.remove(user).flatten();
            Ok(names.iter().map(&mut pin).collect())
        }
        // One by one: the others are not nobody's for it.
        Err(error @ Error::Damaged(_)) if names.len() == 1 => {
            Ok(vec![Some(unreadable(room, &error))])
        }
        Err(Error::Damaged(_)) => {
            let mut all = Vec::with_capacity(names.len());
            for name in names {
                let one = std::slice::from_ref(name);
                all.extend(Box::pin(recorded(store, room, generation, one)).await?);
            }
            Ok(all)
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn record(
    store: &impl Store,
    room: &RoomId,
    age: (Epoch, u64),
    generation: Seq,
    pins: &Moving,
) -> Result<(), Error> {
    let write = async |record: Record| store.put_pin(room, generation, &record).await;
    stream::iter(Record::all(age, pins).map(write))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

pub(super) async fn all(
    store: &impl Store,
    room: &RoomId,
    generation: Seq,
) -> Result<Vec<(UserId, Pin)>, Error> {
    let found = store.all_pins(room, generation).await?;
    Ok(found.into_iter().filter_map(Record::owned).collect())
}
