//! What happens at each step.

use crate::{
    Mutation, Scenario,
    record::Wrong,
    rule::{self, Commit, Problem, Snapshot},
    world::{Owner, Sent, Step, World},
};

/// How many writes of an epoch have a slot.
const SLOTS: u8 = 8;

/// Whether an owner is one of another shard.
fn is_stranger(scenario: &Scenario, epoch: u8) -> bool {
    scenario.mutation == Some(Mutation::StrangerOpens) && epoch == 2
}

impl Owner {
    fn new(step: Step) -> Self {
        Self {
            step,
            events: rule::Log::new(),
            reopened: 0,
        }
    }
}

impl World {
    fn owner(&mut self, epoch: u8) -> &mut Owner {
        &mut self.owners[usize::from(epoch) - 1]
    }

    fn rest(&mut self, epoch: u8) {
        *self.owner(epoch) = Owner::new(Step::Resting);
    }

    /// Whether a reading of the fence that begins now can show an epoch: no newer one is at a
    /// quorum. It may still end much later.
    fn holds(&self, scenario: &Scenario, epoch: u8) -> bool {
        self.fence <= epoch && !is_stranger(scenario, epoch)
    }

    /// The claim is a compare-and-set: epochs are unique and ascending. When its value reaches
    /// which replica is left open.
    pub(crate) fn claim(&mut self, scenario: &Scenario) {
        let stranger = is_stranger(scenario, self.owners.len() as u8 + 1);
        let read = scenario.mutation != Some(Mutation::ClaimNotRead) && !stranger;
        self.owners.push(Owner::new(if read {
            Step::Claiming
        } else {
            Step::Starting
        }));
    }

    /// Blocking read repair: when the reading returns, a quorum has what it shows.
    pub(crate) fn see_claim(&mut self, scenario: &Scenario, epoch: u8) {
        if scenario.mutation != Some(Mutation::ClaimNotRepaired) {
            self.fence = self.fence.max(epoch);
        }
        self.owner(epoch).step = Step::Starting;
    }

    /// The fence is read as well, from now on: who is no owner must not write what it is about to
    /// read.
    pub(crate) fn begin(&mut self, scenario: &Scenario, epoch: u8, snapshot: usize) {
        let reads = scenario.mutation != Some(Mutation::StrangerOpens);
        if reads && !self.holds(scenario, epoch) {
            return self.rest(epoch);
        }
        let must = self.certain();
        self.owner(epoch).step = Step::Reading {
            snapshot,
            must,
            half: None,
        };
    }

    /// The first of two replicas answers. What it has now of what was sent is decided now.
    pub(crate) fn ask(&mut self, epoch: u8, replica: usize, seen: u32) {
        self.arrive(replica, seen);
        let Step::Reading { half, .. } = &mut self.owner(epoch).step else {
            unreachable!("only who reads asks")
        };
        *half = Some((replica, seen));
    }

    pub(crate) fn arrive(&mut self, replica: usize, slots: u32) {
        self.sent
            .iter_mut()
            .filter(|sent| slots & sent.bit() != 0)
            .for_each(|sent| sent.at |= 1 << replica);
    }

    pub(crate) fn open(
        &mut self,
        scenario: &Scenario,
        epoch: u8,
        replica: Option<usize>,
        first: u8,
        seen: u32,
    ) {
        let Step::Reading {
            snapshot,
            must,
            half,
        } = self.owner(epoch).step
        else {
            unreachable!("only who reads opens")
        };
        if let Some(replica) = replica {
            self.arrive(replica, seen & !half.map_or(0, |(_, seen)| seen));
        }
        if must & !seen != 0 {
            self.record.note(Wrong::Overlooked);
        }
        let snapshot = snapshot
            .checked_sub(1)
            .map(|index| self.snapshots[index].events.clone())
            .unwrap_or_default();
        let seen = self
            .sent
            .iter()
            .filter(|sent| seen & sent.bit() != 0)
            .map(|sent| &sent.commit);
        let found = if first == 0 {
            Err(Problem::Damaged)
        } else {
            rule::open(scenario.mutation, epoch, &snapshot, first, seen)
        };
        match found {
            Ok((events, again)) => {
                let write = again.map(|commit| self.send(commit));
                let owner = self.owner(epoch);
                owner.events = events;
                owner.step = Step::Opening { write };
            }
            Err(Problem::Fenced) => self.rest(epoch),
            Err(Problem::Damaged) => {
                self.record.note(Wrong::Damaged);
                self.rest(epoch);
            }
        }
    }

    /// Sends a commit and returns its slot. The same one sent again has the same slot.
    fn send(&mut self, commit: Commit) -> u8 {
        if let Some(sent) = self.sent.iter().find(|sent| sent.commit == commit) {
            return sent.slot;
        }
        if self
            .sent
            .iter()
            .any(|sent| sent.commit.contradicts(&commit))
        {
            self.record.note(Wrong::TwoContents);
        }
        let first = (commit.epoch - 1) * SLOTS;
        let slot = (first..)
            .find(|slot| self.sent.iter().all(|sent| sent.slot != *slot))
            .expect("slots are numbered without end");
        assert!(
            slot < first + SLOTS - 1,
            "the writes of an epoch fit its slots"
        );
        self.insert(Sent {
            slot,
            at: 0,
            commit,
        });
        slot
    }

    fn insert(&mut self, new: Sent) {
        let index = self.sent.partition_point(|sent| sent.slot < new.slot);
        self.sent.insert(index, new);
    }

    /// The write returns; `at` has it. Then the fence is read, from now on.
    pub(crate) fn return_write(&mut self, scenario: &Scenario, epoch: u8, at: u8) {
        let (write, opening) = match self.owner(epoch).step {
            Step::Opening { write } => (write, true),
            Step::Appending { write } => (Some(write), false),
            _ => unreachable!("only a write returns"),
        };
        self.sent
            .iter_mut()
            .filter(|sent| Some(sent.slot) == write)
            .for_each(|sent| sent.at |= at);
        let reads = match scenario.mutation {
            Some(Mutation::OpeningNotConfirmed) => !opening,
            // Of the latter, the fence was read before.
            Some(Mutation::NoConfirm | Mutation::ConfirmBeforeWrite) => opening,
            _ => true,
        };
        if !opening && scenario.mutation == Some(Mutation::SnapshotUnconfirmed) {
            self.save(scenario, epoch);
        }
        if reads && !self.holds(scenario, epoch) {
            return self.rest(epoch);
        }
        self.owner(epoch).step = Step::Confirming { opening, write };
        if !reads {
            self.confirm(scenario, epoch);
        }
    }

    /// The replicas are killed while an owner waits for its confirmation, and forget its write. The
    /// reading of the fence fails, so it is written again and the fence is read anew.
    pub(crate) fn crash(&mut self, scenario: &Scenario, epoch: u8) {
        let Step::Confirming {
            opening,
            write: Some(slot),
        } = self.owner(epoch).step
        else {
            unreachable!("only what waits for its confirmation is lost")
        };
        self.crashes += 1;
        for sent in self.sent.iter_mut().filter(|sent| sent.slot == slot) {
            sent.at = 0;
        }
        for owner in &mut self.owners {
            if let Step::Reading { must, .. } = &mut owner.step {
                *must &= !(1 << slot);
            }
        }
        if scenario.mutation != Some(Mutation::ConfirmedNotWrittenAgain) {
            self.owner(epoch).step = match opening {
                true => Step::Opening { write: Some(slot) },
                false => Step::Appending { write: slot },
            };
        }
    }

    /// Everything up to the commit is answered and published.
    pub(crate) fn confirm(&mut self, scenario: &Scenario, epoch: u8) {
        let owner = self.owner(epoch).clone();
        self.record.publish(epoch, &owner.events);
        if matches!(owner.step, Step::Confirming { opening: false, .. }) {
            self.save(scenario, epoch);
        }
        let done = owner.events.len() == usize::from(scenario.commands)
            && owner.reopened == scenario.reopens;
        if done {
            self.rest(epoch)
        } else {
            self.owner(epoch).step = Step::Open
        }
    }

    pub(crate) fn append(&mut self, scenario: &Scenario, epoch: u8, size: usize) {
        if scenario.mutation == Some(Mutation::ConfirmBeforeWrite) && !self.holds(scenario, epoch) {
            return self.rest(epoch);
        }
        let mut events = self.owner(epoch).events.clone();
        let first = events.len() as u8 + 1;
        let decided = rule::decide(&events, scenario.commands, size, epoch)
            .expect("there are so many commands");
        events.extend(decided.iter().copied());
        let write = self.send(Commit {
            epoch,
            first,
            events: decided,
            commit_first: first,
        });
        let owner = self.owner(epoch);
        owner.events = events;
        owner.step = Step::Appending { write };
    }

    /// Sends a snapshot; nobody waits for it.
    fn save(&mut self, scenario: &Scenario, epoch: u8) {
        let snapshot = Snapshot {
            epoch,
            events: self.owner(epoch).events.clone(),
        };
        if scenario.snapshots && !self.snapshots.contains(&snapshot) {
            self.snapshots.push(snapshot);
        }
    }

    pub(crate) fn reopen(&mut self, epoch: u8) {
        let owner = self.owner(epoch);
        *owner = Owner {
            reopened: owner.reopened + 1,
            ..Owner::new(Step::Starting)
        };
    }

    /// A page was read from two replicas, of which one had a commit and the other had not; now both
    /// have the rows that were read.
    pub(crate) fn page(&mut self, slot: u8, rows: usize, from: usize, to: usize) {
        self.arrive(from, 1 << slot);
        let sent = self
            .sent
            .iter()
            .find(|sent| sent.slot == slot)
            .expect("a page is of what was sent");
        let commit = Commit {
            events: sent.commit.events[..rows].into(),
            ..sent.commit
        };
        let part = Sent {
            slot: commit.epoch * SLOTS - 1,
            at: 1 << from | 1 << to,
            commit,
        };
        if self.sent.iter().all(|sent| sent.slot != part.slot) {
            self.insert(part);
        }
    }
}
