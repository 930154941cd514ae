//! An owner of the shard: claim, read the tail, write the last commit again, confirm; then commit by commit: write, confirm, answer.

use crate::{
    Fencing, Mutation, REPLICAS,
    store::{Row, Store, Write},
};
use std::cmp::Ordering;

/// What an owner does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the fence until it shows the own epoch; before that nothing is loaded. That the claim was decided does not mean that a majority has it:
    /// its outcome may have been learned by asking.
    CheckClaim,
    /// Read the tail.
    ReadTail,
    /// Wait until the last commit, written again, returned.
    AwaitRewrite {
        /// Its number.
        write: u8,
    },
    /// Read the fence, then publish what was found.
    ConfirmOpening,
    /// Send the next commit.
    Append,
    /// Wait until the commit returned.
    AwaitAppend {
        /// Its number.
        write: u8,
    },
    /// Read the fence, then answer the commit.
    ConfirmAppend,
    /// It saw a newer owner, or has nothing left to do.
    Stopped,
}

/// An owner. Its fields beyond `step` are what it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    epoch: u8,
    /// What it does next.
    pub step: Step,
    /// Of a read that is half done: the replica that was asked, and the writes that it had.
    half: Option<(usize, u32)>,
    /// Everything that it holds for journaled, and the commit under way, from seq 1 on.
    events: Vec<u8>,
    /// How many commits of its own it answered.
    pub answered: u8,
}

impl Owner {
    /// An owner whose claim was decided.
    pub fn claiming(epoch: u8, mutation: Option<Mutation>) -> Self {
        let step = if mutation == Some(Mutation::ClaimNotRead) { Step::ReadTail } else { Step::CheckClaim };
        Self { epoch, step, half: None, events: Vec::new(), answered: 0 }
    }

    /// Whether its next step reads from a replica.
    pub fn reads(&self) -> bool {
        matches!(self.step, Step::CheckClaim | Step::ReadTail | Step::ConfirmOpening | Step::ConfirmAppend)
    }

    /// The replica that it asked first, of a read that is half done.
    pub fn asked(&self) -> Option<usize> {
        self.half.map(|(replica, _)| replica)
    }

    /// Gives the replicas other names.
    pub fn rename(&mut self, order: &[usize; REPLICAS]) {
        if let Some((replica, _)) = &mut self.half {
            *replica = order[*replica];
        }
    }

    /// Whether a step that does not read can be done.
    pub fn can_go(&self, model: &Fencing, store: &Store) -> bool {
        match self.step {
            Step::AwaitRewrite { write } | Step::AwaitAppend { write } => store.at_quorum(usize::from(write)),
            Step::Append => usize::from(self.answered) < model.commits.len(),
            _ => false,
        }
    }

    /// Does the next step; a read goes to `replica`. Returns what is answered or published by it: all events from seq 1 on.
    pub fn go(&mut self, model: &Fencing, store: &mut Store, replica: usize) -> Option<Vec<u8>> {
        match self.step {
            Step::CheckClaim => {
                let asked = self.asked();
                let seen = self.read(store, replica)?;
                match store.fence(seen).cmp(&self.epoch) {
                    Ordering::Less => {}
                    Ordering::Equal => {
                        // Blocking read repair: where the two differ, both have the newest when the read returns.
                        if model.mutation != Some(Mutation::NoReadRepair) {
                            let fence = store.write(Write::Fence { epoch: self.epoch });
                            asked.into_iter().chain([replica]).for_each(|replica| store.reach(fence, replica));
                        }
                        self.step = Step::ReadTail;
                    }
                    Ordering::Greater => self.step = Step::Stopped,
                }
            }
            Step::ReadTail => {
                let seen = self.read(store, replica)?;
                return self.load(model, store, seen);
            }
            Step::AwaitRewrite { .. } => return self.confirm_opening(model),
            Step::ConfirmOpening => {
                let seen = self.read(store, replica)?;
                return if store.fence(seen) == self.epoch { Some(self.opened(model)) } else { self.stop() };
            }
            Step::Append => self.append(model, store),
            Step::AwaitAppend { .. } => {
                if model.mutation == Some(Mutation::SnapshotUnconfirmed) {
                    self.save(model, store);
                }
                if matches!(model.mutation, Some(Mutation::NoConfirm | Mutation::ConfirmBeforeWrite)) {
                    return Some(self.answer(model, store));
                }
                self.step = Step::ConfirmAppend;
            }
            Step::ConfirmAppend => {
                let seen = self.read(store, replica)?;
                if store.fence(seen) != self.epoch {
                    return self.stop();
                }
                if model.mutation == Some(Mutation::ConfirmBeforeWrite) {
                    self.step = Step::Append;
                    return None;
                }
                return Some(self.answer(model, store));
            }
            Step::Stopped => {}
        }
        None
    }

    fn stop(&mut self) -> Option<Vec<u8>> {
        self.step = Step::Stopped;
        None
    }

    /// Asks a replica; the second answer completes the read.
    fn read(&mut self, store: &Store, replica: usize) -> Option<u32> {
        let seen = store.seen_at(replica);
        match self.half.take() {
            None => {
                self.half = Some((replica, seen));
                None
            }
            Some((_, before)) => Some(before | seen),
        }
    }

    /// The reader's rule, and the last commit written again.
    fn load(&mut self, model: &Fencing, store: &mut Store, seen: u32) -> Option<Vec<u8>> {
        let rows = store.rows(seen);
        if rows.iter().flatten().any(|row| row.epoch > self.epoch) {
            return self.stop();
        }
        let snapshot = store.snapshot(seen);
        // The tail begins with the commit that holds the snapshot's last seq, so that the epochs of the walk are known from there on.
        let from = snapshot.len().saturating_sub(1);
        let lowest = model.mutation == Some(Mutation::LowestEpochWins);
        let mut walked = Vec::new();
        for row in rows.iter().skip(from) {
            let best = if lowest { row.iter().min() } else { row.iter().max() };
            let Some(best) = best else { break };
            let decreases = walked.last().is_some_and(|last: &Row| best.epoch < last.epoch);
            if decreases && model.mutation != Some(Mutation::NoStopAtDecrease) {
                break;
            }
            walked.push(*best);
        }
        let known = if walked.is_empty() { snapshot.len() } else { from };
        self.events = snapshot[..known].to_vec();
        self.events.extend(walked.iter().map(|row| row.event));
        let Some(last) = walked.last() else { return self.confirm_opening(model) };
        if model.mutation == Some(Mutation::LastCommitNotRewritten) {
            return self.confirm_opening(model);
        }
        let first = match model.mutation {
            Some(Mutation::OnlyLastRowRewritten) => self.events.len() as u8,
            _ => last.commit_first,
        };
        let events = self.events[usize::from(first) - 1..].to_vec();
        let write = store.write(Write::Commit { epoch: self.epoch, first, events, commit_first: last.commit_first });
        self.step = Step::AwaitRewrite { write: write as u8 };
        None
    }

    fn confirm_opening(&mut self, model: &Fencing) -> Option<Vec<u8>> {
        if model.mutation == Some(Mutation::OpeningNotConfirmed) {
            return Some(self.opened(model));
        }
        self.step = Step::ConfirmOpening;
        None
    }

    fn opened(&mut self, model: &Fencing) -> Vec<u8> {
        self.next(model);
        self.events.clone()
    }

    fn next(&mut self, model: &Fencing) {
        self.step = match model.mutation {
            Some(Mutation::ConfirmBeforeWrite) => Step::ConfirmAppend,
            _ => Step::Append,
        };
        if usize::from(self.answered) >= model.commits.len() {
            self.step = Step::Stopped;
        }
    }

    fn append(&mut self, model: &Fencing, store: &mut Store) {
        let size = model.commits[usize::from(self.answered)];
        let first = self.events.len() as u8 + 1;
        // An event is named after who appended it, and when.
        let events: Vec<u8> = (0..size).map(|n| self.epoch * 32 + first + n as u8).collect();
        self.events.extend(&events);
        let write = store.write(Write::Commit { epoch: self.epoch, first, events, commit_first: first });
        self.step = Step::AwaitAppend { write: write as u8 };
    }

    fn answer(&mut self, model: &Fencing, store: &mut Store) -> Vec<u8> {
        self.answered += 1;
        if model.snapshots {
            self.save(model, store);
        }
        self.next(model);
        self.events.clone()
    }

    /// Saves a snapshot of everything that it holds; nobody waits for it.
    fn save(&self, model: &Fencing, store: &mut Store) {
        if model.snapshots {
            store.write(Write::Snapshot { epoch: self.epoch, events: self.events.clone() });
        }
    }
}
