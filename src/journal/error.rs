//! What can go wrong in the journal, by what the caller does next.

use crate::{
    bus::Error as BusError,
    room::{Epoch, RoomId, Seq, ShardId},
};

/// A failed call to the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The shard or the room has a newer owner: answer nothing, publish nothing, give the shard up.
    /// A new claim must be above `seen`.
    #[error("fenced: epoch {seen} has been seen")]
    Fenced {
        /// The highest epoch that was seen.
        seen: Epoch,
    },
    /// The room is of another shard than the one that was claimed: only that one's owner may write
    /// it. Nothing was read or written.
    #[error(
        "room {room} belongs to shard {shard}, not to {claimed}, which is claimed: ask its owner"
    )]
    Stranger {
        /// The room.
        room: RoomId,
        /// Its shard.
        shard: ShardId,
        /// The shard of the claim.
        claimed: ShardId,
    },
    /// It may or may not have happened. Repeat the identical call until the outcome is definite.
    #[error("the outcome in the journal is not known: {0}")]
    Unknown(String),
    /// It did not happen. Try again later.
    #[error("the journal is not available: {0}")]
    Unavailable(String),
    /// It did not happen, and cannot: the servers take no commit of this size now. Give the shard
    /// up, so that what follows is decided anew.
    #[error("the commit does not fit: {0}")]
    TooLarge(String),
    /// The room holds an event that this version cannot read. Nothing may be written to the room;
    /// install a newer version.
    #[error(
        "event {seq} is `{name}` version {version}, which this version cannot read: install a newer one"
    )]
    Unsupported {
        /// Its place.
        seq: Seq,
        /// The event's stored name.
        name: String,
        /// Its stored version.
        version: u32,
    },
    /// The database is there, and refuses this node: why, and what to do. Trying again helps once
    /// somebody has done it.
    #[error("{0}")]
    Denied(String),
    /// What is stored cannot be as it is: it names what, and where to look.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// The database does not fit the configuration: it names what differs and what to do.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    /// Whether the identical call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Unavailable(_))
    }

    /// Why events of the bus cannot be read; they are read again.
    pub(crate) fn of_stored(error: BusError) -> Self {
        match error {
            BusError::Unsupported { seq, name, version } => {
                Self::Unsupported { seq, name, version }
            }
            error => Self::Unavailable(error.to_string()),
        }
    }
}
