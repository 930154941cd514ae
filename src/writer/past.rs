//! What an owner does about the past of an open room, step by step: it sees what is too much and
//! from where on events stay, saves that, and has the journal remove what is below. Or it copies
//! the past without what is erased, saves the room, has the journal remove what was copied, and
//! notes that. One of both at a time. Pure; an owner that does not get on leaves it to the next
//! one, which begins with what it finds.

use crate::room::{Change, Erasing, Excess, Kept, Millis, Retention, Seq};
use std::time::Duration;
use tokio::time::Instant;

/// How far the past of a room is on its way out.
pub(super) struct Trimming {
    stage: Stage,
    /// When it was last looked at.
    looked: Option<Instant>,
    /// How often it was saved in vain since something was noted.
    saved: usize,
    /// The room was purged, and nothing of that is done yet.
    is_purged: bool,
    /// The copying that is under way, or done and not noted yet.
    pass: Option<Pass>,
    /// When a pass that failed begins again.
    again: Option<Instant>,
    /// Nothing was begun here: it is only looked whether an owner before left something.
    looks_back: bool,
    /// When it is looked once more whether something of before a purge is there.
    last_look: Option<Instant>,
    /// What is to be erased may be copied already, and what was journaled of it half removed: only
    /// copying all of it anew finds that out.
    may_be_halfway: bool,
}

/// A way through the past of a room from its beginning, to copy it without what is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// What is left out.
    pub(super) erasing: Erasing,
    /// The place that comes next.
    pub(super) next: Seq,
    /// From where on bytes are counted.
    pub(super) counted: Seq,
    /// Bytes of content that are left so far.
    pub(super) bytes: u64,
    /// Whether there is something to erase: before that is known nothing is written.
    pub(super) is_worth: bool,
    /// Whether all of it is copied, or looked through in vain.
    pub(super) is_copied: bool,
}

impl Pass {
    fn new(erasing: Erasing, kept: &Kept, is_worth: bool) -> Self {
        Self {
            erasing,
            // What retention let go may be there still.
            next: Seq(1),
            counted: kept.first().max(kept.counted),
            bytes: 0,
            is_worth,
            is_copied: false,
        }
    }

    /// Something to erase was found: it begins anew, and copies.
    pub(super) fn is_found(&mut self) {
        (self.next, self.bytes, self.is_worth) = (Seq(1), 0, true);
    }

    /// The last place that is copied.
    pub(super) fn through(&self) -> Seq {
        self.erasing.last()
    }
}

/// Snapshots of a room that a journal keeps at most: after so many new ones none of before holds
/// anything back.
const SNAPSHOTS: usize = 2;

/// After a purge it is looked once more: longer than a snapshot of before takes to come that was
/// given up as lost, or that is of an owner who was replaced.
const LATE: Duration = Duration::from_secs(30);

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To see whether there is too much.
    See,
    /// A step is under way.
    Busy,
    /// To save from where on events stay: nothing is removed that is not known to be gone.
    Save,
    /// The state that says so is being saved.
    Saving,
    /// To remove what is below.
    Remove,
    /// To save once more, after a while.
    SaveLater,
    /// To copy on.
    Copy,
    /// To save that what was copied is gone.
    Note,
    /// The state that says so is being saved.
    Noting,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To find from where on events stay.
    See(Excess),
    /// To remove what is not kept.
    Remove,
    /// To copy what is there, but for what is erased.
    Copy(Pass),
    /// To remove what was copied.
    RemoveCopied(Pass),
}

/// What was found: from where on events stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// What was wanted of the room then.
    pub(super) said: Millis,
    /// The first place that stays.
    pub(super) start: Seq,
    /// When its event was stored; 0: there is none yet.
    pub(super) since: Millis,
    /// Bytes that go, of those that were counted.
    pub(super) bytes: u64,
    /// Whether there may be more that goes.
    pub(super) more: bool,
}

impl Trimming {
    /// What an owner finds may not be removed yet, whoever said so; nor what `erasing` has.
    pub(super) fn new(kept: &Kept, erasing: &Erasing) -> Self {
        let stage = match kept.start > Seq(1) {
            true => Stage::Remove,
            false => Stage::See,
        };
        Self {
            stage,
            looked: None,
            saved: 0,
            is_purged: false,
            pass: None,
            again: None,
            looks_back: stage == Stage::Remove,
            last_look: None,
            may_be_halfway: !erasing.is_empty(),
        }
    }

    /// Everything before an event is to be removed: that is saved first, whatever is under way.
    pub(super) fn purged(&mut self) {
        (self.is_purged, self.looks_back) = (true, false);
        self.last_look = None;
    }

    /// What is to be done now for a room that is published up to `head`. It is looked at once in
    /// `every`; what was begun goes on at once.
    pub(super) fn step(
        &mut self,
        (kept, erasing): (&Kept, &Erasing),
        head: Seq,
        default: &Retention,
        (now, clock): (Instant, Millis),
        every: Duration,
    ) -> Option<Step> {
        if self.is_purged && matches!(self.stage, Stage::See | Stage::SaveLater) {
            (self.stage, self.saved, self.is_purged) = (Stage::Save, 0, false);
            self.pass = None;
        }
        let looks = self
            .last_look
            .take_if(|at| self.stage == Stage::See && now >= *at);
        if looks.is_some() {
            (self.stage, self.looks_back) = (Stage::Remove, true);
        }
        let may_begin = self.again.is_none_or(|again| now >= again);
        if self.stage == Stage::See && !erasing.is_empty() && may_begin {
            (self.stage, self.saved) = (Stage::Copy, 0);
            self.pass = Some(Pass::new(erasing.clone(), kept, self.may_be_halfway));
        }
        let is_due = self
            .looked
            .is_none_or(|looked| now.duration_since(looked) >= every);
        let step = match self.stage {
            Stage::Copy => Step::Copy(self.pass.clone()?),
            Stage::Remove => match &self.pass {
                Some(pass) => {
                    self.may_be_halfway = true;
                    Step::RemoveCopied(pass.clone())
                }
                None => Step::Remove,
            },
            Stage::See if is_due => {
                self.looked = Some(now);
                Step::See(kept.excess(default, head, clock)?)
            }
            Stage::SaveLater if is_due => {
                self.looked = Some(now);
                self.stage = Stage::Save;
                return None;
            }
            _ => return None,
        };
        self.stage = Stage::Busy;
        Some(step)
    }

    /// Whether the room is to be saved for it.
    pub(super) fn wants_snapshot(&self) -> bool {
        matches!(self.stage, Stage::Save | Stage::Note)
    }

    /// Whether something was begun, which goes on at once.
    pub(super) fn is_at_it(&self) -> bool {
        self.is_purged || !matches!(self.stage, Stage::See | Stage::SaveLater)
    }

    /// Whether a next owner is to open the room at once, and go on: with what was begun, or with a
    /// purge (`is_purge`) of which something is held back.
    pub(super) fn is_unfinished(&self, is_purge: bool) -> bool {
        let waits = is_purge && (self.stage == Stage::SaveLater || self.last_look.is_some());
        waits || (self.is_at_it() && !self.looks_back)
    }

    /// The room is being saved as it is now.
    pub(super) fn saving(&mut self) {
        self.stage = match self.stage {
            Stage::Save => Stage::Saving,
            Stage::Note => Stage::Noting,
            stage => stage,
        };
    }

    /// It was saved, or could not be.
    pub(super) fn saved(&mut self, is_saved: bool) {
        self.stage = match (self.stage, is_saved) {
            (Stage::Saving, true) => Stage::Remove,
            (Stage::Saving, false) => Stage::Save,
            (Stage::Noting, true) => Stage::See,
            (Stage::Noting, false) => Stage::Note,
            (stage, _) => stage,
        };
    }

    /// It was found from where on events stay, or not found now: the change that says so.
    pub(super) fn found(&mut self, kept: &Kept, found: Option<Found>) -> Option<Change> {
        self.stage = Stage::See;
        // Whoever says something else meanwhile is asked again.
        let found = found.filter(|found| found.said == kept.said)?;
        if found.more {
            self.looked = None;
        }
        let is_news = found.start > kept.first() || kept.since == Millis(0);
        let Found {
            start,
            since,
            bytes,
            ..
        } = found;
        is_news.then(|| {
            (self.stage, self.saved) = (Stage::Save, 0);
            Change::Trimmed {
                start,
                since,
                bytes,
            }
        })
    }

    /// The owner before had begun: what is there is no mere look.
    pub(super) fn was_begun(&mut self) {
        self.looks_back = false;
    }

    /// What is below was removed, all of it or what could be; `None`: it failed. Whether that ends
    /// what was begun, for a purge but for a last look.
    pub(super) fn removed(&mut self, all: Option<bool>, is_purge: bool, now: Instant) -> bool {
        let was_begun = !std::mem::take(&mut self.looks_back);
        self.stage = match all {
            Some(true) => Stage::See,
            // What is kept of older snapshots holds something back.
            Some(false) if self.saved < SNAPSHOTS => {
                self.saved += 1;
                Stage::Save
            }
            Some(false) => Stage::SaveLater,
            None => {
                self.looked = Some(now);
                Stage::SaveLater
            }
        };
        let ends = was_begun && self.stage == Stage::See;
        if ends && is_purge {
            self.last_look = Some(now + LATE);
        }
        ends
    }

    /// A part was copied, or could not be: then all of it is copied again, later. The pass that is
    /// done, if there was nothing to erase.
    pub(super) fn copied(&mut self, pass: Option<Pass>, later: Instant) -> Option<Pass> {
        self.stage = match &pass {
            Some(pass) if pass.is_copied && !pass.is_worth => Stage::Note,
            Some(pass) if pass.is_copied => Stage::Save,
            Some(_) => Stage::Copy,
            None => {
                self.again = Some(later);
                Stage::See
            }
        };
        self.pass = pass;
        self.pass.take_if(|_| self.stage == Stage::Note)
    }

    /// What was copied was removed, all of it or what could be; `None`: it failed, and is copied
    /// again. The pass, if it is done.
    pub(super) fn copied_removed(
        &mut self,
        all: Option<bool>,
        (now, later): (Instant, Instant),
    ) -> Option<Pass> {
        match all {
            Some(true) => {
                (self.stage, self.may_be_halfway) = (Stage::Note, false);
                self.pass.take()
            }
            Some(false) => {
                self.removed(all, false, now);
                None
            }
            None => self.copied(None, later),
        }
    }
}
