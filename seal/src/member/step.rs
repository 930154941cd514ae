//! What a device is told, what it sends, and what there is to show.

use crate::content::Earlier;
use crate::device::{self, Certificate, Name};
use crate::identity::Public;
#[cfg(doc)]
use crate::member::Member;
use crate::rules::{Bundle, Founding, MOST_CONTENT, Refusal};
#[cfg(doc)]
use crate::shelf::Shelf;
use crate::shelf::{self, Changes};
use std::fmt;
use thiserror::Error;

/// What comes of a step: first the changes are stored, then the frames sent.
#[must_use]
#[derive(Debug, Default)]
pub struct Step {
    /// To be stored before anything is sent; see [`Shelf::store`].
    pub changes: Changes,
    /// To be sent, in this order.
    pub frames: Vec<Frame>,
    /// To be shown, in this order.
    pub shown: Vec<Shown>,
}

/// What a device sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Makes a room sealed.
    Found {
        /// Which.
        room: Name,
        /// The group of one.
        founding: Founding,
    },
    /// Changes a group.
    Change {
        /// Of which room.
        room: Name,
        /// The commit and what goes with it.
        bundle: Bundle,
    },
    /// Says something in a room.
    Message {
        /// Which.
        room: Name,
        /// The encrypted message.
        bytes: Vec<u8>,
    },
    /// Asks to be removed from a room.
    Leave {
        /// Which.
        room: Name,
        /// The proposal.
        bytes: Vec<u8>,
    },
    /// Says which devices this person has.
    Devices {
        /// In which room.
        room: Name,
        /// The list.
        list: Vec<u8>,
    },
    /// Says that the commit which made an epoch cannot be processed.
    Report {
        /// Of which room.
        room: Name,
        /// The epoch that it made.
        epoch: u64,
    },
    /// Publishes key packages with which the device can be added while it is away.
    Publish {
        /// Each for one use.
        one_time: Vec<Vec<u8>>,
        /// For when those are used up.
        last_resort: Vec<u8>,
    },
}

/// What happens in a room, as its journal has it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The room was sealed: the group info of epoch 0.
    Founded(&'a [u8]),
    /// A commit made the next epoch.
    Commit(&'a [u8]),
    /// Somebody said something.
    Message(&'a [u8]),
    /// A device asked to be removed.
    Leave(&'a [u8]),
    /// Somebody said which devices are theirs.
    Devices(&'a [u8]),
}

/// Whose device it is, as its credential says and its identity has certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name in the room.
    pub user: Name,
    /// The device.
    pub device: Name,
    /// Who that is: what a safety number is made of.
    pub identity: Public,
}

/// Whom a user means: a name, and the key that it knows to be theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name in the room.
    pub user: Name,
    /// Who that is.
    pub identity: Public,
}

/// What somebody said. Shown to people, never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Content({} bytes)", self.0.len())
    }
}

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Somebody's message.
    Message {
        /// From whom.
        from: Holder,
        /// What they said.
        content: Content,
    },
    /// Somebody shares messages of before with somebody. Nothing proves them but the word of who
    /// shares them.
    Shared {
        /// Who.
        by: Holder,
        /// With whom.
        with: Public,
        /// Their name, if they are in still.
        with_user: Option<Name>,
        /// How many messages, in all.
        count: usize,
        /// Those that are for this device, from before it came in; oldest first.
        messages: Vec<Earlier>,
    },
    /// Somebody asks to be shown messages of before.
    Asked {
        /// Who.
        by: Holder,
        /// How many.
        count: u8,
    },
    /// An own message was placed; the number is that which `send` gave it.
    Placed {
        /// Which of those sent in this room.
        number: u64,
    },
    /// The group changed.
    Changed {
        /// How that came about.
        how: How,
        /// The new epoch.
        epoch: u64,
        /// Who did it: of a welcome, who signed it.
        by: Option<Holder>,
        /// Devices that came. When this device comes (back): since it last knew, else all.
        joined: Vec<Holder>,
        /// Devices that went.
        left: Vec<Holder>,
        /// The new room code.
        code: String,
    },
    /// A name is somebody else's than before: compare the safety number again.
    KeyChanged {
        /// Whose.
        user: Name,
        /// Who that was.
        was: Public,
        /// Who that is.
        is: Public,
    },
    /// The room has another group than before: everything in it may be somebody else's doing.
    OtherGroup,
    /// A device wants to go, or was revoked; somebody has to remove it ([`Member::tidy`]).
    Leaving {
        /// Whose.
        who: Holder,
        /// Its person has revoked it, which may be this device's.
        is_revoked: bool,
        /// Whether this device should do it at once; others when nothing happens for a while.
        is_ours_to_remove: bool,
    },
    /// A message that cannot be read, and why.
    Unreadable(&'static str),
    /// A change of one's own had become needless, or was not possible any more.
    Dropped,
    /// This device is not in the group any more.
    Out {
        /// Who removed it; `None`: it went by itself.
        by: Option<Holder>,
    },
    /// The state of this device does not fit the group any more, and why; [`Member::rejoin`] brings
    /// it back.
    Lost(&'static str),
}

/// Why a way in is [`Shown::Lost`] that somebody else's change made void: the device tries again.
pub const FASTER: &str = "somebody was faster: rejoin again";
/// Why a device is lost that has come in somewhere else, where a copy of its state is.
pub const ELSEWHERE: &str = "this device came back to the room elsewhere";
/// Why a device is lost that meets what it has sent and does not know of.
pub(super) const OLDER: &str = "it was restored from a backup older than what it has sent";

/// How a group came to what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was founded.
    Founded,
    /// A member changed it.
    Change,
    /// The same, of devices that had asked to go: they went by themselves.
    Gone,
    /// Somebody, or this device, came in by itself.
    CameIn,
    /// The same of a device that was in before: it had lost the group.
    CameBack,
    /// This device was let in.
    LetIn,
    /// The same of one that was in before.
    LetInAgain,
}

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The device is not in the room's group.
    #[error("this device is not in the group of this room: somebody who is in has to add it")]
    NotIn,
    /// It is already.
    #[error("this device is in the sealed room already")]
    AlreadyIn,
    /// A change of its own is on its way.
    #[error("a change of the group is on its way: wait until it is decided")]
    Busy,
    /// As much waits to be sent as may.
    #[error("so much waits already until this device can send: try again later")]
    Full,
    /// The state was read again, and events may be missing.
    #[error("events of the room are missing: read them first")]
    Behind,
    /// The public state is of another group than the one that this device was in, or older.
    #[error("the server shows another group than the one that this device was in: ask the others")]
    AnotherGroup,
    /// Devices are in the group that were not when this device knew it last. Whoever brought them
    /// in may have made it lose the group for that.
    #[error("others came in while this device was out: ask the user whether they belong there")]
    Newcomers(Vec<Holder>),
    /// Somebody adds this device again, whose user has left.
    #[error("somebody adds this device again, which has left: ask the user")]
    Invited(Holder),
    /// A content larger than rooms take.
    #[error("a message may have {MOST_CONTENT} bytes")]
    TooLong,
    /// With whom something is to be shared is not there.
    #[error("nobody in the group of this room has that key")]
    NotThere,
    /// There is nothing to share.
    #[error("there is nothing to share: this device has read nothing here, as far as it remembers")]
    NothingEarlier,
    /// Who is to come in is in, or who is to go is not there.
    #[error(
        "nothing changes: who is to come in is in already, or who is to go is not in the group"
    )]
    NoChange,
    /// The person's list of devices would not count.
    #[error("the list of devices: {0}")]
    List(#[from] device::Error),
    /// The device that revokes would revoke itself.
    #[error("a device cannot revoke itself: leave the group, or revoke it from another one")]
    OwnDevice,
    /// Whose devices count, nobody else says.
    #[error("it is a device of somebody else")]
    OtherPerson,
    /// A name in the group is that of another key.
    #[error(
        "devices with another key are in the group under that name, as they are when somebody \
         changed the key: who is in has to remove them before the new ones come in"
    )]
    OtherKey,
    /// The service gave a key package of somebody else.
    #[error(
        "the service gave a key package of another key or name than was asked for: nobody was added"
    )]
    NotAsked,
    /// All that were to come in are in, or are devices that their person has said not to have.
    #[error(
        "nobody new comes in: the person of these devices has revoked them here, or not said that \
         they count, and allows them at another device that is in"
    )]
    Unlisted(Vec<Name>),
    /// An event that is none of those that follow.
    #[error(
        "the service has left out a change of the group before this, so what follows cannot be \
         read: the room is read again by itself, each minute until it is there. If it does not \
         come, ask the others by another way what they see"
    )]
    Gap,
    /// The group has changed, as the service says or shows, and this device has not seen how.
    #[error(
        "the service does not show a change of the group that there is: until it does, this device \
         changes and encrypts nothing, for it could be for somebody who was removed"
    )]
    Lacking,
    /// The server or another client sent what no room accepts.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// MLS could not do it.
    #[error("MLS: {0} failed")]
    Mls(&'static str),
    /// The stored state is of another form.
    #[error(transparent)]
    Shelf(#[from] shelf::Error),
}

impl Error {
    /// Why those who would be in cannot be so.
    pub(super) fn of_members(why: Refusal) -> Self {
        match why {
            Refusal::OtherIdentity => Self::OtherKey,
            why => why.into(),
        }
    }

    /// Whether it comes from within a step, and not before anything was done.
    pub(super) fn may_have_changed_something(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::OtherKey | Self::Mls(_) | Self::Shelf(_) | Self::Invited(_)
        )
    }
}

impl From<&Certificate> for Holder {
    fn from(certificate: &Certificate) -> Self {
        Self {
            user: certificate.user.clone(),
            device: certificate.device.clone(),
            identity: certificate.identity,
        }
    }
}

impl Holder {
    /// From a credential that was verified when its leaf came into the group.
    pub(super) fn read(credential: &[u8]) -> Option<Self> {
        let (user, device, identity) = Certificate::names(credential).ok()?;
        Some(Self {
            user,
            device,
            identity,
        })
    }
}
