//! Removing a room that is gone: what lies beside its messages and these, its name with the last.
//!
//! The first step decides: a claim that says that the room goes to place 0, published only if the
//! owner's own message is the last one still. Until the snapshots are gone an opening goes by them,
//! and finds the room as it was ([`super::end`]); then it goes by that claim, and finds a room that
//! was never written. Every removal ends with that claim, or with what was seen before the claim of
//! the shard was confirmed, so whatever arrives late takes nothing that a later owner has written.

use super::{Error, append, copies, pins, reading, removing, revision, snapshot};
use crate::{
    bus::{Bus, Position},
    room::{Epoch, RoomId, Seq},
};

/// What was seen of a room.
pub(super) struct Seen {
    /// The greatest revision of what lies beside its messages.
    revision: u64,
    /// The last place that its newest snapshot has.
    saved: Seq,
}

/// Looks at what lies beside the messages of a room.
pub(super) async fn look(bus: &dyn Bus, room: &RoomId) -> Result<Seen, Error> {
    let mut greatest = 0;
    for under in [
        snapshot::all_of(room),
        pins::all_of(room),
        copies::all_of(room),
    ] {
        for name in bus.names_under(&under).await.map_err(reading)? {
            greatest = greatest.max(revision(bus, &name).await?);
        }
    }
    let newest = snapshot::newest_place(bus, room).await?;
    let saved = newest.map_or(Seq::ZERO, |(_, saved, _)| saved);
    Ok(Seen {
        revision: greatest,
        saved,
    })
}

/// Removes a room that ends at `head`, as the owner of this epoch left it. The caller has confirmed
/// its claim since it looked.
pub(super) async fn remove(
    bus: &dyn Bus,
    room: &RoomId,
    (epoch, head): (Epoch, Seq),
    Seen { revision, saved }: Seen,
) -> Result<(), Error> {
    if saved != head {
        return Err(Error::Unavailable(format!(
            "room {room} stays: its newest snapshot is of event {saved}, not of {head}"
        )));
    }
    // Whoever may not remove what lies beside removes nothing.
    drop_up_to(bus, &snapshot::all_of(room), 0).await?;
    if let Some(end) = begin_again(bus, room, epoch, head).await? {
        purge(bus, room, end).await?;
        drop_beside(bus, room, revision).await?;
        return purge(bus, room, end.next()).await;
    }
    drop_beside(bus, room, revision).await
}

/// Makes the last message of a room a claim that says that it goes to place 0, and says where that
/// is; `None`: it has no message. [`Error::Fenced`]: another owner has written it.
async fn begin_again(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    head: Seq,
) -> Result<Option<Position>, Error> {
    let Some(last) = bus.last(room).await.map_err(reading)? else {
        return match head {
            Seq::ZERO => Ok(None),
            _ => Err(Error::Fenced { seen: epoch }),
        };
    };
    if last.epoch != epoch || (last.seq != head && last.seq != Seq::ZERO) {
        let seen = last.epoch.max(epoch);
        return Err(Error::Fenced { seen });
    }
    if last.seq == Seq::ZERO {
        return Ok(Some(last.position));
    }
    // Where it may have happened, whoever opens the room again finds out.
    let position = append::claim(bus, room, epoch, Seq::ZERO, last.position).await?;
    Ok(Some(position))
}

async fn purge(bus: &dyn Bus, room: &RoomId, below: Position) -> Result<(), Error> {
    bus.purge(room, below).await.map_err(removing)
}

/// The snapshots last: as long as one is there, the room is as it was.
async fn drop_beside(bus: &dyn Bus, room: &RoomId, revision: u64) -> Result<(), Error> {
    for under in [
        pins::all_of(room),
        copies::all_of(room),
        snapshot::all_of(room),
    ] {
        // A login of before may not purge there, and most rooms need it not.
        if bus.names_under(&under).await.map_err(reading)?.is_empty() {
            continue;
        }
        drop_up_to(bus, &under, revision).await?;
    }
    Ok(())
}

async fn drop_up_to(bus: &dyn Bus, under: &str, revision: u64) -> Result<(), Error> {
    let dropped = bus.drop_under_up_to(under, revision).await;
    dropped.map_err(removing)
}
