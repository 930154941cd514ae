//! The names and numbers of a room, each a type of its own. Parsed once at the edge, then trusted.

use sha2::{Digest, Sha256};
use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {max} characters of A-Z a-z 0-9 _ -")]
pub struct Invalid {
    /// What the name should have named, such as `room`.
    pub what: &'static str,
    /// The most characters that it may have.
    pub max: usize,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The most characters.
            pub const MAX: usize = $max;

            /// Accepts 1 to [`Self::MAX`] characters of `A-Z a-z 0-9 _ -`.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(allowed) {
                    return Err(Invalid { what: $what, max: Self::MAX });
                }
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a room.
    RoomId, "room", 64
);
name!(
    /// The name of a user, unique within a room.
    UserId, "user", 64
);
name!(
    /// A user's device; a session replaces the earlier session of the same device.
    DeviceId, "device", 32
);

/// Of the characters of a key, so that every node reads it.
const VOUCHED: &str = "by-token";

/// A user's public key, base64url. Printed nowhere: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The most characters.
    pub const MAX: usize = 128;

    /// Accepts 1 to 128 characters of `A-Z a-z 0-9 _ -`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(allowed) {
            return Err(Invalid {
                what: "pub",
                max: Self::MAX,
            });
        }
        Ok(Self(text.into()))
    }

    /// What stands for the key of somebody whose token a gateway has checked: it fits every user,
    /// and is pinned to none. No client may bring it.
    pub fn vouched() -> Self {
        Self(VOUCHED.into())
    }

    /// Whether it is that.
    pub fn is_vouched(&self) -> bool {
        *self.0 == *VOUCHED
    }

    /// The key as text, for storing and comparing only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A token that says who somebody is, as it came: nothing of it is checked. Printed nowhere:
/// `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// The most bytes that anybody looks at.
    pub const MAX: usize = 8192;

    /// Wraps what somebody brought.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As it came, for checking only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

macro_rules! unique {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Uuid);

        impl $type {
            /// Wraps a UUID; whoever creates one brings the randomness.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// Reads what `Display` wrote (32 hexadecimal digits), and nothing else.
            pub fn parse(text: &str) -> Option<Self> {
                // The library reads other spellings too; two keys of one thing would be two things.
                Uuid::try_parse(text).ok().map(Self).filter(|id| id.to_string() == text)
            }

            /// The 16 bytes, for storing.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// Reads what [`Self::to_bytes`] gave; `None` when it is not 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.simple())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.simple())
            }
        }
    };
}

unique!(
    /// One connection of a user to a room. Never used again after it ended.
    SessionId
);
unique!(
    /// One run of a node.
    Incarnation
);
unique!(
    /// One request of a client without a session, however often its gateway submits it.
    RequestId
);

/// Where in the bytes of an [`Incarnation`] the check of its node's name begins.
const NAME_CHECK: usize = 10;

impl Incarnation {
    /// A run of the node of this name. `unique`, of version 7, brings time and a number. The last
    /// bytes are a check of the name, so that whoever is told a name can tell whether the run is
    /// that node's ([`Self::is_of`]): what binds a node to its name binds it to its runs.
    pub fn of_node(name: &str, unique: Uuid) -> Self {
        let mut bytes = unique.into_bytes();
        // Runs of one millisecond differ in the low bits of the number, by which they are in order;
        // 26 of them find room before the check.
        let number = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let [high, middle, low, last] = [22, 14, 8, 0].map(|bits| (number >> bits) as u8);
        // Version 8 (RFC 9562): a form of its own, which runs of older versions do not have.
        let number = [0x80 | (high & 0x0f), middle, 0x80 | (low & 0x3f), last];
        bytes[6..NAME_CHECK].copy_from_slice(&number);
        let check = Self::check(name, &bytes);
        bytes[NAME_CHECK..].copy_from_slice(&check);
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether it says whose run it is; one of an older version does not.
    pub fn says_its_node(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// Whether it is a run of the node of this name, and says so.
    pub fn is_of(self, name: &str) -> bool {
        let bytes = self.to_bytes();
        self.says_its_node() && bytes[NAME_CHECK..] == Self::check(name, &bytes)
    }

    /// 48 bits: somebody else's run cannot be chosen, so there is no second try.
    fn check(name: &str, bytes: &[u8; 16]) -> [u8; 16 - NAME_CHECK] {
        let hash = Sha256::new()
            .chain_update(&bytes[..NAME_CHECK])
            .chain_update(name)
            .finalize();
        let mut check = [0; 16 - NAME_CHECK];
        check.copy_from_slice(&hash[..16 - NAME_CHECK]);
        check
    }
}

/// A place in a room: dense from 1. 0 is the place before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    /// The place after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One ownership of a shard; a later one is higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Up to here no time is looked at: a takeover each second for 34,000 years.
    const SMALL: u64 = 1 << 40;

    /// Whether an owner can have had it at a time. An owner goes one further, and takes longer than
    /// a millisecond to get there, so no epoch is above the milliseconds that there were. Whatever
    /// number somebody else writes, it is below the next ones that owners may have: that bound
    /// grows faster than epochs do.
    pub fn is_possible(self, at: Millis) -> bool {
        self.0 <= Self::SMALL.max(at.0)
    }

    /// The least epoch above this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// Of a time; zero for one before 1970.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or_default())
    }
}

/// A fixed fraction of the rooms: 0 to [`Shards::count`] - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many shards there are; fixed for the life of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(u16);

impl Shards {
    /// The most shards.
    pub const MAX: u16 = 4096;

    /// 1 to [`Self::MAX`], else `None`.
    pub fn new(count: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&count).then_some(Self(count))
    }

    /// How many.
    pub fn count(self) -> u16 {
        self.0
    }

    /// All of them, ascending.
    pub fn all(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }

    /// The shard of a room: FNV-1a-32 of its name, modulo the count.
    /// Source: Fowler, Noll, Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>.
    pub fn of(self, room: &RoomId) -> ShardId {
        let hash = room.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        ShardId((hash % u32::from(self.0)) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_of_the_shard_that_fnv_1a_says() {
        // Published test vectors of FNV-1a-32: "a" = e40c292c, "foobar" = bf9cf968.
        let all = Shards::new(Shards::MAX).unwrap();
        assert_eq!(
            all.of(&RoomId::parse("a").unwrap()),
            ShardId((0xe40c_292c_u32 % 4096) as u16)
        );
        assert_eq!(
            all.of(&RoomId::parse("foobar").unwrap()),
            ShardId((0xbf9c_f968_u32 % 4096) as u16)
        );
    }

    #[test]
    fn no_epoch_is_ahead_of_its_time_and_none_stops_the_next() {
        let at = Millis(1_795_000_000_000);
        for possible in [0, 1, 1 << 40, at.0] {
            assert!(Epoch(possible).is_possible(at), "{possible}");
        }
        for impossible in [at.0 + 1, i64::MAX as u64, u64::MAX] {
            assert!(!Epoch(impossible).is_possible(at), "{impossible}");
        }
        assert!(Epoch(at.0).next().is_possible(Millis(at.0 + 1)));
        assert!(Epoch(7).is_possible(Millis(0)), "a clock that was not set");
    }

    #[test]
    fn names_are_checked_at_both_bounds() {
        assert!(RoomId::parse("").is_err());
        assert!(RoomId::parse(&"r".repeat(64)).is_ok());
        assert!(RoomId::parse(&"r".repeat(65)).is_err());
        assert!(UserId::parse("with space").is_err());
        assert!(Key::parse("k=").is_err());
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(SessionId::parse(id).unwrap().to_string(), id);
        let others = [
            "01234567-89ab-cdef-0123-456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "0123456789ABCDEF0123456789ABCDEF",
        ];
        assert_eq!(others.map(SessionId::parse), [None; 3]);
    }

    #[test]
    fn a_run_is_of_one_node_and_a_run_of_before_of_none() {
        let unique = Uuid::from_u128(0x0123_4567_89ab_7def_8123_4567_89ab_cdef);
        let run = Incarnation::of_node("node-1", unique);
        assert!(run.is_of("node-1") && run.says_its_node());
        assert!(!run.is_of("node-2") && !run.is_of("node-10") && !run.is_of(""));
        assert_eq!(Incarnation::parse(&run.to_string()), Some(run));
        let before = Incarnation::new(unique);
        assert!(!before.says_its_node() && !before.is_of("node-1"));
    }

    #[test]
    fn runs_of_one_millisecond_differ_and_are_in_order() {
        let runs: Vec<Incarnation> = (0x0123_4567_89ab_7def_8000_0000_0000_0000_u128..)
            .step_by(1 << 32)
            .map(|unique| Incarnation::of_node("node", Uuid::from_u128(unique)))
            .take(300)
            .collect();
        assert!(runs.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(
            format!("{:?}", Key::parse("verysecret").unwrap()),
            "Key(..)"
        );
    }
}
