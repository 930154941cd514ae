//! The stored form of events and states: protobuf, each event with its name and schema version
//! beside it.
//!
//! The domain type knows no versions. Writing uses the newest stored version; reading goes through
//! a table of upcasters, one for each (name, version) that was ever written. What this version does
//! not know is refused ([`Error::Unsupported`]), never skipped.

mod change;
mod event;
mod record;
mod size;
mod snapshot;

pub(crate) use change::number;
pub use change::{Bad, decode_command_id, decode_retention, encode_command_id, encode_retention};
pub use event::{Mapping, decode_event, encode_event, schema};
pub use record::{Record, decode_record, encode_record};
pub use size::{size_of_changes, size_of_event};
pub use snapshot::{
    decode_carried, decode_snapshot, encode_carried, encode_snapshot, reads_snapshot,
    snapshot_version,
};

use super::Error;
use crate::{bus::Commit, proto::journal::v1, room::Epoch};
use bytes::Bytes;
use prost::Message;

/// A commit as it is stored in one message (`v1::Commit`). Without events it is an owner's claim.
pub fn encode_commit(commit: &Commit) -> Bytes {
    let events = commit.events.iter().map(encode_event).collect();
    v1::Commit {
        epoch: commit.epoch.0,
        events,
    }
    .encode_to_vec()
    .into()
}

/// Reads what [`encode_commit`] gave, of any stored version. The events of a claim are empty; else
/// they are dense.
pub fn decode_commit(bytes: &[u8]) -> Result<Commit, Error> {
    let damaged = |bad: Bad| Error::Damaged(format!("a stored commit: {bad}"));
    let stored =
        v1::Commit::decode(Bytes::copy_from_slice(bytes)).map_err(|error| damaged(error.into()))?;
    let epoch = number("epoch", stored.epoch).map_err(damaged)?;
    let events = stored
        .events
        .into_iter()
        .map(decode_event)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(pair) = events
        .windows(2)
        .find(|pair| pair[1].seq != pair[0].seq.next())
    {
        return Err(Error::Damaged(format!(
            "a stored commit goes from event {} to event {}",
            pair[0].seq, pair[1].seq
        )));
    }
    Ok(Commit {
        epoch: Epoch(epoch),
        events,
    })
}
