//! What clients were told, and whether it was ever wrong.

use crate::rule::{Commit, Event, Log};

/// What was answered or published so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// The events, by place from 1.
    pub published: Log,
    /// The newest epoch that published something.
    pub newest: u8,
    /// Something went wrong.
    pub wrong: Option<Wrong>,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// An event was published at a place at which another one was published before.
    Changed,
    /// A newer owner opened the room without an event that was published before.
    Lost,
    /// A command was published at two places.
    Twice,
    /// An opening found less in the journal than a snapshot holds.
    Damaged,
    /// Two different rows were written under one place and epoch.
    TwoContents,
    /// A reading did not see what a quorum had when it began.
    Overlooked,
}

impl Record {
    /// Notes that the owner of `epoch` answered or published these events, from the first on.
    pub fn publish(&mut self, epoch: u8, events: &[Event]) {
        let common = self.published.len().min(events.len());
        if self.published[..common] != events[..common] {
            self.note(Wrong::Changed);
        }
        if epoch >= self.newest && events.len() < self.published.len() {
            self.note(Wrong::Lost);
        }
        if (1..events.len()).any(|n| {
            events[..n]
                .iter()
                .any(|event| event.command == events[n].command)
        }) {
            self.note(Wrong::Twice);
        }
        self.newest = self.newest.max(epoch);
        if events.len() > self.published.len() {
            self.published = events.into();
        }
    }

    /// Notes the first thing that went wrong.
    pub fn note(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// Whether a row that is not the published one lies below the published head.
    pub fn overrules(&self, commit: &Commit) -> bool {
        commit.places().any(|seq| {
            self.published
                .get(seq - 1)
                .is_some_and(|event| commit.row(seq).is_some_and(|row| row.event != *event))
        })
    }
}
