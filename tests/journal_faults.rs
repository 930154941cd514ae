//! The fencing under faults: several owners of one room over a memory database that refuses,
//! forgets to answer and applies writes late, in virtual time and by seed. Whatever was confirmed
//! stays, at its place, unchanged.

use safe_chat::{
    bus::Commit,
    journal::{
        Claim, Error, Journal, codec,
        memory::{Database, Fate, Faults, Memory, Op, Outcome},
        readback::{Partitions, Reading, Row, Store},
    },
    room::{Body, Epoch, Event, Incarnation, Kind, Millis, RoomId, Seq, ShardId, Shards, UserId},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const SHARD: ShardId = ShardId(0);

fn shards() -> Shards {
    Shards::new(1).unwrap()
}

fn room() -> RoomId {
    RoomId::parse("room").unwrap()
}

fn commit(claim: Claim, first: Seq, count: u64, text: &str) -> Commit {
    let epoch = claim.epoch();
    let event = |seq| {
        let body = Body::Text(format!("{text} {epoch} {seq}").into());
        let kind = Kind::Message {
            from: UserId::parse("harry").unwrap(),
            to: None,
            body,
            id: None,
            device: None,
            turn: None,
            request: None,
        };
        Event {
            seq: Seq(seq),
            at: Millis(0),
            kind,
            changes: vec![],
        }
    };
    Commit {
        epoch,
        events: (first.0..first.0 + count).map(event).collect(),
    }
}

fn owner() -> Incarnation {
    Incarnation::new(Uuid::now_v7())
}

/// Gives the calls of one kind the fates of a list, and all others none.
struct Script(Op, Mutex<VecDeque<Fate>>);

impl Script {
    fn new(op: Op, fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        Arc::new(Self(op, Mutex::new(fates.into_iter().collect())))
    }
}

impl Faults for Script {
    fn call(&self, op: Op) -> Fate {
        if op == self.0 {
            self.1.lock().unwrap().pop_front().unwrap_or_default()
        } else {
            Fate::default()
        }
    }
}

fn fate(outcome: Outcome) -> Fate {
    Fate {
        outcome,
        ..Fate::default()
    }
}

async fn claimed(node: &Memory) -> Claim {
    node.claim(SHARD, owner(), Epoch(1)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_commit_that_is_repeated_is_there_once() {
    let database = Database::new(Partitions::new(10));
    let fates = [
        Outcome::Unanswered,
        Outcome::Refused,
        Outcome::Vanished,
        Outcome::Late(Duration::from_secs(5)),
    ];
    let node = database.connect_with(shards(), Script::new(Op::Write, fates.map(fate)));
    let claim = claimed(&node).await;
    node.open(&room(), claim).await.unwrap();
    let commit = commit(claim, Seq(1), 3, "once");
    for attempt in 1..=4 {
        let outcome = node.append(&room(), claim, &commit).await;
        assert!(
            matches!(outcome, Err(Error::Unknown(_))),
            "attempt {attempt}: {outcome:?}"
        );
    }
    node.append(&room(), claim, &commit).await.unwrap();
    node.confirm(claim).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        node.read(&room(), Seq(1), Seq(3)).await.unwrap(),
        commit.events
    );
}

#[tokio::test(start_paused = true)]
async fn a_zombies_write_that_arrives_after_the_takeover_is_never_seen() {
    let database = Database::new(Partitions::new(10));
    let late = fate(Outcome::Late(Duration::from_secs(60)));
    let old = database.connect_with(shards(), Script::new(Op::Write, [Fate::default(), late]));
    let old_claim = claimed(&old).await;
    old.open(&room(), old_claim).await.unwrap();
    let base = commit(old_claim, Seq(1), 2, "base");
    old.append(&room(), old_claim, &base).await.unwrap();
    old.confirm(old_claim).await.unwrap();
    assert!(matches!(
        old.append(&room(), old_claim, &commit(old_claim, Seq(3), 3, "zombie"))
            .await,
        Err(Error::Unknown(_))
    ));

    let new = database.connect(shards());
    let claim = claimed(&new).await;
    assert_eq!(new.open(&room(), claim).await.unwrap().events, base.events);
    sleep(Duration::from_secs(120)).await;
    let third = database.connect(shards());
    let claim = claimed(&third).await;
    assert_eq!(
        third.open(&room(), claim).await.unwrap().events,
        base.events,
        "the second owner wrote nothing of its own"
    );
}

/// The first owner's first commit is late, and so is that of the second one, who opened an empty
/// room and had nothing to write again. The third one finds the first commit, and does not learn
/// whether it is written again under its claim. When it opens the room once more, it would find the
/// second commit.
#[tokio::test(start_paused = true)]
async fn an_opening_that_is_repeated_writes_the_same_again() {
    let database = Database::new(Partitions::new(10));
    let late = |secs| Script::new(Op::Write, [fate(Outcome::Late(Duration::from_secs(secs)))]);
    for (name, secs) in [("first", 10), ("second", 30)] {
        let node = database.connect_with(shards(), late(secs));
        let claim = claimed(&node).await;
        node.open(&room(), claim).await.unwrap();
        assert!(matches!(
            node.append(&room(), claim, &commit(claim, Seq(1), 1, name))
                .await,
            Err(Error::Unknown(_))
        ));
    }
    sleep(Duration::from_secs(20)).await;
    let third = database.connect_with(shards(), late(60));
    let claim = claimed(&third).await;
    assert!(matches!(
        third.open(&room(), claim).await,
        Err(Error::Unknown(_))
    ));
    sleep(Duration::from_secs(20)).await;
    let opened = third.open(&room(), claim).await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(
        third.read(&room(), Seq(1), Seq(1)).await.unwrap(),
        opened.events,
        "what was journaled has changed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_found_or_made_again() {
    for outcome in [
        Outcome::Unanswered,
        Outcome::Vanished,
        Outcome::Late(Duration::from_millis(1)),
        Outcome::Late(Duration::from_secs(1)),
    ] {
        let database = Database::new(Partitions::new(10));
        let node = database.connect_with(shards(), Script::new(Op::Raise, [fate(outcome)]));
        let first = claimed(&node).await;
        sleep(Duration::from_secs(2)).await;
        node.confirm(first)
            .await
            .unwrap_or_else(|error| panic!("{outcome:?}: {error}"));
        assert!(claimed(&database.connect(shards())).await.epoch() > first.epoch());
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_is_overtaken_is_fenced() {
    let database = Database::new(Partitions::new(10));
    let slow = Fate {
        after: Duration::from_secs(10),
        ..Fate::default()
    };
    let node = database.connect_with(shards(), Script::new(Op::Rows, [slow]));
    let claim = claimed(&node).await;
    let other = database.connect(shards());
    let overtake = async {
        sleep(Duration::from_secs(1)).await;
        let claim = claimed(&other).await;
        other.open(&room(), claim).await.unwrap();
        other
            .append(&room(), claim, &commit(claim, Seq(1), 1, "new"))
            .await
            .unwrap();
        other.confirm(claim).await.unwrap();
    };
    let room = room();
    let (opened, ()) = tokio::join!(node.open(&room, claim), overtake);
    assert!(
        matches!(opened, Err(Error::Fenced { seen }) if seen > claim.epoch()),
        "{opened:?}"
    );
}

/// All of it: a row of it that lay on one replica only, and was left there, could be missing in the
/// next reading.
#[tokio::test]
async fn opening_writes_the_whole_last_commit_again() {
    let database = Database::new(Partitions::new(10));
    let old = database.connect(shards());
    let claim = claimed(&old).await;
    old.open(&room(), claim).await.unwrap();
    old.append(&room(), claim, &commit(claim, Seq(1), 2, "before"))
        .await
        .unwrap();
    old.append(&room(), claim, &commit(claim, Seq(3), 3, "last"))
        .await
        .unwrap();

    let new = database.connect(shards());
    let claim = claimed(&new).await;
    new.open(&room(), claim).await.unwrap();
    let rows = new.store().rows(&room(), Seq(1), Seq(10)).await.unwrap();
    let again: Vec<_> = rows
        .iter()
        .filter(|row| row.epoch == claim.epoch())
        .map(|row| (row.seq(), row.first))
        .collect();
    assert_eq!(again, [3, 4, 5].map(|seq| (Seq(seq), Seq(3))));
}

#[tokio::test]
async fn a_row_of_a_higher_epoch_fences_though_the_fence_forgot_its_claim() {
    let database = Database::new(Partitions::new(10));
    let node = database.connect(shards());
    let claim = claimed(&node).await;
    let rows = [Row {
        epoch: Epoch(9),
        first: Seq(1),
        event: codec::encode_event(&commit(claim, Seq(1), 1, "newer").events[0]),
    }];
    node.store().write(&room(), &rows).await.unwrap();
    let opened = node.open(&room(), claim).await;
    assert!(
        matches!(opened, Err(Error::Fenced { seen: Epoch(9) })),
        "{opened:?}"
    );
    let above = node.claim(SHARD, owner(), Epoch(10)).await.unwrap();
    assert_eq!(node.open(&room(), above).await.unwrap().events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_is_read_after_the_call() {
    let database = Database::new(Partitions::new(10));
    let slow = Fate {
        after: Duration::from_secs(10),
        ..Fate::default()
    };
    // The first four readings at a quorum belong to the claim and the opening, two to each.
    let fates = (0..4).map(|_| Fate::default()).chain([slow]);
    let node = database.connect_with(shards(), Script::new(Op::Fence(Reading::Quorum), fates));
    let claim = claimed(&node).await;
    node.open(&room(), claim).await.unwrap();
    let late = async {
        sleep(Duration::from_secs(1)).await;
        claimed(&database.connect(shards())).await;
        node.confirm(claim).await
    };
    let (early, late) = tokio::join!(node.confirm(claim), late);
    early.unwrap();
    assert!(
        matches!(late, Err(Error::Fenced { .. })),
        "it was called after the takeover, while an older reading was still running: {late:?}"
    );
}

/// Lets a database be killed while `during` goes on, so that it forgets what it did not sync.
async fn killed_during<T>(database: &Database, after: u64, during: impl Future<Output = T>) -> T {
    let kill = async {
        sleep(Duration::from_secs(after)).await;
        database.crash(Duration::ZERO);
    };
    tokio::join!(during, kill).0
}

fn slow(outcome: Outcome) -> Fate {
    Fate {
        before: Duration::from_secs(5),
        outcome,
        after: Duration::ZERO,
    }
}

/// Its write returned before the database was killed. Whether the confirmation fails or only comes
/// late: it is written again before it counts.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_lost_before_its_confirmation_is_written_again() {
    for outcome in [Outcome::Refused, Outcome::Done] {
        let database = Database::new(Partitions::new(10));
        // The first four readings at a quorum belong to the claim and the opening, two to each.
        let fates = [[Fate::default(); 4].as_slice(), &[slow(outcome)]].concat();
        let node = database.connect_with(shards(), Script::new(Op::Fence(Reading::Quorum), fates));
        let claim = claimed(&node).await;
        node.open(&room(), claim).await.unwrap();
        database.sync();
        let commit = commit(claim, Seq(1), 3, "kept");
        let (here, room) = (&node, room());
        let append = async {
            while let Err(error) = here.append(&room, claim, &commit).await {
                assert!(matches!(error, Error::Unknown(_)), "{error:?}");
            }
        };
        killed_during(&database, 1, append).await;
        assert_eq!(
            node.read(&room, Seq(1), Seq(3)).await.unwrap(),
            commit.events,
            "{outcome:?}: it was confirmed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_commit_that_is_lost_before_its_opening_is_confirmed_is_written_again() {
    let database = Database::new(Partitions::new(10));
    let old = database.connect(shards());
    let claim = claimed(&old).await;
    old.open(&room(), claim).await.unwrap();
    let last = commit(claim, Seq(1), 2, "last");
    old.append(&room(), claim, &last).await.unwrap();

    let fates = [[Fate::default(); 3].as_slice(), &[slow(Outcome::Refused)]].concat();
    let new = database.connect_with(shards(), Script::new(Op::Fence(Reading::Quorum), fates));
    let claim = claimed(&new).await;
    database.sync();
    let (here, room) = (&new, room());
    let open = async {
        while let Err(error) = here.open(&room, claim).await {
            assert!(error.is_transient(), "{error:?}");
        }
    };
    killed_during(&database, 1, open).await;
    let rows = new.store().rows(&room, Seq(1), Seq(2)).await.unwrap();
    assert_eq!(
        rows.iter().filter(|row| row.epoch == claim.epoch()).count(),
        2
    );
}

/// SplitMix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone)]
struct Random(Arc<Mutex<u64>>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn time(&self, longest: u64) -> Duration {
        Duration::from_millis(self.below(longest))
    }
}

impl Faults for Random {
    fn call(&self, _: Op) -> Fate {
        let outcome = match self.below(100) {
            0..75 => Outcome::Done,
            75..80 => Outcome::Refused,
            80..85 => Outcome::Vanished,
            85..92 => Outcome::Unanswered,
            _ => Outcome::Late(self.time(4000)),
        };
        let pause = || {
            if self.below(10) == 0 {
                self.time(1500)
            } else {
                self.time(20)
            }
        };
        Fate {
            before: pause(),
            outcome,
            after: pause(),
        }
    }
}

/// What was confirmed, by place.
type Confirmed = Arc<Mutex<BTreeMap<Seq, Event>>>;

/// What the owners share.
#[derive(Clone)]
struct Shared {
    confirmed: Confirmed,
    /// The least epoch of the next claim: in place of a lease.
    lease: Arc<AtomicU64>,
}

/// Becomes the owner of the room again and again, and appends until it is stopped, fenced or tired.
async fn own(node: Memory, random: Random, shared: Shared, end: Instant) {
    while Instant::now() < end {
        sleep(random.time(3000)).await;
        let least = Epoch(shared.lease.fetch_add(1, Ordering::SeqCst));
        let Ok(claim) = node.claim(SHARD, owner(), least).await else {
            continue;
        };
        serve(&node, claim, &random, &shared, end).await.ok();
        node.close(&room());
    }
}

async fn serve(
    node: &Memory,
    claim: Claim,
    random: &Random,
    Shared { confirmed, .. }: &Shared,
    end: Instant,
) -> Result<(), Error> {
    let before = confirmed.lock().unwrap().clone();
    let opened = node.open(&room(), claim).await?;
    assert_eq!(opened.holes, [], "what is lost was never confirmed");
    let events = opened.events;
    for (seq, event) in &before {
        assert_eq!(
            events.get(seq.0 as usize - 1),
            Some(event),
            "{claim:?}: event {seq} was confirmed before the room was opened"
        );
    }
    // What an opening returns is confirmed too.
    confirm(confirmed, &events);
    let mut head = Seq(events.len() as u64);
    while Instant::now() < end && random.below(8) > 0 {
        let count = (1 + random.below(3)).min(node.boundary(head.next()).0 - head.0);
        let commit = commit(claim, head.next(), count, "event");
        while let Err(error) = node.append(&room(), claim, &commit).await {
            if !error.is_transient() || random.below(6) == 0 {
                return Err(error);
            }
        }
        confirm(confirmed, &commit.events);
        head = commit.last();
    }
    Ok(())
}

fn confirm(confirmed: &Confirmed, events: &[Event]) {
    let mut confirmed = confirmed.lock().unwrap();
    for event in events {
        let before = confirmed.insert(event.seq, event.clone());
        assert!(
            before.is_none_or(|before| before == *event),
            "event {} was confirmed with another content",
            event.seq
        );
    }
}

/// A database that is killed now and then, for longer than a confirmation may take.
async fn kill(database: Database, random: Random, end: Instant) {
    while Instant::now() < end {
        sleep(random.time(8000)).await;
        database.crash(Duration::from_secs(8));
    }
}

/// Every second seed has a database that is killed.
async fn history(seed: u64) -> usize {
    let random = Random::new(seed);
    let database = Database::new(Partitions::new(5));
    let shared = Shared {
        confirmed: Confirmed::default(),
        lease: Arc::new(AtomicU64::new(1)),
    };
    let confirmed = shared.confirmed.clone();
    let end = Instant::now() + Duration::from_secs(60);
    let owners = (0..3).map(|_| {
        let node = database.connect_with(shards(), Arc::new(random.clone()));
        own(node, random.clone(), shared.clone(), end)
    });
    let owners = futures::future::join_all(owners);
    if seed.is_multiple_of(2) {
        owners.await;
    } else {
        tokio::join!(owners, kill(database.clone(), random.clone(), end));
    }
    sleep(Duration::from_secs(10)).await;

    let last = database.connect(shards());
    let least = Epoch(shared.lease.load(Ordering::SeqCst));
    let claim = last.claim(SHARD, owner(), least).await.unwrap();
    let events = last.open(&room(), claim).await.unwrap().events;
    let confirmed = confirmed.lock().unwrap().clone();
    for (seq, event) in &confirmed {
        assert_eq!(
            events.get(seq.0 as usize - 1),
            Some(event),
            "event {seq} was confirmed"
        );
    }
    assert_eq!(
        last.read(&room(), Seq(1), Seq(events.len() as u64))
            .await
            .unwrap(),
        events
    );
    confirmed.len()
}

#[test]
fn what_was_confirmed_is_never_lost_or_changed() {
    let seeds = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .map_or(0..400, |seed: u64| seed..seed + 1);
    let mut confirmed = 0;
    for seed in seeds {
        println!("replay with SEED={seed} cargo test --test journal_faults");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        confirmed += runtime.block_on(history(seed));
    }
    assert!(confirmed > 0, "nothing was confirmed at all");
    println!("{confirmed} events confirmed");
}
