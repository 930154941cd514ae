//! What can happen next, and what must hold.

use crate::{
    Level, Mutation, Scenario,
    record::Wrong,
    rule,
    world::{Owner, Step, World},
};
use stateright::{Model, Property};

/// The fencing, in some scenario.
#[derive(Debug, Clone)]
pub struct Fencing(pub Scenario);

/// What can happen next. Owners are named by their epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The next owner's claim is decided.
    Claim,
    /// A reading of the fence shows the claim to its owner.
    SeeClaim(u8),
    /// An owner has found this snapshot (from 1; 0: none) and begins to read the room.
    Begin {
        /// Who.
        epoch: u8,
        /// Which snapshot.
        snapshot: usize,
    },
    /// The first of two replicas answers the reading of the room.
    Ask {
        /// Who reads.
        epoch: u8,
        /// Which replica.
        replica: usize,
        /// The writes that it has now, a bit each.
        seen: u32,
    },
    /// The reading of the room ends; the last commit is sent again.
    Open {
        /// Who reads.
        epoch: u8,
        /// The second replica that was asked.
        replica: Option<usize>,
        /// Where the commit of the snapshot's last event begins, as it was read.
        first: u8,
        /// The writes that it saw, a bit each.
        seen: u32,
    },
    /// What an owner has sent returns, and its reading of the fence begins.
    Return {
        /// Whose write.
        epoch: u8,
        /// The replicas that have it, a bit each.
        at: u8,
    },
    /// An owner's reading of the fence shows its own epoch: it answers and publishes.
    Confirm(u8),
    /// The replicas are killed and forget what this owner wrote and has not confirmed.
    Crash(u8),
    /// An owner sends a commit of so many events.
    Append {
        /// Who.
        epoch: u8,
        /// Events of the commit.
        size: usize,
    },
    /// An owner lets go of the room and opens it again under the same epoch.
    Reopen(u8),
    /// A write arrives at a replica.
    Arrive {
        /// Which write.
        slot: u8,
        /// Which replica.
        replica: usize,
    },
    /// A client reads a page that ends within a commit, and the reading repairs what it has read.
    Page {
        /// Of which write.
        slot: u8,
        /// How many of its rows.
        rows: usize,
        /// The replica that has the commit.
        from: usize,
        /// The replica that gets the rows.
        to: usize,
    },
}

impl Model for Fencing {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.owners.len() < self.0.owners {
            actions.push(Action::Claim);
        }
        for (epoch, owner) in (1..).zip(&world.owners) {
            match owner.step {
                Step::Claiming => actions.push(Action::SeeClaim(epoch)),
                Step::Starting => actions.extend(
                    (0..=world.snapshots.len()).map(|snapshot| Action::Begin { epoch, snapshot }),
                ),
                Step::Reading { .. } => world.readings(self.0.level, epoch, owner.step, actions),
                Step::Opening { write } => self.returns(world, epoch, write, actions),
                Step::Appending { write } => self.returns(world, epoch, Some(write), actions),
                Step::Confirming { write, .. } => {
                    actions.push(Action::Confirm(epoch));
                    if write.is_some() && world.crashes < self.0.crashes {
                        actions.push(Action::Crash(epoch));
                    }
                }
                Step::Open => {
                    let fits = |size: &&usize| {
                        rule::decide(&owner.events, self.0.commands, **size, epoch).is_some()
                    };
                    actions.extend(
                        self.0
                            .sizes
                            .iter()
                            .filter(fits)
                            .map(|size| Action::Append { epoch, size: *size }),
                    );
                }
                Step::Resting => {}
            }
            if self.may_reopen(owner) {
                actions.push(Action::Reopen(epoch));
            }
        }
        if self.0.eager {
            actions.extend(world.arrivals());
        }
        if self.0.mutation == Some(Mutation::JournalReadRepaired) {
            world.pages(actions);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Claim => world.claim(&self.0),
            Action::SeeClaim(epoch) => world.see_claim(&self.0, epoch),
            Action::Begin { epoch, snapshot } => world.begin(&self.0, epoch, snapshot),
            Action::Ask {
                epoch,
                replica,
                seen,
            } => world.ask(epoch, replica, seen),
            Action::Open {
                epoch,
                replica,
                first,
                seen,
            } => world.open(&self.0, epoch, replica, first, seen),
            Action::Return { epoch, at } => world.return_write(&self.0, epoch, at),
            Action::Confirm(epoch) => world.confirm(&self.0, epoch),
            Action::Crash(epoch) => world.crash(&self.0, epoch),
            Action::Append { epoch, size } => world.append(&self.0, epoch, size),
            Action::Reopen(epoch) => world.reopen(epoch),
            Action::Arrive { slot, replica } => world.arrive(replica, 1 << slot),
            Action::Page {
                slot,
                rows,
                from,
                to,
            } => world.page(slot, rows, from, to),
        }
        Some(if self.0.level == Level::Replicas {
            world.representative()
        } else {
            world
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was answered is never lost", |_, world: &World| {
                world.record.wrong != Some(Wrong::Lost)
            }),
            Property::always(
                "what was answered keeps its place and content",
                |_, world: &World| world.record.wrong != Some(Wrong::Changed),
            ),
            Property::always("a command appears at one place", |_, world: &World| {
                world.record.wrong != Some(Wrong::Twice)
            }),
            Property::always(
                "an opening finds what a snapshot holds",
                |_, world: &World| world.record.wrong != Some(Wrong::Damaged),
            ),
            Property::always("one place and epoch has one content", |_, world: &World| {
                world.record.wrong != Some(Wrong::TwoContents)
            }),
            Property::always(
                "a reading sees what a quorum had before",
                |_, world: &World| world.record.wrong != Some(Wrong::Overlooked),
            ),
            Property::always(
                "a reader below the published head misses nothing",
                |_, world: &World| world.readers_agree(),
            ),
            Property::sometimes(
                "the last owner answers a command of its own",
                |model: &Self, world: &World| {
                    world
                        .record
                        .published
                        .last()
                        .is_some_and(|event| usize::from(event.epoch) == model.0.owners)
                },
            ),
            Property::sometimes(
                "all commands are answered",
                |model: &Self, world: &World| {
                    world.record.published.len() == usize::from(model.0.commands)
                },
            ),
            Property::sometimes(
                "a commit that its owner never answered is found and published",
                |_, world: &World| world.finds_unanswered(),
            ),
            Property::sometimes("a late row is overruled", |_, world: &World| {
                world
                    .sent
                    .iter()
                    .any(|sent| world.record.overrules(&sent.commit))
            }),
        ]
    }
}

impl Fencing {
    fn returns(&self, world: &World, epoch: u8, write: Option<u8>, actions: &mut Vec<Action>) {
        actions.extend(
            world
                .returns(self.0.level, write)
                .into_iter()
                .map(|at| Action::Return { epoch, at }),
        );
    }

    /// An opening may start over when its confirmation could not be read, and a room may be closed
    /// and opened again; not while it is unknown what became of a write.
    fn may_reopen(&self, owner: &Owner) -> bool {
        let unknown = self.0.mutation == Some(Mutation::OpeningReadAgain)
            && matches!(owner.step, Step::Opening { .. });
        let reopens = self.0.reopens.max(usize::from(unknown));
        owner.reopened < reopens
            && (unknown
                || matches!(
                    owner.step,
                    Step::Open | Step::Confirming { opening: true, .. }
                ))
    }
}
