//! How many bytes an event takes when it is stored, without storing it: the bound of what goes into
//! one message is computed for every event.

use crate::room::{Change, CommandId, Kind};

/// A field that is a number, with its tag.
const NUMBER: usize = 1 + 10;
/// A field of 16 bytes.
const ID: usize = bytes(16);
/// What a field has around its content: a tag and a length.
const FIELD: usize = 1 + 5;

/// A field with so many bytes of content.
const fn bytes(content: usize) -> usize {
    FIELD + content
}

/// The most bytes that an event takes in a stored commit; a few dozen too many.
pub fn size_of_event(kind: &Kind, changes: &[Change]) -> usize {
    let name_and_version = bytes("handshake".len()) + NUMBER;
    bytes(2 * NUMBER + name_and_version + size_of_kind(kind)) + size_of_changes(changes)
}

/// The part of it that its changes take.
pub fn size_of_changes(changes: &[Change]) -> usize {
    changes.iter().map(size_of_change).sum()
}

fn size_of_kind(kind: &Kind) -> usize {
    let content = match kind {
        Kind::Purged => 0,
        Kind::Erased { user, through: _ } => bytes(user.as_str().len()) + NUMBER,
        Kind::Joined { user } | Kind::Left { user } => bytes(user.as_str().len()),
        Kind::Unpinned { user, changed: _ } => bytes(user.as_str().len()) + NUMBER,
        Kind::Message {
            from,
            to,
            body,
            id,
            device,
            turn: _,
            request: _,
        } => {
            let to = to.as_ref().map_or(0, |to| bytes(to.as_str().len()));
            let id = id.as_ref().map_or(0, size_of_id);
            let device = device.as_ref().map_or(0, |name| bytes(name.as_str().len()));
            let (turn, request) = (ID + NUMBER, ID);
            bytes(from.as_str().len()) + to + bytes(body.size()) + id + device + turn + request
        }
    };
    bytes(content)
}

fn size_of_change(change: &Change) -> usize {
    let content = match change {
        Change::Opened { user, device, .. } => {
            let device = device.as_ref().map_or(0, |name| bytes(name.as_str().len()));
            ID + bytes(user.as_str().len()) + device + ID
        }
        Change::Closed { .. } => ID,
        Change::Refused { reason, .. } => ID + bytes(reason.as_str().len()),
        Change::Abandoned { .. } => ID + NUMBER,
        Change::DuplicateRecorded { .. } => ID + 2 * NUMBER,
        Change::BatchTaken { repeats, .. } => ID + 2 * NUMBER + repeats.len() * bytes(2 * NUMBER),
        Change::Pinned { user, key, .. } | Change::Recalled { user, key, .. } => {
            bytes(user.as_str().len()) + bytes(key.as_str().len()) + NUMBER
        }
        Change::PolicySet { policy, maker } => {
            let maker = maker.as_ref();
            bytes(policy.as_str().len())
                + maker.map_or(0, |maker| bytes(maker.key.as_str().len()) + NUMBER)
        }
        Change::RetentionSet { .. } => bytes(3 * NUMBER) + NUMBER,
        Change::Trimmed { .. } => 3 * NUMBER,
    };
    bytes(bytes(content))
}

fn size_of_id(id: &CommandId) -> usize {
    match id {
        CommandId::Client(id) => bytes(bytes(id.len())),
        CommandId::Gateway(..) => bytes(bytes(ID + NUMBER)),
    }
}
