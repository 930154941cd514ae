//! Erasing under faults: owners of one room over a database, and over a bus, that refuse, forget to
//! answer and apply writes late, so that each dies between two steps. Whoever comes next begins
//! anew. What stays is never missing, and what was erased is gone for good.

#[path = "support/elected.rs"]
mod elected;

use elected::elected;
use safe_chat::{
    bus::{
        Commit, Position,
        memory::{self as hub, Config, ConnectionId, Hub},
    },
    journal::{
        Claim, Error, Journal,
        memory::{Database, Fate, Faults, Op, Outcome},
        readback::{Partitions, Store},
    },
    room::{
        Body, Epoch, Event, Incarnation, Kind, Millis, RoomId, Seq, ShardId, Shards, State, UserId,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

const SHARD: ShardId = ShardId(0);
const LAST: u64 = 25;
/// The first place that stays as it is.
const BELOW: Seq = Seq(24);
const SAID: &str = "what was said";

fn shards() -> Shards {
    Shards::new(1).unwrap()
}

fn room() -> RoomId {
    RoomId::parse("room").unwrap()
}

/// Every second event is of another one, of whom nothing is erased.
fn event(seq: u64) -> Event {
    let (from, text) = match seq % 2 {
        0 => ("charly", "what stays"),
        _ => ("harry", SAID),
    };
    Event {
        seq: Seq(seq),
        at: Millis(seq),
        kind: Kind::Message {
            from: UserId::parse(from).unwrap(),
            to: None,
            body: Body::Text(text.into()),
            id: None,
            device: None,
            turn: None,
            request: None,
        },
        changes: vec![],
    }
}

fn erased(event: &Event) -> Event {
    let mut event = event.clone();
    if let Kind::Message { from, body, .. } = &mut event.kind
        && from.as_str() == "harry"
        && event.seq < BELOW
    {
        *body = Body::Text("".into());
    }
    event
}

async fn fill(journal: &dyn Journal, claim: Claim) {
    journal.open(&room(), claim).await.unwrap();
    for seq in 1..=LAST {
        let commit = Commit {
            epoch: claim.epoch(),
            events: vec![event(seq)],
        };
        journal.append(&room(), claim, &commit).await.unwrap();
    }
}

/// All steps of an owner, until one fails.
async fn erase(
    journal: &dyn Journal,
    claim: Claim,
    copy: impl Fn(&Event) -> Event,
) -> Result<(), Error> {
    journal.open(&room(), claim).await?;
    let mut state = State::default();
    (1..=LAST).for_each(|seq| state.evolve(&event(seq)));
    for _ in 0..2 {
        journal.save_snapshot(&room(), claim, &state).await?;
    }
    let (mut from, last) = (Seq(1), Seq(BELOW.0 - 1));
    loop {
        let page = journal.read(&room(), from, last).await?;
        let Some(end) = page.last() else { break };
        from = end.seq.next();
        let copies: Vec<Event> = page.iter().map(&copy).collect();
        // In several calls, so that it can be left between them.
        for part in copies.chunks(10) {
            journal.rewrite(&room(), claim, part).await?;
        }
    }
    let adopted = journal.adopt_rewritten(&room(), claim, BELOW).await?;
    assert!(journal.drop_rewritten(&room(), claim, adopted).await?);
    Ok(())
}

async fn readable(journal: &dyn Journal) -> Vec<Event> {
    journal.read(&room(), Seq(1), Seq(LAST)).await.unwrap()
}

fn expected(is_done: bool) -> Vec<Event> {
    let all = (1..=LAST).map(event);
    match is_done {
        true => all.map(|event| erased(&event)).collect(),
        false => all.collect(),
    }
}

/// A call of a kind goes wrong, once: so many go well before it from when it is armed.
struct Once<O, F> {
    op: O,
    fate: F,
    left: Mutex<Option<usize>>,
}

impl<O: PartialEq, F: Copy + Default> Once<O, F> {
    fn new(op: O, fate: F) -> Arc<Self> {
        let left = Mutex::new(None);
        Arc::new(Self { op, fate, left })
    }

    fn arm(&self, left: Option<usize>) {
        *self.left.lock().unwrap() = left;
    }

    fn fate(&self, op: O) -> F {
        let mut left = self.left.lock().unwrap();
        match *left {
            Some(0) if op == self.op => {
                *left = None;
                self.fate
            }
            Some(n) if op == self.op => {
                *left = Some(n - 1);
                F::default()
            }
            _ => F::default(),
        }
    }
}

impl Faults for Once<Op, Fate> {
    fn call(&self, op: Op) -> Fate {
        self.fate(op)
    }
}

impl hub::Faults for Once<hub::Op, hub::Fate> {
    fn call(&self, _: ConnectionId, op: hub::Op) -> hub::Fate {
        self.fate(op)
    }
}

async fn claimed(node: &dyn Journal) -> Claim {
    let owner = Incarnation::new(Uuid::now_v7());
    node.claim(SHARD, owner, Epoch(1)).await.unwrap()
}

/// The owner of a room with all its events.
async fn filled(node: &dyn Journal) -> Claim {
    let claim = claimed(node).await;
    fill(node, claim).await;
    claim
}

fn fate(outcome: Outcome) -> Fate {
    Fate {
        outcome,
        ..Fate::default()
    }
}

async fn stored(database: &Database) -> String {
    let journal = database.connect(shards());
    let (store, mut lines) = (journal.store(), Vec::new());
    for first in (1..=LAST).step_by(10) {
        let (first, last) = (Seq(first), Seq(first + 9));
        let mut rows = store.rows(&room(), first, last).await.unwrap();
        rows.retain(|row| row.seq() < BELOW);
        rows.extend(store.copies(&room(), first, last).await.unwrap());
        lines.extend(rows.iter().map(|row| format!("{row:?}")));
    }
    lines.concat()
}

/// The first owner keeps all in its copies: it erases something else. What of that comes late must
/// not bring back what its successor erases.
#[tokio::test(start_paused = true)]
async fn an_erasure_is_done_anew_after_whatever_failed() {
    let late = Outcome::Late(Duration::from_secs(60));
    for op in [
        Op::PutSnapshot,
        Op::Copies,
        Op::PutCopies,
        Op::NoteCopies,
        Op::Trim,
    ] {
        for outcome in [
            Outcome::Refused,
            Outcome::Vanished,
            Outcome::Unanswered,
            late,
        ] {
            for nth in [0, 1, 2] {
                let database = Database::new(Partitions::new(10));
                let faults = Once::new(op, fate(outcome));
                let old = database.connect_with(shards(), faults.clone());
                let claim = filled(&old).await;
                faults.arm(Some(nth));
                let done = erase(&old, claim, Event::clone).await;
                faults.arm(None);
                assert_eq!(readable(&old).await, expected(false), "{done:?}");
                let new = database.connect(shards());
                let claim = claimed(&new).await;
                assert_eq!(readable(&new).await, expected(false));
                erase(&new, claim, erased).await.unwrap();
                for _ in 0..2 {
                    let told = format!("{op:?} {nth} {outcome:?} {done:?}");
                    assert_eq!(readable(&new).await, expected(true), "{told}");
                    let stored = stored(&database).await;
                    assert!(!stored.contains(SAID), "{told}: {stored}");
                    sleep(Duration::from_secs(120)).await;
                }
            }
        }
    }
}

/// An owner whose calls fail repeats them as it does with all others.
#[tokio::test(start_paused = true)]
async fn an_owner_goes_on_where_a_call_failed() {
    for op in [Op::PutCopies, Op::NoteCopies, Op::Trim] {
        for outcome in [Outcome::Refused, Outcome::Unanswered] {
            for nth in [0, 1, 2] {
                let database = Database::new(Partitions::new(10));
                let faults = Once::new(op, fate(outcome));
                let node = database.connect_with(shards(), faults.clone());
                let claim = filled(&node).await;
                faults.arm(Some(nth));
                if erase(&node, claim, erased).await.is_err() {
                    erase(&node, claim, erased).await.unwrap();
                }
                assert_eq!(readable(&node).await, expected(true));
                assert!(!stored(&database).await.contains(SAID));
            }
        }
    }
}

/// All that is in the bucket under the names of copies, and in the messages below.
async fn kept(bus: &hub::Memory) -> String {
    use safe_chat::bus::{Blobs as _, Feed as _};
    let stored = bus.stored(&room(), Position::ZERO, 1000).await.unwrap();
    let below = stored.iter().filter(|message| message.seq < BELOW);
    let mut all = "message ".repeat(below.count());
    for name in bus.names_under("copies").await.unwrap() {
        let (value, _) = bus.get(&name).await.unwrap().unwrap();
        all += &String::from_utf8_lossy(&value);
    }
    all
}

/// `largest`: bytes of a message, so that pages and snapshots lie in parts.
async fn dies_on_the_bus(op: hub::Op, outcome: hub::Outcome, nth: usize, largest: Option<usize>) {
    let fate = hub::Fate {
        outcome,
        ..hub::Fate::default()
    };
    let (faults, deny_delete) = (Once::new(op, fate), true);
    let config = Config {
        deny_delete,
        ..Config::default()
    };
    let hub = Hub::with_faults(config, faults.clone());
    if let Some(largest) = largest {
        hub.limit(largest);
    }
    let (first, claim) = elected(&hub.connect()).await;
    fill(&first, claim).await;
    faults.arm(Some(nth));
    let done = erase(&first, claim, Event::clone).await;
    faults.arm(None);
    assert_eq!(readable(&first).await, expected(false), "{done:?}");
    let bus = hub.connect();
    let (new, claim) = elected(&bus).await;
    erase(&new, claim, erased).await.unwrap();
    let told = format!("{op:?} {nth} {outcome:?} {largest:?} {done:?}");
    assert_eq!(readable(&new).await, expected(true), "{told}");
    let kept = kept(&bus).await;
    assert!(
        !kept.contains(SAID) && !kept.contains("message"),
        "{told}: {kept}"
    );
    if let Some(Error::Denied(why)) = done.err() {
        panic!("{told}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_the_bus_an_erasure_is_done_anew_after_whatever_failed() {
    use hub::{Op, Outcome};
    for outcome in [Outcome::Refused, Outcome::Vanished, Outcome::Unanswered] {
        for op in [Op::Put, Op::Get, Op::Purge, Op::Stored, Op::Find] {
            for nth in 0..12 {
                dies_on_the_bus(op, outcome, nth, None).await;
            }
        }
        for nth in 0..40 {
            dies_on_the_bus(Op::Put, outcome, nth, Some(700)).await;
        }
    }
}

/// Places that are read from one on, to `last`.
async fn places(journal: &dyn Journal, from: u64, last: u64) -> Vec<u64> {
    let page = journal.read(&room(), Seq(from), Seq(last)).await.unwrap();
    page.iter().map(|event| event.seq.0).collect()
}

/// Every page of 64 places lies in a message of its own. One that cannot be read costs its places,
/// not the room, and what is copied anew goes over it.
#[tokio::test(start_paused = true)]
async fn a_damaged_page_of_copies_is_a_hole() {
    use safe_chat::bus::Blobs as _;
    const LAST: u64 = 210;
    let hub = Hub::new(Config {
        deny_delete: true,
        ..Config::default()
    });
    let bus = hub.connect();
    let (journal, claim) = elected(&bus).await;
    journal.open(&room(), claim).await.unwrap();
    let all: Vec<Event> = (1..=LAST).map(event).collect();
    let mut state = State::default();
    for event in &all {
        let commit = Commit {
            epoch: claim.epoch(),
            events: vec![event.clone()],
        };
        journal.append(&room(), claim, &commit).await.unwrap();
        state.evolve(event);
    }
    for _ in 0..2 {
        let saved = journal.save_snapshot(&room(), claim, &state).await;
        saved.unwrap();
    }
    journal.rewrite(&room(), claim, &all[..200]).await.unwrap();
    let adopted = journal.adopt_rewritten(&room(), claim, Seq(201)).await;
    let dropped = journal
        .drop_rewritten(&room(), claim, adopted.unwrap())
        .await;
    assert!(dropped.unwrap());
    let second = "copies.room.0.1.0";
    let (_, revision) = bus.get(second).await.unwrap().expect("a page");
    let damaged = bytes::Bytes::from_static(b"\xff\xff no page");
    bus.put(second, damaged, revision).await.unwrap();

    let behind: Vec<u64> = (129..=LAST).collect();
    let before: Vec<u64> = (1..=64).collect();
    assert_eq!(places(&journal, 1, LAST).await, before);
    for from in [65, 100, 129] {
        assert_eq!(places(&journal, from, LAST).await, behind, "{from}");
    }
    assert!(places(&journal, 65, 128).await.is_empty());
    let last = journal.last_below(&room(), Seq(129)).await.unwrap();
    assert_eq!(last, Some(Seq(64)));
    // Whoever has some of it writes that.
    let (next, claim) = elected(&bus).await;
    let opened = next.open(&room(), claim).await.unwrap();
    assert_eq!(opened.head(), Seq(LAST));
    next.rewrite(&room(), claim, &all[..70]).await.unwrap();
    let before: Vec<u64> = (1..=70).collect();
    assert_eq!(places(&next, 1, LAST).await, before);
    assert_eq!(places(&next, 71, LAST).await, behind);
}
