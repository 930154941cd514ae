//! The bounds of a room, each with its reason. They are part of the contract with clients or of the
//! replayed state: not configurable.

/// Bounds of a room.
pub struct Limits;

impl Limits {
    /// Bytes of a text message (contract with clients).
    pub const TEXT: usize = 16 * 1024;
    /// Bytes of a sealed message, decoded (contract with clients).
    pub const SEALED: usize = 64 * 1024;
    /// Bytes of a handshake of a sealed room, decoded (contract with clients): in base64 it fits
    /// into a message of theirs, which a longer one would need to be allowed for everybody.
    pub const HANDSHAKE: usize = seal::MOST_HANDSHAKE;
    /// Open sessions of one user in one room (contract with clients).
    pub const SESSIONS_PER_USER: usize = 8;
    /// Messages whose ids are remembered, across failover (contract with clients).
    pub const WINDOW: usize = 4096;
    /// Ended or refused sessions that are remembered, so that their commands, read again, change
    /// nothing.
    pub const ENDED_SESSIONS: usize = 4096;
    /// Commands that ended the sessions of a node, remembered for the same reason.
    pub const ABANDONS: usize = 4096;
    /// Messages of a session that were there before, whose places are remembered although the
    /// window may forget them: as many as a gateway keeps waiting for an answer.
    pub const REPEATS: usize = 1024;
    /// Producers whose last batch is remembered: those that were used last. A gateway that is not
    /// among them begins a new generation.
    pub const PRODUCERS: usize = 256;
    /// Messages of a batch, as events of a commit.
    pub const BATCH: usize = 256;
    /// Bytes of content of a batch, unless it is a single message.
    pub const BATCH_BYTES: usize = 128 * 1024;
    /// Ranges of a session's messages that were passed over, remembered so that whoever still asks
    /// for one of them is told.
    pub const SKIPPED: usize = 64;
    /// Names whose key an operator took away, remembered so that the command, read again, does not
    /// take the next key away as well: those of the last times.
    pub const UNPINNED: usize = 1024;
    /// Users whose content is being erased: every gateway looks for them in whatever it tells.
    pub const ERASING: usize = 64;
    /// Users whose content was erased, remembered for the same reason: those of the last times.
    pub const ERASED: usize = 1024;
    /// Commands of one room that may lie between the shard's floor and its reader: half of the
    /// smaller window, so that what is read again after a takeover is always still in it.
    pub const REREAD: u64 = 2048;
    /// The highest place, epoch or position: what Cassandra keeps of a number. What is read is
    /// checked, so that counting on never overflows.
    pub const NUMBER: u64 = i64::MAX as u64;
}
