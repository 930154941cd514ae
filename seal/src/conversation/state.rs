//! Where a conversation is: how far it has read, how it comes in, what is on its way; and how long
//! it waits for what.

use crate::member::Frame;

/// Seconds until it asks again whether somebody has let it in: at first, and at most.
pub(super) const ASK_AGAIN: (u64, u64) = (1, 30);
/// Seconds after which a device removes who asked to leave, though it is another one's turn.
pub(super) const TIDY_AFTER: u64 = 60;
/// Seconds after which a group is founded again that only the maker of the room may found yet.
pub(super) const FOUND_AFTER: u64 = 60;
/// Seconds until it tries again to come into an open group that takes in nobody by itself now.
pub(super) const KNOCK_AFTER: u64 = 600;
/// Seconds that it waits for the event of whoever was faster, before it asks for the way in anew.
pub(super) const OVERTAKEN_AFTER: u64 = 3;
/// Seconds for which a device changes nothing by itself after a change was refused.
pub(super) const CHANGE_AFTER: u64 = 600;

/// Places that could not be taken, of which it remembers.
pub(super) const MOST_GAPS: usize = 1000;

/// How often something is tried again that comes to nothing.
#[derive(Debug)]
pub(super) struct Patience {
    /// Tries that are followed by another one at once.
    at_once: u32,
    /// Seconds until the next one after that, at first and at most: each is twice as long as the
    /// one before; and up to twice as long by chance, so that devices that hinder each other do not
    /// go on doing so.
    pause: (u64, u64),
    /// Seconds without one after which they are forgotten.
    forgotten_after: u64,
    /// Tries after which somebody is told.
    told_from: u32,
}

/// With a server or a member that is not honest. Somebody is told after some seconds, in which a
/// node may hear what another one has.
pub(super) const OF_OTHERS: Patience = Patience {
    at_once: 10,
    pause: (1, 60),
    forgotten_after: 300,
    told_from: 13,
};
/// With a copy of this device's state, which does the same: being in for a while means nothing.
pub(super) const OF_COPY: Patience = Patience {
    at_once: 2,
    pause: (15, 3600),
    forgotten_after: 4 * 3600,
    told_from: 3,
};
/// Seconds in the group after which tries against others are forgotten.
pub(super) const IS_IN_AFTER: u64 = 30;

/// What was tried and came to nothing.
#[derive(Debug)]
pub(super) struct Tries {
    of: Patience,
    count: u32,
    last: u64,
}

impl Tries {
    pub(super) const fn of(of: Patience) -> Self {
        Self {
            of,
            count: 0,
            last: 0,
        }
    }

    /// One more came to nothing; seconds until the next one.
    pub(super) fn pause(&mut self, now: u64, chance: u8) -> u64 {
        if now.saturating_sub(self.last) >= self.of.forgotten_after {
            self.count = 0;
        }
        (self.count, self.last) = (self.count.saturating_add(1), now);
        let Some(more) = self.count.checked_sub(self.of.at_once + 1) else {
            return 0;
        };
        let (first, most) = self.of.pause;
        let pause = most.min(first << more.min(12));
        pause + pause * u64::from(chance) / 256
    }

    pub(super) fn are_many(&self, now: u64) -> bool {
        self.count >= self.of.told_from && now.saturating_sub(self.last) < self.of.forgotten_after
    }
}

/// What a number was given to.
pub(super) enum Sent {
    /// By the number that the member gave it.
    Message(u64),
    Change(Frame),
    /// A change that was seen in the room before its answer.
    Seen,
}

/// An own message that was sent.
pub(super) struct Unplaced {
    pub(super) inside: Vec<u8>,
    /// The epoch that it was encrypted in.
    pub(super) epoch: u64,
    /// Where it is, says the answer, and when it came.
    pub(super) placed: Option<(u64, u64)>,
    /// It was told that it is not seen there.
    pub(super) is_told: bool,
}

/// Places at which this device read nothing, for it was in no group.
pub(super) struct Absence {
    /// Where it lost the group; 0: not known.
    pub(super) behind: u64,
    /// Where it was in again.
    pub(super) up_to: Option<u64>,
    /// Somebody had removed it: what it sent before it knew that nobody can read.
    pub(super) is_removed: bool,
}

impl Absence {
    pub(super) fn has(&self, seq: u64) -> bool {
        seq > self.behind && self.up_to.is_none_or(|up_to| seq < up_to)
    }
}

/// A change of one's own that is at this place, says the answer, which came then.
pub(super) struct Placed {
    pub(super) frame: Frame,
    pub(super) seq: u64,
    pub(super) since: u64,
}

/// How far the room was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// There is no connection.
    Away,
    /// Up to this place there are events from before.
    Until(u64),
    Live,
}

/// What it does to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entering {
    No,
    AskedWelcome,
    AskedGroup,
    /// The founding or the external commit is on its way.
    Sent,
    /// Somebody has to let it in.
    Waiting,
}
