//! What a room asks of those who come and of what is said: set for good when the room is made.

use super::{Identity, Key, Millis, Reason};

/// What a room asks, beside what operators ask for rooms of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Policy {
    /// Nothing. Every room that was made without a policy.
    #[default]
    Open,
    /// That whoever comes or says something has proven a key, or brought a token.
    Proven,
    /// A proven key, and content that the service cannot read: an MLS group, whose delivery service
    /// the room's owner is.
    Sealed,
}

/// How long after a room was made nobody but its maker founds its group, in milliseconds.
const MAKER_FIRST_MS: u64 = 10 * 60_000;

/// Who made a sealed room, and when: whoever was first at its name founds its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The key that was proven.
    pub key: Key,
    /// The stored time of the command.
    pub at: Millis,
}

impl Maker {
    /// Whether nobody else founds the group yet, at this time, although the maker is not there.
    pub fn is_first(&self, at: Millis) -> bool {
        at.0 < self.at.0.saturating_add(MAKER_FIRST_MS)
    }
}

impl Policy {
    /// All policies.
    pub const ALL: [Policy; 3] = [Self::Open, Self::Proven, Self::Sealed];

    /// The word that goes over the wire and is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Proven => "proven",
            Self::Sealed => "sealed",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }

    /// Why somebody who brings this may not come in, if so. In a group a name is a key, so a token
    /// is not enough for a sealed room.
    pub fn refuses(self, key: &Key, identity: Identity) -> Option<Reason> {
        let is_enough = match self {
            Self::Open => true,
            Self::Proven => key.is_vouched() || identity.is_proven(),
            Self::Sealed => !key.is_vouched() && identity.is_proven(),
        };
        (!is_enough).then_some(Reason::ProofRequired)
    }
}
