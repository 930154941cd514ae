//! What a reading may see, and where a write may be when it returns.

use crate::{
    Level,
    fencing::Action,
    world::{REPLICAS, Step, World},
};
use smallvec::SmallVec;

impl World {
    /// All ways in which a reading of the room can go on.
    pub(crate) fn readings(&self, level: Level, epoch: u8, step: Step, actions: &mut Vec<Action>) {
        let Step::Reading {
            snapshot,
            must,
            half,
        } = step
        else {
            return;
        };
        match (level, half) {
            (Level::Quorums, _) => self.ends(epoch, None, snapshot, must, must, actions),
            (Level::Replicas, None) => {
                for replica in 0..REPLICAS {
                    let there = self.there(replica);
                    each_choice(there, self.sent_up_to(epoch), |seen| {
                        actions.push(Action::Ask {
                            epoch,
                            replica,
                            seen,
                        })
                    });
                }
            }
            (Level::Replicas, Some((asked, seen))) => {
                for replica in (0..REPLICAS).filter(|replica| *replica != asked) {
                    self.ends(
                        epoch,
                        Some(replica),
                        snapshot,
                        must,
                        seen | self.there(replica),
                        actions,
                    );
                }
            }
        }
    }

    fn ends(
        &self,
        epoch: u8,
        replica: Option<usize>,
        snapshot: usize,
        must: u32,
        least: u32,
        actions: &mut Vec<Action>,
    ) {
        for first in self.firsts(snapshot, must) {
            each_choice(least, self.sent_up_to(epoch), |seen| {
                actions.push(Action::Open {
                    epoch,
                    replica,
                    first,
                    seen,
                })
            });
        }
    }

    /// The slots that a replica has.
    pub(crate) fn there(&self, replica: usize) -> u32 {
        self.sent
            .iter()
            .filter(|sent| sent.at & (1 << replica) != 0)
            .fold(0, |all, sent| all | sent.bit())
    }

    /// The slots of an epoch and those before it. A reading that sees a newer one ends in nothing.
    fn sent_up_to(&self, epoch: u8) -> u32 {
        self.sent
            .iter()
            .filter(|sent| sent.commit.epoch <= epoch)
            .fold(0, |all, sent| all | sent.bit())
    }

    /// What a reading may say of where the commit of a snapshot's last event begins: the row of the
    /// highest epoch that it sees. 0: it sees none.
    fn firsts(&self, snapshot: usize, must: u32) -> SmallVec<[u8; 4]> {
        let Some(index) = snapshot.checked_sub(1) else {
            return SmallVec::from_slice(&[1]);
        };
        let seq = self.snapshots[index].events.len();
        let rows = self.sent.iter().filter_map(|sent| {
            sent.commit
                .row(seq)
                .map(|row| (must & sent.bit() != 0, row))
        });
        let least = rows
            .clone()
            .filter(|(certain, _)| *certain)
            .map(|(_, row)| row.epoch)
            .max();
        let mut firsts: SmallVec<[u8; 4]> = rows
            .filter(|(_, row)| Some(row.epoch) >= least)
            .map(|(_, row)| row.commit_first)
            .collect();
        if least.is_none() {
            firsts.push(0);
        }
        firsts.sort_unstable();
        firsts.dedup();
        firsts
    }

    /// The replicas that may have a write when it returns. A third one may get it later.
    pub(crate) fn returns(&self, level: Level, write: Option<u8>) -> SmallVec<[u8; 4]> {
        const ALL: u8 = (1 << REPLICAS) - 1;
        let Some(write) = write else {
            return SmallVec::from_slice(&[0]);
        };
        let sent = self
            .sent
            .iter()
            .find(|sent| sent.slot == write)
            .expect("who waits for a write has sent it");
        match level {
            Level::Quorums => SmallVec::from_slice(&[ALL]),
            Level::Replicas if sent.is_certain() => SmallVec::from_slice(&[sent.at]),
            Level::Replicas => (0..=ALL)
                .filter(|at| {
                    at & sent.at == sent.at && at.count_ones() as usize == REPLICAS / 2 + 1
                })
                .collect(),
        }
    }

    /// What has not arrived yet.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = Action> {
        self.sent.iter().flat_map(|sent| {
            let missing = (0..REPLICAS).filter(|replica| sent.at & (1 << replica) == 0);
            missing.map(|replica| Action::Arrive {
                slot: sent.slot,
                replica,
            })
        })
    }

    /// The pages that end within a commit below the published head, read from a replica that has it
    /// and one that has not.
    pub(crate) fn pages(&self, actions: &mut Vec<Action>) {
        for sent in self.sent.iter().filter(|sent| !sent.is_certain()) {
            let first = usize::from(sent.commit.first);
            let published = self.record.published.len();
            let rows = (1..sent.commit.events.len()).filter(|rows| first + rows - 1 <= published);
            for (rows, from, to) in rows.flat_map(|rows| PAIRS.map(|(from, to)| (rows, from, to))) {
                actions.push(Action::Page {
                    slot: sent.slot,
                    rows,
                    from,
                    to,
                });
            }
        }
    }
}

const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

/// All sets between two.
fn each_choice(least: u32, most: u32, mut choose: impl FnMut(u32)) {
    let choice = most & !least;
    let mut chosen = choice;
    loop {
        choose(least | chosen);
        if chosen == 0 {
            break;
        }
        chosen = (chosen - 1) & choice;
    }
}
