//! Whose a name is in a room: the key that is pinned to it, and whether its owner ever proved to
//! have it.

use super::{Key, Reason};

/// What a client has shown of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Identity {
    /// Of a pin only: nobody has come with the key yet, only messages without a session have.
    Posted,
    /// The key was named, as anybody can who has seen it.
    #[default]
    Claimed,
    /// Possession of the key was proven.
    Proven,
}

impl Identity {
    /// What it is when possession was proven, or not.
    pub fn of(is_proven: bool) -> Self {
        match is_proven {
            true => Self::Proven,
            false => Self::Claimed,
        }
    }

    /// Whether possession was proven.
    pub fn is_proven(self) -> bool {
        self == Self::Proven
    }
}

/// The key that a name has in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The key.
    pub key: Key,
    /// The most that was ever shown of it.
    pub identity: Identity,
}

impl Pin {
    /// Whether the name goes to who comes with this other key: one request is enough to post, so
    /// that keeps out nobody who can prove a key.
    pub(super) fn yields_to(&self, key: &Key, identity: Identity) -> bool {
        self.identity == Identity::Posted
            && self.key != *key
            && !key.is_vouched()
            && identity.is_proven()
    }

    /// Why somebody who brings this key may not use the name, if so. A token that a gateway has
    /// checked says more than any key.
    pub fn refuses(&self, key: &Key, identity: Identity) -> Option<Reason> {
        if key.is_vouched() {
            None
        } else if self.key != *key {
            Some(Reason::KeyMismatch)
        } else if identity < self.identity {
            Some(Reason::ProofRequired)
        } else {
            None
        }
    }
}
