//! The fencing argument of the Cassandra journal as a model for all interleavings.
//!
//! One room of one shard on three replicas. Owners claim the shard one after the other and none of them ever has to stop: whatever an owner does not do
//! any more in some interleaving is a crash, whatever it does late is a freeze. A write reaches each replica by itself, at any later time or never, which covers
//! delayed and lost writes, unknown outcomes and repeated identical writes. A read asks two replicas one after the other; only the reading of
//! the fence after a claim is taken to repair what differs, and rests on it.
//!
//! What must hold: what was answered once has one content and one place for ever, every later owner starts from it, and a reader who stays below the published head
//! finds it through any two replicas.

mod owner;
mod store;

pub use owner::{Owner, Step};
pub use store::{Store, Write};

use stateright::{Model, Property};

/// Replicas of every write.
pub const REPLICAS: usize = 3;

/// Something left out or done wrong on purpose, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A commit is answered without reading the fence.
    NoConfirm,
    /// The fence is read before the commit is written, not after.
    ConfirmBeforeWrite,
    /// What an opening found is answered without reading the fence once more.
    OpeningNotConfirmed,
    /// An opening does not write the last commit again.
    LastCommitNotRewritten,
    /// An opening writes only the last row of the last commit again.
    OnlyLastRowRewritten,
    /// At each seq the lowest epoch counts.
    LowestEpochWins,
    /// The walk goes on where the epoch decreases.
    NoStopAtDecrease,
    /// A snapshot is taken before the commit that it includes is confirmed.
    SnapshotUnconfirmed,
    /// The reading that shows the own epoch leaves the replicas as they are. Then one of them may be the only one that has it, and an older owner's
    /// confirmation can miss it.
    NoReadRepair,
    /// A tail is read without having seen the own epoch at a quorum.
    ClaimNotRead,
}

/// What is explored.
#[derive(Debug, Clone)]
pub struct Fencing {
    /// How many owners claim the shard, one epoch each.
    pub owners: usize,
    /// The rows of each commit that an owner appends, one after the other.
    pub commits: Vec<usize>,
    /// Whether owners also save snapshots.
    pub snapshots: bool,
    /// What is wrong, if anything.
    pub mutation: Option<Mutation>,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// What was written, and which replicas have it.
    pub store: Store,
    /// By epoch, from 1.
    pub owners: Vec<Owner>,
    /// What was answered or published, by seq from 1.
    pub published: Vec<u8>,
    /// Something was answered that contradicts what was answered before.
    pub contradiction: bool,
}

/// What can happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The next owner claims the shard.
    Claim,
    /// A write reaches a replica.
    Reach {
        /// Which write.
        write: usize,
        /// Which replica.
        replica: usize,
    },
    /// An owner goes on; a read goes to this replica.
    Go {
        /// Which owner.
        owner: usize,
        /// Where it reads, if it reads.
        replica: usize,
    },
}

impl World {
    /// Notes that an owner answered or published these events, from seq 1 on.
    fn publish(&mut self, events: &[u8]) {
        let common = self.published.len().min(events.len());
        if self.published[..common] != events[..common] {
            self.contradiction = true;
        }
        if events.len() > self.published.len() {
            self.published = events.to_vec();
        }
    }

    /// Renames the replicas so that states that differ only in their names become one.
    fn representative(mut self) -> Self {
        const ORDERS: [[usize; REPLICAS]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let renamed = |order: &[usize; REPLICAS]| {
            let masks: Vec<u8> = self.store.writes.iter().map(|(_, mask)| rename(*mask, order)).collect();
            let asked: Vec<u8> = self.owners.iter().map(|owner| owner.asked().map_or(0, |replica| 1 << order[replica])).collect();
            (masks, asked)
        };
        let order = ORDERS.iter().min_by_key(|order| renamed(order)).expect("there are six orders");
        let (masks, _) = renamed(order);
        for ((_, mask), renamed) in self.store.writes.iter_mut().zip(masks) {
            *mask = renamed;
        }
        for owner in &mut self.owners {
            owner.rename(order);
        }
        self
    }
}

/// A set of replicas under other names.
fn rename(mask: u8, order: &[usize; REPLICAS]) -> u8 {
    (0..REPLICAS).filter(|replica| mask & (1 << replica) != 0).fold(0, |renamed, replica| renamed | 1 << order[replica])
}

impl Model for Fencing {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World { store: Store::default(), owners: Vec::new(), published: Vec::new(), contradiction: false }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.owners.len() < self.owners {
            actions.push(Action::Claim);
        }
        for (write, (_, mask)) in world.store.writes.iter().enumerate() {
            actions.extend((0..REPLICAS).filter(|replica| mask & (1 << replica) == 0).map(|replica| Action::Reach { write, replica }));
        }
        for (owner, state) in world.owners.iter().enumerate() {
            if state.reads() {
                let replicas = (0..REPLICAS).filter(|replica| state.asked() != Some(*replica));
                actions.extend(replicas.map(|replica| Action::Go { owner, replica }));
            } else if state.can_go(self, &world.store) {
                actions.push(Action::Go { owner, replica: 0 });
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Claim => {
                let epoch = world.owners.len() as u8 + 1;
                // The claim is a compare-and-set: epochs are unique and ascending. When its value reaches which replica is left open.
                world.store.write(Write::Fence { epoch });
                world.owners.push(Owner::claiming(epoch, self.mutation));
            }
            Action::Reach { write, replica } => world.store.reach(write, replica),
            Action::Go { owner, replica } => {
                let mut state = world.owners[owner].clone();
                if let Some(events) = state.go(self, &mut world.store, replica) {
                    world.publish(&events);
                }
                world.owners[owner] = state;
            }
        }
        (world != *last).then(|| world.representative())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was answered keeps its place and content", |_, world: &World| !world.contradiction),
            Property::always("a reader below the published head misses nothing", |_, world: &World| readers_agree(world)),
            Property::sometimes("the last owner answers a commit of its own", |model: &Self, world: &World| {
                world.owners.len() == model.owners && world.owners.last().is_some_and(|owner| owner.answered > 0)
            }),
        ]
    }
}

/// Whether through any two replicas the highest epoch at each seq below the published head is what was published there.
fn readers_agree(world: &World) -> bool {
    const PAIRS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];
    PAIRS.iter().all(|pair| {
        let seen = world.store.seen_at(pair[0]) | world.store.seen_at(pair[1]);
        let rows = world.store.rows(seen);
        world
            .published
            .iter()
            .enumerate()
            .all(|(index, event)| rows.get(index).and_then(|row| row.iter().max()).is_some_and(|row| row.event == *event))
    })
}
