//! Removing a room that is gone, under faults: its owner dies between any two steps, over a
//! database and over a bus that refuse, forget to answer, and apply writes late. The room is as it
//! was then, or new; whoever comes next removes the rest, or writes it again and loses nothing of
//! that.

#[path = "support/elected.rs"]
mod elected;

use elected::elected;
use safe_chat::{
    bus::{
        Blobs as _, Commit, Feed as _, Position,
        memory::{self as hub, Config, ConnectionId, Hub},
    },
    journal::{
        Claim, Error, Journal,
        memory::{Database, Fate, Faults, Op, Outcome},
        readback::{Partitions, Store},
    },
    room::{Epoch, Event, Incarnation, Kind, Millis, RoomId, Seq, ShardId, Shards, State, UserId},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

const SHARD: ShardId = ShardId(0);
/// The place of the event that says that the room was purged, in its second partition.
const PURGED: Seq = Seq(15);
/// More calls than a removal takes.
const CALLS: usize = 40;

fn shards() -> Shards {
    Shards::new(1).unwrap()
}

fn room() -> RoomId {
    RoomId::parse("room").unwrap()
}

fn commit(claim: Claim, seq: Seq, kind: Kind) -> Commit {
    Commit {
        epoch: claim.epoch(),
        events: vec![Event {
            seq,
            at: Millis(seq.0),
            kind,
            changes: Vec::new(),
        }],
    }
}

fn joined() -> Kind {
    let user = UserId::parse("harry").unwrap();
    Kind::Joined { user }
}

fn left() -> Kind {
    let user = UserId::parse("harry").unwrap();
    Kind::Left { user }
}

/// A room that was purged, saved by its owner.
async fn purge(journal: &dyn Journal, claim: Claim) {
    journal.open(&room(), claim).await.unwrap();
    let mut state = State::default();
    for seq in 1..=PURGED.0 {
        let kind = match seq {
            _ if Seq(seq) == PURGED => Kind::Purged,
            _ if seq % 2 == 1 => joined(),
            _ => left(),
        };
        let commit = commit(claim, Seq(seq), kind);
        journal.append(&room(), claim, &commit).await.unwrap();
        state.evolve(&commit.events[0]);
        if Seq(seq) >= Seq(PURGED.0 - 1) {
            journal.save_snapshot(&room(), claim, &state).await.unwrap();
        }
    }
    assert!(state.is_gone());
}

/// All that an owner does, until something fails.
async fn retire(journal: &dyn Journal, claim: Claim) -> Result<(), Error> {
    let opened = journal.open(&room(), claim).await?;
    assert_eq!(opened.holes, [], "as it was, or new");
    let state = opened.replay();
    assert!(state.is_gone());
    let done = async {
        if state.head > Seq::ZERO {
            journal.save_snapshot(&room(), claim, &state).await?;
        }
        journal.retire(&room(), claim, state.head, Millis(0)).await
    };
    let done = done.await;
    journal.close(&room());
    done
}

/// A call goes wrong that writes, once: so many go well before it from when it is armed.
struct Nth<F> {
    fate: F,
    left: Mutex<Option<usize>>,
}

impl<F: Copy + Default> Nth<F> {
    fn new(fate: F) -> Arc<Self> {
        let left = Mutex::new(None);
        Arc::new(Self { fate, left })
    }

    fn arm(&self, left: Option<usize>) {
        *self.left.lock().unwrap() = left;
    }

    fn is_spent(&self) -> bool {
        self.left.lock().unwrap().is_none()
    }

    fn next(&self) -> F {
        let mut left = self.left.lock().unwrap();
        match *left {
            Some(0) => {
                *left = None;
                self.fate
            }
            Some(n) => {
                *left = Some(n - 1);
                F::default()
            }
            None => F::default(),
        }
    }
}

impl Faults for Nth<Fate> {
    fn call(&self, _: Op) -> Fate {
        self.next()
    }
}

impl hub::Faults for Nth<hub::Fate> {
    fn call(&self, _: ConnectionId, _: hub::Op) -> hub::Fate {
        self.next()
    }
}

/// What comes of a room whose removal failed somewhere: another owner goes on with it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Removes,
    Writes,
}

/// Somebody comes back, and what was sent before arrives late.
async fn writes(node: &dyn Journal, claim: Claim, told: &str) -> Seq {
    let opened = node.open(&room(), claim).await.unwrap();
    assert_eq!(opened.holes, [], "{told}");
    let first = opened.head().next();
    assert!([Seq(1), PURGED.next()].contains(&first), "{told}: {first}");
    let mut state = opened.replay();
    for (seq, kind) in [(first, joined()), (first.next(), left())] {
        let commit = commit(claim, seq, kind);
        node.append(&room(), claim, &commit).await.unwrap();
        state.evolve(&commit.events[0]);
    }
    node.save_snapshot(&room(), claim, &state).await.unwrap();
    state.head
}

async fn is_written(node: &dyn Journal, claim: Claim, last: Seq, told: &str) {
    let page = node.read(&room(), Seq(1), last).await.unwrap();
    let places: Vec<Seq> = page.iter().map(|event| event.seq).collect();
    let written = [Seq(last.0 - 1), last];
    assert!(places.ends_with(&written), "{told}: {places:?}");
    let opened = node.open(&room(), claim).await.unwrap();
    assert_eq!((opened.state.head, opened.head()), (last, last), "{told}");
    assert_eq!(node.rooms(None, 9).await.unwrap(), [room()], "{told}");
}

async fn claimed(node: &dyn Journal) -> Claim {
    let owner = Incarnation::new(Uuid::now_v7());
    node.claim(SHARD, owner, Epoch(1)).await.unwrap()
}

async fn in_a_database(outcome: Outcome, nth: usize, then: Then) -> bool {
    let fate = Fate {
        outcome,
        ..Fate::default()
    };
    let (database, faults) = (Database::new(Partitions::new(10)), Nth::new(fate));
    let old = database.connect_with(shards(), faults.clone());
    let claim = claimed(&old).await;
    purge(&old, claim).await;
    faults.arm(Some(nth));
    let done = retire(&old, claim).await;
    let was_spent = faults.is_spent();
    faults.arm(None);
    let told = format!("{nth} {outcome:?} {then:?} {done:?}");
    let new = database.connect(shards());
    let claim = claimed(&new).await;
    match then {
        Then::Removes => {
            retire(&new, claim).await.unwrap();
            for _ in 0..2 {
                assert!(new.rooms(None, 9).await.unwrap().is_empty(), "{told}");
                for first in [Seq(1), Seq(11)] {
                    let last = new.boundary(first);
                    let rows = new.store().rows(&room(), first, last).await.unwrap();
                    assert!(rows.is_empty(), "{told}: {rows:?}");
                }
                sleep(Duration::from_secs(120)).await;
            }
        }
        Then::Writes => {
            let last = writes(&new, claim, &told).await;
            sleep(Duration::from_secs(120)).await;
            let next = database.connect(shards());
            is_written(&next, claimed(&next).await, last, &told).await;
        }
    }
    was_spent
}

/// A bus of which one call goes like this, once that is armed.
fn failing_bus(fate: hub::Fate) -> (Hub, Arc<Nth<hub::Fate>>) {
    let faults = Nth::new(fate);
    let config = Config {
        deny_delete: true,
        shards: shards(),
        ..Config::default()
    };
    (Hub::with_faults(config, faults.clone()), faults)
}

async fn on_the_bus(outcome: hub::Outcome, nth: usize, then: Then) -> bool {
    let fate = hub::Fate {
        outcome,
        ..hub::Fate::default()
    };
    let (hub, faults) = failing_bus(fate);
    let (old, claim) = elected(&hub.connect()).await;
    purge(&old, claim).await;
    faults.arm(Some(nth));
    let done = retire(&old, claim).await;
    let was_spent = faults.is_spent();
    faults.arm(None);
    let told = format!("{nth} {outcome:?} {then:?} {done:?}");
    let bus = hub.connect();
    let (new, claim) = elected(&bus).await;
    match then {
        Then::Removes => {
            retire(&new, claim).await.unwrap();
            assert!(new.rooms(None, 9).await.unwrap().is_empty(), "{told}");
            let left = bus.stored(&room(), Position::ZERO, 9).await.unwrap();
            assert!(left.is_empty(), "{told}: {left:?}");
            for under in ["snapshot", "pin", "copies"] {
                let left = bus.names_under(under).await.unwrap();
                assert!(left.is_empty(), "{told}: {left:?}");
            }
        }
        Then::Writes => {
            let last = writes(&new, claim, &told).await;
            let (next, claim) = elected(&hub.connect()).await;
            is_written(&next, claim, last, &told).await;
        }
    }
    was_spent
}

const THEN: [Then; 2] = [Then::Removes, Then::Writes];

#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_leaves_a_room_as_it_was_or_new_in_a_database() {
    let late = Outcome::Late(Duration::from_secs(60));
    for outcome in [
        Outcome::Refused,
        Outcome::Vanished,
        Outcome::Unanswered,
        late,
    ] {
        for then in THEN {
            let mut failed = 0;
            for nth in 0..CALLS {
                failed += usize::from(in_a_database(outcome, nth, then).await);
            }
            assert!(
                (10..CALLS).contains(&failed),
                "{failed} of its calls failed"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_leaves_a_room_as_it_was_or_new_on_the_bus() {
    use hub::Outcome::{Refused, Unanswered, Vanished};
    for outcome in [Refused, Vanished, Unanswered] {
        for then in THEN {
            let mut failed = 0;
            for nth in 0..CALLS {
                failed += usize::from(on_the_bus(outcome, nth, then).await);
            }
            assert!(
                (10..=CALLS).contains(&failed),
                "{failed} of its calls failed"
            );
        }
    }
}

/// What a replaced owner removes late, on the bus: its successor came in between, at each step.
#[tokio::test(start_paused = true)]
async fn a_successor_loses_nothing_to_what_comes_late_on_the_bus() {
    for nth in 0..CALLS {
        let late = hub::Fate {
            before: Duration::from_secs(3),
            ..hub::Fate::default()
        };
        let (hub, faults) = failing_bus(late);
        let (old, claim) = elected(&hub.connect()).await;
        purge(&old, claim).await;
        faults.arm(Some(nth));
        let removal = tokio::spawn(async move { retire(&old, claim).await });
        sleep(Duration::from_secs(1)).await;
        faults.arm(None);
        let (new, claim) = elected(&hub.connect()).await;
        let last = writes(&new, claim, &format!("{nth}")).await;
        let done = removal.await.unwrap();
        let (next, claim) = elected(&hub.connect()).await;
        is_written(&next, claim, last, &format!("{nth} {done:?}")).await;
    }
}

/// What is written late, once it is armed.
struct LateWrites(AtomicBool);

impl Faults for LateWrites {
    fn call(&self, op: Op) -> Fate {
        let is_late = op == Op::Write && self.0.load(Relaxed);
        let outcome = match is_late {
            true => Outcome::Late(Duration::from_secs(60)),
            false => Outcome::Done,
        };
        Fate {
            outcome,
            ..Fate::default()
        }
    }
}

/// A commit of this owner, which arrives long after it.
async fn commits_late(database: &Database, is_first: bool) {
    let faults = Arc::new(LateWrites(AtomicBool::new(false)));
    let node = database.connect_with(shards(), faults.clone());
    let claim = claimed(&node).await;
    match is_first {
        true => purge(&node, claim).await,
        false => drop(node.open(&room(), claim).await.unwrap()),
    }
    faults.0.store(true, Relaxed);
    let late = commit(claim, PURGED.next(), joined());
    let unknown = node.append(&room(), claim, &late).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
}

/// The row of the last commit is gone that would show it to be of an owner that was replaced.
#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_late_to_a_removed_room_does_not_count() {
    for is_first in [true, false] {
        let database = Database::new(Partitions::new(10));
        let node = database.connect(shards());
        if is_first {
            commits_late(&database, true).await;
            retire(&node, claimed(&node).await).await.unwrap();
        } else {
            let claim = claimed(&node).await;
            purge(&node, claim).await;
            retire(&node, claim).await.unwrap();
            commits_late(&database, false).await;
            // It asks for the room and writes nothing.
            let claim = claimed(&node).await;
            assert_eq!(node.open(&room(), claim).await.unwrap().head(), PURGED);
        }
        sleep(Duration::from_secs(120)).await;
        let next = database.connect(shards());
        let opened = next.open(&room(), claimed(&next).await).await.unwrap();
        assert_eq!(
            (opened.head(), opened.events),
            (PURGED, vec![]),
            "{is_first}"
        );
    }
}
