//! What happened in a room.

use super::{
    Body, CommandId, DeviceId, Identity, Incarnation, Key, Maker, Millis, Policy, ProducerSeq,
    RequestId, Retention, Seq, SessionId, Turn, UserId,
};

/// One place of the room's sequence, and what changed silently on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place: one more than that of the event before.
    pub seq: Seq,
    /// The stored time of the command that caused it.
    pub at: Millis,
    /// What clients see.
    pub kind: Kind,
    /// What changed since the event before without taking a place, in order. Clients do not see it.
    pub changes: Vec<Change>,
}

impl Event {
    /// Bytes of its content.
    pub fn size(&self) -> usize {
        self.kind.size()
    }
}

impl Kind {
    /// Whether it is the first event of its commit: what is before it can be removed.
    pub fn begins_a_commit(&self) -> bool {
        matches!(self, Self::Purged | Self::Erased { .. })
    }

    /// Bytes of its content.
    pub fn size(&self) -> usize {
        match self {
            Self::Message { body, .. } => body.size(),
            Self::Joined { .. }
            | Self::Left { .. }
            | Self::Unpinned { .. }
            | Self::Purged
            | Self::Erased { .. } => 0,
        }
    }
}

/// What clients see of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A user's first session opened.
    Joined {
        /// Who.
        user: UserId,
    },
    /// A user's last session ended.
    Left {
        /// Who.
        user: UserId,
    },
    /// Somebody said something.
    Message {
        /// Who.
        from: UserId,
        /// Label: whom it is addressed to; `None`: the whole room.
        to: Option<UserId>,
        /// The content.
        body: Body,
        /// The command that it answers; `None` only for events of stored version 1, which had none.
        id: Option<CommandId>,
        /// The sender's device, if it named one.
        device: Option<DeviceId>,
        /// The session it came through, and which of its messages it is; `None`: sent over HTTP, or
        /// by an older version.
        turn: Option<Turn>,
        /// The request that brought it; `None`: it came through a session, or by an older version.
        request: Option<RequestId>,
    },
    /// The key of a name was taken away from it.
    Unpinned {
        /// The name.
        user: UserId,
        /// The one who has the name did it: the key signed the one that the next `Joined` of the
        /// name comes with. Else an operator did, and whoever comes next may be another one.
        changed: bool,
    },
    /// An operator had everything before it forgotten ([`super::Purge`]). It begins a commit, so
    /// that what was before can be removed.
    Purged,
    /// An operator had the content of a user's messages before it erased ([`super::Erasures`]). It
    /// begins a commit, so that what was before can be removed.
    Erased {
        /// The user.
        user: UserId,
        /// The last place that it is about: the one before it.
        through: Seq,
    },
}

/// A change of the room's state that takes no place in the sequence. Applying one twice changes
/// nothing more.
///
/// It is journaled with the next event of the room, or within a snapshot when none comes; until
/// then the command that caused it is kept on the bus (the shard's floor stays below it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A session opened.
    Opened {
        /// The session.
        session: SessionId,
        /// Whose.
        user: UserId,
        /// Its device, if it named one.
        device: Option<DeviceId>,
        /// The node that holds the connection.
        gateway: Incarnation,
    },
    /// A session ended.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// A session was not admitted. Kept so that the same command, read again, gets the same answer.
    Refused {
        /// The session.
        session: SessionId,
        /// Why, in a word that every version reads that may run beside this one.
        reason: super::Reason,
    },
    /// The sessions of a node that is gone were ended by the command that was stored at this time.
    /// Kept so that the same command, read again, does not end sessions that the node opened later
    /// (it was frozen, not gone).
    Abandoned {
        /// The node.
        gateway: Incarnation,
        /// The stored time of the command.
        at: Millis,
    },
    /// A message of a session was there before, and took no new place: those behind it need not
    /// wait for it, and it is not placed later either.
    DuplicateRecorded {
        /// Which message.
        turn: Turn,
        /// Where it is.
        seq: Seq,
    },
    /// A batch was decided: its last event carries this, or the next event when it has none. It is
    /// never decided again.
    BatchTaken {
        /// Which batch.
        from: ProducerSeq,
        /// Its messages that were there before, by their index, and where they are.
        repeats: Vec<(u32, Seq)>,
    },
    /// A user brought a first key, which stays; or proved to have the one that is pinned.
    Pinned {
        /// Who.
        user: UserId,
        /// The key.
        key: Key,
        /// What was shown of it.
        identity: Identity,
    },
    /// A key that a record of its own had is in the state again: what follows was decided with it.
    Recalled {
        /// The name.
        user: UserId,
        /// Its key.
        key: Key,
        /// The most that was ever shown of it.
        identity: Identity,
    },
    /// The room was made with a policy other than [`Policy::Open`], which stays.
    PolicySet {
        /// The policy.
        policy: Policy,
        /// Of a sealed room: who founds its group. `None`: whoever comes.
        maker: Option<Maker>,
    },
    /// An operator said how much of the past stays.
    RetentionSet {
        /// Of this room; `None`: as much as of all rooms.
        own: Option<Retention>,
        /// The stored time of the command: an older one that is read again changes nothing.
        at: Millis,
    },
    /// The owner lets the past below a place go. No command says so: an owner that did not get to
    /// journal it computes it again.
    Trimmed {
        /// The first place that stays.
        start: Seq,
        /// When its event was stored; 0: not known.
        since: Millis,
        /// Bytes of content that go, of those that were counted.
        bytes: u64,
    },
}
