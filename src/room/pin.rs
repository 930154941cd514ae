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
    /// The pin of a name once somebody has come in with this key. The first key stays, unless only
    /// posts brought it, and what was once proven stays proven.
    pub(super) fn after(pin: Option<Self>, key: &Key, identity: Identity) -> Self {
        let key = key.clone();
        match pin {
            Some(pin) if pin.key == key => Self {
                identity: pin.identity.max(identity),
                key,
            },
            Some(pin) if pin.identity > Identity::Posted => pin,
            _ => Self { key, identity },
        }
    }

    /// Why somebody who brings this key may not use the name, if so. A token that a gateway has
    /// checked says more than any key.
    pub fn refuses(&self, key: &Key, identity: Identity) -> Option<Reason> {
        if key.is_vouched() {
            None
        } else if self.key != *key {
            // One request is enough to post, so that keeps out nobody who can prove a key. Whoever
            // was refused before the name had an owner is not let in under the owner either: of
            // that one's key it had proven nothing.
            let is_owned = self.identity > Identity::Posted || !identity.is_proven();
            is_owned.then_some(Reason::KeyMismatch)
        } else if identity < self.identity {
            Some(Reason::ProofRequired)
        } else {
            None
        }
    }

    /// Whether the name goes on with another key that was proven, because its own one, `former`,
    /// signed that.
    pub fn yields_to(&self, identity: Identity, former: Option<&Key>) -> bool {
        identity.is_proven() && former == Some(&self.key)
    }
}
