//! What devices of a sealed room note, as it happens.

/// Something that happened on a device, when it had read the room up to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The last place that it had read.
    pub seq: u64,
    /// What happened.
    pub note: Note,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Its user said something.
    Said {
        /// What.
        text: String,
    },
    /// It was encrypted, and is to be sent as this.
    Sent {
        /// What.
        text: String,
        /// The message.
        bytes: Vec<u8>,
    },
    /// What was said is in the room.
    Placed {
        /// Where.
        seq: u64,
        /// What.
        text: String,
    },
    /// What was said is not in the room, and will not be.
    Refused {
        /// What.
        text: String,
        /// The protocol's word.
        reason: String,
    },
    /// A message of another device was read.
    Read {
        /// Where it is.
        seq: u64,
        /// From which device.
        from: String,
        /// What it says.
        text: String,
    },
    /// A message could not be read.
    Unreadable {
        /// Where it is.
        seq: u64,
        /// Why.
        why: String,
    },
    /// It is in the group from now on.
    Came {
        /// The first epoch that it can read.
        epoch: u64,
    },
    /// It is not in the group any more.
    Went,
    /// It lost the group, and why.
    Lost(String),
    /// A change of the group was refused, and why.
    ChangeRefused(String),
    /// What its user wanted of the group was not done, and why.
    NotDone(String),
    /// Events were gone that it had not read.
    Reset,
    /// Its user was asked before it came back, and has agreed.
    Asked,
    /// It ended without a warning, and started from what it had stored.
    Crashed,
    /// All that it had stored was lost but its keys.
    Forgot,
    /// It was shown what no honest server shows.
    Odd(String),
    /// What must not happen whatever a server does.
    Broken(String),
}
